#!/usr/bin/env bash
# Private MariaDB and PostgreSQL servers for the tests marked `database`, on loopback, with their data in FOLDER.
#   scripts/databases.sh start FOLDER   starts what is installed and prints NAME=URI for each (apt-get install mariadb-server postgresql)
#   scripts/databases.sh stop FOLDER    stops what it started
set -euo pipefail
[ $# = 2 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2; }
action=$1 folder=$(realpath -m "$2") password='p@ss:w/rd%1'
encoded='p%40ss%3Aw%2Frd%251'
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
PATH=$postgres:/usr/sbin:$PATH

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
as() {  # USER COMMAND …: servers refuse to run as root
    local user=$1; shift
    if [ "$(id -u)" = 0 ]; then runuser -u "$user" -- "$@"; else "$@"; fi
}

case $action in
start)
    mkdir -p "$folder"
    chmod 755 "$folder"
    if command -v mariadbd >/dev/null; then
        data=$folder/mariadb port=$(port)
        mkdir "$data"
        [ "$(id -u)" != 0 ] || chown mysql "$data"
        as mysql mariadb-install-db --no-defaults --datadir="$data/data" --auth-root-authentication-method=normal >"$folder/mariadb.log" 2>&1
        as mysql mariadbd --no-defaults --datadir="$data/data" --socket="$data/socket" --pid-file="$data/pid" --port="$port" \
            --bind-address=127.0.0.1 --innodb-buffer-pool-size=64M >>"$folder/mariadb.log" 2>&1 &
        for _ in $(seq 100); do mariadb-admin --no-defaults --socket="$data/socket" -u root ping >/dev/null 2>&1 && break; sleep 0.2; done
        mariadb --no-defaults --socket="$data/socket" -u root -e "CREATE DATABASE shop CHARACTER SET utf8mb4;
            CREATE USER shop@'127.0.0.1' IDENTIFIED BY '$password'; GRANT ALL ON shop.* TO shop@'127.0.0.1'"
        echo "COLD_JAX_TEST_MARIADB=mariadb://shop:$encoded@127.0.0.1:$port/shop"
    fi
    if command -v initdb >/dev/null; then
        data=$folder/postgresql port=$(port)
        mkdir "$data"
        [ "$(id -u)" != 0 ] || chown postgres "$data"
        printf %s "$password" >"$folder/password"
        as postgres initdb -D "$data/data" -U shop -A scram-sha-256 -E UTF8 --pwfile="$folder/password" >"$folder/postgresql.log" 2>&1
        as postgres pg_ctl -D "$data/data" -w -l "$data/log" -o "-p $port -k $data -h 127.0.0.1" start >>"$folder/postgresql.log" 2>&1
        PGPASSWORD=$password createdb -h 127.0.0.1 -p "$port" -U shop shop
        echo "COLD_JAX_TEST_POSTGRESQL=postgresql://shop:$encoded@127.0.0.1:$port/shop"
    fi
    ;;
stop)
    if [ -f "$folder/mariadb/pid" ]; then kill "$(cat "$folder/mariadb/pid")"; fi
    if [ -f "$folder/postgresql/data/postmaster.pid" ]; then as postgres pg_ctl -D "$folder/postgresql/data" -m fast stop >/dev/null; fi
    ;;
*) echo "start or stop, not $action" >&2; exit 2 ;;
esac

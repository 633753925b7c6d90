#!/usr/bin/env bash
# A Slurm of this one machine, for `pytest -m slurm`: Debian's slurm-wlm and munge, as root, without systemd.
#   scripts/slurm.sh          installs what is missing and starts it (or leaves a running one alone)
#   scripts/slurm.sh stop     stops it
set -euo pipefail
state=/var/lib/cold_jax_slurm
if [ "${1:-start}" = stop ]; then
  for daemon in slurmd slurmctld; do
    [ ! -f "$state/$daemon.pid" ] || kill "$(cat "$state/$daemon.pid")" 2>/dev/null || true
  done
  exit
fi
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge
fi
mkdir -p "$state/ctld" "$state/d" /etc/slurm
if ! scontrol ping 2>/dev/null | grep -q UP; then
  [ -s /etc/munge/munge.key ] || { umask 077; head -c 1024 /dev/urandom >/etc/munge/munge.key; umask 022; }
  install -d -o munge -g munge -m 700 /etc/munge /var/lib/munge /var/log/munge
  install -d -o munge -g munge -m 755 /run/munge
  chown munge: /etc/munge/munge.key
  munge -n >/dev/null 2>&1 || runuser -u munge -- munged
  cpus=${SLURM_TEST_CPUS:-$(nproc)}
  cat >/etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$(hostname -s)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
KillWait=30
PropagatePrioProcess=1
SchedulerParameters=batch_sched_delay=1,sched_interval=5
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
NodeName=$(hostname -s) CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  slurmctld
  slurmd
fi
for _ in $(seq 60); do
  sinfo -h -o %t 2>/dev/null | grep -qE 'idle|mix|alloc' && { sinfo; exit; }
  sleep 1
done
sinfo; tail -5 "$state"/*.log; exit 1

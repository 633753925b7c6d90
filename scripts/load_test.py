"""Load on a server of this machine: requests a second, and the times within which half and 99 % of them are answered.

python -m cold_jax.serve run=runs/DIR &
python scripts/load_test.py [--port 8000] [--requests 2000] [--connections 1 8 32] [--batch 1] [--kind known new search] [--users '{:03d}' 200] [--to FILE]

A row for each kind and number of connections, as Markdown, and as JSON in FILE. Users of the data are `known` by ids of the pattern, numbered from 0; a `new` one has a
profile of their own and three items that they like; a `search` is words of an item's text and such a user.
"""

import argparse
import http.client
import json
import threading
import time
from pathlib import Path

import numpy as np


def bodies(kind: str, batch: int, count: int, items: list[dict[str, str]], pattern: str, users: int) -> list[str]:
    """The requests of one row; those of another number of connections begin with other users."""
    draw = np.random.default_rng(count)

    def new(n: int) -> dict[str, object]:
        liked = [items[i]["item_id"] for i in draw.integers(len(items), size=3)]
        return {"profile": f"a {n % 80}-year-old engineer who came {n}th", "liked": liked}

    def body(n: int) -> dict[str, object]:
        if kind == "search":
            return {"query": " ".join(items[n % len(items)]["text"].split()[:2]), **new(n), "k": 10}
        of = [n * batch + m for m in range(batch)]
        return {"users": [{"user": pattern.format(m % users)} if kind == "known" else new(m) for m in of], "k": 10}

    return [json.dumps(body(n)) for n in range(count)]


def row(port: int, path: str, requests: list[str], connections: int) -> tuple[float, float, float]:
    """(requests a second, p50 and p99 in milliseconds). Exits where a request fails."""
    remaining = iter(requests)
    lock, seconds, failed = threading.Lock(), [], []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                body = next(remaining, None)
            if body is None:
                return
            began = time.perf_counter()
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            with lock:
                seconds.append(time.perf_counter() - began)
                if answer.status != 200:
                    failed.append(text)

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(failed[0].decode())
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    return len(seconds) / (time.perf_counter() - began), float(p50), float(p99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("port", 8000), ("requests", 2000), ("batch", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--kind", choices=("known", "new", "search"), nargs="+", default=["known", "new", "search"])
    parser.add_argument("--users", nargs=2, metavar=("PATTERN", "COUNT"), default=("{:03d}", "200"))
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    first = http.client.HTTPConnection("127.0.0.1", given.port, timeout=60)
    first.request("GET", "/items")
    page = json.loads(first.getresponse().read())
    print(
        f"{page['total']:,} items, batch {given.batch}\n\n| request | connections | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|"
    )
    rows = []
    for kind in given.kind:
        path, users = "/search" if kind == "search" else "/recommend", int(given.users[1])
        for connections in given.connections:
            requests = bodies(kind, given.batch, given.requests, page["items"], given.users[0], users)
            rate, p50, p99 = row(given.port, path, requests, connections)
            print(f"| {kind} | {connections} | {rate:.0f} | {p50:.1f} | {p99:.1f} |", flush=True)
            rows.append({"request": kind, "connections": connections, "per_second": rate, "p50_ms": p50, "p99_ms": p99})
    if given.to:
        found = {"items": page["total"], "batch": given.batch, "requests": given.requests, "rows": rows}
        given.to.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

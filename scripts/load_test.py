"""Load on a server of this machine: requests a second, and the times within which half and 99 % of them are answered.

python -m cold_jax.serve run=runs/DIR &
python scripts/load_test.py [--port 8000] [--requests 2000] [--connections 8] [--batch 1] [--kind known|new]
"""

import argparse
import http.client
import json
import threading
import time

import numpy as np


def bodies(kind: str, batch: int, count: int, items: list[str]) -> list[str]:
    """Requests of users: `known` ones by id, or `new` ones, each with a profile of their own and three items that they like."""
    draw = np.random.default_rng(0)

    def user(n: int) -> dict[str, object]:
        if kind == "known":
            return {"user": f"{n % 200:03d}"}
        return {"profile": f"a {n % 80}-year-old engineer", "liked": [items[i] for i in draw.integers(len(items), size=3)]}

    return [json.dumps({"users": [user(n * batch + m) for m in range(batch)], "k": 10}) for n in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("port", 8000), ("requests", 2000), ("connections", 8), ("batch", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kind", choices=("known", "new"), default="new")
    given = parser.parse_args()
    first = http.client.HTTPConnection("127.0.0.1", given.port, timeout=60)
    first.request("GET", "/items")
    page = json.loads(first.getresponse().read())
    remaining = iter(bodies(given.kind, given.batch, given.requests, [item["item_id"] for item in page["items"]]))
    lock, seconds, failed = threading.Lock(), [], []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", given.port, timeout=60)
        while True:
            with lock:
                body = next(remaining, None)
            if body is None:
                return
            began = time.perf_counter()
            connection.request("POST", "/recommend", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            with lock:
                seconds.append(time.perf_counter() - began)
                if answer.status != 200:
                    failed.append(text)

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(given.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - began
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    what = f"{page['total']:,} items, {given.kind} users, batch {given.batch}, {given.connections} connections"
    print(f"{what}: {len(seconds) / wall:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(failed)} failed")
    if failed:
        raise SystemExit(failed[0].decode())


if __name__ == "__main__":
    main()

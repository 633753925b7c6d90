"""python scripts/time_answers.py run=DIR [requests=200]: seconds until a run's first answer from Python, and of those after it."""

import sys
import time

import numpy as np


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if not {"run"} <= given.keys() <= {"run", "requests"}:
        sys.exit(__doc__)
    start = time.perf_counter()
    import cold_jax

    recommender = cold_jax.load(given["run"])
    loaded = time.perf_counter()
    items = recommender.prepared.dataset.items.ids
    recommender.recommend(profile="a 30-year-old engineer", liked=items[:3])
    first = time.perf_counter()
    seconds = []
    for n in range(int(given.get("requests", 200))):
        began = time.perf_counter()
        recommender.recommend(profile=f"a {n}-year-old engineer", liked=items[n : n + 3])
        seconds.append(time.perf_counter() - began)
    p50, p99 = 1000 * np.percentile(seconds, [50, 99])
    print(
        f"{len(items):,} items: loaded in {loaded - start:.2f} s, the first answer {first - loaded:.2f} s after, the next p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )


if __name__ == "__main__":
    main()

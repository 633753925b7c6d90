"""python scripts/measure_index.py to=FILE [items=1000000] [width=384] [rank=WIDTH] [queries=1000] [seed=0]: an approximate index against exact search.

Random unit vectors, the hardest case, as nothing is near anything; with `rank` below `width` they lie near a random subspace of so many
dimensions, as vectors of texts do. Seconds and CPU seconds of the build, peak memory, and for several `index.expansion_search` recall@10 and
queries a second, one at a time and in batches of 256, beside exact search (a matrix product and a partition). FILE gets them as JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cold_jax import config
from cold_jax.models.approximate import ApproximateIndex, index_settings

K, BATCH, ALONE = 10, 256, 100
EXPANSIONS = (64, 128, 256, 512, 1024)
NOISE = 0.1  # of a vector's length, outside the subspace


def vectors(count: int, width: int, rank: int, basis_RD: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    if rank == width:
        x_ND = draw.standard_normal((count, width), dtype=np.float32)
    else:
        x_ND = draw.standard_normal((count, rank), dtype=np.float32) @ basis_RD
        x_ND += NOISE * np.sqrt(rank / width) * draw.standard_normal((count, width), dtype=np.float32)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND


def exact(query_ND: np.ndarray, vector_ID: np.ndarray) -> np.ndarray:
    score_NI = query_ND @ vector_ID.T
    return np.argpartition(-score_NI, K, axis=1)[:, :K]


def per_second(answer: Callable[[np.ndarray], np.ndarray], query_ND: np.ndarray, batch: int) -> float:
    began = time.perf_counter()
    for start in range(0, len(query_ND), batch):
        answer(query_ND[start : start + batch])
    return len(query_ND) / (time.perf_counter() - began)


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if not {"to"} <= given.keys() <= {"to", "items", "width", "rank", "queries", "seed"}:
        sys.exit(__doc__)
    items, width = int(given.get("items", 1_000_000)), int(given.get("width", 384))
    rank, queries = int(given.get("rank", width)), int(given.get("queries", 1000))
    draw = np.random.default_rng(int(given.get("seed", 0)))
    basis_RD = np.linalg.qr(draw.standard_normal((width, rank)))[0].T.astype(np.float32)
    vector_ID, query_ND = (vectors(count, width, rank, basis_RD, draw) for count in (items, queries))
    settings = index_settings({**config.compose((), "search").index})

    began, cpu = time.perf_counter(), time.process_time()
    index = ApproximateIndex(vector_ID, np.zeros(items, np.float32), settings)
    found: dict[str, object] = {"items": items, "width": width, "rank": rank, "queries": queries, "k": K, **settings._asdict()}
    found["build"] = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(found), flush=True)

    exact_NK = np.concatenate([exact(query_ND[start : start + BATCH], vector_ID) for start in range(0, queries, BATCH)])
    rows = []
    alone = per_second(lambda query_ND: exact(query_ND, vector_ID), query_ND[:ALONE], 1)
    batched = per_second(lambda query_ND: exact(query_ND, vector_ID), query_ND, BATCH)
    rows.append({"search": "exact", "recall": 1.0, "alone": alone, "batched": batched})
    print(json.dumps(rows[-1]), flush=True)
    for expansion in EXPANSIONS:
        index.index.expansion_search = expansion
        found_NK = index.search(query_ND, K)
        recall = float(np.mean([np.isin(exact_K, found_K).mean() for exact_K, found_K in zip(exact_NK, found_NK, strict=True)]))
        alone, batched = (per_second(lambda query_ND: index.search(query_ND, K), query_ND, batch) for batch in (1, BATCH))
        rows.append({"search": f"expansion_search={expansion}", "recall": recall, "alone": alone, "batched": batched})
        print(json.dumps(rows[-1]), flush=True)
    found |= {"rows": rows, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    Path(given["to"]).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

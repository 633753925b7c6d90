"""python scripts/scaling_data.py [CURVE …]: from tables on disk to the first steps, against the number of users, of items and of interactions.

Each point is a process of its own, over tables that scripts/large_data.py draws: seconds of each stage, and the peak of its memory above what
the libraries hold. The run is sampled (1,024 negatives for 512 examples), its encoder is small and random, and each text is new to the cache.
experiments/benchmarks/scaling_data.json and scaling_data.svg hold what was measured; exponents are of the upper half of a curve's points.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from large_data import write_tables
from scaling import FOLDER, exponent, held, stepper

BASE = {"users": 100_000, "items": 100_000, "interactions": 1_000_000}
CURVES: dict[str, tuple[list[int], dict[str, int]]] = {
    "users": ([10_000, 100_000, 1_000_000], {"interactions": 3_000_000}),
    "items": ([10_000, 100_000, 1_000_000], {}),
    "interactions": ([300_000, 1_000_000, 10_000_000], {}),
}
STAGES = {
    "read": "tables → data set",
    "split": "cold users, tasks and their checks",
    "encode": "tokens and vectors of all texts",
    "build": "model and batches",
    "compile": "the first step",
    "step": "a later step, median of 9",
    "validate": "256 users, all items ranked, k = 0, 1, 5, 10",
}
OVERRIDES = [
    "+experiment=frozen_user_cold",
    "data=tables",
    "encoder=tiny",
    "init=none",
    "baseline=[]",
    "logger=none",
    "data.interactions=interactions.csv",
    "data.items=items.csv",
    "data.users=users.csv",
    "data.time=time",
    "data.item_texts={line: '{title}. {genre}'}",
    "data.user_texts={profile: 'a {age}-year-old {job}'}",
    "data.item_sets={genre: ''}",
    "batching.full_softmax=false",
    "batching.negatives=1024",
    "model.width=64",
    "model.item_source_residual=false",
    "model.item_target_residual=false",
    "evaluation.users=256",
    "parallel.devices=1",
]


def run(root: str) -> dict[str, Any]:
    """Seconds of each stage, and the bytes that the process holds at its peak until then, above those before the first."""
    import jax
    from hydra import compose, initialize_config_dir

    from cold_jax import CONF, config, experiment

    with initialize_config_dir(CONF, version_base="1.3"):
        s = config.settings(compose("train", [*OVERRIDES, f"data.root={root}"]))
    jax.numpy.zeros(1).block_until_ready()
    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}
    Path("/proc/self/clear_refs").write_text("5")
    before, began = held("VmRSS"), time.perf_counter()

    def ended(stage: str) -> None:
        nonlocal began
        seconds[stage], peaks[stage] = time.perf_counter() - began, held("VmHWM") - before
        began = time.perf_counter()

    dataset = s.data()
    ended("read")
    split = s.split(dataset)
    ended("split")
    made = s._replace(data=lambda: dataset, split=lambda data: split)  # pyright: ignore[reportArgumentType]
    p = experiment.prepare(made)
    for vectors in (p.train.item_vectors, p.train.user_vectors):
        _ = list(vectors.values())
    ended("encode")
    t = experiment.setup(made, p)
    batches = [t.batches(step) for step in range(10)]
    ended("build")
    step = stepper(made, t.partition.model(), s.objective, s.optimizer(1000, 1.0), packed=False)
    step(batches[0])
    ended("compile")
    spent = []
    for batch in batches[1:]:
        start = time.perf_counter()
        step(batch)
        spent.append(time.perf_counter() - start)
    ended("step")
    assert t.validate is not None
    t.validate(t.partition.trainable)
    ended("validate")
    return {"seconds": {**seconds, "step": statistics.median(spent)}, "bytes": peaks}


def point(sizes: dict[str, int]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), **sizes, seed=0)
        environment = os.environ | {"COLD_JAX_CACHE": f"{folder}/cache"}
        line = [sys.executable, __file__, "--run", folder]
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        if done.returncode:
            return {
                **sizes,
                "failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}",
            }
        return {**sizes, **json.loads(done.stdout.splitlines()[-1])}


def totals(points: list[dict[str, Any]], curve: str) -> list[dict[str, float]]:
    """Whole: from tables to the first step."""
    upto = ("read", "split", "encode", "build", "compile")
    return [
        {"x": p[curve], "seconds": sum(p["seconds"][stage] for stage in upto), "bytes": p["bytes"]["compile"]}
        for p in points
        if "seconds" in p
    ]


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "scaling", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(curves), figsize=(10, 6), layout="constrained", squeeze=False)
    for (curve, points), above, below in zip(curves.items(), *axes, strict=True):
        done = [p for p in points if "seconds" in p]
        for stage, style in zip(STAGES, ("o-", "s-", "^-", "v-", "D-", "x--", "+--"), strict=True):
            above.loglog([p[curve] for p in done], [p["seconds"][stage] for p in done], style, label=stage, markersize=4)
        below.loglog(
            [p[curve] for p in done], [p["bytes"]["validate"] / 1e6 for p in done], "o-", color="tab:orange", markersize=4
        )
        for axis in (above, below):
            axis.minorticks_off()
        below.set_xlabel(curve)
        above.set_title(f"{curve}: seconds ∝ x^{exponent(totals(points, curve), 'seconds'):.2f}", fontsize="medium")
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("MB at the peak")
    axes[0, 0].legend(fontsize="x-small")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=f"of {', '.join(CURVES)}; all when left out")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := [name for name in args.curves if name not in CURVES]:
        parser.error(f"no curve {unknown[0]!r}; there are {', '.join(CURVES)}")
    if args.run:
        print(json.dumps(run(args.run)))
        return
    file = FOLDER / "scaling_data.json"
    curves: dict[str, list[dict[str, Any]]] = json.loads(file.read_text()) if file.exists() else {}
    for curve in args.curves or CURVES:
        values, others = CURVES[curve]
        curves[curve] = []
        for x in values:
            curves[curve].append(point(BASE | others | {curve: x}))
            print(curve, json.dumps(curves[curve][-1]), flush=True)
            file.write_text(json.dumps(curves, indent=1) + "\n")
    draw(curves, FOLDER / "scaling_data.svg")


if __name__ == "__main__":
    main()

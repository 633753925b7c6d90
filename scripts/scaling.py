"""python scripts/scaling.py [CURVE …]: seconds and memory against catalogue, batch, length and rank.

Each point is a process of its own: the median of three calls after the first, and the peak of its memory above what it held before. The exponent is that of
a power law through the upper half of a curve's points. experiments/benchmarks/scaling.json and scaling.svg hold what was measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks"
CURVES = {
    "catalogue": ("items ranked for 256 users, width 64, best 20", [1_000, 10_000, 100_000, 1_000_000]),
    "batch": ("pairs in a LoRA step of MiniLM, 32 tokens a text", [8, 16, 32, 64, 128, 256]),
    "length": ("tokens of a text in a LoRA step of 16 pairs", [16, 32, 64, 128, 256]),
    "rank": ("rank of Δθ in a LoRA step of 32 pairs, 32 tokens a text", [1, 4, 16, 64, 256]),
}
MAKES = {"batch": (None, 32, 8), "length": (16, None, 8), "rank": (32, 32, None)}  # pairs, tokens, rank; None: what varies


def held(which: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def ranking(items: int) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp
    from scipy import sparse

    from cold_jax.parts import ranking_part
    from cold_jax.ranking import rank

    draw, users = np.random.default_rng(0), 256
    user_UV, item_IV = (jnp.asarray(draw.normal(size=(n, 64)), jnp.float32) for n in (users, items))
    at_U = np.arange(users)
    shown_UI, asked_UI = (
        sparse.csr_array((np.ones(users, np.float32), (at_U, at_U + shift)), shape=(users, items)) for shift in (0, users)
    )
    part, score = ranking_part("all", shown_UI, asked_UI, np.arange(items)), jax.jit(lambda u_BV, i_IV: u_BV @ i_IV.T)
    chunk = max(1, min(256, 2**26 // items))  # as conf/evaluation's, less for scores of more than 256 MB
    return lambda: rank(lambda position: score(user_UV[position], item_IV), part, 20, chunk)


def step(pairs: int, tokens: int, rank: int) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp
    from hydra import compose, initialize_config_dir

    from cold_jax import CONF, build, command, models, steps, text  # noqa: F401  (command: the config's resolvers)
    from cold_jax.batches import Batch, Examples, Items, Packed

    overrides = [
        "+experiment=lora_user_cold",
        f"adapter.rank={rank}",
        f"adapter.alpha={2 * rank}",
        "start=none",
        "parallel.devices=1",
    ]
    with initialize_config_dir(CONF, version_base="1.3"):
        s = build.settings(compose("train", overrides))
    q = build.question(s)
    model = s.model(s.adapter(q.loaded.encoder, 0), q.train, None, 0)
    partition = models.partition(model, s.adapter.trains)
    optimizer = s.optimizer(1000, 1.0)
    recipe = steps.Recipe(partition.graph, s.objective, optimizer, s.loop.rows_at_once, False, 0)
    form = steps.resolved(s.loop.step, 1, True)
    on = steps.slices(recipe) if form is steps.Form.slices else s.parallel(steps.whole(recipe))
    draw, both = np.random.default_rng(0), 2 * pairs
    token_N = draw.integers(1000, 20000, both * tokens).astype(np.int32)
    place = Packed(text.Tokens(token_N, np.arange(both + 1) * tokens), max(64, tokens), q.loaded.encoder.texts_per_row)
    rows, slot_T = place(np.arange(both), s.loop.rows_at_once)
    at_B, none = np.arange(pairs, dtype=np.int32), np.zeros((pairs, pairs), bool)
    one_B = np.ones(pairs, np.float32)
    examples = Examples(
        at_B, slot_T[:pairs].astype(np.int32), at_B * 0 + tokens, at_B, none.astype(np.float32), none, one_B, one_B
    )
    items = Items(at_B, slot_T[pairs:].astype(np.int32), at_B * 0 + tokens, ~none[0], np.zeros(pairs, np.float32))
    frozen = on.share(partition.frozen)
    state = [on.put(steps.State(partition.trainable, optimizer.init(partition.trainable), jnp.zeros((), jnp.int32)))]

    def once() -> None:
        state[0], _ = on.step(frozen, state[0], on.spread(Batch(rows, examples, items)))
        jax.block_until_ready(state)

    return once


def point(curve: str, x: int) -> dict[str, float]:
    call = ranking(x) if curve == "catalogue" else step(*(x if size is None else size for size in MAKES[curve]))
    call()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before, spent = held("VmRSS"), []
    for _ in range(3):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return {"x": x, "seconds": statistics.median(spent), "bytes": held("VmHWM") - before}


def exponent(points: list[dict[str, float]], of: str) -> float:
    upper = points[len(points) // 2 - 1 :]
    return float(np.polyfit(np.log([p["x"] for p in upper]), np.log([max(p[of], 1e-9) for p in upper]), 1)[0])


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "scaling"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for axis, (curve, points) in zip(axes.flat, curves.items(), strict=False):
        other = axis.twinx()
        axis.loglog([p["x"] for p in points], [p["seconds"] for p in points], marker="o", color="tab:blue")
        other.loglog([p["x"] for p in points], [p["bytes"] / 1e6 for p in points], marker="s", color="tab:orange", linestyle=":")
        axis.set_xlabel(CURVES[curve][0], fontsize="small")
        axis.set_ylabel(f"seconds (∝ x^{exponent(points, 'seconds'):.2f})", color="tab:blue")
        other.set_ylabel("MB", color="tab:orange")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=f"of {', '.join(CURVES)}; all when left out")
    parser.add_argument("--point", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := [name for name in args.curves if name not in CURVES]:
        parser.error(f"no curve {unknown[0]!r}; there are {', '.join(CURVES)}")
    if args.point is not None:
        print(json.dumps(point(args.curves[0], args.point)))
        return
    file = FOLDER / "scaling.json"
    curves: dict[str, list[dict[str, float]]] = json.loads(file.read_text()) if file.exists() else {}
    for curve in args.curves or CURVES:
        curves[curve] = []
        for x in CURVES[curve][1]:
            line = [sys.executable, __file__, curve, "--point", str(x)]
            curves[curve].append(
                json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            )
            print(curve, curves[curve][-1], flush=True)
        print(f"{curve}: seconds ∝ x^{exponent(curves[curve], 'seconds'):.2f}")
        file.write_text(json.dumps(curves, indent=1) + "\n")
    draw(curves, FOLDER / "scaling.svg")


if __name__ == "__main__":
    main()

"""python scripts/scaling.py [CURVE …]: seconds and memory against full_softmax, batch, length and rank.

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks"
CURVES = {
    "full_softmax": ("items ranked for 256 users, width 64, best 20", [1_000, 10_000, 100_000, 1_000_000]),
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

    from cold_jax.evaluation.ranking import rank_candidates
    from cold_jax.splits.tasks import ranking_task

    draw, users = np.random.default_rng(0), 256
    user_UV, item_IV = (jnp.asarray(draw.normal(size=(n, 64)), jnp.float32) for n in (users, items))
    at_U = np.arange(users)
    history_UI, asked_UI = (
        sparse.csr_array((np.ones(users, np.float32), (at_U, at_U + shift)), shape=(users, items)) for shift in (0, users)
    )
    part = replace(ranking_task("all", history_UI, asked_UI, np.arange(items)), tie_break_I=np.arange(items))
    score = jax.jit(lambda u_BV, i_IV: u_BV @ i_IV.T)
    return lambda: rank_candidates(lambda position: score(user_UV[position], item_IV), part, 20)


def ranking_part(users: int, items: int, draw: np.random.Generator) -> Any:
    """A task with about 20 seen items and one positive for each user."""
    from scipy import sparse

    from cold_jax.splits.tasks import ranking_task

    pairs = sparse.csr_array(sparse.random_array((users, items), density=20 / items, rng=draw, dtype=np.float32, format="csr"))
    pairs.data[:] = 1
    at_P = np.arange(users), draw.integers(0, items, users)
    target_UI = sparse.csr_array((np.ones(users, np.float32), at_P), shape=(users, items))
    return replace(ranking_task("all", pairs, target_UI, np.arange(items)), tie_break_I=np.arange(items))


def layer_flop(config: Any, tokens: float, length: float) -> float:
    """Of one layer's products, forward, for so many tokens that each see `length`."""
    return tokens * (8 * config.width**2 + 4 * config.width * config.ffn_width + 4 * length * config.width)


def padded(settings: Any, pairs: int, long: int, short: int) -> tuple[Any, list[np.ndarray]]:
    """A batch of full texts: `pairs` users of `long` tokens and as many items of `short`; and those tokens."""
    from cold_jax.batching.batch import Batch, Examples, Items, PackedTexts
    from cold_jax.text.tokens import Tokens

    lengths = np.repeat([long, short], pairs).astype(np.int32)
    token_N = np.random.default_rng(0).integers(1000, 20000, lengths.sum()).astype(np.int32)
    offset_T = np.concatenate([[0], np.cumsum(lengths)])
    place = PackedTexts(Tokens(token_N, offset_T), max(64, long, short), settings.encoder.texts_per_row)
    rows, slot_T = place(np.arange(2 * pairs), settings.loop.rows_at_once(place.row_length))
    at_B, none_BJ, one_B = np.arange(pairs, dtype=np.int32), np.zeros((pairs, pairs), bool), np.ones(pairs, np.float32)
    profile_B, slot_J = slot_T.astype(np.int32).reshape(2, pairs)
    examples = Examples(at_B, profile_B, lengths[:pairs], at_B, none_BJ.astype(np.float32), none_BJ, one_B, one_B)
    items = Items(at_B, slot_J, lengths[pairs:], ~none_BJ[0], np.zeros(pairs, np.float32))
    return Batch(rows, examples, items), np.split(token_N, offset_T[1:-1])


def stepper(settings: Any, model: Any, objective: Any, optimizer: Any, packed: bool = True) -> Callable[[Any], float]:
    """Batch → loss of a step, in the form that a run would take on this machine; packed: texts are encoded in the step."""
    import jax

    from cold_jax.models.base import partition_model
    from cold_jax.training.step import StepMode, StepSpec, fused_step, microbatched_step, resolve_mode

    partition = partition_model(model, settings.adapter.trainable_filter, settings.adapter.head_filter)
    recipe = StepSpec(partition.graph, objective, optimizer, settings.loop.rows_at_once(64), False, 0, 0.0)
    form = resolve_mode(settings.loop.step, settings.parallel.count, packed)
    on = microbatched_step(recipe) if form is StepMode.microbatched else settings.parallel(fused_step(recipe))
    frozen = on.replicate(partition.frozen)
    state = [on.replicate_state(recipe.start(partition.trainable))]

    def step(batch: Any) -> float:
        state[0], record = on.step(frozen, state[0], on.shard_batch(batch))
        jax.block_until_ready(state)
        return float(record["loss"])

    return step


def training(pairs: int, tokens: int, rank: int) -> Callable[[], object]:
    from hydra import compose, initialize_config_dir

    from cold_jax import CONF, config, experiment

    sizes = [f"adapter.rank={rank}", f"adapter.alpha={2 * rank}"]
    with initialize_config_dir(CONF, version_base="1.3"):
        s = config.settings(compose("train", ["+experiment=lora_user_cold", "init=none", "parallel.devices=1", *sizes]))
    q = experiment.prepare(s)
    step = stepper(s, s.model(s.adapter(q.loaded.encoder, 0), q.train, None, 0), s.objective, s.optimizer(1000, 1.0))
    batch = padded(s, pairs, tokens, tokens)[0]
    return lambda: step(batch)


def peak(call: Callable[[], object]) -> int:
    """Bytes that the process holds at most during the call, above what it held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before = held("VmRSS")
    call()
    return held("VmHWM") - before


def point(curve: str, x: int) -> dict[str, float]:
    call = ranking(x) if curve == "full_softmax" else training(*(x if size is None else size for size in MAKES[curve]))
    call()
    spent: list[float] = []

    def thrice() -> None:
        for _ in range(3):
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)

    held_more = peak(thrice)
    return {"x": x, "seconds": statistics.median(spent), "bytes": held_more}


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

"""results.json of a run: what was measured, beside its baselines, and on what it ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from cold_jax.config import Settings
    from cold_jax.evaluation.evaluate import Evaluation
    from cold_jax.runs.results import Results
    from cold_jax.splits.assemble import Split


def results_document(
    s: Settings,
    split: Split,
    seconds: Mapping[str, float],
    tested: Evaluation,
    baselines: Mapping[str, Evaluation],
    extra: Mapping[str, Any],
) -> Results:
    """results.json."""
    from cold_jax import seeds
    from cold_jax.evaluation.protocol import compare_to_baselines, describe_protocol

    versus = compare_to_baselines(tested, baselines, s.evaluation.resamples, seeds.generator(s.seed, "bootstrap"))
    document = {
        "experiment": s.experiment,
        "seed": s.seed,
        **environment(s.parallel.count),
        "seconds": dict(seconds),
        "test": tested.mean(),
        "baselines": {name: baseline.mean() for name, baseline in baselines.items()},
        "versus": versus,
        "protocol": describe_protocol(split, tested, baselines, s.evaluation.metric),
        **extra,
    }
    return cast("Results", document)


def environment(devices: int) -> dict[str, Any]:
    """Versions, and what was run on."""
    from importlib.metadata import version

    from cold_jax import __version__
    from cold_jax.training.parallel import device_info

    libraries = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {"versions": {"cold-jax": __version__, **libraries}, "devices": device_info(devices)}


def costs(trained: int, frozen: int, utilisation: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters, memory of this process, and the utilisation of a training; None: no step was timed."""
    from cold_jax import timing

    memory = {"peak_memory": timing.peak_memory(), "peak_device_memory": timing.peak_device_memory()}
    reached = {} if utilisation is None else {"utilisation": utilisation}
    return {"parameters": {"trained": trained, "frozen": frozen}, **memory, **reached}

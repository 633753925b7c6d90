"""Every baseline of a run, fitted and evaluated."""

from collections.abc import Mapping

from cold_jax.baselines.base import Baseline, Tasks
from cold_jax.baselines.memory import Sized, available_memory, check_memory
from cold_jax.evaluation.evaluate import Evaluation, EvaluationConfig
from cold_jax.progress import stage
from cold_jax.splits.tasks import TrainView


def evaluate_baselines(
    baselines: Mapping[str, Baseline],
    init: Sized | None,
    train: TrainView,
    validation: Tasks,
    test: Tasks,
    evaluation: EvaluationConfig,
) -> dict[str, Evaluation]:
    """Each baseline, its settings chosen without the test tasks, evaluated on them.

    Memory is checked first, for all of them and for what the model starts at.

    Raises:
        NotEnoughMemory: one of them needs more than there is.
    """
    fits = {f"baseline.{name}": baseline for name, baseline in baselines.items()} | ({} if init is None else {"init": init})
    check_memory(fits, train, available_memory())
    tasks, found = evaluation.sample(validation), {}
    for name, baseline in baselines.items():
        with stage(f"fitting {name}"):
            scorer = baseline(train, tasks)
        with stage(f"evaluating {name}"):
            found[name] = evaluation(scorer, test)
    return found

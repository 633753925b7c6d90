"""All baselines of a run: what is refused first, and what each of them is given."""

from contextlib import nullcontext

import numpy as np
import pytest
from fitted import named
from rankings import CONFIG, USER_COLD, make_dataset

from cold_jax.baselines import fit
from cold_jax.baselines.base import Baseline, Tasks
from cold_jax.baselines.fit import evaluate_baselines
from cold_jax.errors import NotEnoughMemory
from cold_jax.evaluation.evaluate import EvaluationConfig, Scorer
from cold_jax.splits.assemble import train_view
from cold_jax.splits.tasks import TrainView


class Recorded(Baseline):
    def __init__(self, bytes_needed: int):
        self.bytes_needed, self.given = bytes_needed, []

    def needs(self, train: TrainView) -> int:
        return self.bytes_needed

    def __call__(self, train: TrainView, validation: Tasks) -> Scorer:
        self.given.append({name: len(task.user_U) for name, task in validation.items()})
        return lambda user_U, history_UI, candidate_I: np.zeros((len(user_U), len(candidate_I)))


def run(baselines: dict[str, Baseline], init: Baseline | None = None, users: int | None = None):
    split = USER_COLD(make_dataset())
    evaluation = EvaluationConfig(**{**vars(CONFIG), "users": users})
    train = train_view(make_dataset(), split, {}, {})
    return evaluate_baselines(baselines, init, train, split.validation, split.test, evaluation)


def test_each_is_evaluated_and_announced_under_its_name(monkeypatch: pytest.MonkeyPatch):
    stages = []
    monkeypatch.setattr(fit, "stage", lambda name: stages.append(name) or nullcontext())
    found = run({"popularity": named("popularity"), "random": named("random")})
    assert [*found] == ["popularity", "random"]
    assert stages == ["fitting popularity", "evaluating popularity", "fitting random", "evaluating random"]
    assert [*found["random"].mean()] == ["warm", "support_0", "support_3"]


def test_nothing_is_computed_where_the_last_one_does_not_fit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fit, "available_memory", lambda: 10**6)
    small, large = Recorded(10), Recorded(10**7)
    with pytest.raises(NotEnoughMemory, match=r"baseline\.large: needs"):
        run({"small": small, "large": large})
    with pytest.raises(NotEnoughMemory, match="init: needs"):
        run({"small": small}, init=large)
    assert small.given == large.given == []


def test_settings_are_chosen_on_the_sample_that_is_evaluated():
    one = Recorded(0)
    found = run({"one": one}, users=3)
    assert one.given == [{"support_0": 3, "support_3": 3}]
    assert len(found["one"].users["warm"]) == 3

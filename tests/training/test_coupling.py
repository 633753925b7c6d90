"""privacy=dp refuses, by name, what would let one user's data into another's loss."""

from dataclasses import replace
from typing import Any

import pytest
import small

from cold_jax import config
from cold_jax.adapters.full import ZeroShot
from cold_jax.batching.user_sequences import UserSequences
from cold_jax.errors import ConfigError
from cold_jax.models.cosine import Cosine
from cold_jax.models.ensembles import HistoryEnsemble
from cold_jax.models.init import SvdInit
from cold_jax.training.objectives import BceRatings, Bpr
from cold_jax.training.privacy import UserLevelPrivacy

pytest.importorskip("jax_privacy")
CHOICES = small.private()._asdict()
HISTORY = object.__new__(HistoryEnsemble)


def test_the_experiment_goes_through() -> None:
    settings = config.settings(config.compose(["+experiment=dp_user_cold", "logger=none"]))
    assert isinstance(settings.privacy, UserLevelPrivacy)
    settings.privacy.require(CHOICES)
    settings.privacy.require(CHOICES | {"objective": Bpr()})
    for adapter in (small.LORA, small.FULL):
        settings.privacy.require(CHOICES | {"adapter": adapter})


@pytest.mark.parametrize(
    ("group", "other", "message"),
    [
        ("batching", {"full_softmax": False}, "batching: privacy=dp .*in-batch negatives"),
        ("batching", UserSequences(size=3, history=2, negatives=0), "batching: privacy=dp .*in-batch negatives"),
        ("batching", {"group_by_item": True}, "batching.group_by_item: privacy=dp"),
        ("batching", {"user_power": 0.5}, "batching.user_power: privacy=dp"),
        ("batching", {"earliest_support": True}, "batching.user_power: privacy=dp"),
        ("batching", {"support": ()}, "batching.support: privacy=dp"),
        ("batching", {"size": 31}, "batching.size: privacy=dp cannot take more users a step than privacy.users=30"),
        ("objective", {"log_q": True}, "objective.log_q: privacy=dp .*private"),
        ("objective", BceRatings(threshold=4.0), "objective: privacy=dp"),
        ("init", SvdInit(1.0, 1.0), "init: privacy=dp cannot start from what was fitted on the interactions"),
        ("adapter", small.DROPOUT, "adapter.dropout: privacy=dp .*set it to 0"),
        ("adapter", replace(small.LORA, init_from="peft"), "adapter.init_from: privacy=dp"),
        ("adapter", ZeroShot(), "adapter: privacy=dp"),
        ("model", Cosine(profile_weight=1.0, logit_scale=1.0), "model: privacy=dp"),
        ("model", {"item_target_residual": True}, "model: privacy=dp .*item_target_residual"),
        ("model", {"user_bias": True}, "model: privacy=dp .*user_bias"),
        ("ensemble", HISTORY, "ensemble: privacy=dp .*validation"),
        ("loop", {"patience": 5}, "loop.patience: privacy=dp keeps the last step"),
    ],
)
def test_what_couples_users_is_refused(group: str, other: Any, message: str) -> None:
    changed = replace(CHOICES[group], **other) if isinstance(other, dict) else other
    with pytest.raises(ConfigError, match=message):
        small.private().privacy.require(CHOICES | {group: changed})


def test_a_config_is_refused_before_any_data_is_read() -> None:
    with pytest.raises(ConfigError, match="adapter.dropout: privacy=dp"):
        config.settings(config.compose(["+experiment=dp_user_cold", "adapter=lora", "adapter.dropout=0.1"]))
    with pytest.raises(ConfigError, match=r"privacy.users: .*give it"):
        config.settings(config.compose(["privacy=dp", "adapter=frozen"]))


@pytest.mark.parametrize(("key", "value"), [("delta", 0.04), ("clip", 0.0), ("epsilon", -1.0), ("pairs", 0), ("users", 0)])
def test_numbers_have_ranges(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"privacy\.{key}"):
        small.private(**{key: value})

"""Estimates against what NumPy allocates; refusals name baseline, gigabytes and setting."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from fitted import CONFIGS, asking, named, train_of

from cold_jax.baselines import memory
from cold_jax.baselines.base import Baseline
from cold_jax.baselines.memory import available_memory, check_memory
from cold_jax.errors import NotEnoughMemory
from cold_jax.splits.tasks import TrainView


def wide_train() -> TrainView:
    """400 users and 500 items, so that a matrix of items is most of what is allocated."""
    return train_of(np.random.default_rng(0).random((400, 500)) < 0.03)


FORMULA = {"text(line)": 0.5, "rbf(title)": 1.0, "overlap3(genre)": 0.5}
ESTIMATED = {
    "ease": {"penalties": [100.0]},
    "item_kernel": {"kernel": FORMULA, "penalties": [8.0]},
    "kernel_knn": {"kernel": FORMULA, "neighbours": [20]},
    "user_gp": {"supports": [0, 3], "powers": [0.3], "penalties": [20.0], "ease": [0.3]},
    "fold_in": {"supports": [0, 3]},
    "rating_gp": {"kernel": FORMULA, "user_kernel": FORMULA, "cuts": []},
}


@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimate_is_no_less_and_not_much_more_than_what_is_allocated(name: str):
    train, baseline = wide_train(), named(name, **ESTIMATED[name])
    tracemalloc.start()
    baseline(train, asking(train))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.9 * peak <= baseline.needs(train) <= 4 * peak


def test_every_baseline_has_an_estimate():
    train = wide_train()
    for path in CONFIGS:
        assert named(path.stem).needs(train) >= 0
    assert Baseline().needs(train) == 0


def test_a_large_catalogue_is_estimated_in_factors():
    """100,000 items: dense forms ask for tens of gigabytes, those in factors for a few."""
    row = lambda count: range(count)  # noqa: E731
    one_U = np.ones(100_000, bool)
    train = SimpleNamespace(users=row(100_000), items=row(100_000), warm_U=one_U, user_vectors={"profile": np.zeros((1, 384))})
    for name in ("ease", "fold_in"):
        assert named(name).needs(train) < 6e9  # type: ignore[arg-type]
        assert named(name, dense_items=200_000).needs(train) > 100e9  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "fit", "message"),
    [
        (
            "baseline.ease",
            named("ease"),
            r"baseline\.ease: needs about 0\.0 GB for 400 users and 500 items, and 0\.0 GB are available; "
            r"set baseline\.ease\.dense_items below 10000, so that it is computed in factors, or leave it out of baseline",
        ),
        ("baseline.kernel_knn", named("kernel_knn"), r"baseline\.kernel_knn: .* available; leave it out of baseline"),
        ("init", named("fold_in"), r"init: .* set init\.dense_items below 10000, .* or choose another init"),
    ],
)
def test_a_refusal_says_what_helps(key: str, fit: Baseline, message: str):
    with pytest.raises(NotEnoughMemory, match=message):
        check_memory({"baseline.popularity": named("popularity"), key: fit}, wide_train(), 1000)
    check_memory({key: fit}, wide_train(), None)
    check_memory({key: fit}, wide_train(), 10**12)


def test_the_available_memory_is_the_kernels(tmp_path, monkeypatch: pytest.MonkeyPatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:     3 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    assert available_memory() == 3 * 1024
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert (available_memory() or 1) > 0

"""The random data set: the same for the same seed, and its texts tell what its users like."""

import re

import numpy as np
import pytest

from cold_jax.data.synthetic import Synthetic


def test_the_seed_decides_everything() -> None:
    make = lambda seed: Synthetic(name="synthetic", users=50, items=40, interactions_per_user=7, seed=seed, positive=None)()  # noqa: E731
    assert make(1).digest == make(1).digest
    assert make(1).digest != make(2).digest


def test_shapes_and_kinds() -> None:
    data = Synthetic(name="synthetic", users=50, items=40, interactions_per_user=7, seed=0, positive=None)()
    assert (len(data), len(data.users), len(data.items)) == (350, 50, 40)
    assert len(set(zip(data.user_N.tolist(), data.item_N.tolist(), strict=True))) == 350
    assert np.bincount(data.user_N).tolist() == [7] * 50
    assert (np.diff(data.time_N) > 0).all()
    assert set(data.value_N.tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert list(data.items.texts) == ["line", "title"]
    assert data.users.ids[7] == "007"
    assert {name: indicator.shape for name, indicator in data.items.indicators.items()} == {"genre": (40, 6), "year": (40, 5)}
    assert (data.items.indicators["genre"].sum(1) == 1).all()


def test_text_predicts_taste() -> None:
    """Words that users of an occupation meet, learned on half of users and items, rank the other half of both."""
    data = Synthetic(name="synthetic", users=200, items=150, interactions_per_user=20, seed=0, positive=None)()
    words = sorted({word for line in data.items.texts["line"] for word in re.findall("[a-z]+", line)})
    word_IF = np.array([[word in line for word in words] for line in data.items.texts["line"]], float)
    job_U = np.array([profile.split()[-1] for profile in data.users.texts["profile"]])
    taken_UI = np.zeros((200, 150))
    taken_UI[data.user_N, data.item_N] = 1
    old_U, old_I = np.arange(200) < 100, np.arange(150) < 75
    hits = {"text": [], "chance": []}
    for u in np.flatnonzero(~old_U):
        alike_U = old_U & (job_U == job_U[u])
        odds_F = (taken_UI[alike_U][:, old_I].mean(0) - taken_UI[old_U][:, old_I].mean(0)) @ word_IF[old_I]
        top = np.argsort(-(word_IF[~old_I] @ odds_F), kind="stable")[:12]
        hits["text"].append(taken_UI[u, ~old_I][top].mean())
        hits["chance"].append(taken_UI[u, ~old_I].mean())
    assert np.mean(hits["text"]) > 2 * np.mean(hits["chance"])


def test_more_interactions_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.interactions_per_user"):
        Synthetic(name="synthetic", users=5, items=4, interactions_per_user=5, seed=0, positive=None)

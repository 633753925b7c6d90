"""Baselines as conf/ has them, and small random data that they are fitted to."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from scipy import sparse

from cold_jax import CONF, config
from cold_jax.baselines.base import Baseline
from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import binary
from cold_jax.splits.tasks import EvalTask, TrainView, ranking_task
from cold_jax.splits.ties import with_tie_break

CONFIGS = sorted(Path(CONF, "baseline").rglob("*.yaml"))
FILES = {path.stem: path for path in CONFIGS}


def named(name: str, **values: object) -> Baseline:
    """The baseline of a file in conf/baseline, with other values."""
    return config.make(OmegaConf.create({**values_of(FILES[name]), **values}), f"baseline.{name}")


def values_of(path: Path) -> dict[str, Any]:
    """What a file of conf/ holds, over what the ones hold that it differs from."""
    own: dict[str, Any] = {**OmegaConf.load(path)}  # type: ignore[dict-item]
    bases = [base.partition("@")[0] for base in own.pop("defaults", []) if base != "_self_"]
    files = [Path(CONF, f"{base[1:]}.yaml") if base.startswith("/") else path.parent / f"{base}.yaml" for base in bases]
    return {key: value for values in (*map(values_of, files), own) for key, value in values.items()}


def unit(generator: np.random.Generator, *shape: int) -> np.ndarray:
    vector = generator.normal(size=shape)
    return (vector / np.linalg.norm(vector, axis=-1, keepdims=True)).astype(np.float32)


def train_of(taken_UI: np.ndarray, seed: int = 0) -> TrainView:
    """Rows and columns of zeros are cold; users took items in the order of their indices; texts and indicators are random."""
    generator = np.random.default_rng(seed)
    U, I = taken_UI.shape
    user_N, item_N = (x_N.astype(np.int32) for x_N in np.nonzero(taken_UI))
    users = Entities(tuple(map(str, range(U))), {}, {})
    items = Entities(tuple(map(str, range(I))), {}, {"genre": generator.integers(0, 2, (I, 3)).astype(np.float32)})
    known_UI = binary(user_N, item_N, (U, I))
    texts = {"line": unit(generator, I, 6), "title": unit(generator, I, 6)}, {"profile": unit(generator, U, 5)}
    warm = taken_UI.any(1), taken_UI.any(0)
    one_N = np.ones(len(user_N), np.float32)
    return TrainView(known_UI, *warm, user_N, item_N, one_N, item_N.astype(float), one_N > 0, None, users, items, *texts)


def small_train() -> TrainView:
    """30 users, of whom 5 are cold, and 20 items, of which 4 are."""
    taken_UI = np.random.default_rng(1).random((30, 20)) < 0.4
    taken_UI[25:], taken_UI[:, 16:] = False, False
    return train_of(taken_UI)


def asking(train: TrainView, seed: int = 2) -> dict[str, EvalTask]:
    """A task whose histories are the warm users' training items, with random other items as targets."""
    other_UI = (np.random.default_rng(seed).random(train.interaction_UI.shape) < 0.2).astype(np.float32)
    other_UI[~train.warm_U] = 0
    task = ranking_task("cold", train.interaction_UI, sparse.csr_array(other_UI), np.arange(len(train.items)))
    return with_tie_break({"cold": task}, train.items.ids)


def scores(baseline: Baseline, train: TrainView, validation: dict[str, EvalTask] | None = None) -> np.ndarray:
    """Of all users, who show their training items, and of all items."""
    scorer = baseline(train, validation or asking(train))
    return np.asarray(scorer(np.arange(len(train.users)), train.interaction_UI, np.arange(len(train.items))))

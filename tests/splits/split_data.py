"""Hand-made and random data sets for the tests of splits, and what a task is in letters."""

from pathlib import Path

import numpy as np

from cold_jax.data.dataset import Dataset, Entities
from cold_jax.data.matrices import order
from cold_jax.runs.folder import Run
from cold_jax.splits.entities import BothCold, ItemCold, UserCold, Warm
from cold_jax.splits.files import FromFile, SplitRows
from cold_jax.splits.tasks import EvalTask

USER_COLD = UserCold(
    seed=42, cold_fraction=0.2, validation_fraction=0.5, holdout_fraction=0.2, support=[0, 1, 5], use_first_seen=False
)
ITEM_COLD = ItemCold(seed=42, cold_fraction=0.2, validation_fraction=0.5, holdout_fraction=0.2, threshold=None)
BOTH_COLD = BothCold(seed=42, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.2, both_support=2)
WARM = Warm(seed=42, holdout_fraction=0.2, threshold=4, ranked=True)
KINDS = {"user_cold": USER_COLD, "item_cold": ITEM_COLD, "both_cold": BOTH_COLD, "warm": WARM}


def make_dataset(users: int = 60, items: int = 45, interactions: int = 1200, seed: int = 0) -> Dataset:
    """Some pairs occur twice, many times are equal, and the last user and item have no interaction."""
    generator = np.random.default_rng(seed)
    return Dataset(
        "random",
        generator.integers(0, users - 1, interactions).astype(np.int32),
        (generator.beta(1, 2, interactions) * (items - 1)).astype(np.int32),
        generator.integers(1, 6, interactions).astype(np.float32),
        generator.integers(0, 50, interactions).astype(np.float64),
        Entities(tuple(f"u{n}" for n in range(users)), {}, {}),
        Entities(tuple(f"0{n}\n," for n in range(items)), {}, {}),  # line breaks and commas are an id's right
    )


def hand_dataset() -> Dataset:
    pairs = ["ax", "ay", "bx", "by", "cx", "cy", "dx", "dy"]
    user_N, item_N = (np.array(["abcd".index(p[0]) for p in pairs]), np.array(["xy".index(p[1]) for p in pairs]))
    flat = (user_N.astype(np.int32), item_N.astype(np.int32), np.ones(8, np.float32), np.zeros(8))
    return Dataset("hand", *flat, Entities(tuple("abcd"), {}, {}), Entities(tuple("xy"), {}, {}))


def dataset_of(rows: list[tuple[str, str, float, float]]) -> Dataset:
    """(user, item, value, time); ids are ordered by name."""
    users, items = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    user_N = np.array([users.index(row[0]) for row in rows], np.int32)
    item_N = np.array([items.index(row[1]) for row in rows], np.int32)
    value_N, time_N = np.array([row[2] for row in rows], np.float32), np.array([row[3] for row in rows])
    return Dataset("hand", user_N, item_N, value_N, time_N, Entities(tuple(users), {}, {}), Entities(tuple(items), {}, {}))


def letters(dataset: Dataset, task: EvalTask) -> dict[str, tuple[str, str]]:
    """user -> (items of the history, targets), as strings of one-letter ids."""

    def names(matrix_UI, row: int) -> str:
        return "".join(dataset.items.ids[i] for i in matrix_UI.indices[matrix_UI.indptr[row] : matrix_UI.indptr[row + 1]])

    return {dataset.users.ids[u]: (names(task.history_UI, row), names(task.target_UI, row)) for row, u in enumerate(task.user_U)}


def candidates(dataset: Dataset, task: EvalTask) -> str:
    return "".join(dataset.items.ids[i] for i in task.candidate_I)


def write(path: Path, dataset: Dataset, part_N: np.ndarray) -> Path:
    rows = SplitRows(
        [dataset.users.ids[u] for u in dataset.user_N], [dataset.items.ids[i] for i in dataset.item_N], part_N.tolist()
    )
    Run(path).write_split(rows, order(dataset.user_N, dataset.time_N))
    return path / "split.csv"


def from_file(path: Path, support: list[int] | None = None) -> FromFile:
    return FromFile(
        path=str(path), support=support or [0, 1, 5], both_support=2, threshold=4, ranked=True, history=None, use_first_seen=False
    )

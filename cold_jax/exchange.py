"""A data set and its split in the files of other libraries, so that both sides of a comparison train and test on the same rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cold_jax.errors import ConfigError, DataError
from cold_jax.storage.files import atomic

if TYPE_CHECKING:
    import numpy as np

    from cold_jax.data.dataset import Entities
    from cold_jax.experiment import Prepared

STAGES = {"train": ("train",), "valid": ("_val",), "test": ("_test",)}  # RecBole's file → endings of labels


def recbole(folder: Path, p: Prepared) -> list[str]:
    """RecBole's atomic files NAME.train.inter, .valid.inter, .test.inter, .item and .user, where NAME is the folder's, and NAME.yaml, a
    config that reads them (https://recbole.io/docs/user_guide/data/atomic_files.html).

    Raises:
        DataError: an id or a text holds what these files cannot: a tab, or in an id a line's end.
    """
    d, labels, name = p.dataset, p.split.part_N, folder.name
    written = []
    for stage, endings in STAGES.items():
        rows = (
            (d.users.ids[d.user_N[n]], d.items.ids[d.item_N[n]], repr(float(d.value_N[n])), repr(float(d.time_N[n])), label)
            for n, label in enumerate(labels.tolist())
            if label.endswith(endings)
        )
        header = ("user_id:token", "item_id:token", "rating:float", "timestamp:float", "part:token")
        written.append(_atomic_file(folder / f"{name}.{stage}.inter", header, rows))
    columns: dict[str, list[str]] = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    for kind, entities in (("user", d.users), ("item", d.items)):
        texts = {text: values for text, values in entities.texts.items() if text != f"{kind}_id"}
        header = (f"{kind}_id:token", *(f"{text}:token_seq" for text in texts))
        written.append(
            _atomic_file(folder / f"{name}.{kind}", header, zip(entities.ids, *map(_one_line, texts.values()), strict=True))
        )
        columns[kind] = [f"{kind}_id", *texts]
    config = {
        "data_path": "..",
        "dataset": name,
        "benchmark_filename": list(STAGES),
        "load_col": columns,
        "eval_args": {"mode": "full", "group_by": "user", "order": "RO", "split": {"RS": [1, 0, 0]}},
    }
    lines = [
        "# RecBole: run_recbole(config_file_list=[this file]) in this folder",
        *(f"{k}: {json.dumps(v)}" for k, v in config.items()),
    ]
    written.append(_write(folder / f"{name}.yaml", "\n".join(lines) + "\n"))
    return written


def _one_line(texts: Sequence[str]) -> Iterable[str]:
    return (" ".join(text.split()) for text in texts)


def _atomic_file(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = ["\t".join(header)]
    for row in rows:
        if wrong := next((cell for cell in row if any(sign in cell for sign in "\t\n\r")), None):
            raise DataError(
                f"{path.name}: {wrong[:80]!r} holds a tab or a line's end, which an atomic file cannot; change the id"
            )
        text.append("\t".join(row))
    return _write(path, "\n".join(text) + "\n")


def coldrec(folder: Path, p: Prepared) -> list[str]:
    """ColdRec's files, for its data/NAME where NAME is the folder's: cold_user/ or cold_item/ with warm_train.csv, warm_val.csv, … as its
    split.py leaves them, and NAME_user_content.npy or NAME_item_content.npy, θ's vectors of the main texts. Its own `convert.py` makes the
    rest. users.csv and items.csv hold the id and the texts of each of its numbers.

    Raises:
        ConfigError: the split has not one cold side.
    """
    import numpy as np

    d, labels = p.dataset, p.split.part_N
    users, items = bool(p.split.cold_U.any()), bool(p.split.cold_I.any())
    if users == items:
        raise ConfigError("split: ColdRec has cold users or cold items; use split=user_cold or split=item_cold")
    side = "user" if users else "item"
    files = {"warm_train": ["train"], "warm_val": ["warm_val"], "warm_test": ["warm_test"]}
    files |= {f"cold_{side}": ["cold_val", "cold_test"], f"cold_{side}_val": ["cold_val"], f"cold_{side}_test": ["cold_test"]}
    written = []
    for name, of in files.items():
        at_N = np.flatnonzero(np.isin(labels, of))
        pairs = dict.fromkeys(zip(d.user_N[at_N].tolist(), d.item_N[at_N].tolist(), strict=True))  # as there, each pair once
        written.append(_csv(folder / f"cold_{side}" / f"{name}.csv", ("user", "item"), pairs))
    # a dict of two numbers in the oldest of Python's serial formats, which is plain text
    sizes = f"(dp0\nVuser\np1\nI{len(d.users)}\nsVitem\np2\nI{len(d.items)}\ns."
    written.append(_write(folder / f"cold_{side}" / "n_user_item.pkl", sizes))
    vectors: Mapping[str, np.ndarray] = p.train.user_vectors if users else p.train.item_vectors
    with atomic(folder / f"{folder.name}_{side}_content.npy", new=True) as file:
        np.save(file, np.asarray(next(iter(vectors.values())), np.float32))
    written.append(f"{folder.name}_{side}_content.npy")
    for kind, entities in (("users", d.users), ("items", d.items)):
        written.append(_csv(folder / f"{kind}.csv", ("number", "id", *entities.texts), _numbered(entities)))
    return written


def _numbered(entities: Entities) -> Iterable[Sequence[object]]:
    return zip(range(len(entities)), entities.ids, *entities.texts.values(), strict=True)


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return _write(path, text.getvalue())


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, new=True) as file:
        file.write(text.encode())
    return path.name


FORMATS: dict[str, Callable[[Path, Prepared], list[str]]] = {"recbole": recbole, "coldrec": coldrec}

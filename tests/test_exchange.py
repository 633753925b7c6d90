"""Data and split in the files of other libraries."""

import csv
import io
import pickle
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import runs
import yaml
from omegaconf import OmegaConf

from cold_jax import exchange
from cold_jax.data import recbole
from cold_jax.data.__main__ import export
from cold_jax.errors import ConfigError, DataError


def rows_of(p) -> Counter:
    d = p.dataset
    return Counter(
        (d.users.ids[u], d.items.ids[i], label) for u, i, label in zip(d.user_N, d.item_N, p.split.part_N.tolist(), strict=True)
    )


def with_a_row_twice(p):
    d = p.dataset
    columns = {name: np.append(x_N := getattr(d, name), x_N[:1]) for name in ("user_N", "item_N", "value_N", "time_N")}
    split = replace(p.split, part_N=np.append(p.split.part_N, p.split.part_N[:1]))
    return p._replace(dataset=replace(d, **columns), split=split)


def test_recboles_files_hold_the_rows_of_the_split(recommender, tmp_path: Path) -> None:
    p, folder = with_a_row_twice(recommender.prepared), tmp_path / "shop"
    exchange.recbole(folder, p)
    wanted = {"user_id": "user", "item_id": "item", "part": "part", "rating": "value", "timestamp": "time"}
    by_stage = {
        stage: [cells for _, cells in recbole.read(folder / f"shop.{stage}.inter", wanted)]
        for stage in ("train", "valid", "test")
    }
    found = [
        (user, item, part, float(value), float(time)) for rows in by_stage.values() for user, item, part, value, time in rows
    ]
    assert Counter(row[:3] for row in found) == rows_of(p)
    d = p.dataset
    expected = [
        (d.users.ids[u], d.items.ids[i], v, t) for u, i, v, t in zip(d.user_N, d.item_N, d.value_N, d.time_N, strict=True)
    ]
    assert Counter((user, item, value, time) for user, item, _, value, time in found) == Counter(expected)
    assert {row[2] for row in by_stage["train"]} == {"train"}
    assert {row[2] for row in by_stage["valid"]} == {"warm_val", "cold_val"}
    assert {row[2] for row in by_stage["test"]} == {"warm_test", "cold_test"}
    name, texts = next(iter(p.dataset.items.texts.items()))
    items = dict(cells for _, cells in recbole.read(folder / "shop.item", {"item_id": "item", name: "text"}))
    assert items == {item: " ".join(text.split()) for item, text in zip(p.dataset.items.ids, texts, strict=True)}
    config = yaml.safe_load((folder / "shop.yaml").read_text())
    assert config["benchmark_filename"] == ["train", "valid", "test"]
    assert config["load_col"]["item"] == ["item_id", *p.dataset.items.texts]


def test_an_item_s_id_is_one_column_though_it_is_a_text_too(recommender, tmp_path: Path) -> None:
    p, folder = recommender.prepared, tmp_path / "shop"
    items = replace(p.dataset.items, texts={**p.dataset.items.texts, "item_id": p.dataset.items.ids})
    exchange.recbole(folder, p._replace(dataset=replace(p.dataset, items=items)))
    header = (folder / "shop.item").read_text().split("\n", 1)[0]
    assert header.split("\t") == ["item_id:token", *(f"{name}:token_seq" for name in p.dataset.items.texts)]


@pytest.mark.parametrize("sign", ["\t", "\n", "\r"])
def test_an_id_that_would_end_a_cell_or_a_line_is_refused(recommender, tmp_path: Path, sign: str) -> None:
    p = recommender.prepared
    users = replace(p.dataset.users, ids=(f"a{sign}b", *p.dataset.users.ids[1:]))
    with pytest.raises(DataError, match=re.escape(f"{f'a{sign}b'!r} holds a tab or a line's end")):
        exchange.recbole(tmp_path / "shop", p._replace(dataset=replace(p.dataset, users=users)))


def test_coldrecs_files_are_those_its_own_scripts_read(recommender, tmp_path: Path) -> None:
    p, folder = with_a_row_twice(recommender.prepared), tmp_path / "shop"
    exchange.coldrec(folder, p)

    def read(name: str) -> list[tuple[int, int]]:
        with (folder / "cold_user" / f"{name}.csv").open() as file:
            header, *rows = csv.reader(file)
        assert header == ["user", "item"]
        return [(int(user), int(item)) for user, item in rows]

    d, found = p.dataset, Counter()
    for name, label in (
        ("warm_train", "train"),
        ("warm_val",) * 2,
        ("warm_test",) * 2,
        ("cold_user_val", "cold_val"),
        ("cold_user_test", "cold_test"),
    ):
        found.update((d.users.ids[u], d.items.ids[i], label) for u, i in read(name))
    assert found == Counter(rows_of(p).keys())
    assert sorted(read("cold_user")) == sorted([*read("cold_user_val"), *read("cold_user_test")])
    sizes = pickle.loads((folder / "cold_user" / "n_user_item.pkl").read_bytes())  # noqa: S301
    assert sizes == {"user": len(d.users), "item": len(d.items)}
    content = np.load(folder / "shop_user_content.npy")
    np.testing.assert_array_equal(content, next(iter(p.train.user_vectors.values())))
    numbers = list(csv.DictReader(io.StringIO((folder / "items.csv").read_text())))
    assert [(int(row["number"]), row["id"]) for row in numbers] == list(enumerate(d.items.ids))


def test_the_command(tmp_path: Path) -> None:
    words = ("export", "+experiment=smoke", "split=item_cold", "format=recbole", f"to={tmp_path}/shop")
    done = runs.run("data", *words, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout == f"{tmp_path}/shop: shop.train.inter, shop.valid.inter, shop.test.inter, shop.user, shop.item, shop.yaml\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"format": "csv", "to": "x"}, "format: 'csv' is not one of recbole, coldrec"),
        ({"format": "recbole", "to": ""}, "to: name a new folder"),
        ({"format": "recbole", "to": "."}, "exists already"),
    ],
)
def test_mistakes_are_named_before_any_data_are_read(words: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export(words, OmegaConf.create())


@pytest.mark.parametrize("cold", [False, True])
def test_coldrec_has_one_cold_side(prepared, tmp_path: Path, cold: bool) -> None:
    sides = {name: np.full_like(getattr(prepared.split, name), cold) for name in ("cold_U", "cold_I")}
    with pytest.raises(ConfigError, match="ColdRec has cold users or cold items"):
        exchange.coldrec(tmp_path / "x", prepared._replace(split=replace(prepared.split, **sides)))

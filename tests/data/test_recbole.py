"""Atomic files: fields are what stands between tabs, and what is malformed is named."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cold_jax import CONF
from cold_jax.data.dataset import Dataset
from cold_jax.data.recbole import Recbole
from cold_jax.errors import DataError

IDS = [
    "007",
    "7",
    "1e5",
    "NA",
    "null",
    " x",
    "X",
    "x",
    "\u00e9",
    "e\u0301",
    '"',
    ",",
    "'",
    "\x00",
    "\u2028",
    "\x85",
    "\r x",
    "😀",
    "\u202e",
    "${oc.env:HOME}",
]


def config(choice: str, **values: object) -> Recbole:
    with initialize_config_dir(CONF, version_base="1.3"):
        node = OmegaConf.merge(compose(f"data/{choice}").data, values)
    rest = {k: v for k, v in OmegaConf.to_container(node, resolve=True, throw_on_missing=True).items() if k != "_target_"}  # pyright: ignore
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Recbole), rest))  # pyright: ignore


X = config("recbole", root="", name="x", item_texts={})


def read(folder: Path, inter: str, item: str | None = None, user: str | None = None, **values: object) -> Dataset:
    for kind, content in (("inter", inter), ("item", item), ("user", user)):
        (folder / f"x.{kind}").unlink(missing_ok=True)
        if content is not None:
            (folder / f"x.{kind}").write_bytes(content.encode())
    return dataclasses.replace(X, root=str(folder), **values)()


def refused(call) -> str:
    with pytest.raises(DataError) as raised:
        call()
    return re.sub(r"^/\S*/", "", str(raised.value))


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu2\tb\t3\t10\nu1\tb\t4.5\t1e9\nu2\tb\t3\t10\nu2\tc\t1\t-2\n"


def test_entities_of_the_attribute_file_come_first(tmp_path: Path) -> None:
    item = "item_id:token\ttitle:token_seq\tyear:float\na\tA, B\t1999\nb\t{title}\t\n"
    data = read(
        tmp_path,
        INTER,
        item,
        value="rating",
        time="timestamp",
        item_texts={"line": "{title}/{year}/{item_id}"},
        item_bins={"year": [2000.0]},
    )
    assert data.items.ids == ("a", "b", "c")
    assert data.users.ids == ("u2", "u1")
    assert data.items.texts == {"line": ("A, B/1999/a", "{title}/b", "c")}
    assert data.items.indicators["year"].tolist() == [[1, 0], [0, 0], [0, 0]]
    assert data.user_N.tolist() == [0, 1, 0, 0]  # the repeated pair stays
    assert data.item_N.tolist() == [1, 1, 1, 2]
    assert data.value_N.tolist() == [3, 4.5, 3, 1]
    assert data.time_N.tolist() == [10, 1e9, 10, -2]
    assert [array.dtype for array in (data.user_N, data.item_N, data.value_N, data.time_N)] == [
        np.int32,
        np.int32,
        np.float32,
        np.float64,
    ]


def test_without_columns_of_value_and_time(tmp_path: Path) -> None:
    data = read(tmp_path, INTER)
    assert data.value_N.tolist() == [1] * 4
    assert data.time_N.tolist() == [0] * 4
    assert data.items.ids == ("b", "c")
    assert data.name == "x"


def test_ids_are_text(tmp_path: Path) -> None:
    data = read(tmp_path, "item_id:token\tuser_id:token\n" + "".join(f"{i}\t{i}u\n" for i in IDS))
    assert list(data.items.ids) == IDS
    assert list(data.users.ids) == [i + "u" for i in IDS]


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n"), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str, mark: bool, last: bool
) -> None:
    lines = end.join(["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item in rows)])
    data = read(tmp_path_factory.getbasetemp(), "\ufeff" * mark + lines + end * last)
    assert [data.users.ids[u] for u in data.user_N] == [user for user, _ in rows]
    expected = [item for _, item in rows]
    if (
        end == "\r\n" and not last
    ):  # the last line ends without its own end; a carriage return there is data that looks like half of one
        expected[-1] = expected[-1].removesuffix("\r")
    assert [data.items.ids[i] for i in data.item_N] == expected


@pytest.mark.parametrize(
    ("inter", "says"),
    [
        ("", "x.inter: the file is empty"),
        ("user_id:token\titem_id:token\trating:float\n", "x.inter: no interactions"),
        ("user_id:token\titem_id:token\trating:float\na\tb\n", "x.inter:2: 2 fields where the header names 3: 'a\\tb'"),
        ("user_id:token\titem_id:token\trating:float\n\n", "x.inter:2: 1 fields"),
        ("user_id:token\titem_id:token\trating:float\na\tb\tfive\n", "x.inter:2: rating 'five' is not a number"),
        ("user_id:token\titem_id:token\trating:float\na\tb\t1\na\tb\tnan\n", "x.inter:3: rating 'nan' is not a finite number"),
        (
            "user_id:token\titem:token\trating:float\na\tb\t1\n",
            "x.inter:1: no column 'item_id', which this format needs; did you mean item?",
        ),
        ("user_id:token\titem_id:token\titem_id:float\n", "x.inter:1: column 'item_id' occurs twice"),
        (
            "user_id:token\titem_id:token\trating:float\na\tb\t1\nuser_id:token\titem_id:token\trating:float\n",
            "x.inter:3: the header again: 'user_id:token, item_id:token, rating:float'",
        ),
        (
            "user_id:token\titem_id:token\trating:float\na\tb\t" + "9" * 1000 + "\n",
            "x.inter:2: rating '" + "9" * 80 + "'… is not a finite",
        ),
    ],
)
def test_malformed_interactions_are_named(inter: str, says: str, tmp_path: Path) -> None:
    assert refused(lambda: read(tmp_path, inter, value="rating")).startswith(says)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("item_id:token\ttitle:token\nb\tB\nc\tC\nb\tB\n", "x.item:4: item 'b' occurs before, in "),
        ("item_id:token\ttitel:token\nb\tB\n", "x.item:1: no column 'title' (for data.item_texts.line); did you mean titel?"),
        ("id:token\ttitle:token\nb\tB\n", "x.item:1: no column 'item_id', which this format needs"),
        ("item_id:token\ttitle:token\nb\n", "x.item:2: 1 fields"),
    ],
)
def test_malformed_attributes_are_named(item: str, says: str, tmp_path: Path) -> None:
    assert refused(lambda: read(tmp_path, INTER, item, item_texts={"line": "{title}"})).startswith(says)


def test_a_template_without_an_attribute_file(tmp_path: Path) -> None:
    says = refused(lambda: read(tmp_path, INTER, item_texts={"line": "{title}"}))
    assert says == "data.item_texts.line: no column 'title'; there are 'item_id'"


def test_a_folder_without_the_file(tmp_path: Path) -> None:
    assert refused(lambda: read(tmp_path, INTER, member="y")) == "y.inter: there is no such file; give data.root=FOLDER"
    (tmp_path / "z.inter").mkdir()
    assert refused(lambda: read(tmp_path, INTER, member="z")) == "z.inter: is a folder; name a file in it"


def test_a_name_is_all_that_a_folder_needs(tmp_path: Path) -> None:
    (tmp_path / "films.inter").write_text(INTER)
    made = config("recbole", root=str(tmp_path), name="films", item_texts={})()
    assert (made.name, len(made)) == ("films", 4)


def test_an_empty_cell_is_no_id(tmp_path: Path) -> None:
    header = "user_id:token\titem_id:token\n"
    assert (
        refused(lambda: read(tmp_path, header + "a\tb\n\tb\n"))
        == "x.inter:3: no user id; every row needs one (the item of this one is 'b')"
    )
    assert (
        refused(lambda: read(tmp_path, header + "a\t\n"))
        == "x.inter:2: no item id; every row needs one (the user of this one is 'a')"
    )
    assert refused(lambda: read(tmp_path, header + "a\tb\n", "item_id:token\n\n")) == "x.item:2: no item id; every row needs one"


@pytest.mark.parametrize(("ours", "theirs"), [("1.0", "1"), ("1", "1.0"), (" 1", "1"), ("1", " 1"), ("01", "1"), ("1", "01")])
def test_ids_that_never_meet_are_refused(ours: str, theirs: str, tmp_path: Path) -> None:
    says = refused(
        lambda: read(
            tmp_path,
            f"user_id:token\titem_id:token\nu\t{ours}\n",
            f"item_id:token\ttitle:token\n{theirs}\tT\n",
            item_texts={"line": "{title}"},
        )
    )
    assert f"{ours!r} occurs there, and its ids are such as {theirs!r}" in says


def test_neither_folder_nor_package() -> None:
    with pytest.raises(ValueError, match=r"data\.root: name a folder"):
        config("ml_100k", package=None)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.integers(0, 10**6), st.booleans())
def test_of_mutated_bytes_comes_a_data_set_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list, cut: int, half: bool
) -> None:
    check_mutated(tmp_path_factory.getbasetemp(), changes, cut, half)


def check_mutated(folder: Path, changes: list, cut: int, half: bool) -> None:
    item = "item_id:token\ttitle:token_seq\tyear:float\na\tA é\t1999\nb\tB\t\n"
    for name, content in (("x.inter", INTER), ("x.item", item)):
        data = bytearray(content.encode())
        for at, byte in changes:
            data[at % len(data)] = byte
        (folder / name).write_bytes(data[: cut % len(data)] if half else data)
    (folder / "x.user").unlink(missing_ok=True)
    settings = {"value": "rating", "item_texts": {"line": "{title}"}, "item_bins": {"year": [2000.0]}}
    try:
        made = dataclasses.replace(X, root=str(folder), **settings)()
    except DataError as error:
        assert re.search(r"x\.(inter|item)", str(error))  # noqa: PT017
    else:
        assert len(made) == len(made.user_N) > 0


@pytest.mark.assets
def test_movielens_100k() -> None:
    data = config("ml_100k")()
    assert (len(data), len(data.users), len(data.items)) == (100_000, 943, 1682)
    assert len(set(zip(data.user_N.tolist(), data.item_N.tolist(), strict=True))) == 100_000
    assert data.items.texts["line"][0] == "Toy Story (1995). Genres: Animation Children's Comedy"
    assert data.items.texts["title"][0] == "Toy Story"
    assert data.users.texts["profile"][0] == "A 24-year-old man who works as technician"
    assert list(data.items.texts) == ["line", "title"]
    assert data.items.indicators["class"].shape == (1682, 19)
    assert data.items.indicators["release_year"].shape == (1682, 10)
    assert data.items.indicators["release_year"].sum() == 1680  # two rows have no year
    assert np.bincount(data.value_N.astype(int)).tolist() == [0, 6110, 11370, 27145, 34174, 21201]  # GroupLens' own counts
    assert (data.users.ids[data.user_N[0]], data.items.ids[data.item_N[0]], data.time_N[0]) == ("196", "242", 881250949)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str
) -> None:
    lines = end.join(["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item in rows)])
    data = read(tmp_path_factory.getbasetemp(), lines + end)
    assert [(data.users.ids[u], data.items.ids[i]) for u, i in zip(data.user_N, data.item_N, strict=True)] == rows


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4), st.integers(0, 10**6), st.booleans())
def test_of_mutated_bytes_comes_a_data_set_or_a_data_error_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, changes: list, cut: int, half: bool
) -> None:
    check_mutated(tmp_path_factory.getbasetemp(), changes, cut, half)

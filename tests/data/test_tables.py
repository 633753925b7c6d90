"""CSV, JSON lines and Parquet give back the ids that were written, or say which row is wrong."""

import csv
import dataclasses
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cold_jax import CONF
from cold_jax.data.dataset import Dataset
from cold_jax.data.tables import Tables
from cold_jax.errors import DataError

IDS = [
    "007",
    "7",
    "08",
    "1e5",
    "1_000",
    "NA",
    "null",
    " x",
    "x ",
    "X",
    "x",
    "\u00e9",
    "e\u0301",
    '"',
    '""',
    ",",
    "'",
    "a\nb",
    "a\r\nb",
]
IDS += [
    "\r",
    "\x00",
    "\u2028",
    "\x85",
    "😀",
    "\u202e",
    "${oc.env:HOME}",
    "{0.__class__}",
    "=HYPERLINK(1)",
    "\t=1",
    "-5",
    "../../x",
    "#",
    "\\",
]
IDS += ["x" * 1_000_000]


def config(**values: object) -> Tables:
    given = {"interactions": "x.csv", "items": None, "item_texts": {}} | values
    node = OmegaConf.merge(OmegaConf.load(Path(CONF) / "data" / "tables.yaml"), given)
    rest = {k: v for k, v in OmegaConf.to_container(node, resolve=True, throw_on_missing=True).items() if k != "_target_"}  # pyright: ignore
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Tables), rest))  # pyright: ignore


PLAIN = config()


def read(folder: Path, **values: object) -> Dataset:
    return dataclasses.replace(PLAIN, root=str(folder), **values)()  # pyright: ignore


def refused(folder: Path, **values: object) -> str:
    with pytest.raises(DataError) as raised:
        read(folder, **values)
    return str(raised.value).replace(f"{folder}/", "")


Writer = Callable[[Path, dict[str, list[str]]], None]


def write_csv(path: Path, table: dict[str, list[str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
            [table.keys(), *zip(*table.values(), strict=True)]
        )


def write_json(path: Path, table: dict[str, list[str]], ascii_only: bool = False) -> None:
    rows = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    path.write_text("".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows), encoding="utf-8", newline="")


def write_array(path: Path, table: dict[str, list[str]]) -> None:
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    path.write_text(json.dumps(rows, indent=1))


def write_packed(path: Path, table: dict[str, list[str]]) -> None:
    write_csv(path.with_suffix(""), table)
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


def write_parquet(path: Path, table: dict[str, list[str]]) -> None:
    columns = {name: pa.array(values, pa.string()) for name, values in table.items()}
    pq.write_table(pa.table({k: v.dictionary_encode() if "dictionary" in path.name else v for k, v in columns.items()}), path)


def frame(table: dict[str, list[str]]) -> pl.DataFrame:
    return pl.DataFrame(table, schema=dict.fromkeys(table, pl.String))


WRITERS: dict[str, Writer] = {
    "x.csv": write_csv,
    "x.tsv": write_csv,
    "x.csv.gz": write_packed,
    "x.jsonl": write_json,
    "x.ndjson": lambda path, table: write_json(path, table, True),
    "x.json": write_json,
    "array.json": write_array,
    "X.CSV": write_csv,
    "x.parquet": write_parquet,
    "dictionary.parquet": write_parquet,
    "polars.parquet": lambda path, table: frame(table).write_parquet(path),
    "polars.csv": lambda path, table: frame(table).write_csv(path, quote_style="always"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_ids_are_text(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, {"other": ["1"] * len(IDS), "item_id": IDS, "user_id": IDS[::-1]})
    data = read(tmp_path, interactions=name)
    assert data.items.ids == tuple(IDS)
    assert data.users.ids == tuple(IDS[::-1])


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5) | st.sampled_from(IDS[:-1])


ROWS_OF_IDS = st.lists(st.tuples(TEXT, TEXT), min_size=1)
FORMATS = st.sampled_from([name for name in WRITERS if "polars" not in name])


def check_round_trip(folder: Path, rows: list[tuple[str, str]], name: str) -> None:
    """Ids and texts come back as they were written; only a TSV whose fields look like rows may be refused."""
    users, items = [user for user, _ in rows], [item for _, item in rows]
    WRITERS[name](folder / name, {"user_id": users, "item_id": items})
    WRITERS[name](folder / f"items-{name}", {"item_id": list(dict.fromkeys(items)), "title": list(dict.fromkeys(items))})
    try:
        data = read(folder, interactions=name, items=f"items-{name}", item_texts={"line": "{title}"})
    except DataError as error:
        assert name == "x.tsv"
        assert "swallows" in str(error)  # noqa: PT017
        assert any("\t" in field and ("\n" in field or "\r" in field) for row in rows for field in row)
        return
    assert [data.users.ids[u] for u in data.user_N] == users
    assert [data.items.ids[i] for i in data.item_N] == items
    assert data.items.texts["line"] == tuple(item if item.strip() else "" for item in data.items.ids)


@settings(deadline=None, max_examples=200)
@given(ROWS_OF_IDS, FORMATS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], name: str) -> None:
    check_round_trip(tmp_path_factory.getbasetemp(), rows, name)


def test_columns_values_and_times(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_bytes(b"\xef\xbb\xbfu,when,i,stars\r\na,10,x,5\r\n\r\nb,9.5,y,1e-1\r\na,10,x,4\r\n")
    (tmp_path / "m.csv").write_text('id,title,year,tags\ny,"Y, ""why""",1995,\nz,Z,,a|b\n')
    (tmp_path / "u.csv").write_text("u,age\nb,30\n")
    items = {"items": "m.csv", "item_id": "id", "item_texts": {"line": "{title} {year}"}, "item_sets": {"tags": "|"}}
    users = {"users": "u.csv", "user_id": "u", "user_texts": {"p": "{age} {u}"}}
    interactions = {"interactions": "i.csv", "user": "u", "item": "i", "value": "stars", "time": "when"}
    data = read(tmp_path, **interactions, **items, item_bins={"year": [1990.0]}, **users)
    assert data.items.ids == ("y", "z", "x")
    assert data.items.texts == {"line": ('Y, "why" 1995', "Z", "")}
    assert data.items.indicators["tags"].tolist() == [[0, 0], [1, 1], [0, 0]]
    assert data.items.indicators["year"].tolist() == [[0, 1], [0, 0], [0, 0]]
    assert data.users.texts == {"p": ("30 b", "a")}
    assert data.user_N.tolist() == [1, 0, 1]
    assert data.item_N.tolist() == [2, 0, 2]
    assert data.time_N.tolist() == [10, 9.5, 10]
    assert data.value_N.round(3).tolist() == pytest.approx([5, 0.1, 4])


def test_json_keeps_the_spelling_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        '{"user_id": 007e0, "item_id": 1}\n'.replace("007", "7") + '{"item_id": 1.50, "user_id": true}\n\n'
    )
    (tmp_path / "m.jsonl").write_text(
        '{"item_id": 1, "tags": ["a b", "c"], "nested": {}}\n{"item_id": "1.50", "title": null}\n{"item_id": 2, "title": 3}\n'
    )
    data = read(tmp_path, interactions="x.jsonl", items="m.jsonl", item_texts={"line": "{title}"}, item_sets={"tags": "\n"})
    assert data.users.ids == ("7e0", "true")
    assert data.items.ids == ("1", "1.50", "2")
    assert data.items.texts["line"] == ("", "", "3")
    assert data.items.indicators["tags"].tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", "", "x.csv: the file is empty"),
        ("x.csv", "\n\n", "x.csv: only empty lines"),
        ("x.csv", "user_id,item_id,stars\n", "x.csv: no interactions"),
        ("x.csv", "user_id,item_id,stars\na,b,1\na,b\n", "x.csv:3: 2 fields where the header names 3: 'a,b'"),
        ("x.csv", "user_id,item_id,stars\na,b,1\n\na,b,1,2\n", "x.csv:4: 4 fields where the header names 3: 'a,b,1,2'"),
        ("x.csv", 'user_id,item_id,stars\n"a\nb",b,1\n"c\nd",b,bad\n', "x.csv:4: stars 'bad' is not a number"),
        ("x.csv", 'user_id,item_id,stars\na,b,1\n"c,d,1\n', "x.csv:3: unexpected end of data"),
        ("x.csv", 'user_id,item_id,stars\na,b,1\n"c"d,e,1\n', "x.csv:3: ',' expected after '\"'"),
        ("x.csv", "user_id,item_id,stars\na,b,inf\n", "x.csv:2: stars 'inf' is not a finite number"),
        ("x.csv", "user_id,item_id,stars\na,b," + "\x1b" * 900 + "\n", "x.csv:2: stars '" + "\\x1b" * 80 + "'… is not a number"),
        ("x.csv", "user,item_id,stars\na,b,1\n", "x.csv:1: no column 'user_id' (for data.user); did you mean user?"),
        ("x.csv", "user_id,item_id,user_id,stars\n", "x.csv:1: column 'user_id' occurs twice"),
        ("x.csv", "user_id,item_id,stars\na,,1\n", "x.csv:2: no item id; every row needs one"),
        ("x.csv", 'user_id,item_id,stars\na,b,1\n"",b,1\n', "x.csv:3: no user id; every row needs one"),
        ("x.csv", "user_id,item_id,stars\na,b,1\nuser_id,item_id,stars\nc,d,1\n", "x.csv:3: the header again: 'user_id, item_id, stars'; if several files were joined"),
        ("x.tsv", "user_id\titem_id\tstars\na\tb\t1\n\ufeffuser_id\titem_id\tstars\n", "x.tsv:3: the header again: '\\ufeffuser_id, item_id, stars'"),
        ("x.csv", "user_id;item_id;stars\na;b;1\n", "x.csv:1: 'user_id;item_id;stars' is one column; if its fields are apart by semicolons, data.separator=semicolon"),
        ("x.tsv", "user_id,item_id,stars\na,b,1\n", "x.tsv:1: 'user_id,item_id,stars' is one column; if its fields are apart by commas, data.separator=comma"),
        ("x.jsonl", "\n", "x.jsonl: it has no rows"),
        ("x.jsonl", '{"user_id": "", "item_id": "b", "stars": 1}\n', "x.jsonl:1: no user id"),
        ("x.jsonl", '[{"user_id": "a", "item_id": "b", "stars": 1}]\n', "x.jsonl:1: '[{\"user_id\": \"a\", \"item_id\": \"b\", \"stars\": 1}]' is not a JSON object"),
        ("x.json", "[]", "x.json: it has no rows"),
        ("x.json", '[{"user_id": "a", "item_id": "b", "stars": 1}', "x.json: Expecting ',' delimiter"),
        ("x.json", '[{"user_id": "a", "item_id": "b", "stars": 1}, 7]', "x.json:2: '7' is not a JSON object"),
        ("x.json", '{\n"user_id": {"0": "a"}\n}', "x.json:1: Expecting property name"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b", "stars": 1}\n\n{"user_id": "a"', "x.jsonl:3: Expecting ',' delimiter"),
        ("x.jsonl", '["a"]\n', "x.jsonl:1: '[\"a\"]' is not a JSON object"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b", "stars": NaN}\n', "x.jsonl:1: NaN is not JSON"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b", "user_id": "c"}\n', "x.jsonl:1: key 'user_id' occurs twice"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b", "stars": 1}\n{"user_id": "a", "stars": 1}\n', "x.jsonl:2: no item id"),
        ("x.jsonl", '{"user_id": "a", "item_id": null, "stars": 1}\n', "x.jsonl:1: no item id"),
        ("x.jsonl", '{"user_id": "a", "item_id": ["b"], "stars": 1}\n', "x.jsonl:1: item_id \"['b']\" is neither text"),
        ("x.jsonl", '{"user_id": "a\\ud800", "item_id": "b", "stars": 1}\n', "x.jsonl:1: user_id 'a\\ud800' is not valid Unicode"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b"}\n{"user_id": "a", "item_id": "b", "stars": 1}\n', "x.jsonl:1: stars ''"),
        ("x.jsonl", '{"user_id": "a", "item_id": "b"}\n', "x.jsonl:1: no column 'stars' (for data.value); there are 'user_id'"),
        ("x.jsonl", "[" * 100_000, "x.jsonl:1: maximum recursion depth"),
        ("x.txt", "a,b", "x.txt: its ending must name the format"),
        ("x.parquet", "PAR1", "x.parquet: cannot be read"),
    ],
)  # fmt: skip
def test_malformed_interactions_are_named(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert refused(tmp_path, interactions=name, value="stars").startswith(says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"item_id,title,year\na,A,\nb,B,\na,A,\n", "m.csv:4: item 'a' occurs before, in m.csv:2"),
        (b"item_id,title,year\na,A,\nb,\xff,\n", "m.csv:3: b'\\xff,\\n' is not UTF-8"),
        (b"item_id,title,year\na,A,1999\nb,B,V\n", "m.csv:3: year 'V' is not a number; or name the value in data.unknown"),
        (b"item_id,titel,year\na,A,1999\n", "m.csv:1: no column 'title' (for data.item_texts.line); did you mean titel?"),
        (b"item,title,year\na,A,1999\n", "m.csv:1: no column 'item_id' (for data.item_id)"),
    ],
)
def test_malformed_attributes_are_named(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\nu,a\n")
    (tmp_path / "m.csv").write_bytes(content)
    assert refused(tmp_path, items="m.csv", item_texts={"line": "{title}"}, item_bins={"year": [1990.0]}).startswith(says)


ROWS = {"user_id": ["a", "é", "a"], "item_id": ["x", "y", "x"], "stars": ["1", "2.5", "3"], "title": ["A", "B", "{x}"]}


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([name for name in WRITERS if "polars" not in name]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 10**6),
)
def test_of_mutated_bytes_comes_a_data_set_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[int, int]], cut: int | None
) -> None:
    check_mutated(tmp_path_factory.getbasetemp(), name, changes, cut)


def check_mutated(folder: Path, name: str, changes: list[tuple[int, int]], cut: int | None) -> None:
    WRITERS[name](folder / name, ROWS)
    data = bytearray((folder / name).read_bytes())
    for at, byte in changes:
        data[at % len(data)] = byte
    (folder / name).write_bytes(data if cut is None else data[: cut % len(data)])
    try:
        made = read(folder, interactions=name, value="stars")
    except DataError as error:
        assert re.search(rf"{re.escape(name)}:", str(error))  # noqa: PT017
    else:
        assert 0 < len(made) == len(made.user_N)


def test_one_column_is_not_two_things(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id\na\n")
    with pytest.raises(ValueError, match="one column is named twice"):
        read(tmp_path, item="user_id")


@pytest.mark.parametrize(
    ("word", "sign"), [("semicolon", ";"), ("comma", ","), ("tab", "\t"), ("pipe", "|"), (";", ";"), ("\t", "\t")]
)
def test_a_separator_by_setting(word: str, sign: str, tmp_path: Path) -> None:
    with open(tmp_path / "x.CSV", "w", newline="") as file:
        csv.writer(file, delimiter=sign).writerows([["user_id", "item_id", "stars"], ["a;,\t|", 'b"', "4"]])
    data = read(tmp_path, interactions="x.CSV", separator=word, value="stars")
    assert (data.users.ids, data.items.ids, data.value_N.tolist()) == (("a;,\t|",), ('b"',), [4])


@pytest.mark.parametrize("separator", ["", "semi", ";;", '"', "\n"])
def test_a_separator_is_one_character(separator: str) -> None:
    with pytest.raises(ValueError, match=r"data\.separator: .* is not auto, comma, semicolon, tab, pipe or one character"):
        config(separator=separator)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tsv", 'user_id\titem_id\na\t"b\nc\td"\n'),
        ("x.tsv", 'user_id\titem_id\trest\n"a\tb\t1\nc\td\t2\n"e\tf\t3\n'),
        ("x.tsv", 'user_id\titem_id\trest\na\t"b\t1\nc\td\t2\ne\tf"\t3\n'),
        ("x.tsv", 'user_id\titem_id\na\t"b\nc\td\n'),
    ],
)
def test_a_lone_quote_swallows_no_rows(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert re.match(
        r"x\.tsv:[23]: (a quoted field swallows the rows up to line [34]|unexpected end|.* expected after)",
        refused(tmp_path, interactions=name),
    )


def test_a_quote_inside_a_field_is_a_quote(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text('user_id\titem_id\na\t5" disk\nb\t"7"" disk"\nc\t"two\nlines"\n')
    assert read(tmp_path, interactions="x.tsv").items.ids == ('5" disk', '7" disk', "two\nlines")


def test_a_field_that_looks_like_rows_is_told_of_csv(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.csv").write_text('user_id,item_id\na,"b\nc,d"\ne,"f\ng"\n')
    assert read(tmp_path, interactions="x.csv").items.ids == ("b\nc,d", "f\ng")
    (message,) = caplog.messages
    assert "x.csv:2: a quoted field goes on to line 3, and looks like rows that a lone \" swallowed: 'b\\nc,d'" in message


def test_a_relative_root_says_where_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\na,b\n")
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("."))) == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"^x\.csv: there is no such file; data\.root='\.' is relative to {tmp_path}/elsewhere"):
        read(Path("."))


def test_html_is_undone_in_attributes_alone(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\na,b&amp;c\n")
    (tmp_path / "m.csv").write_text('item_id,title,tags\nb&amp;c,"Tom &amp; Jerry&#39;s <b>&quot;</b> &amp;amp;","x &amp; y|z"\n')
    settings = {"items": "m.csv", "item_texts": {"line": "{title}"}, "item_sets": {"tags": " & "}}
    plain, undone = (read(tmp_path, **settings, unescape_html=setting) for setting in (False, True))
    assert plain.items.texts["line"] == ("Tom &amp; Jerry&#39;s <b>&quot;</b> &amp;amp;",)
    assert undone.items.texts["line"] == ("Tom & Jerry's <b>\"</b> &amp;",)
    assert (plain.items.indicators["tags"].shape, undone.items.indicators["tags"].shape) == ((1, 1), (1, 2))
    assert undone.items.ids == ("b&amp;c",)


def test_positives_are_marked_and_no_row_is_lost(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,stars\na,b,5\na,c,1\n")
    data = read(tmp_path, value="stars", positive=">=4")
    assert data.positive_N is not None
    assert data.positive_N.tolist() == [True, False]
    assert len(data) == 2
    assert read(tmp_path, value="stars").positive_N is None
    assert "data.positive: no value of x.csv is >5; they lie in 1 to 5" in refused(tmp_path, value="stars", positive=">5")
    assert "data.positive: '>=4' compares values, but data.value names no column" in refused(tmp_path, positive=">=4")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "x.jsonl", "array.json", "x.parquet"])
@settings(deadline=None, max_examples=2000)
@given(rows=ROWS_OF_IDS)
def test_what_is_written_is_read_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], name: str
) -> None:
    check_round_trip(tmp_path_factory.getbasetemp(), rows, name)


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4)
CUT = st.none() | st.integers(0, 10**6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "x.jsonl", "array.json", "x.parquet"])
@settings(deadline=None, max_examples=2000)
@given(changes=CHANGES, cut=CUT)
def test_of_mutated_bytes_comes_a_data_set_or_a_data_error_two_thousand_times(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int | None, name: str
) -> None:
    check_mutated(tmp_path_factory.getbasetemp(), name, changes, cut)


LINES = st.lists(
    st.lists(st.sampled_from(["a", "b c", '"', '""', "\t", ",", ";", "\r", "1", "", "\x00", "é"]), max_size=6).map("".join),
    max_size=6,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(lines=LINES, name=st.sampled_from(["x.csv", "x.tsv"]))
def test_no_line_of_a_table_is_lost_in_silence(tmp_path_factory: pytest.TempPathFactory, lines: list[str], name: str) -> None:
    """Of arbitrary lines with quotes each is a row, is empty, belongs to a field that is quoted over lines, or the file is refused."""
    folder, separator = tmp_path_factory.getbasetemp(), "\t" if name == "x.tsv" else ","
    (folder / name).write_bytes("\n".join([f"user_id{separator}item_id", *lines]).encode())
    try:
        data = read(folder, interactions=name)
    except DataError:
        return
    ids = [*data.users.ids, *data.items.ids]
    over_lines = sum(field.count("\n") + field.replace("\r\n", "\n").count("\r") for field in ids)
    filled = [line for line in "\n".join(lines).replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]
    assert len(data) + over_lines >= len(filled)
    if name == "x.tsv":
        assert not any("\t" in field and field.count("\t") == field.count("\n") for field in ids if "\n" in field)

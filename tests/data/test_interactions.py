"""Ids of interactions and of attribute files must be the same text; times of one column have one format."""

from pathlib import Path

import pytest
from test_tables import WRITERS, read, refused


def write(folder: Path, clicked: list[str], described: list[str]) -> dict[str, object]:
    (folder / "x.csv").write_text("user_id,item_id\n" + "".join(f"u,{i}\n" for i in clicked))
    (folder / "m.csv").write_text("item_id,title\n" + "".join(f"{i},T\n" for i in described))
    return {"items": "m.csv", "item_texts": {"line": "{title}"}}


@pytest.mark.parametrize(
    ("clicked", "described", "ours", "theirs"),
    [
        (["1.0", "2.0"], ["1", "2"], "1.0", "1"),
        (["1", "2"], ["2.0", "1.0"], "1", "1.0"),
        ([" 1"], ["1"], " 1", "1"),
        (["01", "02"], ["7", "2"], "02", "2"),
        (["b00x"], ["B00X"], "b00x", "B00X"),
        (["p", "q"], ["r"], "p", "r"),
        (["r", "12345678901234567890"], ["12345678901234567891"], "r", "12345678901234567891"),  # one number as floats only
    ],
)
def test_ids_that_never_meet_are_refused_by_an_example_of_both(
    clicked: list[str], described: list[str], ours: str, theirs: str, tmp_path: Path
) -> None:
    says = refused(tmp_path, **write(tmp_path, clicked, described))
    assert says == (
        f"m.csv: no item of x.csv has a row here: {ours!r} occurs there, and its ids are such as {theirs!r}; "
        "ids are text, byte for byte, so write them alike in both"
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (r"caf\xe9", r"cafe\u0301"),
        (r"cafe\u0301", r"caf\xe9"),
        (r"x\u200b", "x"),
        (r"\ufeffx", "x"),
        (r"\uff11", "1"),
        (r"1\xa0", "1"),
    ],
)
def test_ids_that_look_alike_are_named_with_escapes(
    ours: str, theirs: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Unicode's composed and decomposed forms, its wide digits, and signs that nobody sees."""
    clicked, described = (i.encode().decode("unicode_escape") for i in (ours, theirs))
    says = refused(tmp_path, **write(tmp_path, ["q", clicked], [described]))
    assert f"'{ours}' occurs there, and its ids are such as '{theirs}'" in says
    read(tmp_path, **write(tmp_path, ["q", clicked], [described, "q"]))
    assert f"; '{ours}' there is not '{theirs}' here" in caplog.text


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.json", "x.parquet"])
@pytest.mark.parametrize(("one", "other"), [("1.0", "1"), (" 1", "1"), ("01", "1"), ("1 ", "1"), ("1.0", "01")])
def test_ids_of_every_format_are_text(name: str, one: str, other: str, tmp_path: Path) -> None:
    """In both directions: the one in the interactions and the other in the items, and the reverse."""
    for ours, theirs in ((one, other), (other, one)):
        WRITERS[name](tmp_path / name, {"user_id": ["u"], "item_id": [ours]})
        WRITERS[name](tmp_path / f"m{Path(name).suffix}", {"item_id": [theirs], "title": ["T"]})
        says = refused(tmp_path, interactions=name, items=f"m{Path(name).suffix}", item_texts={"line": "{title}"})
        assert f"{ours!r} occurs there, and its ids are such as {theirs!r}" in says


def test_numbers_of_two_types_in_json_are_two_ids(tmp_path: Path) -> None:
    for ours, theirs in (("1.0", "1"), ("1", "1.0"), ("1", '"01"')):
        (tmp_path / "x.jsonl").write_text(f'{{"user_id": "u", "item_id": {ours}}}\n')
        (tmp_path / "m.jsonl").write_text(f'{{"item_id": {theirs}, "title": "T"}}\n')
        says = refused(tmp_path, interactions="x.jsonl", items="m.jsonl", item_texts={"line": "{title}"})
        assert f"{ours!r} occurs there, and its ids are such as {theirs.strip(chr(34))!r}" in says


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    assert "'a' occurs there, and it has no rows" in refused(tmp_path, **write(tmp_path, ["a"], []))


def test_users_must_meet_too(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id\n1.0,a\n")
    (tmp_path / "u.csv").write_text("user_id,age\n1,30\n")
    says = refused(tmp_path, users="u.csv", user_texts={"profile": "{age}"})
    assert says.startswith("u.csv: no user of x.csv has a row here: '1.0' occurs there, and its ids are such as '1'")


def test_some_ids_without_a_row_are_counted_and_three_are_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = write(tmp_path, ["1", "2", "3.0", "4", "5", "3.0"], ["9", "1", "3"])
    data = read(tmp_path, **settings)
    assert [message.replace(f"{tmp_path}/", "") for message in caplog.messages] == [
        "m.csv: 4 of the 5 items of x.csv have no row here, hence neither text nor attributes: '2', '3.0', '4', …; "
        "'3.0' there is not '3' here, since ids are text, byte for byte"
    ]
    assert data.items.without_row == 4
    assert data.items.ids == ("9", "1", "3", "2", "3.0", "4", "5")
    assert data.items.texts["line"] == ("T", "T", "T", "", "", "", "")


def test_all_rows_there_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path, **write(tmp_path, ["1"], ["2", "1"])).items.without_row == 0
    assert not caplog.messages


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["2024-05-31", "1970-01-01"], [1717113600, 0]),
        (["2024-05-31T12:00:00Z", "2024-05-31 14:00:00+02:00"], [1717156800, 1717156800]),
        (['"05 31, 2024"', '"1 2, 1970"'], [1717113600, 86400]),
        (["1e9", "5"], [1e9, 5]),
    ],
)
def test_times_of_one_format(times: list[str], seconds: list[float], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,at\n" + "".join(f"u,i,{time}\n" for time in times))
    assert read(tmp_path, time="at").time_N.tolist() == seconds


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (["2024-05-31", "1717113600"], "x.csv:3: at '1717113600' is a number, line 2 has an ISO 8601 date; use one format for all times"),
        (["2024-05-31", "2024-05-31 00:00"], "x.csv:3: at '2024-05-31 00:00' is an ISO 8601 time without a zone, line 2 has an ISO 8601 date"),
        (["2024-05-31T00:00", "2024-05-31T00:00Z"], "x.csv:3: at '2024-05-31T00:00Z' is an ISO 8601 time with its zone, line 2 has an"),
        (["1", "31/05/2024"], "x.csv:3: at '31/05/2024' is not a time; a time is a number, ISO 8601"),
        (["1", ""], "x.csv:3: at '' is not a time"),
    ],
)  # fmt: skip
def test_other_times_are_refused_by_line(times: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,at\n" + "".join(f"u,i,{time}\n" for time in times))
    assert refused(tmp_path, time="at").startswith(says)


@pytest.mark.parametrize(
    ("times", "units"),
    [
        (["1717113600000", "1717113600"], "seconds (line 3: 1717113600) and milliseconds (line 2: 1717113600000)"),
        (["1717113600", "1717113600000000"], "seconds (line 2: 1717113600) and microseconds"),
        (["1717113600000", "5", "1717113600123456789"], "milliseconds (line 2: 1717113600000) and nanoseconds (line 4: "),
        (["1717113600000", "1717113600001"], ""),
        (["1717113600", "5", "881250949.5"], ""),
        (["20240531", "20240601"], ""),
    ],
)
def test_seconds_beside_milliseconds_are_told(
    times: list[str], units: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,at\n" + "".join(f"u,i,{time}\n" for time in times))
    assert read(tmp_path, time="at").time_N.tolist() == [float(time) for time in times]
    assert len(caplog.messages) == bool(units)
    assert not units or f"x.csv: the numbers of at look like {units}" in caplog.text

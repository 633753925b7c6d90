"""Times against the standard library's own timestamps; what is none is refused with the formats."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cold_jax.data.times import parse_time


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("881250949", 881250949),
        ("-2.5", -2.5),
        ("20240531", 20240531),  # a number that orders as dates do
        ("1970-01-02", 86400),
        ("2024-05-31", 1717113600),
        ("2024-05-31 12:00:00", 1717156800),
        ("2024-05-31T12:00:00Z", 1717156800),
        ("2024-05-31T12:00:00.5+02:00", 1717149600.5),
        ("2024-05-31 12:00:00.123456789", 1717156800.123456),
        (" 2024-05-31 ", 1717113600),
        ("05 31, 2024", 1717113600),
        ("5 1, 2024", 1714521600),
        ("0001-01-01", -62135596800),
    ],
)
def test_times(cell: str, seconds: float) -> None:
    assert parse_time(cell)[0] == seconds


@given(st.datetimes(), st.none() | st.integers(-720, 720))
def test_iso_8601_is_the_moment(moment: datetime, offset: int | None) -> None:
    if offset is not None:
        moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    wanted = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_time(moment.isoformat())[0] == wanted / timedelta(seconds=1)


@pytest.mark.parametrize(
    "cell",
    ["", None, "yesterday", "31/05/2024", "05/31/2024", "2024-13-01", "13 01, 2024", "05 32, 2024", "2024-05", "May 31, 2024", "12:00",
     "2024-05-31T25:00", "1_000", "finite"],
)  # fmt: skip
def test_anything_else_is_refused_with_the_formats(cell: str | None) -> None:
    with pytest.raises(ValueError, match=r"is not a time; a time is a number, ISO 8601 \(2024-05-31 or .*\), or MM DD, YYYY"):
        parse_time(cell)


@pytest.mark.parametrize("cell", ["nan", "inf", "1e999"])
def test_a_number_is_finite(cell: str) -> None:
    with pytest.raises(ValueError, match="is not a finite number"):
        parse_time(cell)


def test_formats_have_names() -> None:
    cells = ["1", "2024-05-31", "2024-W22-5", "2024-05-31 12:00", "2024-05-31T12:00Z", "05 31, 2024"]
    assert [parse_time(cell)[1] for cell in cells] == [
        "a number",
        "an ISO 8601 date",
        "an ISO 8601 date",
        "an ISO 8601 time without a zone",
        "an ISO 8601 time with its zone",
        "MM DD, YYYY",
    ]

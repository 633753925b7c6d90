"""Numbers and bytes that cannot be read are refused in one way, and nothing unpacks without a limit."""

import gzip
import time
from pathlib import Path

import pytest

from cold_jax.data import files
from cold_jax.data.files import column_places, ending, excerpt, number, read_text, require_file
from cold_jax.errors import DataError


@pytest.mark.parametrize("cell", ["", None, "abc", "1_000", "nan", "inf", "-Infinity", "1e39", "1e999", "0x10"])
def test_what_is_no_finite_number(cell: str | None) -> None:
    with pytest.raises(ValueError, match=r"not a (finite )?number"):
        number(cell)


@pytest.mark.parametrize(("cell", "value"), [("3", 3), ("-0.5", -0.5), ("1e5", 1e5), ("881250949", 881250949), (" 4 ", 4)])
def test_numbers(cell: str, value: float) -> None:
    assert number(cell) == value


def test_what_is_shown_is_short_and_obeyed_by_no_terminal() -> None:
    assert excerpt("\x1b[31m\n") == "'\\x1b[31m\\n'"
    assert len(excerpt("x" * 1000)) == 83


def test_a_header_names_each_column_once() -> None:
    assert column_places("f.csv:1", ["a", "b", "c"], {"c": "user", "a": "item"}) == [2, 0]
    with pytest.raises(DataError, match=r"f\.csv:1: column 'a' occurs twice"):
        column_places("f.csv:1", ["a", "b", "a"], {"b": "user"})
    with pytest.raises(DataError, match=r"f\.csv:1: no column 'user' \(for data.user\); did you mean user_id?"):
        column_places("f.csv:1", ["user_id", "b"], {"user": "user"})


def test_bytes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbfa\r\n\xef\xbb\xbf\x00")
    assert read_text(file) == "a\r\n\ufeff\x00"
    with pytest.raises(DataError, match=r"b\.csv: cannot be read"):
        read_text(tmp_path / "b.csv")
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.csv: the file is empty"):
        read_text(file)
    file.write_bytes(b"\xef\xbb\xbfa\nb\nc\xe9d\n")
    with pytest.raises(DataError, match=r"a\.csv:3: b'\\xe9d\\n' is not UTF-8"):
        read_text(file)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("user_id,item_id\na,é\n".encode(encoding))
    with pytest.raises(DataError, match=r"a\.csv: the file is UTF-16; save it as UTF-8"):
        read_text(file)


@pytest.mark.parametrize("cut", [0, 5, 20, -9, -1])
def test_a_packed_file_cut_short_is_refused(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    whole = gzip.compress(b"a,b\n" * 1000)
    file.write_bytes(whole)
    assert read_text(file) == "a,b\n" * 1000
    file.write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"a\.csv\.gz: "):
        read_text(file)


def test_a_packed_file_may_have_several_members(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"a,b\n") + gzip.compress(b"c,d\n") + b"\0" * 512)
    assert read_text(file) == "a,b\nc,d\n"
    file.write_bytes(gzip.compress(b"a,b\n") + b"rest")
    with pytest.raises(DataError, match=r"a\.csv\.gz: cannot be read"):
        read_text(file)


def test_a_packed_file_unpacks_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.csv.GZ"
    file.write_bytes(gzip.compress(b"0" * 5_000_000))  # a thousand to one
    assert len(read_text(file)) == 5_000_000
    monkeypatch.setattr(files, "FREE", 4_000_000)
    with pytest.raises(
        DataError, match=r"a\.csv\.GZ: unpacks to more than 4,000,000 bytes \(at most 4,294,967,296, and 200 times"
    ):
        read_text(file)
    monkeypatch.setattr(files, "MAX_RATIO", 2000)
    assert len(read_text(file)) == 5_000_000
    monkeypatch.setattr(files, "MAX_UNPACKED", 4_999_999)
    with pytest.raises(DataError, match=r"unpacks to more than 4,999,999 bytes"):
        read_text(file)
    monkeypatch.setattr(files, "MAX_UNPACKED", 5_000_000)
    assert len(read_text(file)) == 5_000_000


def test_a_packed_bomb_ends_early(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for _ in range(80):
            packed.write(b"0" * 2**20)
    with pytest.raises(DataError, match=r"unpacks to more than [0-9,]+ bytes"):
        read_text(file)


@pytest.mark.parametrize(("name", "form"), [("a.CSV", ".csv"), ("a.b.Tsv.GZ", ".tsv"), ("a.gz", ""), ("a", "")])
def test_an_ending_names_the_format(name: str, form: str) -> None:
    assert ending(Path("x.y") / name) == form


def test_a_relative_folder_says_where_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.csv").write_text("a")
    monkeypatch.chdir(tmp_path)
    require_file(Path("films/a.csv"), "data.root", "films")
    monkeypatch.chdir(tmp_path / "films")
    with pytest.raises(DataError) as raised:
        require_file(Path("films/a.csv"), "data.root", "films")
    assert f"films/a.csv: there is no such file; data.root='films' is relative to {tmp_path}/films" in str(raised.value)
    with pytest.raises(DataError) as raised:
        require_file(tmp_path / "b.csv", "data.root", str(tmp_path))
    assert "is relative to" not in str(raised.value)


@pytest.mark.parametrize("last", ["c", "99999"])
def test_a_header_of_many_columns_takes_no_time(last: str) -> None:
    names, began = [*map(str, range(100_000)), last], time.process_time()
    if last == "c":
        assert column_places("f.csv:1", names, {"99999": "user", "c": "item"}) == [99_999, 100_000]
    else:
        with pytest.raises(DataError, match="column '99999' occurs twice"):
            column_places("f.csv:1", names, {"1": "user"})
    assert time.process_time() - began < 1  # by the square it is minutes


def test_a_long_header_makes_a_short_message() -> None:
    with pytest.raises(DataError) as raised:
        column_places("f.csv:1", ["x" * 1_000_000, *map(str, range(1000))], {"user": "user"})
    assert len(str(raised.value)) < 500

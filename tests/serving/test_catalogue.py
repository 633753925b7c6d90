"""The file of added items; what is done with them is tested in test_recommender.py."""

from pathlib import Path

import pytest

from cold_jax.data.new_items import NewItem
from cold_jax.errors import RunError
from cold_jax.runs.folder import Run
from cold_jax.serving.catalogue import ADDED, read_added, write_added
from cold_jax.storage.sealed import seal


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert read_added(run) == []
    items = [NewItem("007", {"title": "Ä\n", "year": ""}, None), NewItem("7", {}, "a text")]
    assert write_added(run, items) == tmp_path / ADDED
    assert [item._replace(place="") for item in read_added(run)] == items
    assert [item.place for item in read_added(run)] == [f"{tmp_path / ADDED}:1", f"{tmp_path / ADDED}:2"]


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        seal({"id": 1, "columns": {}, "text": None}),
        seal({"id": "1", "columns": {"a": 1}, "text": None}),
        seal({"id": "1", "columns": {}}),
        b"{",
        seal({"id": "0", "columns": {}, "text": None}),
        seal({"id": "1", "columns": {"title": "tea"}, "text": None}).replace(b"tea", b"pea"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / ADDED).write_bytes(seal({"id": "0", "columns": {}, "text": None}) + b"\n" + line + b"\n")
    with pytest.raises(RunError, match=rf"{ADDED}:2"):
        read_added(Run(tmp_path))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / ADDED).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError):
        read_added(Run(tmp_path))

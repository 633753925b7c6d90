"""python -m cold_jax.cache."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from cold_jax.cache import main
from cold_jax.storage import cache


@pytest.fixture
def filled() -> None:
    cache.arrays("tokens", {"n": 1}, lambda: {"a": np.zeros(250_000, np.int32)})
    cache.arrays("vectors", {"n": 1}, lambda: {"a": np.zeros(500, np.float32)})
    cache.arrays("vectors", {"n": 2}, lambda: {"a": np.zeros(500, np.float32)})
    (newest := max((cache.root() / "vectors").iterdir())).touch()
    day = time.mktime((2031, 2, 3, 4, 5, 0, 0, 0, -1))
    os.utime(newest, (day, day))


def kinds() -> set[str]:
    return {entry.kind for entry in cache.entries()}


def test_the_list_has_kinds_sizes_and_times(
    filled: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", "3GB")
    main([])
    tokens, vectors, total = capsys.readouterr().out.splitlines()
    assert tokens.split()[:5] == ["tokens", "1", "entries", "1.0", "MB"]
    assert vectors.split()[:5] == ["vectors", "2", "entries", "4.4", "kB"]
    assert vectors.endswith("last used 2031-02-03 04:05")
    assert total == f"{cache.root()}: 1.0 MB of 3.0 GB"


def test_clear_takes_one_kind_or_all(filled: None, capsys: pytest.CaptureFixture[str]) -> None:
    main(["clear", "tokens"])
    assert kinds() == {"vectors"}
    assert "1 entries, 1.0 MB freed" in capsys.readouterr().out
    main(["clear"])
    assert kinds() == set()
    assert [path for path in cache.root().rglob("*") if path.is_file()] == []
    main([])
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{cache.root()}: 0 B of")


def test_a_wrong_kind_or_size_is_one_line(filled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="vektors: the cache has no such kind; there are tokens, vectors"):
        main(["clear", "vektors"])
    assert kinds() == {"tokens", "vectors"}
    monkeypatch.setenv("COLD_JAX_CACHE_SIZE", "lots")
    with pytest.raises(SystemExit, match="COLD_JAX_CACHE_SIZE: 'lots' is not a size"):
        main([])


def test_no_file_outside_is_removed(filled: None, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (cache.root() / "vectors" / "link").symlink_to(tmp_path)
    (cache.root() / "elsewhere").symlink_to(tmp_path)
    main(["clear"])
    assert (tmp_path / "mine").read_text() == "precious"

"""Whole run folders, mutated at random: every reader answers with a value or one line, and nothing outside is written."""

import io
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cold_jax import cli
from cold_jax.errors import UserError
from cold_jax.runs import compare
from cold_jax.runs.folder import Run, open_run
from cold_jax.runs.render import comparison_table, run_table
from cold_jax.storage.locks import lock
from cold_jax.training.checkpoints import Checkpoints

pytestmark = [pytest.mark.faults, pytest.mark.slow]
HOSTILE = [
    b"", b"[" * 3000, b"{" * 3000, b"\x00" * 100, b"\xff\xfe", b"a: &a [*a]", b"!!python/object/apply:os.system [id]", b"null", b"1e999",
    b"${oc.env:HOME}", b'"\\x24{oc.env:HOME}"', b"9" * 5000, b"\n../../../etc/passwd\n", b"NaN", b"format: 2\n", b"- " * 200, b"\x1b[31m",
]  # fmt: skip
mutations = st.lists(
    st.tuples(
        st.integers(0, 2**30),
        st.sampled_from(["flip", "cut", "insert", "replace", "link", "outside", "pipe", "remove", "folder", "grow", "swap"]),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    done = runs.run(
        "train",
        *runs.smoke(folder / "run", steps=3),
        cwd=folder,
        cache=folder / "cache",
        XDG_DATA_HOME=os.environ["XDG_DATA_HOME"],
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


def mutate(run: Path, seed: int, how: str) -> None:
    draw = random.Random(seed)
    path = draw.choice(sorted(path for path in run.rglob("*") if path.is_file() and not path.is_symlink()))
    if path.stat().st_size > 10**8:  # it has grown
        return
    data = bytearray(path.read_bytes()) or bytearray(b"x")
    place = draw.randrange(len(data))
    if how == "flip":
        data[place] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[:place])
    elif how == "insert":
        path.write_bytes(data[:place] + draw.choice(HOSTILE) + data[place:])
    elif how == "replace":
        path.write_bytes(draw.choice(HOSTILE))
    elif how == "grow":
        os.truncate(path, 2 ** draw.randrange(10, 40))  # sparse
    elif how == "swap":
        other = draw.choice(sorted(path for path in run.rglob("*") if path.is_file() and path.stat().st_size < 10**8))
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()
        target = run.parent / "secret"
        if how == "link":
            path.symlink_to(draw.choice([target, Path("/etc/passwd"), Path("config.yaml"), path, run.parent / "nowhere"]))
        elif how == "outside":
            shutil.rmtree(
                folder := draw.choice([run / "checkpoints", path.parent if path.parent != run else run / "search_title"]),
                ignore_errors=True,
            )
            if not folder.exists():
                folder.symlink_to(run.parent / "elsewhere")
        elif how == "pipe":
            os.mkfifo(path)
        elif how == "folder":
            path.mkdir()


def readers(path: Path) -> Iterator[Callable[[], object]]:
    run = Run(path)
    yield lambda: cli.load_settings(open_run(path), {})
    yield from (run.read_config, lambda: run.made_here, run.read_results, run.read_metrics, run.read_per_user, run.read_rankings)
    yield from (run.read_delta, lambda: run.read_head({}), lambda: run.cut_metrics(2), lambda: run.append_metrics({"step": 9}))
    yield lambda: Checkpoints(path / "checkpoints", read_only=True).restore({"x": 1}, {"data": "?"})
    yield lambda: _locked(path)


def _locked(path: Path) -> None:
    with lock(path):
        pass


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations, st.booleans())
def test_a_mutated_run_is_a_value_or_one_line(
    made: Path, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, str]], foreign: bool
) -> None:
    top = tmp_path_factory.getbasetemp() / "fuzz"
    shutil.rmtree(top, ignore_errors=True)
    run = Path(shutil.copytree(made, top / "all" / "run"))
    (top / "all" / "secret").write_text("secret")
    (top / "all" / "elsewhere").mkdir()
    outside = {name: (top / "all" / name).read_bytes() for name in ("secret",)}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if foreign:
            patch.setenv("XDG_DATA_HOME", str(top / "home"))
        for seed, how in changes:
            mutate(run, seed, how)
        for read in readers(run):
            try:
                read()
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017
        found = compare.scan_runs([top / "all"])
        console = Console(file=io.StringIO())
        for section in compare.compare_runs(found.finished, ()):
            console.print(comparison_table(section))
        for record in found.finished:
            console.print(run_table(record.results))
        assert "\x1b" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert {name: (top / "all" / name).read_bytes() for name in outside} == outside
    assert list((top / "all" / "elsewhere").iterdir()) == []
    assert {path.name for path in (top / "all").iterdir()} == {"run", "secret", "elsewhere"}

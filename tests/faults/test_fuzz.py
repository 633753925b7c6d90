"""Whole run folders, mutated at random: every reader gives what was written or one line, and nothing outside is written."""

import io
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import in_process
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
    b"${oc.env:HOME}", b'"\\x24{oc.env:HOME}"', b"9" * 5000, b"\n../../../etc/passwd\n", b"NaN", b"format: 3\n", b"- " * 200, b"\x1b[31m",
]  # fmt: skip
mutations = st.lists(
    st.tuples(
        st.integers(0, 2**30),
        st.sampled_from(["flip", "cut", "insert", "replace", "link", "outside", "pipe", "remove", "folder", "grow", "swap"]),
    ),
    min_size=1,
    max_size=3,
)


class Made(NamedTuple):
    run: Path
    values: dict[str, object]  # that `readers` find in it
    record: compare.RunRecord

    def is_as_it_was(self, record: compare.RunRecord) -> bool:
        return (
            record.results == self.record.results
            and record.config == self.record.config
            and record.users.equals(self.record.users)
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    small = ("data.users=60", "data.items=40", "evaluation.resamples=10", "baseline=[popularity]")
    done = in_process.run("train", *runs.smoke(folder / "run", *small, steps=3), cwd=folder, COLD_JAX_CACHE=str(folder / "cache"))
    assert done.code == 0, done.err
    for step in ("checkpoints/0", "checkpoints/1"):  # fewer files to copy
        shutil.rmtree(folder / "run" / step, ignore_errors=True)
    [record] = compare.scan_runs([folder / "run"]).finished
    return Made(folder / "run", {name: read() for name, read in readers(Run(folder / "run")).items()}, record)


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


def readers(run: Run) -> dict[str, Callable[[], object]]:
    """What gives back something that was written, by the file's name; a tree of plain values."""
    return {
        "config.yaml": run.read_config,
        "results.json": run.read_results,
        "metrics.jsonl": run.read_metrics,
        "overrides.json": lambda: cli.typed(run, cli.Invocation(run.path, (), None)),
        "per_user.parquet": lambda: [list(column) for column in run.read_per_user()],
        "rankings.parquet": lambda: [list(column) for column in run.read_rankings()],
        "delta.safetensors": lambda: {name: tensor.tolist() for name, tensor in run.read_delta().items()},
    }


def others(run: Run) -> Iterator[Callable[[], object]]:
    yield lambda: open_run(run.path)
    yield from (
        lambda: run.made_here,
        lambda: run.read_head({}),
        lambda: run.cut_metrics(2),
        lambda: run.append_metrics({"step": 9}),
    )
    yield lambda: Checkpoints(run.path / "checkpoints", read_only=True).restore({"x": 1}, {"data": "?"})
    yield lambda: _locked(run.path)


def _same(path: Path, other: Path) -> bool:
    plain = path.is_file() and not path.is_symlink() and path.stat().st_size == other.stat().st_size
    return plain and path.read_bytes() == other.read_bytes()


def _locked(path: Path) -> None:
    with lock(path):
        pass


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations, st.booleans())
def test_a_mutated_run_is_a_value_or_one_line(
    made: Made, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, str]], foreign: bool
) -> None:
    top = tmp_path_factory.getbasetemp() / "fuzz"
    shutil.rmtree(top, ignore_errors=True)
    run = Path(shutil.copytree(made.run, top / "all" / "run"))
    (top / "all" / "secret").write_text("secret")
    (top / "all" / "elsewhere").mkdir()
    outside = {name: (top / "all" / name).read_bytes() for name in ("secret",)}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if foreign:
            patch.setenv("XDG_DATA_HOME", str(top / "home"))
        for seed, how in changes:
            mutate(run, seed, how)
        read = dict(readers(Run(run))) | {str(n): other for n, other in enumerate(others(Run(run)))}
        if not _same(run / "config.yaml", made.run / "config.yaml"):  # it takes a third of the time
            read["settings"] = lambda: cli.load_settings(open_run(run), {})
        for name, reader in read.items():
            try:
                value = reader()
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert {how for _, how in changes} != {"flip"} or made.values.get(name, value) == value
        found = compare.scan_runs([top / "all"])
        console = Console(file=io.StringIO())
        shown = [record for record in found.finished if not made.is_as_it_was(record)]  # as it was, test_report shows it
        for section in compare.compare_runs(shown, ()):
            console.print(comparison_table(section))
        for record in shown:
            console.print(run_table(record.results))
        assert "\x1b" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert {name: (top / "all" / name).read_bytes() for name in outside} == outside
    assert list((top / "all" / "elsewhere").iterdir()) == []
    assert {path.name for path in (top / "all").iterdir()} == {"run", "secret", "elsewhere"}

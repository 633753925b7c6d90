"""A sweep's folder and its table: which jobs are done, which failed and why.

The folder's name is a digest of the command line, so that the same command finds what it did before, and does only what is missing.
Each job appends a line to jobs.jsonl there, whatever process it runs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cold_jax.errors import RunError, UserError
from cold_jax.storage.files import append_opener, digest
from cold_jax.storage.limits import MiB, read_file
from cold_jax.storage.sealed import read_lines, seal

_JOBS, _LARGEST = "jobs.jsonl", 64 * MiB
_KEY = "hydra.sweep.dir="


class Job(NamedTuple):
    number: int
    overrides: list[str]
    state: str  # done or failed
    reason: str  # why it failed, in one line; "" for a mistake of this project, whose traceback was shown
    path: str


class SweepFailed(UserError, RuntimeError):
    """Some jobs of a sweep failed; the others are done."""


def with_folder(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """(the folder of a sweep with these arguments, the arguments with it in them).

    Unless hydra.sweep.dir is given it is multirun/NAME_DIGEST, by all that is typed but the keys of hydra itself and the launcher.
    """
    for argument in arguments:
        if argument.startswith(_KEY):
            return Path(argument.removeprefix(_KEY)), list(arguments)
    typed = sorted(word for word in arguments if "=" in word and not word.startswith(("hydra", "-", "+launcher=")))
    names = [
        word.partition("=")[2] for word in typed if word.startswith("+experiment=") and word.partition("=")[2].isidentifier()
    ]
    folder = Path("multirun", f"{names[0] if names else 'sweep'}_{digest(*typed)[:10]}")
    # Beside the other overrides: Hydra's parser takes them in one piece, before or after its flags.
    last = max((n for n, word in enumerate(arguments, 1) if "=" in word and not word.startswith("-")), default=len(arguments))
    return folder, [*arguments[:last], f"{_KEY}{folder}", *arguments[last:]]


def note(sweep: Path, job: Job) -> None:
    """Appends a job that ended. A later line of the same number replaces an earlier one."""
    sweep.mkdir(parents=True, exist_ok=True)
    with open(sweep / _JOBS, "ab", opener=append_opener) as file:
        file.write(seal(job._asdict()) + b"\n")


def jobs(sweep: Path) -> list[Job]:
    """By number; none where no job has ended. RunError where a line is not as `note` wrote it."""
    path = sweep / _JOBS
    try:
        data = read_file(path, _LARGEST, RunError)
    except FileNotFoundError:
        return []
    if not data.endswith(b"\n"):
        raise RunError(f"{path}: damaged (its last line is not whole); delete the file")
    found = {}
    for number, entry in enumerate(read_lines(data, str(path), RunError), 1):
        if not _is_job(entry):
            raise RunError(f"{path}:{number}: damaged (it is no job of a sweep); delete the file")
        found[entry["number"]] = Job(**entry)
    return [found[number] for number in sorted(found)]


def _is_job(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != set(Job._fields):
        return False
    texts = [
        entry["state"],
        entry["reason"],
        entry["path"],
        *(entry["overrides"] if isinstance(entry["overrides"], list) else [None]),
    ]
    return type(entry["number"]) is int and all(isinstance(text, str) for text in texts)


def failures(folders: Sequence[Path]) -> list[str]:
    """A line for each failed job of the sweeps under these folders."""
    lines = []
    for sweep in sorted({path.parent.resolve() for folder in folders for path in folder.rglob(_JOBS)}):
        try:
            failed = [job for job in jobs(sweep) if job.state == "failed"]
        except (RunError, OSError) as error:
            lines.append(f"damaged: {error}")
            continue
        for job in failed:
            lines.append(f"failed: {sweep}, job {job.number}: {' '.join(job.overrides)}: {job.reason or 'a bug, see its log'}")
    return lines


def size(sweep: Path) -> int:
    """Bytes noted so far: more than before if jobs have ended since."""
    try:
        return (sweep / _JOBS).stat().st_size
    except OSError:
        return 0


def show(sweep: Path) -> None:
    """The table of a sweep's jobs on stdout; nothing where there were none. SweepFailed where any failed."""
    ended = jobs(sweep)
    if not ended:
        return
    from rich.table import Table
    from rich.text import Text

    from cold_jax.runs import terminal

    table = Table("job", "state", "overrides", "where, or why not", title=f"sweep {sweep}", title_justify="left")
    for job in ended:
        cells = (str(job.number), job.state, " ".join(job.overrides), job.path if job.state == "done" else job.reason)
        table.add_row(*(Text(terminal.escape_control(str(cell))) for cell in cells))
    terminal.show([table])
    failed = [job for job in ended if job.state == "failed"]
    if failed:
        raise SweepFailed(f"{len(failed)} of {len(ended)} jobs failed; the same command again does only what is missing")

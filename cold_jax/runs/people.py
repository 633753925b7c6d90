"""Which runs have read a user: by the labels of their interactions in a run's split.csv."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cold_jax.errors import UserError
from cold_jax.runs.folder import Run


def runs_with(user: str, folders: Sequence[Path]) -> Iterator[str]:
    """A line for each run under the folders that has the user, or that cannot tell."""
    for path in sorted({config.parent for folder in folders for config in folder.rglob("config.yaml")}):
        run = Run(path)
        try:
            rows = run.read_split()
            labels = Counter(part for owner, part in zip(rows.user_id, rows.part, strict=True) if owner == user)
        except FileNotFoundError:
            yield f"{path}: is not finished, and has no split.csv to tell by; delete it, or finish it first"
            continue
        except (OSError, UserError) as error:
            yield f"{path}: cannot tell ({error})"
            continue
        if labels:
            yield f"{path}: {_verdict(run, labels)}; its folder holds their id: delete it and train again"


def _verdict(run: Run, labels: Counter[str]) -> str:
    read = ", ".join(f"{count} {label or 'unused'}" for label, count in sorted(labels.items()))
    if not labels["train"]:
        return f"evaluated on them ({read})"
    private = run.read_results().get("privacy") if run.finished else None
    bound = f" with ε = {private['epsilon']:.3g}" if private and private["epsilon"] is not None else ""
    return f"learned from them{bound} ({read})"

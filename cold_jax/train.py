"""python -m cold_jax.train [+experiment=NAME] [GROUP=CHOICE …] [KEY=VALUE …]: trains, evaluates, and leaves a run's folder."""

import shlex
import sys
from types import ModuleType

from omegaconf import DictConfig

import cold_jax
from cold_jax import cli, command, processes


def train(cfg: DictConfig) -> float | None:
    """Returns the validation metric, which a search maximises."""
    from cold_jax.runs.finished import FinishedRun, kept_metric
    from cold_jax.runs.folder import Run
    from cold_jax.runs.terminal import show

    run = FinishedRun(cli.train(cfg, cli.invocation()))
    if not processes.first():
        return kept_metric(run.path)
    show(run.table().tables)
    folder, user = shlex.quote(str(run.path)), shlex.quote(Run(run.path).read_per_user().user_id[0])
    print(f"run: {run.path}")
    print(f"next: python -m cold_jax.evaluate run={folder}")
    print(f"      python -m cold_jax.recommend run={folder} --user {user}")
    print(f"      python -m cold_jax.report {shlex.quote(str(run.path.parent))}")
    return kept_metric(run.path)


def main() -> None:
    command.main(train, "train")


class _Command(ModuleType):
    """Importing this module hides the function `cold_jax.train`; called, it is that function."""

    __call__ = staticmethod(cold_jax.train)


sys.modules[__name__].__class__ = _Command

if __name__ == "__main__":
    main()

"""python -m cold_jax.train [+experiment=NAME] [GROUP=CHOICE …] [KEY=VALUE …]: trains, evaluates, and leaves a run's folder."""

import sys
from types import ModuleType

import hydra
from omegaconf import DictConfig

import cold_jax
from cold_jax import CONF, cli


def train(cfg: DictConfig) -> None:
    from cold_jax.runs.finished import FinishedRun
    from cold_jax.runs.render import show

    run = FinishedRun(cli.train(cfg, cli.invocation()))
    show(run.table().tables)
    print(run.path)


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
def _job(cfg: DictConfig) -> None:
    cli.run(train, cfg)


def main() -> None:
    cli.main(_job, "train")


class _Command(ModuleType):
    """Importing this module hides the function `cold_jax.train`; called, it is that function."""

    __call__ = staticmethod(cold_jax.train)


sys.modules[__name__].__class__ = _Command

if __name__ == "__main__":
    main()

"""python -m cold_jax.evaluate run=DIR: a run's best checkpoint on its test parts again, beside what results.json says."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, build, command


def evaluate(cfg: DictConfig) -> None:
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import combine
    from cold_jax.runs.render import run_table, show

    run = Run(Path(cfg.run))
    settings = build.settings(command.read_config(run))
    question = build.question(settings)
    learner = build.learner(settings, question)
    trainable, best_step = build.training(settings, question, learner, run, combine([])).best()
    tested = build.test(settings, question, learner, trainable).mean()
    before = run.read_results()
    show([run_table({**before, "test": tested, "seconds": {}})])
    worst = max(abs(value - before["test"][part][name]) for part, values in tested.items() for name, value in values.items())
    print(f"step {best_step}; the largest difference to {run.path / 'results.json'}: {worst:.2g}")


@hydra.main(version_base="1.3", config_path=CONF, config_name="evaluate")
def _job(cfg: DictConfig) -> None:
    command.run(evaluate, cfg)


def main() -> None:
    command.main(_job, "evaluate")


if __name__ == "__main__":
    main()

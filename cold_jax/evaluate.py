"""python -m cold_jax.evaluate run=DIR: a run's best checkpoint on its test tasks again, beside what results.json says."""

from math import inf
from pathlib import Path

from omegaconf import DictConfig

from cold_jax import cli, command, experiment


def evaluate(cfg: DictConfig) -> None:
    from cold_jax.runs.folder import open_run
    from cold_jax.runs.loggers import combine
    from cold_jax.runs.render import run_table
    from cold_jax.runs.terminal import show

    run = open_run(Path(cfg.run))
    before = run.read_results()
    settings = cli.load_settings(run, cli.given_places(cfg))
    prepared = experiment.prepare(settings)
    setup = experiment.setup(settings, prepared)
    trainable, best_step = experiment.training(settings, prepared, setup, run, combine([])).best()
    tested = experiment.evaluate(settings, prepared, setup, trainable).mean()
    show([run_table({**before, "test": tested, "seconds": {}})])
    pairs = [(value, before["test"].get(part, {}).get(name, inf)) for part, of in tested.items() for name, value in of.items()]
    worst = max(abs(value - old) for value, old in pairs)
    print(f"step {best_step}; the largest difference to {run.path / 'results.json'}: {worst:.2g}")


def main() -> None:
    command.main(evaluate, "evaluate")


if __name__ == "__main__":
    main()

"""python -m cold_jax.search run=DIR: how well a run's users find, by words about it, an item that they took and it doesn't know of."""

from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, build, command


def search(cfg: DictConfig) -> None:
    from cold_jax import timing
    from cold_jax.models.personalized_search import KINDS
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import combine
    from cold_jax.runs.render import run_table, show

    run = Run(Path(cfg.run))
    settings = build.settings(command.read_config(run))
    with timing.gathered() as seconds, timing.timed("total"):
        question = build.question(settings)
        learner = build.learner(settings, question)
        trainable, best_step = build.training(settings, question, learner, run, combine([])).best()
        searcher = build.searcher(build.make(cfg.search, "search"), settings, question, learner, trainable, run)
        for kind in KINDS:
            asked = {name: searcher.asked(part, [kind]) for name, part in question.split.test.items()}
            asked = {name: own for name, own in asked.items() if own.query_of}
            if not asked:
                continue
            methods = searcher.evaluated(asked, settings.evaluation)
            personal, about = methods.pop("personal"), {"best_step": best_step}
            of_kind = question._replace(split=replace(question.split, test={name: own.part for name, own in asked.items()}))
            named = settings._replace(experiment=f"{settings.experiment}, search by {kind}")
            results = build.document(named, of_kind, dict(seconds), personal, methods, about)
            folder = run.path / f"search_{kind}"
            folder.mkdir(exist_ok=True)
            Run(folder).write_results(results)
            show([run_table(results)])
    told = ", ".join(f"{name} {weight:.3g}" for name, weight in searcher.weights["personal"].items())
    print(f"weights, chosen on validation users: {told}; {run.path}/search_*/results.json")


@hydra.main(version_base="1.3", config_path=CONF, config_name="search")
def _job(cfg: DictConfig) -> None:
    command.run(search, cfg)


def main() -> None:
    command.main(_job, "search")


if __name__ == "__main__":
    main()

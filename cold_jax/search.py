"""python -m cold_jax.search run=DIR: how well a run's users find, by words about it, an item that they took and it doesn't know of."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, cli, config, experiment

if TYPE_CHECKING:
    from cold_jax.models.personalized_search import Search


def search(cfg: DictConfig) -> None:
    from cold_jax import timing
    from cold_jax.models.personalized_search import KINDS
    from cold_jax.runs.folder import Run, open_run
    from cold_jax.runs.loggers import combine
    from cold_jax.runs.render import run_table, show

    run = open_run(Path(cfg.run))
    s = cli.load_settings(run, cli.given_places(cfg))
    with timing.gathered() as seconds, timing.timed("total"):
        p = experiment.prepare(s)
        t = experiment.setup(s, p)
        trainable, best_step = experiment.training(s, p, t, run, combine([])).best()
        scorer = experiment.ensemble(s, p, t.scorer(trainable))
        made = cast("Search", config.make(cfg.search, "search"))
        searcher = experiment.personalized_search(made, p, experiment.adapted(s, p, run), scorer)
        for kind in KINDS:
            queries = {name: searcher.make_queries(task, [kind]) for name, task in p.split.test.items()}
            queries = {name: made for name, made in queries.items() if made.query_of}
            if not queries:
                continue
            methods = searcher.evaluate(queries, s.evaluation)
            personal = methods.pop("personal")
            of_kind = p._replace(split=replace(p.split, test={name: made.task for name, made in queries.items()}))
            named = s._replace(experiment=f"{s.experiment}, search by {kind}")
            results = experiment.results_document(named, of_kind, dict(seconds), personal, methods, {"best_step": best_step})
            folder = run.path / f"search_{kind}"
            folder.mkdir(exist_ok=True)
            Run(folder).write_results(results)
            show([run_table(results)])
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in searcher.weights["personal"].items())
    print(f"weights, chosen on validation users: {weights}; {run.path}/search_*/results.json")


@hydra.main(version_base="1.3", config_path=CONF, config_name="search")
def _job(cfg: DictConfig) -> None:
    cli.run(search, cfg)


def main() -> None:
    cli.main(_job, "search")


if __name__ == "__main__":
    main()

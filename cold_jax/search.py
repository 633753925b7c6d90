"""python -m cold_jax.search run=DIR: how well a run's users find, by words about it, an item that they took and it doesn't know of."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig

from cold_jax import cli, command, config, experiment
from cold_jax.arguments import Request
from cold_jax.document import results_document
from cold_jax.recommend import recommend

if TYPE_CHECKING:
    from cold_jax.models.personalized_search import Search


def search(request: Request, cfg: DictConfig) -> None:
    """Of all test users by words about what they took; with a query, of one user."""
    from cold_jax import timing
    from cold_jax.models.personalized_search import KINDS
    from cold_jax.runs.folder import Run, open_run
    from cold_jax.runs.loggers import combine
    from cold_jax.runs.render import run_table
    from cold_jax.runs.terminal import show

    if any(request):
        return recommend(request, cfg)
    run = open_run(Path(cfg.run))
    s = cli.load_settings(run, cli.given_places(cfg))
    with timing.gathered() as seconds, timing.timed("total"):
        p = experiment.prepare(s)
        t = experiment.setup(s, p)
        trainable, best_step = experiment.training(s, p, t, run, combine([])).best()
        scorer = experiment.ensemble(s, p, t.scorer(trainable))
        made = cast("Search", config.make(cfg.search, "search"))
        searcher = made(p.train, experiment.adapted(s, p, run), scorer, p.split.validation)
        for kind in KINDS:
            queries = {name: searcher.make_queries(task, [kind]) for name, task in p.split.test.items()}
            queries = {name: made for name, made in queries.items() if made.query_of}
            if not queries:
                continue
            methods = searcher.evaluate(queries, s.evaluation)
            personal = methods.pop("personal")
            split = replace(p.split, test={name: made.task for name, made in queries.items()})
            named = s._replace(experiment=f"{s.experiment}, search by {kind}")
            results = results_document(named, split, dict(seconds), personal, methods, {"best_step": best_step})
            (run.path / f"search_{kind}").mkdir(exist_ok=True)
            Run(run.path / f"search_{kind}").write_results(results)
            show([run_table(results)])
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in searcher.weights["personal"].items())
    print(f"weights, chosen on validation users: {weights}; {run.path}/search_*/results.json")


def main() -> None:
    command.main_with_request(search, "search")


if __name__ == "__main__":
    main()

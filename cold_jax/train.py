"""python -m cold_jax.train [+experiment=NAME] [GROUP=CHOICE …] [KEY=VALUE …]: trains, evaluates, and leaves a run's folder."""

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, build, command


def train(cfg: DictConfig) -> None:
    from cold_jax import timing
    from cold_jax.evaluation import tables
    from cold_jax.runs.loggers import combine
    from cold_jax.runs.render import run_table, show
    from cold_jax.storage.locks import lock

    cfg, run = command.open_run(cfg)
    settings = build.settings(cfg)
    if build.foretells(settings):
        raise build.ConfigError("model: tokens ranks nothing; python -m cold_jax.pretrain trains it")
    with lock(run.path):
        if run.finished:
            return show([run_table(run.read_results())])
        run.remove_temporaries()
        logger = combine([make() for make in settings.loggers.values()])
        logger.start(*command.identity(cfg, run))
        with timing.gathered() as seconds, timing.timed("total"):
            with timing.timed("data"):
                question = build.question(settings)
            with timing.timed("baselines"):
                baselines = build.baselines(settings, question)
            with timing.timed("build"):
                learner = build.learner(settings, question)
            with timing.timed("train"):
                trainable, best_step = build.training(settings, question, learner, run, logger).fit()
            with timing.timed("evaluate"):
                tested = build.test(settings, question, learner, trainable)
        run.write_split(*build.split_rows(question))
        run.write_per_user(tables.per_user_table({"model": tested, **baselines}, question.dataset.users))
        run.write_rankings(tables.rankings_table(tested, question.dataset.users, question.dataset.items))
        run.write_parameters(*build.learned(settings, learner, trainable))
        sizes = dict(zip(("trained", "frozen"), learner.sizes, strict=True))
        cost = {"best_step": best_step, "parameters": sizes, "peak_memory": timing.peak_memory()}
        results = build.document(settings, question, seconds, tested, baselines, cost)
        run.write_results(results)
        logger.finish(results)
        show([run_table(results)])
        print(run.path)


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
def _job(cfg: DictConfig) -> None:
    command.run(train, cfg)


def main() -> None:
    command.main(_job, "train")


if __name__ == "__main__":
    main()

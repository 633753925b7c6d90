"""python -m cold_jax.train [+experiment=NAME] [GROUP=CHOICE …] [KEY=VALUE …]: trains, evaluates, and leaves a run's folder."""

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, build, command


def train(cfg: DictConfig) -> None:
    from cold_jax import evaluation, locks, timing
    from cold_jax.comparison import show, table
    from cold_jax.loggers import together

    cfg, run = command.open_run(cfg)
    settings = build.settings(cfg)
    if build.foretells(settings):
        raise build.ConfigError("model: tokens ranks nothing; python -m cold_jax.pretrain trains it")
    with locks.lock(run.path):
        if run.finished:
            return show([table(run.read_results())])
        run.sweep()
        logger = together([make() for make in settings.loggers.values()])
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
        users, items = question.dataset.users, question.dataset.items
        run.write_split(*build.split_rows(question))
        run.write_per_user(evaluation.per_user_table({"model": tested, **baselines}, users))
        run.write_rankings(evaluation.rankings_table(tested, users, items))
        run.write_parameters(*build.learned(settings, learner, trainable))
        trained, frozen = learner.sizes
        cost = {"parameters": {"trained": trained, "frozen": frozen}, "peak_memory": timing.peak_memory()}
        results = build.document(settings, question, seconds, tested, baselines, {"best_step": best_step, **cost})
        run.write_results(results)
        logger.finish(results)
        show([table(results)])
        print(run.path)


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
def _job(cfg: DictConfig) -> None:
    command.run(train, cfg)


def main() -> None:
    command.main(_job, "train")


if __name__ == "__main__":
    main()

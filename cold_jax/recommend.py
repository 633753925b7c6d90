"""python -m cold_jax.recommend run=DIR user=ID, or profile=TEXT [liked=[ID,…]] [query=WORDS]: a ranked list for one user, old or new."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, build, command


def recommend(cfg: DictConfig) -> None:
    import numpy as np
    from scipy import sparse

    from cold_jax.evaluation.ranking import top_items
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import combine

    run = Run(Path(cfg.run))
    if cfg.format not in ("table", "json", "csv"):
        raise build.ConfigError(f"format: {cfg.format!r} is not one of table, json, csv")
    settings = build.settings(command.read_config(run))
    if (cfg.user is None) == (cfg.profile is None):
        raise build.ConfigError("user, profile: give one of them, user=ID of the data set or profile=TEXT of a new user")
    question = build.question(settings, visitor=None if cfg.profile is None else str(cfg.profile))
    users, items = question.dataset.users, question.dataset.items
    user = len(users) - 1 if cfg.user is None else build.place(users.ids, str(cfg.user), "user")
    known_N = np.flatnonzero(question.dataset.user_N == user)
    known_N = known_N[np.argsort(question.dataset.time_N[known_N], kind="stable")]
    liked = [build.place(items.ids, str(item), "liked") for item in cfg.liked]
    shown = list(dict.fromkeys([*liked[::-1], *question.dataset.item_N[known_N[::-1]].tolist()]))  # newest first
    places = np.arange(1, len(shown) + 1, dtype=np.float32)
    history_UI = sparse.csr_array((places, (np.zeros(len(shown), np.int64), shown)), shape=(1, len(items)))

    learner = build.learner(settings, question)
    trainable, _ = build.training(settings, question, learner, run, combine([])).best()
    scorer = build.scorer(settings, question, learner, trainable)
    if cfg.query is not None:
        searcher = build.searcher(build.make(cfg.search, "search"), settings, question, learner, trainable, run)
        scorer = searcher.scorers({user: str(cfg.query)})["personal"]
    score_I = np.asarray(scorer(np.array([user]), history_UI, np.arange(len(items))))[0]
    text = next(iter(items.texts.values()))
    rows = [
        (rank, items.ids[i], text[i], round(float(score_I[i]), 6))
        for rank, i in enumerate(top_items(score_I, np.array(shown), cfg.k, items.ids), 1)
    ]
    command.show_list(("rank", "item_id", "text", "score"), rows, cfg.format)


@hydra.main(version_base="1.3", config_path=CONF, config_name="recommend")
def _job(cfg: DictConfig) -> None:
    command.run(recommend, cfg)


def main() -> None:
    command.main(_job, "recommend")


if __name__ == "__main__":
    main()

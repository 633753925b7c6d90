"""python -m cold_jax.recommend run=DIR user=ID, or profile=TEXT [liked=[ID,…]] [query=WORDS]: a ranked list for one user, known or new."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, cli, config
from cold_jax.errors import ConfigError

if TYPE_CHECKING:
    from cold_jax.models.personalized_search import Search


def recommend(cfg: DictConfig) -> None:
    from cold_jax.recommender import Recommender

    if cfg.format not in ("table", "json", "csv"):
        raise ConfigError(f"format: {cfg.format!r} is not one of table, json, csv")
    user, profile, query = (None if cfg[name] is None else str(cfg[name]) for name in ("user", "profile", "query"))
    recommender = Recommender(Path(cfg.run), cli.given_places(cfg), search=cast("Search", config.make(cfg.search, "search")))
    found = recommender.recommend(user, profile=profile, query=query, liked=[str(item) for item in cfg.liked], k=cfg.k)
    rows = [(rank, item, text, round(score, 6)) for rank, item, text, score in found.iter_rows()]
    cli.show_list(found.columns, rows, cfg.format)


@hydra.main(version_base="1.3", config_path=CONF, config_name="recommend")
def _job(cfg: DictConfig) -> None:
    cli.run(recommend, cfg)


def main() -> None:
    cli.main(_job, "recommend")


if __name__ == "__main__":
    main()

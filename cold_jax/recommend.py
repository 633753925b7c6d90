"""python -m cold_jax.recommend run=DIR --user ID, or --profile TEXT [--liked ID …] [--query WORDS]: a ranked list for one user."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig

from cold_jax import cli, command, config
from cold_jax.arguments import Request
from cold_jax.errors import ConfigError

if TYPE_CHECKING:
    from cold_jax.models.personalized_search import Search


def recommend(request: Request, cfg: DictConfig) -> None:
    """Options win over keys of the config of the same name."""
    from cold_jax.recommender import Recommender

    if cfg.format not in ("table", "json", "csv"):
        raise ConfigError(f"format: {cfg.format!r} is not one of table, json, csv")
    keys = {name: None if cfg[name] is None else str(cfg[name]) for name in ("user", "profile", "query")}
    user, profile, query = (keys[name] if given is None else given for name, given in zip(keys, request[:3], strict=True))
    liked = [*(str(item) for item in cfg.liked), *request.liked]
    recommender = Recommender(Path(cfg.run), cli.given_places(cfg), search=cast("Search", config.make(cfg.search, "search")))
    found = recommender.recommend(user, profile=profile, query=query, liked=liked, k=cfg.k)
    rows = [(rank, item, text, round(score, 6)) for rank, item, text, score in found.iter_rows()]
    command.show_list(found.columns, rows, cfg.format)


def main() -> None:
    command.main_with_request(recommend, "recommend")


if __name__ == "__main__":
    main()

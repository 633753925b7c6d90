"""python -m cold_jax.recommend run=DIR --user ID, --profile TEXT, --liked ID, --query WORDS, --users FILE, --item TEXT or --items FILE."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig

from cold_jax import cli, command, config
from cold_jax.arguments import Request, of_list, of_text, pairs
from cold_jax.errors import ConfigError
from cold_jax.serving import answers
from cold_jax.serving.requests import UserRequest

if TYPE_CHECKING:
    from cold_jax.models.personalized_search import Search


def recommend(request: Request, cfg: DictConfig) -> None:
    """Options win over keys of the config of the same name."""
    from cold_jax.models.approximate import index_settings
    from cold_jax.serving.recommender import Recommender

    if cfg.format not in ("table", "json", "csv"):
        raise ConfigError(f"format: {cfg.format!r} is not one of table, json, csv")
    if cfg.among not in ("new", "all"):
        raise ConfigError(f"among: {cfg.among!r} is not one of new, all")
    search = cast("Search", config.make(cfg.search, "search"))
    recommender = Recommender(Path(cfg.run), cli.given_places(cfg), search=search, index=index_settings(cfg.index))
    liked, exclude, where = (tuple(of_list(name, request, cfg)) for name in ("liked", "exclude", "where"))
    name, profile, query, users, item, items = (
        of_text(name, request, cfg) for name in ("user", "profile", "query", "users", "item", "items")
    )
    attributes = {str(name): str(value) for name, value in cfg.attributes.items()} | pairs(request.attribute, "attribute")
    keep = bool(cfg.add) or request.add
    new = recommender.add_items(items, keep=keep) if items else []
    if item is not None or (attributes and not items):
        found = answers.find_item(recommender, item, attributes, keep)
        return answers.show_users(recommender.who_likes([found], k=cfg.k), cfg.format)
    user = UserRequest(name, profile, liked, query, exclude)
    requests = recommender.read_requests(users) if users else [user] if any(user) else []
    if not requests:
        if not items:
            raise ConfigError(
                "user: give --user ID, --profile TEXT, --liked ID, --query WORDS, --users FILE, --item TEXT or --items FILE"
            )
        return answers.show_users(recommender.who_likes(new, k=cfg.k), cfg.format)
    among = new if cfg.among == "new" else ()
    found = recommender.recommend_many(requests, k=cfg.k, where=where, among=among)
    if cfg.explain and users is None:
        return answers.show_explained(recommender, user, next(found), cfg.format)
    answers.show_items(found, cfg.format, many=users is not None)


def main() -> None:
    command.main_with_request(recommend, "recommend")


if __name__ == "__main__":
    main()

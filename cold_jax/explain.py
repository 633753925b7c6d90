"""python -m cold_jax.explain run=DIR --item ID --user ID | --profile TEXT [--liked ID …]: why an item has its score for a user."""

import json
from pathlib import Path

from omegaconf import DictConfig

from cold_jax import cli, command
from cold_jax.arguments import Request, of_list, of_text
from cold_jax.errors import ConfigError


def explain(request: Request, cfg: DictConfig) -> None:
    """Options win over keys of the config of the same name."""
    from cold_jax.explanations.render import for_html, for_terminal
    from cold_jax.runs.terminal import show
    from cold_jax.serving.recommender import Recommender

    if cfg.format not in ("table", "json", "html"):
        raise ConfigError(f"format: {cfg.format!r} is not one of table, json, html")
    item, items = (of_text(name, request, cfg) for name in ("item", "items"))
    if item is None:
        raise ConfigError("item: give the id of an item, as in --item 50")
    recommender = Recommender(Path(cfg.run), cli.given_places(cfg))
    if items:
        recommender.add_items(items)
    user, profile, liked = of_text("user", request, cfg), of_text("profile", request, cfg), of_list("liked", request, cfg)
    found = recommender.explain(item, user, profile=profile, liked=liked, method=cfg.method, texts=cfg.texts, nearest=cfg.nearest)
    if cfg.format == "table":
        show([for_terminal(found)])
    else:
        print(for_html(found) if cfg.format == "html" else json.dumps(found.to_json(), ensure_ascii=False))


def main() -> None:
    command.main_with_request(explain, "explain")


if __name__ == "__main__":
    main()

"""python -m cold_jax.serve run=DIR [port=8000]: a finished run behind HTTP, on this machine alone unless host= says otherwise."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig

from cold_jax import cli, command, config, progress
from cold_jax.ranges import require

if TYPE_CHECKING:
    from cold_jax.models.personalized_search import Search


def serve(cfg: DictConfig) -> None:
    from cold_jax.models.approximate import index_settings
    from cold_jax.serving.recommender import Recommender
    from cold_jax.serving.service import Limits, make_app, readable_errors, warm_up

    limits = Limits(**{str(name): int(value) for name, value in cfg.limits.items()})
    require("limits", limits, at_least_1=limits._fields)
    search = cast("Search", config.make(cfg.search, "search"))
    recommender = Recommender(Path(cfg.run), cli.given_places(cfg), search=search, index=index_settings(cfg.index))
    app = make_app(recommender, limits, [str(host) for host in cfg.hosts])
    progress.say(f"compiling what requests of up to {limits.batch} users need")
    warm_up(recommender, limits, search=cfg.warm_search)

    import uvicorn  # pyright: ignore[reportMissingImports]

    progress.say(f"http://{cfg.host}:{cfg.port}/openapi.json describes the requests; Ctrl-C ends the server")
    with readable_errors():
        uvicorn.run(app, host=cfg.host, port=cfg.port, log_level="warning", access_log=False, server_header=False)


def main() -> None:
    command.main(serve, "serve")


if __name__ == "__main__":
    main()

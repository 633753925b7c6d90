"""python -m cold_jax.env: versions, devices and cache, for a report of a problem."""

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ["jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "tokenizers", "numpy", "polars", "hydra-core"]
VARIABLES = ["JAX_PLATFORMS", "XLA_FLAGS", "COLD_JAX_CACHE", "COLD_JAX_CACHE_SIZE", "WANDB_MODE", "HF_HUB_OFFLINE"]


def describe() -> Iterator[str]:
    """Lines NAME: VALUE. No user's name, host or path but that of the cache; of the variables, those that are set."""
    import jax

    from cold_jax import __version__
    from cold_jax.storage import cache
    from cold_jax.training.parallel import device_info

    yield f"cold_jax: {__version__}"
    yield f"python: {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            yield f"{name}: {version(name)}"
    for name, value in device_info(jax.local_device_count()).items():
        yield f"{name}: {value}"
    yield f"cache: {sum(entry.size for entry in cache.entries()) / 1e6:.1f} MB in {cache.root()}"
    yield from (f"{name}: {os.environ[name]}" for name in VARIABLES if name in os.environ)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cold_jax.env", description="Versions, devices and cache, for a report.")
    parser.parse_args(argv)
    from cold_jax import command

    with command.errors_in_one_line():
        print(*describe(), sep="\n")


if __name__ == "__main__":
    main()

"""The examples in docstrings of the public API run: on a finished run in runs/smoke, as the pages have it."""

import doctest
import importlib
import inspect
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import cold_jax
from cold_jax.serving.recommender import Recommender
from cold_jax.serving.requests import UserRequest

MODULES = (
    "cold_jax",
    "cold_jax.errors",
    "cold_jax.evaluation.metrics",
    "cold_jax.evaluation.statistics",
    "cold_jax.runs.finished",
    "cold_jax.serving.recommender",
    "cold_jax.text.templates",
)
METHODS = ("recommend", "recommend_many", "score", "who_likes")  # of a recommender; the class has an example of add_items


@pytest.fixture(scope="module")
def names(finished: Path, recommender: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What a reader of the examples has at hand, in a folder with runs/smoke."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "runs").mkdir()
    (folder / "runs" / "smoke").symlink_to(finished)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLD_JAX_CACHE", str(finished.parent / "cache"))
        yield {"cold_jax": cold_jax, "UserRequest": UserRequest, "recommender": recommender}


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_print(module: str, names: dict[str, object]) -> None:
    code = importlib.import_module(module)
    ran = doctest.testmod(code, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE, raise_on_error=False)
    assert ran.failed == 0, "see what is printed above"
    assert ran.attempted > 0


def test_what_a_user_calls_has_an_example() -> None:
    functions = [function for name in cold_jax.__all__ if isinstance(function := getattr(cold_jax, name), types.FunctionType)]
    assert len(functions) == 4
    for thing in [*functions, Recommender, *(getattr(Recommender, name) for name in METHODS)]:
        assert ">>> " in (inspect.getdoc(thing) or ""), thing.__qualname__

"""The worked examples of docs/extend: their own tests pass, and a run trains with all of them at once."""

import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cold_jax
from cold_jax.data.synthetic import Synthetic

PAGES = Path(__file__).parents[2] / "docs" / "extend"
BLOCK = re.compile(r"^`(cold_jax|conf|tests)/([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {f"{top}/{name}": text for page in sorted(PAGES.glob("*.md")) for top, name, text in BLOCK.findall(page.read_text())}
TESTS = [name for name in FILES if name.startswith("tests/")]


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the examples' files, whose modules are found in the project's packages."""
    root = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if name.startswith("cold_jax/"):
                package = importlib.import_module(f"cold_jax.{path.parent.name}")
                patch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
        yield root
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py").replace("/", "."), None)


@pytest.mark.parametrize("name", TESTS)
def test_an_example_passes_its_own_tests(placed: Path, name: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location(Path(name).stem, placed / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    functions = [value for key, value in vars(module).items() if key.startswith("test_")]
    assert functions
    for number, function in enumerate(functions):
        folder = tmp_path / str(number)
        folder.mkdir()
        function(*[folder] * ("tmp_path" in inspect.signature(function).parameters))


def test_a_run_trains_with_all_of_them(placed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Synthetic(name="d", users=40, items=30, interactions_per_user=8, seed=0, positive=None)()
    text = data.items.texts["line"]
    pairs = zip(data.user_N, data.item_N, data.time_N, strict=True)
    rows = [(data.users.ids[u], data.items.ids[i], t) for u, i, t in pairs]
    pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row").write_ipc(tmp_path / "interactions.arrow")
    pl.DataFrame({"item_id": data.items.ids, "title": text}).write_ipc(tmp_path / "items.arrow")
    monkeypatch.chdir(placed)  # whose conf/ is searched
    run = cold_jax.train(
        "+experiment=smoke",
        "data=arrow",
        f"data.root={tmp_path}",
        'data.item_texts={line: "{title}"}',
        "split=word_cold",
        "split.word=robots",
        "encoder=small_wide",
        "adapter=norms",
        "baseline=[popularity,recent]",
        "model.width=4",
        "batching.support=[1,3]",
        "loop.max_steps=2",
        "evaluation.resamples=10",
        "parallel.devices=1",
        "logger=none",
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    labels = pl.read_csv(run.path / "split.csv", schema_overrides={"item_id": pl.String, "user_id": pl.String})
    cold = set(labels.filter(pl.col("part").str.starts_with("cold")).get_column("item_id"))
    assert cold == {data.items.ids[i] for i in np.unique(data.item_N) if "robots" in text[i]}
    assert set(run.results["baselines"]) == {"popularity", "recent"}
    widths = [48, 48 * 3]  # of a norm's scales, in each layer
    assert run.results.get("parameters", {})["trained"] > sum(widths)
    assert all(np.isfinite(list(itertools.chain(*(part.values() for part in run.results["test"].values())))))

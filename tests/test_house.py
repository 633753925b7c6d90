"""The rules of the house that a program can check."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ROOT / "cold_jax"
FILES = sorted(CODE.rglob("*.py"))
# A module imports only from modules above its own.
COMMANDS = [
    "train",
    "pretrain",
    "evaluate",
    "recommend",
    "search",
    "explain",
    "serve",
    "export",
    "report",
    "plot",
    "cache",
    "env",
]
ORDER = [
    "errors",
    "ranges",
    "seeds",
    "timing",
    "progress",
    "processes",
    "storage",
    "text",
    "data",
    "splits",
    "encoders",
    "adapters",
    "batching",
    "evaluation",
    "baselines",
    "models",
    "explanations",
    "runs",
    "training",
    "config",
    "document",
    "experiment",
    "pretraining",
    "check",
    "exchange",
    "usage",
    "arguments",
    "sweeps",
    "cli",
    "jobs",
    "command",
    "serving",
    "reports",
    "plots",
    *COMMANDS,
    "__main__",
]
SEES_CONFIG = {
    "config.py",
    "experiment.py",
    "arguments.py",
    "usage.py",  # the option --cfg
    "cli.py",
    "check.py",  # writes a choice of conf/data
    "__main__.py",
    "command.py",
    "__init__.py",
    "train.py",
    "evaluate.py",
    "recommend.py",
    "export.py",
    "compare.py",
    "pretrain.py",
    "search.py",
    "explain.py",
    "serve.py",
}


# Modules whose tests stand elsewhere, and where.
TESTED_BY = {
    "pretraining.py": "test_pretrain.py",
    "adapters/base.py": "adapters/test_lora.py",  # an abstract class: its adapters are tested together
    "adapters/full.py": "adapters/test_lora.py",
    "adapters/merge.py": "adapters/test_huggingface.py",  # what is exported is merged
    "data/__main__.py": "test_check.py",
    "document.py": "test_train.py",  # results.json of a whole run
    "encoders/architectures.py": "encoders/test_encoders.py",  # one set of checks for every encoder
    "encoders/dense.py": "encoders/test_pipeline.py",
    "encoders/pooling.py": "encoders/test_encoders.py",
    "encoders/pretrained.py": "encoders/test_encoders.py",
    "encoders/text_encoder.py": "encoders/test_encoders.py",
    "encoders/tiny.py": "encoders/test_encoders.py",
    "errors.py": "test_config.py",  # the classes, by what raises them; nearest_name by its messages
    "runs/finished.py": "test_api.py",
    "explanations/explanation.py": "explanations/test_explainer.py",  # plain records
    "explanations/head.py": "explanations/test_explainer.py",  # against the run's own scores
    "runs/loggers/public.py": "runs/loggers/test_wandb.py",  # what of a config is sent
    "explanations/nearest.py": "explanations/test_explainer.py",
    "explanations/passage.py": "explanations/test_explainer.py",
    "runs/render.py": "runs/test_compare.py",
    "runs/results.py": "runs/test_folder.py",
    "serve.py": "serving/test_service.py",
    "serving/reasons.py": "explanations/test_closed_form.py",
    "serving/scorers.py": "serving/test_recommender.py",
}
# What else is written in English, but for this file and the texts of goldens.
WRITTEN = sorted(
    path
    for pattern in (
        "conf/**/*.yaml",
        "*.md",
        "docs/*.md",
        "scripts/*.py",
        "experiments/*/*.md",
        "experiments/*/*.yaml",
        "tests/**/*.py",
    )
    for path in ROOT.glob(pattern)
    if path.name not in ("make_goldens.py", "make_pipeline_goldens.py", "test_house.py")
    and "/runs/" not in str(path.relative_to(ROOT))
)
# Words of this project alone, for which the field has others.
PRIVATE = r"foretell\w*|foretold|(?:is|are|was|were) asked|told|worth|visitor"


def module_of(path: Path) -> str:
    """The package or module in ORDER; a package's command is above all, though it lies in the package."""
    return "__main__" if path.name == "__main__.py" else path.relative_to(CODE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in FILES}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> set[str]:
    """Modules of cold_jax that the file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {name if (name := f"{node.module}.{alias.name}") in MODULES else str(node.module) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & MODULES.keys()) - {"cold_jax", dotted(path)}


def test_every_module_stands_in_the_order() -> None:
    assert {module_of(path) for path in FILES} == {"__init__", *ORDER}


def test_imports_go_one_way() -> None:
    for path in FILES:
        if module_of(path) == "__init__":
            continue  # its functions import what they need when they are called
        above = ORDER[: ORDER.index(module_of(path)) + 1]
        assert {name.split(".")[1] for name in imports(path)} <= set(above), path


def test_no_import_comes_round_again() -> None:
    """Nor in a package."""
    graphlib.TopologicalSorter({name: imports(path) for name, path in MODULES.items()}).prepare()


def test_a_module_has_its_tests() -> None:
    """tests/PACKAGE/test_MODULE.py, but for TESTED_BY."""
    inside = [path.relative_to(CODE) for path in FILES if path.name != "__init__.py"]
    without = [str(path) for path in inside if not (ROOT / "tests" / path.with_name(f"test_{path.name}")).is_file()]
    assert [name for name in without if name not in TESTED_BY or not (ROOT / "tests" / TESTED_BY[name]).is_file()] == []


def test_an_exception_is_of_a_module_that_exists() -> None:
    assert not [module for module in TESTED_BY if not (CODE / module).is_file()]


def test_nothing_private_is_imported() -> None:
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cold_jax"):
                assert not [alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)], path


def test_config_and_assembly_are_typed() -> None:
    """`Any` is what a tree of arrays is; nothing else there."""
    for name in ("config.py", "experiment.py"):
        lines = [line for line in (CODE / name).read_text().splitlines() if re.search(r"\bAny\b", line)]
        assert [line for line in lines if not line.startswith(("from typing", "    from typing", "Tree = Any"))] == []


def test_words() -> None:
    """A person is "they"; nothing is called by a private word."""
    private = re.compile(rf"\b(?:he|his|him|himself|{PRIVATE})\b", re.IGNORECASE)
    found = {str(path.relative_to(ROOT)): private.findall(path.read_text()) for path in (*FILES, *WRITTEN)}
    assert {name: words for name, words in found.items() if words} == {}


def test_only_config_and_the_entry_points_see_a_config() -> None:
    seen = {path.name for path in FILES if re.search(r"\bcfg\b|DictConfig|OmegaConf", path.read_text())}
    assert seen <= SEES_CONFIG


def test_no_setting_has_a_default_in_the_code() -> None:
    hidden = r"\b(?:cfg|config|node|settings|s)(?:\.\w+)*\.get\([^()]*,|getattr\((?:cfg|config|node|settings)\b"
    assert not [path.name for path in FILES if re.search(hidden, path.read_text())]


def test_there_is_one_of_each() -> None:
    code = "\n".join(path.read_text() for path in FILES)
    for once in (
        r"nnx\.split\(",
        r"def write_results\(",
        r"optax\.chain\(\s*optax\.clip_by_global_norm",
        r"def per_user\(rank_P",
    ):
        assert len(re.findall(once, code)) == 1, once


def test_nothing_is_unpickled() -> None:
    forbidden = r"\bpickle\b|joblib|torch\.load|allow_pickle\s*=\s*True|yaml\.load\("
    assert not [path.name for path in FILES if re.search(forbidden, path.read_text())]


def test_nothing_heavy_is_imported_before_a_job_runs() -> None:
    heavy = ("jax", "transformers", "wandb", "polars", "orbax")
    probe = f"""if True:
        import importlib, sys
        for command in {(*COMMANDS, "data.__main__")}:
            importlib.import_module(f"cold_jax.{{command}}")
            assert not [name for name in {heavy} if name in sys.modules], command"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def prose_of(path: Path) -> set[int]:
    """Numbers of lines that are no code: blank ones, comments and docstrings."""
    prose = {n for n, line in enumerate(path.read_text().splitlines(), 1) if not line.strip() or line.strip().startswith("#")}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            prose |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return prose


def test_sizes() -> None:
    """Lines of code."""
    for path in FILES:
        lines, prose = len(path.read_text().splitlines()), prose_of(path)
        assert lines - len(prose) <= 300, path
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                own = set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) - prose
                assert len(own) <= 60, f"{path}: {node.name}"
        if path.parent == CODE and path.stem in COMMANDS:
            assert lines <= 60, path

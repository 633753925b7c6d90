"""Mutation testing: plants one fault at a time in a module and runs the tests that mirror it.

    python scripts/mutate.py splits batching training/loop --count 30 --seed 0

plants up to 30 faults in each of the packages or modules named, drawn at random from all that the operators below find, and prints the
share that a test noticed, and each one that none did. A fault counts as noticed where a test fails or the tests take twice the CPU time and 20 s.

The third-party libraries are imported once; each mutant runs in a fork of that process, on a copy of the repository.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = (
    "numpy", "scipy.sparse", "scipy.special", "scipy.stats", "sklearn.preprocessing", "sklearn.kernel_ridge", "polars", "pyarrow.parquet",
    "jax", "jax.numpy", "flax.nnx", "optax", "orbax.checkpoint", "tokenizers", "rich",
)  # fmt: skip
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {
    "min": "max",
    "minimum": "maximum",
    "any": "all",
    "argmin": "argmax",
    "floor": "ceil",
    "flatnonzero": "nonzero",
    "sum": "mean",
}
COMMUTATIVE = ("min", "max", "minimum", "maximum", "add", "multiply", "array_equal", "gcd", "lcm")
NAMES |= {other: name for name, other in NAMES.items()}


@dataclass(frozen=True)
class Mutant:
    path: Path  # of the module, in the repository
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before}  →  {self.after}"


@dataclass
class Score:
    killed: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    def __str__(self) -> str:
        total = self.killed + len(self.survivors)
        return f"{self.killed} of {total} ({self.killed / max(total, 1):.0%})"


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become, by one fault each."""
    other = copy.deepcopy(node)
    match other:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            other.ops = [COMPARISONS[type(op)]()]
            yield other
        case ast.BinOp(op=op) if type(op) in ARITHMETIC and not _is_text(other.left) and not _is_text(other.right):
            other.op = ARITHMETIC[type(op)]()
            yield other
        case ast.BoolOp(op=op):
            other.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield other
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield other.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.IfExp():
            other.body, other.orelse = other.orelse, other.body
            yield other
        case ast.If() | ast.While():
            other.test = ast.UnaryOp(ast.Not(), other.test)
            yield other
        case ast.Name(id=name) if name in NAMES and isinstance(other.ctx, ast.Load):
            other.id = NAMES[name]
            yield other
        case ast.Attribute(attr=name) if name in NAMES and isinstance(other.ctx, ast.Load):
            other.attr = NAMES[name]
            yield other
        case ast.Call():
            yield from _call_changes(other)


def _call_changes(node: ast.Call) -> Iterator[ast.AST]:
    for n, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield ast.Call(node.func, node.args, node.keywords[:n] + node.keywords[n + 1 :])
    starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    commutes = ast.unparse(node.func).rsplit(".", 1)[-1] in COMMUTATIVE
    if len(node.args) > 1 and not starred and not commutes and ast.dump(node.args[0]) != ast.dump(node.args[1]):
        yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _skipped(node: ast.AST) -> bool:
    """Messages, imports, assertions and types are no behaviour of ours."""
    logs = isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "_log.", "warnings."))
    return logs or isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.Assert | ast.JoinedStr)


def mutants(path: Path) -> list[Mutant]:
    """All single faults of a module."""
    tree = ast.parse((ROOT / path).read_text())
    found: list[Mutant] = []

    def visit(node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            places = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            for at, child in places:
                if not isinstance(child, ast.AST) or _skipped(child):
                    continue
                for changed in changes(child):
                    _put(node, name, at, changed)
                    source = ast.unparse(ast.fix_missing_locations(tree))
                    before, after = (ast.unparse(x.test if isinstance(x, ast.If | ast.While) else x) for x in (child, changed))
                    found.append(Mutant(path, getattr(child, "lineno", 0), before, after, source))
                    _put(node, name, at, child)
                visit(child)

    visit(tree)
    return found


def _put(node: ast.AST, name: str, at: int | None, value: ast.AST) -> None:
    if at is None:
        setattr(node, name, value)
    else:
        getattr(node, name)[at] = value


def tests_of(path: Path) -> list[str]:
    """tests/PACKAGE/test_MODULE.py, or all tests of the package where there is no such file."""
    inside = path.relative_to("cold_jax")
    own = Path("tests", inside.parent, f"test_{inside.stem}.py")
    if (ROOT / own).exists():
        return [str(own)]
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests" / inside.parent).glob("test_*.py"))


def run(copy_of: Path, tests: list[str], limit: int) -> tuple[bool, float]:
    """(whether all passed, seconds of CPU), in a fork of this process; one that takes more than `limit` seconds of CPU has failed."""
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))  # of this process; what it waits for is stopped below
        try:
            os._exit(_pytest(copy_of, tests))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    while time.monotonic() - began < 8 * limit:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0, usage.ru_utime + usage.ru_stime
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False, limit


def _pytest(copy_of: Path, tests: list[str]) -> int:
    import pytest

    os.chdir(copy_of)
    sys.path.insert(0, str(copy_of))
    os.environ["PYTHONPATH"] = str(copy_of)
    sys.dont_write_bytecode = True
    with open(copy_of / "output", "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    marks = "not slow and not faults and not assets and not network"
    imported = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # hypothesis, by conftest
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", imported, "-m", marks, f"--rootdir={copy_of}"]
    return int(pytest.main([*options, *tests]))


def _copy(folder: Path) -> Path:
    """The repository's own files in another folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def modules(names: list[str]) -> dict[str, list[Path]]:
    """The modules of each of the packages or modules named."""
    found = {}
    for name in names:
        at = ROOT / "cold_jax" / name
        paths = sorted(at.rglob("*.py")) if at.is_dir() else [at.with_suffix(".py")]
        found[name] = [path.relative_to(ROOT) for path in paths if path.name != "__init__.py"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="packages or modules of cold_jax, as in splits or training/loop")
    parser.add_argument("--count", type=int, default=30, help="mutants of each name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    draw = random.Random(chosen.seed)
    drawn: list[tuple[str, Mutant]] = []
    for name, paths in modules(chosen.names).items():
        every = [mutant for path in paths for mutant in mutants(path)]
        drawn += [(name, mutant) for mutant in draw.sample(every, min(chosen.count, len(every)))]
        print(f"{name}: {len(every)} mutants of {len(paths)} modules", flush=True)

    sys.path.insert(0, str(ROOT / "tests"))
    importlib.import_module("conftest")  # its settings of the environment come before JAX
    del sys.modules["conftest"]
    for name in PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for n in range(chosen.jobs):
            copies.put(_copy(Path(folder, str(n))))
        return _score(drawn, copies, chosen.jobs)


def _score(drawn: list[tuple[str, Mutant]], copies: "Queue[Path]", jobs: int) -> int:
    scores: dict[str, Score] = {name: Score() for name, _ in drawn}

    def baseline(path: Path) -> float | None:
        """Seconds of CPU of a module's tests without a fault, compilation included; None where they fail."""
        copy_of = copies.get()
        passed, seconds = run(copy_of, tests_of(path), 600)
        if not passed:
            print(
                f"{path}: {' '.join(tests_of(path))} fail without any fault; it is left out",
                (copy_of / "output").read_text()[-2000:],
            )
        copies.put(copy_of)
        return seconds if passed else None

    def kill(mutant: Mutant, limit: int) -> bool:
        copy_of = copies.get()
        module = copy_of / mutant.path
        original = module.read_text()
        module.write_text(mutant.source)
        passed, _ = run(copy_of, tests_of(mutant.path), limit)
        module.write_text(original)
        copies.put(copy_of)
        return not passed

    with ThreadPoolExecutor(jobs) as pool:
        paths = sorted({mutant.path for _, mutant in drawn})
        times = dict(zip(paths, pool.map(baseline, paths), strict=True))
        usable = [(name, mutant) for name, mutant in drawn if times[mutant.path] is not None]
        outcomes = pool.map(lambda pair: kill(pair[1], int(2 * (times[pair[1].path] or 0)) + 20), usable)
        for n, ((name, mutant), killed) in enumerate(zip(usable, outcomes, strict=True), 1):
            if n % 20 == 0:
                print(f"{n} of {len(usable)}", flush=True)
            if killed:
                scores[name].killed += 1
            else:
                scores[name].survivors.append(mutant)
                print(f"survived: {mutant}", flush=True)
    for name, score in scores.items():
        print(f"{name}: {score}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""W&B: what reaches its own files, and that none of it can harm or delay a run."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cold_jax.errors import RunError
from cold_jax.runs.loggers import Logger, combine
from cold_jax.runs.loggers.public import public
from cold_jax.runs.loggers.wandb import Mode, Wandb, _run_id

STEPS = 20
RESULTS: dict[str, Any] = {
    "test": {"support_5": {"recall@20": 0.34, "ndcg@20": 0.31}, "support_10": {"recall@20": 0.4}},
    "baselines": {"ridge_svd": {"support_5": {"recall@20": 0.33, "ndcg@20": 0.3}}},
    "seconds": {"total": 3.5},
    "digests": {"data": "d" * 64, "encoder": "e" * 64},
    "encoder": "MiniLM",
}


CONFIG = {"adapter": {"_target_": "cold_jax.adapters.lora.Lora", "rank": 8}, "data": {"name": "ml_100k"}, "seed": 1}
WHOLE = {**CONFIG, "resume": "/a/folder", "hydra": {"run": {"dir": "/a/folder"}}}  # what a run's config has besides


def record(step: int, steps: int = STEPS) -> dict[str, float]:
    return {"step": step, "steps": steps, "epoch": 1, "loss": 4 / step, "examples_per_second": 812.3, "learning_rate": 1e-3}


def run(logger: Logger, folder: Path, pause: float = 0.0) -> tuple[float, float]:
    """A run of a few steps; (seconds of the loop, seconds of the finish)."""
    begin = time.monotonic()
    logger.start(WHOLE, folder, "lora_user_cold seed 1", "lora_user_cold", "train")
    for step in range(1, STEPS + 1):
        print("canary-of-the-console")
        logger.step(record(step))
        if step % 10 == 0:
            logger.validation({"step": step, "epoch": 1, "recall@20": step / 100})
        time.sleep(pause)
    looped = time.monotonic()
    logger.finish(RESULTS)
    return looped - begin, time.monotonic() - looped


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


def wandb_logger(mode: Mode = Mode.auto, **changes: Any) -> Logger:
    return Wandb(
        **{"project": "cold_jax", "mode": mode, "every": 5, "init_timeout": 1.0, "finish_timeout": 20.0, "artifact_mb": 1}
        | changes
    )()


# --- W&B itself, without a network, each time in a process of its own

CHILD = """
import logging, os, sys
from pathlib import Path
from test_wandb import STEPS, RESULTS, Mode, record, run, wandb_logger

folder = Path(sys.argv[2])
logging.basicConfig(level=logging.WARNING)
if sys.argv[1] == "twice":
    (folder / "delta.safetensors").write_bytes(bytes(100))
    run(wandb_logger(), folder)
    run(wandb_logger(), folder, pause=0.2)  # resumed, and under way while it prints
if sys.argv[1] == "once":
    looped, finished = run(wandb_logger(), folder)
    assert looped < 0.5, looped
if sys.argv[1] == "killed":
    import psutil, time
    logger = wandb_logger()
    logger.start({}, folder, "name", "group", "train")
    services = []
    while not services or not list(folder.glob("wandb/offline-run-*/*.wandb")):
        time.sleep(0.05)
        services = [child for child in psutil.Process().children() if "wandb-core" in child.name()]
    services[0].kill()
    services[0].wait()
    for step in range(1, STEPS + 1):
        logger.step(record(step))
    logger.finish(RESULTS)
"""


def child(case: str, tmp_path: Path, **environment: str) -> tuple[Path, list[str]]:
    """(the run's folder, the lines of stderr) of a process that knows no key, whose W&B keeps everything under tmp_path."""
    folder, home = tmp_path / "run", str(tmp_path / "home")
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {f"WANDB_{name}_DIR": home for name in ("DATA", "CACHE", "CONFIG")} | {"NETRC": f"{home}/netrc"}
    environment = (
        kept
        | own
        | {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[2], Path(__file__).parents[3])))}
        | environment
    )
    command = [sys.executable, "-c", CHILD, case, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr.splitlines()


def read(folder: Path) -> list[list[dict[str, Any]]]:
    """All records of each offline run in the folder, oldest first, by W&B's own reader."""
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    texts = [subprocess.run([*command, str(f)], capture_output=True, check=True, text=True).stdout for f in files]
    return [[json.loads(line) for line in text.splitlines()] for text in texts]


def history(records: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    items = [r["history"]["item"] for r in records if r["type"] == "history"]
    return [(item["global_step"], item[name]) for item in items if name in item]


def test_offline_run_holds_config_losses_validation_and_results(tmp_path: Path) -> None:
    folder, complaints = child("twice", tmp_path, OWN_SECRET="canary-of-the-environment")
    assert not complaints
    records, resumed = read(folder)
    [about], [again] = ([r["run"] for r in records if r["type"] == "run"] for records in (records, resumed))
    assert about["config"]["update"] | {"_wandb": 0} == {**CONFIG, "_wandb": 0}
    assert (about["project"], about["run_group"], about["job_type"]) == ("cold_jax", "lora_user_cold", "train")
    assert about["display_name"] == "lora_user_cold seed 1"
    assert about["run_id"] == again["run_id"] == (folder / "wandb_id.txt").read_text()
    assert history(records, "train/loss") == [(s, 4 / s) for s in (1, 5, 10, 15, 20)]
    assert history(records, "train/examples_per_second") == [(s, 812.3) for s in (1, 5, 10, 15, 20)]
    assert history(records, "validation/recall@20") == [(10, 0.1), (20, 0.2)]
    metrics = [r["metric"] for r in records if r["type"] == "metric"]
    assert any(m.get("glob_name") == "*" and m["step_metric"] == "global_step" for m in metrics)

    summary = {k: v for r in records if r["type"] == "summary" for k, v in r["summary"]["update"].items()}
    assert summary["test/support_5/recall@20"] == 0.34
    assert summary["seconds/total"] == 3.5
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in folder.rglob("*.table.json")}
    assert tables["results"]["columns"] == ["method", "support_5/recall@20", "support_5/ndcg@20", "support_10/recall@20"]
    assert tables["results"]["data"] == [["this run", 0.34, 0.31, 0.4], ["ridge_svd", 0.33, 0.3, None]]
    by_k = [json.loads(path.read_text()) for path in folder.rglob("support_*.table.json")]
    assert [["this run", 5, 0.34], ["this run", 10, 0.4], ["ridge_svd", 5, 0.33]] in [table["data"] for table in by_k]
    assert about["tags"] == ["ml_100k", "Lora"]
    [artifact] = [r["artifact"] for r in records if r["type"] == "artifact" and r["artifact"]["type"] == "model"]
    assert json.loads(artifact["metadata"]) == {"sha256": RESULTS["digests"], "base": "MiniLM"}
    assert [entry["path"] for entry in artifact["manifest"]["contents"]] == ["delta.safetensors"]
    assert tables["learning"]["data"] == [[10, "recall@20", 0.1], [20, "recall@20", 0.2]]

    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert not [path for path, data in written.items() if b"canary" in data]
    assert not [path for path in written if path.name in ("requirements.txt", "output.log", "wandb-metadata.json", "diff.patch")]


def test_unreachable_server_means_offline(tmp_path: Path) -> None:
    closed = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    folder, [warning] = child("once", tmp_path, **closed)
    assert "not online" in warning
    assert "wandb sync" in warning
    [records] = read(folder)
    assert len(history(records, "train/loss")) == 5


def test_killed_service_costs_one_warning(tmp_path: Path) -> None:
    _, [warning] = child("killed", tmp_path)  # and no traceback at exit
    assert re.search(r"W&B failed \((Connection|HandleAbandoned|MailboxClosed)", warning)  # by how far the call had come


# --- a W&B that fails or hangs at a given call


class Stub:
    """A stand-in for the module wandb that does `harm` when the named call is made, and counts the calls."""

    def __init__(self, harmed: str, harm: Any) -> None:
        self.calls: list[str] = []

        def call(name: str, result: Any = None) -> Any:
            def made(*_: Any, **__: Any) -> Any:
                self.calls.append(name)
                if name == harmed:
                    harm()
                return result

            return made

        summary = SimpleNamespace(update=call("summary"))
        self.run = SimpleNamespace(
            dir="nowhere", log=call("log"), summary=summary, finish=call("finish"), define_metric=call("define_metric")
        )
        self.Settings, self.setup, self.login, self.teardown = (
            call("Settings"),
            call("setup"),
            call("login", True),
            call("teardown"),
        )
        self.init, self.Table, self.plot = call("init", self.run), call("Table"), SimpleNamespace(line_series=call("line_series"))


CALLS = ["setup", "login", "init", "define_metric", "log", "summary", "Table", "line_series", "finish"]


def fail() -> None:
    raise ConnectionResetError("the service is gone")


@pytest.mark.parametrize("harmed", ["import", *CALLS])
def test_failure_costs_one_warning(
    harmed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    stub = Stub(harmed, fail)
    monkeypatch.setitem(sys.modules, "wandb", None if harmed == "import" else stub)
    run(combine([wandb_logger()]), tmp_path)
    [warning] = warned(caplog)
    if harmed == "login":  # a malformed key, say: the run is kept offline
        assert "not online" in warning
        assert stub.calls.count("init") == 1
        return
    assert "W&B failed" in warning
    assert stub.calls.count("init") == {"import": 0, "setup": 0, "init": 2}.get(
        harmed, 1
    )  # a failed start is tried again offline
    if harmed != "import":
        assert stub.calls[-1] == "teardown"  # its hook at exit is gone


@pytest.mark.parametrize("harmed", CALLS)
def test_hanging_call_delays_nothing(
    harmed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    awake = threading.Event()

    def hang() -> None:
        awake.wait(60)
        fail()

    monkeypatch.setitem(sys.modules, "wandb", Stub(harmed, hang))
    looped, finished = run(wandb_logger(finish_timeout=0.3), tmp_path)
    awake.set()
    for thread in threading.enumerate():
        if thread.name == "wandb":
            thread.join()
    assert looped < 0.5
    assert 0.3 <= finished < 1.8
    [warning] = warned(caplog)  # none about what fails after that
    assert "logger.wandb.finish_timeout" in warning


def test_a_malformed_key_leaves_an_offline_run(tmp_path: Path) -> None:
    folder, [warning] = child("once", tmp_path, WANDB_MODE="online", WANDB_API_KEY="not a key")
    assert "not online" in warning
    [records] = read(folder)
    assert len(history(records, "train/loss")) == 5


def test_the_environment_names_project_run_and_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, Any]] = []
    stub = Stub("nothing", fail)
    monkeypatch.setattr(stub, "init", lambda **about: begun.append(about) or fail(), raising=False)
    monkeypatch.setitem(sys.modules, "wandb", stub)
    for name, value in {"MODE": "offline", "PROJECT": "p", "NAME": "n", "RUN_GROUP": "g"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run(wandb_logger(), tmp_path)
    assert {name: begun[0][name] for name in ("project", "name", "group")} == {"project": "p", "name": "n", "group": "g"}


def test_no_path_reaches_wandb(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    config = {
        "data": {"_target_": "cold_jax.data.tables.Tables", "root": str(tmp_path), "items": "~/items.csv", "users": "../u.csv"},
        "encoder": {"id": f"{tmp_path}/encoder", "dtype": "float32"},
        "split": {"path": "C:\\split.csv", "seed": 1},
        "model": {"ask": "a {age}-year-old", "files": ["../a", "b"]},
        "resume": str(tmp_path),
        "logger": {"wandb": {"project": "x"}},
    }
    sent = public(config)
    assert str(tmp_path) not in json.dumps(sent)
    assert sent == {
        "data": {"_target_": "cold_jax.data.tables.Tables", "root": "(a path)", "items": "(a path)", "users": "(a path)"},
        "encoder": {"id": "(a path)", "dtype": "float32"},
        "split": {"path": "(a path)", "seed": 1},
        "model": {"ask": "a {age}-year-old", "files": ["(a path)", "b"]},
    }
    assert public({"encoder": {"id": "sentence-transformers/all-MiniLM-L6-v2"}})["encoder"]["id"].startswith("sentence")


@pytest.mark.parametrize(("limit", "kept"), [(2, ["delta.safetensors", "head.safetensors"]), (1, []), (0, [])])
def test_parameters_have_a_largest_size(tmp_path: Path, limit: int, kept: list[str]) -> None:
    """Both files together, in millions of bytes."""
    for name in ("delta.safetensors", "head.safetensors"):
        (tmp_path / name).write_bytes(bytes(10**6 - 100))
    added, logged = [], []
    made = SimpleNamespace(add_file=lambda path, **_: added.append(Path(path).name))
    logger = wandb_logger(Mode.offline, artifact_mb=limit)
    logger.folder = tmp_path  # type: ignore[attr-defined]
    logger.wandb = SimpleNamespace(Artifact=lambda *_, **__: made)  # type: ignore[attr-defined]
    logger.run = SimpleNamespace(id="x", offline=True, log_artifact=logged.append)  # type: ignore[attr-defined]
    logger._log_parameters({})  # type: ignore[attr-defined]
    assert (added, logged) == (kept, [made] if kept else [])


@pytest.mark.parametrize("environment", [{"WANDB_MODE": "off"}, {"WANDB_DISABLED": "true", "WANDB_MODE": "online"}])
def test_wandb_is_off_as_it_says(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "wandb", None)
    run(wandb_logger(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "given"), [(Mode.disabled, "online"), (Mode.auto, "disabled")])
def test_disabled_touches_nothing(mode: Mode, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", given)
    monkeypatch.setitem(sys.modules, "wandb", None)
    run(wandb_logger(mode), tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"logger\.wandb\.every: 0"):
        wandb_logger(every=0)
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(ValueError, match="WANDB_MODE: 'of'"):
        wandb_logger()


@pytest.mark.parametrize("found", ["../../x", "", "a b", "x" * 65, "a\nb", "\x1b[31m", "é"])
def test_an_id_that_is_none_is_refused(tmp_path: Path, found: str) -> None:
    """It may be somebody else's file, and becomes a part of paths and addresses."""
    (tmp_path / "wandb_id.txt").write_text(found)
    with pytest.raises(RunError, match=r"wandb_id\.txt"):
        _run_id(tmp_path)
    (tmp_path / "wandb_id.txt").unlink()
    made = _run_id(tmp_path)
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert _run_id(tmp_path) == made
    for place in range(16):
        (tmp_path / "wandb_id.txt").write_text(made[:place] + ("1" if made[place] == "0" else "0") + made[place + 1 :])
        with pytest.raises(RunError, match=r"is not the id that was written; delete the file"):
            _run_id(tmp_path)
    (tmp_path / "wandb_id.txt").unlink()
    (tmp_path / "elsewhere").write_text("abc")
    (tmp_path / "wandb_id.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot be read"):
        _run_id(tmp_path)

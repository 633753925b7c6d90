"""Resuming on what is damaged, or is another run's: refused by name, or the step before is taken."""

import random
import re
import resource
import shutil
from pathlib import Path

import harness
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import runs

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def killed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its save of step 20."""
    return harness.interrupted(shared, tmp_path_factory.mktemp("killed") / "run")


@pytest.fixture
def copy(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "run"))


def refused(shared: Path, folder: Path, *command: str) -> str:
    """What it says; it left the folder as it was."""
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "cold_jax.log")]
    before = [path.read_bytes() for path in kept]
    code, output = harness.train(shared, *command)
    assert code == 1, output
    assert "Traceback" not in output
    assert [path.read_bytes() for path in kept] == before
    return output


def test_one_changed_number_is_seen_and_named(shared: Path, copy: Path) -> None:
    """Written anew by orbax, so that nothing but our digest can tell."""
    with ocp.StandardCheckpointer() as reader:
        arrays = jax.tree.map(np.array, reader.restore(copy / "checkpoints" / "20" / "state"))
    name = random.Random(0).choice(sorted(name for name, array in arrays.items() if array.size > 8))
    arrays[name].reshape(-1).view(np.uint32)[3] ^= 1
    item = copy / "checkpoints" / "20" / "state"
    shutil.rmtree(item)
    with ocp.StandardCheckpointer() as writer:
        writer.save(item, arrays)
    code, output = harness.train(shared, f"resume={copy}")
    assert code == 0, output
    assert re.search(r"step 20 is broken and set aside: leaf \.(trainable|optimizer)\S.* was altered", output)
    assert "resuming at step 10 of 60" in output
    shutil.rmtree(copy / "checkpoints" / "broken-20-0")
    harness.check_same(copy, shared / "golden")


def test_where_no_step_is_whole_it_says_so(shared: Path, copy: Path) -> None:
    steps = [path.name for path in (copy / "checkpoints").iterdir() if path.name.isdigit()]
    assert {"10", "20"} <= set(steps)
    for step in steps:
        for file in (copy / "checkpoints" / step / "state" / "ocdbt.process_0" / "d").iterdir():
            file.write_bytes(file.read_bytes()[:-1] + b"?")
        (copy / "checkpoints" / step / "meta" / "metadata").write_bytes(b"{}")
    code, output = harness.train(shared, f"resume={copy}")
    assert code == 1
    assert f"{copy}/checkpoints: no step can be restored; start the run anew" in output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("adapter.rank=4", "adapter.rank: 4 here, 8 in"),
        *(
            pytest.param(override, message, marks=pytest.mark.slow)
            for override, message in [
                ("encoder.width=32", "encoder.width: 32 here, 16 in"),
                ("seed=2", "seed: 2 here, 1 in"),
                ("data.seed=3", "data.seed: 3 here, 0 in"),
            ]
        ),
    ],
)
def test_another_config_is_refused(shared: Path, killed: Path, override: str, message: str) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = refused(shared, killed, *harness.SMALL, override, f"resume={killed}")
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime < 10  # before any data are read
    assert f"{message} {killed}/config.yaml; resume={killed} alone goes on with the saved config" in output


def test_a_config_that_was_edited_in_the_folder_is_refused_too(shared: Path, copy: Path) -> None:
    text = (copy / "config.yaml").read_text()
    assert text.count("rank: 8\n") == 1
    (copy / "config.yaml").write_text(text.replace("rank: 8\n", "rank: 4\n"))
    assert "config.yaml: damaged, or edited" in refused(shared, copy, f"resume={copy}")
    runs.edit_config(copy, lambda text: text.replace("rank: 8\n", "rank: 4\n"))
    output = refused(shared, copy, f"resume={copy}")
    assert re.search(r"saved with adapter=Lora\(.*rank=8.* this run has adapter=Lora\(.*rank=4", output)


def test_data_that_changed_are_refused(shared: Path, tmp_path: Path) -> None:
    rows = [f"u{user},i{(user * 7 + n * 3) % 40},{n}" for user in range(30) for n in range(12)]
    (tmp_path / "rows.csv").write_text("\n".join(["user_id,item_id,time", *rows]))
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title", *(f"i{item},thing {item}" for item in range(40))]))
    command = harness.arguments(
        tmp_path / "run",
        "data=tables",
        f"data.root={tmp_path}",
        "data.interactions=rows.csv",
        "data.time=time",
        "data.items=items.csv",
        "data.item_texts={line: '{title}'}",
    )
    with harness.start(shared, *command) as child:
        harness.until(child, "saved step 10")
        child.kill()
    (tmp_path / "rows.csv").write_text("\n".join(["user_id,item_id,time", *rows]).replace("u3,", "u4,", 1))
    output = refused(shared, tmp_path / "run", f"resume={tmp_path / 'run'}")
    assert re.search(r"saved with data=\w+, this run has data=\w+; resume with the saved config, or start anew", output)

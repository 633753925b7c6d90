"""States on disk: bit for bit, the newest and the best, and whatever befalls a file, no wrong number comes back."""

import logging
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cold_jax.errors import CheckpointError
from cold_jax.training.checkpoints import Checkpoints

# tensorstore's callbacks find orbax's event loop closed where a read failed before them
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ABOUT = {"data": "a1b2", "seed": "1"}


class State(NamedTuple):
    trainable: dict[str, Any]
    step: Any


def state(step: int, width: int = 3) -> State:
    draw = np.random.default_rng(step)
    head = {"kernel": draw.normal(size=(4, width)).astype(np.float32), "bias": draw.normal(size=width).astype(np.float32)}
    return State({"head": head, "half": jnp.asarray(draw.normal(size=5), jnp.bfloat16)}, np.int32(step))


def bits(tree: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(str(leaf.dtype), leaf.shape, leaf.tobytes()) for leaf in map(np.asarray, jax.tree.leaves(tree))]


def writer(folder: Path) -> Checkpoints:
    return Checkpoints(folder, read_only=False)


def save(folder: Path, step: int, best: int) -> None:
    writer(folder).save(step, state(step), ABOUT, {"best": 0.1 + step, "best_step": best}, best)


def restore(folder: Path, step: int | None = None) -> int:
    """The step that comes back, which must be what was saved of it."""
    found, got, progress = writer(folder).restore(state(0), ABOUT, step)
    assert jax.tree.structure(got) == jax.tree.structure(state(0))
    assert bits(got) == bits(state(found))
    assert progress["best"] == 0.1 + found
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the steps 5 and 10."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (5, 10):
        save(folder, step, best=5)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "checkpoints"))


def test_the_newest_comes_back_or_the_one_asked_for(whole: Path) -> None:
    assert writer(whole).steps() == [10, 5]
    assert restore(whole) == 10
    assert restore(whole, 5) == 5


def test_odd_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    odd = {"x": np.array([np.nan, -np.nan, np.inf, -0.0, 1e-45], np.float32), "flag": np.array(True)}
    writer(tmp_path / "a" / "b").save(3, odd, {}, {}, 3)
    assert bits(writer(tmp_path / "a" / "b").restore(odd, {})[1]) == bits(odd)


def test_the_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("checkpoints"), 1, best=1)
    assert restore(tmp_path / "checkpoints") == 1


@pytest.mark.parametrize(
    ("best", "kept"),
    [
        ([1, 1, 1, 1, 1], {"1", "4", "5"}),
        ([1, 2, 3, 4, 5], {"4", "5"}),
        ([1, 2, 2, 2, 2], {"2", "4", "5"}),
        ([1, 1, 3, 3, 3], {"3", "4", "5"}),
    ],
)
def test_the_newest_two_and_the_best_are_kept(tmp_path: Path, best: list[int], kept: set[str]) -> None:
    for step, best_step in enumerate(best, 1):
        save(tmp_path, step, best_step)
        assert names(tmp_path) >= {str(step), str(best_step)}
    assert names(tmp_path) == kept
    assert {str(restore(tmp_path, int(step))) for step in kept} == kept


# damage


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def test_no_flipped_bit_gets_through(whole: Path, tmp_path: Path) -> None:
    """In every file of a step: what comes back is right, or it is the step before. Orbax alone lets most flips in numbers through."""
    generator, fell_back = random.Random(0), 0
    of_step = [file.relative_to(whole) for file in files(whole / "10")]
    assert {"metadata", "_METADATA", "manifest.ocdbt", "_CHECKPOINT_METADATA"} <= {file.name for file in of_step}
    for number in range(60):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        broken = folder / of_step[number % len(of_step)]
        data = bytearray(broken.read_bytes())
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        broken.write_bytes(data)
        fell_back += restore(folder) == 5
    assert 15 < fell_back < 45


@pytest.mark.parametrize("how", ["empty", "half", "gone"])
def test_no_truncated_or_missing_file_gets_through(whole: Path, tmp_path: Path, how: str) -> None:
    for number, file in enumerate(files(whole / "10")):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        broken = folder / file.relative_to(whole)
        data = broken.read_bytes()
        broken.unlink()
        if how != "gone":
            broken.write_bytes(data[: len(data) // 2] if how == "half" else b"")
        restore(folder)


def test_an_altered_leaf_is_named_and_its_step_set_aside(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers that orbax takes for good, as they are another step's, of which one differs in one place."""
    changed, other = state(10), copy.parent / "other"
    changed.trainable["head"]["bias"][1] += 1e-6
    writer(other).save(10, changed, ABOUT, {}, 10)
    shutil.rmtree(copy / "10" / "state")
    shutil.copytree(other / "10" / "state", copy / "10" / "state")
    caplog.set_level(logging.WARNING)
    assert restore(copy) == 5
    assert "step 10 is broken and set aside: leaf .trainable['head']['bias'] was altered" in caplog.text
    assert names(copy) == {"5", "broken-10-0"}
    save(copy, 10, best=5)
    assert restore(copy) == 10


def test_altered_metadata_is_seen(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = copy / "10" / "meta" / "metadata"
    text = file.read_text()
    assert text.count("10.1") == 1
    file.write_text(text.replace("10.1", "99.1"))
    assert restore(copy) == 5
    assert "step 10 is broken and set aside: its metadata was altered" in caplog.text


def test_a_step_under_another_name_is_seen(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(copy / "10", copy / "12")
    assert restore(copy) == 10
    assert "step 12 is broken and set aside: it is a copy of step 10" in caplog.text


@pytest.mark.parametrize("name", ["12", "12/state", "12/meta/metadata"])
def test_a_folder_made_by_hand_is_set_aside(copy: Path, name: str) -> None:
    (copy / name).mkdir(parents=True)
    assert restore(copy) == 10
    assert names(copy) == {"5", "10", "broken-12-0"}


def test_what_a_kill_leaves_of_a_save_is_cleared_away(copy: Path) -> None:
    shutil.copytree(copy / "10", copy / "15.orbax-checkpoint-tmp")
    assert restore(copy) == 10
    assert names(copy) == {"5", "10"}


def test_where_none_is_whole_it_says_so(copy: Path) -> None:
    for step in (5, 10):
        (copy / str(step) / "meta" / "metadata").unlink()
    with pytest.raises(CheckpointError, match=r"checkpoints: no step can be restored; start the run anew"):
        restore(copy)
    with pytest.raises(CheckpointError, match="no step can be restored"):
        restore(copy.parent / "empty")


def test_a_step_that_was_asked_for_has_no_substitute(copy: Path) -> None:
    (copy / "5" / "meta" / "metadata").write_text("{}")
    with pytest.raises(CheckpointError, match="step 5 cannot be restored"):
        restore(copy, 5)
    assert names(copy) == {"5", "10"}


# readers


def reader(folder: Path) -> Checkpoints:
    return Checkpoints(folder, read_only=True)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_a_reader_changes_nothing_in_the_folder(copy: Path) -> None:
    """Not what another process is just writing, nor a broken step."""
    shutil.copytree(copy / "10", copy / "15.orbax-checkpoint-tmp-0")
    (copy / "12").mkdir()
    (copy / "10" / "meta" / "metadata").write_text("{}")
    before = tree(copy)
    found, got, _ = reader(copy).restore(state(0), ABOUT)
    assert found == 5
    assert bits(got) == bits(state(5))
    assert tree(copy) == before


def test_a_reader_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no step can be restored"):
        reader(tmp_path / "checkpoints").restore(state(0), ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_readers_beside_a_training_disturb_nothing(copy: Path) -> None:
    """Each save deletes the step before the last two, each reader finds one that is whole."""
    writing, found = writer(copy), set()
    with ThreadPoolExecutor(1) as pool:

        def save_all() -> None:
            for step in range(11, 31):
                writing.save(step, state(step), ABOUT, {"best": 0.1 + step, "best_step": step}, step)

        saving = pool.submit(save_all)
        while not saving.done():
            step, got, _ = reader(copy).restore(state(0), ABOUT)
            assert bits(got) == bits(state(step))
            found.add(step)
        saving.result()
    assert len(found) > 2
    assert names(copy) == {"29", "30"}


def test_a_file_allocates_no_more_than_the_run_has(copy: Path, tmp_path: Path) -> None:
    """A step whose arrays claim another shape than its record does is refused before they are read."""
    other = tmp_path / "other"
    large = state(10)._replace(step=np.zeros((2**12, 2**12), np.int32))
    writer(other).save(10, large, ABOUT, {}, 10)
    shutil.rmtree(copy / "10" / "state")
    shutil.copytree(other / "10" / "state", copy / "10" / "state")
    assert restore(copy) == 5


# other runs


@pytest.mark.parametrize(
    ("fingerprint", "message"),
    [
        ({"data": "a1b2", "seed": "2"}, "saved with seed=1, this run has seed=2"),
        ({"data": "c3", "seed": "1"}, "saved with data=a1b2, this run has data=c3"),
        ({**ABOUT, "tokens": "d4"}, "saved with tokens=None, this run has tokens=d4"),
    ],
)
def test_another_run_is_refused_by_the_key_that_differs(whole: Path, fingerprint: dict[str, str], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        writer(whole).restore(state(0), fingerprint)
    assert names(whole) == {"5", "10"}


def test_another_architecture_is_refused_by_name_and_both_shapes(whole: Path) -> None:
    with pytest.raises(CheckpointError, match=r"parameter .trainable\['head'\]\['bias'\] has shape \[3\] there and \[4\] here"):
        writer(whole).restore(state(0, width=4), ABOUT)
    less, more = state(0), state(0)
    del less.trainable["half"]
    more.trainable["more"] = np.zeros(2)
    with pytest.raises(CheckpointError, match=r"parameter .trainable\['half'\] has shape \[5\] there and None here"):
        writer(whole).restore(less, ABOUT)
    with pytest.raises(CheckpointError, match=r"parameter .trainable\['more'\] has shape None there and \[2\] here"):
        writer(whole).restore(more, ABOUT)
    assert names(whole) == {"5", "10"}


def test_too_little_room_for_the_run_is_said_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state(0)))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4 * size - 1))
    with pytest.raises(
        CheckpointError, match=f"4 checkpoints of {size:,} bytes need {4 * size:,}, and {4 * size - 1:,} bytes are free"
    ):
        save(tmp_path / "run" / "checkpoints", 0, best=0)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4 * size))
    save(tmp_path / "checkpoints", 0, best=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    save(tmp_path / "checkpoints", 5, best=0)  # the disk itself decides from then on

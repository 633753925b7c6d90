"""What a private run promises: the accountant's figures against published ones, and what a run's folder has of it."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small

from cold_jax import experiment
from cold_jax.errors import CheckpointError, DataError, RunError
from cold_jax.runs.folder import SECRET, Run
from cold_jax.runs.loggers import Logger, combine
from cold_jax.runs.render import Rendered, run_table
from cold_jax.training.privacy import Mechanism, event, recompute, spent

pytest.importorskip("dp_accounting")
pytest.importorskip("jax_privacy")
SETTINGS = small.private(epsilon=4.0)


@pytest.mark.parametrize(
    ("users", "size", "steps", "epsilon", "sigma"),
    [(754, 128, 59, 1.0, 3.68), (754, 128, 59, 4.0, 1.36), (754, 128, 59, 8.0, 0.91)],
)
def test_noise_for_an_epsilon(users: int, size: int, steps: int, epsilon: float, sigma: float) -> None:
    """Beside figures that were computed before, and rounded; RDP, another accountant of the same event, finds a larger ε."""
    from dp_accounting.rdp import RdpAccountant  # pyright: ignore[reportMissingImports]

    mechanism = Mechanism(size / users, users, 1.0, steps, epsilon, users**-1.1)
    assert mechanism.noise_multiplier == pytest.approx(sigma, abs=0.008)
    found = mechanism.spent(steps)
    assert found is not None
    assert epsilon * 0.998 < found <= epsilon
    ran = event(size / users, mechanism.noise_multiplier, steps)
    assert RdpAccountant().compose(ran).get_epsilon(users**-1.1) > found


def test_published_epsilon() -> None:
    """Abadi et al. 2016, section 3: q = .01, σ = 4, δ = 1e-5 and 10,000 steps cost ε = 1.26 by the moments accountant."""
    from dp_accounting.rdp import RdpAccountant  # pyright: ignore[reportMissingImports]

    rdp = RdpAccountant().compose(event(0.01, 4.0, 10_000)).get_epsilon(1e-5)
    tight = spent(0.01, 4.0, 10_000, 1e-5)
    assert tight is not None
    assert tight < rdp <= 1.27
    assert tight > 0.7 * rdp


def test_epsilon_grows_with_steps_and_is_unbounded_without_noise() -> None:
    mechanism = Mechanism(0.2, 100, 1.0, 20, 2.0, 0.005)
    values = [mechanism.spent(steps) for steps in (0, 5, 20, 40)]
    assert values == sorted(values)  # type: ignore[type-var]
    assert values[0] == 0
    assert replace(mechanism, epsilon=None).spent(20) is None


class _Seen(Logger):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def step(self, record: Any) -> None:
        self.records.append(dict(record))

    def validation(self, record: Any) -> None:
        self.records.append(dict(record))


def train(folder: Path, logger: Logger | None = None, settings: Any = SETTINGS) -> Run:
    folder.mkdir(exist_ok=True)
    run = Run(folder)
    experiment.train_run(settings, run, combine([]) if logger is None else logger)
    return run


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, _Seen, bytes, int]:
    """(a private run, what its loggers saw, its secret, the mode of the secret's file)."""
    run, seen, secrets, modes = Run(tmp_path_factory.mktemp("private")), _Seen(), [], []
    find = Run.secret

    def watched(self: Run, new: bool) -> bytes:
        secrets.append(find(self, new))
        modes.append(stat.S_IMODE((self.path / SECRET).stat().st_mode))
        return secrets[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "secret", watched)
        train(run.path, seen)
    return run, seen, secrets[0], modes[0]


def test_the_run_says_what_it_promises(ran: tuple[Run, _Seen, bytes, int]) -> None:
    """Of the steps that were taken; ε follows from the folder alone."""
    run = ran[0]
    results = run.read_results()
    private = results["privacy"]  # type: ignore[typeddict-item]
    taken = [line["step"] for line in run.read_metrics()]
    assert private["steps"] == len(taken) == taken[-1] == 6
    assert results["best_step"] == 6  # type: ignore[typeddict-item]
    assert (private["sampling_rate"], private["clip"], private["users"]) == (0.3, 0.2, 30)
    assert private["delta"] == pytest.approx(30**-1.1)
    assert 3.99 < private["epsilon"] <= 4.0
    assert recompute(private) == pytest.approx(private["epsilon"])
    assert any("baselines" in line for line in private["not_covered"])
    text = " ".join(str(Rendered([run_table(results)])).split())
    assert "Privacy: ε = 4, δ = 0.024 for each training user" in text
    assert "not of baselines" in text


def test_what_is_not_private_is_not_logged(ran: tuple[Run, _Seen, bytes, int]) -> None:
    run, seen, _, _ = ran
    assert len(seen.records) == 6
    assert "utilisation" not in run.read_results()  # it would tell how many tokens a step's users have
    for record in [*run.read_metrics(), *seen.records]:
        assert not {"loss", "metric", "gain"} & set(record)


def test_the_secret_is_the_owners_and_goes_with_the_last_step(ran: tuple[Run, _Seen, bytes, int]) -> None:
    run, _, secret, mode = ran
    assert mode == 0o600
    assert not (run.path / SECRET).exists()
    for path in run.path.rglob("*"):
        assert not path.is_file() or (secret not in path.read_bytes() and secret.hex() not in path.read_text("latin1"))


def test_a_killed_run_goes_on_with_the_same_noise(ran: tuple[Run, _Seen, bytes, int], tmp_path: Path) -> None:
    """Bit for bit: other noise for a step that was taken before would be another release. So a lost secret ends a run."""
    folder, whole = tmp_path / "run", ran[0]
    folder.mkdir()
    (folder / SECRET).write_bytes(ran[2])
    p = experiment.prepare(SETTINGS)
    t = experiment.setup(SETTINGS, p)
    training = experiment.training(SETTINGS, p, t, Run(folder), combine([]))
    step = training.parallel.step

    def killed(*arguments: Any) -> Any:
        if training.step == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    training.parallel = replace(training.parallel, step=killed)
    with pytest.raises(KeyboardInterrupt):
        training.fit()
    before = (folder / SECRET).read_bytes()
    (folder / SECRET).unlink()
    with pytest.raises(RunError, match="no step can be taken again with other noise"):
        experiment.training(SETTINGS, p, t, Run(folder), combine([])).fit()
    (folder / SECRET).write_bytes(before)
    longer = SETTINGS._replace(loop=replace(SETTINGS.loop, max_steps=7))
    with pytest.raises(CheckpointError, match="privacy"):  # its noise is measured for six steps
        experiment.training(longer, p, experiment.setup(longer, p), Run(folder), combine([])).fit()
    train(folder)
    for name in ("head.safetensors", "delta.safetensors"):
        assert (folder / name).read_bytes() == (whole.path / name).read_bytes()
    assert [line["step"] for line in Run(folder).read_metrics()] == [1, 2, 3, 4, 5, 6]


def test_a_model_starts_from_what_is_public() -> None:
    """Of two data sets that differ in a user's interactions it starts the same, with the same items."""
    p = experiment.prepare(SETTINGS)
    user = int(np.bincount(p.train.user_N).argmax())
    others_N = p.train.user_N != user
    rows = {name: getattr(p.train, name)[others_N] for name in ("user_N", "item_N", "value_N", "time_N")}
    interaction_UI = p.train.interaction_UI.tolil()
    interaction_UI[user] = 0
    fewer = replace(p.train, interaction_UI=interaction_UI.tocsr(), warm_I=np.zeros_like(p.train.warm_I), **rows)
    one, other = (experiment.setup(SETTINGS, p._replace(train=train)) for train in (p.train, fewer))
    for name in ("trainable", "frozen"):
        a, b = (small.leaves(getattr(t.partition, name)) for t in (one, other))
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[key], b[key]) for key in a)
    for key, value in small.leaves(one.batches.items._asdict()).items():  # type: ignore[attr-defined]
        np.testing.assert_array_equal(value, small.leaves(other.batches.items._asdict())[key])  # type: ignore[attr-defined]


def test_what_is_public_holds_no_user() -> None:
    p = experiment.prepare(SETTINGS)
    public = SETTINGS.privacy.view(p.train)
    assert (public.interaction_UI.nnz, public.warm_U.any(), public.warm_I.all()) == (0, False, True)
    assert [len(x) for x in (public.user_N, public.item_N, public.value_N, public.time_N)] == [0, 0, 0, 0]
    assert public.items is p.train.items


def test_a_private_catalogue_is_refused() -> None:
    p = experiment.prepare(SETTINGS)
    unknown = replace(p.dataset, items=replace(p.dataset.items, without_row=3))
    with pytest.raises(DataError, match="3 items are known by interactions alone"):
        experiment.setup(SETTINGS, p._replace(dataset=unknown))
    with pytest.raises(DataError, match="use a split with cold users"):
        experiment.setup(SETTINGS, p._replace(split=replace(p.split, cold_I=np.arange(30) == 7)))


def test_results_of_others_are_checked(ran: tuple[Run, _Seen, bytes, int]) -> None:
    from cold_jax.runs.results import check_results

    document = json.loads(ran[0].path.joinpath("results.json").read_text())
    document["privacy"]["epsilon"] = "none at all"
    with pytest.raises(ValueError, match=r"privacy.epsilon"):
        check_results(document, "results.json")

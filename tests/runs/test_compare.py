"""Runs side by side, on folders written by results.Run."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cold_jax.evaluation.tables import PerUser
from cold_jax.runs import compare
from cold_jax.runs.compare import compare_runs, scan_runs
from cold_jax.runs.folder import Run, create
from cold_jax.runs.render import comparison_table, run_table
from cold_jax.runs.results import Results

USERS = 30
BASE_U = np.random.default_rng(7).uniform(0.2, 0.6, USERS)
NO_VERSUS: dict[str, Any] = {}


def write(
    folder: Path,
    seed: int = 1,
    config: str = "adapter: {_target_: cold_jax.adapters.lora.Lora, rank: 8}",
    values_U: np.ndarray = BASE_U,
    baselines: Mapping[str, np.ndarray] = {},
    users: str = "u",
    part: str = "support_5",
    metric: str = "recall@20",
    experiment: str = "lora_user_cold",
    versus: Mapping[str, Any] = NO_VERSUS,
    overrides: Sequence[str] | None = None,
) -> Path:
    """A finished run with one metric in one part; the rows of its users stand in an order of their own."""
    run = create(folder)
    run.write_config(f"data: {{name: ml_100k, root: {folder}}}\n{config}\nseed: {seed}\nresume: null\nlogger: {{a: {seed}}}\n")
    rows = []
    for method, of in {"model": values_U, **baselines}.items():
        for user in np.random.default_rng(seed).permutation(USERS):
            rows.append((part, method, f"{users}{user}", metric, of[user]))
    parts, methods, ids, names, value = zip(*rows, strict=True)
    run.write_per_user(PerUser(parts, methods, ids, names, np.array(value)))
    means = {name: {part: {metric: float(of.mean())}} for name, of in baselines.items()}
    written = document({part: {metric: float(values_U.mean())}}, means, versus, seed=seed, experiment=experiment)
    if overrides is not None:
        written["overrides"] = list(overrides)
    run.write_results(written)
    return folder


def document(test: Any, baselines: Any, versus: Any = NO_VERSUS, seed: int = 1, experiment: str = "lora_user_cold") -> Results:
    protocol = {
        part: {"task": "rank", "candidates": 100, "users": 12, "minimum_detectable_difference": seed / 100} for part in test
    }
    return {
        "experiment": experiment,
        "seed": seed,
        "versions": {},
        "devices": {},
        "seconds": {"total": 1.0},
        "test": test,
        "baselines": baselines,
        "versus": versus,
        "protocol": protocol,
    }


def sections(folder: Path, *chosen: str) -> list[compare.ComparisonTable]:
    return compare_runs(scan_runs([folder]).finished, chosen)


def printed(table: Any) -> str:
    screen = io.StringIO()
    Console(file=screen, width=200, highlight=False).print(table)
    return screen.getvalue()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


# --- groups, means and sections


def test_runs_that_differ_in_seed_only_are_one_group(tmp_path: Path) -> None:
    for seed, mean in ((1, 0.30), (2, 0.32), (3, 0.37)):
        write(tmp_path / str(seed), seed, values_U=np.full(USERS, mean))
    [section] = sections(tmp_path)
    [group] = section["groups"]
    assert group["seeds"] == [1, 2, 3]
    assert group["runs"] == [str(tmp_path / str(seed)) for seed in (1, 2, 3)]
    # sd: √((.03² + .01² + .04²) / 2)
    assert group["test"]["support_5"]["recall@20"] == pytest.approx({"mean": 0.33, "sd": 0.0360555})
    assert "0.3300 ± 0.0361" in printed(comparison_table(section))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_spread_is_numpys(values: list[float]) -> None:
    method = compare.method_of("name", [], [{"warm": {"mrr": value}} for value in values], {"warm": ["mrr"]})
    found = method["test"]["warm"]["mrr"]
    assert found is not None
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["sd"] == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)


def test_groups_are_called_by_what_sets_them_apart(tmp_path: Path) -> None:
    lora, full = (
        "adapter: {{_target_: cold_jax.adapters.lora.Lora, rank: {}, alpha: 16}}",
        "adapter: {_target_: cold_jax.adapters.full.Full}",
    )
    for name, config in (("a", lora.format(8)), ("b", lora.format(16)), ("c", full)):
        write(tmp_path / name, config=config)
    [section] = sections(tmp_path)
    names = [group["name"] for group in section["groups"]]
    assert names == ["#1 adapter=Lora adapter.rank=8", "#2 adapter=Lora adapter.rank=16", "#3 adapter=Full"]
    pairs = [(difference["a"], difference["b"]) for difference in section["differences"]]
    assert pairs == [(names[0], names[1]), (names[0], names[2]), (names[1], names[2])]


def test_a_baseline_is_one_where_what_it_is_made_from_is_one(tmp_path: Path) -> None:
    """Two encoders' texts are two methods, and popularity one; two runs of an encoder are averaged."""
    encoder = "encoder: {{_target_: cold_jax.encoders.Hub, id: {}}}"
    better_U, versus = (
        BASE_U + 0.02,
        {"texts": {"support_5": {"recall@20": {"difference": 0.5, "ratio": None, "ci95": [0, 1], "p": 0.2}}}},
    )
    of_theta = {"texts": BASE_U - 0.05, "popularity": BASE_U - 0.1}
    write(tmp_path / "a1", config=encoder.format("theta"), baselines=of_theta)
    write(tmp_path / "a2", seed=2, config=encoder.format("theta"), baselines=of_theta)
    write(tmp_path / "b", config=encoder.format("phi"), baselines={**of_theta, "texts": better_U}, versus=versus)
    [section] = sections(tmp_path)
    spreads = {row["name"]: row["test"]["support_5"]["recall@20"] for row in section["baselines"]}
    means = {name: spread["mean"] for name, spread in spreads.items() if spread}
    expected = {"texts (#1)": -0.05, "texts (#2)": 0.02, "popularity": -0.1}
    assert means == {name: pytest.approx(BASE_U.mean() + by) for name, by in expected.items()}
    assert {row["name"]: len(row["runs"]) for row in section["baselines"]} == {"texts (#1)": 2, "texts (#2)": 1, "popularity": 3}
    assert section["strongest"]["support_5"]["recall@20"] == "texts (#2)"
    to_strongest = {d["a"][:2]: d["found"]["difference"] for d in section["differences"] if d["b"] == "texts (#2)"}
    assert to_strongest == {"#1": pytest.approx(-0.02), "#2": 0.5}  # of a single run, what its own table says


def test_runs_on_other_data_are_not_averaged(tmp_path: Path) -> None:
    """Data sets of one name and the same ids: other texts are another method, other interactions another question."""
    for name, data, split, by in (("a", "d1", "s1", 0.0), ("b", "d2", "s1", 0.1), ("c", "d3", "s2", 0.2)):
        run = Run(write(tmp_path / name, values_U=BASE_U + by, baselines={"texts": BASE_U - by, "popularity": BASE_U}))
        run.write_results({**run.read_results(), "digests": {"data": data, "split": split}})
    found = [[group["runs"] for group in section["groups"]] for section in sections(tmp_path)]
    assert found == [[[str(tmp_path / "a")], [str(tmp_path / "b")]], [[str(tmp_path / "c")]]]
    rows = [[row["name"] for row in section["baselines"]] for section in sections(tmp_path)]
    assert [sorted(names) for names in rows] == [["popularity", "texts (#1)", "texts (#2)"], ["popularity", "texts"]]


def test_a_baseline_of_other_settings_is_another(tmp_path: Path) -> None:
    for name, k, by in (("a", 5, 0.0), ("b", 50, 0.0), ("c", 500, 0.01)):
        config = f"baseline: {{knn: {{_target_: cold_jax.baselines.Knn, k: {k}}}}}"
        write(tmp_path / name, config=config, baselines={"knn": BASE_U + by})
    [section] = sections(tmp_path)
    assert [row["name"] for row in section["baselines"]] == ["knn (#1)", "knn (#2)", "knn (#3)"]


def test_other_users_are_another_question(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", users="v", config="adapter: {_target_: cold_jax.adapters.full.Full}")
    found = sections(tmp_path)
    assert [len(section["groups"]) for section in found] == [1, 1]
    assert [section["differences"] for section in found] == [[], []]


def test_shown_metrics_and_the_order_of_parts() -> None:
    both = {"ndcg@20": 0.1, "recall@20": 0.2, "mrr": 0.3}
    tests = [{"support_10": both, "support_5": both, "all": {"uauc": 0.5, "auc": 0.6}, "warm": both}]
    shown = compare.columns_of(tests, ())
    assert list(shown) == ["all", "warm", "support_5", "support_10"]
    assert shown["warm"] == ["recall@20", "ndcg@20"]
    assert shown["all"] == ["auc", "uauc"]
    assert compare.columns_of(tests, ["mrr"]) == {"warm": ["mrr"], "all": [], "support_5": ["mrr"], "support_10": ["mrr"]}


def test_groups_are_called_by_the_words_that_were_typed(tmp_path: Path) -> None:
    lora = "adapter: {{_target_: cold_jax.adapters.lora.Lora, rank: {}, alpha: 16}}"
    typed = {
        "a": ["+experiment=x", "adapter=lora_all", "seed=1"],
        "b": ["+experiment=x", "seed=2"],
        "c": ["+experiment=x", "lr=2"],
    }
    for number, (name, words) in enumerate(typed.items()):
        write(tmp_path / name, config=lora.format(8 + number), overrides=words)
    [section] = sections(tmp_path)
    assert [group["name"] for group in section["groups"]] == ["#1 adapter=lora_all", "#2 lora_user_cold", "#3 lr=2"]
    write(tmp_path / "d", config=lora.format(99), overrides=typed["c"])  # the words don't tell it from c: its fields do
    [section] = sections(tmp_path)
    assert [group["name"] for group in section["groups"]] == [f"#{n} adapter.rank={r}" for n, r in enumerate((8, 9, 10, 99), 1)]


def test_a_single_run_is_compared_as_in_its_own_table(tmp_path: Path) -> None:
    """Its interval and p, corrected over all baselines, whatever it lies beside."""
    found = {"difference": 0.02, "ratio": 1.1, "ci95": [0.01, 0.03], "p": 0.002, "p_holm": 0.006}
    versus = {"ridge": {"support_5": {"recall@20": found}}}
    write(tmp_path / "a", baselines={"ridge": BASE_U - 0.02}, versus=versus)
    write(tmp_path / "b", config="adapter: {_target_: cold_jax.adapters.full.Full}", values_U=BASE_U + 0.01)
    [section] = sections(tmp_path)
    [shown] = [d["found"] for d in section["differences"] if d["a"].startswith("#1") and d["b"] == "ridge"]
    assert shown == found


# --- differences


def of_groups(found: Sequence[compare.Difference]) -> list[float]:
    [difference] = [d["found"] for d in found if d["b"].startswith("#")]
    return [difference["difference"], *difference["ci95"]]


def test_users_are_paired_whatever_their_order_in_the_files(tmp_path: Path) -> None:
    # every user gains the same, so that the interval has no width if users are paired, and a wide one if any two are mixed up
    write(tmp_path / "a", seed=1, values_U=BASE_U + 0.05)
    write(tmp_path / "b", seed=2, config="adapter: {_target_: cold_jax.adapters.full.Full}")
    [section] = sections(tmp_path)
    assert of_groups(section["differences"]) == pytest.approx([0.05] * 3)


def test_seeds_are_averaged_before_users_are_compared(tmp_path: Path) -> None:
    luck_U = np.random.default_rng(3).normal(0, 0.1, USERS)  # it cancels between the two seeds
    for seed, sign in ((1, 1), (2, -1)):
        write(tmp_path / f"a{seed}", seed, values_U=BASE_U + 0.05 + sign * luck_U)
    write(tmp_path / "b", config="adapter: {_target_: cold_jax.adapters.full.Full}")
    [section] = sections(tmp_path)
    assert of_groups(section["differences"]) == pytest.approx([0.05] * 3)


def test_each_group_is_compared_to_the_strongest_baseline(tmp_path: Path) -> None:
    baselines = {"popularity": BASE_U - 0.1, "ridge_svd": BASE_U - 0.02}
    write(tmp_path / "a", baselines=baselines)
    write(tmp_path / "b", seed=2, baselines={**baselines, "ease": BASE_U - 0.05})
    [section] = sections(tmp_path)
    assert section["strongest"] == {"support_5": {"recall@20": "ridge_svd"}}
    assert [method["name"] for method in section["baselines"]] == ["popularity", "ridge_svd", "ease"]
    assert [method["seeds"] for method in section["baselines"]] == [[1, 2], [1, 2], [2]]
    [difference] = section["differences"]
    assert difference["b"] == "ridge_svd"
    assert [difference["found"]["difference"], *difference["found"]["ci95"]] == pytest.approx([0.02] * 3)
    lines = [cells(line) for line in printed(comparison_table(section)).splitlines()]
    [ridge] = [line for line in lines if line[0] == "ridge_svd"]
    assert ridge[1] == f"{BASE_U.mean() - 0.02:.4f} ± 0.0000*"
    assert sum("*" in cell for line in lines for cell in line[1:]) == 1
    [row] = [line for line in lines if line[0] == "#1 − *"]
    assert row[1] == "+0.0200"


# --- what is found, and what is printed


def test_unfinished_damaged_and_inner_folders(tmp_path: Path) -> None:
    whole = write(tmp_path / "sweep" / "whole")
    inner = whole / "wandb" / "run-1" / "files"
    inner.mkdir(parents=True)
    (inner / "config.yaml").write_text("W&B's own: 1")
    create(tmp_path / "killed").write_config("seed: 1")
    pretraining = create(tmp_path / "phi")
    pretraining.write_config("seed: 1")
    pretraining.write_pretraining({})
    (tmp_path / "phi" / "encoder").mkdir()
    (tmp_path / "half").mkdir()
    Run(tmp_path / "half").write_config("seed: 1")
    Run(tmp_path / "half").write_pretraining({})  # its encoder is gone
    torn, flipped = write(tmp_path / "torn"), write(tmp_path / "flipped")
    (torn / "results.json").write_text('{"experiment"')
    data = bytearray((flipped / "per_user.parquet").read_bytes())
    data[len(data) // 3] ^= 1
    (flipped / "per_user.parquet").write_bytes(data)
    found = scan_runs([tmp_path, tmp_path / "sweep", whole])
    assert [run.path for run in found.finished] == [whole]
    assert (found.unfinished, [*found.pretrainings]) == ([tmp_path / "half", tmp_path / "killed"], [tmp_path / "phi"])
    assert sorted(found.damaged) == [flipped, torn]
    assert all(str(path) in problem for path, problem in found.damaged.items())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        scan_runs([tmp_path / "nowhere"])


def test_table_of_a_finished_run() -> None:
    better = {"difference": 0.01, "ratio": 1.03, "ci95": [-0.002, 0.022], "p": 0.11}
    worse = {"difference": -0.02, "ratio": 0.94, "ci95": [-0.03, -0.01], "p": 0.001}
    test = {"warm": {"recall@20": 0.23}, "support_5": {"recall@20": 0.34, "ndcg@20": 0.31, "mrr": 0.5}}
    baselines = {
        "popularity": {"warm": {"recall@20": 0.25}, "support_5": {"recall@20": 0.21, "ndcg@20": 0.2, "mrr": 0.4}},
        "[red]ridge\x1b[31m": {"support_5": {"recall@20": 0.33, "ndcg@20": 0.3, "mrr": 0.4}},
    }
    versus = {
        "popularity": {"warm": {"recall@20": worse}, "support_5": {"recall@20": {**better, "difference": 0.13}}},
        "[red]ridge\x1b[31m": {"support_5": {"recall@20": better, "ndcg@20": better}},
    }
    shown = printed(run_table(document(test, baselines, versus, experiment="lora_user_cold")))
    assert shown.startswith("lora_user_cold, seed 1")
    lines = [cells(line) for line in shown.splitlines() if line.startswith("│")]
    assert lines == [
        ["recall@20", "", ""],
        ["this run", "0.2300", "0.3400"],
        ["popularity", "0.2500*", "0.2100"],
        ["[red]ridge␛[31m", "–", "0.3300*"],
        ["this run − *", "-0.0200", "+0.0100"],
        ["", "[-0.0300,", "[-0.0020,"],
        ["", "-0.0100]", "+0.0220]"],
        ["", "p 0.0010", "p 0.1100"],
        ["ndcg@20", "", ""],
        ["this run", "", "0.3100"],
        ["popularity", "", "0.2000"],
        ["[red]ridge␛[31m", "", "0.3000*"],
        ["this run − *", "", "+0.0100"],
        ["", "", "[-0.0020,"],
        ["", "", "+0.0220]"],
        ["", "", "p 0.1100"],
    ]


def test_a_run_that_learns_nothing_says_so() -> None:
    written = document({"cold": {"recall@20": 0.2}}, {})
    written["encoder"], written["best_step"] = "MiniLM", 0
    for trained, said in (
        (0, "Nothing was trained. Baselines that read texts read vectors of MiniLM."),
        (5, "as it was before training."),
    ):
        written["parameters"] = {"trained": trained, "frozen": 1}
        shown = " ".join(printed(run_table(written)).split())
        assert said in shown
        assert ("Step 0 was the best on validation" in shown) == (trained > 0)


# --- several splits


def of_split(folder: Path, seed: int, values_U: np.ndarray, adapter: str, users: str) -> Path:
    config = f"adapter: {{_target_: cold_jax.adapters.{adapter.lower()}.{adapter}}}\nsplit: {{_target_: cold_jax.splits.entities.UserCold, seed: {seed}, cold_fraction: 0.2}}"
    return write(folder, values_U=values_U, config=config, users=users)


def test_splits_of_several_seeds_are_one_question(tmp_path: Path) -> None:
    for seed, mean in ((1, 0.30), (2, 0.36)):
        of_split(tmp_path / f"a{seed}", seed, np.full(USERS, mean + 0.05), "Lora", users=f"u{seed}_")
        of_split(tmp_path / f"b{seed}", seed, np.full(USERS, mean), "Full", users=f"u{seed}_")
    [section] = sections(tmp_path)
    lora, full = section["groups"]
    assert lora["splits"] == full["splits"] == [1, 2]
    assert lora["test"]["support_5"]["recall@20"] == pytest.approx({"mean": 0.38, "sd": 0.06 / 2**0.5})
    assert of_groups(section["differences"]) == pytest.approx([0.05] * 3)
    assert section["best"] == {"support_5": {"recall@20": lora["name"]}}
    assert "(seed 1; split.seed 1, 2)" in printed(comparison_table(section))


def test_nothing_is_best_that_one_other_reaches(tmp_path: Path) -> None:
    noise_U = np.random.default_rng(1).normal(0, 0.1, USERS)
    write(tmp_path / "a", baselines={"popularity": BASE_U - 0.1, "ridge_svd": BASE_U - 0.001 + noise_U - noise_U.mean()})
    [section] = sections(tmp_path)
    assert section["best"] == {"support_5": {"recall@20": None}}
    [difference] = section["differences"]
    assert difference["found"]["p_holm"] == difference["found"]["p"] > 0.05

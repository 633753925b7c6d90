"""The sentence below a run's table."""

from typing import Any

import pytest

from cold_jax.runs.verdict import legend, verdict


def document(**changes: Any) -> Any:
    def found(difference: float, p: float) -> dict[str, Any]:
        return {"recall@20": {"difference": difference, "p": p / 2, "p_holm": p, "ci95": [0, 0], "ratio": None}}

    versus = {"ease": {"cold": found(0.0123, 0.003), "warm": found(-1.0, 0.001)}}
    versus["bm25"] = {"support_1": found(0.5, 0.06), "support_5": found(-0.02, 0.01)}
    return {"versus": versus, "best_step": 10, "parameters": {"trained": 5, "frozen": 1}} | changes


def of(**best: str | None) -> dict[str, dict[str, str | None]]:
    return {part: {"recall@20": name} for part, name in best.items()}


@pytest.mark.parametrize(
    ("best", "sentence"),
    [
        (
            of(warm="ease", cold="ease"),
            "By recall@20 this run is better than the strongest baseline in cold (ease, +0.0123, p 0.0030); "
            "below the strongest baseline in warm (ease, -1.0000, p 0.0010).",
        ),
        (
            of(support_1="bm25", support_5="bm25"),
            "By recall@20 this run is indistinguishable from the strongest baseline in support_1 (bm25, +0.5000, p 0.0600); "
            "below the strongest baseline in support_5 (bm25, -0.0200, p 0.0100).",
        ),
        (of(warm="ease"), "By recall@20 this run is below the strongest baseline in warm (ease, -1.0000, p 0.0010)."),
        (of(cold=None), "There is no baseline to compare with."),
    ],
)
def test_a_run_against_the_strongest_baseline(best: Any, sentence: str) -> None:
    assert verdict(document(), best) == sentence


def test_a_start_that_was_kept_is_said() -> None:
    assert verdict(document(best_step=0), of(cold="ease")).startswith("Training did not help: the start was kept. By")
    assert "Training" not in verdict(document(best_step=0, parameters={"trained": 0}), of(cold="ease"))


def test_a_legend_explains_the_parts_that_are_there() -> None:
    assert legend(["warm", "support_1", "support_10"]).count("support_k") == 1
    assert "cold:" not in legend(["warm"])

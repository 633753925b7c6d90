"""What a finished run's table comes to, in a sentence, and what its columns are."""

import re
from collections.abc import Mapping, Sequence

from cold_jax.runs.results import Results

LEVEL = 0.05  # of p
PARTS = {
    "warm": "users and items that training has seen",
    "cold": "those that it has not",
    "overall": "warm and cold candidates ranked together",
    r"support_\d+": "support_k: new users of whom k interactions are known",
    "all": "all rows of the test",
    "unmasked": "the same, a user's own items among the candidates",
}


def legend(parts: Sequence[str]) -> str:
    """The parts among these, explained."""
    found = {
        text if text.startswith("support") else f"{name}: {text}"
        for part in parts
        for name, text in PARTS.items()
        if re.fullmatch(name, part)
    }
    return "; ".join(sorted(found, reverse=True))


def verdict(results: Results, strongest: Mapping[str, Mapping[str, str | None]]) -> str:
    """Of the first metric that is shown, warm parts last: better than the strongest baseline, below it, or indistinguishable from it.

    strongest: part → metric → the baseline of the largest mean.
    """
    kept = ""
    if results.get("best_step") == 0 and results.get("parameters", {}).get("trained"):
        kept = "Training did not help: the start was kept. "
    metric = next((metric for metrics in strongest.values() for metric in metrics), None)
    parts = sorted(strongest, key=lambda part: part == "warm")
    outcomes: dict[str, list[str]] = {}
    for part in parts:
        best = strongest[part].get(metric) if metric else None
        found = results["versus"].get(best, {}).get(part, {}).get(metric) if best and metric else None
        if found is None:
            continue
        p = found.get("p_holm", found["p"])
        outcome = "indistinguishable from" if p >= LEVEL else "better than" if found["difference"] > 0 else "below"
        outcomes.setdefault(outcome, []).append(f"{part} ({best}, {found['difference']:+.4f}, p {p:.4f})")
    if not outcomes:
        return f"{kept}There is no baseline to compare with."
    said = "; ".join(f"{outcome} the strongest baseline in {', '.join(where)}" for outcome, where in outcomes.items())
    return f"{kept}By {metric} this run is {said}."

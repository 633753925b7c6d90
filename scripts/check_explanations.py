"""python scripts/check_explanations.py run=DIR to=FOLDER [pairs=60] [seed=0]: can a run's explanations by words be trusted?

Of so many pairs of a test user and an item, half from the first ten of their list and half from all items:

    completeness    how far the words' sum misses the score's difference
    randomisation   Spearman's correlation of the words' values with those of an encoder whose weights are shuffled, from the last layer down
    deletion        area under the score's curve while words are masked, the largest first, less that of three random orders: below 0 is good
    insertion       the same while words appear: above 0 is good

FOLDER gets table.json and curves.svg.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import cold_jax
from cold_jax.evaluation.statistics import bootstrap
from cold_jax.explanations.explainer import Explainer, Subject
from cold_jax.explanations.faithfulness import area, cascade, deletion_curve, insertion_curve, shuffled
from cold_jax.serving.recommender import Recommender
from cold_jax.serving.requests import UserRequest

TEXTS, STEPS, ORDERS, RESAMPLES, GRID = 3, 16, 3, 5000, np.linspace(0, 1, 21)
HISTORY = 4  # of a user, the newest items: their profile, these and the item make up the score


def sample(recommender: Recommender, pairs: int, draw: np.random.Generator) -> list[Subject]:
    """Users of the test tasks, each with one item."""
    split, users = recommender.prepared.split, recommender.prepared.dataset.users
    tested = np.unique(np.concatenate([task.user_U for task in split.test.values()]))
    found = []
    for n, user in enumerate(draw.permutation(tested)[:pairs].tolist()):
        best = recommender.recommend(users.ids[user], k=10)["item_id"].to_list()
        items = best if n % 2 else list(recommender.prepared.dataset.items.ids)
        item = recommender.prepared.dataset.items.ids.index(items[int(draw.integers(len(items)))])
        history = recommender.history(UserRequest(users.ids[user]))[:HISTORY]
        found.append(Subject(users.ids[user], user, recommender.profile_of(user), history, item))
    return found


def interval(value_N: np.ndarray, draw: np.random.Generator) -> dict[str, object]:
    return {"mean": float(value_N.mean()), "ci95": bootstrap(value_N, RESAMPLES, draw)}


def rank_correlations(own: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> np.ndarray:
    ranks = ((stats.rankdata(a_W), stats.rankdata(b_W)) for a_W, b_W in zip(own, other, strict=True))
    return np.array([np.corrcoef(a_W, b_W)[0, 1] for a_W, b_W in ranks])


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if not {"run", "to"} <= given.keys() <= {"run", "to", "pairs", "seed"}:
        sys.exit(__doc__)
    draw = np.random.default_rng(int(given.get("seed", 0)))
    recommender = cold_jax.load(given["run"])
    explainer = recommender.explainer
    subjects = sample(recommender, int(given.get("pairs", 60)), draw)
    table: dict[str, object] = {"pairs": len(subjects), "encoder": recommender.prepared.loaded.name}

    errors, steps = np.array([(c.error, c.steps) for c in (completeness(explainer, one) for one in subjects)]).T
    table["completeness"] = {
        "median": float(np.median(errors)),
        "max": float(errors.max()),
        "within_1_percent": float((errors <= 0.01).mean()),
    }
    table["completeness"] |= {"steps_median": float(np.median(steps)), "steps_max": float(steps.max())}  # type: ignore[operator]
    print(json.dumps(table), flush=True)

    own = [explainer.word_values(one, texts=TEXTS, steps=STEPS) for one in subjects]
    random_head = explainer.partition._replace(frozen=shuffled(explainer.partition.frozen, draw))
    randomised = {"head": (random_head, explainer.phi)}
    for name, encoder in cascade(explainer.phi.encoder, draw):
        randomised[f"encoder down to {name}"] = (explainer.partition, explainer.phi.with_encoder(encoder, ""))
    rows = {}
    for name, (partition, phi) in randomised.items():
        one = explainer.with_weights(partition, phi)
        other = [one.word_values(subject, texts=TEXTS, steps=STEPS) for subject in subjects]
        sizes = rank_correlations([abs(x) for x in own], [abs(x) for x in other])
        rows[name] = {"values": interval(rank_correlations(own, other), draw), "sizes": interval(sizes, draw)}
        print(name, json.dumps(rows[name]), flush=True)
    table["randomisation"] = rows

    curves: dict[str, dict[str, list[np.ndarray]]] = {kind: {"ours": [], "random": []} for kind in ("deletion", "insertion")}
    for subject, value_W in zip(subjects, own, strict=True):
        score, order_W = explainer.kept_score(subject, texts=TEXTS), np.argsort(-value_W, kind="stable")
        for kind, curve_of in (("deletion", deletion_curve), ("insertion", insertion_curve)):
            curves[kind]["ours"].append(curve_of(score, order_W))
        at_random = np.mean([deletion_curve(score, draw.permutation(len(order_W))) for _ in range(ORDERS)], 0)
        curves["deletion"]["random"].append(at_random)
        curves["insertion"]["random"].append(at_random[::-1])  # the words of a random order appear in a random order
    for kind, made in curves.items():
        difference_N = np.array([area(a) - area(b) for a, b in zip(made["ours"], made["random"], strict=True)])
        table[kind] = interval(difference_N, draw) | {
            "better": float(np.mean(difference_N < 0 if kind == "deletion" else difference_N > 0))
        }
        print(kind, json.dumps(table[kind]), flush=True)
    to = Path(given["to"])
    to.mkdir(parents=True, exist_ok=True)
    (to / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    plot(rows, curves, to / "curves.svg")


def completeness(explainer: Explainer, subject: Subject):
    found = explainer(subject, texts=TEXTS, nearest=0).completeness
    assert found is not None
    return found


def plot(rows: dict, curves: dict[str, dict[str, list[np.ndarray]]], path: Path) -> None:
    matplotlib.use("Agg")
    plt.rcParams["svg.hashsalt"] = "explanations"
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    names = list(rows)
    means = np.array([rows[name]["values"]["mean"] for name in names])
    ends = np.array([rows[name]["values"]["ci95"] for name in names])
    left.errorbar(range(len(names)), means, np.abs(ends.T - means), fmt="o", markersize=3, capsize=2, color="tab:blue")
    left.axhline(0, color="black", linewidth=0.6)
    left.set(ylim=(-0.4, 1), ylabel="rank correlation")
    left.set_xticks(range(len(names)), [name.removeprefix("encoder down to ") for name in names], rotation=60, fontsize="small")
    left.set_title("shuffled weights", fontsize="medium")
    for axis, (kind, made) in zip((middle, right), curves.items(), strict=True):
        for name, style in (("ours", "-"), ("random", ":")):
            # each pair's curve less its score without words
            base = [curve[-1] if kind == "deletion" else curve[0] for curve in made[name]]
            mean = np.mean([np.interp(GRID, np.linspace(0, 1, len(c)), c - b) for c, b in zip(made[name], base, strict=True)], 0)
            axis.plot(GRID, mean, style, label="integrated gradients" if name == "ours" else "random order")
        axis.set(xlabel=f"share of words {'masked' if kind == 'deletion' else 'shown'}", ylabel="score, less that without words")
        axis.set_title(kind, fontsize="medium")
        axis.legend(fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

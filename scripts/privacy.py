"""python scripts/privacy.py {attack,utility,tables} [KEY=VALUE …]: membership attacks on trained heads, and what privacy costs.

attack: trains shadow models on random halves of the training users, each user in half of them, and scores every (model, user) by what an
attacker sees who knows the user's data and the trained head: the user's loss; the loss less its mean over the models without the user;
the likelihood ratio of Gaussians fitted to the other models with and without (LiRA with global variances, Carlini et al. 2022, arXiv
2112.03570). utility: recall@20 of cold users for each ε. tables: writes README.md and the plots from what these found, and what
scripts/audit_privacy.py did.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from cold_jax import cli, config, experiment, seeds
from cold_jax.batching.batch import table_rows
from cold_jax.batching.private import PrivateBatches
from cold_jax.models.base import Partition, encode_texts
from cold_jax.splits.tasks import TrainView
from cold_jax.training.parallel import Pmap
from cold_jax.training.privacy import Mechanism, UserLevelPrivacy
from cold_jax.training.private_step import private_step
from cold_jax.training.step import State, StepSpec

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "privacy"
BEGIN, END = "<!-- table: made by the command above -->", "<!-- end of the table -->"
MODELS, HISTORY, TARGETS = 16, 5, 64
UNCLIPPED = 1e9
FPR = (0.01, 0.001)
ATTACKS = {"loss": "loss", "calibrated": "loss − mean without", "lira": "LiRA"}
VARIANTS = {  # name → (ε, whether gradients are clipped)
    "plain": (None, False),
    "clip only": (None, True),
    "ε = 8": (8.0, True),
    "ε = 4": (4.0, True),
    "ε = 2": (2.0, True),
    "ε = 1": (1.0, True),
}
ATTACKED = ("plain", "ε = 8", "ε = 2", "clip only")
Tree = Any


class Trainer:
    """Trains the head of one setup on any of its users; compiled once for each variant."""

    def __init__(self, overrides: list[str]):
        self.s = config.settings(config.compose(["+experiment=dp_user_cold", "logger=none", *overrides]))
        self.p = experiment.prepare(self.s)
        self.t = experiment.setup(self.s, self.p)
        self.users = np.unique(self.p.train.user_N)
        self.batches = cast(PrivateBatches, self.t.batches)
        self._compiled: dict[Mechanism, Any] = {}

    def mechanism(self, variant: str, users: int) -> Mechanism:
        """For a training of so many users: the public number is their own here."""
        epsilon, clipped = VARIANTS[variant]
        privacy: Any = self.s.privacy
        clip = privacy.clip if clipped else UNCLIPPED
        return Mechanism(self.s.batching.size / users, users, clip, self.s.loop.max_steps or 0, epsilon, users**-1.1)

    def train(self, variant: str, of: np.ndarray, seed: int, users: int | None = None) -> Tree:
        """The trainable leaves after all steps on the users `of`, whose public number is `users`, or their own."""
        mechanism = self.mechanism(variant, users or len(of))
        optimizer = self.s.optimizer(mechanism.steps, 1.0)
        if mechanism not in self._compiled:
            spec = StepSpec(self.t.partition.graph, self.s.objective, optimizer, self.t.microbatch_rows, False, 0, 0.0)
            microbatch = cast(UserLevelPrivacy, self.s.privacy).microbatch
            self._compiled[mechanism] = Pmap(1)(private_step(spec, mechanism, microbatch))
        step, leaves = self._compiled[mechanism], self.t.partition.trainable
        batches = self.batches.with_secret(seeds.secret_bits(b"an attacker's own", variant, seed))
        batches.user_U, batches.sampling_rate = of, mechanism.sampling_rate
        state = step.replicate_state(State(leaves, optimizer.init(leaves), jnp.zeros((), jnp.int32)))
        frozen = step.replicate(self.t.partition.frozen)
        for n in range(mechanism.steps):
            state, _ = step.step(frozen, state, step.shard_batch(batches(n)))
        return state.trainable


def loss_of_users(trainer: Trainer) -> Any:
    """trainable leaves → the loss of each training user, of fixed targets after a fixed history, of shape (U,)."""
    train: TrainView = trainer.p.train
    draw, I = np.random.default_rng(0), len(train.items)
    history_UI, target_UI, seen_UI = (np.zeros((len(trainer.users), I), np.float32) for _ in range(3))
    for u, user in enumerate(trainer.users):
        items = draw.permutation(np.unique(train.item_N[train.user_N == user]))
        history_UI[u, items[:HISTORY]] = 1
        target_UI[u, items[HISTORY:][:TARGETS] if len(items) > HISTORY else items] = 1
        seen_UI[u, items] = 1
    place, microbatch = trainer.batches.texts or table_rows, trainer.t.microbatch_rows
    rows, slot_T = place(np.concatenate([trainer.users, len(train.users) + np.arange(I)]), microbatch)

    @jax.jit
    def losses(trainable: Tree) -> jax.Array:
        model = Partition(trainer.t.partition.graph, trainable, trainer.t.partition.frozen).model()
        vector_TD = encode_texts(model, rows, microbatch)[slot_T]
        encodings = model.items(vector_TD[len(trainer.users) :], jnp.arange(I))
        score_UI = model.scores(vector_TD[: len(trainer.users)], history_UI, encodings, slice(None))
        others_U = jax.nn.logsumexp(jnp.where(seen_UI > 0, -jnp.inf, score_UI), axis=1)
        log_p_UI = score_UI - jnp.logaddexp(others_U[:, None], score_UI)
        return -(log_p_UI * target_UI).sum(1) / target_UI.sum(1)

    return losses


def attack(trainer: Trainer, name: str) -> None:
    """Writes attack_NAME.npz: for each variant the losses and who was in, of shape (models, users)."""
    losses, U = loss_of_users(trainer), len(trainer.users)
    draw = np.random.default_rng(1)
    in_MU = np.stack([draw.permutation(np.arange(MODELS) < MODELS // 2) for _ in range(U)], 1)
    for m in range(MODELS):  # models of equal size share a compiled step
        surplus = int(in_MU[m].sum()) - U // 2
        flip = draw.permutation(np.flatnonzero(in_MU[m] if surplus > 0 else ~in_MU[m]))[: abs(surplus)]
        in_MU[m, flip] = not in_MU[m, flip[0]] if len(flip) else False
    found: dict[str, np.ndarray] = {"in": in_MU}
    for variant in ATTACKED:
        start = time.monotonic()
        trained = [trainer.train(variant, trainer.users[in_MU[m]], m) for m in range(MODELS)]
        found[variant] = np.stack([np.asarray(losses(leaves)) for leaves in trained])
        inside, outside = found[variant][in_MU].mean(), found[variant][~in_MU].mean()
        print(f"{variant}: loss {inside:.3f} in, {outside:.3f} out; {time.monotonic() - start:.0f} s", flush=True)
        np.savez_compressed(FOLDER / f"attack_{name}.npz", **found)  # pyright: ignore[reportArgumentType]


def scores_of(loss_MU: np.ndarray, in_MU: np.ndarray) -> dict[str, np.ndarray]:
    """For each attack a score of every (model, user), larger for members; a model is judged by the others alone."""
    M = len(loss_MU)
    calibrated_MU, lira_MU = np.empty_like(loss_MU), np.empty_like(loss_MU)
    for m in range(M):
        others = np.arange(M) != m
        loss, inside = loss_MU[others], in_MU[others]
        mean_in, mean_out = ((loss * w).sum(0) / w.sum(0) for w in (inside, ~inside))
        variance_in, variance_out = (
            (((loss - mean) ** 2) * w).sum() / (w.sum() - len(mean)) for w, mean in ((inside, mean_in), (~inside, mean_out))
        )
        calibrated_MU[m] = mean_out - loss_MU[m]
        lira_MU[m] = stats.norm.logpdf(loss_MU[m], mean_in, variance_in**0.5) - stats.norm.logpdf(
            loss_MU[m], mean_out, variance_out**0.5
        )
    return {"loss": -loss_MU, "calibrated": calibrated_MU, "lira": lira_MU}


def roc(score_MU: np.ndarray, in_MU: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(false-positive rates, true-positive rates) over all thresholds."""
    member = in_MU.ravel()[np.argsort(-score_MU.ravel(), kind="stable")]
    return np.cumsum(~member) / (~member).sum(), np.cumsum(member) / member.sum()


def auc(score_MU: np.ndarray, in_MU: np.ndarray) -> float:
    statistic = stats.mannwhitneyu(score_MU[in_MU], score_MU[~in_MU]).statistic
    return float(statistic / (in_MU.sum() * (~in_MU).sum()))


def of_attacks(name: str, found: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """A row for each variant and attack: AUC with an interval over users, TPR at two FPR with Clopper–Pearson intervals."""
    in_MU = found["in"]
    for variant in (variant for variant in ATTACKED if variant in found):
        for attack, score_MU in scores_of(found[variant], in_MU).items():
            draw, U = np.random.default_rng(2), in_MU.shape[1]
            resampled = [auc(score_MU[:, of], in_MU[:, of]) for of in (draw.integers(0, U, U) for _ in range(200))]
            fpr, tpr = roc(score_MU, in_MU)
            row: dict[str, Any] = {"trains": name, "variant": variant, "attack": attack, "auc": auc(score_MU, in_MU)}
            row["auc_ci95"] = np.quantile(resampled, [0.025, 0.975]).round(4).tolist()
            for rate in FPR:
                caught = float(tpr[np.searchsorted(fpr, rate, side="right") - 1]) if fpr[0] <= rate else 0.0
                count, of = round(caught * int(in_MU.sum())), int(in_MU.sum())
                interval = stats.binomtest(count, of).proportion_ci(method="exact")
                row[f"tpr@{rate:g}"] = caught
                row[f"tpr@{rate:g}_ci95"] = [round(float(interval.low), 4), round(float(interval.high), 4)]
            epsilon, _ = VARIANTS[variant]
            if epsilon is not None:  # no attack may lie above e^ε FPR + δ
                row["beyond the guarantee"] = bool((tpr > np.exp(epsilon) * fpr + (U / 2) ** -1.1 + 0.02).any())
            yield row


def put_tables() -> None:
    """Writes attack.json, the plots, and the tables of README.md, of what is there."""
    rows = json.loads((FOLDER / "attack.json").read_text()) if (FOLDER / "attack.json").exists() else []
    for path in sorted(FOLDER.glob("attack_*.npz")):
        name, found = path.stem.removeprefix("attack_"), dict(np.load(path))
        rows = [*(row for row in rows if row["trains"] != name), *of_attacks(name, found)]
        draw_roc(name, found)
    (FOLDER / "attack.json").write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    lines = ["| what trains | training | attack | AUC | TPR at 1 % FPR | TPR at 0.1 % FPR |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [
            f"{row['auc']:.3f} {row['auc_ci95']}",
            *(f"{row[f'tpr@{rate:g}']:.4f} {row[f'tpr@{rate:g}_ci95']}" for rate in FPR),
        ]
        lines.append(f"| {row['trains']} | {row['variant']} | {ATTACKS[row['attack']]} | " + " | ".join(cells) + " |")
    if (FOLDER / "audit.json").exists():
        lines += ["", "| trained with | claimed ε | lower bounds of ε: median, largest | above the claim |", "|---|---|---|---|"]
        for row in json.loads((FOLDER / "audit.json").read_text()):
            bounds = np.array(row["bounds"])
            found = f"{np.median(bounds):.2f}, {bounds.max():.2f}"
            lines.append(f"| {row['trained with']} | {row['claimed']:g} | {found} | {row['above']} of {len(bounds)} |")
    if (FOLDER / "utility.json").exists():
        found = json.loads((FOLDER / "utility.json").read_text())
        lines += ["", "| data | training | recall@20, k = 1 | less that of plain training |", "|---|---|---|---|"]
        for row in found:
            less = f"{row['less']:+.4f} {row['less_ci95']}" if "less" in row else ""
            lines.append(f"| {row['data']} | {row['method']} | {row['recall@20']:.4f} {row['ci95']} | {less} |")
        draw_utility(found)
    readme = FOLDER / "README.md"
    before, _, after = readme.read_text().partition(BEGIN)
    text = "\n".join(lines)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after.partition(END)[2]}")


def draw_roc(name: str, found: Mapping[str, np.ndarray]) -> None:
    """roc_NAME.svg: of each training the attack with the largest AUC, on logarithmic axes."""
    figure, [axes] = _axes("false-positive rate", "true-positive rate")
    for variant in (variant for variant in ATTACKED if variant in found):
        score_MU = max(scores_of(found[variant], found["in"]).values(), key=lambda score_MU: auc(score_MU, found["in"]))
        fpr, tpr = roc(score_MU, found["in"])
        at = np.unique(np.searchsorted(fpr, np.geomspace(1e-4, 1, 120)).clip(0, len(fpr) - 1))
        axes.plot(fpr[at], tpr[at], label=variant)
    axes.plot([1e-4, 1], [1e-4, 1], "k:", label="chance")
    axes.set(xscale="log", yscale="log", xlim=(1e-3, 1), ylim=(1e-3, 1))
    axes.legend()
    figure.savefig(FOLDER / f"roc_{name}.svg", metadata={"Date": None})


def draw_utility(rows: list[dict[str, Any]]) -> None:
    """utility.svg: for each data set recall by ε, with intervals, between the two that have no noise and what trains nothing."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, all_axes = _axes("", "recall@20, k = 1", len(names))
    for axes, name in zip(all_axes, names, strict=True):
        own = {row["method"]: row for row in rows if row["data"] == name}
        order = [variant for variant in ("ε = 1", "ε = 2", "ε = 4", "ε = 8", "clip only", "plain") if variant in own]
        values = [own[variant]["recall@20"] for variant in order]
        errors = np.abs(np.array([own[variant]["ci95"] for variant in order]).T - values)
        axes.errorbar(order, values, errors, fmt="o", capsize=3)
        for style, method in (("--", "untrained"), (":", "popularity")):
            axes.axhline(own[method]["recall@20"], color="k", linestyle=style, linewidth=1, label=method)
        axes.set(title=name, ylim=(0, None))
        axes.tick_params(axis="x", rotation=30)
    all_axes[-1].legend()
    figure.savefig(FOLDER / "utility.svg", metadata={"Date": None})


def _axes(x: str, y: str, count: int = 1) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "cold_jax", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, count, figsize=(5 * count, 4), layout="constrained", squeeze=False)
    for each in axes[0]:
        each.set(xlabel=x)
    axes[0][0].set(ylabel=y)
    return figure, axes[0]


def utility(trainer: Trainer, part: str, repeats: int) -> None:
    """Puts into utility.json recall@20 of the data's test users after each training, `repeats` times with other noise and other batches.

    Intervals are a bootstrap over users and trainings together; differences to plain training are paired over users.
    """
    task, name = {part: trainer.p.split.test[part]}, trainer.p.dataset.name
    path = FOLDER / "utility.json"
    others = [row for row in json.loads(path.read_text()) if row["data"] != name] if path.exists() else []
    start, rows, plain_RU = trainer.t.scorer, [], None
    for method, evaluation in experiment.fit_baselines(trainer.s, trainer.p).items():
        rows.append(row_of(name, method, np.asarray(evaluation.per_user[part]["recall@20"])[None]))
    rows.append(row_of(name, "untrained", recall(trainer, start(trainer.t.partition.trainable), task, part)[None]))
    for variant in VARIANTS:
        began = time.monotonic()
        value_RU = np.stack(
            [recall(trainer, start(trainer.train(variant, trainer.users, r)), task, part) for r in range(repeats)]
        )
        plain_RU = value_RU if plain_RU is None else plain_RU
        rows.append(row_of(name, variant, value_RU, plain_RU))
        print(rows[-1], f"{time.monotonic() - began:.0f} s", flush=True)
        path.write_text("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in [*others, *rows]) + "\n]\n")


def recall(trainer: Trainer, scorer: Any, task: Mapping[str, Any], part: str) -> np.ndarray:
    """Of each test user."""
    return np.asarray(trainer.s.evaluation(scorer, task).per_user[part]["recall@20"])


def row_of(data: str, method: str, value_RU: np.ndarray, plain_RU: np.ndarray | None = None) -> dict[str, Any]:
    """Of R trainings; `sd` is that of their means."""
    row: dict[str, Any] = {"data": data, "method": method, "trainings": len(value_RU), "users": value_RU.shape[1]}
    row |= {"recall@20": round(float(value_RU.mean()), 4), "ci95": resampled(value_RU)}
    row["sd"] = round(float(value_RU.mean(1).std(ddof=1)), 4) if len(value_RU) > 1 else None
    if plain_RU is not None and plain_RU is not value_RU:
        row |= {"less": round(float((value_RU - plain_RU).mean()), 4), "less_ci95": resampled(value_RU - plain_RU)}
    return row


def resampled(value_RU: np.ndarray) -> list[float]:
    """95 % interval of the mean, by a bootstrap over trainings and users."""
    draw, (R, U) = np.random.default_rng(3), value_RU.shape
    means = [value_RU[draw.integers(0, R, R)][:, draw.integers(0, U, U)].mean() for _ in range(1000)]
    return np.quantile(means, [0.025, 0.975]).round(4).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["attack", "utility", "tables"])
    parser.add_argument("--name", default="head", help="of the attacks on what these settings train")
    parser.add_argument("--part", default="support_1", help="of the test, by which utility is measured")
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each variant whose recall is averaged")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of +experiment=dp_user_cold")
    args = parser.parse_intermixed_args()
    cli.prepare_process(True)
    if args.what == "attack":
        attack(Trainer(args.overrides), args.name)
    elif args.what == "utility":
        utility(Trainer(args.overrides), args.part, args.repeats)
    else:
        put_tables()


if __name__ == "__main__":
    main()

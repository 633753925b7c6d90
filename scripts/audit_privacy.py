"""python scripts/audit_privacy.py [--seeds 20] [KEY=VALUE …]: lower bounds on ε, each of a single training (Steinke et al. 2023, arXiv 2305.08846).

In the place of 100 training users there are canaries: each has two items of their own, the rarest, which nobody else has, and a coin
decides whether they are in. Who reads the trained head guesses by the biases of a canary's items; by jax_privacy's bound (95 %, over all
thresholds) so many right guesses need an ε. Under the noise of a claimed ε the bound must stay below it. Without the noise it must exceed
it, or the audit could find nothing. experiments/privacy/audit.json; `scripts/privacy.py tables` shows it.
"""

import argparse
import json
import time
from dataclasses import replace

import numpy as np
from privacy import FOLDER, Trainer

from cold_jax import cli

CANARIES, ITEMS = 100, 2  # and items of each
SIGNIFICANCE = 0.05
CLAIMS = (  # trained with, claimed
    ("ε = 8", 8.0),
    ("ε = 1", 1.0),
    ("clip only", 2.0),
    ("clip only", 1.0),
)


def with_canaries(trainer: Trainer, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(users whose interactions are now those of canaries, the items of each)."""
    train = trainer.p.train
    canary_C = draw.choice(trainer.users, CANARIES, replace=False)
    others_N = ~np.isin(train.user_N, canary_C)
    count_I = np.bincount(train.item_N[others_N], minlength=len(train.items))
    item_CK = draw.permutation(np.argsort(count_I, kind="stable")[: CANARIES * ITEMS]).reshape(CANARIES, ITEMS)
    others_N &= ~np.isin(train.item_N, item_CK)
    user_N = np.concatenate([train.user_N[others_N], np.repeat(canary_C, ITEMS)])
    item_N = np.concatenate([train.item_N[others_N], item_CK.ravel()])
    order_N = np.argsort(user_N, kind="stable")
    ones_N = np.ones(len(user_N), np.float32)
    changed = replace(train, user_N=user_N[order_N], item_N=item_N[order_N], value_N=ones_N, time_N=np.zeros(len(user_N)))
    batches = trainer.batches
    batches.train = changed
    batches.first_U = np.searchsorted(changed.user_N, np.arange(len(train.users) + 1))
    trainer.p = trainer.p._replace(train=changed)
    return canary_C, item_CK


def bound(score_C: np.ndarray, in_C: np.ndarray, delta: float) -> float:
    """The largest ε that so many right guesses rule out, at 95 %."""
    from jax_privacy.auditing import CanaryScoreAuditor  # pyright: ignore[reportMissingImports]

    return float(CanaryScoreAuditor(score_C[in_C], score_C[~in_C]).epsilon_one_run(SIGNIFICANCE, delta))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="trainings for each claim")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of +experiment=dp_user_cold")
    args = parser.parse_intermixed_args()
    cli.prepare_process(True)
    trainer = Trainer(args.overrides)
    train, public = trainer.p.train, len(trainer.users) - CANARIES // 2
    delta = public**-1.1
    score_of: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {variant: [] for variant, _ in CLAIMS}
    for seed in range(args.seeds):
        draw, began = np.random.default_rng(seed), time.monotonic()
        trainer.p = trainer.p._replace(train=train)
        canary_C, item_CK = with_canaries(trainer, draw)
        in_C = draw.random(CANARIES) < 0.5
        taken = np.setdiff1d(trainer.users, canary_C[~in_C])
        for variant, scores in score_of.items():
            bias_I = np.asarray(trainer.train(variant, taken, seed, public)["item_bias_I"][...])
            scores.append((bias_I[item_CK].sum(1), in_C))
        bounds = {variant: round(bound(scores[-1][0], in_C, delta), 2) for variant, scores in score_of.items()}
        print(f"seed {seed}: {bounds}; {time.monotonic() - began:.0f} s", flush=True)
    rows = []
    for variant, claimed in CLAIMS:
        bounds = [round(bound(score_C, in_C, delta), 4) for score_C, in_C in score_of[variant]]
        above = sum(each > claimed for each in bounds)
        rows.append({"trained with": variant, "claimed": claimed, "delta": delta, "above": above, "bounds": bounds})
        print(rows[-1], flush=True)
    (FOLDER / "audit.json").write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()

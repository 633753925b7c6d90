"""python scripts/validate_encoders.py data.root=DIR NAME=ENCODER … [KEY=VALUE …]: which φ to keep, by validation alone.

For MiniLM's θ and for each named folder of an encoder, the closed form by texts (TF-IDF, whitened cosines, cosines) is given its weights on
1,000 validation users (baseline.history_text.users=N: on fewer). Of the others, hr@10 and ndcg@10 are printed over all targets and over those
in nobody's training interactions, θ's as they are, φ's as ratios to them. Other KEY=VALUE are overrides of +experiment=sequence. The test is not read.
"""

import sys
from pathlib import Path
from typing import cast

import numpy as np
from hydra.errors import HydraException

from cold_jax import config, experiment
from cold_jax.baselines.sequential import History, sample_users
from cold_jax.errors import UserError
from cold_jax.evaluation.evaluate import evaluate

USERS, METRICS = 1000, ("hr@10", "ndcg@10")
CLOSED_FORM = [
    "+experiment=sequence",
    "adapter=zero_shot",
    "model=text_vectors",
    "baseline=[history_text]",
    "baseline.history_text.members=[titles,vectors,cosine]",
    "baseline.history_text.grid=[0.0,0.35,0.7,1.4,2.8]",
    f"baseline.history_text.users={USERS}",
]


def validation(overrides: list[str]) -> np.ndarray:
    """Means of METRICS over all held-out validation targets, then over cold ones, if there are any. SystemExit where none is held out."""
    s = config.settings(config.compose([*CLOSED_FORM, *overrides]))
    p = experiment.prepare(s)
    baseline = cast("History", s.baselines["history_text"])
    task = p.split.validation["all"]
    chose_U = sample_users(p.split.validation, baseline.users, baseline.seed).user_U
    held_out_U = ~np.isin(task.user_U, chose_U)
    if not held_out_U.any():
        sys.exit(
            f"all {len(held_out_U)} validation users would choose the weights, and none is left; "
            f"give baseline.history_text.users={len(held_out_U) // 2}"
        )
    values = evaluate(baseline(p.train, p.split.validation), {"all": task}, METRICS, 10).per_user["all"]
    cold_U = held_out_U & ~p.split.warm_I[task.target_UI.indices]
    groups = [of_U for of_U in (held_out_U, cold_U) if of_U.any()]
    print(f"# {held_out_U.sum():,} users, {cold_U.sum():,} of them with a cold target", file=sys.stderr)
    return np.array([values[metric][of_U].mean() for of_U in groups for metric in METRICS])


def main() -> None:
    if wrong := [argument for argument in sys.argv[1:] if "=" not in argument]:
        sys.exit(f"{wrong[0]}: give a name to the encoder, as in phi={wrong[0]}")
    named = [argument.split("=", 1) for argument in sys.argv[1:]]
    if not any(key == "data.root" for key, _ in named):
        sys.exit(__doc__)
    try:
        compare(named)
    except (UserError, HydraException) as error:
        sys.exit(str(error))


def compare(named: list[list[str]]) -> None:
    overrides = [f"{key}={value}" for key, value in named if "." in key or key in ("data", "encoder")]
    encoders = [(key, value) for key, value in named if f"{key}={value}" not in overrides]
    for name, folder in encoders:
        if not Path(folder, "config.json").is_file():
            sys.exit(
                f"{name}={folder}: no config.json in this folder; give the folder of an encoder, RUN/encoder of a pre-training"
            )
    theta = validation(overrides)
    print(
        f"# {', '.join(METRICS)}{' of all, then of cold targets' if len(theta) > len(METRICS) else ''}; by TF-IDF, whitened cosines and cosines"
    )
    print("θ", *(f"{value:.4f}" for value in theta))
    for name, folder in encoders:
        phi = validation([*overrides, "encoder=hub", f"encoder.id={folder}"])
        print(
            name,
            *(f"× {value / of_theta:.3f}" if of_theta else "–" for value, of_theta in zip(phi, theta, strict=True)),
            flush=True,
        )


if __name__ == "__main__":
    main()

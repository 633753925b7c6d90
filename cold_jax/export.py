"""python -m cold_jax.export run=DIR to=FOLDER format=hf|peft: a run's encoder in the folder of another library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from cold_jax import cli, command
from cold_jax.errors import ConfigError

if TYPE_CHECKING:
    from cold_jax.config import Settings
    from cold_jax.runs.folder import Run


def export(cfg: DictConfig) -> None:
    from cold_jax.adapters import huggingface, merge, peft
    from cold_jax.adapters.lora import Lora
    from cold_jax.runs.folder import open_run

    run, folder = open_run(Path(cfg.run)), Path(cfg.to)
    if cfg.format not in ("hf", "peft"):
        raise ConfigError(f"format: {cfg.format!r} is not one of hf, peft")
    alphas = list(cfg.alpha) if isinstance(cfg.alpha, ListConfig) else [cfg.alpha]
    numbers = all(isinstance(alpha, int | float) and 0 <= alpha <= 1 for alpha in alphas)
    if not alphas or not numbers or (cfg.format == "peft" and alphas != [1]):
        raise ConfigError(f"alpha: {cfg.alpha} must be from 0, θ, to 1, φ; format=peft holds Δθ whole")
    settings = cli.load_settings(run, cli.given_places(cfg))
    if cfg.format == "peft" and not isinstance(settings.adapter, Lora):
        raise ConfigError(f"format: peft is for LoRA runs; the adapter of {run.path} is {type(settings.adapter).__name__}")
    if folder.exists():
        raise ConfigError(f"to: {folder} exists already; name a new folder")
    loaded, delta = settings.encoder(), run.read_delta()
    if isinstance(settings.adapter, Lora) and cfg.format == "peft":
        peft.write_peft(folder, loaded, settings.adapter, delta)
    else:
        alpha = alphas[0] if len(alphas) == 1 else best_alpha(settings, run, alphas)
        phi = merge.merge(settings.adapter, loaded.encoder, delta)
        huggingface.write_encoder(folder, loaded, merge.interpolate(loaded.encoder, phi, alpha))
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def best_alpha(s: Settings, run: Run, alphas: Sequence[float]) -> float:
    """The α at which the run's model, its head as it is, is best on the validation tasks by evaluation.metric; the first of equals."""
    import dataclasses

    from cold_jax import experiment
    from cold_jax.adapters import merge
    from cold_jax.serving.scorers import RunScorer
    from cold_jax.storage.files import digest

    if experiment.is_language_modelling(s):
        raise ConfigError("alpha: a run that predicts tokens ranks nothing by which one could be chosen; give a single alpha")
    p = experiment.prepare(s)
    theta, phi = p.loaded, experiment.adapted(s, p, run)
    reached = []
    for alpha in alphas:
        between = merge.interpolate(theta.encoder, phi.encoder, alpha)
        loaded = dataclasses.replace(theta, encoder=between, digest=digest(phi.digest, repr(float(alpha))))
        scorer = RunScorer(run, s, p, p, lambda loaded=loaded: loaded, {}).model_scorer
        reached.append(experiment.validate(s, p, scorer).metric)
        print(f"alpha={alpha:g}: {s.evaluation.metric} {reached[-1]:.4f} on validation")
    return alphas[reached.index(max(reached))]


def main() -> None:
    command.main(export, "export")


if __name__ == "__main__":
    main()

"""python -m cold_jax.export run=DIR to=FOLDER format=hf|peft: a run's encoder in the folder of another library."""

from pathlib import Path

from omegaconf import DictConfig, ListConfig

from cold_jax import cli, command
from cold_jax.errors import ConfigError


def export(cfg: DictConfig) -> None:
    from cold_jax.adapters import huggingface, merge, peft
    from cold_jax.adapters.lora import Lora
    from cold_jax.runs.folder import open_run
    from cold_jax.serving.interpolation import best_alpha

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
    if [line["best_step"] for line in run.read_validations()][-1:] == [0]:
        print("the run kept its start: Δθ is zero, and φ is θ")
    if isinstance(settings.adapter, Lora) and cfg.format == "peft":
        peft.write_peft(folder, loaded, settings.adapter, delta)
    else:
        alpha = alphas[0] if len(alphas) == 1 else best_alpha(settings, run, alphas, print)
        if len(alphas) > 1:
            print(f"alpha={alpha:g} is written")
        phi = merge.merge(settings.adapter, loaded.encoder, delta)
        huggingface.write_encoder(folder, loaded, merge.interpolate(loaded.encoder, phi, alpha))
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def main() -> None:
    command.main(export, "export")


if __name__ == "__main__":
    main()

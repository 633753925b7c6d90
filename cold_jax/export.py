"""python -m cold_jax.export run=DIR to=FOLDER format=hf|peft: a run's encoder in the folder of another library."""

from pathlib import Path

from omegaconf import DictConfig

from cold_jax import cli, command
from cold_jax.errors import ConfigError


def export(cfg: DictConfig) -> None:
    from cold_jax.adapters import huggingface, merge, peft
    from cold_jax.adapters.lora import Lora
    from cold_jax.runs.folder import open_run

    run, folder = open_run(Path(cfg.run)), Path(cfg.to)
    if cfg.format not in ("hf", "peft"):
        raise ConfigError(f"format: {cfg.format!r} is not one of hf, peft")
    settings = cli.load_settings(run, cli.given_places(cfg))
    if cfg.format == "peft" and not isinstance(settings.adapter, Lora):
        raise ConfigError(f"format: peft is for LoRA runs; the adapter of {run.path} is {type(settings.adapter).__name__}")
    if folder.exists():
        raise ConfigError(f"to: {folder} exists already; name a new folder")
    loaded, delta = settings.encoder(), run.read_delta()
    if isinstance(settings.adapter, Lora) and cfg.format == "peft":
        peft.write_peft(folder, loaded, settings.adapter, delta)
    else:
        huggingface.write_encoder(folder, loaded, merge.merge(settings.adapter, loaded.encoder, delta))
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def main() -> None:
    command.main(export, "export")


if __name__ == "__main__":
    main()

"""python -m cold_jax.pretrain [+experiment=contrastive] [GROUP=CHOICE …] [KEY=VALUE …]: φ from a domain's texts or interactions."""

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, build, command


def pretrain(cfg: DictConfig) -> None:
    import os
    import shutil

    from cold_jax.adapters import huggingface, merge
    from cold_jax.adapters.full import Frozen
    from cold_jax.runs.loggers import combine
    from cold_jax.storage.locks import lock

    cfg, run = command.open_run(cfg)
    settings, folder, partial = build.settings(cfg), run.path / "encoder", run.path / ".encoder"
    if isinstance(settings.adapter, Frozen):
        raise build.ConfigError("adapter: pre-training changes the encoder; use adapter=full or adapter=lora")
    with lock(run.path):
        if not folder.exists():
            run.remove_temporaries()
            logger = combine([make() for make in settings.loggers.values()])
            logger.start(*command.identity(cfg, run))
            question = build.question(settings)
            learner = build.learner(settings, question)
            trainable, _ = build.training(settings, question, learner, run, logger).fit()
            delta, head = build.learned(settings, learner, trainable)
            run.write_parameters(delta, head)
            shutil.rmtree(partial, ignore_errors=True)
            huggingface.write_encoder(partial, question.loaded, merge.merge(settings.adapter, question.loaded.encoder, delta))  # type: ignore[arg-type]
            os.replace(partial, folder)
        checks = [line for line in run.read_metrics() if "best_step" in line]
        print(
            f"validation: {checks[0]['metric']:.4f} before, {max(line['metric'] for line in checks):.4f} at step {checks[-1]['best_step']}"
        )
        print(f"encoder=hub encoder.id={folder}")


@hydra.main(version_base="1.3", config_path=CONF, config_name="pretrain")
def _job(cfg: DictConfig) -> None:
    command.run(pretrain, cfg)


def main() -> None:
    command.main(_job, "pretrain")


if __name__ == "__main__":
    main()

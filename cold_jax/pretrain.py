"""python -m cold_jax.pretrain [+experiment=contrastive] [GROUP=CHOICE …] [KEY=VALUE …]: φ from a domain's texts or interactions."""

import hydra
from omegaconf import DictConfig

from cold_jax import CONF, cli


def pretrain(cfg: DictConfig) -> None:
    from cold_jax.runs.folder import Run

    folder = cli.pretrain(cfg, cli.invocation())
    checks = [line for line in Run(folder).read_metrics() if "best_step" in line]
    best = max(line["metric"] for line in checks)
    print(f"validation: {checks[0]['metric']:.4f} before, {best:.4f} at step {checks[-1]['best_step']}")
    print(f"encoder=hub encoder.id={folder / 'encoder'}")


@hydra.main(version_base="1.3", config_path=CONF, config_name="pretrain")
def _job(cfg: DictConfig) -> None:
    cli.run(pretrain, cfg)


def main() -> None:
    cli.main(_job, "pretrain")


if __name__ == "__main__":
    main()

"""python -m cold_jax.pretrain [+experiment=contrastive] [GROUP=CHOICE …] [KEY=VALUE …]: φ from a domain's texts or interactions."""

from omegaconf import DictConfig

from cold_jax import cli, command, processes


def pretrain(cfg: DictConfig) -> None:
    from cold_jax.runs.folder import Run

    folder = cli.pretrain(cfg, cli.invocation())
    if not processes.first():
        return
    checks = [line for line in Run(folder).read_metrics() if "best_step" in line]
    step = checks[-1]["best_step"]
    kept = next(line["metric"] for line in checks if line["step"] == step)
    print(f"validation: {checks[0]['metric']:.4f} before, {kept:.4f} at step {step}")
    if step == 0:
        print("training did not help: φ is θ (no step was better by loop.min_gain standard errors)")
    print(f"encoder=hub encoder.id={folder / 'encoder'}")


def main() -> None:
    command.main(pretrain, "pretrain")


if __name__ == "__main__":
    main()

"""python -m cold_jax.pretrain [+experiment=contrastive] [GROUP=CHOICE …] [KEY=VALUE …]: φ from a domain's texts or interactions."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from cold_jax import cli, command, processes
from cold_jax.runs.loggers import chosen_by


def pretrain(cfg: DictConfig) -> None:
    from cold_jax.runs.folder import Run

    folder = cli.pretrain(cfg, cli.invocation())
    if not processes.first():
        return
    run = Run(folder)
    print(*outcome(run.read_validations(), run.read_config()), sep="\n")
    print(f"next: {run.evaluation_of_encoder}")


def outcome(checks: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> list[str]:
    """What validation says of a training, whose validations are `checks`, the start's first."""
    start, *trained = checks
    metric, step = chosen_by(config), checks[-1]["best_step"]
    if not trained:
        return [f"validation ({metric}): {start['metric']:.4f}; no step was taken: φ is θ"]
    if step > 0:
        kept = next(line["metric"] for line in trained if line["step"] == step)
        return [f"validation ({metric}): {start['metric']:.4f} before, {kept:.4f} at step {step}"]
    best = max(trained, key=lambda line: line["metric"])
    error = f", {best['gain'] / best['standard_error']:+.2f} standard errors" if best.get("standard_error") else ""
    return [
        f"validation ({metric}): {start['metric']:.4f} before; after it at best {best['metric']:.4f} at step {best['step']}{error}",
        f"training did not help: φ is θ (no step was better by loop.min_gain={config['loop']['min_gain']} standard errors)",
    ]


def main() -> None:
    command.main(pretrain, "pretrain")


if __name__ == "__main__":
    main()

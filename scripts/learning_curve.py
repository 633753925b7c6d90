"""python scripts/learning_curve.py DIR picture.svg: loss and validation of a run, from its metrics.jsonl."""

import argparse
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from cold_jax.runs.folder import Run

NO_PART = {"step", "epoch", "metric", "best_step"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="DIR", help="a run's folder")
    parser.add_argument("picture", type=Path, help="the file to write, .svg or .png")
    args = parser.parse_args()
    matplotlib.use("Agg")
    records = Run(args.run).read_metrics()
    steps = [record for record in records if "loss" in record]
    checks = [record for record in records if "metric" in record]

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot([r["step"] for r in steps], [r["loss"] for r in steps], color="tab:grey", linewidth=1)
    left.set(xlabel="step", ylabel="training loss")
    for part in [name for name in checks[0] if name not in NO_PART]:
        right.plot([r["step"] for r in checks], [r[part] for r in checks], marker="o", markersize=3, label=part)
    right.axvline(checks[-1]["best_step"], color="black", linewidth=0.8, linestyle=":")
    right.set(xlabel="step", ylabel="validation")
    right.legend(fontsize="small", frameon=False)
    figure.savefig(args.picture)


if __name__ == "__main__":
    main()

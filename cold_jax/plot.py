"""python -m cold_jax.plot run=DIR [run=DIR …]: pictures of finished runs, as SVG in RUN/plots."""

import argparse
from collections.abc import Sequence

ABOUT = """Draws, into RUN/plots as SVG: learning_curve (loss; validation with the start's level and its interval), quality (of the test
parts, or against k, beside the baselines), seconds (where they went), item_map (vectors of cold and warm items before and after Δθ, by
PCA). With several runs also quality_by_parameters, into the first one's folder. Needs matplotlib: pip install 'cold_jax[plot]'."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cold_jax.plot", description=ABOUT, allow_abbrev=False)
    parser.add_argument(
        "words", metavar="run=DIR", nargs="+", help="a run's folder; or KEY=VALUE where its data or encoder has moved"
    )
    parser.add_argument("--metric", default="recall@20", help="of the test (recall@20)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PICTURE", help="draw this one (can be repeated); else all"
    )
    args = parser.parse_args(argv)

    from cold_jax import command

    with command.errors_in_one_line():
        from cold_jax.plots.draw import draw

        for path in draw(args.words, args.metric, args.only):
            print(path)


if __name__ == "__main__":
    main()

"""python -m cold_jax.data check [--fast] [--write NAME] [GROUP=CHOICE …] [KEY=VALUE …]: what data and an experiment are like, before training."""

import argparse
import functools
import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from cold_jax import cli, command, config


def check(arguments: argparse.Namespace, cfg: DictConfig) -> None:
    from cold_jax import check, experiment
    from cold_jax.storage.logs import escape_control

    cli.absolute_paths(cfg)
    settings = config.settings(cfg)
    prepared = experiment.prepare(settings)
    for line in check.describe(prepared):
        print(escape_control(line))
    if not arguments.fast:
        for line in check.estimate(settings, prepared):
            print(line)
    text = check.choice(cfg.data, arguments.write or "NAME")
    if arguments.write is None:
        print(f"\nconf/data/NAME.yaml, which --write NAME writes:\n{text}", end="")
    else:
        path = check.write_choice(text, arguments.write)
        print(f"wrote {path}; next: python -m cold_jax.train data={arguments.write} …")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cold_jax.data", description="What data are like, before anyone trains.")
    commands = parser.add_subparsers(dest="command", required=True)
    about = (
        "sizes, split, texts, odd rows, cost, and the config to paste; overrides as of python -m cold_jax.train (--help there)"
    )
    checks = commands.add_parser(
        "check", help=about, description=about, usage="%(prog)s [--fast] [--write NAME] [OVERRIDE …]", allow_abbrev=False
    )
    checks.add_argument(
        "--write", metavar="NAME", help="write conf/data/NAME.yaml here; commands started here then know data=NAME"
    )
    checks.add_argument("--fast", action="store_true", help="do not time the experiment, by a few of its steps")
    arguments, overrides = parser.parse_known_args(argv)
    if {"-m", "--multirun"} & {*overrides}:
        sys.exit("error: check looks at one experiment; leave --multirun out")
    command.main(functools.partial(check, arguments), "train", [*overrides, "hydra.run.dir=."])


if __name__ == "__main__":
    main()

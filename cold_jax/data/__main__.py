"""What surrounds data, before anyone trains.

python -m cold_jax.data check [--fast] [--write NAME] [OVERRIDE …]: what data and an experiment are like
python -m cold_jax.data export format=recbole|coldrec to=FOLDER [OVERRIDE …]: data and split in the files of another library
"""

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from cold_jax import cli, command, config
from cold_jax.errors import ConfigError


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


def export(words: Mapping[str, str], cfg: DictConfig) -> None:
    from cold_jax import exchange, experiment

    form, folder = words["format"], Path(words["to"])
    if form not in exchange.FORMATS:
        raise ConfigError(f"format: {form!r} is not one of {', '.join(exchange.FORMATS)}, as in format=recbole")
    if not words["to"]:
        raise ConfigError("to: name a new folder, as in to=shop")
    if folder.exists():
        raise ConfigError(f"to: {folder} exists already; name a new folder")
    cli.absolute_paths(cfg)
    files = exchange.FORMATS[form](folder, experiment.prepare(config.settings(cfg)))
    print(f"{folder}: {', '.join(files)}")


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
    about = "data and split in the files of RecBole or ColdRec; overrides as of python -m cold_jax.train (--help there)"
    usage = "%(prog)s format=recbole|coldrec to=FOLDER [OVERRIDE …]"
    commands.add_parser("export", help=about, description=about, usage=usage, allow_abbrev=False)
    arguments, overrides = parser.parse_known_args(argv)
    if {"-m", "--multirun"} & {*overrides}:
        sys.exit(f"error: {arguments.command} looks at one experiment; leave --multirun out")
    if arguments.command == "export":
        words = {"format": "", "to": ""} | {key: value for key, _, value in (word.partition("=") for word in overrides)}
        others = [word for word in overrides if word.partition("=")[0] not in ("format", "to")]
        command.main(functools.partial(export, words), "train", [*others, "hydra.run.dir=."])
        return
    command.main(functools.partial(check, arguments), "train", [*overrides, "hydra.run.dir=."])


if __name__ == "__main__":
    main()

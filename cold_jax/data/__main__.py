"""What surrounds data: before anyone trains, and when a user wants to be forgotten.

python -m cold_jax.data check [--fast] [--write NAME] [OVERRIDE …]: what data and an experiment are like
python -m cold_jax.data export format=recbole|coldrec to=FOLDER [OVERRIDE …]: data and split in the files of another library
python -m cold_jax.data forget user=ID [--runs DIR …] [--in-place] [OVERRIDE …]: a user's rows, the cache, and runs that have read them
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


def forget(arguments: argparse.Namespace, user: str, cfg: DictConfig) -> None:
    from cold_jax.data import forget
    from cold_jax.data.mongodb import Mongodb
    from cold_jax.data.sql import Sql
    from cold_jax.runs.people import runs_with
    from cold_jax.storage import cache
    from cold_jax.storage.logs import escape_control

    cli.absolute_paths(cfg)
    settings = config.settings(cfg)
    forget.require_user(user)
    files = []
    if isinstance(settings.data, Sql | Mongodb):
        for line in forget.to_delete(settings.data, user):
            print(escape_control(line))
    else:
        files += forget.user_files(settings.data)
    if (path := cfg.split.get("path")) is not None:
        files.append(forget.UserFile(Path(path), "user_id", ","))
    for file in files:
        count, data = file.without(user)
        done = f"written without them: {forget.write_without(file, data, arguments.in_place)}" if count else "nothing to do"
        print(escape_control(f"{file.path}: {count} rows of {user!r}; {done}"))
    entries = [entry for entry in cache.entries() if entry.kind in ("tokens", "vectors", "states", "below")]
    if arguments.in_place:
        print(f"cache: {sum(cache.remove(entry) > 0 for entry in entries)} entries made of texts removed; they are made again")
    else:
        print(f"cache: {len(entries)} entries may hold what was made of their texts; --in-place removes them")
    for line in runs_with(user, [Path(folder) for folder in arguments.runs]):
        print(escape_control(line))


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
    about = (
        "a user's rows in the data's files and in a saved split, written without them beside (forgotten.NAME) or --in-place; the cache; "
        "which runs have read them. A database is not written: what to delete is shown"
    )
    forgets = commands.add_parser(
        "forget",
        help=about,
        description=about,
        usage="%(prog)s user=ID [--runs DIR …] [--in-place] [OVERRIDE …]",
        allow_abbrev=False,
    )
    forgets.add_argument(
        "--runs", metavar="DIR", action="append", default=[], help="a folder of runs to look through; several times"
    )
    forgets.add_argument("--in-place", action="store_true", help="replace the files, and clear the cache of texts")
    arguments, overrides = parser.parse_known_args(argv)
    if {"-m", "--multirun"} & {*overrides}:
        sys.exit(f"error: {arguments.command} looks at one experiment; leave --multirun out")
    if arguments.command == "export":
        words = {"format": "", "to": ""} | {key: value for key, _, value in (word.partition("=") for word in overrides)}
        overrides = [word for word in overrides if word.partition("=")[0] not in ("format", "to")]
        job = functools.partial(export, words)
    elif arguments.command == "forget":
        users = [word.partition("=")[2] for word in overrides if word.startswith("user=")]
        if len(users) != 1:
            sys.exit("error: forget: give one user, as in user=007")
        overrides = [word for word in overrides if not word.startswith("user=")]
        job = functools.partial(forget, arguments, users[0])
    else:
        job = functools.partial(check, arguments)
    command.main(job, "train", [*overrides, "hydra.run.dir=."])


if __name__ == "__main__":
    main()

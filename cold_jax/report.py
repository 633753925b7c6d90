"""python -m cold_jax.report DIR…: the finished runs under some folders side by side."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cold_jax.report", description="The finished runs under some folders side by side."
    )
    parser.add_argument(
        "folders", metavar="DIR", nargs="+", type=Path, help="a run's folder, or one with runs in it (runs/, multirun/…)"
    )
    parser.add_argument(
        "--metric", action="append", default=[], help="show this metric (can be repeated); else recall@20 and ndcg@20"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)

    from cold_jax.errors import ConfigError
    from cold_jax.runs import compare
    from cold_jax.runs.render import comparison_table, escape_control, run_table, show

    try:
        found = compare.scan_runs(args.folders)
    except FileNotFoundError as error:
        sys.exit(escape_control(str(error)))
    aside = [f"unfinished: {path}" for path in found.unfinished]
    aside += [f"damaged: {path}: {problem}" for path, problem in found.damaged.items()]
    if not found.finished:
        looked = ", ".join(map(str, args.folders))
        sys.exit(
            "\n".join(escape_control(line) for line in [f"no finished run (a folder with results.json) under {looked}", *aside])
        )
    alone = len(found.finished) == 1 and not args.metric and not args.json  # shows what the run itself printed
    try:
        sections = [] if alone else compare.compare_runs(found.finished, args.metric)
    except ConfigError as error:
        sys.exit(f"--{escape_control(str(error))}")
    if args.json:
        damaged = {str(path): problem for path, problem in found.damaged.items()}
        print(json.dumps({"sections": sections, "unfinished": [str(p) for p in found.unfinished], "damaged": damaged}, indent=2))
        return
    tables = [run_table(found.finished[0].results)] if alone else map(comparison_table, sections)
    show(tables)
    print(*map(escape_control, aside), sep="\n", end="\n" if aside else "")


if __name__ == "__main__":
    main()

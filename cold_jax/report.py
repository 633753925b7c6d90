"""python -m cold_jax.report DIR… [--html FILE] [--scores FILE]: the finished runs under some folders side by side."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def options() -> argparse.ArgumentParser:
    about = "The finished runs under some folders side by side."
    made = argparse.ArgumentParser(prog="python -m cold_jax.report", description=about)
    add, file = made.add_argument, {"metavar": "FILE", "type": Path}
    add("folders", metavar="DIR", nargs="*", type=Path, help="a run's folder, or one with runs in it (runs/, multirun/…)")
    add("--metric", action="append", default=[], help="show this one (repeatable); else recall@20 and ndcg@20")
    add("--json", action="store_true", help="print JSON")
    add("--html", **file, help="write one self-contained page of tables and charts")
    add("--titles", action="store_true", help="there, items' texts beside their ids, read from the runs' data")
    add("--scores", **file, action="append", default=[], help="user_id, item_id and score (or rank) by another program")
    add("--split", **file, help="the split.csv that --scores are for, where no run is given")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    args = (parser := options()).parse_args(argv)
    if not args.folders and not args.scores:
        parser.error("name a folder, or --scores")

    from cold_jax import sweeps
    from cold_jax.errors import UserError
    from cold_jax.reports import judge, write_page
    from cold_jax.runs import compare
    from cold_jax.runs.render import comparison_table, run_table
    from cold_jax.runs.terminal import escape_control, show

    try:
        found = compare.scan_runs(args.folders)
        aside = [*compare.left_out(found), *sweeps.failures(args.folders)]
        judged = [run for file in args.scores for run in judge(found.finished, file, args.split)]
        if not (runs := [*found.finished, *judged]):
            lines = [f"no finished run (a folder with results.json) under {', '.join(map(str, args.folders))}", *aside]
            sys.exit("\n".join(map(escape_control, lines)))
        alone = len(runs) == 1 and not (args.metric or args.json or args.html or judged)  # shows what the run itself printed
        sections = [] if alone else compare.compare_runs(runs, args.metric)
        if args.html:
            write_page(args.html, runs, sections, aside, args.titles)
            print(f"wrote {args.html}")
            return
    except (UserError, FileNotFoundError) as error:
        sys.exit(escape_control(str(error)))
    if args.json:
        print(json.dumps({"sections": sections, **compare.paths_left_out(found)}, indent=2))
        return
    show([run_table(found.finished[0].results)] if alone else map(comparison_table, sections))
    print(*map(escape_control, aside), sep="\n", end="\n" if aside else "")


if __name__ == "__main__":
    main()

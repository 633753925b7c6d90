"""python -m cold_jax.report DIR… [--html FILE]: the finished runs under some folders side by side."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m cold_jax.report", description="The finished runs under some folders side by side."
    )
    folders = "a run's folder, or one with runs in it (runs/, multirun/…)"
    made.add_argument("folders", metavar="DIR", nargs="+", type=Path, help=folders)
    made.add_argument("--metric", action="append", default=[], help="show this one (repeatable); else recall@20 and ndcg@20")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--html", metavar="FILE", type=Path, help="write one self-contained page of tables and charts")
    made.add_argument("--titles", action="store_true", help="there, items' texts beside their ids, read from the runs' data")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    args = options().parse_args(argv)

    from cold_jax import sweeps
    from cold_jax.errors import UserError
    from cold_jax.reports import write_page
    from cold_jax.runs import compare
    from cold_jax.runs.render import comparison_table, escape_control, run_table, show

    try:
        found = compare.scan_runs(args.folders)
        aside = [*compare.left_out(found), *sweeps.failures(args.folders)]
        if not found.finished:
            looked = ", ".join(map(str, args.folders))
            lines = [f"no finished run (a folder with results.json) under {looked}", *aside]
            sys.exit("\n".join(map(escape_control, lines)))
        alone = len(found.finished) == 1 and not (args.metric or args.json or args.html)  # shows what the run itself printed
        sections = [] if alone else compare.compare_runs(found.finished, args.metric)
        if args.html:
            write_page(args.html, found, sections, aside, args.titles)
            print(f"wrote {args.html}")
            return
    except (UserError, FileNotFoundError) as error:
        sys.exit(escape_control(str(error)))
    if args.json:
        damaged = {str(path): problem for path, problem in found.damaged.items()}
        print(json.dumps({"sections": sections, "unfinished": [str(p) for p in found.unfinished], "damaged": damaged}, indent=2))
        return
    show([run_table(found.finished[0].results)] if alone else map(comparison_table, sections))
    print(*map(escape_control, aside), sep="\n", end="\n" if aside else "")


if __name__ == "__main__":
    main()

"""python -m cold_jax.cache: what the cache on disk holds; `clear` empties it, or the kinds that are named."""

import argparse
import sys
import time
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cold_jax.cache",
        description="What the cache holds, by kind. COLD_JAX_CACHE moves it, COLD_JAX_CACHE_SIZE (20GB) limits it.",
    )
    commands = parser.add_subparsers(dest="command", metavar="clear")
    clear = commands.add_parser("clear", help="remove everything, or only some kinds")
    clear.add_argument("kinds", metavar="KIND", nargs="*", help="as the list names them (tokens, vectors, assets, programs, …)")
    args = parser.parse_args(argv)

    from cold_jax.errors import UserError
    from cold_jax.storage import cache

    try:
        entries, limit = cache.entries(), cache.limit()
    except UserError as error:
        sys.exit(str(error))
    kinds = sorted({entry.kind for entry in entries})
    if args.command == "clear":
        if unknown := set(args.kinds) - set(kinds):
            sys.exit(f"{', '.join(sorted(unknown))}: the cache has no such kind; there are {', '.join(kinds) or 'none'}")
        chosen = [entry for entry in entries if not args.kinds or entry.kind in args.kinds]
        freed = sum(map(cache.remove, chosen))
        print(f"{cache.root()}: {len(chosen)} entries, {_size(freed)} freed")
        return
    for kind in kinds:
        own = [entry for entry in entries if entry.kind == kind]
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(own[-1].used))
        print(f"{kind:12} {len(own):8,} entries {_size(sum(entry.size for entry in own)):>10}   last used {used}")
    print(f"{cache.root()}: {_size(sum(entry.size for entry in entries))} of {_size(limit)}")


def _size(size: int) -> str:
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size} B"


if __name__ == "__main__":
    main()

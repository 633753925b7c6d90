"""python scripts/join_sequences.py OUT FOLDER … [--users SHARE]: several shops' sequences as one, for data=sequences data.root=OUT.

A FOLDER has items.jsonl (item or item_id, title) and sequences.txt (a line a user, oldest item first) or interactions.csv (user_id, item_id,
order). Ids get the folder's number before them, so that no person and no product is taken for another shop's. --users 0.25 keeps a quarter
of each folder's users, drawn at random with seed 0, and all items.
"""

import argparse
import csv
import html
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def items(folder: Path) -> Iterator[tuple[str, str]]:
    path = folder / "items.jsonl"
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                item = row["item"] if "item" in row else row["item_id"]
            except (ValueError, TypeError, KeyError):
                sys.exit(f"{path}:{number}: not an object with item (or item_id) and title")
            yield str(item), html.unescape(row.get("title") or "").strip()


def sequences(folder: Path) -> Iterator[tuple[str, list[str]]]:
    path = folder / "sequences.txt"
    if path.exists():
        with path.open(encoding="utf-8-sig") as file:
            yield from ((user, of_user) for user, *of_user in map(str.split, filter(str.strip, file)))
        return
    taken = defaultdict(list)
    with (folder / "interactions.csv").open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            taken[row["user_id"]].append((int(row["order"]), row["item_id"]))
    for user, of_user in taken.items():
        yield user, [item for _, item in sorted(of_user)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("folders", type=Path, metavar="FOLDER", nargs="+")
    parser.add_argument("--users", type=float, default=1.0, metavar="SHARE")
    args = parser.parse_args()
    if not 0 < args.users <= 1:
        parser.error(f"--users {args.users}: give a share of the users, above 0 and up to 1")
    for folder in args.folders:
        if not (folder / "items.jsonl").is_file():
            parser.error(f"{folder}: no items.jsonl in it; give the folder of a shop")
        if not any((folder / name).is_file() for name in ("sequences.txt", "interactions.csv")):
            parser.error(f"{folder}: neither sequences.txt nor interactions.csv in it")
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out}: holds files already; name a new folder")
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "items.jsonl").open("w") as catalogue, (args.out / "sequences.txt").open("w") as taken:
        for shop, folder in enumerate(args.folders):
            for item, title in items(folder):
                catalogue.write(json.dumps({"item": f"{shop}_{item}", "title": title}) + "\n")
            of_users = list(sequences(folder))
            kept = random.Random(0).sample(range(len(of_users)), round(args.users * len(of_users)))
            if not kept:
                sys.exit(f"{folder}: no user of {len(of_users)} is left")
            for user, of_user in map(of_users.__getitem__, sorted(kept)):
                if odd := [one for one in (user, *of_user) if one.split() != [one]]:
                    sys.exit(f"{folder}: id {odd[0]!r} holds a blank, which a line of sequences.txt cannot")
                taken.write(" ".join(f"{shop}_{one}" for one in (user, *of_user)) + "\n")


if __name__ == "__main__":
    main()

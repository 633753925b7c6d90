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
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def items(folder: Path) -> Iterator[tuple[str, str]]:
    for line in (folder / "items.jsonl").read_text().splitlines():
        row = json.loads(line)
        yield str(row["item"] if "item" in row else row["item_id"]), html.unescape(row.get("title") or "").strip()


def sequences(folder: Path) -> Iterator[tuple[str, list[str]]]:
    path = folder / "sequences.txt"
    if path.exists():
        for user, *of_user in (line.split() for line in path.read_text().splitlines() if line.strip()):
            yield user, of_user
        return
    taken = defaultdict(list)
    with (folder / "interactions.csv").open(newline="") as file:
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
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "items.jsonl").open("w") as catalogue, (args.out / "sequences.txt").open("w") as taken:
        for shop, folder in enumerate(args.folders):
            for item, title in items(folder):
                catalogue.write(json.dumps({"item": f"{shop}_{item}", "title": title}) + "\n")
            of_users = list(sequences(folder))
            kept = random.Random(0).sample(range(len(of_users)), round(args.users * len(of_users)))
            for user, of_user in map(of_users.__getitem__, sorted(kept)):
                taken.write(" ".join(f"{shop}_{one}" for one in (user, *of_user)) + "\n")


if __name__ == "__main__":
    main()

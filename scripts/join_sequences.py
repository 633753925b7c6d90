"""python scripts/join_sequences.py OUT FOLDER …: several shops' sequences as one, for data=sequences data.root=OUT.

A FOLDER has items.jsonl (item or item_id, title) and sequences.txt (a line a user, oldest item first) or interactions.csv (user_id, item_id,
order). Ids get the folder's number before them, so that no person and no product is taken for another shop's.
"""

import csv
import html
import json
import sys
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
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *folders = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    with (out / "items.jsonl").open("w") as catalogue, (out / "sequences.txt").open("w") as taken:
        for shop, folder in enumerate(folders):
            for item, title in items(folder):
                catalogue.write(json.dumps({"item": f"{shop}_{item}", "title": title}) + "\n")
            for user, of_user in sequences(folder):
                taken.write(" ".join(f"{shop}_{one}" for one in (user, *of_user)) + "\n")


if __name__ == "__main__":
    main()

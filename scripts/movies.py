"""python scripts/movies.py plots=FILE to=FOLDER [collm=FOLDER]: films with their people and plots, as tables for data=tables.

FILE has a line for each film of MovieLens-1M, with fields separated by ::  (id, title, year, certificate, released, genres, directors, writers, actors, plot, poster);
items are joined to it by title (the article moved to the front, brackets dropped) and year, give or take one, or where one title of the year begins or
ends with the other and no second does. Without `collm` the
items are MovieLens-100k's, and FOLDER gets items.csv and interactions.csv. With it, they are CoLLM's (its folder: items.csv, train.csv, valid.csv,
test.csv), and FOLDER gets split.csv too, which calls the three files train, warm_val and warm_test, refit.csv, where validation trains too, and
train.csv, the interactions of the first file alone, and block_1.csv to block_4.csv, which test on later and later interactions of the first two.
"""

import csv
import dataclasses
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

from hydra import compose, initialize_config_dir

from cold_jax import CONF, config
from cold_jax.data.recbole import Recbole

BLOCKS = (0.4, 0.55, 0.7, 0.85)  # shares of the rows before each
HEADER = ("user_id", "item_id", "value", "time")
COLUMNS = ("item_id", "title", "year", "genres", "certificate", "directors", "writers", "actors", "people", "plot")
PARTS = {"train": "train", "warm_val": "valid", "warm_test": "test"}
ARTICLE = re.compile(r"^(.*), (the|a|an|le|la|les|l'|il|el|der|die|das|los|las)$")


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if not {"plots", "to"} <= given.keys() <= {"plots", "to", "collm"}:
        sys.exit(__doc__)
    to = Path(given["to"])
    to.mkdir(parents=True, exist_ok=True)
    if "collm" in given:
        folder = Path(given["collm"])
        rows = {part: list(_csv(folder / f"{name}.csv")) for part, name in PARTS.items()}
        # a title is "Sting, The (1973)"
        films = [(row["item"], row["title"][:-7], row["title"][-5:-1], "") for row in _csv(folder / "items.csv")]
        of = [(row["user"], row["item"], row["label"], row["timestamp"], part) for part, own in rows.items() for row in own]
        for name, train in (("split.csv", ("train",)), ("refit.csv", ("train", "warm_val"))):
            labels = ((user, item, "train" if part in train else part) for user, item, _, _, part in of)
            _write(to / name, ("user_id", "item_id", "part"), labels)
        known = [row for row in of if row[4] != "warm_test"]
        starts = [sorted(float(row[3]) for row in known)[int(share * len(known))] for share in BLOCKS]
        for n, (start, end) in enumerate(pairwise([*starts, float("inf")]), 1):
            labels = (
                (user, item, "train" if float(time) < start else "warm_test")
                for user, item, _, time, _ in known
                if float(time) < end
            )
            _write(to / f"block_{n}.csv", ("user_id", "item_id", "part"), labels)
        _write(to / "train.csv", HEADER, (row[:4] for row in of if row[4] == "train"))
    else:
        films, of = movielens_100k()
    _write(to / "interactions.csv", HEADER, (row[:4] for row in of))
    known = dict(read(Path(given["plots"])))
    items = [(item, title, year, *described(known, title, year, genres)) for item, title, year, genres in films]
    _write(to / "items.csv", COLUMNS, items)
    print(f"{to}: {len(of)} interactions, {len(items)} items, {sum(bool(item[-1]) for item in items)} of them with plots")


def movielens_100k() -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """(items' id, title, year and genres, interactions) of conf/data/ml_100k.yaml."""
    with initialize_config_dir(CONF, version_base="1.3"):
        source = config.make(compose("train", ["data=ml_100k"]).data, "data")
    texts = {"title": "{movie_title}", "year": "{release_year}", "genres": "{class}"}
    data = dataclasses.replace(cast(Recbole, source), item_texts=texts)()
    items, users = data.items, data.users
    # "unkonwn" and "V" are what RecBole's file has where a genre or a year is not known
    films = [
        (item, title, year * year.isdecimal(), genres.replace("unkonwn", ""))
        for item, title, year, genres in zip(items.ids, *items.texts.values(), strict=True)
    ]
    rows = zip(data.user_N, data.item_N, data.value_N, data.time_N, strict=True)
    return films, [(users.ids[u], items.ids[i], f"{value:g}", f"{time:.0f}") for u, i, value, time in rows]


def read(file: Path) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """(title's bare form, year) → genres, certificate, directors, writers, actors, all three, plot."""
    for line in file.read_text(encoding="utf-8").splitlines():
        _, title, year, certificate, _, genres, directors, writers, actors, plot, _ = line.split("::")
        own = ["" if cell == "N/A" else cell for cell in (directors, writers, actors)]
        people = [names(cell) for cell in (*own, ", ".join(filter(None, own)))]
        cells = [genres.replace(",", ""), certificate, *people, plot]
        yield (bare(title), int(year[:4])), ["" if cell == "N/A" else cell for cell in cells]


def described(known: Mapping[tuple[str, int], list[str]], title: str, year: str, genres: str) -> list[str]:
    """Genres, certificate, directors, writers, actors, all three, and plot: the join's, or empty but for the item's own genres."""
    if not year:
        return [genres, *[""] * 6]
    forms = [bare(title), *map(bare, re.findall(r"\(([^()]*)\)", title))]
    keys = [(form, int(year) + near) for near in (0, 1, -1) for form in forms]
    found = [known[key] for key in keys if key in known][:1]
    if not found and len(forms[0]) >= 8:
        of_year = [film for film, when in known if when == int(year) and len(film) >= 8]
        alike = [
            film for film in of_year if re.search(f"^{forms[0]}|{forms[0]}$", film) or re.search(f"^{film}|{film}$", forms[0])
        ]
        found = [known[film, int(year)] for film in alike] if len(alike) == 1 else []
    theirs, *others = found[0] if found else [""] * 7
    return [genres or theirs, *others]


def bare(title: str) -> str:
    """A title's letters and figures, its article in front, brackets dropped."""
    title = re.sub(r"\([^()]*\)", "", title.lower()).strip()
    if found := ARTICLE.match(title):
        title = f"{found[2]} {found[1]}"
    return re.sub(r"\W", "", title)


def names(cell: str) -> str:
    """Names, each once, without what they did."""
    return ", ".join(dict.fromkeys(re.sub(r"\s*\(.*?\)", "", name).strip() for name in cell.split(", ")))


def _csv(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as open_file:
        yield from csv.DictReader(open_file)


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as open_file:
        csv.writer(open_file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    main()

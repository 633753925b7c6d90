"""Last.fm as published for HetRec 2011 (Cantador, Brusilovsky, Kuflik): who listens to which artists, and the tags that users gave them.

Files of the folder, separated by tabs: user_artists.dat (user, artist, plays), artists.dat (id, name, …), tags.dat, user_taggedartists.dat.

Two things to know of its figures. The tags were given by the users themselves, so those of a cold artist come from listeners whose plays
are hidden: a figure with tags is an upper reading; `tags: 0` leaves them out. And user_friends.dat is not read: a text is made before the
split is known, and one that names friends' artists would show plays that the split hides.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cold_jax.data.attributes import Attributes
from cold_jax.data.dataset import Dataset
from cold_jax.data.files import column_places, excerpt, read_text, require_file
from cold_jax.errors import DataError

PLAYS, ARTISTS, TAGS, TAGGED = "user_artists.dat", "artists.dat", "tags.dat", "user_taggedartists.dat"
ARTIST_COLUMNS = ["id", "name", "url", "pictureURL"]  # some copies of artists.dat lack their header


@dataclass(frozen=True)
class Lastfm(Attributes):
    """Artists have the order of artists.dat, and the columns id, name, url and tags. An interaction's value is the number of plays."""

    root: str | None
    tags: int  # of an artist, those that most users gave it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tags < 0:
            raise ValueError(f"data.tags: {self.tags} is no number of tags; it is 0 or more")

    def __call__(self) -> Dataset:
        """Raises DataError where the folder is not given or lacks a file, or a line is malformed."""
        if self.root is None:
            raise DataError(f"data.root: give the folder of HetRec 2011's Last.fm files ({PLAYS}, {ARTISTS}, {TAGS}, {TAGGED})")
        root = Path(self.root)
        for name in (PLAYS, ARTISTS, *((TAGS, TAGGED) if self.tags else ())):
            require_file(root / name, "data.root", self.root)
        columns = {"user": "userID", "item": "artistID", "value": "weight", "time": None}
        return self.dataset(self._read, root / PLAYS, columns, (root / ARTISTS, "id"), (None, "user"))

    def _read(self, file: Path, wanted: Mapping[str, str]) -> Iterator[tuple[int, list[str]]]:
        if file.name != ARTISTS:
            yield from _rows(file, wanted)
            return
        tags = _tags(file.parent, self.tags) if self.tags else {}
        plain = [name for name in wanted if name != "tags"]
        for line, cells in _rows(file, dict.fromkeys(["id", *plain], "item_texts"), ARTIST_COLUMNS):
            row = dict(zip(dict.fromkeys(["id", *plain]), cells, strict=True))
            yield line, [", ".join(tags.get(row["id"], ())) if name == "tags" else row[name] for name in wanted]


def _tags(root: Path, most: int) -> dict[str, list[str]]:
    """Artist → tags, the one that most users gave first, equal ones in the order of text."""
    names = {tag: name for _, (tag, name) in _rows(root / TAGS, {"tagID": "tags", "tagValue": "tags"}, encoding="iso-8859-1")}
    users: dict[str, Counter[str]] = defaultdict(Counter)
    for line, (artist, tag) in _rows(root / TAGGED, {"artistID": "tags", "tagID": "tags"}):
        if tag not in names:
            raise DataError(f"{root / TAGGED}:{line}: {TAGS} has no tag {excerpt(tag)}; both files must be of one copy")
        users[artist][names[tag]] += 1
    return {artist: sorted(counts, key=lambda name: (-counts[name], name))[:most] for artist, counts in users.items()}


def _rows(
    file: Path, wanted: Mapping[str, str], header: list[str] | None = None, encoding: str = "utf-8"
) -> Iterator[tuple[int, list[str]]]:
    """Lines of a file: number and the wanted cells. header: the names of the columns, where the first line may lack them."""
    text = read_text(file) if encoding == "utf-8" else file.read_text(encoding)
    lines = [line.removesuffix("\r").split("\t") for line in text.split("\n")]
    first = [lines[0][0].removeprefix("//"), *lines[0][1:]]
    named = header is None or first == header
    names = first if header is None else header
    at = column_places(f"{file}:1", names, wanted)
    for number, cells in enumerate(lines, 1):
        if (named and number == 1) or cells == [""]:
            continue
        if len(cells) != len(names):
            raise DataError(f"{file}:{number}: {len(cells)} fields where there are {len(names)}: {excerpt(chr(9).join(cells))}")
        yield number, [cells[i] for i in at]

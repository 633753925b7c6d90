"""HetRec's Last.fm: artists with the tags that most users gave them, plays as values."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cold_jax import CONF, config
from cold_jax.data.dataset import Dataset
from cold_jax.data.lastfm import Lastfm
from cold_jax.errors import ConfigError, DataError

FILES = {
    "user_artists.dat": "//userID\tartistID\tweight\n2\t51\t13883\n2\t52\t7\n007\t51\t1\n",
    "artists.dat": "52\tMorcheeba\tu\tp\n51\tDuran Duran – “Live”\tu\tp\n",
    "tags.dat": "tagID\ttagValue\n1\tmetal\n2\tchillout\n3\tfrançais\n4\tambient\n",
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\n2\t52\t1\t1\t4\t2009\n3\t52\t3\t1\t4\t2009\n2\t52\t3\t1\t4\t2009\n"
    "2\t52\t4\t1\t4\t2009\n3\t52\t2\t1\t4\t2009\n",
}


def made(**values: object) -> Lastfm:
    return config.make(OmegaConf.merge(OmegaConf.load(Path(CONF) / "data" / "lastfm.yaml"), values), "data")  # pyright: ignore


def read(folder: Path, changed: dict[str, str] | None = None, **values: object) -> Dataset:
    for name, text in (FILES | (changed or {})).items():
        (folder / name).write_text(text, encoding="iso-8859-1" if name == "tags.dat" else "utf-8", newline="")
    return made(root=str(folder), **values)()


def test_files_become_a_data_set(tmp_path: Path) -> None:
    data = read(tmp_path, tags=3)
    assert (data.users.ids, data.items.ids) == (("2", "007"), ("52", "51"))
    assert data.items.texts == {
        "line": ("Morcheeba. français, ambient, chillout", "Duran Duran – “Live”"),
        "title": ("Morcheeba", "Duran Duran – “Live”"),
    }
    assert (data.user_N.tolist(), data.item_N.tolist(), data.value_N.tolist()) == ([0, 0, 1], [1, 0, 1], [13883, 7, 1])
    assert not data.users.texts


def test_tags_are_sets_or_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, item_sets={"tags": ", "}).items.indicators["tags"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    without = read(tmp_path, {"tags.dat": "", "user_taggedartists.dat": ""}, tags=0)
    assert without.items.texts["line"] == ("Morcheeba", "Duran Duran – “Live”")


def test_a_header_and_crlf_make_no_difference(tmp_path: Path) -> None:
    with_header = {name: text.replace("//", "").replace("\n", "\r\n") for name, text in FILES.items()}
    with_header["artists.dat"] = "id\tname\turl\tpictureURL\r\n" + with_header["artists.dat"]
    assert read(tmp_path, with_header).digest == read(tmp_path).digest


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("user_artists.dat", "userID\tartistID\tweight\n2\t51\n", "user_artists.dat:2: 2 fields where there are 3: '2\\t51'"),
        (
            "user_artists.dat",
            "userID\tartistID\tplays\n2\t51\t1\n",
            "user_artists.dat:1: no column 'weight', which this format needs",
        ),
        ("artists.dat", "51\tDuran\n", "artists.dat:1: 2 fields where there are 4"),
        ("tags.dat", "tagID\ttagValue\n1\tmetal\n", "user_taggedartists.dat:3: tags.dat has no tag '3'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, {name: text})
    assert str(raised.value).replace(f"{tmp_path}/", "").startswith(says)


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data\.root: give the folder"):
        made()()
    with pytest.raises(DataError, match=r"user_artists\.dat: there is no such file; give data\.root=FOLDER"):
        made(root=str(tmp_path))()
    with pytest.raises(ConfigError, match=r"^data\.tags: -1"):
        made(tags=-1)

"""scripts/movies.py: titles that are one film's, and CoLLM's three files as tables that cold_jax reads."""

import csv
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from cold_jax import CONF, config

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import movies

PLOTS = """\
1::The Sting::1973::PG::25 Dec 1973::Comedy, Crime::George Roy Hill::David S. Ward::Paul Newman, Robert Redford::Two con men.::N/A
2::Star Wars: Episode V - The Empire Strikes Back::1980::PG::1980::Action::N/A::Leigh Brackett (story), George Lucas (story)::Mark Hamill::They flee.::N/A
3::Il Postino::1994::N/A::1994::Drama::Michael Radford::N/A::N/A::A poet.::N/A
"""
ITEMS = 'item,title\n1,"Sting, The (1973)"\n2,"Empire Strikes Back, The (1980)"\n3,"Postino, Il (The Postman) (1995)"\n4,Sting (1973)\n'
ROWS = {
    "train": "7,1,1,100,1,\n7,2,0,101,1,1\n8,1,0,50,1,\n",
    "valid": "7,3,1,200,1,1\n",
    "test": "7,4,0,300,1,1 3\n7,1,1,301,1,1 3\n",
}


@pytest.fixture
def collm(tmp_path: Path) -> Path:
    (tmp_path / "plots.dat").write_text(PLOTS)
    (tmp_path / "items.csv").write_text(ITEMS)
    for name, rows in ROWS.items():
        (tmp_path / f"{name}.csv").write_text("user,item,label,timestamp,not_cold,history\n" + rows)
    return tmp_path


def test_a_film_is_found_by_title_and_year(collm: Path) -> None:
    known = dict(movies.read(collm / "plots.dat"))
    plot = lambda title, year: movies.described(known, title, year, "")[-1]  # noqa: E731
    assert plot("Sting, The", "1973") == plot("Sting, The", "1974") == "Two con men."
    assert plot("Sting, The", "1976") == plot("Sting, The", "") == ""
    assert plot("Empire Strikes Back, The", "1980") == "They flee."  # the end of a longer title
    assert plot("Postino, Il (The Postman)", "1994") == "A poet."
    assert movies.described(known, "Sting, The", "1973", "Drama") == [
        "Drama", "PG", "George Roy Hill", "David S. Ward", "Paul Newman, Robert Redford",
        "George Roy Hill, David S. Ward, Paul Newman, Robert Redford", "Two con men.",
    ]  # fmt: skip
    assert movies.described(known, "Empire Strikes Back, The", "1980", "")[:4] == [
        "Action",
        "PG",
        "",
        "Leigh Brackett, George Lucas",
    ]


def test_collms_files_become_tables_with_their_parts(collm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = collm / "films"
    monkeypatch.setattr(sys, "argv", ["movies.py", f"plots={collm / 'plots.dat'}", f"collm={collm}", f"to={films}"])
    movies.main()
    assert [row["plot"] for row in csv.DictReader((films / "items.csv").read_text().splitlines())] == [
        "Two con men.",
        "They flee.",
        "A poet.",
        "",
    ]
    given = ["+experiment=collm_ml1m", f"data.root={films}", f"split.path={films}/split.csv", "split.threshold=1"]
    with initialize_config_dir(CONF, version_base="1.3"):
        settings = config.settings(compose("train", given))
    data = settings.data()
    split = settings.split(data)
    assert [data.items.ids[i] for i in split.test["all"].item_N] == ["4", "1"]
    liked_history_NI = split.test["all"].liked_history_NI
    # before both test rows user 7 liked 3, in validation, after 1: as CoLLM's own column tells
    assert [
        {data.items.ids[i]: int(place) for i, place in zip(row.indices, row.data, strict=True)} for row in liked_history_NI
    ] == [{"3": 1, "1": 2}] * 2
    monkeypatch.setattr(sys, "argv", ["movies.py", "plot=x"])
    with pytest.raises(SystemExit):
        movies.main()

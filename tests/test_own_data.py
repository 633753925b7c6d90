"""docs/own_data.md works as written: its commands run in order, and what does not depend on the encoder is printed as it stands there."""

import re
import shlex
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import in_process
import made_up_shop
import pytest
import transcript

PAGE = (Path(__file__).parents[1] / "docs" / "own_data.md").read_text()
# a random encoder, and towers as the closed form starts them: most of the rest is compilation
SHRUNK = {
    "data": ["encoder=tiny", "--fast"],
    "train": ["encoder=tiny", "adapter=zero_shot", "loop.max_steps=1", "baseline=[]", "parallel.devices=1"],
}
OF_ENCODER_AND_MACHINE = ("tokens of ", "baselines: ", "training: ", "in all ", "memory: ", "wrote ", "[")


class Step(NamedTuple):
    command: list[str]
    written: list[str]  # what the page has of its output
    printed: list[str]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """The page's commands, in one folder and in this process."""
    folder, found = tmp_path_factory.mktemp("own_data"), []
    for block in transcript.BLOCKS.finditer(PAGE):
        command = shlex.split(block["commands"].replace("\\\n", " "))
        if command[1] == "scripts/made_up_shop.py":
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                patch.setattr(sys, "argv", command[1:])
                made_up_shop.main()
            continue
        module = command[2].removeprefix("cold_jax.")
        own = {"COLD_JAX_CACHE": str(folder / "cache"), "COLUMNS": str(transcript.WIDTH)}
        name = "data.__main__" if module == "data" else module
        done = in_process.run(name, *command[3:], *SHRUNK.get(module, []), cwd=folder, **own)
        assert done.code == 0, done.err
        found.append(Step(command, block["output"].splitlines(), [line.rstrip() for line in done.out.splitlines()]))
    shutil.rmtree(folder / "cache")
    return found


def cells(lines: list[str]) -> list[list[str]]:
    """Rows of tables."""
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines if line[:1] in ("│", "┃")]


def test_they_are_five(steps: list[Step]) -> None:
    assert [step.command[2] for step in steps] == [
        f"cold_jax.{name}" for name in ("data", "train", "recommend", "recommend", "explain")
    ]


def test_the_check_finds_what_the_page_shows(steps: list[Step]) -> None:
    stable = [line for line in steps[0].written if not line.startswith(OF_ENCODER_AND_MACHINE)]
    printed = [line for line in steps[0].printed if not line.startswith(OF_ENCODER_AND_MACHINE)]
    assert len(stable) > 15
    assert printed == stable


def test_the_table_has_the_page_s_columns(steps: list[Step]) -> None:
    written, printed = cells(steps[1].written), cells(steps[1].printed)
    assert printed[0] == written[0]
    assert [row[0] for row in printed[:3]] == ["", "recall@20", "this run"] == [row[0] for row in written[:3]]


def test_lists_have_the_page_s_form(steps: list[Step]) -> None:
    for step in steps[2:4]:
        written, printed = cells(step.written), cells(step.printed)
        assert printed[0] == written[0]
        assert len(printed) == len(written)
    ids, liked = [row[1] for row in cells(steps[2].printed)[1:]], ["00286", "00105"]
    assert all(re.fullmatch(r"\d{5}", item) for item in ids)
    assert not set(liked) & set(ids)
    assert all(re.fullmatch(r"\d{6}", row[2]) for row in cells(steps[3].printed)[1:])


def test_the_explanation_has_the_page_s_parts(steps: list[Step]) -> None:
    def parts(lines: list[str]) -> set[str]:
        texts = {line for line in lines if line.startswith(("the user's profile: ", "this item ", "history "))}
        terms = {row[0] for row in cells(lines)[1:4]}
        return texts | terms | {" ".join(row) for row in cells(lines) if not any(re.search(r"\d", cell) for cell in row)}

    assert parts(steps[4].printed) == parts(steps[4].written)
    assert len(parts(steps[4].written)) >= 9
    error = re.search(r"completeness error ([\d.]+)%", "\n".join(steps[4].written))
    assert error is not None
    assert float(error[1]) <= 1


WRONG = [
    ("", "data.interactions='SELECT buyer FROM orders'", "data.interactions: the database says: no such column: buyer"),
    ("", "data.user=buyer", "data.interactions: no column 'buyer' (for data.user); "),
    ("UPDATE orders SET sku = NULL WHERE rowid = 9", "", "data.interactions:9: no item id; every row needs one"),
    ("UPDATE products SET title = zeroblob(1048577) WHERE rowid = 3", "", "data.items:3: title"),
    ("UPDATE products SET title = hex(zeroblob(524289)) WHERE rowid = 3", "", "data.items:3: title of item '00003' has 1,048,578 characters"),
    ("DROP TABLE customers", "", "data.users: the database says: no such table: customers"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "override", "says"), WRONG)
def test_what_is_wrong_with_a_shop_is_one_line_and_leaves_no_run(tmp_path: Path, change: str, override: str, says: str) -> None:
    """The page's query of the training, on a smaller shop."""
    made_up_shop.write(tmp_path / "shop.db", made_up_shop.draw(customers=20, seed=0))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute(change)
        connection.commit()
    check = shlex.split(next(transcript.BLOCKS.finditer(PAGE.partition("## 1. Check")[2]))["commands"].replace("\\\n", " "))
    arguments = [word for word in check[4:] if word not in ("--write", "my_shop")]
    small = ["encoder=tiny", "baseline=[]", "logger=console", f"hydra.run.dir={tmp_path / 'run'}", *filter(None, [override])]
    done = in_process.run("train", *arguments, *small, cwd=tmp_path)
    assert done.code == 1
    [line] = [line for line in done.said if line.startswith("error: ")]
    assert line.startswith(f"error: {says}"), line
    assert not (tmp_path / "run").exists()


def test_the_rest_of_an_output_is_counted() -> None:
    assert transcript.shorten("a \nb\nc\n\n", 2) == "a\nb\n[1 more line]\n"
    assert transcript.shorten("a\nb\nc", 1) == "a\n[2 more lines]\n"
    assert transcript.shorten("a\n", 1) == "a\n"


def test_a_shop_is_as_real_ones_are() -> None:
    shop = made_up_shop.draw(customers=200, seed=1)
    assert shop == made_up_shop.draw(customers=200, seed=1) != made_up_shop.draw(customers=200, seed=2)
    skus, titles = {row[0] for row in shop.products}, [row[1] for row in shop.products]
    assert None in titles
    assert any("ü" in title for title in titles if title)
    assert all(customer.startswith("00") for customer, *_ in shop.customers)
    assert {sku for _, sku, _ in shop.orders} - skus
    assert len(set(shop.orders)) < len(shop.orders)
    customers = [customer for customer, *_ in set(shop.orders)]
    assert sum(customers.count(customer) == 1 for customer in set(customers)) > 20

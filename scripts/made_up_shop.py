"""python scripts/made_up_shop.py to=FILE.db [customers=1500] [seed=0]: a shop in SQLite, for docs/own_data.md.

It is like real ones: ids with leading zeros, umlauts, products without a title, cities and interests that few customers have given, orders that were
sent twice, products that are gone from the catalogue, and customers who bought once. What people buy follows their interests.

    customers  customer, city, interests        products  sku, title, category, price        orders  customer, sku, ordered_at
"""

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

THINGS = {
    "coffee": ("espresso beans", "filter coffee", "cold brew", "decaf beans", "coffee grinder", "moka pot", "milk frother"),
    "tea": ("green tea", "chamomile tea", "earl grey", "rooibos", "teapot", "tea infuser", "matcha powder"),
    "baking": ("rye flour", "spelt flour", "cake tin", "baking yeast", "vanilla sugar", "rolling pin", "sourdough starter"),
    "garden": ("tomato seeds", "basil seeds", "watering can", "plant pots", "garden gloves", "compost", "pruning shears"),
    "cycling": ("bicycle lamp", "bicycle bell", "rain cape", "pannier bag", "repair kit", "helmet", "chain oil"),
    "children": ("wooden train", "picture book", "puzzle", "crayons", "building blocks", "soft bear", "night light"),
}
KINDS = ("organic", "classic", "small", "large", "fine", "handmade", "Viennese", "Nordic", "red", "green")
MAKERS = ("Müller", "Schön & Söhne", "Böhm", "Ährengold", "Käthe", "Jäger", "Weiß", "Núñez")
CITIES = ("Köln", "München", "Zürich", "Nürnberg", "Düsseldorf", "Wien", "Lübeck", "Bern", "Graz")
FIRST_DAY, DAYS = datetime(2023, 1, 1, tzinfo=UTC), 700


class Shop(NamedTuple):
    customers: list[tuple[str, str | None, str | None]]
    products: list[tuple[str, str | None, str, float]]
    orders: list[tuple[str, str, str]]


def draw(customers: int, seed: int) -> Shop:
    """The rows of all tables; orders by time."""
    generator = np.random.default_rng(seed)
    categories = list(THINGS)
    rows = [(category, kind, thing) for category in categories for thing in THINGS[category] for kind in KINDS]
    products: list[tuple[str, str | None, str, float]] = []
    for number, (category, kind, thing) in enumerate(rows, 1):
        title = f"{generator.choice(MAKERS)} {kind} {thing}"
        missing = generator.random() < 0.03
        products.append((f"{number:05}", None if missing else title, category, round(float(generator.gamma(2, 8)) + 1, 2)))
    gone = {int(n) for n in generator.choice(len(rows), 5, replace=False)}
    of_category_I = np.array([categories.index(category) for category, _, _ in rows])
    popularity_I = generator.permutation(np.arange(1, len(rows) + 1) ** -0.7)

    people: list[tuple[str, str | None, str | None]] = []
    orders: list[tuple[str, str, str]] = []
    for number in range(1, customers + 1):
        customer = f"{number * 7:06}"
        first, second = generator.permutation(len(categories))[:2]
        interests = f"{categories[first]} and {categories[second]}"
        city = str(generator.choice(CITIES)) if generator.random() < 0.8 else None
        people.append((customer, city, interests if generator.random() < 0.7 else None))
        count = 1 if generator.random() < 0.25 else 2 + int(generator.gamma(2, 4))
        weight_I = popularity_I * np.where(of_category_I == first, 12.0, np.where(of_category_I == second, 6.0, 0.5))
        start = float(generator.random() * DAYS)
        for item in generator.choice(len(rows), count, replace=False, p=weight_I / weight_I.sum()):
            start += float(generator.exponential(9))
            at = FIRST_DAY + timedelta(days=start)
            order = (customer, products[item][0], at.strftime("%Y-%m-%d %H:%M:%S"))
            orders += [order, order] if generator.random() < 0.02 else [order]  # the second: sent twice
    return Shop(people, [product for n, product in enumerate(products) if n not in gone], sorted(orders, key=lambda row: row[2]))


def write(path: Path, shop: Shop) -> None:
    """A new file. Raises FileExistsError."""
    path.open("x").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (customer TEXT PRIMARY KEY, city TEXT, interests TEXT)")
        connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, title TEXT, category TEXT, price REAL)")
        connection.execute("CREATE TABLE orders (customer TEXT, sku TEXT, ordered_at TEXT)")
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", shop.customers)
        connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", shop.products)
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", shop.orders)
        connection.commit()


def main() -> None:
    given = {key: value for key, _, value in (argument.partition("=") for argument in sys.argv[1:])}
    if not {"to"} <= given.keys() <= {"to", "customers", "seed"}:
        sys.exit(__doc__)
    shop = draw(int(given.get("customers", 1500)), int(given.get("seed", 0)))
    try:
        write(Path(given["to"]), shop)
    except FileExistsError:
        sys.exit(f"{given['to']}: is there already; delete it or take another name")
    sizes = ((len(rows), name) for name, rows in shop._asdict().items())
    print(f"{given['to']}: " + ", ".join(f"{size:,} {name}" for size, name in sizes))


if __name__ == "__main__":
    main()

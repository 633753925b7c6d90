# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From SQLite to recommendations for a new product
#
# A shop's database, a check, a training, and the customers who would like a product that nobody has bought yet.

# %% [markdown]
# [![Open in Colab](../badges/colab.svg)](https://colab.research.google.com/) (*File → Upload notebook*: this file)
#
# **On Colab**, the next cell installs cold_jax from the package index. For a **GPU or TPU**, first choose it under *Runtime → Change runtime
# type*; the cell then installs JAX for the device that it finds. If Colab asks for a restart afterwards, restart and go on with the
# cell below.

# %%
import importlib.util
import shutil
from pathlib import Path

if importlib.util.find_spec("cold_jax") is None:
    from IPython import get_ipython

    has_gpu = shutil.which("nvidia-smi") is not None
    has_tpu = any(Path("/dev", name).exists() for name in ("accel0", "vfio/0"))
    extras = "plot,cuda" if has_gpu else "plot,tpu" if has_tpu else "plot"
    get_ipython().run_line_magic("pip", f"install --quiet 'cold_jax[{extras}]'")


# %%
SMALL = True  # False: MiniLM, some minutes on two CPU cores

ENCODER = "tiny" if SMALL else "minilm"
CUSTOMERS, PRODUCTS, STEPS = (120, 60, 6) if SMALL else (1500, 400, 300)

# %% [markdown]
# ## A shop
# Take your own database instead. An address with a password goes into an environment variable: `data.uri=env:SHOP_DB`.

# %%
import random
import sqlite3
import tempfile

folder = Path(tempfile.mkdtemp())
draw = random.Random(0)
kinds = {"tea": "green herbal black leaves", "coffee": "roasted beans espresso filter", "mugs": "glazed stoneware cup handle"}
products = []
for n in range(PRODUCTS):
    kind = draw.choice(list(kinds))
    products.append((f"{n:04d}", " ".join(draw.sample(kinds[kind].split(), 2)), kind))
orders = []
for n in range(CUSTOMERS):
    favourite = draw.choice(list(kinds))
    for _ in range(draw.randint(6, 14)):
        of_kind = [sku for sku, _title, kind in products if kind == favourite or draw.random() < 0.2]
        orders.append((f"C{n:05d}", draw.choice(of_kind), f"2024-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"))
with sqlite3.connect(folder / "shop.db") as database:
    database.execute("CREATE TABLE products (sku TEXT, title TEXT, category TEXT)")
    database.execute("CREATE TABLE orders (customer TEXT, sku TEXT, ordered_at TEXT)")
    database.executemany("INSERT INTO products VALUES (?, ?, ?)", products)
    database.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders)
len(orders)

# %% [markdown]
# ## Train on cold products
# One query for each table; a template makes a text of columns. A fifth of the products are cold in the test.

# %%
import cold_jax

run = cold_jax.train(
    "+experiment=frozen_item_cold",
    "data=sql",
    f"data.uri={folder / 'shop.db'}",
    "data.interactions='SELECT customer AS user_id, sku AS item_id, ordered_at FROM orders'",
    "data.time=ordered_at",
    "data.items='SELECT sku AS item_id, title, category FROM products'",
    'data.item_texts={line: "{title}. {category}"}',
    'data.item_sets={category: ""}',
    f"encoder={ENCODER}",
    "baseline=[random,popularity,content_knn,ridge_svd_fixed]",
    f"loop.max_steps={STEPS}",
    "evaluation.resamples=100",
    "logger=none",
)
run.table()

# %% [markdown]
# ## A new product
# It has a title and a category, and no sales. Who would like it? Users are ranked by how far it stands out in their own list.

# %%
recommender = cold_jax.load(run.path)
recommender.add_items([{"item_id": "new", "title": "green leaves", "category": "tea"}])
recommender.who_likes(["new"], k=5)

# %% [markdown]
# And where is it in a list for a new customer, who has bought one thing?

# %%
bought = next(sku for sku, title, kind in products if kind == "tea")
recommender.recommend(liked=[bought], k=5)

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
# # Quickstart
#
# Train a recommender on texts and interactions, read its table, look at its curve, ask it for recommendations, and ask why.

# %% [markdown]
# On Colab, install first. For a GPU or TPU choose the runtime before this cell; JAX is there already, and cold_jax uses what
# `jax.devices()` shows. On your own machine `pip install "cold_jax[cuda]"` or `"cold_jax[tpu]"` brings JAX for the device.

# %%
import importlib.util

if importlib.util.find_spec("cold_jax") is None:
    from IPython import get_ipython

    get_ipython().run_line_magic("pip", "install --quiet cold_jax matplotlib")


# %%
SMALL = True  # False: MovieLens-100k and MiniLM with LoRA, eight minutes on two CPU cores

EXPERIMENT = "smoke" if SMALL else "lora_user_cold"

# %% [markdown]
# ## Train
# A tenth of the users are cold: none of their interactions is in training. They are tested with a support of k = 0, 1, 5 and 10
# items, and all items are ranked.

# %%
import cold_jax

run = cold_jax.train(f"+experiment={EXPERIMENT}", "baseline=[random,popularity,item_knn,fold_in]", "logger=none")
run

# %% [markdown]
# ## The table
# Rows are methods, columns test parts. The last lines compare the run with its baselines, paired over users, and say in a sentence
# what was found.

# %%
run.table()

# %%
run.results["test"]["support_5"]["recall@20"], run.results["versus"]["fold_in"]["support_5"]["recall@20"]

# %% [markdown]
# ## The curve
# The dotted line is the level before the first step. Inside the grey band a difference to it is not significant.

# %%
from IPython.display import SVG

from cold_jax.plots.draw import draw

pictures = {path.stem: path for path in draw([f"run={run.path}"], "recall@20", [])}
SVG(pictures["learning_curve"])

# %%
SVG(pictures["quality"])

# %% [markdown]
# ## Recommend
# A new user is a text and a few items that they like.

# %%
recommender = cold_jax.load(run.path)
liked = list(recommender.prepared.dataset.items.ids[:2])
best = recommender.recommend(profile="a 24-year-old engineer", liked=liked, k=5)
best

# %% [markdown]
# ## Explain
# Exact shares of the history, words by integrated gradients, and training items with similar texts.

# %%
why = recommender.explain(best["item_id"][0], profile="a 24-year-old engineer", liked=liked)
why.to_json()

# %% [markdown]
# Next: [your own data](own_data.ipynb), or [does Δθ help?](does_delta_help.ipynb)

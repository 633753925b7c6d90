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
# It was trained on:

# %%
import jax

f"{jax.device_count()} × {jax.default_backend()}"

# %% [markdown]
# ## The table
# Rows are methods, columns test tasks. The last lines compare the run with its baselines, paired over users, and give the verdict. At the
# small size the encoder is random and barely trained, so the closed forms are far ahead.

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

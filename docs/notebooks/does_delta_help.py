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
# # Does Δθ help?
#
# The same model around θ with nothing trained in it (frozen), with LoRA, and with full fine-tuning, beside closed forms; then the paired
# differences. Read the intervals, not the ranks.

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
SMALL = True  # False: MovieLens-100k and MiniLM, about half an hour on two CPU cores

EXPERIMENT = ["+experiment=smoke", "loop.max_steps=6"] if SMALL else ["+experiment=lora_user_cold"]
BASELINES = "baseline=[popularity,item_knn,fold_in]"

# %% [markdown]
# ## Three runs that differ in one word

# %%
import cold_jax

runs = {
    adapter: cold_jax.train(*EXPERIMENT, BASELINES, f"adapter={adapter}", "logger=none") for adapter in ("frozen", "lora", "full")
}
{adapter: run.results["parameters"]["trained"] for adapter, run in runs.items()}

# %% [markdown]
# ## Side by side
# Means, baselines, and paired differences with 95 % intervals; p-values after Holm's correction.

# %%
cold_jax.compare(list(runs.values()), ["recall@20"])

# %% [markdown]
# ## Against the strongest closed form
# For each run and k: the difference to the best baseline, with its interval.

# %%
rows = []
for adapter, run in runs.items():
    for part in ("support_0", "support_1", "support_5", "support_10"):
        baselines = {name: parts[part]["recall@20"] for name, parts in run.results["baselines"].items()}
        best = max(baselines, key=baselines.get)
        found = run.results["versus"][best][part]["recall@20"]
        rows.append((adapter, part, best, found["difference"], *found["ci95"]))
rows

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(7, 3.6), layout="constrained")
ax = figure.subplots()
for y, (_, _, _, difference, low, high) in enumerate(rows):
    ax.plot([low, high], [-y, -y], color="tab:blue")
    ax.plot(difference, -y, "o", color="tab:blue")
ax.axvline(0, color="black", linewidth=0.8, linestyle=":")
ax.set_yticks([-y for y in range(len(rows))], [f"{adapter}, {part} − {best}" for adapter, part, best, *_ in rows])
ax.set(xlabel="difference of recall@20, 95 % interval")
figure

# %% [markdown]
# ## Did the encoder move?
# Items under θ and under φ, on the same axes.

# %%
from IPython.display import SVG

from cold_jax.plots.draw import draw

[picture] = draw([f"run={runs['full'].path}"], "recall@20", ["item_map"])
SVG(picture)

# %% [markdown]
# ## Quality against trained parameters

# %%
words = [f"run={run.path}" for run in runs.values()]
[picture] = draw(words, "recall@20", ["quality_by_parameters"])
SVG(picture)

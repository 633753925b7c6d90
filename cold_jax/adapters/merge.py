"""Δθ out of a trained model, and φ = θ + Δθ as a plain encoder."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax.adapters.base import Adapter
from cold_jax.adapters.full import BitFit, Full
from cold_jax.adapters.lora import Lora
from cold_jax.encoders import TextEncoder


def delta(adapter: Adapter, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Δθ alone, from the parameters of a model by dotted path: A, B and m of LoRA, φ − θ of what else learns, nothing of a frozen encoder."""
    encoder = [name for name in after if name.startswith("encoder.")]
    if isinstance(adapter, BitFit):
        encoder = [name for name in encoder if name.endswith(".bias")]
    if isinstance(adapter, Full):
        return {name: after[name] - before[name] for name in encoder}
    return {name: after[name] for name in encoder if name.rsplit(".", 1)[-1] in ("A", "B", "magnitude")}


def merge(adapter: Adapter, encoder: TextEncoder, delta: Mapping[str, np.ndarray]) -> TextEncoder:
    """φ = θ + Δθ as a plain encoder: a copy of θ with what `delta` gave. Δθ of fewer layers belongs to the last ones."""
    encoder = nnx.clone(encoder)
    change = {name.removeprefix("encoder."): array for name, array in delta.items()}
    if isinstance(adapter, Lora):
        adapted = [name.removesuffix(".A") for name in change if name.endswith(".A")]
        size = {f"{name}.kernel": change[f"{name}.magnitude"] for name in adapted if adapter.dora}
        change = {f"{name}.kernel": adapter.scale * (change[f"{name}.A"] @ change[f"{name}.B"]) for name in adapted}
    else:
        size = {}
    for path, parameter in nnx.to_flat_state(nnx.state(encoder, nnx.Param)):
        if (own := change.get(name := ".".join(map(str, path)))) is not None:
            array = np.array(parameter[...])
            array[-len(own) :] += own
            if name in size:
                array[-len(own) :] *= (size[name] / np.linalg.norm(array[-len(own) :], axis=-2))[..., None, :]
            parameter.set_value(jnp.asarray(array))
    return encoder


def parameters(module: nnx.Module, which: Any) -> dict[str, np.ndarray]:
    """The module's variables that the filter `which` picks, on the host, by dotted path."""
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(module, which))}

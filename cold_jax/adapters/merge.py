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
from cold_jax.errors import WeightsError


def delta(adapter: Adapter, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Δθ alone, from the parameters of a model by dotted path: A, B and m of LoRA, φ − θ of what else learns, nothing of a frozen encoder."""
    encoder = [name for name in after if name.startswith("encoder.")]
    if isinstance(adapter, BitFit):
        encoder = [name for name in encoder if name.endswith(".bias")]
    if isinstance(adapter, Full):
        return {name: after[name] - before[name] for name in encoder}
    return {name: after[name] for name in encoder if name.rsplit(".", 1)[-1] in ("A", "B", "magnitude")}


def merge(adapter: Adapter, encoder: TextEncoder, delta: Mapping[str, np.ndarray]) -> TextEncoder:
    """φ = θ + Δθ as a plain encoder: a copy of θ with what `delta` gave. Δθ of fewer layers belongs to the last ones.

    Raises WeightsError where Δθ is not one of this adapter and encoder.
    """
    encoder = nnx.clone(encoder)
    change = {name.removeprefix("encoder."): array for name, array in delta.items()}
    if isinstance(adapter, Lora):
        parts = ("A", "B", "magnitude") if adapter.dora else ("A", "B")
        adapted = sorted({name.rpartition(".")[0] for name in change})
        if change.keys() != {f"{name}.{part}" for name in adapted for part in parts}:
            raise WeightsError(f"Δθ: not {', '.join(parts)} of each adapted layer, but {', '.join(sorted(change))[:200]}")
        size = {f"{name}.kernel": change[f"{name}.magnitude"] for name in adapted if adapter.dora}
        try:
            change = {f"{name}.kernel": adapter.scale * (change[f"{name}.A"] @ change[f"{name}.B"]) for name in adapted}
        except ValueError as error:
            raise WeightsError(f"Δθ: A and B of a layer do not fit each other ({error})") from None
    else:
        size = {}
    for path, parameter in nnx.to_flat_state(nnx.state(encoder, nnx.Param)):
        if (own := change.get(name := ".".join(map(str, path)))) is not None:
            array = np.array(parameter[...], np.float32)
            if own.ndim != array.ndim or own.shape[1:] != array.shape[1:] or len(own) > len(array):
                raise WeightsError(f"Δθ: {name} has shape {own.shape}, and the encoder's {array.shape}")
            array[-len(own) :] += own
            del change[name]
            if name in size:
                array[-len(own) :] *= (size[name] / np.linalg.norm(array[-len(own) :], axis=-2))[..., None, :]
            parameter.set_value(jnp.asarray(array))
    if change:
        raise WeightsError(f"Δθ: the encoder has no {', '.join(sorted(change))[:200]}")
    return encoder


def interpolate(theta: TextEncoder, phi: TextEncoder, alpha: float) -> TextEncoder:
    """A copy with the parameters θ + α (φ − θ), at 0 θ's and at 1 φ's to the bit (WiSE-FT; Wortsman et al., CVPR 2022, arXiv 2109.01903)."""
    if alpha in (0, 1):
        return nnx.clone(phi if alpha else theta)
    between = nnx.clone(phi)
    before = parameters(theta, nnx.Param)
    for path, parameter in nnx.to_flat_state(nnx.state(between, nnx.Param)):
        start = before[".".join(map(str, path))]
        parameter.set_value(jnp.asarray(start + alpha * (np.asarray(parameter[...]) - start)))
    return between


def parameters(module: nnx.Module, which: Any) -> dict[str, np.ndarray]:
    """The module's variables that the filter `which` picks, on the host, by dotted path."""
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(module, which))}

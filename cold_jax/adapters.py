"""φ = θ + Δθ: what of a pre-trained encoder is learned. Full fine-tuning, LoRA, or nothing.

    full     Δθ is free
    bitfit   Δθ is free in the biases, 0 elsewhere
    lora     Δθ = s·A·B for each adapted kernel W, s = alpha / rank, or alpha / √rank (rsLoRA)
    dora     W + Δθ = m · (W + s·A·B) / |W + s·A·B|, norms over each output's weights, m learned, at first |W|
    frozen   Δθ = 0
    none     Δθ = 0, and what stands on the encoder doesn't learn either

LoRA: Hu et al. 2021, arXiv 2106.09685; rsLoRA: Kalajdzievski 2023, arXiv 2312.03732; DoRA: Liu et al. 2024, arXiv 2402.09353; BitFit: Ben Zaken
et al. 2021, arXiv 2106.10199.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from cold_jax import seeds
from cold_jax.encoders.layers import Linear
from cold_jax.encoders.weights import WeightsError


class LoraLinear(nnx.Module):
    """x·W + bias + s·(x·A)·B. B starts at zero, so φ = θ at step 0; W + s·A·B itself is formed for DoRA's norms alone.

    DoRA scales all but the bias, output by output, by m / |W + s·A·B|, in which the gradient takes the norm as constant (its section 4.3).
    """

    def __init__(
        self, linear: Linear, rank: int, scale: float, dropout: float, dora: bool, generator: np.random.Generator, noise_tag: int
    ):
        *stack, wide, out = linear.kernel.shape
        bound = 1 / np.sqrt(wide)  # PEFT's: kaiming_uniform with a = √5
        self.linear = linear
        self.A = nnx.LoRAParam(jnp.asarray(generator.uniform(-bound, bound, (*stack, wide, rank)), linear.param_dtype))
        self.B = nnx.LoRAParam(jnp.zeros((*stack, rank, out), linear.param_dtype))
        self.m: Any = nnx.LoRAParam(jnp.linalg.norm(linear.kernel[...], axis=-2)) if dora else None
        self.scale = scale
        self.dropout = dropout
        self.noise_tag = noise_tag

    def __call__(self, x: jax.Array, noise_RL: jax.Array | None = None) -> jax.Array:
        dtype = self.linear.dtype or x.dtype
        kept = x.astype(dtype)
        if noise_RL is not None and self.dropout > 0:
            keep = lambda key: jax.random.bernoulli(jax.random.fold_in(key, self.noise_tag), 1 - self.dropout, x.shape[-1:])  # noqa: E731
            kept = jnp.where(jax.vmap(jax.vmap(keep))(noise_RL), kept / (1 - self.dropout), 0)
        change = (kept @ self.A[...].astype(dtype)) @ self.B[...].astype(dtype) * self.scale
        if self.m is None:
            return self.linear(x) + change
        wide = (*[1] * (x.ndim - 1), -1)
        bias = 0 if self.linear.bias is None else self.linear.bias[...].astype(dtype).reshape(wide)
        norm = jnp.linalg.norm(self.linear.kernel[...] + self.scale * self.A[...] @ self.B[...], axis=-2)
        by = (self.m[...] / jax.lax.stop_gradient(norm)).astype(dtype).reshape(wide)
        return by * (self.linear(x) - bias + change) + bias


@dataclass(frozen=True)
class _Adapter:
    """rate: Δθ's learning rate over the head's. layers: all, or last_N: the layers below are θ, and a table of token states."""

    rate: float
    layers: str

    head: ClassVar[Any] = nnx.Param  # what of the rest of a model learns

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"adapter.rate: {self.rate} is below 0")
        if not re.fullmatch("all|last_[1-9][0-9]*", self.layers):
            raise ValueError(f"adapter.layers: {self.layers!r} is neither all nor last_N, as in last_2")

    @property
    def last(self) -> int | None:
        """How many layers, from the last, have a Δθ; None: all, and the embeddings."""
        return None if self.layers == "all" else int(self.layers.removeprefix("last_"))


@dataclass(frozen=True)
class Full(_Adapter):
    """Every parameter of the encoder learns."""

    dropout = 0.0
    start = None

    @property
    def trains(self) -> nnx.filterlib.Filter:
        return nnx.Param

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        return encoder


@dataclass(frozen=True)
class BitFit(Full):
    """The biases of the encoder learn, those of its norms among them. Raises WeightsError where it has none."""

    @property
    def trains(self) -> nnx.filterlib.Filter:
        return nnx.All(nnx.Param, lambda path, _: path[-1] == "bias")

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        if not nnx.to_flat_state(nnx.state(encoder, self.trains)):
            raise WeightsError("adapter: bitfit trains biases, and this encoder has none; use adapter=lora")
        return encoder


@dataclass(frozen=True)
class Frozen:
    """No parameter of the encoder learns: it is a table of vectors."""

    rate = 0.0
    dropout = 0.0
    head: ClassVar[Any] = nnx.Param

    @property
    def trains(self) -> nnx.filterlib.Filter:
        return nnx.Nothing()

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        return encoder


@dataclass(frozen=True)
class Untrained(Frozen):
    """Nothing learns at all: what is asked is what θ knows (zero-shot), or what a closed form starts at."""

    head: ClassVar[Any] = nnx.Nothing()


@dataclass(frozen=True)
class Lora(_Adapter):
    """A and B (and m) of the linear layers whose dotted path matches one of `targets` learn.

    start: the folder of a PEFT adapter, to begin at its.
    """

    rank: int
    alpha: float
    dropout: float
    rslora: bool
    dora: bool
    targets: list[str]
    start: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "targets", tuple(self.targets))
        if self.rank < 1:
            raise ValueError(f"adapter.rank: {self.rank} is not a rank; give 1 or more (adapter=frozen learns no Δθ)")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"adapter.dropout: {self.dropout} is not a probability below 1")

    @property
    def trains(self) -> nnx.filterlib.Filter:
        return nnx.LoRAParam

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        """A copy, with θ's own arrays, whose layers are wrapped. Raises ValueError where a pattern matches no linear layer."""
        encoder = nnx.clone(encoder)
        linears = {".".join(map(str, path)): m for path, m in nnx.iter_modules(encoder) if isinstance(m, Linear)}
        for pattern in self.targets:
            if not any(re.fullmatch(pattern, name) for name in linears):
                raise ValueError(
                    f"adapter.targets: '{pattern}' matches no linear layer of the encoder; it has {', '.join(sorted(linears))}"
                )
        names = [name for name in sorted(linears) if any(re.fullmatch(p, name) for p in self.targets)]
        for tag, name in enumerate(names):
            *parents, last = name.split(".")
            draw = seeds.generator(seed, f"lora {name}")
            adapted = LoraLinear(linears[name], self.rank, self.scale, self.dropout, self.dora, draw, tag)
            setattr(functools.reduce(getattr, parents, encoder), last, adapted)
        return encoder


def delta(
    adapter: Full | Frozen | Lora, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Δθ alone, from the parameters of a model by dotted path: A, B and m of LoRA, φ − θ of what else learns, nothing of a frozen encoder."""
    encoder = [name for name in after if name.startswith("encoder.")]
    if isinstance(adapter, BitFit):
        encoder = [name for name in encoder if name.endswith(".bias")]
    if isinstance(adapter, Full):
        return {name: after[name] - before[name] for name in encoder}
    return {name: after[name] for name in encoder if name.rsplit(".", 1)[-1] in ("A", "B", "m")}


def add(adapter: Full | Frozen | Lora, encoder: nnx.Module, delta: Mapping[str, np.ndarray]) -> nnx.Module:
    """φ = θ + Δθ as a plain encoder: a copy of θ with what `delta` gave. Δθ of fewer layers belongs to the last ones."""
    encoder = nnx.clone(encoder)
    change = {name.removeprefix("encoder."): array for name, array in delta.items()}
    if isinstance(adapter, Lora):
        adapted = [name.removesuffix(".A") for name in change if name.endswith(".A")]
        size = {f"{name}.kernel": change[f"{name}.m"] for name in adapted if adapter.dora}
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

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

from dataclasses import dataclass
from typing import ClassVar

from flax import nnx

from cold_jax.adapters.base import Adapter, LayerAdapter
from cold_jax.errors import WeightsError


@dataclass(frozen=True)
class Full(LayerAdapter):
    """Every parameter of the encoder learns."""

    dropout = 0.0
    init_from = None

    @property
    def trainable_filter(self) -> nnx.filterlib.Filter:
        return nnx.Param

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        return encoder


@dataclass(frozen=True)
class BitFit(Full):
    """The biases of the encoder learn, those of its norms among them. Raises WeightsError where it has none."""

    @property
    def trainable_filter(self) -> nnx.filterlib.Filter:
        return nnx.All(nnx.Param, lambda path, _: path[-1] == "bias")

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        if not nnx.to_flat_state(nnx.state(encoder, self.trainable_filter)):
            raise WeightsError("adapter: bitfit trains biases, and this encoder has none; use adapter=lora")
        return encoder


@dataclass(frozen=True)
class Frozen(Adapter):
    """No parameter of the encoder learns: it is a table of vectors."""

    frozen: ClassVar[bool] = True
    lr_scale = 0.0
    dropout = 0.0
    init_from = None
    last = None

    @property
    def trainable_filter(self) -> nnx.filterlib.Filter:
        return nnx.Nothing()

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        return encoder


@dataclass(frozen=True)
class ZeroShot(Frozen):
    """Nothing is trained: zero-shot, or a closed form as it is."""

    trains_head: ClassVar[bool] = False

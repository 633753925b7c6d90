"""What full fine-tuning and LoRA have in common."""

import re
from dataclasses import dataclass
from typing import ClassVar

from flax import nnx

from cold_jax.ranges import require


class Adapter:
    """What a run asks of an adapter: which Δθ it learns, and how it gets into an encoder."""

    frozen: ClassVar[bool] = False  # θ gives every text its vector, whatever the step
    trains_head: ClassVar[bool] = True  # whether what is on top of the encoder learns
    lr_scale: float  # Δθ's learning rate over the head's
    dropout: float
    init_from: str | None  # the folder of a PEFT adapter to begin at
    last: int | None  # how many layers, from the last, have a Δθ; None: all, and the embeddings

    @property
    def head_filter(self) -> nnx.filterlib.Filter:
        return nnx.Param if self.trains_head else nnx.Nothing()

    @property
    def trainable_filter(self) -> nnx.filterlib.Filter:
        """The parameters of the encoder that learn."""
        raise NotImplementedError

    def __call__(self, encoder: nnx.Module, seed: int) -> nnx.Module:
        """The encoder, with layers of the adapter's own where it has any."""
        raise NotImplementedError


@dataclass(frozen=True)
class LayerAdapter(Adapter):
    """lr_scale: Δθ's learning rate over the head's. layers: all, or last_N: the layers below are θ, and a table of token states."""

    lr_scale: float
    layers: str

    def __post_init__(self) -> None:
        require("adapter", self, at_least_0=["lr_scale"])
        if not re.fullmatch("all|last_[1-9][0-9]*", self.layers):
            raise ValueError(f"adapter.layers: {self.layers!r} is neither all nor last_N, as in last_2")

    @property
    def last(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None if self.layers == "all" else int(self.layers.removeprefix("last_"))

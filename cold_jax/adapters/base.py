"""What full fine-tuning and LoRA have in common."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from flax import nnx


@dataclass(frozen=True)
class Adapter:
    """lr_scale: Δθ's learning rate over the head's. layers: all, or last_N: the layers below are θ, and a table of token states."""

    lr_scale: float
    layers: str

    head_filter: ClassVar[Any] = nnx.Param  # what of the rest of a model learns

    def __post_init__(self) -> None:
        if self.lr_scale < 0:
            raise ValueError(f"adapter.lr_scale: {self.lr_scale} is below 0")
        if not re.fullmatch("all|last_[1-9][0-9]*", self.layers):
            raise ValueError(f"adapter.layers: {self.layers!r} is neither all nor last_N, as in last_2")

    @property
    def last(self) -> int | None:
        """How many layers, from the last, have a Δθ; None: all, and the embeddings."""
        return None if self.layers == "all" else int(self.layers.removeprefix("last_"))

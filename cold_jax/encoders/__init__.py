"""Pre-trained encoders θ: which one, where its weights come from, and how a vector is made."""

from cold_jax.encoders.architectures import ARCHITECTURES, architecture
from cold_jax.encoders.pretrained import Pretrained
from cold_jax.encoders.text_encoder import EncoderConfig, EncoderShape, Loaded, TextEncoder
from cold_jax.encoders.tiny import CHARACTERS, Tiny

__all__ = [
    "ARCHITECTURES",
    "CHARACTERS",
    "EncoderConfig",
    "EncoderShape",
    "Loaded",
    "Pretrained",
    "TextEncoder",
    "Tiny",
    "architecture",
]

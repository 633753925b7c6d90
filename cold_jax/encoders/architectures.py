"""The architectures that checkpoints may have, by the model_type of their config.json."""

import json
from pathlib import Path

from cold_jax.encoders import bert, distilbert, gpt2, llama, modernbert, mpnet, roberta
from cold_jax.encoders.weights import Architecture
from cold_jax.errors import WeightsError

ARCHITECTURES = {
    model_type: module.ARCHITECTURE
    for module in (bert, roberta, distilbert, mpnet, modernbert, gpt2, llama)
    for model_type in module.ARCHITECTURE.model_types
}


def architecture(config_file: Path) -> Architecture:
    """The architecture that a config.json names. Raises WeightsError where it is none of ours."""
    model_type = json.loads(config_file.read_text()).get("model_type")
    if model_type not in ARCHITECTURES:
        raise WeightsError(f"{config_file}: model_type {model_type!r} is not supported; supported: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[model_type]

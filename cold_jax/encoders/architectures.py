"""The architectures that checkpoints may have, by the model_type of their config.json."""

from pathlib import Path
from typing import Any

from cold_jax.encoders import bert, distilbert, gemma3, gpt2, gte, llama, modernbert, mpnet, nomic_bert, roberta, t5
from cold_jax.encoders.weights import Architecture, read_json
from cold_jax.errors import WeightsError

ARCHITECTURES = {
    model_type: module.ARCHITECTURE
    for module in (bert, roberta, distilbert, mpnet, modernbert, nomic_bert, gte, t5, gpt2, llama, gemma3)
    for model_type in module.ARCHITECTURE.model_types
}


def architecture(config_file: Path) -> Architecture:
    """The architecture that a config.json names. Raises WeightsError where it is none of ours."""
    model_type = read_json(config_file).get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise WeightsError(f"{config_file}: model_type {model_type!r} is not supported; supported: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[model_type]


def read_shape(a: Architecture, config_file: Path) -> Any:
    """The config of an architecture's model, from a config.json. Raises WeightsError where that says something else than it can be."""
    try:
        return a.config(config_file)
    except WeightsError:
        raise
    except (
        TypeError,
        ValueError,
        AttributeError,
        KeyError,
        ArithmeticError,
    ) as error:  # a value of another type in an inner object
        raise WeightsError(f"{config_file}: a value is not of the type that it should be ({error!r})") from error

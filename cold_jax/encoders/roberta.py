"""RoBERTa and XLM-R: BERT trained longer, whose positions begin after the padding's. arXiv 1907.11692, 1911.02116."""

from pathlib import Path

from cold_jax.encoders.bert import CHECKPOINT, IMPLIED, NAMES, Bert, BertConfig
from cold_jax.encoders.layers import ACTIVATIONS
from cold_jax.encoders.weights import Architecture, read_config

MODEL_TYPES = ("roberta", "xlm-roberta")
IGNORED = (r"pooler\..*", r"lm_head\..*", r"embeddings\.position_ids")
RENAMED = ((r"^roberta\.", ""),)


def config(path: Path) -> BertConfig:
    """Reads a checkpoint's config.json. Raises WeightsError where it describes something that this RoBERTa is not."""
    supported = {
        "model_type": MODEL_TYPES,
        "position_embedding_type": ["absolute"],
        "hidden_act": list(ACTIVATIONS),
        "is_decoder": [False],
    }
    values = read_config(path, supported, {**NAMES, "padding": "pad_token_id"}, {**IMPLIED, "pad_token_id": 1})
    return BertConfig(offset=values.pop("padding") + 1, **values)


ARCHITECTURE = Architecture(MODEL_TYPES, config, Bert, CHECKPOINT, IGNORED, RENAMED)

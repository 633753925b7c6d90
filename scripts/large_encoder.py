"""Whether an encoder that one device cannot hold is loaded in its parts.

    python scripts/large_encoder.py make FOLDER          # random weights of Qwen3-0.6B's shape: 1.2 GB
    python scripts/large_encoder.py load FOLDER [fsdp=8] [tensor=1] [frozen_dtype=bfloat16]

`load` reads the folder as a run does, over as many devices as XLA_FLAGS forces, and prints as JSON what each device holds, by the arrays and by
the arithmetic, and how far this process's own memory grew at most (sampled, without pages of the file, which the system takes back).
"""

import json
import sys
import threading
import time
from pathlib import Path

SHAPE = {
    "model_type": "qwen3", "architectures": ["Qwen3Model"], "hidden_act": "silu", "vocab_size": 151_936, "hidden_size": 1_024,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3_072,
    "max_position_embeddings": 32_768, "rope_theta": 1_000_000, "rms_norm_eps": 1e-6, "attention_bias": False, "tie_word_embeddings": True,
    "use_sliding_window": False, "sliding_window": None, "rope_scaling": None,
}  # fmt: skip


def make(folder: Path) -> None:
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save_file

    from cold_jax.encoders import tiny

    width, heads, keys, inner = 1_024, 16 * 128, 8 * 128, 3_072
    shapes = {"embed_tokens.weight": (SHAPE["vocab_size"], width), "norm.weight": (width,)}
    for layer in range(SHAPE["num_hidden_layers"]):
        shapes |= {
            f"layers.{layer}.{name}.weight": shape
            for name, shape in {
                "self_attn.q_proj": (heads, width),
                "self_attn.k_proj": (keys, width),
                "self_attn.v_proj": (keys, width),
                "self_attn.o_proj": (width, heads),
                "self_attn.q_norm": (128,),
                "self_attn.k_norm": (128,),
                "mlp.gate_proj": (inner, width),
                "mlp.up_proj": (inner, width),
                "mlp.down_proj": (width, inner),
                "input_layernorm": (width,),
                "post_attention_layernorm": (width,),
            }.items()
        }
    draw = np.random.default_rng(0)
    tensors = {
        name: np.ones(shape, ml_dtypes.bfloat16)
        if len(shape) == 1
        else (0.02 * draw.standard_normal(shape, np.float32)).astype(ml_dtypes.bfloat16)
        for name, shape in shapes.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(SHAPE))
    (folder / "tokenizer.json").write_text((Path(tiny.__file__).parent / "characters.json").read_text())


class Growth:
    """The largest RssAnon of this process since `start`, less what it was then; in bytes."""

    def __init__(self) -> None:
        self.before, self.largest, self.ended = self.held(), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    @staticmethod
    def held() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    def watch(self) -> None:
        while not self.ended.wait(0.01):
            self.largest = max(self.largest, self.held() - self.before)

    def end(self) -> int:
        self.ended.set()
        self.thread.join()
        return max(self.largest, self.held() - self.before)


def load(folder: Path, overrides: list[str]) -> dict[str, object]:
    import jax
    from flax import nnx

    from cold_jax import config
    from cold_jax.training.parallel import bytes_per_device

    cfg = config.compose(
        ["encoder=hub", f"encoder.id={folder}", "adapter=frozen", "parallel=mesh", *(f"parallel.{given}" for given in overrides)]
    )
    s = config.settings(cfg)
    growth, began = Growth(), time.monotonic()
    placed = s.parallel.place(s.encoder(), s.adapter.trainable_filter)
    leaves = jax.tree.leaves(nnx.state(placed.encoder))
    jax.block_until_ready(leaves)
    seconds, grown = time.monotonic() - began, growth.end()
    shards = [shard for leaf in leaves for shard in leaf.addressable_shards]
    held = {device.id: sum(shard.data.nbytes for shard in shards if shard.device == device) for device in jax.devices()}
    return {
        "devices": len(held),
        "parameters": sum(leaf.size for leaf in leaves),
        "bytes of the file": (folder / "model.safetensors").stat().st_size,
        "bytes on each device": sorted(held.values()),
        "bytes on each device, by the arithmetic": bytes_per_device(nnx.state(placed.encoder)),
        "bytes on all devices": sum(held.values()),
        "largest growth of memory, bytes": grown,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("make", "load"):
        sys.exit(__doc__)
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        print(json.dumps(load(Path(sys.argv[2]).absolute(), sys.argv[3:]), indent=1))

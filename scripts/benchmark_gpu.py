"""python scripts/benchmark_gpu.py OUT.json [ROW,…]: cold_jax against torch.compile and PEFT on one GPU, in less than four minutes.

Weights are random, in the shapes of BERT-base and all-mpnet-base-v2; both sides have the same. Losses or vectors are compared first. Then all sides
take turns; a figure is the median of ten rounds, in seconds of wall time, each ending when the device is done. MFU is the arithmetic of the
work over (seconds · rate), for the datasheet's rate and for one measured in the same run.
Other processes compute the differences from goldens and fill caches of compiled code; nothing is timed before they end.
Each row is printed and written when it is there, what does not fit into --seconds is left out and says so.

    rate          products of bfloat16 matrices, 8,192³ and of the shape of BERT's MLP
    gpu_lora      LoRA of rank 8 on queries and values, in-batch softmax over 512 pairs of texts of 64 tokens; and what could be faster
    gpu_parts     the same: forward, forward and backward, and the optimizer, each alone
    gpu_full      full fine-tuning of the same
    gpu_encode    vectors of 20,000 texts of 8 to 64 tokens, without the tokenizer
    gpu_eval      20,000 users × 50,000 items, best 20 with seen items masked
    parity        largest differences from the goldens of tests/parity, in TF32 and in float32
"""

# pyright: reportMissingImports=false
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scaling import layer_flop, padded, ranking_part, stepper

from cold_jax import config
from cold_jax.adapters.lora import LoraLinear
from cold_jax.encoders import CHARACTERS, layers, mpnet, precomputed
from cold_jax.encoders.layers import POLICIES, AttentionContext, Remat
from cold_jax.encoders.relative_bias import relative_bias
from cold_jax.evaluation import ranking
from cold_jax.models.base import Partition, encode_texts, partition_model
from cold_jax.models.cosine import Cosine, CosineModule
from cold_jax.text.packing import Rows
from cold_jax.text.tokens import Tokens
from cold_jax.training.objectives import Softmax
from cold_jax.training.parallel import device_info, single_device
from cold_jax.training.step import StepSpec

BEGAN = time.monotonic()
DATASHEET = 989e12  # FLOP/s of an H100's or H200's dense bfloat16 products
RATE, SHARP = 1e-4, 20.0  # learning rate; inverse temperature of unit vectors' products
ROUNDS = 10
LENGTH = 64  # tokens of a text in a step
RANK = 8
PARITY_PROCESSES = 5
Row = dict[str, Any]
Side = Callable[[], Any]


class Sizes(NamedTuple):
    pairs: int
    layers: int
    width: int
    texts: int
    users: int
    items: int
    matrix: int


FULL = Sizes(512, 12, 768, 20_000, 20_000, 50_000, 8192)
TINY = Sizes(8, 2, 64, 200, 300, 2_000, 256)


class OutOfTime(Exception):
    """What comes next would not end in time."""


class Run:
    """Where the rows go, and until when."""

    def __init__(self, out: Path, seconds: float, tiny: bool):
        self.out, self.end, self.tiny = out, BEGAN + seconds, tiny
        self.rows: list[Row] = []
        self.about: Row = {}
        self.children: list[subprocess.Popen[bytes]] = []
        self.lock = threading.Lock()

    def left(self) -> float:
        return self.end - time.monotonic()

    def need(self, seconds: float) -> None:
        if self.left() < seconds:
            raise OutOfTime(f"{self.left():.0f} s are left, {seconds:.0f} are needed")

    def emit(self, row: Row) -> None:
        row = {**row, "at_seconds": round(time.monotonic() - BEGAN, 1)}
        with self.lock:
            self.rows.append(row)
            part = self.out.with_name(self.out.name + ".part")
            part.write_text(json.dumps({"about": self.about, "rows": self.rows}, indent=1, default=str) + "\n")
            os.replace(part, self.out)
        print(json.dumps(row, default=str), flush=True)

    def failed(self, what: str) -> None:
        """Prints the exception at hand, and notes it in a row."""
        error = sys.exc_info()[1]
        if isinstance(error, OutOfTime):
            self.emit({"row": "left out", "what": what, "why": str(error)})
            return
        traceback.print_exc()
        sys.stderr.flush()
        self.emit({"row": "failed", "what": what, "why": f"{type(error).__name__}: {error}"[:2000]})

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception:  # one row must not cost the others
            self.failed(what)

    def end_children(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.terminate()

    def watch(self) -> None:
        """Ends the process when the time is over, whatever it does; what was emitted is in the file."""

        def over() -> None:
            print(f"{time.monotonic() - BEGAN:.0f} s: the time is over", file=sys.stderr, flush=True)
            self.end_children()
            with self.lock:
                os._exit(3)

        timer = threading.Timer(max(self.left(), 1), over)
        timer.daemon = True
        timer.start()


def on_gpu() -> bool:
    return jax.default_backend() == "gpu"


@cache
def torch_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def wait_for_devices() -> None:
    if "torch" in sys.modules and torch_device() == "cuda":
        import torch

        torch.cuda.synchronize()


def peak_of_jax() -> int | None:
    stats = jax.local_devices()[0].memory_stats()
    return stats.get("peak_bytes_in_use") if stats else None


def turns(run: Run, sides: Mapping[str, Side], rounds: int, seconds: float) -> dict[str, Row]:
    """Each side's seconds: median, least and number of rounds. A side blocks until all it computes is there; one that fails is dropped."""
    living, spent = dict(sides), {name: [] for name in sides}
    for name, side in sides.items():
        with run.guard(f"first time of {name}"):
            side()
            continue
        living.pop(name, None)
    began = time.monotonic()
    for n in range(rounds):
        if n >= 3 and (time.monotonic() - began > seconds or run.left() < 8):
            break
        for name, side in list(living.items()):
            wait_for_devices()
            start = time.perf_counter()
            try:
                side()
                wait_for_devices()
            except Exception:
                run.failed(f"round {n} of {name}")
                living.pop(name)
                continue
            spent[name].append(time.perf_counter() - start)
    return {
        name: {"seconds": statistics.median(each), "least": min(each), "rounds": len(each)}
        for name, each in spent.items()
        if each
    }


# ---------------------------------------------------------------------------------------------------------------- weights


KINDS = ("bert", "mpnet")


def torch_model(kind: str, sizes: Sizes) -> Any:
    """A random encoder of BERT-base's or all-mpnet-base-v2's shape, in float32."""
    import torch
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

    torch.manual_seed(0)
    torch.set_default_device(torch_device())
    sdpa: dict[str, Any] = {"attn_implementation": "sdpa"}
    common: dict[str, Any] = {
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.width // 64 if sizes.width >= 128 else 4,
        "intermediate_size": 4 * sizes.width,
    }
    try:
        if kind == "bert":
            model = BertModel(BertConfig(**sdpa, **common), add_pooling_layer=False)
        else:
            settings = MPNetConfig(vocab_size=30527, max_position_embeddings=514, layer_norm_eps=1e-5, **common)
            model = MPNetModel(settings, add_pooling_layer=False)
        with torch.no_grad():  # else all texts are nearly alike, and a loss agrees whatever is computed
            model.embeddings.word_embeddings.weight.mul_(8)
        return model.eval()
    finally:
        torch.set_default_device(None)


def read_weights(model: Any, file: Path) -> None:
    from safetensors.torch import load_file

    missing = [name for name in model.load_state_dict(load_file(file), strict=False).missing_keys if "position_ids" not in name]
    if missing:
        raise RuntimeError(f"{file} lacks {missing[:3]}")


def write_weights(kind: str, sizes: Sizes, folder: Path) -> Path:
    place = folder / kind
    if not (place / "tokenizer.json").exists():
        torch_model(kind, sizes).save_pretrained(place)
        (place / "tokenizer.json").write_text(CHARACTERS.read_text())
    return place


# ------------------------------------------------------------------------------------------------------- what could be faster


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


@contextlib.contextmanager
def policy(value: Any) -> Iterator[None]:
    old = POLICIES[Remat.products]
    POLICIES[Remat.products] = value
    try:
        yield
    finally:
        POLICIES[Remat.products] = old


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def three_products(x: jax.Array, W: jax.Array, A: jax.Array, B: jax.Array, scale: float) -> jax.Array:
    """x·(W + s·[A_q·B_q, 0, A_v·B_v]): queries, keys and values in one product. A: (2, D, r), B: (2, r, D), W: (D, 3·D)."""
    return x @ whole_kernel(W, A, B, scale)


def whole_kernel(W: jax.Array, A: jax.Array, B: jax.Array, scale: float) -> jax.Array:
    q, v = scale * (A[0] @ B[0]), scale * (A[1] @ B[1])
    return W + jnp.concatenate([q, jnp.zeros((W.shape[0], W.shape[1] - q.shape[1] - v.shape[1]), q.dtype), v], 1).astype(W.dtype)


def three_forward(x: jax.Array, W: jax.Array, A: jax.Array, B: jax.Array, scale: float) -> tuple[jax.Array, Any]:
    return three_products(x, W, A, B, scale), (x, W, A, B)


def three_backward(scale: float, kept: Any, g: jax.Array) -> tuple[jax.Array, ...]:
    x, W, A, B = kept
    flat_x, flat_g = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    g_q, g_v = flat_g[:, : B.shape[-1]], flat_g[:, -B.shape[-1] :]
    low = jnp.concatenate([g_q @ B[0].T, g_v @ B[1].T], 1) * scale
    r = A.shape[-1]
    dA = flat_x.T @ low
    down = flat_x @ jnp.concatenate([A[0], A[1]], 1) * scale
    dB = jnp.stack([down[:, :r].T @ g_q, down[:, r:].T @ g_v])
    dx = (flat_g @ whole_kernel(W, A, B, scale).T).reshape(x.shape)
    return dx, jnp.zeros_like(W), jnp.stack([dA[:, :r], dA[:, r:]]), dB


three_products.defvjp(three_forward, three_backward)


def attention(flags: frozenset[str]) -> Callable[..., jax.Array]:
    """Attention.__call__ for rows of one text each, without a mask.

    fused: one product for queries, keys and values. cudnn: its kernel. masked: with the mask that packed rows need, as a bias of cuDNN's.
    """

    def project(self: Any, x_RLD: jax.Array, noise_RL: Any) -> list[jax.Array]:
        q, k, v = self.query, self.key, self.value
        if "fused" not in flags or not isinstance(q, LoraLinear) or not isinstance(v, LoraLinear):
            return [linear(x_RLD, noise_RL) for linear in (q, k, v)]
        dtype, linears = k.dtype, cast("list[Any]", [q.linear, k, v.linear])
        W = jnp.concatenate([each.kernel[...].astype(dtype) for each in linears], -1)
        bias = jnp.concatenate([each.bias[...].astype(dtype) for each in linears], -1)
        A, B = (jnp.stack([getattr(each, name)[...].astype(dtype) for each in (q, v)]) for name in ("A", "B"))
        product_RLE: Any = three_products(x_RLD.astype(dtype), W, A, B, q.scale)
        return jnp.split(product_RLE + bias, 3, -1)

    def call(self: Any, x_RLD: jax.Array, seen: AttentionContext, noise_RL: Any = None) -> jax.Array:
        R, L, _ = x_RLD.shape
        q_RLHC, k_RLHC, v_RLHC = (x.reshape(R, L, self.heads, -1) for x in project(self, x_RLD, noise_RL))
        if "cudnn" in flags:
            bias = None if seen.bias_RHLL is None else seen.bias_RHLL.astype(q_RLHC.dtype)
            mask = seen.visible_RLL[:, None] if "masked" in flags else None
            way: Any = "cudnn" if on_gpu() else "xla"
            mixed_RLHC = jax.nn.dot_product_attention(
                q_RLHC, k_RLHC, v_RLHC, bias=bias, mask=mask, scale=1 / self.divisor, implementation=way
            )
        else:
            score_RHLL = jnp.einsum("rqhc,rkhc->rhqk", q_RLHC, k_RLHC, preferred_element_type=jnp.float32) / self.divisor
            if seen.bias_RHLL is not None:
                score_RHLL += seen.bias_RHLL
            weight_RHLL = jax.nn.softmax(score_RHLL)
            mixed_RLHC = jnp.einsum("rhqk,rkhc->rqhc", weight_RHLL.astype(v_RLHC.dtype), v_RLHC)
        return self.output(mixed_RLHC.reshape(R, L, -1), noise_RL)

    return call


def keep_attention(primitive: Any, *arguments: Any, **parameters: Any) -> Any:
    """Of a layer, products with weights and what cuDNN's attention gives."""
    if "attention" in getattr(primitive, "name", str(primitive)):
        return True
    return jax.checkpoint_policies.dots_with_no_batch_dims_saveable(primitive, *arguments, **parameters)


def shared_bias(self: Any, rows: Rows) -> AttentionContext:
    """MPNet's, where each row is one text: one bias for all rows."""
    first = Rows(*(cast("np.ndarray", x_RL[:1]) for x_RL in rows))
    return AttentionContext(layers.segment_mask(rows), relative_bias(self.relative_bias, first, mpnet.FARTHEST))


def patches(names: Sequence[str]) -> list[contextlib.AbstractContextManager[None]]:
    made: list[contextlib.AbstractContextManager[None]] = []
    if flags := frozenset(names) & {"no mask", "fused", "cudnn", "masked"}:
        made.append(replaced(layers.Attention, "__call__", attention(flags)))
    if "cudnn" in names:
        made.append(policy(keep_attention))
    if "dots kept" in names:
        made.append(policy(jax.checkpoint_policies.dots_saveable))
    if "no barrier" in names:  # which jax.checkpoint sets against the removal of what is computed twice; a loop needs none
        made.append(replaced(jax, "checkpoint", partial(jax.checkpoint, prevent_cse=False)))
    if "unrolled" in names:
        scan: Any = jax.lax.scan
        made.append(replaced(jax.lax, "scan", lambda *a, **k: scan(*a, **{**k, "unroll": True})))
    if "shared bias" in names:
        made.append(replaced(mpnet.Mpnet, "seen", shared_bias))
    return made


# -------------------------------------------------------------------------------------------------------------------- ours


class Variant(NamedTuple):
    """A step of ours. rows: of a microbatch, None: all. settings: of parallel=mesh. patches: see above."""

    name: str
    kind: str
    adapter: str
    rows: int | None = None
    settings: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    seconds: float = 14  # that it takes to compile, about


BFLOAT = ("parallel=mesh", "parallel.devices=1", "parallel.frozen_dtype=bfloat16")
KEPT = ("parallel=mesh", "parallel.devices=1", "parallel.remat=everything")
# in the order in which they are compiled while other processes are busy
VARIANTS = [
    Variant("all rows", "bert", "lora", seconds=20),
    Variant("256 rows", "bert", "lora", rows=256),
    Variant("θ in bfloat16", "bert", "lora", settings=BFLOAT),
    Variant("cuDNN attention, no mask", "bert", "lora", patches=("cudnn",)),
    Variant("no barrier around what is computed again", "bert", "lora", patches=("no barrier",)),
    Variant("one product for q, k, v; LoRA folded in; no mask", "bert", "lora", patches=("fused",)),
    Variant(
        "cuDNN, one product, no barrier, θ in bfloat16", "bert", "lora", settings=BFLOAT, patches=("cudnn", "fused", "no barrier")
    ),
    Variant("cuDNN attention, the mask as a bias", "bert", "lora", patches=("cudnn", "masked")),
    Variant("unrolled, no barrier", "bert", "lora", patches=("unrolled", "no barrier"), seconds=40),
    Variant("no mask", "bert", "lora", patches=("no mask",)),
    Variant("products with and without weights kept", "bert", "lora", patches=("dots kept",)),
    Variant("everything kept", "bert", "lora", settings=KEPT),
    Variant(
        "all of these, unrolled",
        "bert",
        "lora",
        settings=BFLOAT,
        patches=("cudnn", "fused", "no barrier", "unrolled"),
        seconds=40,
    ),
    Variant("all rows", "mpnet", "lora"),
    Variant("one bias for all rows", "mpnet", "lora", patches=("shared bias",)),
    Variant("all rows", "bert", "full", seconds=20),
    Variant("no barrier around what is computed again", "bert", "full", patches=("no barrier",)),
    Variant("cuDNN attention, no mask", "bert", "full", patches=("cudnn",)),
    Variant("all rows", "mpnet", "full"),
]
FIRST = VARIANTS[:4]  # are compiled whatever the time


class Ours:
    """Our steps, each built once."""

    def __init__(self, run: Run, sizes: Sizes, folder: Path):
        self.run, self.sizes, self.folder = run, sizes, folder
        self.steps: dict[Variant, Side | None] = {}
        self.losses: dict[Variant, list[float]] = {}
        self.facts: dict[Variant, Row] = {}

    @cache  # noqa: B019
    def loaded(self, kind: str, more: tuple[str, ...] = ()) -> Any:
        settings = self.settings(kind, "lora", None, more)
        return settings.parallel.place(settings.encoder(), settings.adapter.trainable_filter)

    def settings(self, kind: str, adapter: str, rows: int | None, more: tuple[str, ...] = ()) -> Any:
        overrides = ["+experiment=lora_user_cold", "init=none", f"adapter={adapter}", "encoder=hub", "encoder.dtype=bfloat16"]
        rank = [f"adapter.rank={RANK}"] if adapter == "lora" else []
        place = [f"encoder.id={write_weights(kind, self.sizes, self.folder)}", f"loop.microbatch_rows={rows or 16}"]
        return config.settings(config.compose([*overrides, *rank, *place, "loop.step=fused", *(more or ("parallel.devices=1",))]))

    def model(self, kind: str, adapter: str, rows: int | None, more: tuple[str, ...] = ()) -> tuple[Any, Any, Any]:
        """(settings, model, batch on the device)."""
        settings = self.settings(kind, adapter, rows or 2 * self.sizes.pairs, more)
        encoder = settings.adapter(self.loaded(kind, more).encoder, 0)
        model = CosineModule(encoder, Cosine(profile_weight=1.0, logit_scale=SHARP))
        return settings, model, jax.device_put(padded(settings, self.sizes.pairs, LENGTH, LENGTH)[0])

    def __call__(self, variant: Variant) -> Side | None:
        """None where it could not be built, of which there is a row then."""
        if variant not in self.steps:
            self.steps[variant] = None
            with self.run.guard(f"ours: {variant.kind} {variant.adapter}, {variant.name}"):
                if not self.run.tiny:
                    self.run.need(variant.seconds)
                self.steps[variant] = self.build(variant)
        return self.steps[variant]

    def build(self, v: Variant) -> Side:
        start, before = time.perf_counter(), peak_of_jax()
        rows = v.rows and min(v.rows, self.sizes.pairs)
        settings, model, batch = self.model(v.kind, v.adapter, rows, v.settings)
        step = stepper(settings, model, Softmax(1.0, False), optax.adamw(RATE))
        with contextlib.ExitStack() as stack:
            for patch in patches(v.patches):
                stack.enter_context(patch)
            losses = [step(batch)]
        first = time.perf_counter() - start
        self.losses[v] = [*losses, step(batch)]
        peak = peak_of_jax()
        self.facts[v] = {
            "first_seconds": round(first, 1),
            "losses": self.losses[v],
            "peak_bytes": peak if before is None or (peak or 0) > before else f"at most {before}",
        }
        print(f"# compiled {v.kind} {v.adapter}, {v.name}: {first:.1f} s, losses {self.losses[v]}", flush=True)
        return lambda: step(batch)


def flop_of_step(sizes: Sizes, adapter: str) -> float:
    """LoRA: forward, and back through activations: twice the products with weights, three times attention's, three times A and B.

    Full: three times everything. Embeddings, norms, the loss and what is computed again are not counted.
    """
    shape = argparse.Namespace(width=sizes.width, ffn_width=4 * sizes.width)
    tokens = 2 * sizes.pairs * LENGTH
    linear = layer_flop(shape, tokens, 0)
    attended = layer_flop(shape, tokens, LENGTH) - linear
    low = 2 * tokens * 4 * sizes.width * RANK
    each = 3 * (linear + attended) if adapter == "full" else 2 * linear + 3 * attended + 3 * low
    return sizes.layers * each


# -------------------------------------------------------------------------------------------------------------------- torch


def set_up_torch(folder: Path) -> None:
    """Before torch is imported: caches of compiled code that this benchmark's processes share."""
    os.environ |= {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    import torch

    torch.set_float32_matmul_precision("high")
    for name in ("recompile_limit", "cache_size_limit"):
        with contextlib.suppress(Exception):
            setattr(torch._dynamo.config, name, 64)


class Peer:
    """The same encoder and loss in torch: float32 weights, autocast to bfloat16, fused AdamW.

    how: whole (the loss is compiled as one), layers (each is, as one program that they share), eager (nothing is).
    """

    def __init__(self, kind: str, adapter: str, how: str, sizes: Sizes, folder: Path | None, ours: Any = None):
        import torch
        from peft import LoraConfig, get_peft_model

        self.device, self.losses = torch_device(), []
        model: Any = torch_model(kind, sizes)
        if folder is not None:
            read_weights(model, folder / kind / "model.safetensors")
        core = model
        if adapter == "lora":
            names = ["query", "value"] if kind == "bert" else ["q", "v"]
            lora = LoraConfig(r=RANK, lora_alpha=16, lora_dropout=0.0, target_modules=names)
            model = get_peft_model(model, lora)
            if ours is not None:
                copy_lora(core, kind, ours)
        self.model = model.to(self.device).eval()
        learn = [p for p in self.model.parameters() if p.requires_grad]
        fused = {"fused": True} if self.device == "cuda" else {}
        self.optimizer = torch.optim.AdamW(learn, RATE, weight_decay=1e-4, **fused)
        token_N = np.random.default_rng(0).integers(1000, 20000, 2 * sizes.pairs * LENGTH).astype(np.int32)  # those of `padded`
        self.ids = torch.tensor(token_N.reshape(-1, LENGTH), dtype=torch.long, device=self.device)
        self.loss: Any = self.loss_of
        if how == "whole":
            self.loss = torch.compile(self.loss_of)
        elif how == "layers":
            for layer in core.encoder.layer:
                layer.compile()

    def loss_of(self, ids: Any) -> Any:
        import torch

        with torch.autocast(self.device, torch.bfloat16):
            state = self.model(input_ids=ids).last_hidden_state
        vector = torch.nn.functional.normalize(state.float().mean(1), dim=-1)
        user, item = vector.chunk(2)
        logit = (user @ item.T) * SHARP
        return torch.nn.functional.cross_entropy(logit, torch.arange(len(logit), device=logit.device))

    def step(self) -> float:
        loss = self.loss(self.ids)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def copy_lora(core: Any, kind: str, encoder: Any) -> None:
    import torch

    for n, layer in enumerate(core.encoder.layer):
        own = layer.attention.self if kind == "bert" else layer.attention.attn
        for name, ours in zip(("query", "value") if kind == "bert" else ("q", "v"), ("query", "value"), strict=True):
            A = np.asarray(getattr(encoder.backbone.layers.attention, ours).A[...])[n]
            getattr(own, name).lora_A["default"].weight.data = torch.tensor(A.T.copy())


class PeerEncoder:
    """Vectors of texts sorted by length, 256 at a time, padded to multiples of 16; weights in bfloat16, compiled for any length."""

    def __init__(self, sizes: Sizes, eager: bool, folder: Path | None, tokens: Tokens):
        import torch

        self.device = torch_device()
        model: Any = torch_model("bert", sizes)
        if folder is not None:
            read_weights(model, folder / "bert" / "model.safetensors")
        self.model = model.to(self.device, torch.bfloat16).eval()
        self.order_T = np.argsort(-tokens.length_T, kind="stable")
        self.texts = [tokens.token_N[tokens.offset_T[t] : tokens.offset_T[t + 1]] for t in self.order_T]
        self.length_T = tokens.length_T[self.order_T]
        self.vector: Any = self.vector_of if eager else torch.compile(self.vector_of, dynamic=True)

    def vector_of(self, ids: Any, mask: Any) -> Any:
        import torch

        state = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        mean = (state * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=-1)

    def __call__(self, size: int = 256) -> np.ndarray:
        import torch

        made = []
        with torch.no_grad():
            for start in range(0, len(self.texts), size):
                length_T = self.length_T[start : start + size]
                mask = np.arange(-(-int(length_T.max()) // 16) * 16) < length_T[:, None]
                ids = np.zeros(mask.shape, np.int64)
                ids[mask] = np.concatenate(self.texts[start : start + size])
                made.append(
                    self.vector(torch.from_numpy(ids).to(self.device), torch.from_numpy(mask.astype(np.int64)).to(self.device))
                )
            vector_TD = torch.cat(made).cpu().numpy()
        back_TD = np.empty_like(vector_TD)
        back_TD[self.order_T] = vector_TD
        return back_TD


def texts_to_encode(sizes: Sizes) -> Tokens:
    """Random tokens; lengths are lognormal, from 8 to 64."""
    draw = np.random.default_rng(1)
    length_T = np.clip(draw.lognormal(np.log(18), 0.5, sizes.texts), 8, LENGTH).astype(np.int64)
    token_N = draw.integers(1000, 20000, length_T.sum()).astype(np.int32)
    return Tokens(token_N, np.concatenate([[0], np.cumsum(length_T)]).astype(np.int64))


def warm(what: str, sizes: Sizes, folder: Path, tiny: bool) -> None:
    """Fills torch's caches of compiled code, one step each; weights don't matter."""
    set_up_torch(folder)
    import torch

    for name in what.split(","):
        start = time.perf_counter()
        try:
            if name == "encode":
                PeerEncoder(sizes, tiny, None, texts_to_encode(sizes))(256)
            else:
                kind, adapter, how = name.split("-")
                Peer(kind, adapter, "eager" if tiny else how, sizes, None).step()
        except Exception:
            traceback.print_exc()
        torch._dynamo.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"# torch's {name} compiled: {time.perf_counter() - start:.1f} s", flush=True)


# -------------------------------------------------------------------------------------------------------------------- rows


class Bench:
    """rounds 0: everything is run once, so that it is compiled."""

    def __init__(self, run: Run, sizes: Sizes, folder: Path, torch_works: bool, rounds: int = ROUNDS):
        self.run, self.sizes, self.folder, self.torch_works, self.rounds = run, sizes, folder, torch_works, rounds
        self.ours = Ours(run, sizes, folder)
        self.rate: dict[str, float] = {}

    def turns(self, sides: Mapping[str, Side], seconds: float = 25) -> dict[str, Row]:
        return turns(self.run, sides, self.rounds, seconds)

    def shares(self, flop: float, seconds: float, side: str) -> Row:
        row: Row = {"tflops": flop / seconds / 1e12, "mfu_datasheet": flop / seconds / DATASHEET}
        if side in self.rate:
            row["mfu_measured"] = flop / seconds / self.rate[side]
        return row

    def measure_rate(self) -> None:
        n, sizes = self.sizes.matrix, self.sizes
        shapes = {
            f"{n}³": (n, n, n),
            "BERT's MLP": (2 * sizes.pairs * LENGTH, sizes.width, 4 * sizes.width),
            "BERT's queries": (2 * sizes.pairs * LENGTH, sizes.width, sizes.width),
        }
        times = 2 if self.run.tiny else 20
        for shape, (a, b, c) in shapes.items():
            sides = {"jax": rate_of_jax(a, b, c, times)}
            if self.torch_works:
                with self.run.guard("rate of torch"):
                    sides["torch"] = rate_of_torch(a, b, c, times)
            for side, row in self.turns(sides).items():
                rate = times * 2 * a * b * c / row["seconds"]
                if shape == f"{n}³":
                    self.rate[side] = rate
                self.run.emit(
                    {"row": "rate", "shape": shape, "side": side, "tflops": rate / 1e12, "of_datasheet": rate / DATASHEET}
                )
        if self.rate:  # of one chip there is one rate: the better of the two libraries'
            self.rate = dict.fromkeys(("jax", "torch"), max(self.rate.values()))

    def step(self, kind: str, adapter: str, peers: Sequence[str]) -> None:
        """All that was built of ours, and torch; rows of one work."""
        wanted = [v for v in VARIANTS if (v.kind, v.adapter) == (kind, adapter)]
        base = wanted[0]
        work = f"gpu_{adapter}, {kind}: {self.sizes.pairs} pairs of {LENGTH} + {LENGTH} tokens"
        if self.ours(base) is None:
            raise RuntimeError(f"{work}: nothing of ours could be built")
        for v in wanted[1:] if self.run.tiny else ():
            self.ours(v)
        sides: dict[str, Side] = {}
        built: dict[str, Peer] = {}
        facts: dict[str, Row] = {}
        if self.torch_works:
            encoder = self.ours.model(kind, adapter, None)[1].encoder
            for how in (*peers, "eager"):
                if how == "eager" and built:
                    break  # is for machines on which torch compiles nothing
                with self.run.guard(f"{work}: torch, {how}"):
                    self.run.need(15)
                    name = f"torch{' + PEFT' if adapter == 'lora' else ''}, {'eager' if how == 'eager' else f'compiled ({how})'}"
                    built[name], facts[name] = self.peer(kind, adapter, how, encoder)
                    sides[name] = built[name].step
        for v in wanted:
            if (step := self.ours.steps.get(v)) is not None:
                sides[v.name] = step
        flop = flop_of_step(self.sizes, adapter)
        times = self.turns(sides, seconds=30)
        best_peer = min((times[name]["seconds"] for name in built if name in times), default=None)
        for v in wanted:
            if v.name not in times:
                continue
            seconds = times[v.name]["seconds"]
            row = {**times[v.name], "pairs_a_second": self.sizes.pairs / seconds, **self.ours.facts[v]}
            agreement = {
                name: max(abs(a - b) for a, b in zip(self.ours.losses[v], peer.losses, strict=True))
                for name, peer in built.items()
            }
            self.run.emit(
                {
                    "row": work,
                    "side": "ours",
                    "variant": v.name,
                    **row,
                    **self.shares(flop, seconds, "jax"),
                    "torch_over_ours": best_peer and best_peer / seconds,
                    "loss_differences": agreement,
                    "flop": flop,
                    "counted": " ".join(str(flop_of_step.__doc__).split()),
                }
            )
        for name, peer in built.items():
            if name in times:
                seconds = times[name]["seconds"]
                row = {**times[name], "pairs_a_second": self.sizes.pairs / seconds, "losses": peer.losses, **facts[name]}
                self.run.emit({"row": work, "side": name, **row, **self.shares(flop, seconds, "torch")})

    def peer(self, kind: str, adapter: str, how: str, encoder: Any) -> tuple[Peer, Row]:
        import torch

        start = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        peer = Peer(kind, adapter, how, self.sizes, self.folder, encoder if adapter == "lora" else None)
        first = time.perf_counter()
        peer.losses = [peer.step(), peer.step()]
        facts: Row = {"first_seconds": round(time.perf_counter() - first, 1), "set_up_seconds": round(first - start, 1)}
        if torch.cuda.is_available():
            facts["peak_bytes"] = torch.cuda.max_memory_allocated() - before
        with contextlib.suppress(Exception):
            facts["graphs"] = dict(torch._dynamo.utils.counters["stats"])
        print(f"# torch {kind} {adapter} {how}: {facts}, losses {peer.losses}", flush=True)
        return peer, facts

    def free_torch(self) -> None:
        if not self.torch_works:
            return
        import gc

        import torch

        with contextlib.suppress(Exception):
            torch._dynamo.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def parts(self) -> None:
        """Forward, forward and backward, optimizer: each a program of its own, all rows at once."""
        rows = 2 * self.sizes.pairs
        settings, model, batch = self.ours.model("bert", "lora", None)
        cut = partition_model(model, settings.adapter.trainable_filter, settings.adapter.head_filter)
        spec = StepSpec(cut.graph, Softmax(1.0, False), optax.adamw(RATE), rows, False, 0, 0.0)

        def loss_of(trainable: Any, frozen: Any, batch: Any) -> jax.Array:
            whole = Partition(spec.graph, trainable, frozen).model()
            return spec.loss(whole, encode_texts(whole, batch.rows, rows, None), batch, single_device, None)

        state = spec.start(cut.trainable)
        sides: dict[str, Side] = {}
        forward, both, update = jax.jit(loss_of), jax.jit(jax.value_and_grad(loss_of)), jax.jit(spec.update)
        with self.run.guard("gpu_parts: forward"):
            self.run.need(14)
            sides["forward"] = lambda: jax.block_until_ready(forward(cut.trainable, cut.frozen, batch))
            sides["forward"]()
        with self.run.guard("gpu_parts: forward and backward"):
            self.run.need(14)
            loss, gradient = jax.block_until_ready(both(cut.trainable, cut.frozen, batch))
            sides["forward and backward"] = lambda: jax.block_until_ready(both(cut.trainable, cut.frozen, batch))
            sides["optimizer"] = lambda: jax.block_until_ready(update(state, loss, gradient))
        flop = flop_of_step(self.sizes, "lora")
        for name, row in self.turns(sides).items():
            share = {} if name == "optimizer" else {"tflops_of_the_whole_step": flop / row["seconds"] / 1e12}
            self.run.emit({"row": "gpu_parts, bert, LoRA", "part": name, **row, **share})

    def encode(self) -> None:
        tokens = texts_to_encode(self.sizes)
        loaded = self.ours.loaded("bert")
        texts = len(tokens.length_T)
        shape = argparse.Namespace(width=self.sizes.width, ffn_width=4 * self.sizes.width)
        flop = self.sizes.layers * float(sum(layer_flop(shape, n, n) for n in tokens.length_T))

        def as_it_is() -> np.ndarray:
            kept = os.environ["COLD_JAX_CACHE"]
            with tempfile.TemporaryDirectory(dir=self.folder) as empty:
                os.environ["COLD_JAX_CACHE"] = empty
                try:
                    return precomputed.vectors(loaded, tokens)
                finally:
                    os.environ["COLD_JAX_CACHE"] = kept

        def beneath(size: int, late: bool = False) -> np.ndarray:
            """late: slices are fetched together, the texts' slots alone."""
            with replaced(precomputed, "ACCELERATOR_ROWS", size), replaced(precomputed, "ROWS", size):
                rows, slot_T = precomputed._pack(loaded, tokens, size)
                slices = (x_TD for _, x_TD in precomputed._slices(precomputed._vectors, loaded.encoder, rows))
                if late:
                    return np.asarray(jnp.concatenate(list(slices))[slot_T])
                return np.concatenate([np.asarray(x_TD) for x_TD in slices])[slot_T]

        made: dict[str, np.ndarray] = {}

        def noted(name: str, side: Callable[[], np.ndarray]) -> Side:
            return lambda: made.setdefault(name, side())

        sides: dict[str, Side] = {
            "vectors(), written to the cache": as_it_is,
            "256 rows at once": lambda: beneath(256),
            "256 rows at once, texts' vectors fetched at the end": lambda: beneath(256, True),
            "1,024 rows at once, texts' vectors fetched at the end": lambda: beneath(1024, True),
        }
        for how in ("compiled", "eager") if self.torch_works else ():
            if how == "eager" and "torch" in made:
                break
            with self.run.guard(f"gpu_encode: torch, {how}"):
                self.run.need(12)
                theirs = PeerEncoder(self.sizes, how == "eager" or self.run.tiny, self.folder, tokens)
                made["torch"] = theirs()
                for size in (256, 1024):
                    sides[f"torch, {how}, bfloat16, sorted by length, {size:,} at once"] = partial(theirs, size)
        sides = {name: noted(name, side) for name, side in sides.items()}
        times = self.turns(sides, seconds=12)
        agreement = {name: float(np.abs(x_TD - made["torch"]).max()) for name, x_TD in made.items() if "torch" in made}
        best_peer = min((row["seconds"] for name, row in times.items() if name.startswith("torch")), default=None)
        for name, row in times.items():
            seconds = row["seconds"]
            self.run.emit(
                {
                    "row": f"gpu_encode: {texts:,} texts, {int(tokens.length_T.sum()):,} tokens",
                    "variant": name,
                    **row,
                    "texts_a_second": texts / seconds,
                    **self.shares(flop, seconds, "jax"),
                    "torch_over_this": best_peer and best_peer / seconds,
                    "largest_difference_from_torch": agreement.get(name),
                }
            )

    def rank(self) -> None:
        draw = np.random.default_rng(0)
        part = ranking_part(self.sizes.users, self.sizes.items, draw)
        for width in (64, 768):
            with self.run.guard(f"gpu_eval, width {width}"):
                self.run.need(10)
                self.rank_of_width(part, width, draw)

    def rank_of_width(self, part: Any, width: int, draw: np.random.Generator, top: int = 20) -> None:
        users, items = self.sizes.users, self.sizes.items
        user_UV, item_IV = (draw.normal(size=(n, width)).astype(np.float32) for n in (users, items))
        user_UV = user_UV[part.user_U]
        ours_U, ours_I = jnp.asarray(user_UV), jnp.asarray(item_IV)
        score = jax.jit(lambda user_UV, position_B, item_IV: user_UV[position_B] @ item_IV.T)

        def ours(compared: int, chunk: int) -> np.ndarray:
            with replaced(ranking, "ACCELERATOR_COMPARED", compared), replaced(ranking, "COMPARED", compared):
                score_of = lambda position_B: score(ours_U, position_B, ours_I)  # noqa: E731
                return ranking.rank_candidates(score_of, part, top, chunk).top_UK

        sides: dict[str, Side] = {
            "ours, 256 users at once (as it is)": lambda: ours(ranking.ACCELERATOR_COMPARED, 256),
            "ours, 512 users at once": lambda: ours(512 * items, 512),
            "ours, 2,048 users at once": lambda: ours(2048 * items, 2048),
        }
        reference = ours(512 * items, 512)
        differing: dict[str, float] = {}
        if self.torch_works:
            with self.run.guard(f"gpu_eval, width {width}: torch"):
                theirs = ranking_of_torch(part, user_UV, item_IV, top)
                for chunk in (256, 1024, 2048):
                    sides[f"torch.topk, {chunk:,} users at once"] = partial(theirs, chunk)
                differing["ours and torch"] = float((theirs(256) != reference).mean())
        times = self.turns(sides, seconds=8)
        best_peer = min((row["seconds"] for name, row in times.items() if name.startswith("torch")), default=None)
        for name, row in times.items():
            self.run.emit(
                {
                    "row": f"gpu_eval: {users:,} users × {items:,} items, width {width}, top {top}; ours: the positives' ranks too",
                    "variant": name,
                    **row,
                    "users_a_second": users / row["seconds"],
                    "torch_over_this": best_peer and best_peer / row["seconds"],
                    "places_that_differ": differing,
                }
            )


def rate_of_jax(a: int, b: int, c: int, times: int) -> Side:
    x, w = (jax.random.normal(jax.random.key(n), shape, jnp.bfloat16) for n, shape in enumerate([(a, b), (b, c)]))
    multiply = jax.jit(lambda x, w: x @ w)

    def side() -> None:
        for _ in range(times - 1):
            multiply(x, w)
        multiply(x, w).block_until_ready()

    return side


def rate_of_torch(a: int, b: int, c: int, times: int) -> Side:
    import torch

    x, w = (torch.randn(shape, device=torch_device(), dtype=torch.bfloat16) for shape in [(a, b), (b, c)])

    def side() -> None:
        for _ in range(times):
            _ = x @ w
        wait_for_devices()

    return side


def ranking_of_torch(part: Any, user_UV: np.ndarray, item_IV: np.ndarray, top: int) -> Callable[[int], np.ndarray]:
    import torch

    user, item = (torch.tensor(x, device=torch_device()) for x in (user_UV, item_IV))

    def rank(chunk: int) -> np.ndarray:
        best = []
        for start in range(0, len(user), chunk):
            scores = user[start : start + chunk] @ item.T
            seen = part.history_UI[start : start + chunk].tocoo()
            at = (torch.from_numpy(x.astype(np.int64)).to(scores.device) for x in seen.coords)
            scores[tuple(at)] = -torch.inf
            best.append(torch.topk(scores, top).indices)
        return torch.cat(best).cpu().numpy()

    return rank


# ------------------------------------------------------------------------------------------------------------------ parity


def parity(place: int, out: Path) -> None:
    """Every PARITY_PROCESSESth architecture's largest differences from the goldens, a line each in the file."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import states

    wait_to_go(out.parent)
    names = sorted(path.parent.name for path in states.PARITY.glob("*/golden.safetensors"))
    with out.open("w") as file:
        for name in names[place::PARITY_PROCESSES]:
            row: Row = {"row": "parity", "architecture": name}
            for precision in (None, "highest"):
                with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
                    try:
                        state, vector = states.parity(name, 8)
                        row[precision or "default"] = {"state": float(state), "vector": float(vector)}
                    except Exception as error:
                        row[precision or "default"] = f"{type(error).__name__}: {error}"[:500]
            file.write(json.dumps(row) + "\n")
            file.flush()


def read_parity(run: Run, folder: Path) -> None:
    rows = [
        json.loads(line)
        for file in sorted(folder.glob("parity*.jsonl"))
        for line in file.read_text().splitlines()
        if line.endswith("}")
    ]
    worst: Row = {"row": "parity, all", "architectures": len(rows)}
    for row in rows:
        run.emit(row)
    for precision, bar in (("default", 1e-3), ("highest", 1e-5)):
        found = {row["architecture"]: max(row[precision].values()) for row in rows if isinstance(row.get(precision), dict)}
        if found:
            largest = max(found, key=lambda name: found[name])
            beyond = sorted(name for name, value in found.items() if not value < bar)
            worst[precision] = {"largest": found[largest], "of": largest, "bar": bar, "beyond": beyond}
    run.emit(worst)


# -------------------------------------------------------------------------------------------------------------------- main


ROWS = ("parity", "rate", "gpu_lora", "gpu_full", "gpu_encode", "gpu_eval", "gpu_parts")
# processes that fill the caches of compiled code
TORCH = (
    {"gpu_lora": ["bert-lora-whole", "bert-lora-layers"]},
    {"gpu_encode": ["encode"], "gpu_full": ["bert-full-layers"], "gpu_lora": ["mpnet-lora-layers"]},
)
OWN = (
    {"gpu_full": ["bert-full"], "gpu_lora": ["mpnet-lora"], "gpu_parts": ["parts"]},
    {"gpu_eval": ["rank"], "gpu_encode": ["encode"]},
)


def wait_to_go(folder: Path) -> None:
    """Until the main process has compiled its first step: XLA chooses kernels by timing them, and should not be disturbed then."""
    while not (folder / "go").exists() and time.monotonic() - BEGAN < 120:
        time.sleep(0.1)


def start_children(run: Run, wanted: Sequence[str], folder: Path, pairs: int) -> None:
    common = ["--folder", str(folder), "--pairs", str(pairs), *(["--tiny"] if run.tiny else [])]
    jobs = {}
    if "parity" in wanted:
        jobs |= {f"parity{n}": ["--parity", str(n)] for n in range(1 if run.tiny else PARITY_PROCESSES)}
    for option, groups in (("--warm", TORCH), ("--warm-ours", OWN)):
        for n, group in enumerate(groups):
            if names := [name for row in group if row in wanted for name in group[row]]:
                jobs[f"{option[2:]}{n}"] = [option, ",".join(names)]
    for name, arguments in jobs.items():
        with (folder / f"{name}.log").open("wb") as log:
            line = [sys.executable, __file__, str(folder / f"{name}.json"), *arguments, *common]
            run.children.append(subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT))


def warm_ours(run: Run, what: str, sizes: Sizes, folder: Path) -> None:
    """Fills JAX's cache of compiled programs."""
    wait_to_go(folder)
    bench = Bench(run, sizes, folder, False, rounds=0)
    for name in what.split(","):
        start = time.perf_counter()
        with run.guard(name):
            if name in ("parts", "rank", "encode"):
                {"parts": bench.parts, "rank": bench.rank, "encode": bench.encode}[name]()
            else:
                bench.ours(next(v for v in VARIANTS if f"{v.kind}-{v.adapter}" == name))
        print(f"# our {name} compiled: {time.perf_counter() - start:.1f} s", flush=True)


def wait_for_children(run: Run, folder: Path, until: float) -> None:
    while any(child.poll() is None for child in run.children) and time.monotonic() < until:
        time.sleep(0.2)
    late = [child.args[3:5] for child in run.children if child.poll() is None]  # type: ignore[index]
    run.end_children()
    for child in run.children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
    for log in sorted(folder.glob("*.log")):
        print(f"# {log.name}: {log.read_text()[-1500:]}" if log.stat().st_size else f"# {log.name}: empty", flush=True)
    print(f"# other processes have ended after {time.monotonic() - BEGAN:.0f} s; ended by force: {late}", flush=True)


def versions() -> Row:
    from importlib.metadata import PackageNotFoundError, version

    found: Row = {"python": sys.version.split()[0]}
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "triton", "transformers", "peft"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def compile_ahead(bench: Bench, wanted: Sequence[str], until: float) -> None:
    """Our steps, as long as other processes are busy anyway."""
    rows = {f"gpu_{v.adapter}" for v in VARIANTS} & set(wanted)
    if "gpu_lora" not in rows:
        (bench.folder / "go").touch()
    for v in VARIANTS:
        busy = any(child.poll() is None for child in bench.run.children) and time.monotonic() + v.seconds / 2 < until
        if f"gpu_{v.adapter}" in rows and (busy or v in FIRST):
            bench.ours(v)
        (bench.folder / "go").touch()


def measure(run: Run, sizes: Sizes, wanted: Sequence[str], folder: Path) -> None:
    start_children(run, wanted, folder, sizes.pairs)
    until = BEGAN + 0.45 * (run.end - BEGAN)
    run.about |= {**device_info(1), **versions(), "sizes": sizes._asdict(), "argv": sys.argv[1:]}
    torch_works = False
    with run.guard("torch"):
        set_up_torch(folder)
        import peft  # noqa: F401
        import torch

        torch_works = True
        run.about["torch_device"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    bench = Bench(run, sizes, folder, torch_works)
    run.emit({"row": "start"})
    with run.guard("weights"):
        for kind in KINDS:
            write_weights(kind, sizes, folder)
    compile_ahead(bench, wanted, until)
    wait_for_children(run, folder, until)
    compiled = {how: ["eager"] if run.tiny else how.split() for how in ("whole layers", "layers")}
    works: list[tuple[str, Callable[[], None]]] = [
        ("parity", lambda: read_parity(run, folder)),
        ("rate", bench.measure_rate),
        ("gpu_lora", lambda: bench.step("bert", "lora", compiled["whole layers"])),
        ("gpu_full", lambda: bench.step("bert", "full", compiled["layers"])),
        ("gpu_eval", bench.rank),
        ("gpu_encode", bench.encode),
        ("gpu_lora", lambda: bench.step("mpnet", "lora", compiled["layers"])),
        ("gpu_parts", bench.parts),
    ]
    for name, work in works:
        if name not in wanted:
            continue
        with run.guard(name):
            run.need(3)
            work()
        bench.free_torch()
    with run.guard("variants that were not compiled before"):
        rest(bench, {f"gpu_{v.adapter}" for v in VARIANTS} & set(wanted))


def rest(bench: Bench, rows: set[str]) -> None:
    """Variants for which there was no time before the rows, in turns with the first."""
    for base in (v for v in VARIANTS if f"gpu_{v.adapter}" in rows):
        others = [v for v in VARIANTS if (v.kind, v.adapter) == (base.kind, base.adapter) and v not in bench.ours.steps]
        first = next(v for v in VARIANTS if (v.kind, v.adapter) == (base.kind, base.adapter))
        if base is not first or bench.ours(first) is None:
            continue
        for v in others:
            bench.run.need(v.seconds + 6)
            if (step := bench.ours(v)) is None:
                continue
            times = bench.turns({first.name: bench.ours.steps[first] or step, v.name: step})
            work = f"gpu_{v.adapter}, {v.kind}: {bench.sizes.pairs} pairs of {LENGTH} + {LENGTH} tokens"
            for name, row in times.items():
                seconds = row["seconds"]
                shares = bench.shares(flop_of_step(bench.sizes, v.adapter), seconds, "jax")
                facts = bench.ours.facts[v if name == v.name else first]
                bench.run.emit({"row": f"{work}, later", "side": "ours", "variant": name, **row, **facts, **shares})


def use_cache(folder: Path) -> None:
    """Of JAX's compiled programs, and cold_jax's own; both empty at first."""
    os.environ["COLD_JAX_CACHE"] = str(folder / "cache")
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a JSON file to write")
    parser.add_argument("rows", nargs="?", default=",".join(ROWS), help=f"of {', '.join(ROWS)}; all when left out")
    parser.add_argument("--seconds", type=float, default=232, help="until when all of it has to be done (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="small sizes, nothing compiled by torch: a trial on a CPU")
    parser.add_argument("--pairs", type=int, help="of a step")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parity", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--warm", help=argparse.SUPPRESS)
    parser.add_argument("--warm-ours", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", ".6")  # torch has the rest
    sizes = TINY if args.tiny else FULL
    sizes = sizes._replace(pairs=args.pairs or sizes.pairs)
    if args.parity is not None:
        return parity(args.parity, args.folder / f"parity{args.parity}.jsonl")
    if args.warm:
        return warm(args.warm, sizes, args.folder, args.tiny)
    if args.warm_ours:
        use_cache(args.folder)
        return warm_ours(Run(args.out, args.seconds, args.tiny), args.warm_ours, sizes, args.folder)
    wanted = args.rows.split(",")
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    run = Run(args.out, args.seconds, args.tiny)
    run.watch()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            use_cache(Path(folder))
            measure(run, sizes, wanted, Path(folder))
        finally:
            run.end_children()
    run.emit({"row": "end", "seconds": round(time.monotonic() - BEGAN, 1)})


if __name__ == "__main__":
    main()

"""python scripts/benchmark.py [ROW,…]: cold_jax against torch, PEFT and sentence-transformers on the same texts, weights and losses.

Losses or vectors are compared first. Then both sides take turns; a figure is the median of the rounds, in seconds of wall time, with
process time beside it. A share is the arithmetic of the work over (seconds · the library's own rate of matrix multiplication, measured in the
same run). Memory is what a process that does one side alone holds at its peak above what it held before, in bytes. experiments/benchmarks/table.json
holds the rows; those that are named are replaced, the others stay; README.md's table is made from it.
"""

# pyright: reportMissingImports=false
import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from experiment import put
from hydra import compose, initialize_config_dir
from peft import LoraConfig, get_peft_model
from scaling import layer_flop, padded, peak, ranking_part, stepper
from transformers import BertModel

from cold_jax import CONF, config, experiment
from cold_jax.encoders import precomputed
from cold_jax.models.cosine import Cosine, CosineModule
from cold_jax.storage import cache
from cold_jax.text.tokens import tokenize
from cold_jax.training.objectives import Softmax
from cold_jax.training.parallel import device_info

TABLE = Path(__file__).resolve().parents[1] / "experiments" / "benchmarks" / "table.json"
ROUNDS = 5
RATE, SHARP = 1e-4, 20.0  # learning rate; inverse temperature of unit vectors' products
Row = dict[str, Any]
Side = Callable[[], Any]


def compare(
    work: str, ours: Side, peers: dict[str, Side], agreement: float, targets: dict[str, float], flop: float | None
) -> Iterator[Row]:
    """Rows of one work: each peer takes turns with ours. `ours` and peers block until all they compute is there."""
    if alone := os.environ.get(ALONE):
        side = {"ours": ours, **peers}[alone]
        sys.exit(f"{MEMORY}{peak(lambda: (side(), side()))}")
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ("ours", *peers)}
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    for side in (ours, *peers.values()):
        side()  # the first time pays for memory
    for _ in range(ROUNDS):
        rates["ours"].append(_rate_jax())
        rates["peer"].append(_rate_torch())
        for name, side in (("ours", ours), *peers.items()):
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    memory = {name: _memory(work.split(":")[0], name) for name in spent}
    median = {name: [statistics.median(each) for each in zip(*values, strict=True)] for name, values in spent.items()}
    share = lambda name, side: flop and flop / median[name][0] / statistics.median(rates[side])  # noqa: E731
    for name in peers or [None]:
        yield {
            "work": work,
            "ours": median["ours"][0],
            "cpu_ours": median["ours"][1],
            "share_ours": share("ours", "ours"),
            "memory_ours": memory["ours"],
            "peer_name": name,
            "peer": name and median[name][0],
            "cpu_peer": name and median[name][1],
            "share_peer": name and share(name, "peer"),
            "memory_peer": name and memory[name],
            "ratio": name and median[name][0] / median["ours"][0],
            "target": targets.get(name or ""),
            "agreement": agreement,
        }


ALONE, MEMORY = "BENCHMARK_ALONE", "memory: "


def _memory(row: str, side: str) -> int | None:
    if not Path("/proc/self/clear_refs").exists():
        return None
    done = subprocess.run([sys.executable, __file__, row], env=os.environ | {ALONE: side}, capture_output=True, text=True)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith(MEMORY))
    return int(line.removeprefix(MEMORY))


SIDE = 1536


def _rate_jax(times: int = 8) -> float:
    x = jnp.ones((1024, SIDE // 4))
    w = jnp.ones((SIDE // 4, SIDE))
    multiply = jax.jit(lambda x, w: x @ w)
    multiply(x, w).block_until_ready()
    start = time.perf_counter()
    for _ in range(times):
        multiply(x, w).block_until_ready()
    return times * 2 * x.size * SIDE / (time.perf_counter() - start)


def _rate_torch(times: int = 8) -> float:
    x, w = torch.ones(1024, SIDE // 4), torch.ones(SIDE // 4, SIDE)
    _ = x @ w
    start = time.perf_counter()
    for _ in range(times):
        _ = x @ w
    return times * 2 * x.numel() * SIDE / (time.perf_counter() - start)


@contextmanager
def question(*overrides: str) -> Iterator[tuple[Any, Any]]:
    with initialize_config_dir(CONF, version_base="1.3"):
        settings = config.settings(compose("train", ["+experiment=lora_user_cold", "init=none", *overrides]))
    yield settings, experiment.prepare(settings)


def our_step(settings: Any, q: Any, batch: Any) -> tuple[Callable[[], float], Any]:
    """A step on this batch, as a run on this machine would take it, and the encoder with its adapter."""
    own = (
        q.loaded.encoder
        if settings.adapter.last is None
        else precomputed.with_frozen_prefix(q.loaded, q.tokens, settings.adapter.last)
    )
    encoder = settings.adapter(own, 0)
    step = stepper(
        settings, CosineModule(encoder, Cosine(profile_weight=1.0, logit_scale=SHARP)), Softmax(1.0, False), optax.adamw(RATE)
    )
    return lambda: step(batch), encoder


class Peer:
    """The same encoder, head and loss in torch, with PEFT's LoRA where ours has one."""

    def __init__(self, folder: Path, encoder: Any, adapter: Any):
        torch.manual_seed(0)
        self.model: Any = BertModel.from_pretrained(folder, attn_implementation="sdpa", add_pooling_layer=False).eval()
        if hasattr(adapter, "rank"):
            first = self.model.config.num_hidden_layers - (adapter.last or self.model.config.num_hidden_layers)
            layers = list(range(first, self.model.config.num_hidden_layers))
            lora = LoraConfig(
                r=adapter.rank, lora_alpha=int(adapter.alpha), target_modules=["query", "value"], layers_to_transform=layers
            )
            self.model = get_peft_model(self.model, lora)
            for layer in layers:
                attention = self.model.base_model.model.encoder.layer[layer].attention.self
                for name in ("query", "value"):
                    A = getattr(encoder.backbone.layers.attention, name).A[...][layer - first]
                    getattr(attention, name).lora_A["default"].weight.data = torch.tensor(np.asarray(A).T.copy())
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], RATE, weight_decay=1e-4)

    def encode(self, ids: list[np.ndarray]) -> torch.Tensor:
        """Unit means of the texts, padded to the longest."""
        length = max(map(len, ids))
        token = torch.tensor(np.stack([np.pad(x, (0, length - len(x))) for x in ids]), dtype=torch.long)
        mask = torch.tensor(np.stack([np.arange(length) < len(x) for x in ids]))
        states = self.model(input_ids=token, attention_mask=mask.long()).last_hidden_state
        return torch.nn.functional.normalize((states * mask[..., None]).sum(1), dim=-1)

    def step(self, vectors: Callable[[], tuple[torch.Tensor, torch.Tensor]], batch: Any) -> float:
        profile_BD, item_JD = vectors()
        x = batch.examples
        history_BJ = torch.tensor(x.history_BJ[:, : len(item_JD)])
        user = profile_BD + history_BJ @ item_JD / history_BJ.sum(1).clamp(min=1).sqrt()[:, None]
        logit = user @ (item_JD * SHARP).T
        target = torch.tensor(x.target_B, dtype=torch.long)
        known = torch.tensor(x.seen_BJ[:, : len(item_JD)])
        known[torch.arange(len(target)), target] = False
        loss = torch.nn.functional.cross_entropy(logit.masked_fill(known, -torch.inf), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def replace_batching(settings: Any, size: int, support: tuple[int, ...] = (0,)) -> Any:
    return settings._replace(batching=replace(settings.batching, size=size, support=support, negatives=0, history=None))


def padded_step(work: str, adapter: str, passes: float, target: float) -> Iterator[Row]:
    with question(f"adapter={adapter}") as (settings, q):
        batch, ids = padded(settings, 64, 64, 32)
        ours, encoder = our_step(settings, q, batch)
        peer = Peer(q.loaded.tokenizer.parent, encoder, settings.adapter)
        theirs = lambda: peer.step(lambda: (peer.encode(ids[:64]), peer.encode(ids[64:])), batch)  # noqa: E731
        agreement = max(abs(ours() - theirs()) for _ in range(2))
        config = encoder.backbone.config
        flop = passes * config.layers * (layer_flop(config, 64 * 64, 64) + layer_flop(config, 64 * 32, 32))
        yield from compare(
            f"{work}: 64 pairs of 64 + 32 tokens",
            ours,
            {"torch + PEFT" if adapter == "lora" else "torch": theirs},
            agreement,
            {"torch + PEFT": target, "torch": target},
            flop,
        )


def real_steps(work: str, layers: str, targets: dict[str, float]) -> Iterator[Row]:
    with question("adapter=lora", f"adapter.layers={layers}") as (settings, q):
        settings = replace_batching(settings, 64, (10,))
        le = experiment.setup(settings, q)
        batch = le.batches(0)
        ours, encoder = our_step(settings, q, batch)
        tokens_of = np.split(q.tokens.token_N, q.tokens.offset_T[1:-1])
        users, x = len(q.dataset.users), batch.examples
        valid = batch.items.item_J[batch.items.valid_J]
        user_ids, item_ids = [tokens_of[u] for u in x.user_B], [tokens_of[users + i] for i in valid]
        supports = [valid[np.flatnonzero(x.history_BJ[b, : len(valid)])] for b in range(64)]
        every = np.concatenate([valid[x.target_B], *supports])  # targets, then supports, as often as they occur
        first_J = np.array([np.flatnonzero(every == i)[0] for i in valid])
        peers = {name: Peer(q.loaded.tokenizer.parent, encoder, settings.adapter) for name in ("every text", "unique texts")}

        def all_texts() -> tuple[torch.Tensor, torch.Tensor]:
            peer = peers["every text"]
            parts = [peer.encode([tokens_of[users + i] for i in piece]) for piece in (every[:64], every[64:])]
            return peer.encode(user_ids), torch.cat(parts)[torch.tensor(first_J)]

        def unique_texts() -> tuple[torch.Tensor, torch.Tensor]:
            peer = peers["unique texts"]
            user_U, back_B = np.unique(x.user_B, return_inverse=True)
            return peer.encode([tokens_of[u] for u in user_U])[torch.tensor(back_B)], peer.encode(item_ids)

        sides = {
            "torch + PEFT, every text": lambda: peers["every text"].step(all_texts, batch),
            "torch + PEFT, unique texts": lambda: peers["unique texts"].step(unique_texts, batch),
        }
        loss = ours()
        agreement = max(abs(loss - side()) for side in sides.values())
        yield from compare(
            f"{work}: a step of 64 pairs of ML-100k, profile and 10 support items", ours, sides, agreement, targets, None
        )


def encode() -> Iterator[Row]:
    from sentence_transformers import SentenceTransformer

    with question() as (_, q):
        texts = list(next(iter(q.dataset.items.texts.values())))
        folder = q.loaded.tokenizer.parent
        peer = SentenceTransformer(modules=_modules(folder), device="cpu")

        def ours() -> np.ndarray:
            with tempfile.TemporaryDirectory() as empty:
                os.environ["COLD_JAX_CACHE"] = empty
                return precomputed.vectors(q.loaded, tokenize(q.loaded.tokenizer, texts, q.loaded.max_length))

        theirs = lambda: peer.encode(texts, batch_size=64, normalize_embeddings=True)  # noqa: E731
        agreement = float(np.abs(ours() - theirs()).max())
        lengths = tokenize(q.loaded.tokenizer, texts, q.loaded.max_length).length_T
        config = q.loaded.encoder.backbone.config
        flop = config.layers * sum(layer_flop(config, n, n) for n in lengths)
        name = "sentence-transformers, batch 64, sorted by length"
        yield from compare(
            f"encode: {len(texts):,} item texts, tokenising included", ours, {name: theirs}, agreement, {name: 1.5}, flop
        )


def _modules(folder: Path) -> list[Any]:
    from sentence_transformers.models import Pooling, Transformer

    transformer = Transformer(str(folder), max_seq_length=128)
    return [transformer, Pooling(transformer.get_word_embedding_dimension(), "mean")]


def compile_() -> Iterator[Row]:
    """Lowering and compilation of the LoRA step: as it is, from the cache, and with six unrolled layers."""
    with question("adapter=lora") as (settings, q):
        batch = padded(settings, 64, 64, 32)[0]

        def first(unrolled: bool, folder: str | None) -> float:
            jax.clear_caches()
            jax.config.update("jax_compilation_cache_dir", folder)
            scan = jax.lax.scan
            if unrolled:
                jax.lax.scan = lambda *a, **k: scan(*a, **{**k, "unroll": True})  # type: ignore[assignment]
            try:
                start = time.process_time()
                our_step(settings, q, batch)[0]()
                once = time.process_time() - start
            finally:
                jax.lax.scan = scan
            step = our_step(settings, q, batch)[0]
            step()
            start = time.process_time()
            step()
            return once - (time.process_time() - start)

        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        with tempfile.TemporaryDirectory() as folder:
            cold = statistics.median(first(False, None) for _ in range(3))
            first(False, folder)
            warm = statistics.median(first(False, folder) for _ in range(3))
        unrolled = first(True, None)
    about = {"cpu_ours": cold, "cpu_peer": unrolled, "peer_name": "six unrolled layers, cold", "target": 2.5}
    yield {
        "work": "compile: LoRA step, cold, process seconds",
        "ours": cold,
        "peer": unrolled,
        "ratio": unrolled / cold,
        **about,
        **BLANK,
    }
    about = {"cpu_ours": warm, "cpu_peer": cold, "peer_name": "cold", "target": 10.0}
    yield {"work": "compile: the same with the cache warm", "ours": warm, "peer": cold, "ratio": cold / warm, **about, **BLANK}


def ranking(users: int = 20_000, items: int = 50_000, width: int = 64, top: int = 20) -> Iterator[Row]:
    from cold_jax.evaluation.ranking import rank_candidates

    draw = np.random.default_rng(0)
    user_UV, item_IV = draw.normal(size=(users, width)).astype(np.float32), draw.normal(size=(items, width)).astype(np.float32)
    part = ranking_part(users, items, draw)
    theirs_U, theirs_I, ours_U, ours_I = (
        *map(torch.tensor, (user_UV[part.user_U], item_IV)),
        jnp.asarray(user_UV),
        jnp.asarray(item_IV),
    )
    score = jax.jit(lambda user_UV, user_B, item_IV: user_UV[user_B] @ item_IV.T)

    def ours() -> np.ndarray:
        return rank_candidates(lambda position: score(ours_U, part.user_U[position], ours_I), part, top, 256).top_UK

    def theirs() -> np.ndarray:
        best = []
        for start in range(0, len(theirs_U), 256):
            scores = theirs_U[start : start + 256] @ theirs_I.T
            seen = part.history_UI[start : start + 256].tocoo()
            scores[torch.tensor(seen.coords[0], dtype=torch.long), torch.tensor(seen.coords[1], dtype=torch.long)] = -torch.inf
            best.append(torch.topk(scores, top).indices)
        return torch.cat(best).numpy()

    differing = float((ours() != theirs()).mean())
    name = "torch.topk in chunks of 256"
    work = f"ranking: {users:,} users × {items:,} items, width {width}, top {top}, seen masked (ours: the positives' ranks too)"
    yield from compare(work, ours, {name: theirs}, differing, {name: 2.0}, None)


def process(arguments: list[str], **environment: str) -> tuple[float, float]:
    """Seconds, wall and processor's, of a Python process from its start to its end."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=kept | environment, check=True, capture_output=True)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


BLANK = dict.fromkeys(("share_ours", "share_peer", "memory_ours", "memory_peer", "agreement"))


def whole(work: str, ours: Side, theirs: Side | None, name: str | None, target: float | None) -> Row:
    """A row of whole processes: `ours` and `theirs` run one and give its (wall, cpu); they take turns, the first time doesn't count."""
    sides = [ours, theirs] if theirs else [ours]
    spent = [[side() for side in sides] for _ in range(4)][1:]
    (wall, cpu), *rest = ([statistics.median(each) for each in zip(*times, strict=True)] for times in zip(*spent, strict=True))
    peer, cpu_peer = rest[0] if rest else (None, None)
    about = {"peer_name": name, "peer": peer, "cpu_peer": cpu_peer, "ratio": peer and peer / wall, "target": target}
    return {"work": work, "ours": wall, "cpu_ours": cpu, **about, **BLANK}


TRAIN, JOB = ["-m", "cold_jax.train"], ["+experiment=frozen_user_cold", "logger=none"]


def training(folder: str) -> Side:
    return lambda: process([*TRAIN, *JOB, f"hydra.run.dir={tempfile.mkdtemp(dir=folder)}/run"])


def second_run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        work = "second_run: frozen_user_cold, 300 steps and 8 baselines, process start to table; the target is in seconds"
        yield whole(work, training(folder), None, None, 10.0)


def seeds() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        line = [*TRAIN, "--multirun", *JOB, "seed=range(1,9)", f"hydra.sweep.dir={folder}/sweep"]

        def eight() -> tuple[float, float]:
            shutil.rmtree(f"{folder}/sweep", ignore_errors=True)
            return process(line)

        work = "seeds: 8 seeds of frozen_user_cold in one process, caches warm; the target is at least so much of a single one's time"
        yield whole(work, eight, training(folder), "one seed", 1 / 3)


def devices(count: int = 8) -> Iterator[Row]:
    """One training on `count` host devices that share the processor, and on one: the figures must be the same."""
    with tempfile.TemporaryDirectory() as folder:

        def on(number: int, flags: str) -> Side:
            run = f"{folder}/{number}"
            arguments = [*TRAIN, "+experiment=smoke", f"parallel.devices={number}", f"hydra.run.dir={run}"]

            def side() -> tuple[float, float]:
                shutil.rmtree(run, ignore_errors=True)
                return process(arguments, XLA_FLAGS=flags)

            return side

        work = (
            f"devices: smoke, 12 steps, {count} host devices on the same cores, whole process (an agreement of figures, no speed)"
        )
        row = whole(work, on(count, f"--xla_force_host_platform_device_count={count}"), on(1, ""), "one device", None)
        one, many = (json.loads(Path(folder, str(number), "results.json").read_text())["test"] for number in (1, count))
        worst = max(abs(many[part][name] - value) for part, values in one.items() for name, value in values.items())
        yield {**row, "agreement": worst}


# a process of its own reads the texts, then encodes them with one library
TEXTS = """
import sys
from hydra import compose, initialize_config_dir
from cold_jax import CONF, config
with initialize_config_dir(CONF, version_base="1.3"):
    settings = config.settings(compose("train", ["+experiment=lora_user_cold"]))
texts = list(next(iter(settings.data().items.texts.values())))
"""
COLD_OURS = f"""{TEXTS}
from cold_jax.encoders import precomputed
from cold_jax.text.tokens import tokenize
loaded = settings.encoder()
precomputed.vectors(loaded, tokenize(loaded.tokenizer, texts, loaded.max_length))
"""
COLD_PEER = f"""{TEXTS}
import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
transformer = Transformer(sys.argv[2], max_seq_length=128)
model = SentenceTransformer(modules=[transformer, Pooling(transformer.get_word_embedding_dimension(), "mean")], device="cpu")
np.save(sys.argv[1], model.encode(texts, batch_size=64, normalize_embeddings=True))
"""


def encode_cold() -> Iterator[Row]:
    with question() as (_, q), tempfile.TemporaryDirectory() as folder:
        kept = cache.root()

        def ours() -> tuple[float, float]:
            empty = Path(tempfile.mkdtemp(dir=folder))
            (empty / "assets").symlink_to(kept / "assets")  # data and weights are there, nothing else
            return process(["-c", COLD_OURS], COLD_JAX_CACHE=str(empty))

        def theirs() -> tuple[float, float]:
            return process(["-c", COLD_PEER, f"{folder}/vectors.npy", str(q.loaded.tokenizer.parent)])

        work = f"encode_cold: {len(q.dataset.items):,} item texts, process start to vectors on disk, compilation included"
        yield whole(work, ours, theirs, "sentence-transformers, batch 64, sorted by length", 1.0)


EVERY, UNIQUE = "torch + PEFT, every text", "torch + PEFT, unique texts"
ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "lora_step": lambda: padded_step("lora_step", "lora", 2, 1.05),
    "full_step": lambda: padded_step("full_step", "full", 3, 1.0),
    "lora_epoch": lambda: real_steps("lora_epoch", "all", {EVERY: 3.5, UNIQUE: 2.2}),
    "lora_top": lambda: real_steps("lora_top", "last_2", {EVERY: 5.5, UNIQUE: 3.5}),
    "encode": encode,
    "encode_cold": encode_cold,
    "compile": compile_,
    "ranking": ranking,
    "second_run": second_run,
    "seeds": seeds,
    "devices": devices,
}


def machine() -> dict[str, Any]:
    flags = Path("/proc/cpuinfo")
    found = flags.read_text().split() if flags.exists() else []
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in found]
    return {
        **device_info(1),
        "instructions": sets,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "torch": torch.__version__,
    }


def markdown(rows: list[Row]) -> str:
    """The table, and below it the machines that its rows were measured on."""
    lines = [
        "| work | ours: s, CPU s | peer: s, CPU s | peer / ours | target | share of matmul rate: ours, peer | MB: ours, peer | |",
        "|---" * 8 + "|",
    ]
    machines: list[Row] = []
    pair = lambda form, *values: ", ".join("–" if value is None else form.format(value) for value in values)  # noqa: E731
    for row in rows:
        if row["machine"] not in machines:
            machines.append(row["machine"])
        megabytes = [row[key] and row[key] / 1e6 for key in ("memory_ours", "memory_peer")]
        ratio = pair("{:.2f}", row["ratio"])
        met = row["target"] is not None and (
            row["ours"] <= row["target"] if row["ratio"] is None else row["ratio"] >= row["target"]
        )
        mark = "" if row["target"] is None else f"{'✓' if met else '✗'} {row['target']:g}"
        cells = [
            row["work"] + (f"; against {row['peer_name']}" if row["peer_name"] else ""),
            pair("{:.3g}", row["ours"], row["cpu_ours"]),
            pair("{:.3g}", row["peer"], row["cpu_peer"]),
            ratio,
            mark,
            pair("{:.2f}", row["share_ours"], row["share_peer"]),
            pair("{:.0f}", *megabytes),
            f"machine {machines.index(row['machine']) + 1}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    about = [f"Machine {n}: " + ", ".join(f"{key} {value}" for key, value in each.items()) for n, each in enumerate(machines, 1)]
    return "\n".join([*lines, "", *about])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", default=",".join(ROWS), help=f"of {', '.join(ROWS)}; all when left out")
    wanted = parser.parse_args().rows.split(",")
    if unknown := [name for name in wanted if name not in ROWS]:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else []
    for name in wanted:
        jax.config.update("jax_compilation_cache_dir", None)
        made = [{**row, "machine": machine(), "command": f"make benchmark ONLY={name}"} for row in ROWS[name]()]
        rows = [row for row in rows if row["work"].split(":")[0] != name] + made
        for row in made:
            print(json.dumps({key: value for key, value in row.items() if key != "machine"}), flush=True)
        rows.sort(key=lambda row: list(ROWS).index(row["work"].split(":")[0]))
        TABLE.write_text(json.dumps(rows, indent=2) + "\n")
        put(markdown(rows), TABLE.with_name("README.md"))


if __name__ == "__main__":
    main()

"""A small random data set and encoder, and the way from there to a trained model, for the tests that share them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

from cold_jax import config, experiment
from cold_jax.adapters.full import Frozen, Full
from cold_jax.adapters.lora import Lora
from cold_jax.batching.batch import Batch, Batching, BatchInputs, Examples, Items, TextPlacer
from cold_jax.batching.sampled import InBatchSampling
from cold_jax.batching.sequences import SequenceBatching
from cold_jax.data.dataset import Entities
from cold_jax.data.matrices import binary
from cold_jax.data.synthetic import Synthetic
from cold_jax.encoders import Tiny
from cold_jax.encoders.layers import Remat
from cold_jax.encoders.pooling import Pooling
from cold_jax.models.init import RandomInit
from cold_jax.models.linear import LinearModel  # noqa: F401
from cold_jax.models.lstm import Lstm  # noqa: F401
from cold_jax.models.text_metric import TextMetric
from cold_jax.models.two_tower import TwoTower
from cold_jax.splits.entities import ItemCold
from cold_jax.splits.tasks import TrainView
from cold_jax.training.loop import Loop
from cold_jax.training.mesh import FrozenDtype, Mesh
from cold_jax.training.objectives import Softmax
from cold_jax.training.parallel import Pmap, single_device
from cold_jax.training.step import State, StepMode, StepSpec, fused_step, microbatched_step

DATA = Synthetic(name="small", users=40, items=30, interactions_per_user=8, seed=0, positive=None)
SPLIT = ItemCold(seed=0, cold_fraction=0.3, validation_fraction=0.5, holdout_fraction=0.1, threshold=None)
ENCODER = Tiny(
    seed=0,
    width=16,
    layers=2,
    heads=2,
    ffn_width=24,
    initial=0.3,
    max_length=32,
    row_length=64,
    texts_per_row=4,
    pooling=Pooling.mean,
    normalize=True,
    prompts={},
    dtype="float32",
)
FULL = Full(lr_scale=1.0, layers="all")
LORA = Lora(
    lr_scale=1.0,
    layers="all",
    rank=3,
    alpha=6.0,
    dropout=0.0,
    rslora=False,
    dora=False,
    targets=[r".*attention\.(query|value)"],
    init_from=None,
)
LORA_ALL = Lora(
    lr_scale=1.0, layers="all", rank=2, alpha=4.0, dropout=0.0, rslora=True, dora=False, targets=[".*"], init_from=None
)
TWO_TOWER = TwoTower(
    width=4, item_target_residual=True, item_source_residual=True, item_bias=True, user_bias=False, attributes=True
)
METRIC = TextMetric(
    title="title",
    width=4,
    history=3,
    decay=0.5,
    kernel=2.0,
    vectors=0.4,
    floor=0.01,
    initial=0.3,
    word_dropout=0.2,
    dropout=0.25,
)
PREFIXES = SequenceBatching(size=45, history=3, cold_negatives=False)
DROPOUT = replace(LORA, dropout=0.3)
PLAIN: dict[str, Any] = {
    "hard_negatives": 0,
    "hard_range": [10, 50],
    "hard_share": None,
    "user_power": 1.0,
    "earliest_support": False,
}
# In-batch negatives. 45: no number of devices divides it, and an epoch's last batch of 36 is not full.
IN_BATCH = InBatchSampling(size=45, support=[1, 3], history=2, negatives=2, full_softmax=False, group_by_item=False, **PLAIN)
STEPS = 6  # an epoch of five, and one more
DESCENT = optax.sgd(0.3)  # unlike Adam it shows a gradient that is some times too large
SOFTMAX = Softmax(temperature=1.0, log_q=True)
ROWS_AT_ONCE = 2
ONE = Pmap(1)


def mesh(devices: int | None = None, fsdp: int = 1, tensor: int = 1, frozen_dtype: FrozenDtype = FrozenDtype.float32) -> Mesh:
    """A choice of conf/parallel/mesh.yaml."""
    return Mesh(devices, fsdp, tensor, frozen_dtype, Remat.products, coordinator=None, processes=None, process=None)


def in_batch_choices() -> st.SearchStrategy[InBatchSampling]:
    """Any that a config may hold."""
    hard = st.builds(
        dict,
        full_softmax=st.just(False),
        hard_negatives=st.integers(1, 3),
        hard_range=st.tuples(st.integers(0, 2), st.integers(3, 30)),
        hard_share=st.none() | st.just("genre"),
        user_power=st.just(1.0),
        earliest_support=st.just(False),
    )
    return (st.builds(dict, full_softmax=st.booleans(), **{key: st.just(value) for key, value in PLAIN.items()}) | hard).flatmap(
        lambda chosen: st.builds(
            InBatchSampling,
            size=st.integers(1, 60),
            support=st.lists(st.integers(0, 9), max_size=3),
            history=st.none() | st.integers(1, 4),
            negatives=st.integers(0, 40),
            group_by_item=st.booleans(),
            **{key: st.just(value) for key, value in chosen.items()},
        )
    )


LOOP = Loop(
    epochs=1,
    max_steps=None,
    validate_every=1,
    patience=None,
    min_gain=0.0,
    microbatch_rows=ROWS_AT_ONCE,
    log_every=1,
    step=StepMode.auto,
)
SETTINGS = config.settings(config.compose(["+experiment=smoke", "logger=none"]))._replace(
    data=DATA,
    split=SPLIT,
    encoder=ENCODER,
    batching=IN_BATCH,
    objective=SOFTMAX,
    loop=LOOP,
    parallel=ONE,
    init=RandomInit(),
    seed=0,
)


def prepared() -> experiment.Prepared:
    """The small data, prepared as a run prepares it."""
    return experiment.prepare(SETTINGS)


def inputs(
    q: experiment.Prepared,
    place_texts: TextPlacer,
    *,
    causal: bool = False,
    seed: int = 0,
    multiple: int = 1,
    devices: int = 1,
) -> BatchInputs:
    """What batches of the small data are made of."""
    vocabulary = q.loaded.encoder.backbone.config.vocabulary
    return BatchInputs(q.train, q.tokens.length_T, place_texts, q.loaded.tokenizer, vocabulary, causal, seed, multiple, devices)


def train_setup(
    q: experiment.Prepared,
    adapter: Any,
    model: Any,
    batching: Batching = IN_BATCH,
    parallel: Any = ONE,
    seed: int = 0,
) -> experiment.TrainSetup:
    """Set up as a run sets it up. The adapter gets an encoder of its own, since it wraps layers in place."""
    chosen = SETTINGS._replace(adapter=adapter, model=model, batching=batching, parallel=parallel, seed=seed)
    return experiment.setup(chosen, q)


def spec(
    le: experiment.TrainSetup, objective: Any, optimizer: optax.GradientTransformation, seed: int = 0, ema: float = 0.0
) -> StepSpec:
    return StepSpec(le.partition.graph, objective, optimizer, ROWS_AT_ONCE, le.dropout, seed, ema)


def step_of(
    le: experiment.TrainSetup, objective: Any, optimizer: optax.GradientTransformation, seed: int = 0, ema: float = 0.0
) -> tuple[Any, State]:
    """The fused step of a setup, and the state before the first."""
    recipe = spec(le, objective, optimizer, seed, ema)
    return fused_step(recipe), recipe.start(le.partition.trainable)


def loss_of(le: experiment.TrainSetup, objective: Any, seed: int = 0) -> tuple[Callable[[State, Batch], jax.Array], State]:
    """(state, batch) → the loss of a step, and the state before the first. Compiled alone it has no gradient, which is most of a step."""
    step, state = step_of(le, objective, optax.sgd(0.0), seed)
    compiled = jax.jit(lambda frozen, state, batch: step(frozen, state, batch, single_device)[1]["loss"])
    return lambda state, batch: compiled(le.partition.frozen, state, batch), state


def perturbed(le: experiment.TrainSetup) -> experiment.TrainSetup:
    """With random numbers added to all trainable leaves, so that none is at an initial value where it has no effect."""
    draw = np.random.default_rng(1)
    trainable = jax.tree.map(lambda x: x + jnp.asarray(draw.normal(0, 0.3, x.shape), x.dtype), le.partition.trainable)
    return le._replace(partition=le.partition._replace(trainable=trainable))


def remembering(le: experiment.TrainSetup) -> experiment.TrainSetup:
    """A perturbed LSTM with open forget gates, so that at the end of the item something is left of the profile."""
    le = perturbed(le)
    bias = le.partition.trainable["lstm"]["cell"]["dense_h"]["bias"]
    into, forget, *others = jnp.split(bias[...], 4)
    bias.set_value(jnp.concatenate([into, forget + 4, *others]))
    return le


def fit(
    le: experiment.TrainSetup,
    objective: Any,
    optimizer: optax.GradientTransformation,
    count: int,
    parallel: Any = ONE,
    mode: StepMode = StepMode.fused,
    ema: float = 0.0,
) -> tuple[np.ndarray, list[State]]:
    """The losses of `count` steps, and the states on the host, beginning with the one before the first."""
    step, state = step_of(le, objective, optimizer, ema=ema)
    many = parallel(step) if mode is StepMode.fused else microbatched_step(spec(le, objective, optimizer, ema=ema))
    frozen, state = many.replicate(le.partition.frozen), many.replicate_state(state)
    host = lambda tree: jax.tree.map(np.array, many.unreplicate(tree))  # noqa: E731  # a copy: the step is given the arrays themselves
    losses, states = [], [host(state)]
    for n in range(count):
        batch = many.shard_batch(le.batches(n))
        with jax.transfer_guard("disallow"):
            state, record = many.step(frozen, state, batch)
        losses.append(many.unreplicate(record)["loss"])
        states.append(host(state))
    return np.asarray(losses), states


@contextmanager
def compilations() -> Iterator[list[float]]:
    """The seconds of each program that is compiled within, or found among compiled ones."""
    seconds: list[float] = []

    def listen(event: str, duration: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a pytree by the path to each."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def make_train(vector_ID: list[list[float]], genre_IF: list[list[float]]) -> TrainView:
    """Two users and some items, of which the last is cold."""
    I = len(vector_ID)
    user_N, item_N = np.array([0, 0, 1]), np.array([0, 1, 0])
    users, items = (
        Entities(tuple(map(str, range(n))), {}, indicators) for n, indicators in ((2, {}), (I, {"genre": np.array(genre_IF)}))
    )
    return TrainView(
        binary(user_N, item_N, (2, I)),
        np.ones(2, bool),
        np.arange(I) < I - 1,
        user_N,
        item_N,
        np.ones(3, np.float32),
        np.zeros(3),
        None,
        None,
        users,
        items,
        {"line": np.array(vector_ID, np.float32)},
        {},
    )


# One dimension. Users' vectors 1 and 1, items' 1, -1 and 1, no attributes: features [e, 0.3]. Item 2 is cold.
VECTOR_TD = np.array([[1], [1], [1], [-1], [1]], np.float32)
HISTORY_BJ = [[0.0, 0.0, 0.0], [1.0, 3.0, 0.0]]


def all_items(history_BJ: list[list[float]], users: int = 2) -> tuple[Examples, Items]:
    """All items for each user, whose texts stand before those of the items."""
    history_BJ = np.asarray(history_BJ, np.float32)
    B, J = history_BJ.shape
    user_B, item_J = np.arange(B, dtype=np.int32), np.arange(J, dtype=np.int32)
    one_B, one_J = np.ones(B, np.int32), np.ones(J, np.int32)
    examples = Examples(user_B, user_B, one_B, 0 * one_B, history_BJ, history_BJ > 0, np.float32(one_B), np.float32(one_B))
    return examples, Items(item_J, item_J + users, one_J, one_J > 0, np.zeros(J, np.float32))


def private(**changes: Any) -> config.Settings:
    """The small data with cold users, trained with user-level privacy; `changes` are of the choice privacy=dp."""
    from cold_jax.models.init import ContentInit
    from cold_jax.splits.entities import UserCold
    from cold_jax.training.privacy import UserLevelPrivacy

    chosen = {"epsilon": 4.0, "delta": None, "users": 30, "clip": 0.2, "pairs": 3, "microbatch": None}
    return SETTINGS._replace(
        split=UserCold(
            seed=0, cold_fraction=0.2, validation_fraction=0.5, holdout_fraction=0.1, support=[0, 1], use_first_seen=False
        ),
        adapter=Frozen(),
        model=replace(TWO_TOWER, item_source_residual=False, item_target_residual=False),
        init=ContentInit(logit_scale=3.0),
        objective=Softmax(temperature=1.0, log_q=False),
        batching=InBatchSampling(
            size=9, support=[0, 1, 3], history=2, negatives=0, full_softmax=True, group_by_item=False, **PLAIN
        ),
        privacy=UserLevelPrivacy(**(chosen | changes)),
        loop=replace(LOOP, epochs=100, max_steps=6, validate_every=2, log_every=1),
        baselines={},
    )

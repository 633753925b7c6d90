"""A small random data set and encoder, and the way from there to a trained model, for the tests that share them."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cold_jax import build, cache, objectives, splits, steps, text
from cold_jax.adapters import Frozen, Full, Lora  # noqa: F401
from cold_jax.batches import Batching, Prefixes
from cold_jax.data import Entities
from cold_jax.data.synthetic import Synthetic
from cold_jax.encoders import Pooling, Tiny, table
from cold_jax.loop import Loop
from cold_jax.models import Linear, Lstm, TwoTower  # noqa: F401
from cold_jax.parallel import Pmap
from cold_jax.parts import Train, binary
from cold_jax.starts import Random
from cold_jax.steps import Form, State
from cold_jax.text_metric import TextMetric

DATA = Synthetic(name="small", users=40, items=30, interactions_per_user=8, seed=0)
SPLIT = splits.ItemCold(seed=0, cold=0.3, validation=0.5, held_out=0.1, threshold=None)
ENCODER = Tiny(
    seed=0,
    width=16,
    layers=2,
    heads=2,
    hidden=24,
    initial=0.3,
    max_length=32,
    row_length=64,
    texts_per_row=4,
    pooling=Pooling.mean,
    dtype="float32",
)
FULL = Full(rate=1.0, layers="all")
LORA = Lora(
    rate=1.0,
    layers="all",
    rank=3,
    alpha=6.0,
    dropout=0.0,
    rslora=False,
    dora=False,
    targets=[r".*attention\.(query|value)"],
    start=None,
)
LORA_ALL = Lora(rate=1.0, layers="all", rank=2, alpha=4.0, dropout=0.0, rslora=True, dora=False, targets=[".*"], start=None)
TWO_TOWER = TwoTower(width=4, own_target=True, own_source=True, own_bias=True, own_level=False, attributes=True)
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
PREFIXES = Prefixes(size=45, history=3, untrained=False)
DROPOUT = replace(LORA, dropout=0.3)
# In-batch negatives. 45: no number of devices divides it, and an epoch's last batch of 36 is not full.
IN_BATCH = Batching(size=45, support=[1, 3], history=2, negatives=2, catalogue=False, by_item=False)
STEPS = 6  # an epoch of five, and one more
DESCENT = optax.sgd(0.3)  # unlike Adam it shows a gradient that is some times too large
SOFTMAX = objectives.Softmax(temperature=1.0, log_q=True)
ROWS_AT_ONCE = 2
ONE = Pmap(1)


def question() -> build.Question:
    """What a run on the small data is asked."""
    dataset = DATA()
    split, loaded = SPLIT(dataset), ENCODER()
    sides = {"users": dataset.users.texts, "items": dataset.items.texts}
    tokens = {
        side: {name: text.tokenize(loaded.tokenizer, written, loaded.max_length) for name, written in texts.items()}
        for side, texts in sides.items()
    }
    vectors = {side: {name: table.vectors(loaded, one) for name, one in by_name.items()} for side, by_name in tokens.items()}
    train = splits.train_view(dataset, split, vectors["items"], vectors["users"])
    main = text.join([next(iter(by_name.values())) for by_name in tokens.values()])
    return build.Question(dataset, split, train, loaded, main, {"encoder": cache.digest(loaded.digest)})


def learner(
    q: build.Question, adapter: Any, model: Any, batching: Batching | Prefixes = IN_BATCH, parallel: Any = ONE, seed: int = 0
) -> build.Learner:
    """Wired as a run wires it. The adapter gets an encoder of its own, since it wraps layers in place."""
    loop = Loop(epochs=1, max_steps=None, validate_every=1, patience=0, rows_at_once=ROWS_AT_ONCE, log_every=1, step=Form.auto)
    chosen = {
        "adapter": adapter,
        "model": model,
        "batching": batching,
        "parallel": parallel,
        "loop": loop,
        "seed": seed,
        "start": Random(),
    }
    return build.learner(build.Settings(**{**dict.fromkeys(build.Settings._fields), **chosen}), q)


def recipe(le: build.Learner, objective: Any, optimizer: optax.GradientTransformation, seed: int = 0) -> steps.Recipe:
    return steps.Recipe(le.partition.graph, objective, optimizer, ROWS_AT_ONCE, le.dropout, seed)


def step_of(le: build.Learner, objective: Any, optimizer: optax.GradientTransformation, seed: int = 0) -> tuple[Any, State]:
    """The step of a learner, and the state before the first."""
    step = steps.whole(recipe(le, objective, optimizer, seed))
    return step, State(le.partition.trainable, optimizer.init(le.partition.trainable), jnp.zeros((), jnp.int32))


def stirred(le: build.Learner) -> build.Learner:
    """With random numbers added to all that learns, so that nothing is left at a start where its effect is zero."""
    draw = np.random.default_rng(1)
    trainable = jax.tree.map(lambda x: x + jnp.asarray(draw.normal(0, 0.3, x.shape), x.dtype), le.partition.trainable)
    return le._replace(partition=le.partition._replace(trainable=trainable))


def remembering(le: build.Learner) -> build.Learner:
    """An LSTM stirred, with open forget gates, so that at the end of the item something is left of the profile."""
    le = stirred(le)
    bias = le.partition.trainable["lstm"]["cell"]["dense_h"]["bias"]
    into, forget, *others = jnp.split(bias[...], 4)
    bias.set_value(jnp.concatenate([into, forget + 4, *others]))
    return le


def fit(
    le: build.Learner,
    objective: Any,
    optimizer: optax.GradientTransformation,
    count: int,
    parallel: Any = ONE,
    form: Form = Form.whole,
) -> tuple[np.ndarray, list[State]]:
    """The losses of so many steps, and the states on the host, from the one before the first."""
    step, state = step_of(le, objective, optimizer)
    many = parallel(step) if form is Form.whole else steps.slices(recipe(le, objective, optimizer))
    frozen, state = many.share(le.partition.frozen), many.put(state)
    host = lambda tree: jax.tree.map(np.array, many.get(tree))  # noqa: E731  # a copy: the step is given the arrays themselves
    losses, states = [], [host(state)]
    for n in range(count):
        batch = many.spread(le.batches(n))
        with jax.transfer_guard("disallow"):
            state, record = many.step(frozen, state, batch)
        losses.append(many.get(record)["loss"])
        states.append(host(state))
    return np.asarray(losses), states


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a pytree by the path to each."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def make_train(vector_ID: list[list[float]], genre_IF: list[list[float]]) -> Train:
    """Two users and some items, of which the last is cold."""
    I = len(vector_ID)
    user_N, item_N = np.array([0, 0, 1]), np.array([0, 1, 0])
    users, items = (
        Entities(tuple(map(str, range(n))), {}, indicators) for n, indicators in ((2, {}), (I, {"genre": np.array(genre_IF)}))
    )
    return Train(
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

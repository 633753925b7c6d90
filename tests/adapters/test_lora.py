"""φ = θ + Δθ: at the start, after training, merged, against PEFT, and saved."""

import json
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy
import small
from flax import nnx
from safetensors.numpy import load_file
from small import FULL, LORA, LORA_ALL, TWO_TOWER, Frozen, LinearModel, Lora, replace
from states import PARITY, errors, load

from cold_jax import experiment
from cold_jax.adapters import merge
from cold_jax.adapters.full import BitFit
from cold_jax.adapters.lora import LoraLinear
from cold_jax.batching.batch import PackedTexts
from cold_jax.encoders import bert
from cold_jax.encoders.layers import Linear
from cold_jax.errors import WeightsError
from cold_jax.models.base import partition_model
from cold_jax.models.scoring import ModelScorer
from cold_jax.training.objectives import Bce
from cold_jax.training.optimizers import AdamW, Schedule

DORA = replace(LORA_ALL, dora=True)
BITFIT = BitFit(lr_scale=1.0, layers="all")
LINEARS = ["attention.key", "attention.output", "attention.query", "attention.value", "mlp.down", "mlp.up"]
vectors = jax.jit(lambda encoder, rows: encoder(rows))


@pytest.fixture(scope="module")
def rows(prepared: experiment.Prepared) -> Any:
    return PackedTexts(prepared.tokens, small.ENCODER.row_length, 4)(np.arange(20), 2)[0]


def wrapped(prepared: experiment.Prepared, adapter: Any, seed: int = 0) -> Any:
    return adapter(prepared.loaded.encoder, seed)


def with_random_b(encoder: Any, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    for _, module in nnx.iter_modules(encoder):
        if isinstance(module, LoraLinear):
            module.B[...] = jnp.asarray(draw.normal(0, 0.3, module.B.shape), jnp.float32)
    return encoder


def phi(adapter: Any, theta: Any, encoder: Any) -> Any:
    """θ + Δθ of an adapted encoder, as a plain one."""
    delta = merge.parameters(encoder, nnx.LoRAParam)
    return merge.merge(adapter, theta, {f"encoder.{name}": array for name, array in delta.items()})


def kernels(encoder: Any) -> dict[str, np.ndarray]:
    state = merge.parameters(encoder, nnx.Param)
    return {name.removeprefix("backbone.layers."): value for name, value in state.items() if name.endswith("kernel")}


@pytest.mark.parametrize("adapter", [FULL, Frozen(), LORA, LORA_ALL, DORA, BITFIT])
def test_at_step_0_phi_is_theta(prepared: experiment.Prepared, rows: Any, adapter: Any):
    expected = vectors(prepared.loaded.encoder, rows)
    off = 1e-6 if adapter is DORA else 0  # it divides by what it multiplies with
    np.testing.assert_allclose(vectors(wrapped(prepared, adapter), rows), expected, rtol=0, atol=off)
    if isinstance(adapter, Lora):
        assert np.abs(vectors(with_random_b(wrapped(prepared, adapter)), rows) - expected).max() > 1e-2


def test_lora_leaves_theta_as_it_is_and_moves_the_rest(prepared: experiment.Prepared, lora_run: Any):
    le, losses, states = lora_run
    assert np.isfinite(losses).all()
    start, last = (small.leaves(states[n].trainable) for n in (0, -1))
    for name, value in last.items():
        assert np.abs(value - start[name]).max() > 1e-3, name
    trained = le.partition._replace(trainable=states[-1].trainable).model()
    theta = merge.parameters(prepared.loaded.encoder, nnx.Param)
    kept = {name.replace(".linear.", "."): value for name, value in merge.parameters(trained.encoder, nnx.Param).items()}
    assert set(kept) - set(theta) == {f"backbone.layers.attention.{x}.{m}" for x in ("query", "value") for m in ("A", "B")}
    for name, value in theta.items():
        np.testing.assert_array_equal(kept[name], value, err_msg=name)


def test_full_moves_every_leaf(prepared: experiment.Prepared):
    _, states = small.fit(small.train_setup(prepared, FULL, TWO_TOWER), small.SOFTMAX, optax.sgd(1.0), 2)
    start, last = (small.leaves(state.trainable) for state in (states[0], states[-1]))
    assert len([name for name in start if "encoder" in name]) == len(merge.parameters(prepared.loaded.encoder, nnx.Param))
    for name, value in last.items():
        assert (value != start[name]).any(), name


@pytest.mark.parametrize(("model", "objective"), [(TWO_TOWER, small.SOFTMAX), (LinearModel(), Bce())])
def test_frozen_leaves_theta_as_it_is_and_moves_the_head(prepared: experiment.Prepared, model: Any, objective: Any):
    le = small.train_setup(prepared, Frozen(), model)
    before = {name: value.copy() for name, value in small.leaves(le.partition.frozen).items()}
    _, states = small.fit(le, objective, optax.sgd(1.0), 2)
    start, last = (small.leaves(state.trainable) for state in (states[0], states[-1]))
    assert not [name for name in start if "encoder" in name]
    for name, value in last.items():
        assert (value != start[name]).any(), name
    for name, value in small.leaves(le.partition.frozen).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("adapter", [FULL, Frozen(), LORA])
def test_the_optimizer_has_state_of_what_trains_alone(prepared: experiment.Prepared, adapter: Any):
    partition = small.train_setup(prepared, adapter, TWO_TOWER).partition
    config = AdamW(0.1, Schedule.constant, 0, 0.1, 0.9, 0.999, 1.0, 1, 0.0)
    shapes = jax.eval_shape(config(9, 1.0).init, partition.trainable)
    moments = sorted(leaf.shape for leaf in jax.tree.leaves(shapes) if leaf.dtype == jnp.float32)
    trains = sorted(leaf.shape for leaf in jax.tree.leaves(partition.trainable))
    assert moments == sorted(trains * 2)


@pytest.mark.parametrize("adapter", [LORA, FULL])
def test_the_layers_below_the_adapted_ones_are_a_table(prepared: experiment.Prepared, adapter: Any):
    """The last layer alone learns: scores and losses are those of the whole encoder in which it alone learns."""
    whole, top = (small.train_setup(prepared, replace(adapter, layers=layers), TWO_TOWER) for layers in ("all", "last_1"))
    objective = small.SOFTMAX
    losses, states = small.fit(top, objective, optax.adam(0.01), 2)
    loss, state = small.loss_of(whole, objective)
    assert losses[0] == pytest.approx(float(loss(state, whole.batches(0))), rel=1e-6)
    lower = [name for name in small.leaves(states[0].trainable) if "embeddings" in name]
    assert not lower
    start, last = (small.leaves(state.trainable) for state in (states[0], states[-1]))
    stacked = {name: value.shape[0] for name, value in start.items() if "layers" in name}
    assert stacked
    assert set(stacked.values()) == {1}
    for name in stacked:
        assert (last[name] != start[name]).any(), name


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_delta_has_the_rank_that_was_asked_for(prepared: experiment.Prepared, rank: int):
    """In each layer of the stack, of each kernel."""
    adapter = replace(LORA_ALL, rank=rank)
    encoder = with_random_b(wrapped(prepared, adapter))
    theta, moved = kernels(prepared.loaded.encoder), kernels(phi(adapter, prepared.loaded.encoder, encoder))
    assert set(moved) == set(theta) == {f"{name}.kernel" for name in LINEARS}
    for name, kernel in moved.items():
        assert kernel.shape[0] == 2
        for layer, delta in enumerate(kernel - theta[name]):
            assert np.linalg.matrix_rank(delta, tol=1e-5) == rank, (name, layer)  # entries are rounded to 1e-7


def test_delta_of_a_trained_model_has_that_rank(prepared: experiment.Prepared, lora_run: Any):
    le, _, states = lora_run
    trained = le.partition._replace(trainable=states[-1].trainable).model().encoder
    theta, moved = kernels(prepared.loaded.encoder), kernels(phi(LORA, prepared.loaded.encoder, trained))
    for name, kernel in moved.items():
        for delta in kernel - theta[name]:
            wanted = 3 if name in ("attention.query.kernel", "attention.value.kernel") else 0
            assert np.linalg.matrix_rank(delta, tol=1e-6) == wanted, name


def test_merged_phi_scores_as_the_unmerged(prepared: experiment.Prepared, lora_run: Any):
    """As a whole model, to the scores of all users for all items; dropout is for training alone."""
    q, (le, _, states) = prepared, lora_run
    trained = le.partition._replace(trainable=states[-1].trainable)
    model = trained.model()
    model.encoder = phi(LORA, q.loaded.encoder, model.encoder)
    assert not [m for _, m in nnx.iter_modules(model) if isinstance(m, LoraLinear)]
    partition = partition_model(model, Frozen().trainable_filter, Frozen().head_filter)
    place = PackedTexts(q.tokens, small.ENCODER.row_length, 4)
    merged = ModelScorer(partition, place, q.tokens.length_T, len(q.dataset.users), small.ROWS_AT_ONCE)
    asked = np.arange(40), q.train.interaction_UI, np.arange(30)
    unmerged_UI = np.asarray(le.scorer(trained.trainable)(*asked))
    np.testing.assert_allclose(merged(partition.trainable)(*asked), unmerged_UI, atol=1e-5)
    assert unmerged_UI.std() > 0.5
    # a copy: the model that was merged is as it was
    assert len([m for _, m in nnx.iter_modules(trained.model()) if isinstance(m, LoraLinear)]) == 2


@pytest.mark.parametrize("name", ["peft_lora", "peft_lora_all"])
def test_pefts_forward_agrees(name: str):
    """PEFT's adapter on the same BERT: A and B, scale (of rsLoRA too) and places; unmerged and merged."""
    about, golden = json.loads((PARITY / f"{name}.json").read_text()), load_file(PARITY / f"{name}.safetensors")
    tokens = load_file(PARITY / "bert_small/golden.safetensors")
    golden |= {name: tokens[name] for name in ("token_TL", "type_TL", "length_T")}
    matrices: dict[str, np.ndarray] = {}
    for checkpoint, (path, _) in bert.CHECKPOINT.items():
        for which in "AB":
            theirs = f"{checkpoint.removesuffix('.weight')}.lora_{which}"
            if theirs.format(layer=0) in golden:
                matrices[f"{path.removesuffix('.kernel')}.{which}"] = np.stack(
                    [golden[theirs.format(layer=y)].T for y in range(2)]
                )
    assert len(matrices) * 2 == sum("lora_" in key for key in golden)
    targets = sorted({re.escape(path.rsplit(".", 1)[0]) for path in matrices})
    lora = replace(LORA, rank=about["rank"], alpha=about["alpha"], rslora=about["rslora"], dora=False, targets=targets)
    theta = load(PARITY / "bert_small")
    backbone = lora(theta, 0)
    assert errors(backbone, golden, 64, 8)[0] > 1e-2  # B = 0
    variables = nnx.to_flat_state(nnx.state(backbone, nnx.LoRAParam))
    assert {".".join(map(str, path)) for path, _ in variables} == set(matrices)
    for path, variable in variables:
        value = matrices[".".join(map(str, path))]
        assert variable.shape == value.shape
        variable.set_value(jnp.asarray(value))
    for encoder in (backbone, phi(lora, theta, backbone)):
        state, vector = errors(encoder, golden, 64, 8)
        assert (
            state < 5e-5
        )  # float32 against float64: with kernels as wild as rsLoRA's 4·A·B here, a BERT in float64 comes to 6e-6
        assert vector < 1e-5


def test_scales():
    assert replace(LORA, rank=4, alpha=8.0, rslora=False).scale == 2
    assert replace(LORA, rank=4, alpha=8.0, rslora=True).scale == 4
    assert isinstance(replace(LORA, rslora=True).scale, float)


def test_a_pattern_without_a_match_is_an_error(prepared: experiment.Prepared):
    wrong = replace(LORA, targets=[r".*attention\.query", r".*attention\.querry"])
    with pytest.raises(ValueError, match=r"adapter.targets: '\.\*attention\\.querry' matches no .* it has .*attention\.query"):
        wrapped(prepared, wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "adapter.rank: 0 is not a rank"),
        ({"dropout": 1.0}, "adapter.dropout: 1.0 is not a fraction"),
        ({"dropout": -0.1}, "adapter.dropout: -0.1 is not a fraction"),
        ({"targets": ["("]}, r"adapter.targets: '\(' is not a regular expression"),
        ({"targets": ["(?:" * 3000 + ")" * 3000]}, r"adapter.targets: '\(\?:.* is not a regular expression"),
        ({"targets": ["(.|.)*x"]}, r"adapter.targets: '\(\.\|\.\)\*x': give no repeated group"),  # 2^n steps of n characters
        ({"targets": ["(a){9}"]}, "adapter.targets: .*: give no repeated group"),
        ({"targets": [".*" * 6]}, r"adapter.targets: .*, and at most 5 of \* \+"),
    ],
)
def test_wrong_settings_are_refused_by_name(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        replace(LORA, **changes)


def test_a_starts_as_pefts_and_b_at_zero(prepared: experiment.Prepared):
    """A is uniform within 1/√in (kaiming_uniform with a = √5), another draw for every kernel, layer and seed."""
    encoders = [wrapped(prepared, replace(LORA_ALL, rank=50), seed) for seed in (0, 0, 1)]
    first, again, other = (merge.parameters(encoder, nnx.LoRAParam) for encoder in encoders)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        if name.endswith("B"):
            np.testing.assert_array_equal(value, 0)
        else:
            bound = value.shape[1] ** -0.5
            assert bound * 0.95 < np.abs(value).max() <= bound
            assert value.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)  # 1,600 draws or more
    draws = {
        value[layer].tobytes()
        for draw in (first, other)
        for name, value in draw.items()
        if name.endswith("A")
        for layer in (0, 1)
    }
    assert len(draws) == 2 * len(LINEARS) * 2


def test_saved_delta_is_a_and_b(prepared: experiment.Prepared, lora_run: Any):
    le, _, states = lora_run
    before, after = (
        merge.parameters(le.partition._replace(trainable=state.trainable).model(), nnx.Param) for state in (states[0], states[-1])
    )
    delta = merge.delta(small.DROPOUT, before, after)
    shapes = {"A": (2, 16, 3), "B": (2, 3, 16)}
    prefix = "encoder.backbone.layers.attention"
    assert {name: value.shape for name, value in delta.items()} == {
        f"{prefix}.{linear}.{matrix}": shape for linear in ("query", "value") for matrix, shape in shapes.items()
    }
    for name, value in delta.items():
        np.testing.assert_array_equal(value, after[name])
    assert len(safetensors.numpy.save(delta)) < 4 * 2 * 2 * 2 * 3 * 16 + 1000  # the numbers, and their names


def test_saved_delta_of_full_and_frozen():
    before = {"encoder.layers.kernel": np.ones((2, 3), np.float32), "bias_F": np.zeros(2, np.float32)}
    after = {name: value + np.float32(0.5) for name, value in before.items()}
    full = merge.delta(FULL, before, after)
    assert set(full) == {"encoder.layers.kernel"}
    np.testing.assert_array_equal(before["encoder.layers.kernel"] + full["encoder.layers.kernel"], after["encoder.layers.kernel"])
    assert merge.delta(Frozen(), before, after) == {}


def test_dora_is_its_formula():
    """W' = m (W + s A B) / |W + s A B|, norms over each output's weights, and the norm has no gradient (section 4.3)."""
    linear, draw = Linear(5, 4, rngs=nnx.Rngs(0)), np.random.default_rng(0)
    way = LoraLinear(linear, 2, 1.5, 0.0, True, draw, 0)
    np.testing.assert_allclose(way.magnitude[...], np.linalg.norm(linear.kernel[...], axis=0), rtol=1e-6)
    B, m, bias, x = (draw.normal(size=shape).astype(np.float32) for shape in ((2, 4), 4, 4, (3, 5)))
    way.B[...], way.magnitude[...], linear.bias[...] = jnp.asarray(B), jnp.asarray(m), jnp.asarray(bias)
    both = np.asarray(linear.kernel[...]) + 1.5 * np.asarray(way.A[...]) @ B
    norm = np.linalg.norm(both, axis=0)
    np.testing.assert_allclose(jax.jit(lambda way, x: way(x))(way, x), x @ (m * both / norm) + bias, rtol=1e-4, atol=1e-5)
    slope = jax.grad(lambda b: jax.jit(_with_b)(way, b, x).sum())(jnp.asarray(B))
    np.testing.assert_allclose(slope, 1.5 * np.asarray(way.A[...]).T @ x.T @ np.tile(m / norm, (3, 1)), rtol=1e-4, atol=1e-5)


def _with_b(way: LoraLinear, b: jax.Array, x: jax.Array) -> jax.Array:
    way = nnx.clone(way)
    way.B[...] = b
    return way(x)


def test_merged_dora_has_the_vectors_of_the_unmerged(prepared: experiment.Prepared, rows: Any):
    encoder = with_random_b(wrapped(prepared, DORA))
    for _, module in nnx.iter_modules(encoder):
        if isinstance(module, LoraLinear):
            module.magnitude[...] = module.magnitude[...] * jnp.linspace(0.5, 1.5, module.magnitude.shape[-1])[None]
    found = vectors(encoder, rows)
    np.testing.assert_allclose(vectors(phi(DORA, prepared.loaded.encoder, encoder), rows), found, atol=1e-5)
    assert np.abs(found - vectors(prepared.loaded.encoder, rows)).max() > 1e-2


def test_bitfit_moves_the_biases_alone(prepared: experiment.Prepared):
    le = small.train_setup(prepared, BITFIT, TWO_TOWER)
    _, states = small.fit(le, small.SOFTMAX, optax.sgd(1.0), 2)
    before, after = (
        merge.parameters(le.partition._replace(trainable=state.trainable).model(), nnx.Param) for state in (states[0], states[-1])
    )
    delta = merge.delta(BITFIT, before, after)
    assert set(delta) == {name for name in before if name.startswith("encoder.") and name.endswith(".bias")}
    moved = {name for name in before if name.startswith("encoder.") and (before[name] != after[name]).any()}
    assert set(delta) - moved <= {"encoder.backbone.layers.attention.key.bias"}  # softmax does not see what all keys share
    assert moved <= set(delta)
    merged = merge.parameters(merge.merge(BITFIT, prepared.loaded.encoder, delta), nnx.Param)
    for name, value in merged.items():
        np.testing.assert_allclose(value, after[f"encoder.{name}"], atol=1e-6, err_msg=name)


def test_bitfit_wants_biases(prepared: experiment.Prepared):
    without = nnx.clone(prepared.loaded.encoder)
    for _, module in nnx.iter_modules(without):
        if getattr(module, "bias", None) is not None:
            module.bias = None
    with pytest.raises(WeightsError, match="this encoder has none; use adapter=lora"):
        BITFIT(without, 0)


def test_dropout_is_on_the_way_into_a():
    """With A = B = 1 and s = 1 what is added is the input after dropout: 0, or the input over the share that is kept."""
    linear = Linear(32, 32, rngs=nnx.Rngs(0))
    ways = [LoraLinear(linear, 32, 1.0, 0.25, False, np.random.default_rng(0), tag) for tag in (0, 1)]
    for way in ways:
        way.A[...] = way.B[...] = jnp.eye(32)
    x = jnp.full((4, 16, 32), 3.0)
    noise_RL = jax.random.split(jax.random.key(0), (4, 16))
    apply = jax.jit(lambda way, x, noise_RL: way(x, noise_RL) - way.linear(x))
    first, second = (np.asarray(apply(way, x, noise_RL)) for way in ways)
    dropped = first < 1
    np.testing.assert_allclose(first, np.where(dropped, 0.0, 4.0), atol=1e-5)
    assert dropped.mean() == pytest.approx(0.25, abs=0.04)  # 2,048 draws: four standard deviations
    assert len({token.tobytes() for token in dropped.reshape(64, 32)}) == 64  # each token has its own
    assert ((second < 1) != dropped).mean() > 0.2  # and so has each layer
    np.testing.assert_allclose(apply(ways[0], x, None), 3.0, atol=1e-5)


def test_each_adapted_layer_has_a_mask_of_its_own(prepared: experiment.Prepared):
    """Not one for all kernels: their tags differ."""
    encoder = wrapped(prepared, replace(LORA_ALL, dropout=0.5))
    tags = [module.noise_tag for _, module in nnx.iter_modules(encoder) if isinstance(module, LoraLinear)]
    assert len(set(tags)) == len(tags) == len(LINEARS)


def test_each_step_drops_out_anew(prepared: experiment.Prepared):
    """The same batch and parameters in two steps, and with another seed: other losses. Without dropout: the same."""
    losses = {}
    for dropout, seed in ((0.0, 0), (0.5, 0), (0.5, 1)):
        le = small.perturbed(small.train_setup(prepared, replace(LORA, dropout=dropout), TWO_TOWER))
        loss, state = small.loss_of(le, small.SOFTMAX, seed)
        for n in (0, 1):
            losses[dropout, seed, n] = float(loss(state._replace(step=jnp.asarray(n, jnp.int32)), le.batches(0)))
    assert len({losses[0.5, seed, n] for seed in (0, 1) for n in (0, 1)}) == 4
    assert losses[0.0, 0, 0] == losses[0.0, 0, 1]

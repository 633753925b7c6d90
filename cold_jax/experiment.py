"""An experiment, from data to results: what is read, what learns, what is measured, and what a run's folder gets of it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from cold_jax.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    import numpy as np
    from flax import nnx

    from cold_jax.adapters.lora import Lora
    from cold_jax.batching.batch import Batches, TextPlacer
    from cold_jax.batching.masked import TextBatches
    from cold_jax.config import Settings
    from cold_jax.data.dataset import Dataset
    from cold_jax.encoders import Loaded, TextEncoder
    from cold_jax.evaluation.evaluate import Evaluation, Scorer, Validation
    from cold_jax.models.base import Partition
    from cold_jax.runs.folder import Run
    from cold_jax.runs.loggers import Logger
    from cold_jax.runs.results import Results
    from cold_jax.splits.assemble import Split
    from cold_jax.splits.files import SplitRows
    from cold_jax.splits.tasks import TrainView
    from cold_jax.text.tokens import Tokens
    from cold_jax.training.loop import Training
    from cold_jax.training.privacy import PrivateTraining

Tree = Any  # a pytree of arrays
Made = TypeVar("Made")
log = logging.getLogger(__name__)
ROW_MULTIPLE = 64  # at most: rows of padding cost what others do
_last: dict[str, tuple[str, object]] = {}


def _memoized(what: str, key: object, make: Callable[[], Made]) -> Made:
    """What `make` gives, or gave the last time that `key` read the same: jobs of a sweep, in one process, differ in little."""
    text = repr(key)
    if what not in _last or _last[what][0] != text:
        _last[what] = text, make()
    return cast("Made", _last[what][1])


class Prepared(NamedTuple):
    """The data of a run, split, and all that may be known before training."""

    dataset: Dataset
    split: Split
    train: TrainView
    loaded: Loaded  # the encoder θ
    tokens: Tokens  # of every user's main text, then of every item's
    digests_of: Callable[[], dict[str, str]]
    texts: Sequence[Tokens]  # of every text of users and items, the main ones among them

    @property
    def digests(self) -> dict[str, str]:
        """Of data, split, encoder and tokens; what only answers requests never needs them."""
        return self.digests_of()


def prepare(s: Settings) -> Prepared:
    """Reads data and encoder, and tokenises every text. θ's vectors of a text are made, or found in the cache, when they are first read."""
    return _memoized(
        "prepared",
        (s.data, s.split, s.encoder, s.user_attributes, s.parallel, s.parallel.rounds and s.adapter),
        lambda: _prepare(s),
    )


def _prepare(s: Settings) -> Prepared:
    from cold_jax.encoders.precomputed import LazyVectors
    from cold_jax.progress import stage
    from cold_jax.splits.assemble import split_digest, train_view
    from cold_jax.text.tokens import join_tokens
    from cold_jax.timing import timed

    with stage("reading the data"):
        dataset = s.data() if s.user_attributes else s.data().without_user_attributes()
        split = s.split(dataset)
    with stage("reading the encoder"):
        loaded = s.parallel.place(s.encoder(), s.adapter.trainable_filter)
    no_profiles = {"profile": ("",) * len(dataset.users)}  # where the data says nothing of users
    with timed("tokenise"), stage("tokenising"):
        users, items = (
            {name: loaded.tokenize(texts, side) for name, texts in by_name.items()}
            for side, by_name in (("users", dataset.users.texts or no_profiles), ("items", dataset.items.texts))
        )
    main = [next(iter(by_name.values())) for by_name in (users, items)]
    digests = functools.cache(
        lambda: {"data": dataset.digest, "split": split_digest(split), "encoder": loaded.digest, "tokens": main[1].digest}
    )
    train = train_view(dataset, split, LazyVectors(loaded, items), LazyVectors(loaded, users))
    return Prepared(dataset, split, train, loaded, join_tokens(main), digests, [*users.values(), *items.values()])


def id_to_index(index_of: Mapping[str, int], wanted: str, key: str, place: str = "") -> int:
    """The integer id of a user or an item. Raises ConfigError where there is none; `place` is the file and line that names it."""
    if wanted not in index_of:
        where = f"{place}: " if place else ""
        raise ConfigError(f"{where}{key}: the data has no id {wanted!r}; {nearest_name(wanted, list(index_of))}")
    return index_of[wanted]


def is_language_modelling(s: Settings) -> bool:
    """Whether a run learns to predict tokens; it ranks nothing then. Raises ConfigError where only a part of its settings does."""
    chosen = {s.model.predicts_tokens, s.batching.predicts_tokens, s.objective.predicts_tokens}
    if len(chosen) > 1:
        raise ConfigError(
            "model: model=language_model, objective=token_cross_entropy and batching=masked_tokens go together, "
            "as in python -m cold_jax.pretrain"
        )
    return chosen == {True}


class TrainSetup(NamedTuple):
    """What learns, and from what."""

    partition: Partition
    batches: Batches
    scorer: Callable[[Tree], Scorer]  # trainable leaves → a scorer
    validate: Callable[[Tree], Validation] | None  # trainable leaves → what a step is chosen by; None: nothing learns
    dropout: bool
    microbatch_rows: int
    privacy: PrivateTraining | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Parameters that learn, and that don't."""
        import jax

        trained, frozen = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in self.partition[1:])
        return trained, frozen


def setup(s: Settings, p: Prepared) -> TrainSetup:
    """Encoder → adapter → model, split by what trains; and the batches that it reads."""
    import jax

    from cold_jax.batching.batch import BatchInputs
    from cold_jax.models.base import partition_model
    from cold_jax.models.language_model import held_out_loss
    from cold_jax.models.scoring import ModelScorer
    from cold_jax.progress import stage

    language_modelling = is_language_modelling(s)
    s.privacy.require_public(p.dataset.items, p.split.cold_I)
    if not s.model.trains:
        return _without_training(s, p)
    encoder, place, multiple, microbatch_rows = _encoder(s, p)
    train, init = s.privacy.view(p.train), None
    if s.model.takes_init:
        with stage(f"computing what the towers start from ({type(s.init).__name__})"):
            init = _memoized(
                "init", (p.digests, s.init, s.model, s.privacy), lambda: s.init(s.model.visible(train), s.model.width)
            )
    if s.model.random_init and not s.adapter.trains_head and init is None:
        raise ConfigError(
            f"adapter: zero_shot trains nothing, and {type(s.model).__name__} begins at random; "
            "use model=text_vectors or model=likelihood, or init=fold_in with model=two_tower"
        )
    model = s.model(encoder, train, init, s.seed)
    partition = partition_model(model, s.adapter.trainable_filter, s.adapter.head_filter)
    lengths = p.tokens.length_T
    of_texts = place, p.loaded.tokenizer, p.loaded.shape.vocabulary, p.loaded.shape.causal
    batches = s.privacy.batches(s.batching, BatchInputs(p.train, lengths, *of_texts, s.seed, multiple, s.parallel.count))
    dropout = s.adapter.dropout > 0 or model.random
    if language_modelling:
        of_step = held_out_loss(partition, cast("TextBatches", batches), s.objective, microbatch_rows)
        return TrainSetup(partition, batches, _cannot_rank, of_step, dropout, microbatch_rows)
    scorer = ModelScorer(partition, place, lengths, len(p.dataset.users), microbatch_rows)
    private = s.privacy.training(batches, s.loop.steps(batches.steps_per_epoch))
    of_step = (lambda trainable: validate(s, p, scorer(trainable))) if jax.tree.leaves(partition.trainable) else None
    return TrainSetup(partition, batches, scorer, of_step, dropout, microbatch_rows, private)


def _encoder(s: Settings, p: Prepared) -> tuple[nnx.Module, TextPlacer, int, int]:
    """(the adapted encoder, how a step's texts reach it, the multiple in which rows come, rows encoded at once)."""
    import numpy as np

    from cold_jax.adapters import peft
    from cold_jax.batching.batch import PackedTexts, table_rows
    from cold_jax.encoders import precomputed
    from cold_jax.text.packing import fit_row_length

    if s.adapter.frozen:
        if s.model.reads_states:
            table = precomputed.TokenStateTable(*precomputed.states(p.loaded, p.tokens))
        else:
            main = [next(iter(vectors.values())) for vectors in (p.train.user_vectors, p.train.item_vectors)]
            table = precomputed.VectorTable(np.concatenate(main))
        return table, table_rows, s.parallel.count, s.loop.rows_at_once(p.loaded.row_length)
    theta = p.loaded.encoder if s.adapter.last is None else precomputed.with_frozen_prefix(p.loaded, p.tokens, s.adapter.last)
    encoder = s.adapter(theta, s.seed)
    if s.adapter.init_from is not None:
        peft.init_from_peft(cast("TextEncoder", encoder), p.loaded, cast("Lora", s.adapter))
    row_length, texts_per_row = (8, 1) if s.model.row_per_text else (p.loaded.row_length, p.loaded.shape.texts_per_row)
    place = PackedTexts(p.tokens, fit_row_length(p.tokens, row_length), texts_per_row)
    microbatch_rows = s.loop.rows_at_once(place.row_length)
    return encoder, place, s.parallel.shards * min(microbatch_rows, ROW_MULTIPLE), microbatch_rows


def _without_training(s: Settings, p: Prepared) -> TrainSetup:
    """Of a model that is a scorer as it is."""
    from flax import nnx

    from cold_jax.batching.batch import BatchInputs, table_rows
    from cold_jax.models.base import partition_model

    if not s.adapter.frozen:
        raise ConfigError(
            f"adapter: {type(s.model).__name__} learns nothing; use adapter=zero_shot, and encoder.id=FOLDER for an exported φ"
        )
    nothing, devices = partition_model(nnx.Module(), nnx.Nothing(), nnx.Nothing()), s.parallel.count
    of_texts = table_rows, p.loaded.tokenizer, p.loaded.shape.vocabulary, True
    inputs = BatchInputs(p.train, p.tokens.length_T, *of_texts, s.seed, devices, devices)
    profiles = next(iter(p.dataset.users.texts.values()), ("",) * len(p.dataset.users))
    return TrainSetup(
        nothing,
        s.batching(inputs),
        lambda trainable: s.model.scorer(p.loaded, p.train, profiles.__getitem__),
        None,
        dropout=False,
        microbatch_rows=1,
    )


def _cannot_rank(trainable: Tree) -> Scorer:
    raise ConfigError("model: language_model ranks nothing; python -m cold_jax.pretrain trains it")


def validate(s: Settings, p: Prepared, scorer: Scorer) -> Validation:
    """A scorer on the validation tasks. Raises ConfigError where the split has none."""
    if not p.split.validation:
        raise ConfigError(
            "split: it has no validation part, by which a step is chosen; label some interactions warm_val or cold_val"
        )
    return s.evaluation.validate(scorer, p.split.validation)


def training(s: Settings, p: Prepared, t: TrainSetup, run: Run, logger: Logger) -> Training:
    """The loop of this run, ready to `fit`. A checkpoint must share the fingerprint with it, besides the shapes of its leaves."""
    from cold_jax.training.loop import Training

    choices = ("adapter", "model", "init", "objective", "batching", "optimizer", "seed")
    return Training(
        loop=s.loop,
        partition=t.partition,
        batches=t.batches,
        objective=s.objective,
        optimizer=s.optimizer,
        lr_scale=s.adapter.lr_scale,
        parallelise=s.parallel,
        validate=t.validate if t.privacy is None else None,
        dropout=t.dropout,
        seed=s.seed,
        run=run,
        fingerprint=p.digests | {name: repr(getattr(s, name)) for name in choices},
        logger=logger,
        profile=s.profile,
        microbatch_rows=t.microbatch_rows,
        privacy=t.privacy,
    )


def fit_baselines(s: Settings, p: Prepared) -> dict[str, Evaluation]:
    """Each baseline fitted, its settings chosen without the test tasks, and evaluated on them."""
    from cold_jax.baselines.fit import evaluate_baselines

    sides = s.baselines, s.init, p.train, p.split.validation, p.split.test, s.evaluation
    return _memoized("baselines", (p.digests, s.baselines, s.evaluation), lambda: evaluate_baselines(*sides))


def ensemble(s: Settings, p: Prepared, scorer: Scorer) -> Scorer:
    """A model's scorer joined with what conf/ensemble chooses, weights from validation."""
    return s.ensemble(scorer, p.train, s.evaluation.sample(p.split.validation))


def evaluate(s: Settings, p: Prepared, t: TrainSetup, trainable: Tree) -> Evaluation:
    """The test tasks at these parameters."""
    return s.evaluation(ensemble(s, p, t.scorer(trainable)), p.split.test)


def adapted(s: Settings, p: Prepared, run: Run) -> Loaded:
    """A finished run's φ = θ + Δθ, as a plain encoder."""
    from cold_jax.adapters import merge
    from cold_jax.storage.files import digest

    delta = run.read_delta()
    if not delta:
        return p.loaded
    phi = merge.merge(s.adapter, p.loaded.encoder, delta)
    return p.loaded.with_encoder(phi, digest(p.loaded.digest, *delta.values()))


def export_parameters(s: Settings, t: TrainSetup, trainable: Tree) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(Δθ, head) by dotted path: what is kept of a training besides its checkpoints."""
    from flax import nnx

    from cold_jax.adapters import merge

    before, after = (
        merge.parameters(t.partition._replace(trainable=leaves).model(), nnx.Param)
        for leaves in (t.partition.trainable, trainable)
    )
    head = {name: value for name, value in after.items() if not name.startswith("encoder.")}
    return merge.delta(s.adapter, before, after), head


def split_rows(p: Prepared) -> tuple[SplitRows, np.ndarray]:
    """split.csv: (an entry for each interaction, its position among its user's)."""
    from cold_jax.data.matrices import order
    from cold_jax.splits.files import SplitRows

    d = p.dataset
    rows = SplitRows([d.users.ids[u] for u in d.user_N], [d.items.ids[i] for i in d.item_N], p.split.part_N.tolist())
    return rows, order(d.user_N, d.time_N)


def train_run(s: Settings, run: Run, logger: Logger, typed: Sequence[str] = ()) -> Results:
    """Data → baselines → model → training → test → the run's folder. Returns what results.json says.

    typed: the overrides that make the run what it is, for tables.
    """
    from cold_jax import timing
    from cold_jax.data.summary import summarize
    from cold_jax.document import costs, results_document
    from cold_jax.evaluation import tables
    from cold_jax.progress import stage

    with timing.gathered() as seconds, timing.timed("total"):
        with timing.timed("data"):
            p = prepare(s)
        for line in summarize(p.dataset, p.split.cold_U, p.split.cold_I, p.texts).lines():
            log.info("%s", line)
        with timing.timed("baselines"):
            baselines = fit_baselines(s, p)
        with timing.timed("build"), stage("building the model"):
            t = setup(s, p)
        log.info("parameters: %s trained, %s frozen", *(f"{size:,}" for size in t.sizes))
        with timing.timed("train"), stage("training"):
            loop = training(s, p, t, run, logger)
            trainable, best_step = loop.fit()
            run.forget_secret()
        with timing.timed("evaluate"), stage("evaluating the run"):
            tested = evaluate(s, p, t, trainable)
    with stage("writing the results"):
        run.write_split(*split_rows(p))
        run.write_per_user(tables.per_user_table({"model": tested, **baselines}, p.dataset.users))
        run.write_rankings(tables.rankings_table(tested, p.dataset.users, p.dataset.items))
        run.write_parameters(*export_parameters(s, t, trainable))
        named = {"overrides": list(typed), "encoder": (p.loaded.name or type(s.encoder).__name__).rpartition("/")[2]}
        private = {} if t.privacy is None else {"privacy": t.privacy.mechanism.report(int(loop.state.step))}
        results = results_document(
            s,
            p.split,
            seconds,
            tested,
            baselines,
            {"best_step": best_step, "digests": p.digests, **costs(*t.sizes, loop.utilisation.report()), **named, **private},
        )
        run.write_results(results)
    return results


def take_part(s: Settings, run: Run) -> None:
    """The steps alone: what the processes of a run do besides the first, which `train_run` or `pretrain_run` is for."""
    from cold_jax.runs.loggers import combine

    p = prepare(s)
    training(s, p, setup(s, p), run, combine([])).fit()

"""A composed config → typed settings → the parts of a run. Besides the entry points, only this module sees cfg."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

GROUPS = (
    "data",
    "split",
    "encoder",
    "adapter",
    "model",
    "init",
    "objective",
    "batching",
    "optimizer",
    "loop",
    "parallel",
    "evaluation",
    "ensemble",
)
MANY = ("baseline", "logger")  # several of these can be chosen, by name
SINGLE = {"seed": (int, "a whole number"), "profile": (bool, "true or false"), "keep_memory": (bool, "true or false")}


class ConfigError(ValueError):
    """A key of the config is unknown, missing or of another type; the message names it."""


def make(node: DictConfig, name: str) -> Any:
    """The frozen dataclass that `node._target_` names, filled with the node's values, which must be its fields exactly.

    Raises ConfigError with the key's name. A run's folder holds a config that may be somebody else's, so only dataclasses of this package
    are made, whatever else Hydra would take.
    """
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"{name}: {node!r} is no choice; it has keys, and the first is _target_")
    try:
        values: dict[str, Any] = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        key = str(error.full_key or "").removeprefix(f"{name}.")
        raise ConfigError(f"{name}.{key}: {str(error).splitlines()[0]}; give it, as in {name}.{key}=VALUE") from None
    target = str(values.pop("_target_", ""))
    if not target.startswith("cold_jax."):
        raise ConfigError(f"{name}._target_: {target!r} is not a class of cold_jax")
    try:
        cls = get_class(target)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{name}._target_: {str(error).splitlines()[0]}") from None
    if not dataclasses.is_dataclass(cls) or not cls.__module__.startswith("cold_jax."):
        raise ConfigError(f"{name}._target_: {target} is not a config class of cold_jax")
    fields = [field.name for field in dataclasses.fields(cls)]
    for key in (key for key in values if key not in fields):
        raise ConfigError(f"{name}.{key}: {target} has no such key; {_nearest(key, fields)}")
    for key in (field for field in fields if field not in values):
        raise ConfigError(f"{name}.{key}: is missing; {target} needs {', '.join(fields)}")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), values))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}.{error.full_key or ''}: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _nearest(key: str, names: list[str]) -> str:
    close = difflib.get_close_matches(key, names, 1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(names) or 'none'}"


class Settings(NamedTuple):
    """Every choice of a run as a typed object; nothing has been read yet."""

    data: Any
    split: Any
    encoder: Any
    adapter: Any
    model: Any
    init: Any
    objective: Any
    batching: Any
    optimizer: Any
    loop: Any
    parallel: Any
    evaluation: Any
    ensemble: Any
    baselines: Mapping[str, Any]
    loggers: Mapping[str, Any]
    seed: int
    profile: bool
    experiment: str


def settings(cfg: DictConfig) -> Settings:
    """All of a run's choices, made. Raises ConfigError for the first key that is wrong, before any data is read."""
    known = [*GROUPS, *MANY, *SINGLE, "resume", "experiment"]
    for key in cfg:
        if key not in known:
            raise ConfigError(f"{key}: there is no such key; {_nearest(str(key), known)}")
    for key in (*GROUPS, *SINGLE, "experiment"):
        if key not in cfg:
            raise ConfigError(f"{key}: is missing")
    for key in MANY:
        if key in cfg and not OmegaConf.is_dict(cfg[key]):
            raise ConfigError(f"{key}: {cfg[key]!r} does not name its choices")
    for key, (wanted, told) in SINGLE.items():
        if type(cfg[key]) is not wanted:
            raise ConfigError(f"{key}: {cfg[key]!r} is not {told}")
    one = {group: make(cfg[group], group) for group in GROUPS}
    baselines, loggers = (
        {name: make(node, f"{group}.{name}") for name, node in cfg[group].items()} if group in cfg else {} for group in MANY
    )
    return Settings(
        **one, baselines=baselines, loggers=loggers, seed=cfg.seed, profile=cfg.profile, experiment=cfg.experiment or "none"
    )


class Question(NamedTuple):
    """What a run is asked, and all that may be known beforehand."""

    dataset: Any
    split: Any
    train: Any
    loaded: Any  # the encoder θ
    tokens: Any  # of every user's main text, then of every item's
    digests: dict[str, str]  # of data, split, encoder and tokens


Made = TypeVar("Made")
_kept: dict[str, tuple[str, Any]] = {}


def _shared(what: str, of: object, make: Callable[[], Made]) -> Made:
    """What `make` gives, or gave the last time that `of` read the same: jobs of a sweep, in one process, differ in little."""
    key = repr(of)
    if what not in _kept or _kept[what][0] != key:
        _kept[what] = key, make()
    return _kept[what][1]


def question(s: Settings, visitor: str | None = None) -> Question:
    """Reads data and encoder, and encodes every text with θ once, or finds the vectors in the cache.

    `visitor` is the profile text of one more user, the last, who has no interactions.
    """
    return _shared("question", (s.data, s.split, s.encoder, visitor), lambda: _question(s, visitor))


def _question(s: Settings, visitor: str | None) -> Question:
    from cold_jax.encoders import precomputed
    from cold_jax.splits.assemble import split_digest, train_view, with_new_user
    from cold_jax.text.tokens import join_tokens
    from cold_jax.timing import timed

    dataset = s.data()
    split = s.split(dataset)
    loaded = s.encoder()
    digests = {"data": dataset.digest, "split": split_digest(split), "encoder": loaded.digest}
    if visitor is not None:
        dataset, split = with_new_user(dataset, split, visitor)
    unknown = {"profile": ("",) * len(dataset.users)}  # users of whom the data says nothing
    sides = {"users": dataset.users.texts or unknown, "items": dataset.items.texts}
    with timed("tokenise"):
        tokens = {
            side: {name: loaded.tokenize(written, side) for name, written in texts.items()} for side, texts in sides.items()
        }
    digests["tokens"] = next(iter(tokens["items"].values())).digest
    with timed("encode"):
        vectors = {
            side: {name: precomputed.vectors(loaded, one) for name, one in by_name.items()} for side, by_name in tokens.items()
        }
    train = train_view(dataset, split, vectors["items"], vectors["users"])
    main = join_tokens([next(iter(by_name.values())) for by_name in tokens.values()])
    return Question(dataset, split, train, loaded, main, digests)


def place(ids: Sequence[str], wanted: str, key: str) -> int:
    """The integer id of a user or an item. Raises ConfigError where there is none."""
    if wanted not in ids:
        raise ConfigError(f"{key}: the data has no id {wanted!r}; {_nearest(wanted, list(ids)[:5])}")
    return ids.index(wanted)


def foretells(s: Settings) -> bool:
    """Whether a run learns to foretell tokens: it ranks nothing then."""
    from cold_jax.batching.masked import MaskedTokens
    from cold_jax.models.language_model import LanguageModel
    from cold_jax.training.objectives import TokenCrossEntropy

    chosen = {
        isinstance(s.model, LanguageModel),
        isinstance(s.batching, MaskedTokens),
        isinstance(s.objective, TokenCrossEntropy),
    }
    if len(chosen) > 1:
        raise ConfigError(
            "model: model=language_model, objective=token_cross_entropy and batching=masked_tokens go together, as python -m cold_jax.pretrain has them"
        )
    return chosen == {True}


class Learner(NamedTuple):
    """What learns, and how it is asked."""

    partition: Any  # the model: graph, what trains, what does not
    batches: Any
    scorer: Any  # trainable leaves -> scorer of users
    validate: Any  # trainable leaves -> (the metric to stop by, all to log)
    dropout: bool

    @property
    def sizes(self) -> tuple[int, int]:
        """Parameters that learn, and that don't."""
        import jax

        return tuple(sum(leaf.size for leaf in jax.tree.leaves(half)) for half in self.partition[1:])  # type: ignore[return-value]


def learner(s: Settings, q: Question) -> Learner:
    """Encoder → adapter → model, split by what trains; batches of what it reads."""
    import numpy as np
    from flax import nnx

    from cold_jax.adapters.full import Frozen, ZeroShot
    from cold_jax.batching.batch import PackedTexts, table_rows
    from cold_jax.encoders import precomputed
    from cold_jax.models.base import partition_model
    from cold_jax.models.language_model import LanguageModel, held_out_loss
    from cold_jax.models.likelihood import Likelihood
    from cold_jax.models.linear import LinearModel
    from cold_jax.models.lstm import Lstm
    from cold_jax.models.scoring import ModelScorer
    from cold_jax.models.two_tower import TwoTower
    from cold_jax.text.packing import fit_row_length

    states, devices = isinstance(s.model, Lstm | LanguageModel), s.parallel.count
    lengths, users = q.tokens.length_T, len(q.dataset.users)
    if isinstance(s.model, Likelihood):
        if not isinstance(s.adapter, Frozen):
            raise ConfigError(
                "adapter: model=likelihood learns nothing; use adapter=zero_shot, and encoder.id=FOLDER for an exported φ"
            )
        nothing = partition_model(nnx.Module(), nnx.Nothing(), nnx.Nothing())
        batching = s.batching(q.train, lengths, table_rows, s.seed, devices, devices)
        unchosen = lambda trainable: (0.0, {})  # noqa: E731
        return Learner(nothing, batching, lambda trainable: s.model(q.loaded, q.train), unchosen, False)
    if isinstance(s.adapter, Frozen):
        main = [next(iter(vectors.values())) for vectors in (q.train.user_vectors, q.train.item_vectors)]
        encoder = (
            precomputed.TokenStateTable(*precomputed.states(q.loaded, q.tokens))
            if states
            else precomputed.VectorTable(np.concatenate(main))
        )
        place, multiple = table_rows, devices
    else:
        encoder = _adapted(s, q)
        alone = isinstance(s.model, Lstm)  # which reads a text's states by its row
        row_length, texts_per_row = (8, 1) if alone else (q.loaded.row_length, q.loaded.encoder.texts_per_row)
        place = PackedTexts(q.tokens, fit_row_length(q.tokens, row_length), texts_per_row)
        multiple = devices * s.loop.microbatch_rows
    init = None
    if isinstance(s.model, TwoTower):
        init = _shared("init", (q.digests, s.init, s.model), lambda: s.init(s.model.seen(q.train), s.model.width))
    if isinstance(s.adapter, ZeroShot) and isinstance(s.model, TwoTower | LinearModel | Lstm) and init is None:
        raise ConfigError(
            f"adapter: none trains nothing, and {type(s.model).__name__} begins at random; "
            "use model=text_vectors or model=likelihood, or init=fold_in with model=two_tower"
        )
    model = s.model(encoder, q.train, init, s.seed)
    partition = partition_model(model, s.adapter.trainable_filter, s.adapter.head_filter)
    dropout = s.adapter.dropout > 0 or model.random
    if foretells(s) and isinstance(place, PackedTexts):
        batching = s.batching(q.loaded.tokenizer, q.loaded.encoder.backbone.causal, place, s.seed, multiple, devices)
        held_out = held_out_loss(partition, batching, s.objective, s.loop.microbatch_rows)
        return Learner(partition, batching, None, held_out, dropout)
    scorer = ModelScorer(partition, place, lengths, users, s.loop.microbatch_rows)

    batching = s.batching(q.train, lengths, place, s.seed, multiple, devices)
    return Learner(partition, batching, scorer, functools.partial(_validate, s, q, scorer), dropout)


def _adapted(s: Settings, q: Question) -> Any:
    """The encoder with its adapter, at the adapter's start."""
    from cold_jax.adapters import peft
    from cold_jax.encoders import precomputed

    theta = q.loaded.encoder if s.adapter.last is None else precomputed.with_frozen_prefix(q.loaded, q.tokens, s.adapter.last)
    encoder = s.adapter(theta, s.seed)
    if s.adapter.init_from is not None:
        peft.init_from_peft(encoder, q.loaded, s.adapter)
    return encoder


def _validate(s: Settings, q: Question, scorer: Any, trainable: Any) -> tuple[float, dict[str, float]]:
    """What a step is chosen by, and all to log."""
    import jax

    if not jax.tree.leaves(trainable):
        return 0.0, {}  # nothing learns, and nothing is chosen
    if not q.split.validation:
        raise ConfigError("split: it has no validation part, by which a step is chosen; label some rows warm_val or cold_val")
    return s.evaluation.validate(scorer(trainable), q.split.validation)


def training(s: Settings, q: Question, le: Learner, run: Any, logger: Any) -> Any:
    """The loop of this run, ready to `fit`. A checkpoint must share `about` with it, besides the shapes of its leaves."""
    from cold_jax.training.loop import Training

    choices = ("adapter", "model", "init", "objective", "batching", "optimizer", "seed")
    about = q.digests | {name: repr(getattr(s, name)) for name in choices}
    steps = (le.partition, le.batches, s.objective, s.optimizer, s.adapter.lr_scale, s.parallel, le.validate, le.dropout, s.seed)
    return Training(s.loop, *steps, run, about, logger, s.profile)


def split_rows(q: Question) -> tuple[Any, Any]:
    """split.csv: an entry for each interaction, and its place among its user's."""
    from cold_jax.data.matrices import order
    from cold_jax.splits.files import SplitRows

    d = q.dataset
    rows = SplitRows([d.users.ids[u] for u in d.user_N], [d.items.ids[i] for i in d.item_N], q.split.part_N.tolist())
    return rows, order(d.user_N, d.time_N)


def baselines(s: Settings, q: Question) -> dict[str, Any]:
    """Each baseline fitted, its settings chosen without the test parts, and evaluated on them."""
    key, tasks, fits = (q.digests, s.baselines, s.evaluation), s.evaluation.sample(q.split.validation), s.baselines.items()
    return _shared("baselines", key, lambda: {name: s.evaluation(fit(q.train, tasks), q.split.test) for name, fit in fits})


def scorer(s: Settings, q: Question, le: Learner, trainable: Any) -> Any:
    """The model at these parameters, with what it is joined with."""
    return s.ensemble(le.scorer(trainable), q.train, s.evaluation.sample(q.split.validation))


def test(s: Settings, q: Question, le: Learner, trainable: Any) -> Any:
    """The test parts at these parameters."""
    return s.evaluation(scorer(s, q, le, trainable), q.split.test)


def searcher(search: Any, s: Settings, q: Question, le: Learner, trainable: Any, run: Any) -> Any:
    """Search by words, with what a finished run knows of users, and its φ."""
    from cold_jax.adapters import merge
    from cold_jax.storage.files import digest

    delta = run.read_delta()
    phi = merge.merge(s.adapter, q.loaded.encoder, delta)
    loaded = dataclasses.replace(q.loaded, encoder=phi, digest=digest(q.loaded.digest, *delta.values()))
    return search(q.train, loaded, scorer(s, q, le, trainable), q.split.validation)


def learned(s: Settings, le: Learner, trainable: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Δθ, and the head, by dotted path: what is kept of a training besides its checkpoints."""
    from flax import nnx

    from cold_jax.adapters import merge

    before, after = (
        merge.parameters(le.partition._replace(trainable=leaves).model(), nnx.Param)
        for leaves in (le.partition.trainable, trainable)
    )
    delta = merge.delta(s.adapter, before, after)
    return delta, {name: value for name, value in after.items() if not name.startswith("encoder.")}


def document(
    s: Settings, q: Question, seconds: Mapping[str, float], tested: Any, baselines: Mapping[str, Any], extra: Mapping[str, Any]
) -> Any:
    """results.json."""
    from importlib.metadata import version

    from cold_jax import seeds
    from cold_jax.evaluation.protocol import compare_to_baselines, describe_protocol
    from cold_jax.training.parallel import device_info

    resamples = s.evaluation.resamples
    return {
        "experiment": s.experiment,
        "seed": s.seed,
        "versions": {name: version(name) for name in ("cold-jax", "jax", "jaxlib", "flax", "optax", "numpy")},
        "devices": device_info(s.parallel.count),
        "seconds": dict(seconds),
        "test": tested.mean(),
        "baselines": {name: baseline.mean() for name, baseline in baselines.items()},
        "versus": compare_to_baselines(tested, baselines, resamples, seeds.generator(s.seed, "bootstrap")),
        "protocol": describe_protocol(q.split, tested, baselines, s.evaluation.metric),
        **extra,
    }

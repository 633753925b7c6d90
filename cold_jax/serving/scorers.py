"""A finished run's scorer, over the items of its data and new ones. Items are encoded once; users when they are first scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from cold_jax import experiment
from cold_jax.errors import ConfigError

if TYPE_CHECKING:
    import jax

    from cold_jax.config import Settings
    from cold_jax.encoders import Loaded
    from cold_jax.evaluation.evaluate import Scorer
    from cold_jax.experiment import Prepared
    from cold_jax.models.base import Partition
    from cold_jax.models.retrieval import InnerProducts
    from cold_jax.runs.folder import Run

Tree = Any  # a pytree of arrays


class RunScorer:
    """Scores of a run, for users of the data and for new ones, whose index is `new_user` or more.

    profiles: texts of new users, by index; whoever asks for scores sets them before.
    """

    def __init__(
        self,
        run: Run,
        settings: Settings,
        base: Prepared,
        prepared: Prepared,
        phi: Callable[[], Loaded],
        encoded: dict[str, np.ndarray],
    ):
        """`prepared` is `base` with new items after its own; `phi` gives the run's φ; `encoded` holds vectors of texts of users of the data."""
        self.run, self.settings, self.base, self.prepared, self._phi = run, settings, base, prepared, phi
        self.new_user = len(base.dataset.users)
        self.profiles: Mapping[int, str] = {}
        self.encoded = encoded

    @property
    def phi(self) -> Loaded:
        """The run's encoder φ = θ + Δθ."""
        return self._phi()

    @cached_property
    def scorer(self) -> Scorer:
        """With the ensemble, where the run has one."""
        s, p = self.settings, self.prepared
        scorer = self.model_scorer if s.model.trains else s.model.scorer(p.loaded, p.train, self.text_of)
        return experiment.ensemble(s, p, scorer)

    @cached_property
    def model_scorer(self) -> Scorer:
        """Of the trained model alone."""
        import jax.numpy as jnp

        from cold_jax.models.scoring import HeadScorer

        head = HeadScorer(self.partition)
        if self.settings.model.reads_states:
            return self._states_scorer(head, self.partition.trainable)
        return head.of_vectors(self.partition.trainable, self.user_vectors, jnp.asarray(self.vector_ID))

    def products(self, tie_break_I: np.ndarray) -> InnerProducts | None:
        """The trained model's inner products, where the run ranks by them alone."""
        from cold_jax.models.ensembles import SingleModel
        from cold_jax.models.retrieval import InnerProducts, is_inner_product

        s = self.settings
        if not (s.model.trains and isinstance(s.ensemble, SingleModel) and is_inner_product(self.partition.model())):
            return None
        return InnerProducts(self.partition, self.user_vectors, self.vector_ID, tie_break_I)

    @cached_property
    def partition(self) -> Partition:
        """The trained head, as a model without its encoder. Raises ConfigError where it cannot take new items."""
        import jax
        from flax import nnx

        from cold_jax.encoders import precomputed
        from cold_jax.models.base import partition_model

        s, p = self.settings, self.prepared
        encoder, count = precomputed.NoEncoder(p.loaded.shape.width), len(p.dataset.items)

        def parameters(model: nnx.Module) -> dict[str, nnx.Variable]:
            return {".".join(map(str, path)): parameter for path, parameter in nnx.to_flat_state(nnx.state(model, nnx.Param))}

        model = s.model.unfilled(encoder, p.train, s.seed)
        known = model if p is self.base else s.model.unfilled(encoder, self.base.train, s.seed)
        shapes = {name: parameter.shape for name, parameter in parameters(known).items()}
        head_of = self.run.read_head(shapes)
        for name, parameter in parameters(model).items():
            own = head_of[name]
            if own.shape != parameter.shape:  # residuals of items, which new ones do not have
                if own.shape[1:] != parameter.shape[1:] or (len(own), len(parameter)) != (len(self.base.dataset.items), count):
                    raise ConfigError(
                        f"items: {type(s.model).__name__} reads the words of its training's items alone, so new items need a new "
                        "training; use model=two_tower"
                    )
                own = np.concatenate([own, np.zeros(parameter.shape, own.dtype)[len(own) :]])
            parameter.set_value(jax.device_put(own))
        return partition_model(model, nnx.Nothing(), nnx.Nothing())

    @cached_property
    def vector_ID(self) -> np.ndarray:
        """φ's vectors of all items' main texts."""
        from cold_jax.encoders import precomputed

        main, known = self._item_texts, len(self.base.dataset.items)
        vector_ID = precomputed.vectors(self.phi, self.base.loaded.tokenize(main[:known], "items"))
        if len(main) == known:
            return vector_ID
        return np.concatenate([vector_ID, precomputed.encode(self.phi, main[known:], "items")])

    @property
    def _item_texts(self) -> Sequence[str]:
        return next(iter(self.prepared.dataset.items.texts.values()))

    def _states_scorer(self, head: Any, trainable: Tree) -> Scorer:
        """Of a model that reads token states: the items' stay, a user's are computed for each request."""
        import jax.numpy as jnp

        from cold_jax.encoders import precomputed

        state_ILD, length_I = precomputed.states(self.phi, self.base.loaded.tokenize(self._item_texts, "items"))

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            state_ULD, length_U = precomputed.encode_states(self.phi, [self.text_of(int(user)) for user in user_U], "users")
            longest = max(state_ULD.shape[1], state_ILD.shape[1])
            padded = [np.pad(x, ((0, 0), (0, longest - x.shape[1]), (0, 0))) for x in (state_ULD, state_ILD)]
            lengths = np.concatenate([length_U, length_I]).astype(np.int32)
            rows = head.of_states(trainable, jnp.asarray(np.concatenate(padded)), lengths, len(user_U))
            return np.asarray(rows(np.arange(len(user_U)), history_UI, candidate_I))

        return scorer

    def text_of(self, user: int) -> str:
        """The main text of a user of the data, or of a new one."""
        texts = next(iter(self.prepared.dataset.users.texts.values()), ())
        return self.profiles.get(user, "") if user >= self.new_user else texts[user] if texts else ""

    def user_vectors(self, user_U: np.ndarray) -> jax.Array:
        """φ's vectors of users' texts. Those of the data's texts are kept in memory; a new user's is kept nowhere."""
        import jax

        from cold_jax.encoders import precomputed

        if self.phi is self.base.loaded and (user_U < self.new_user).all():
            return jax.device_put(next(iter(self.base.train.user_vectors.values()))[user_U])  # as in training, where φ is θ
        text_U = [self.text_of(int(user)) for user in user_U]
        texts = list(dict.fromkeys(text for text in text_U if text not in self.encoded))
        new: dict[str, np.ndarray] = {}
        if texts:
            padded = [*texts, *[""] * ((1 << (len(texts) - 1).bit_length()) - len(texts))]  # few shapes are compiled
            new = dict(zip(texts, precomputed.encode(self.phi, padded, "users"), strict=False))
            of_data = {text for user, text in zip(user_U, text_U, strict=True) if user < self.new_user}
            self.encoded.update((text, vector) for text, vector in new.items() if text in of_data)
        return jax.device_put(np.stack([self.encoded[text] if text in self.encoded else new[text] for text in text_U]))

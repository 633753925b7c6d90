"""A finished run that answers: a ranked list for a user of the data or a new one, and the score of any item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from cold_jax import cli, config, experiment
from cold_jax.errors import ConfigError
from cold_jax.runs.folder import open_run

if TYPE_CHECKING:
    import jax
    import polars as pl

    from cold_jax.encoders import Loaded
    from cold_jax.evaluation.evaluate import Scorer
    from cold_jax.models.personalized_search import PersonalizedSearch, Search
    from cold_jax.models.scoring import HeadScorer
    from cold_jax.text.tokens import Tokens


Tree = Any  # a pytree of arrays


class Recommender:
    """Data, encoder and items are read and encoded once. A request then costs one user's text and one row of scores."""

    def __init__(self, folder: Path, given: Mapping[str, Any], search: Search | None = None):
        """`given`: settings of the run's config that are to be other ones, {"data.root": "DIR"}.

        Raises:
            ConfigError: the folder holds no finished run, or its config has no such setting.
            RunError: the run was made by somebody else, and names what is not given.
        """
        self.run = open_run(folder)
        if not self.run.finished:
            raise ConfigError(f"{folder}: not a finished run, which has a results.json; resume={folder} goes on with it")
        self.settings = cli.load_settings(self.run, given)
        if experiment.is_language_modelling(self.settings):
            raise ConfigError(f"{folder}: a language model ranks nothing; its φ is {folder}/encoder")
        self.prepared = experiment.prepare(self.settings)
        self.new_user = len(self.prepared.dataset.users)  # the index of a user whom the data does not know
        self._search_config = search
        self._profile = ""  # of the new user
        self._encoded: dict[int, np.ndarray] = {}  # vectors of users of the data

    def recommend(
        self,
        user: str | None = None,
        *,
        profile: str | None = None,
        liked: Sequence[str] = (),
        query: str | None = None,
        k: int = 10,
        exclude: Sequence[str] = (),
    ) -> pl.DataFrame:
        """The k best items: rank (from 1), item_id, text, score. What the user has taken or likes is left out.

        Args:
            user: an id of the data. Or, of a new user:
            profile: their text, as the data's template would write it.
            liked: ids of items that they like, the newest last; beside those that the data knows of `user`.
            query: words to search by; the order is then the best for them and for this user.
            exclude: ids of items to leave out besides.

        Raises:
            ConfigError: an id is not in the data, or neither `user` nor `profile`, `liked` or `query` is given.
        """
        import polars as pl

        from cold_jax.evaluation.ranking import top_items

        items = self.prepared.dataset.items
        score_I, seen = self._scores(user, profile, liked, query)
        left_out = [*seen, *(experiment.id_to_index(items.ids, item, "exclude") for item in exclude)]
        best = top_items(score_I, np.array(left_out, np.int64), k, items.ids)
        text = next(iter(items.texts.values()))
        columns = {
            "rank": range(1, len(best) + 1),
            "item_id": [items.ids[i] for i in best],
            "text": [text[i] for i in best],
            "score": [float(score_I[i]) for i in best],
        }
        return pl.DataFrame(columns, schema={"rank": pl.Int64, "item_id": pl.String, "text": pl.String, "score": pl.Float64})

    def score(
        self, items: Sequence[str], user: str | None = None, *, profile: str | None = None, liked: Sequence[str] = ()
    ) -> dict[str, float]:
        """Item id → score, for a user as in `recommend`. Scores of one user compare with each other alone."""
        places = {item: experiment.id_to_index(self.prepared.dataset.items.ids, item, "items") for item in items}
        score_I, _ = self._scores(user, profile, liked, None)
        return {item: float(score_I[i]) for item, i in places.items()}

    def _scores(
        self, user: str | None, profile: str | None, liked: Sequence[str], query: str | None
    ) -> tuple[np.ndarray, list[int]]:
        """(scores of all items, items that are known of the user)."""
        data = self.prepared.dataset
        if user is not None and profile is not None:
            raise ConfigError("user, profile: give one of them, user=ID of the data or profile=TEXT of a new user")
        if user is None and profile is None and not liked and query is None:
            raise ConfigError("user: give user=ID of the data, or profile=TEXT, liked=[ID,…] or query=WORDS of a new user")
        likes = [experiment.id_to_index(data.items.ids, item, "liked") for item in liked]
        index = self.new_user if user is None else experiment.id_to_index(data.users.ids, user, "user")
        known_N = np.flatnonzero(data.user_N == index)
        known_N = known_N[np.argsort(data.time_N[known_N], kind="stable")]
        history = list(dict.fromkeys([*likes[::-1], *data.item_N[known_N[::-1]].tolist()]))  # newest first
        positions = np.arange(1, len(history) + 1, dtype=np.float32)
        shape = (1, len(data.items))
        history_UI = sparse.csr_array((positions, (np.zeros(len(history), np.int64), history)), shape=shape)
        self._profile = profile or ""
        scorer = self._scorer
        if query is not None:
            scorer = self._search.scorers({index: query})["personal"]
        return np.asarray(scorer(np.array([index]), history_UI, np.arange(len(data.items))))[0], history

    @cached_property
    def phi(self) -> Loaded:
        """The run's encoder φ = θ + Δθ."""
        return experiment.adapted(self.settings, self.prepared, self.run)

    @cached_property
    def _search(self) -> PersonalizedSearch:
        search = self._search_config or config.make_search()
        return experiment.personalized_search(search, self.prepared, self.phi, self._scorer)

    @cached_property
    def _scorer(self) -> Scorer:
        s, p = self.settings, self.prepared
        scorer = self._trained_scorer() if s.model.trains else s.model.scorer(p.loaded, p.train, self._text_of)
        return experiment.ensemble(s, p, scorer)

    def _trained_scorer(self) -> Scorer:
        import jax.numpy as jnp
        from flax import nnx

        from cold_jax.encoders import precomputed
        from cold_jax.models.base import partition_model
        from cold_jax.models.scoring import HeadScorer

        s, p = self.settings, self.prepared
        model = s.model(precomputed.NoEncoder(p.loaded.encoder.width), p.train, None, s.seed)
        parameters = {".".join(map(str, path)): parameter for path, parameter in nnx.to_flat_state(nnx.state(model, nnx.Param))}
        head_of = self.run.read_head({name: parameter.shape for name, parameter in parameters.items()})
        for name, parameter in parameters.items():
            parameter.set_value(jnp.asarray(head_of[name]))
        partition = partition_model(model, nnx.Nothing(), nnx.Nothing())
        head = HeadScorer(partition)
        if s.model.reads_states:
            return self._states_scorer(head, partition.trainable)
        vector_ID = jnp.asarray(precomputed.vectors(self.phi, self._item_tokens))
        return head.of_vectors(partition.trainable, self._vectors_of, vector_ID)

    def _states_scorer(self, head: HeadScorer, trainable: Tree) -> Scorer:
        """Of a model that reads token states: the items' stay, a user's are computed for each request."""
        import jax.numpy as jnp

        from cold_jax.encoders import precomputed

        state_ILD, length_I = precomputed.states(self.phi, self._item_tokens)

        def scorer(user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            state_ULD, length_U = precomputed.encode_states(self.phi, [self._text_of(int(user)) for user in user_U], "users")
            longest = max(state_ULD.shape[1], state_ILD.shape[1])
            padded = [np.pad(x, ((0, 0), (0, longest - x.shape[1]), (0, 0))) for x in (state_ULD, state_ILD)]
            lengths = np.concatenate([length_U, length_I]).astype(np.int32)
            rows = head.of_states(trainable, jnp.asarray(np.concatenate(padded)), lengths, len(user_U))
            return np.asarray(rows(np.arange(len(user_U)), history_UI, candidate_I))

        return scorer

    @cached_property
    def _item_tokens(self) -> Tokens:
        return self.prepared.loaded.tokenize(next(iter(self.prepared.dataset.items.texts.values())), "items")

    def _text_of(self, user: int) -> str:
        """The main text of a user of the data, or of the new one."""
        texts = next(iter(self.prepared.dataset.users.texts.values()), ())
        return self._profile if user == self.new_user else texts[user] if texts else ""

    def _vectors_of(self, user_U: np.ndarray) -> jax.Array:
        """φ's vectors of users' texts. Those of the data are kept in memory; a new user's is kept nowhere."""
        import jax.numpy as jnp

        from cold_jax.encoders import precomputed

        unknown = list(dict.fromkeys(int(user) for user in user_U if int(user) not in self._encoded))
        if unknown:
            vector_UD = precomputed.encode(self.phi, [self._text_of(user) for user in unknown], "users")
            self._encoded.update(zip(unknown, vector_UD, strict=True))
        vectors = jnp.asarray(np.stack([self._encoded[int(user)] for user in user_U]))
        self._encoded.pop(self.new_user, None)
        return vectors

"""A finished run that answers: a ranked list for a user of the data or a new one, who would like an item, and the score of any item."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from cold_jax import cli, config, experiment
from cold_jax.errors import ConfigError, DataError
from cold_jax.runs.folder import open_run
from cold_jax.serving import catalogue
from cold_jax.serving.requests import UserRequest, read_requests
from cold_jax.serving.scorers import RunScorer

if TYPE_CHECKING:
    import polars as pl

    from cold_jax.data.new_items import NewItem
    from cold_jax.encoders import Loaded
    from cold_jax.evaluation.evaluate import Scorer
    from cold_jax.experiment import Prepared
    from cold_jax.explanations.explainer import Explainer
    from cold_jax.explanations.explanation import Explanation
    from cold_jax.models.approximate import IndexSettings
    from cold_jax.models.personalized_search import PersonalizedSearch, Search
    from cold_jax.models.retrieval import Best, InnerProducts
    from cold_jax.serving.reasons import Reasons

AT_ONCE = 2**25  # scores that are in memory at once: 128 MB
USERS_AT_ONCE = 256
RECALL_AT = 20  # of an index
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The best items for one user, the best first."""

    name: str  # of the user
    item_ids: list[str]
    texts: list[str]
    scores: list[float]
    reason: str = ""  # why there are none, where there are none


class Recommender:
    """Data, encoder and items are read and encoded once. A request then costs one user's text and one row of scores.

    >>> recommender = cold_jax.load("runs/smoke")
    >>> recommender.add_items([{"item_id": "new", "text": "robots and planets"}])
    ['new']
    >>> recommender.who_likes(["new"], k=2).columns
    ['item_id', 'rank', 'user_id', 'text', 'score', 'place']
    """

    def __init__(self, folder: Path, given: Mapping[str, Any], search: Search | None = None, index: IndexSettings | None = None):
        """`given`: settings of the run's config that are to be other ones, {"data.root": "DIR"}. `index`: None for exact lists always.

        Raises:
            ConfigError: the folder holds no finished run, or its config has no such setting.
            RunError: the run was made by somebody else, and names what is not given; or its added items are damaged.
        """
        self.run = open_run(folder)
        if not self.run.finished:
            raise ConfigError(self.run.not_finished)
        self.settings = cli.load_settings(self.run, given)
        if experiment.is_language_modelling(self.settings):
            raise ConfigError(f"{folder}: a language model ranks nothing; its φ is {folder}/encoder")
        self._base = experiment.prepare(self.settings)
        self._search_config, self._index_settings = search, index
        self._attributes = self.settings.data.attributes
        self._new: list[NewItem] = []
        self._set_items(catalogue.read_added(self.run))

    @property
    def prepared(self) -> Prepared:
        """The data, with the items that were added."""
        return self._scorer.prepared

    @property
    def item_vectors(self) -> np.ndarray:
        """φ's vectors of all items' main texts, of shape (items, D); in the order of `prepared.dataset.items.ids`."""
        return self._scorer.vector_ID

    @cached_property
    def phi(self) -> Loaded:
        """The run's encoder φ = θ + Δθ."""
        return experiment.adapted(self.settings, self._base, self.run)

    def recommend(
        self,
        user: str | None = None,
        *,
        profile: str | None = None,
        liked: Sequence[str] = (),
        query: str | None = None,
        k: int = 10,
        exclude: Sequence[str] = (),
        where: Sequence[str] = (),
        explain: bool = False,
    ) -> pl.DataFrame:
        """The k best items: rank (from 1), item_id, text, score. What the user has taken or likes is left out.

        Args:
            user: an id of the data. Or, of a new user:
            profile: any text about them; with `user`, instead of the one in the data.
            liked: ids of items that they like, the newest last; beside those that the data knows of `user`.
            query: words to search by; the order is then the best for them and for this user.
            exclude: ids of items to leave out besides.
            where: filters on item attributes, such as "genre=Drama|Comedy" or "year=1994"; see data/filters.py.
            explain: with a column of reasons, the largest shares and words of each item; `explain` has all of them.

        Raises:
            ConfigError: an id, an attribute or a value is not in the data, or nothing is known of the user.

        >>> found = recommender.recommend(user="007", where=["genre=space"], k=3)
        >>> found["rank"].to_list()
        [1, 2, 3]
        """
        import polars as pl

        request = UserRequest(user, profile, tuple(liked), query, tuple(exclude))
        [answer] = self.recommend_many([request], k=k, where=where)
        columns = {
            "rank": range(1, len(answer.item_ids) + 1),
            "item_id": answer.item_ids,
            "text": answer.texts,
            "score": answer.scores,
        }
        found = pl.DataFrame(columns, schema={"rank": pl.Int64, "item_id": pl.String, "text": pl.String, "score": pl.Float64})
        if explain:
            found = found.with_columns(pl.Series("reasons", self.reasons(request, answer.item_ids), pl.String))
        return found

    def recommend_many(
        self, requests: Iterable[UserRequest], *, k: int = 10, where: Sequence[str] = (), among: Sequence[str] = ()
    ) -> Iterator[Answer]:
        """An answer for each request, in their order, as soon as its chunk of users is scored.

        `among`: ids of the only items that are ranked; none: all. `k` and `where` as in `recommend`; errors name the request's place.

        >>> requests = [UserRequest("007"), UserRequest(profile="a 24-year-old engineer", liked=("050",))]
        >>> [len(answer.item_ids) for answer in recommender.recommend_many(requests, k=5)]
        [5, 5]
        """
        from cold_jax.data.filters import matching

        if k < 1:
            raise ConfigError(f"k: {k} is not a length of a list; give 1 or more")
        items = self.prepared.dataset.items
        allowed_I = matching(items, where, self._attributes.item_bins or {})
        if among:
            allowed_I &= np.isin(np.arange(len(items)), [self._item(item, "among") for item in among])
        text = next(iter(items.texts.values()))
        remaining = iter(requests)
        while chunk := list(islice(remaining, self._users_at_once)):
            best = self._best if self._products is None or any(r.query is not None for r in chunk) else self._best_products
            item_UK, score_UK = best(chunk, allowed_I, min(k, len(items)))
            for row, request in enumerate(chunk):
                found = item_UK[row][item_UK[row] >= 0]
                reason = "" if len(found) else _why_empty(len(items), int(allowed_I.sum()), where, among)
                scores = [float(score) for score in score_UK[row][: len(found)]]
                yield Answer(request.name, [items.ids[i] for i in found], [text[i] for i in found], scores, reason)

    def _best(self, requests: Sequence[UserRequest], allowed_I: np.ndarray, count: int) -> Best:
        """The first places by the scores of all items."""
        from cold_jax.evaluation.ranking import best_items
        from cold_jax.models.retrieval import Best

        score_UI, history_UI = self._scores(requests)
        left_out_UI = (history_UI.toarray() > 0) | ~allowed_I
        left_out_UI[self._excluded(requests)] = True
        return Best(*best_items(score_UI, left_out_UI, count, self._tie_break_I))

    def _best_products(self, requests: Sequence[UserRequest], allowed_I: np.ndarray, count: int) -> Best:
        """The same of inner products, whose scores stay on the device."""
        assert self._products is not None
        index_U, history_UI = self._people(requests)
        row_N, item_N = history_UI.tocoo().coords
        row_P, item_P = self._excluded(requests)
        left_out = np.concatenate([row_N, row_P]), np.concatenate([item_N, item_P])
        return self._products.best(index_U, history_UI, allowed_I, *left_out, count)

    def _excluded(self, requests: Sequence[UserRequest]) -> tuple[np.ndarray, np.ndarray]:
        """(row, item) of what is not wanted."""
        pairs = [(row, self._item(item, "exclude", r.place)) for row, r in enumerate(requests) for item in r.exclude]
        row_P, item_P = np.array(pairs, np.int64).reshape(-1, 2).T
        return row_P, item_P

    def read_requests(self, file: str | Path) -> Iterator[UserRequest]:
        """The requests of a file of users (see requests.py), for `recommend_many`."""
        return read_requests(Path(file), frozenset(self._user_at))

    def score(
        self, items: Sequence[str], user: str | None = None, *, profile: str | None = None, liked: Sequence[str] = ()
    ) -> dict[str, float]:
        """Item id → score, for a user as in `recommend`. Scores of one user compare with each other alone.

        >>> list(recommender.score(["050", "101"], user="007"))
        ['050', '101']
        """
        places = {item: self._item(item, "items") for item in items}
        score_UI, _ = self._scores([UserRequest(user, profile, tuple(liked))])
        return {item: float(score_UI[0, i]) for item, i in places.items()}

    def who_likes(self, items: Sequence[str], *, k: int = 10) -> pl.DataFrame:
        """For each item the k users of the data who would like it most: item_id, rank (from 1), user_id, text, score, place.

        Scores of different users do not compare. So users are ranked by how far the item stands out of their own list: `score` is the
        item's, less the mean of the user's scores of all items, in standard deviations; `place` is its place in their list. Users who
        have taken the item are left out.

        Raises ConfigError where an id is not in the data, nor among the items that were added.

        >>> recommender.who_likes(["050", "101"], k=2)["item_id"].to_list()
        ['050', '050', '101', '101']
        """
        from cold_jax.serving.who_likes import who_likes

        item_N = np.array([self._item(item, "item") for item in items], np.int64)
        users = list(self.prepared.dataset.users.ids)
        size = self._users_at_once
        chunks = (users[start : start + size] for start in range(0, len(users), size))
        scored = (self._scores([UserRequest(user) for user in chunk]) for chunk in chunks)
        return who_likes(scored, item_N, k, self.prepared.dataset, self._scorer.text_of)

    def explain(
        self,
        item: str,
        user: str | None = None,
        *,
        profile: str | None = None,
        liked: Sequence[str] = (),
        method: str = "model",
        texts: int = 5,
        nearest: int = 5,
    ) -> Explanation:
        """Why an item has its score for a user, who is described as in `recommend`: shares of their history, words, similar items.

        Args:
            method: "model", the trained model's own score, where an ensemble's other members are named in the notes; or the name of one of
                the run's baselines, by the terms of its own sum.
            texts: of how many items of the history the words are looked at, those with the largest shares.
            nearest: how many training items with similar texts to name.

        Raises:
            ConfigError: an id is not in the data, nothing is known of the user, or the method has no explanation.
        """
        request = UserRequest(user, profile, tuple(liked))
        known, at = self._known(request), self._item(item, "item")
        return self._reasons(at, user, known, profile, self.history(request), method, texts, nearest)

    @property
    def explainer(self) -> Explainer:
        """Of the trained model's scores."""
        return self._reasons.explainer

    def profile_of(self, user: int) -> str:
        """The main text of a user of the data, by integer id."""
        return self._scorer.text_of(user)

    def reasons(self, request: UserRequest, items: Sequence[str]) -> list[str]:
        """A line for each item: the largest shares of the user's history, and words."""
        from cold_jax.explanations.render import in_one_line

        return [in_one_line(self.explain(item, request.user, profile=request.profile, liked=request.liked)) for item in items]

    @cached_property
    def _reasons(self) -> Reasons:
        from cold_jax.serving.reasons import Reasons

        return Reasons(self._scorer, lambda: self.phi)

    def add_items(self, items: str | Path | Sequence[Mapping[str, str]], *, keep: bool = False) -> list[str]:
        """Adds new items to the catalogue, without training; returns their ids.

        Args:
            items: a table with the columns of the data's items; or rows: the id as item_id, and columns of the data's items, or `text`,
                the main text as it is.
            keep: in the run's folder, for everyone who loads the run later.

        Raises:
            DataError: an id exists already, an item has no text, or an attribute is none of the data's; the message names file and line.
        """
        from cold_jax.data import new_items

        if isinstance(items, str | Path):
            made = new_items.read_items(Path(items), self._attributes, self._id_column)
        else:
            made = [self._new_item(row, f"item {number}") for number, row in enumerate(items, 1)]
            if twice := [item.id for n, item in enumerate(made) if item.id in {before.id for before in made[:n]}]:
                raise DataError(f"item {twice[0]!r} occurs twice; give each item once")
        known = dict.fromkeys(self._base.dataset.items.ids, "the data") | {item.id: item.place for item in self._new}
        new_items.require_new(made, known)
        self._set_items([*self._new, *made])
        if keep:
            catalogue.write_added(self.run, self._new)
        return [item.id for item in made]

    def _new_item(self, row: Mapping[str, str], place: str) -> NewItem:
        from cold_jax.data.new_items import NewItem, require_columns

        columns = {name: value for name, value in row.items() if name not in ("item_id", "text")}
        if "item_id" not in row:
            raise DataError(f"{place}: it has no item_id")
        require_columns(columns, self._attributes, place)
        return NewItem(row["item_id"], columns, row.get("text"), place)

    @property
    def _id_column(self) -> str:
        return getattr(self.settings.data, "item_id", "item_id")

    def _set_items(self, items: Sequence[NewItem]) -> None:
        """What was known of the users' vectors stays known."""
        prepared = catalogue.extended(self._base, self._attributes, items)
        encoded = self._scorer.encoded if hasattr(self, "_scorer") else {}
        self._scorer = RunScorer(self.run, self.settings, self._base, prepared, lambda: self.phi, encoded)
        self._new = list(items)
        for name in ("_search", "_item_at", "_tie_break_I", "_reasons", "_products"):
            self.__dict__.pop(name, None)

    def _people(self, requests: Sequence[UserRequest]) -> tuple[np.ndarray, sparse.csr_array]:
        """(integer ids, those of new users beyond the data's; history_UI with places from the end); a row for each request."""
        histories = [self.history(request) for request in requests]
        row_N = np.repeat(np.arange(len(requests)), [len(history) for history in histories])
        place_N = np.concatenate([np.arange(1, len(history) + 1, dtype=np.float32) for history in histories])
        item_N = np.array([item for history in histories for item in history], np.int64)
        shape = (len(requests), len(self.prepared.dataset.items))
        history_UI = sparse.csr_array((place_N, (row_N, item_N)), shape=shape)
        known = [self._known(request) for request in requests]
        new = [user is None or r.profile is not None or r.query is not None for user, r in zip(known, requests, strict=True)]
        index_U = np.array([self._scorer.new_user + row if new[row] else user for row, user in enumerate(known)], np.int64)
        text = [
            self._scorer.text_of(u) if r.profile is None and u is not None else r.profile
            for u, r in zip(known, requests, strict=True)
        ]
        self._scorer.profiles = {int(index): profile or "" for index, profile in zip(index_U, text, strict=True)}
        return index_U, history_UI

    def _scores(self, requests: Sequence[UserRequest]) -> tuple[np.ndarray, sparse.csr_array]:
        """(scores of all items, history_UI with places from the end); a row for each request."""
        index_U, history_UI = self._people(requests)
        items = len(self.prepared.dataset.items)
        score_UI = np.empty((len(requests), items), np.float32)
        for searches in (False, True):
            rows = [row for row, request in enumerate(requests) if (request.query is not None) == searches]
            if rows:
                query_of = {int(index_U[row]): requests[row].query or "" for row in rows}
                scorer = self._search.scorers(query_of)["personal"] if searches else self._scorer.scorer
                score_UI[rows] = _padded(scorer, index_U[rows], history_UI[rows], np.arange(items))
        return score_UI, history_UI

    def _known(self, request: UserRequest) -> int | None:
        """The integer id of a user of the data."""
        if request.user is None and request.profile is None and not request.liked and request.query is None:
            raise ConfigError("user: give user=ID of the data, or profile=TEXT, liked=[ID,…] or query=WORDS of a new user")
        return None if request.user is None else experiment.id_to_index(self._user_at, request.user, "user", request.place)

    def history(self, request: UserRequest) -> list[int]:
        """What is known of a user, the newest first: what they like, then what the data has."""
        likes = [self._item(item, "liked", request.place) for item in request.liked]
        known: list[int] = []
        if request.user is not None:
            user = experiment.id_to_index(self._user_at, request.user, "user", request.place)
            item_N, offset_U = self._taken
            known = item_N[offset_U[user] : offset_U[user + 1]].tolist()
        return list(dict.fromkeys([*likes[::-1], *known[::-1]]))

    @property
    def _users_at_once(self) -> int:
        most = max(1, min(USERS_AT_ONCE, AT_ONCE // len(self.prepared.dataset.items)))
        return 1 << (most.bit_length() - 1)  # shapes are powers of two

    @cached_property
    def _products(self) -> InnerProducts | None:
        products, items = self._scorer.products(self._tie_break_I), len(self.prepared.dataset.items)
        above = None if self._index_settings is None else self._index_settings.above
        if above is None or items <= above:
            return products
        if products is None:
            log.info("index: this run's score is no inner product, so that all of its %s items are scored", f"{items:,}")
            return None
        self._add_index(products)
        return products

    def _add_index(self, products: InnerProducts) -> None:
        """Builds the index, or takes it from the cache, and logs its recall against exact search."""
        from cold_jax.models.approximate import ApproximateIndex
        from cold_jax.progress import stage

        assert self._index_settings is not None
        users = self._base.dataset.users.ids
        step = max(1, len(users) // self._index_settings.users)
        with stage("building the index of items"):
            products.index = ApproximateIndex(np.asarray(products.target_IV), np.asarray(products.bias_I), self._index_settings)
        index_U, history_UI = self._people([UserRequest(user) for user in users[::step][: self._index_settings.users]])
        k = min(RECALL_AT, len(self.prepared.dataset.items))
        recall, items = products.recall(index_U, history_UI, k), len(self.prepared.dataset.items)
        message = "index: %s items are searched approximately; recall@%d against exact search over %d users: %.4f"
        log.info(message, f"{items:,}", k, len(index_U), recall)

    def has_item(self, item: str) -> bool:
        """Whether it is an id of the data, or of an item that was added."""
        return item in self._item_at

    def _item(self, item: str, key: str, place: str = "") -> int:
        return experiment.id_to_index(self._item_at, item, key, place)

    @cached_property
    def _item_at(self) -> dict[str, int]:
        return {item: n for n, item in enumerate(self.prepared.dataset.items.ids)}

    @cached_property
    def _user_at(self) -> dict[str, int]:
        return {user: n for n, user in enumerate(self._base.dataset.users.ids)}

    @cached_property
    def _taken(self) -> tuple[np.ndarray, np.ndarray]:
        """(items, where those of each user begin), each user's in the order of time."""
        d = self._base.dataset
        order_N = np.lexsort((np.arange(len(d)), d.time_N, d.user_N))
        return d.item_N[order_N], np.searchsorted(d.user_N[order_N], np.arange(len(d.users) + 1))

    @cached_property
    def _tie_break_I(self) -> np.ndarray:
        from cold_jax.splits.ties import tie_break

        return tie_break(self.prepared.dataset.items.ids)

    @cached_property
    def _search(self) -> PersonalizedSearch:
        search = self._search_config or config.make_search()
        return search(self.prepared.train, self.phi, self._scorer.scorer, self.prepared.split.validation)


def _padded(scorer: Scorer, user_U: np.ndarray, history_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
    """Scores of a number of users that is a power of two, so that few shapes are compiled; those of the padding are cut off."""
    row_U = np.pad(np.arange(len(user_U)), (0, (1 << (len(user_U) - 1).bit_length()) - len(user_U)), "edge")
    return np.asarray(scorer(user_U[row_U], history_UI[row_U], candidate_I))[: len(user_U)]


def _why_empty(items: int, allowed: int, where: Sequence[str], among: Sequence[str]) -> str:
    kept = " and ".join([f"where={one}" for one in where] + ["the new items"] * bool(among)) or "the catalogue"
    if not allowed:
        return f"no item: {kept} leaves none of the {items:,} items"
    return f"no item: of the {allowed:,} that {kept} leaves, the user has taken or likes each, or it is excluded"

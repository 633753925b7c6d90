"""What a trained model has to beat: popularity, neighbours and closed forms, fitted to the same `Train`.

R is the binary matrix of training interactions, c_j the number of item j's, F the entities' features, w marks the warm ones.
Settings are chosen on the validation parts, or on folds of pseudo-cold items. Most baselines are linear in what a user shows:
score_ui = Σ_{j shown by u} W_ji. A user who shows nothing then gets popularity's order, and an item without interactions scores 0
unless its text is read; so every score is finite.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from scipy import sparse

from cold_jax import metrics, seeds
from cold_jax.baselines import closed_forms
from cold_jax.evaluation import Scorer, choose
from cold_jax.parts import Part, Train, folds, ones

Setting = TypeVar("Setting")
Parts = Mapping[str, Part]


def of_shown(train: Train, score: Callable[[sparse.csr_array, np.ndarray], np.ndarray]) -> Scorer:
    """A scorer that reads what users show; popularity's order for those who show nothing."""
    count_I = closed_forms.popularity(train)

    def scorer(user_U: np.ndarray, shown_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
        shows_U = np.diff(shown_UI.indptr) > 0
        return np.where(shows_U[:, None], score(ones(shown_UI), candidate_I), count_I[candidate_I])

    return scorer


def _weighted(train: Train, weight_II: np.ndarray, prior_I: np.ndarray) -> Scorer:
    """score_ui = Σ_{j shown by u} W_ji + prior_i."""
    return of_shown(train, lambda shown_UI, candidate_I: shown_UI @ weight_II[:, candidate_I] + prior_I[candidate_I])


def chosen(
    fit: Callable[[Train], Callable[[Setting], Scorer]],
    settings: Sequence[Setting],
    train: Train,
    tasks: Iterable[tuple[Train, Parts]],
    metric: str,
) -> Scorer:
    """The scorer of the setting that is best over the tasks; `fit(train)` holds what its settings have in common."""
    fitted = fit(train)
    if len(settings) == 1:
        return fitted(settings[0])
    scores = []
    for known, parts in tasks:
        at = fitted if known is train else fit(known)
        scores.append(choose(settings, lambda setting, _, at=at: at(setting), [(known, parts)], metric)[1])
    return fitted(settings[int(np.argmax(np.mean(scores, 0)))])


def check(baseline: object, metric: str, **grids: Sequence[float | None]) -> None:
    """Lists become tuples; ValueError with the key where one is empty or holds a number below 0, or the metric is unknown."""
    for key, values in grids.items():
        if not values or min(value for value in (*values, 0) if value is not None) < 0:
            raise ValueError(f"baseline.{key}: {list(values)} must hold one value or more, and none below 0")
        object.__setattr__(baseline, key, tuple(values))
    try:
        metrics.parse(metric)
    except ValueError as error:
        raise ValueError(f"baseline.metric: {error}") from None


@dataclass(frozen=True)
class Random:
    """A draw for each pair, a pure function of (seed, user, item)."""

    seed: int

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        def scorer(user_U: np.ndarray, shown_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            draws = [seeds.generator(self.seed, "random baseline", int(user)).random(len(train.items)) for user in user_U]
            return np.stack(draws)[:, candidate_I]

        return scorer


@dataclass(frozen=True)
class Popularity:
    """score_ui = c_i for everybody. Equal counts are drawn by lot, as a catalogue's order is often one of age or fame."""

    seed: int

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        lot_I = seeds.generator(self.seed, "equal counts").random(len(train.items))
        count_I = closed_forms.popularity(train) + lot_I / 2
        return lambda user_U, shown_UI, candidate_I: np.tile(count_I[candidate_I], (len(user_U), 1))


@dataclass(frozen=True)
class ContentMean:
    """score_ui = e_i · Σ_{j shown by u} e_j, the order by cosine with the mean of what a user shows; nothing is trained."""

    text: str

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        vector_ID = closed_forms.vectors(train, "items", self.text)
        return of_shown(train, lambda shown_UI, candidate_I: shown_UI @ vector_ID @ vector_ID[candidate_I].T)


@dataclass(frozen=True)
class ContentKnn:
    """score_ui = Σ_{j in N(i), shown by u} cos(e_i, e_j) / Σ_{j in N(i)} cos(e_i, e_j), N(i) the warm items nearest in text."""

    text: str
    neighbours: int

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        vector_ID = closed_forms.vectors(train, "items", self.text)

        def score(shown_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            return shown_UI @ closed_forms.nearest(vector_ID, candidate_I, train.warm_I, self.neighbours).T

        return of_shown(train, score)


@dataclass(frozen=True)
class ProfileKnn:
    """score_ui = Σ_{v in N(u)} cos(e_u, e_v) R_vi / Σ_{v in N(u)} cos(e_u, e_v), N(u) the warm users nearest in profile text."""

    text: str
    neighbours: int

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        vector_UD = closed_forms.vectors(train, "users", self.text)

        def scorer(user_U: np.ndarray, shown_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            return closed_forms.nearest(vector_UD, user_U, train.warm_U, self.neighbours) @ train.interaction_UI[:, candidate_I]

        return scorer


@dataclass(frozen=True)
class RidgeText:
    """S = R F_w (F_wᵀF_w + λI)⁻¹ Fᵀ, a ridge for each user on the features of items (reference recipe)."""

    texts: list[str]
    indicators: float
    constant: float
    penalties: list[float]
    metric: str

    def __post_init__(self) -> None:
        check(self, self.metric, penalties=self.penalties)

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        feature_IF = closed_forms.features(train, "items", self.texts, self.indicators, self.constant)

        def fit(train: Train) -> Callable[[float], Scorer]:
            warm = train.warm_I.astype(np.float64)
            sources = closed_forms.ridge(feature_IF * warm[:, None], sparse.diags_array(warm), self.penalties)

            def of_penalty(penalty: float) -> Scorer:
                source_IF = sources[penalty].T
                return of_shown(train, lambda shown_UI, candidate_I: shown_UI @ source_IF @ feature_IF[candidate_I].T)

            return of_penalty

        return chosen(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class RidgeSvd:
    """S = P (F B)ᵀ, P and Q of `svd_factors`, B the ridge of Q_w on F_w: from text to collaborative factors (reference recipe).

    Warm items keep their Q. Where `folds` is a number, rank and λ are chosen on so many folds of pseudo-cold items, drawn by
    `seed`; where it is None, on the validation parts.
    """

    texts: list[str]
    indicators: float
    constant: float
    ranks: list[int]
    penalties: list[float]
    metric: str
    folds: int | None
    seed: int

    def __post_init__(self) -> None:
        check(self, self.metric, ranks=self.ranks, penalties=self.penalties)

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        feature_IF = closed_forms.features(train, "items", self.texts, self.indicators, self.constant)

        def fit(train: Train) -> Callable[[tuple[int, float]], Scorer]:
            # columns of P are orthogonal, so the solutions of a smaller rank are the first columns of a larger one's
            source_IV, target_IV = closed_forms.svd_factors(train.interaction_UI, max(self.ranks))
            maps = closed_forms.ridge(feature_IF[train.warm_I], target_IV[train.warm_I], self.penalties)

            def of_setting(setting: tuple[int, float]) -> Scorer:
                rank, penalty = setting
                item_IV = np.where(train.warm_I[:, None], target_IV, feature_IF @ maps[penalty])[:, :rank]
                return of_shown(train, lambda shown_UI, candidate_I: shown_UI @ source_IV[:, :rank] @ item_IV[candidate_I].T)

            return of_setting

        tasks = [(train, validation)] if self.folds is None else folds(train, "items", self.folds, self.seed, ())
        return chosen(fit, list(product(self.ranks, self.penalties)), train, tasks, self.metric)


@dataclass(frozen=True)
class RidgeProfile:
    """S = F (F_wᵀF_w + λI)⁻¹ F_wᵀ R, F of users: from profile to items, whatever a user shows (reference recipe)."""

    texts: list[str]
    indicators: float
    constant: float
    penalties: list[float]
    metric: str

    def __post_init__(self) -> None:
        check(self, self.metric, penalties=self.penalties)

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        feature_UF = closed_forms.features(train, "users", self.texts, self.indicators, self.constant)

        def fit(train: Train) -> Callable[[float], Scorer]:
            maps = closed_forms.ridge(feature_UF[train.warm_U], train.interaction_UI[train.warm_U], self.penalties)
            return lambda penalty: lambda user_U, shown_UI, candidate_I: feature_UF[user_U] @ maps[penalty][:, candidate_I]

        return chosen(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class Ease:
    """score_ui = Σ_{j shown by u} W_ji + a · c_i / max c, W of `ease`, a = `popularity` (reference recipe: 0 and 0.3)."""

    popularity: float
    penalties: list[float]
    metric: str

    def __post_init__(self) -> None:
        check(self, self.metric, penalties=self.penalties)

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        count_I = closed_forms.popularity(train)
        prior_I = self.popularity * count_I / count_I.max()

        def fit(train: Train) -> Callable[[float], Scorer]:
            gram_II = closed_forms.gram(train)
            return lambda penalty: _weighted(train, closed_forms.ease(gram_II, penalty), prior_I)

        return chosen(fit, self.penalties, train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class ItemKnn:
    """score_ui = Σ_{j shown by u} W_ji, W of `item_knn`; None among `neighbours` keeps all."""

    shrinks: list[float]
    neighbours: list[int | None]
    metric: str

    def __post_init__(self) -> None:
        check(self, self.metric, shrinks=self.shrinks, neighbours=self.neighbours)

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        def fit(train: Train) -> Callable[[tuple[float, int | None]], Scorer]:
            gram_II = closed_forms.gram(train)
            return lambda setting: _weighted(train, closed_forms.item_knn(gram_II, *setting), np.zeros(len(train.items)))

        return chosen(fit, list(product(self.shrinks, self.neighbours)), train, [(train, validation)], self.metric)


@dataclass(frozen=True)
class FoldIn:
    """S of `fold_in_start`. Its values were chosen on the cold validation users of one split of MovieLens-100k."""

    rank: int
    supports: list[int]
    factors: int
    power: float
    profile_penalty: float
    item_penalty: float
    factor_penalty: float
    temperature: float
    floor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "supports", tuple(self.supports))
        if max(self.supports, default=0) < 1:
            raise ValueError(f"baseline.supports: {list(self.supports)} must hold a k of 1 or more")

    def __call__(self, train: Train, validation: Parts) -> Scorer:
        penalties = self.profile_penalty, self.item_penalty, self.factor_penalty
        at = closed_forms.fold_in_start(
            train, self.rank, tuple(self.supports), self.factors, self.power, penalties, self.temperature, self.floor
        )
        profile_UD = closed_forms.profiles(train)

        def scorer(user_U: np.ndarray, shown_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            user_UV = profile_UD[user_U] @ at.profile_DV + closed_forms.unit_rows(ones(shown_UI)) @ at.source_IV
            return user_UV @ at.target_IV[candidate_I].T + at.bias_I[candidate_I]

        return scorer

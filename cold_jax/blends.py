"""What a trained model's scores are joined with when it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from cold_jax.baselines import ratings, sequences
from cold_jax.evaluation import OfRows, Scorer, of_rows, validate
from cold_jax.parts import Part, Task, Train

TEXTS = ["titles", "vectors"]  # the members that know new items


@dataclass(frozen=True)
class Alone:
    """The model's own scores."""

    def __call__(self, model: Scorer, train: Train, validation: Mapping[str, Part]) -> Scorer:
        return model


@dataclass(frozen=True)
class History(sequences.History):
    """The model beside the closed forms for sequences, weights chosen on validation, the model's being 1.

    bonus, tolerance: see `lifted`, whose text is that of titles and vectors.
    """

    bonus: list[float]
    tolerance: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bonus", tuple(self.bonus))
        if not self.bonus:
            raise ValueError("blend.bonus: give one size or more; [0.0] lifts nothing")

    def __call__(self, model: Scorer, train: Train, validation: Mapping[str, Part]) -> Scorer:  # type: ignore[override]
        if self.bonus == (0,):
            return self.fit(train, validation, self.kernels(train, self.members), {"model": model})
        kernels = self.kernels(train, dict.fromkeys([*self.members, *TEXTS]))
        joined = self.fit(train, validation, kernels, {"model": model})
        text = replace(self, members=TEXTS).fit(train, validation, kernels, {})
        some = sequences.some(validation, self.users, self.seed)
        return lifted(joined, text, ~train.warm_I, validation["all"], some, self.bonus, self.metric, self.tolerance)


@dataclass(frozen=True)
class Ratings(ratings.RatingProcess):
    """The model beside a rating process, of given rows: a logistic regression on both, its three numbers from the validation rows."""

    def __call__(self, model: Scorer, train: Train, validation: Mapping[str, Part]) -> Scorer:  # type: ignore[override]
        scorers = model, super().__call__(train, validation)
        if not validation or next(iter(validation.values())).task is not Task.rows:
            raise ValueError("blend: a rating process is joined for given rows, by those of validation; use split=item_liked")
        part = next(iter(validation.values()))

        def told(part: Part) -> np.ndarray:
            return np.stack([of_rows(scorer, part) for scorer in scorers], 1)

        told_NF = told(part)
        scale_F = np.maximum(told_NF.std(0), 1e-12)
        weight_F, bias = ratings.logistic(told_NF / scale_F, part.value_N, ridge=1.0)
        return OfRows(lambda part: told(part) / scale_F @ weight_F + bias)


def lifted(
    scorer: Scorer, text: Scorer, new_I: np.ndarray, part: Part, some: Part, bonus: Sequence[float], metric: str, tolerance: float
) -> Scorer:
    """s_ui + w (1 + t_ui) for new items, s and the similarity of texts t at unit standard deviation.

    A model that never saw an item taken ranks it by what it knows of items that were: too low. w is what ranks the new items best that
    the part asks for, of those that lose no more than a share `tolerance` of the metric over `some` of its users.
    """
    asked = some.user_U[:512], some.shown_UI[:512], some.candidate_I
    own, of_text = (float(np.asarray(one(*asked)).std()) for one in (scorer, text))

    def at(weight: float) -> Scorer:
        def lift(user_U: np.ndarray, shown_UI: sparse.csr_array, candidate_I: np.ndarray) -> np.ndarray:
            score_UI, text_UI = (np.asarray(one(user_U, shown_UI, candidate_I)) for one in (scorer, text))
            return score_UI / own + weight * new_I[candidate_I] * (1 + text_UI / of_text)

        return lift

    new_U = new_I[part.positive_UI.indices]  # each user has one positive
    if not new_U.any():
        return scorer
    whole, apart = ([validate(at(w), {"all": asked}, metric)[0] for w in bonus] for asked in (some, part.of(new_U)))
    allowed = [n for n, reached in enumerate(whole) if reached >= (1 - tolerance) * max(whole)]
    return at(bonus[max(allowed, key=lambda n: apart[n])])

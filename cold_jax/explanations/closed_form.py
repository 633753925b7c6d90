"""Explanations of closed forms: the terms of their own sums."""

from typing import NamedTuple

import numpy as np

from cold_jax.baselines.base import Additive, Person
from cold_jax.data.dataset import Entities
from cold_jax.errors import ConfigError
from cold_jax.evaluation.evaluate import Scorer
from cold_jax.explanations.explainer import Subject
from cold_jax.explanations.explanation import Attribute, Explanation, Share, SimilarUser
from cold_jax.explanations.nearest import nearest_items


class Known(NamedTuple):
    """What a fitted method knows of the data."""

    users: Entities
    items: Entities
    unit_ID: np.ndarray  # θ's unit vectors of the items' main texts
    warm_I: np.ndarray


def explain_closed_form(
    method: str, scorer: Scorer, subject: Subject, person: Person, known: Known, *, nearest: int
) -> Explanation:
    """The score of one item by its terms; nothing is approximated.

    Raises ConfigError where the method's score is no sum over history or profile.
    """
    if not isinstance(scorer, Additive):
        raise ConfigError(
            f"explain: method={method} is no sum over a user's history or profile, and has no explanation; methods that are: ease, "
            "item_knn, fold_in, content_knn, tfidf, ridge_profile, profile_knn, popularity, and method=model"
        )
    terms = scorer.terms(person, subject.history, subject.item)
    items, text_I = known.items, next(iter(known.items.texts.values()))
    order = np.argsort(-np.abs(terms.share_H), kind="stable").tolist()
    history = [(subject.history[n], float(terms.share_H[n])) for n in order]
    profiles = next(iter(known.users.texts.values()), ("",) * len(known.users))
    people = sorted(terms.users, key=lambda pair: -abs(pair[1]))
    total = float(terms.share_H.sum())
    notes = [] if subject.history else ["without a history only the item and the profile count"]
    return Explanation(
        user=subject.name,
        item_id=items.ids[subject.item],
        text=text_I[subject.item],
        score=terms.item + terms.profile + total,
        item=terms.item,
        user_bias=0.0,
        profile=terms.profile,
        history=total,
        shares=[Share(items.ids[i], text_I[i], share) for i, share in history],
        words=[],
        completeness=None,
        nearest=nearest_items(items, known.unit_ID, known.warm_I, subject.item, subject.history, nearest),
        notes=notes,
        method=method,
        attributes=[Attribute(name, share) for name, share in terms.attributes],
        people=[SimilarUser(known.users.ids[u], profiles[u], share) for u, share in people],
    )

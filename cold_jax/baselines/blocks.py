"""A kernel over items as a formula: {block: weight}, where a block is one of those below, or a product of such (`overlap3(genres) * ordinal_rbf(year)`).

    text(T)    eᵀe' of θ's unit vectors of the text T            centred(T)  the same, less their mean, at unit length
    rbf(T)    exp(−|e − e'|² / ½)                               white(T)    the same after whitening
    words(T)   cosine of TF-IDF of words and pairs of words      same_prefix(T)   1 where the first two words are one
    overlap3(S)  a third of the number of shared members of S      idf_cosine(S)    cosine of the members, each over log(1 + its items)
    overlap(S)    the number of shared members                      ordinal_rbf(S)    exp(−(n − n')² / 2) of the intervals' places
    identity   1 for an item and itself                          constant    1

T is a text of data.item_texts, S a column of data.item_sets or data.item_bins.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np

from cold_jax.baselines.features import normalize_rows, text_vectors
from cold_jax.splits.tasks import TrainView
from cold_jax.text import similarity

FLOOR = 0.0005  # of whitening


def check_formula(formula: Mapping[str, float], key: str) -> None:
    """Raises ValueError where a block is unknown, or a weight is below 0."""
    if not formula:
        raise ValueError(f"{key}: there is no block; as in {{text(line): 1.0}}")
    for product, weight in formula.items():
        if weight < 0:
            raise ValueError(f"{key}.{product}: {weight} is below 0, and the sum no kernel then")
        for block in product.split("*"):
            _parse(block.strip(), key)


def _parse(block: str, key: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"(\w+)(?:\((\w+)\))?", block)
    name, of = found.groups() if found else (block, None)
    if name not in (*OF_TEXTS, *OF_SETS, "identity", "constant") or (of is None) != (name in ("identity", "constant")):
        known = [*(f"{name}(TEXT)" for name in OF_TEXTS), *(f"{name}(SET)" for name in OF_SETS), "identity", "constant"]
        raise ValueError(f"{key}: {block!r} is no block; there are {', '.join(known)}")
    return name, of


def item_kernel(train: TrainView, formula: Mapping[str, float], key: str) -> np.ndarray:
    """K of all items, of shape (I, I), in double precision. Raises ValueError where items lack a text or an attribute."""
    count = len(train.items)
    made: dict[str, np.ndarray] = {}

    def of(block: str) -> np.ndarray:
        if block not in made:
            name, what = _parse(block, key)
            if what is None:
                made[block] = np.eye(count) if name == "identity" else np.ones((count, count))
            elif name in OF_TEXTS:
                made[block] = OF_TEXTS[name](train, what, key)
            elif what in train.items.indicators:
                made[block] = OF_SETS[name](train.items.indicators[what].astype(np.float64))
            else:
                raise ValueError(
                    f"{key}: items have no attribute {what!r}; they have {', '.join(train.items.indicators) or 'none'}"
                )
        return made[block]

    kernel_II = np.zeros((count, count))
    for product, weight in formula.items():
        first, *others = (of(block.strip()) for block in product.split("*"))
        for other_II in others:
            first = first * other_II
        kernel_II += weight * first
    return kernel_II


def _vectors(train: TrainView, text: str) -> np.ndarray:
    return text_vectors(train, "items", text).astype(np.float64)


def _text(train: TrainView, text: str, key: str) -> np.ndarray:
    vector_ID = _vectors(train, text)
    return vector_ID @ vector_ID.T


def _centred(train: TrainView, text: str, key: str) -> np.ndarray:
    vector_ID = _vectors(train, text)
    centred_ID = normalize_rows(vector_ID - vector_ID.mean(0))
    return centred_ID @ centred_ID.T


def whitened_cosine(train: TrainView, text: str, key: str) -> np.ndarray:
    """Cosines of θ's whitened vectors: without whitening a few directions that all texts share drown the rest."""
    white_ID = similarity.whitened(_vectors(train, text), FLOOR)
    return white_ID @ white_ID.T


def _words(train: TrainView, text: str, key: str) -> np.ndarray:
    word_IF = similarity.of_words(train.items.text(text, key))
    return (word_IF @ word_IF.T).toarray().astype(np.float64)


def _begins(train: TrainView, text: str, key: str) -> np.ndarray:
    starts = [similarity.words(written)[:2] for written in train.items.text(text, key)]
    start_I = np.unique([" ".join(start) if start else f"{n}" for n, start in enumerate(starts)], return_inverse=True)[1]
    return np.equal.outer(start_I, start_I).astype(np.float64)


def _order(interval_IF: np.ndarray) -> np.ndarray:
    position_F = np.arange(interval_IF.shape[1])
    return interval_IF @ np.exp(-((position_F[:, None] - position_F) ** 2) / 2) @ interval_IF.T


def _alike(member_IF: np.ndarray) -> np.ndarray:
    """Members of a single item tell nothing of another."""
    count_F = member_IF.sum(0)
    unit_IF = normalize_rows(member_IF[:, count_F > 1] / np.log1p(count_F[count_F > 1]))
    return unit_IF @ unit_IF.T


OF_TEXTS: dict[str, Callable[[TrainView, str, str], np.ndarray]] = {
    "text": _text,
    "rbf": lambda train, text, key: np.exp(-4 * (1 - _text(train, text, key))),  # unit vectors: |e − e'|² = 2 − 2 eᵀe'
    "centred": _centred,
    "white": whitened_cosine,
    "words": _words,
    "same_prefix": _begins,
}


OF_SETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "overlap3": lambda member_IF: member_IF @ member_IF.T / 3,
    "overlap": lambda member_IF: member_IF @ member_IF.T,
    "ordinal_rbf": _order,
    "idf_cosine": _alike,
}

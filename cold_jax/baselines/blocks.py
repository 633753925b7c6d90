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

from cold_jax.baselines.features import text_vectors
from cold_jax.baselines.gram import row_blocks
from cold_jax.data.matrices import normalize_rows
from cold_jax.errors import ConfigError
from cold_jax.splits.tasks import TrainView
from cold_jax.text import similarity

FLOOR = 0.0005  # of whitening


def check_formula(formula: Mapping[str, float], key: str) -> None:
    """Raises ConfigError where a block is unknown, or a weight is below 0."""
    if not formula:
        raise ConfigError(f"{key}: there is no block; as in {{text(line): 1.0}}")
    for product, weight in formula.items():
        if weight < 0:
            raise ConfigError(f"{key}.{product}: {weight} is below 0, and the sum no kernel then")
        for block in product.split("*"):
            _parse(block.strip(), key)


def _parse(block: str, key: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"(\w+)(?:\((\w+)\))?", block)
    name, of = found.groups() if found else (block, None)
    if name not in (*OF_TEXTS, *OF_SETS, "identity", "constant") or (of is None) != (name in ("identity", "constant")):
        known = [*(f"{name}(TEXT)" for name in OF_TEXTS), *(f"{name}(SET)" for name in OF_SETS), "identity", "constant"]
        raise ConfigError(f"{key}: {block!r} is no block; there are {', '.join(known)}")
    return name, of


Rows = Callable[[slice], np.ndarray]  # consecutive items → their rows of a kernel, of shape (rows, I)


def item_kernel(train: TrainView, formula: Mapping[str, float], key: str) -> np.ndarray:
    """K of all items, of shape (I, I), in double precision. Besides it, memory holds a few blocks of rows.

    Raises ConfigError where items lack a text or an attribute.
    """
    count = len(train.items)
    names = {block.strip() for product in formula for block in product.split("*")}
    rows_of = {block: block_rows(train, block, key) for block in sorted(names)}
    kernel_II = np.zeros((count, count))
    for own in row_blocks(count, count):
        made = {block: rows(own) for block, rows in rows_of.items()}
        for product, weight in formula.items():
            first, *others = (made[block.strip()] for block in product.split("*"))
            for other_BI in others:
                first = first * other_BI
            kernel_II[own] += weight * first
    return kernel_II


def block_rows(train: TrainView, block: str, key: str) -> Rows:
    """A block's kernel, row by row."""
    count = len(train.items)
    name, of = _parse(block, key)
    if name == "identity":
        return lambda own: np.eye(own.stop - own.start, count, own.start)
    if of is None:
        return lambda own: np.ones((own.stop - own.start, count))
    if name in OF_TEXTS:
        return OF_TEXTS[name](train, of, key)
    if of not in train.items.indicators:
        raise ConfigError(f"{key}: items have no attribute {of!r}; they have {', '.join(train.items.indicators) or 'none'}")
    return OF_SETS[name](train.items.indicators[of].astype(np.float64))


def _products(x_ID: np.ndarray) -> Rows:
    """Rows of x xᵀ. BLAS takes all rows at once, where they are one block, for what `gram.gram` is careful about."""
    return lambda own: x_ID[own] @ x_ID.T


def _vectors(train: TrainView, text: str) -> np.ndarray:
    return text_vectors(train, "items", text).astype(np.float64)


def _rbf(train: TrainView, text: str, key: str) -> Rows:
    products = _products(_vectors(train, text))
    return lambda own: np.exp(-4 * (1 - products(own)))  # unit vectors: |e − e'|² = 2 − 2 eᵀe'


def _centred(train: TrainView, text: str, key: str) -> Rows:
    vector_ID = _vectors(train, text)
    return _products(normalize_rows(vector_ID - vector_ID.mean(0)))


def _words(train: TrainView, text: str, key: str) -> Rows:
    word_IF = similarity.of_words(train.items.text(text, key))
    return lambda own: (word_IF[own] @ word_IF.T).toarray().astype(np.float64)


def _same_prefix(train: TrainView, text: str, key: str) -> Rows:
    starts = [similarity.words(written)[:2] for written in train.items.text(text, key)]
    start_I = np.unique([" ".join(start) if start else f"{n}" for n, start in enumerate(starts)], return_inverse=True)[1]
    return lambda own: np.equal.outer(start_I[own], start_I).astype(np.float64)


def _ordinal_rbf(interval_IF: np.ndarray) -> Rows:
    position_F = np.arange(interval_IF.shape[1])
    near_FF = np.exp(-((position_F[:, None] - position_F) ** 2) / 2)
    return lambda own: interval_IF[own] @ near_FF @ interval_IF.T


def _overlap3(member_IF: np.ndarray) -> Rows:
    products = _products(member_IF)
    return lambda own: products(own) / 3


def _idf_cosine(member_IF: np.ndarray) -> Rows:
    """Members of a single item say nothing of another."""
    count_F = member_IF.sum(0)
    return _products(normalize_rows(member_IF[:, count_F > 1] / np.log1p(count_F[count_F > 1])))


OF_TEXTS: dict[str, Callable[[TrainView, str, str], Rows]] = {
    "text": lambda train, text, key: _products(_vectors(train, text)),
    "rbf": _rbf,
    "centred": _centred,
    "white": lambda train, text, key: _products(similarity.whitened(_vectors(train, text), FLOOR)),
    "words": _words,
    "same_prefix": _same_prefix,
}


OF_SETS: dict[str, Callable[[np.ndarray], Rows]] = {
    "overlap3": _overlap3,
    "overlap": _products,
    "ordinal_rbf": _ordinal_rbf,
    "idf_cosine": _idf_cosine,
}

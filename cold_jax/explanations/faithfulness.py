"""Whether attributions can be trusted: does the score change as they say, and do they depend on what was learned?

Deletion and insertion curves: Petsiuk et al. 2018, arXiv 1806.07421. Cascading randomisation: Adebayo et al. 2018, arXiv 1810.03292.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from cold_jax.encoders import TextEncoder

Score = Callable[[np.ndarray], float]  # keep_W, bool: which words are there → the score
Tree = TypeVar("Tree")


def deletion_curve(score: Score, order_W: np.ndarray) -> np.ndarray:
    """Scores while words are masked one after the other in this order, from the whole text to none, shape (W + 1,)."""
    return _curve(score, order_W, np.ones(len(order_W), bool), False)


def insertion_curve(score: Score, order_W: np.ndarray) -> np.ndarray:
    """Scores while words appear one after the other in this order, from none to the whole text."""
    return _curve(score, order_W, np.zeros(len(order_W), bool), True)


def _curve(score: Score, order_W: np.ndarray, keep_W: np.ndarray, then: bool) -> np.ndarray:
    values = [score(keep_W)]
    for word in order_W:
        keep_W[word] = then
        values.append(score(keep_W))
    return np.array(values)


def area(curve: np.ndarray) -> float:
    """Under the curve, over shares of the words from 0 to 1."""
    return float(np.trapezoid(curve, dx=1 / max(len(curve) - 1, 1)))


def shuffled(tree: Tree, draw: np.random.Generator) -> Tree:
    """Each array's values in another order: the same distribution, nothing learned."""
    return jax.tree.map(lambda x: draw.permutation(np.asarray(x).ravel()).reshape(np.shape(x)), tree)


def cascade(encoder: TextEncoder, draw: np.random.Generator) -> Iterator[tuple[str, TextEncoder]]:
    """(what is randomised so far, the encoder): its layers from the last to the first, then the embeddings too."""
    entries, structure = jax.tree_util.tree_flatten_with_path(encoder)
    is_layer = ["layers" in jax.tree_util.keystr(path) for path, _ in entries]
    values = [np.array(value) for _, value in entries]
    layers = next(len(value) for value, of_layers in zip(values, is_layer, strict=True) if of_layers)

    def made() -> TextEncoder:
        return jax.tree.unflatten(structure, [jnp.asarray(value) for value in values])

    for layer in reversed(range(layers)):
        for value, of_layers in zip(values, is_layer, strict=True):
            if of_layers:
                value[layer] = shuffled(value[layer], draw)
        yield f"layer {layer + 1}", made()
    values = [value if of_layers else shuffled(value, draw) for value, of_layers in zip(values, is_layer, strict=True)]
    yield "embeddings", made()

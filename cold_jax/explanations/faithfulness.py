"""Whether attributions can be trusted: does the score change as they say, and do they depend on what was learned?

Deletion and insertion curves: Petsiuk et al. 2018, arXiv 1806.07421. Cascading randomisation: Adebayo et al. 2018, arXiv 1810.03292.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from flax import nnx

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
    graph, state = nnx.split(encoder)
    paths = nnx.to_flat_state(state)
    is_layer = {path: "layers" in path for path, _ in paths}
    layers = next(variable.shape[0] for path, variable in paths if is_layer[path])
    values = {path: np.array(variable[...]) for path, variable in paths}
    for layer in reversed(range(layers)):
        for path in values:
            if is_layer[path]:
                values[path][layer] = shuffled(values[path][layer], draw)
        yield f"layer {layer + 1}", _with(graph, paths, values)
    for path in values:
        if not is_layer[path]:
            values[path] = shuffled(values[path], draw)
    yield "embeddings", _with(graph, paths, values)


def _with(graph: nnx.GraphDef, paths: list, values: dict) -> TextEncoder:
    flat = [(path, variable.replace(jax.numpy.asarray(values[path]))) for path, variable in paths]
    return nnx.merge(graph, nnx.from_flat_state(flat))

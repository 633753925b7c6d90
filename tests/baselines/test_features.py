"""Features against the model's own, and the errors that name what is missing."""

import numpy as np
import pytest
from fitted import named

from cold_jax.baselines.features import feature_count, feature_matrix
from cold_jax.models.base import attribute_features, tower_features
from cold_jax.splits.tasks import TrainView


def test_features_are_unit_rows_and_a_constant_and_those_of_the_model(train: TrainView):
    feature_IF = feature_matrix(train, "items", ["line", "title"], 0.5, 0.3)
    np.testing.assert_allclose(np.linalg.norm(feature_IF[:, :-1], axis=1), 1, rtol=1e-12)
    assert feature_IF.shape == (20, 16)
    assert (feature_IF[:, -1] == 0.3).all()
    model_IF = tower_features(train.item_vectors["line"], attribute_features(train))
    np.testing.assert_allclose(feature_matrix(train, "items", ["line"], 0.5, 0.3), model_IF, rtol=1e-5, atol=1e-7)


def test_an_unknown_text_is_named_with_the_known_ones(train: TrainView):
    with pytest.raises(ValueError, match=r"items have no text 'plot'; they have line, title"):
        named("content_mean", text="plot")(train, {})
    with pytest.raises(ValueError, match=r"users have no text 'line'; they have profile"):
        named("ridge_profile", texts=["line"])(train, {})


@pytest.mark.parametrize(("of", "texts"), [("items", ["line", "title"]), ("items", []), ("users", ["profile"])])
def test_the_columns_are_counted_without_making_them(train: TrainView, of: str, texts: list[str]):
    assert feature_count(train, of, texts) == feature_matrix(train, of, texts, 0.5, 0.3).shape[1]

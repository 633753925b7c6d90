"""The map of items, against scikit-learn's PCA."""

import numpy as np
from sklearn.decomposition import PCA

from cold_jax.plots.embeddings import item_map, project


def test_the_axes_are_those_of_pca() -> None:
    draw = np.random.Generator(np.random.Philox(1))
    before_ID = draw.normal(size=(30, 6)) * np.arange(1, 7)
    after_ID = before_ID + draw.normal(size=(30, 6)) + 100  # a shift of all of them changes nothing
    first_I2, second_I2, explained = project(before_ID, after_ID)
    centred = [of_ID - of_ID.mean(0) for of_ID in (before_ID, after_ID)]
    pca = PCA(2).fit(np.concatenate(centred))
    for ours_I2, vectors_ID in zip((first_I2, second_I2), centred, strict=True):
        np.testing.assert_allclose(np.abs(ours_I2), np.abs(pca.transform(vectors_ID)), atol=1e-9)
    np.testing.assert_allclose(explained, pca.explained_variance_ratio_.sum())


def test_items_before_and_after_delta(recommender) -> None:
    found = item_map(recommender)
    prepared = recommender.prepared
    assert found.theta_I2.shape == found.phi_I2.shape == (len(prepared.dataset.items), 2)
    np.testing.assert_array_equal(found.cold_I, ~prepared.train.warm_I)
    moved_I = np.linalg.norm(found.phi_I2 - found.theta_I2, axis=1)
    assert moved_I.max() > 0
    assert 0 < found.explained <= 1

"""Patches of photographs, and data whose features are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sksparse_ae.datasets import (
    load_natural_image_patches,
    make_sparse_codes,
    normalize_patches,
)


def test_blank_patches_have_no_contrast():
    values = np.array([3.1, 14.62, 7.7, 0.1, 1 / 3])[:, None]
    for n_pixels in (7, 64):
        patches = np.repeat(values, n_pixels, axis=1)
        assert_array_equal(normalize_patches(patches), np.full(patches.shape, 0.5))


def test_patches_in_colour_are_those_that_turn_grey():
    few = {"n_patches": 5, "patch_size": 4, "normalize": False, "random_state": 0}
    colours = load_natural_image_patches(**few, color=True)
    assert colours.shape == (5, 48)
    assert colours.dtype == np.float64
    grey = colours.reshape(5, 16, 3).mean(axis=2)
    assert_allclose(grey, load_natural_image_patches(**few))


def test_sparse_codes_and_features_of_length_one_make_the_data():
    X, dictionary, codes = make_sparse_codes(
        500, n_features=10, n_components=30, n_active=4, random_state=0
    )
    assert X.dtype == dictionary.dtype == codes.dtype == np.float64
    assert_allclose(np.linalg.norm(dictionary, axis=1), 1)
    assert_allclose(X, codes @ dictionary)
    active = codes[codes > 0]
    assert codes.min() == 0
    assert 0.5 <= active.min() < active.max() <= 1.5
    assert_allclose((codes > 0).sum(axis=1).mean(), 4, rtol=0.05)
    again = make_sparse_codes(
        500, n_features=10, n_components=30, n_active=4, random_state=0
    )
    assert_array_equal(X, again[0])


def test_frequencies_follow_the_law_that_is_asked_for():
    few = {"n_components": 20, "n_active": 2, "random_state": 0}
    equal = (make_sparse_codes(20_000, **few)[2] > 0).mean(axis=0)
    assert_allclose(equal, 0.1, rtol=0.15)
    zipf = (make_sparse_codes(20_000, zipf=1, **few)[2] > 0).mean(axis=0)
    law = 1 / np.arange(1, 21)
    assert_allclose(zipf, 2 * law / law.sum(), rtol=0.15)


def test_features_of_a_group_occur_together_as_often_as_the_correlation_says():
    def together(correlation):
        codes = make_sparse_codes(
            20_000,
            n_components=8,
            n_active=2,
            correlation=correlation,
            random_state=0,
        )[2]
        found = np.corrcoef(codes > 0, rowvar=False)
        return np.sort(found[np.triu_indices(8, 1)])

    assert_allclose(together(0.0), 0, atol=0.04)
    pairs = together(0.8)
    # Two groups of four have six pairs each.
    assert_allclose(pairs[:-12], 0, atol=0.04)
    assert pairs[-12:].min() > 0.4


def test_noise_has_the_standard_deviation_that_is_asked_for():
    X, dictionary, codes = make_sparse_codes(2000, noise=0.3, random_state=0)
    assert_allclose((X - codes @ dictionary).std(), 0.3, rtol=0.02)


def test_more_active_features_than_the_law_allows_are_refused():
    with pytest.raises(ValueError, match=r"n_active can be at most 2\.93"):
        make_sparse_codes(n_components=10, n_active=4, zipf=1)
    X, *_ = make_sparse_codes(10, n_components=10, n_active=10)
    assert X.shape == (10, 64)

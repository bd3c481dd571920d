"""Patches of photographs, and those that have no contrast."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from sksparse_ae.datasets import load_natural_image_patches, normalize_patches


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

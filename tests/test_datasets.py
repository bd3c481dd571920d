"""Patches that have no contrast."""

import numpy as np
from numpy.testing import assert_array_equal

from sksparse_ae.datasets import normalize_patches


def test_blank_patches_have_no_contrast():
    values = np.array([3.1, 14.62, 7.7, 0.1, 1 / 3])[:, None]
    for n_pixels in (7, 64):
        patches = np.repeat(values, n_pixels, axis=1)
        assert_array_equal(normalize_patches(patches), np.full(patches.shape, 0.5))

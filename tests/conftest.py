"""Data and fitted estimators that several modules share."""

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_digits
from sklearn.utils.fixes import parse_version

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

# Before, set_callbacks is absent: test_transformer.py looks for that.
HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
collect_ignore = [] if HAS_CALLBACKS else ["training/test_callbacks.py"]


@pytest.fixture(scope="session")
def has_callbacks():
    """Whether this version of scikit-learn has callbacks."""
    return HAS_CALLBACKS


@pytest.fixture(scope="session")
def digits():
    """300 digits, 64 pixels from 0 to 16, float64."""
    X = load_digits().data[:300]
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def patches():
    """Ng's 10 000 normalised 8x8 patches, float32."""
    X = load_natural_image_patches(random_state=0).astype(np.float32)
    X.setflags(write=False)
    return X


@pytest.fixture(scope="session")
def fitted(digits):
    """A transformer fitted to the digits; not to be changed."""
    return SparseAutoencoderTransformer(
        n_components=20, max_iter=100, tol=0.1, random_state=0
    ).fit(digits)

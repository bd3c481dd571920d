"""The fitted network as a generated Python module that needs only NumPy.

The module holds the bytes of the weights in base64, which is exact. A module of
784 -> 196 units is imported in 15 ms. With decimal numbers the import took a second and
300 MB, and the file two to four times the space.
"""

import base64
import keyword
import pprint
import sys
from collections.abc import Iterable
from pathlib import Path
from string import Template

import numpy as np

from .._network.autoencoder import Parameters
from .._objective.activations import OUTPUT_ACTIVATIONS
from .._utils.files import FilePath, replacing

MODULE = Template('''\
"""Sparse autoencoder: $n_features features, $n_components $activation units.

Written by sksparse_ae $version; needs NumPy alone. A sample is the last axis of an
array, whatever the others. float32 is computed and returned in float32, all else in
float64. Values that are not finite are not looked for.
"""

import base64

import numpy as np

N_FEATURES = $n_features
N_COMPONENTS = $n_components
$feature_names

def encode(X):
    """Return the activations of the hidden units.

    Parameters
    ----------
    X : array-like of shape (..., $n_features)
        Data in the units of the training data$of_missing.

    Returns
    -------
    codes : ndarray of shape (..., $n_components)
    """
$fill    codes = _$activation(_affine(X, ENCODER_WEIGHTS, ENCODER_BIASES))
    return $kept


def decode(codes):
    """Return the reconstruction from the activations of the hidden units.

    Parameters
    ----------
    codes : array-like of shape (..., $n_components)

    Returns
    -------
    X : ndarray of shape (..., $n_features)
        In the units of the training data.
    """
    return _$output_activation(_affine(codes, DECODER_WEIGHTS, DECODER_BIASES))


def reconstruct(X):
    """Return decode(encode(X))."""
    return decode(encode(X))


def _affine(X, weights, biases):
    X = np.asarray(X)
    if X.shape[-1:] != weights.shape[:1]:
        raise ValueError(
            f"expected {weights.shape[0]} values along the last axis; "
            f"got an array of shape {X.shape}"
        )
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    X, weights, biases = (a.astype(dtype, copy=False) for a in (X, weights, biases))
    return X @ weights + biases


$activations

def _array(shape, text):
    return np.frombuffer(base64.b64decode(text), "$dtype").reshape(shape)


# $dtype_name, row after row, little-endian, in base64.
$arrays''')

ARRAYS = "ENCODER_WEIGHTS", "ENCODER_BIASES", "DECODER_WEIGHTS", "DECODER_BIASES"

# What encode does with missing values.
FILL = """\
    # A missing value is the mean, and the others of its row are farther from theirs.
    X = np.asarray(X)
    if X.shape[-1:] == MEANS.shape and np.isnan(X).any():
        gaps, means = np.isnan(X), MEANS.astype(X.dtype)
        n_observed = N_FEATURES - gaps.sum(axis=-1, keepdims=True)
        factor = (N_FEATURES / np.maximum(n_observed, 1)).astype(X.dtype)
        X = means + np.where(gaps, 0, factor * (X - means))
"""


def write_module(
    path: FilePath,
    parameters: Parameters,
    feature_names: Iterable[object] | None = None,
) -> None:
    """Write a module with the functions ``encode``, ``decode`` and ``reconstruct``."""
    from .. import __version__

    path = Path(path)
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(
            f"path={str(path)!r} does not name a module that can be imported, such as "
            "'encoder.py'."
        )
    if name == "numpy" or name in sys.stdlib_module_names:
        raise ValueError(
            f"path={str(path)!r} has the name of a module that Python or NumPy may "
            "import; beside it, the new one would be imported instead. Use another "
            "name, such as 'encoder.py'."
        )
    n_features, n_components = parameters.W1.shape
    activations = dict.fromkeys((parameters.activation, parameters.output_activation))
    dtype = parameters.W1.dtype.newbyteorder("<")
    arrays = dict(zip(ARRAYS, parameters.arrays, strict=True))
    if parameters.means is not None:
        arrays["MEANS"] = parameters.means
    kept = parameters.kept
    if kept is not None:
        arrays["KEPT"] = kept.array
    source = MODULE.substitute(
        version=__version__,
        n_features=n_features,
        n_components=n_components,
        feature_names=_feature_names(feature_names),
        activation=parameters.activation,
        output_activation=parameters.output_activation,
        activations="\n\n".join(
            f"def _{name}(Z):\n{OUTPUT_ACTIVATIONS[name].source}"
            for name in activations
        ),
        dtype=dtype.str,
        dtype_name=dtype.name,
        arrays="".join(
            f"{name} = {_array_source(array, dtype)}" for name, array in arrays.items()
        ),
        of_missing=", with NaN for what is missing" if "MEANS" in arrays else "",
        fill=FILL if "MEANS" in arrays else "",
        kept="codes" if kept is None else kept.module_code,
    )
    with replacing(path) as file:
        file.write(source.encode())


def _feature_names(names: Iterable[object] | None) -> str:
    if names is None:
        return ""
    return f"FEATURE_NAMES = {pprint.pformat(list(map(str, names)), compact=True)}\n"


def _array_source(array: np.ndarray, dtype: np.dtype) -> str:
    if array.dtype.kind == "i":
        return f"{array.tolist()}\n"
    text = base64.encodebytes(array.astype(dtype).tobytes()).decode("ascii")
    return f'_array(\n    {array.shape},\n    """\n{text}""",\n)\n'

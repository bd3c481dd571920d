"""The fitted network's arithmetic, in NumPy and in chunks of rows."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot

from .._objective.activations import OUTPUT_ACTIVATIONS
from . import reading
from .blocks import Blocks
from .csr import CsrRows
from .kept import Kept
from .reading import Rows, as_seen, missing
from .validation import held_not_finite

# With fewer rows a product spends most of its time on reading the weights.
MIN_PRODUCT_ROWS = 128


class Layer(NamedTuple):
    """Weights, biases and activation of a layer, and which activations it keeps."""

    W: np.ndarray
    b: np.ndarray
    activation: str
    kept: Kept | None = None


class Parameters(NamedTuple):
    """Weights, biases and activations of an encoder and its decoder."""

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    activation: str
    output_activation: str
    # What the encoder reads where a value is missing; None if NaN is an error.
    means: np.ndarray | None = None
    kept: Kept | None = None  # of the activations in the codes; None for all

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """W1, b1, W2, b2."""
        return self[:4]

    def astype(self, dtype: DTypeLike) -> "Parameters":
        """Return the network in ``dtype``; arrays that have it are not copied."""
        if all(array.dtype == dtype for array in self.arrays):
            return self
        W1, b1, W2, b2 = (np.asarray(array, dtype=dtype) for array in self.arrays)
        kept = None if self.kept is None else self.kept.astype(dtype)
        return self._replace(W1=W1, b1=b1, W2=W2, b2=b2, kept=kept)

    def in_float32(self) -> "Parameters":
        """Return the network in float32; raise if it cannot hold the weights."""
        with np.errstate(over="ignore", under="ignore"):
            single = self.astype(np.float32)
        for array, own in zip(single.arrays, self.arrays, strict=True):
            if not np.isfinite(array).all() or array.any() != own.any():
                raise ValueError(
                    f"On the data as given the network has weights up to "
                    f"{np.abs(own).max():.3g}, which float32 does not hold. Scale the "
                    "data before the fit (StandardScaler)."
                )
        return single

    @property
    def encoder(self) -> Layer:
        """The layer from rows to codes."""
        return Layer(self.W1, self.b1, self.activation, self.kept)

    @property
    def decoder(self) -> Layer:
        """The layer from codes to reconstructions."""
        return Layer(self.W2, self.b2, self.output_activation)

    def encode(self, X: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Return the codes of rows, (n_rows, n_components)."""
        return _through_layers(X, self.encoder, out=out, means=self.means)

    def encode_sparse(self, X: Rows) -> Any:
        """Return the codes as CSR rows, holding one dense chunk of them at a time.

        What is stored is not 0. The dtype is that of ``encode``.
        """
        shape = X.shape[0], len(self.b1)
        codes = CsrRows(shape, np.result_type(X.dtype, self.W1.dtype))
        for rows in reading.row_chunks(X, len(self.b1)):
            codes.append(self.encode(X[rows]))
        return codes.finished()

    def decode(self, codes: Rows) -> np.ndarray:
        """Return the reconstruction from codes, (n_rows, n_features)."""
        return _through_layers(codes, self.decoder)

    def reconstruct(self, X: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Return the reconstruction of ``X``, holding one chunk of codes at a time."""
        layers = self.encoder, self.decoder
        return _through_layers(X, *layers, out=out, means=self.means)


def _through_layers(
    X: Rows,
    *layers: Layer,
    out: np.ndarray | None = None,
    means: np.ndarray | None = None,
) -> np.ndarray:
    """Return the output of layers for ``X``, in ``out`` if that is given.

    NaN in ``X`` is a missing value, if ``means`` are given.

    Memory holds, beside the output, only one chunk of the arrays between the layers, of
    products with CSR rows, and of rows that are read from files.
    """
    n_rows = X.shape[0]
    *widths, n_outputs = (layer.W.shape[1] for layer in layers)
    widest = max([*widths, n_outputs])
    if sparse.issparse(X):  # a chunk of a dense X is a view and takes no memory
        widest = max(widest, X.nnz // max(n_rows, 1))
    n_chunk = max(reading.CHUNK_VALUES // widest, MIN_PRODUCT_ROWS)
    dtype = np.result_type(X.dtype, layers[0].W.dtype)
    between = [np.empty((min(n_chunk, n_rows), width), dtype) for width in widths]
    output = np.empty((n_rows, n_outputs), dtype) if out is None else out
    in_place = output.dtype == dtype
    has_missing = False  # whether a chunk has been found to have NaN
    with np.errstate(all="ignore"):
        for rows in reading.batches(n_rows, n_chunk):
            is_whole = n_rows <= n_chunk and not isinstance(X, Blocks)
            values = X if is_whole else X[rows]
            last = output[rows]
            if not in_place:
                last = np.empty(last.shape, dtype)
            targets = (array[: values.shape[0]] for array in between)
            if has_missing and means is not None:
                values = as_seen(values, means)
            for layer, target in zip(layers, (*targets, last), strict=True):
                if not _layer(values, layer, out=target):
                    # To look for NaN in each chunk first would take up to a third of
                    # the time.
                    has_missing = means is not None and bool(missing(values).any())
                    if has_missing and means is not None:
                        values = as_seen(values, means)
                    if not (has_missing and _layer(values, layer, out=target)):
                        raise ValueError(_too_large(values, target.dtype))
                values = target
            if not in_place:
                output[rows] = last
    return output


def _layer(X: Rows, layer: Layer, out: np.ndarray) -> bool:
    """Write the activations of a layer for the rows of ``X`` into ``out``.

    Returned is False if they are not finite.
    """
    W, b, activation, kept = layer
    if sparse.issparse(X):
        np.add(safe_sparse_dot(X, W), b, out=out)
    else:
        np.matmul(X, W, out=out)
        out += b
    # The sum allocates no array. It may overflow where no value does.
    is_finite = np.isfinite(out.sum()) or np.isfinite(out).all()
    if is_finite:
        function = OUTPUT_ACTIVATIONS[activation]
        function.forward(out, out=out)
        if kept is not None:
            kept.keep(out)
        if function.overflows and not np.isfinite(out).all():
            raise ValueError(
                f"The reconstruction of X overflows {out.dtype}: its logarithm is more "
                f"than {np.log(np.finfo(out.dtype).max):.3g}. X is not like the "
                "training data."
            )
    return bool(is_finite)


def _too_large(X: Rows, dtype: np.dtype) -> str:
    return held_not_finite(X) or (
        f"The values of X, up to {reading.largest_magnitude(X):.3g} in magnitude, are "
        f"too large: their products with the weights overflow {dtype}. Scale X as the "
        "training data were scaled."
    )

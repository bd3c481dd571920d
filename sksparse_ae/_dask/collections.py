"""Dask arrays and dataframes: what is taken, and what is made of their blocks."""

import math
from typing import Any

import dask
import dask.array as da
import numpy as np
from scipy import sparse


def is_collection(X: Any) -> bool:
    """Return whether ``X`` is a Dask array or dataframe."""
    return dask.is_dask_collection(X) and (is_frame(X) or hasattr(X, "map_blocks"))


def is_frame(X: Any) -> bool:
    """Return whether a collection is a dataframe."""
    return hasattr(X, "map_partitions")


def of_whole_rows(X: Any) -> Any:
    """Return a collection whose blocks hold whole rows; raise if it has none."""
    if X.ndim != 2:
        raise ValueError(
            "X must have two dimensions, rows and columns; this Dask collection has "
            f"{X.ndim}. A sample is one row: X.reshape((len(X), -1))."
        )
    if is_frame(X) or X.numblocks[1] == 1:
        return X
    return X.rechunk({1: -1})


def weights_of_blocks(X: Any, sample_weight: Any) -> Any:
    """Return weights as a collection that is cut into blocks as ``X`` is."""
    if not dask.is_dask_collection(sample_weight):
        lengths = getattr(X, "chunks", [[math.nan]])[0]
        if is_frame(X) or math.isnan(sum(lengths)):
            raise TypeError(
                "sample_weight must be a Dask series or array with a part for each "
                "part of X, such as a column of its dataframe, because the lengths of "
                f"these are not known; got {type(sample_weight).__name__}."
            )
        weights = np.asarray(sample_weight)
        if weights.shape not in ((), X.shape[:1]):
            raise ValueError(
                f"sample_weight has the shape {weights.shape}; X has {X.shape[0]} "
                "rows. Give one weight for each row."
            )
        sample_weight = np.broadcast_to(weights, X.shape[:1])
        sample_weight = da.from_array(sample_weight, chunks=(lengths,))
    if sample_weight.ndim != 1:
        raise ValueError(
            f"sample_weight has {sample_weight.ndim} dimensions; it needs one weight "
            "for each row of X."
        )
    if not is_frame(X) and not is_frame(sample_weight):
        lengths = X.chunks[0]
        if sample_weight.shape[0] == X.shape[0]:
            sample_weight = sample_weight.rechunk((lengths,))
    n_parts = sample_weight.npartitions
    if n_parts != X.numblocks[0] if not is_frame(X) else n_parts != X.npartitions:
        raise ValueError(
            "sample_weight is cut into another number of parts than X: "
            f"{n_parts}. Cut both alike (rechunk, repartition)."
        )
    return sample_weight


def head_of(X: Any) -> Any:
    """Return the rows before the first one, which have the names of the columns."""
    return X._meta if is_frame(X) else np.empty((0, X.shape[1]))


def of_each_block(
    X: Any, estimator: Any, method: str, names: Any, **arguments: Any
) -> Any:
    """Return what a method of an estimator makes of each block, lazily.

    An array gives an array. A dataframe gives a dataframe with columns of these names
    and with its index. ``names`` is None for one value a row: a vector or a series.
    """
    X = of_whole_rows(X)
    call = {"estimator": dask.delayed(estimator), "method": method, **arguments}
    if is_frame(X):
        if method == "transform" and estimator.sparse_output:
            raise TypeError(
                "sparse_output=True gives blocks of CSR rows, which a dataframe does "
                "not hold: pass the array of it, X.to_dask_array(), or set "
                "sparse_output=False."
            )
        dtype = _dtype(np.asarray(X._meta).dtype)
        meta = _like(
            X._meta, np.empty((0, 1 if names is None else len(names)), dtype), names
        )
        return X.map_partitions(_of_partition, names=names, meta=meta, **call)
    dtype = _dtype(X.dtype)
    if names is None:
        meta = np.empty(0, dtype)
        return X.map_blocks(_of_block, drop_axis=1, dtype=dtype, meta=meta, **call)
    chunks = X.chunks[0], (len(names),)
    meta = np.empty((0, 0), dtype)
    if method == "transform" and estimator.sparse_output:
        meta = sparse.csr_matrix((0, 0), dtype=dtype)
    return X.map_blocks(_of_block, chunks=chunks, dtype=dtype, meta=meta, **call)


def _dtype(own: Any) -> Any:
    return np.dtype(np.float32 if own == np.float32 else np.float64)


def _of_block(block: Any, estimator: Any, method: str, **arguments: Any) -> Any:
    return getattr(estimator, method)(block, **arguments)


def _of_partition(
    partition: Any, estimator: Any, method: str, names: Any, **arguments: Any
) -> Any:
    if not len(partition):
        width = 1 if names is None else len(names)
        dtype = _dtype(np.asarray(partition).dtype)
        return _like(partition, np.empty((0, width), dtype), names)
    return _like(partition, _of_block(partition, estimator, method, **arguments), names)


def _like(partition: Any, values: np.ndarray, names: Any) -> Any:
    """Return values as rows with the index of a partition."""
    import pandas as pd

    if names is None:
        return pd.Series(values.ravel(), index=partition.index)
    return pd.DataFrame(values, columns=names, index=partition.index)

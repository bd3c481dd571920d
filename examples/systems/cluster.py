"""
Rows on a cluster
=================

How are rows fitted that no single machine holds? As a Dask array. The rows stay where
they are, and each evaluation of the objective sends back one sum. This example starts a
cluster of two processes on this machine; on another cluster only the client differs.
"""

# %%
# Rows that are made by the workers
# ---------------------------------
# A block of rows is made, or read, by the worker that needs it. This function stands
# for a loader of your own.

import logging

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.dask import DaskSparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.inspection import ComponentsDisplay

N_BLOCKS, BLOCK_ROWS = 4, 2_500


def patches(block_id):
    """Return a block of patches, as a loader of your own would read it from a file."""
    return load_natural_image_patches(BLOCK_ROWS, random_state=block_id[0])


# %%
# Fit on the cluster
# ------------------
# The processes of a `LocalCluster` import this file again. So whatever starts a
# cluster has to stand below the line `if __name__ == "__main__"`.

settings = {
    "n_components": 25,
    "rho": 0.01,
    "beta": 3.0,
    "weight_decay": 1e-4,
    "output_activation": "sigmoid",
    "solver": "lbfgs",
    "max_iter": 400,
    "tol": 3e-4,
    "random_state": 0,
}

if __name__ == "__main__":
    X = da.map_blocks(
        patches, chunks=((BLOCK_ROWS,) * N_BLOCKS, (64,)), meta=np.empty((0, 0))
    )
    print(f"{X.shape[0]} rows in {X.numblocks[0]} blocks, {X.nbytes / 1e6:.0f} MB")
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
    )
    with cluster, Client(cluster):
        on_cluster = DaskSparseAutoencoderTransformer(**settings).fit(X)
        rows = X.compute()
    local_copy = on_cluster.to_local()
    print(f"{on_cluster.n_iter_} iterations, then a {type(local_copy).__name__}")

# %%
# The same minimum
# ----------------
# The objective is a mean over all rows, and so exact. A fit in one process, on the same
# rows in one array, takes the same way.

if __name__ == "__main__":
    in_one_process = SparseAutoencoderTransformer(**settings).fit(rows)
    print(f"objective on the cluster  {on_cluster.objective_.total:.4f}")
    print(f"objective in one process  {in_one_process.objective_.total:.4f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    curve = in_one_process.loss_curve_
    left.plot(range(1, len(curve) + 1), curve, lw=5, alpha=0.35, label="one process")
    curve = on_cluster.loss_curve_
    left.plot(range(1, len(curve) + 1), curve, label="two workers")
    left.set(xscale="log", xlabel="iteration", ylabel="objective")
    left.legend(frameon=False)
    ComponentsDisplay.from_estimator(local_copy, ax=right)
    right.set_title("what the units add")
    plt.show()

# %%
# What to take away
# -----------------
# The estimator for Dask collections has the same parameters and finds the same minimum.
# `to_local` returns an estimator that is saved and used without Dask. Take a cluster if
# the rows are there already, or too many for one machine: a list of files on one
# machine needs none, see :ref:`sphx_glr_auto_examples_systems_larger_than_memory.py`.
#
# :ref:`dask` says what runs where, and what happens when workers fail.

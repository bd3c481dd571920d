"""
More rows than a worker of a cluster holds
==========================================

Each worker of this cluster may use 1.5 GB. The rows take 2 GB: every evaluation of the
objective makes the blocks anew, one at a time, where it adds them up. On another
cluster only the client differs.
"""

import time

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

from sksparse_ae.dask import DaskSparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

N_BLOCKS, BLOCK_ROWS = 40, 200_000


def patches(block_id):
    """Return a block of noisy patches, as a loader of your own would from a file."""
    rng = np.random.default_rng(block_id[0])
    clean = load_natural_image_patches(1_000, random_state=block_id[0])
    noise = rng.standard_normal((BLOCK_ROWS, 64), dtype=np.float32)
    return clean.astype(np.float32)[np.arange(BLOCK_ROWS) % 1_000] + 0.02 * noise


def main():
    """Fit, and show what the units look for."""
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit="1.5GB",
        dashboard_address=None,
    )
    with cluster, Client(cluster):
        X = da.map_blocks(
            patches,
            chunks=((BLOCK_ROWS,) * N_BLOCKS, (64,)),
            meta=np.empty((0, 0), np.float32),
        )
        print(f"{X.shape[0]:,} rows of {X.shape[1]} features, {X.nbytes / 1e9:.1f} GB")
        autoencoder = DaskSparseAutoencoderTransformer(
            n_components=25,
            rho=0.05,
            solver="lbfgs",
            max_iter=15,
            tol=0.01,
            verbose=1,
            random_state=0,
        )
        begin = time.perf_counter()
        autoencoder.fit(X)
        print(f"fit: {time.perf_counter() - begin:.0f} s")
        print(f"variance explained: {autoencoder.score(X[:BLOCK_ROWS]):.1%}")
    figure, axes = plt.subplots(5, 5, figsize=(4, 4))
    for axis, unit in zip(axes.flat, autoencoder.maximal_inputs_, strict=True):
        axis.imshow(unit.reshape(8, 8), cmap="gray")
        axis.axis("off")
    figure.savefig("cluster.png")


if __name__ == "__main__":
    main()

"""
More rows than a worker of a cluster holds
==========================================

Each worker of this cluster may use 1.5 GB. The rows take 1.6 GB: every evaluation of
the objective makes the blocks anew, one at a time, where it adds them up. On another
cluster only the client differs.
"""

import time

import dask.array as da
import joblib
import numpy as np
from distributed import Client, LocalCluster

from sksparse_ae.dask import DaskSparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

N_BLOCKS, BLOCK_ROWS = 64, 100_000


def patches(block_id):
    """Return a block of patches, as a loader of your own would read it from a file."""
    few = load_natural_image_patches(1_000, random_state=block_id[0])
    contrast = np.random.default_rng(block_id[0]).uniform(0.5, 1.5, (BLOCK_ROWS, 1))
    rows = few[np.arange(BLOCK_ROWS) % len(few)] - 0.5
    return (0.5 + contrast * rows).astype(np.float32)


def main():
    """Fit for a few iterations, and keep the estimator for rows on one machine."""
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit="1.5GB",
        dashboard_address=":0",
    )
    with cluster, Client(cluster):
        X = da.map_blocks(
            patches,
            chunks=((BLOCK_ROWS,) * N_BLOCKS, (64,)),
            meta=np.empty((0, 0), np.float32),
        )
        print(f"{X.shape[0]:,} rows of {X.shape[1]} features, {X.nbytes / 1e9:.1f} GB")
        autoencoder = DaskSparseAutoencoderTransformer(
            n_components=16,
            solver="lbfgs",
            max_iter=5,
            tol=0,
            verbose=1,
            random_state=0,
        )
        begin = time.perf_counter()
        autoencoder.fit(X)
        print(f"fit: {time.perf_counter() - begin:.0f} s")
        print(f"variance explained: {autoencoder.score(X[:BLOCK_ROWS]):.1%}")
    path = joblib.dump(autoencoder.to_local(), "autoencoder.joblib")
    print(f"saved, to be loaded without Dask: {path[0]}")


if __name__ == "__main__":
    main()

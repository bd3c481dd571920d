"""Kill workers while fits over a Dask cluster run; every fit must end the same.

Run ``python benchmarks/soak_dask.py [--kills N] [--limit SECONDS]``. The workers are
processes of this machine. Each fit is disturbed once, at a moment that moves on from
fit to fit: one worker is killed, or all of them, or one is removed or added. The first
fit, undisturbed, says what all must give, to the bit.
"""

import argparse
import os
import random
import signal
import threading
import time
import warnings

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae.dask import DaskSparseAutoencoderTransformer


def rows(n_blocks):
    """Return rows that each call makes anew."""
    generator = da.random.default_rng(0)
    return generator.normal(size=(2_000 * n_blocks, 64), chunks=(2_000, 64))


def fit(X):
    """Return the weights and the curve of a fit."""
    fitted = DaskSparseAutoencoderTransformer(
        10, solver="lbfgs", max_iter=40, tol=0, random_state=0
    ).fit(X)
    return np.concatenate([w.ravel() for w in fitted.coefs_]), fitted.loss_curve_


def kill(cluster, n_workers):
    """Kill worker processes, which their nannies start again."""
    nannies = [n for n in cluster.workers.values() if getattr(n, "process", None)]
    for nanny in random.sample(nannies, min(n_workers, len(nannies))):
        pid = getattr(nanny, "pid", None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


DISTURBANCES = {
    "one killed": lambda cluster: kill(cluster, 1),
    "all killed": lambda cluster: kill(cluster, 2),
    "one removed": lambda cluster: cluster.scale(1),
    "one added": lambda cluster: cluster.scale(3),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=float, default=120, help="seconds for a fit")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    random.seed(0)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as own,
        Client(own) as client,
    ):
        X = rows(12)
        fit(X)  # starts TensorFlow in the workers
        begin = time.perf_counter()
        weights, curve = fit(X)
        usual = time.perf_counter() - begin
        print(f"undisturbed: {usual:.1f} s, {len(curve)} iterations")
        for number in range(arguments.kills):
            name = list(DISTURBANCES)[number % len(DISTURBANCES)]
            delay = usual * (number + 0.5) / arguments.kills
            timer = threading.Timer(delay, DISTURBANCES[name], [own])
            alarm = threading.Timer(arguments.limit, os._exit, [1])
            timer.start()
            alarm.start()
            begin = time.perf_counter()
            found, own_curve = fit(X)
            seconds = time.perf_counter() - begin
            alarm.cancel()
            timer.join()
            same = np.array_equal(found, weights) and own_curve == curve
            print(f"{name} after {delay:.2f} s: {seconds:.1f} s, same bits: {same}")
            own.scale(2)
            client.wait_for_workers(2)
            if not same:
                raise SystemExit("The weights differ.")


if __name__ == "__main__":
    main()

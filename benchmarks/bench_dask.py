"""Measure fits over a Dask cluster of this machine's processes.

Run ``python benchmarks/bench_dask.py [--only PART ...] [--rows N ...] [--json FILE]``.
What is measured, and how, stands in README.md.
"""

import argparse
import functools
import pickle
import statistics
import warnings
from pathlib import Path

import dask.array as da
import joblib
import numpy as np
from _common import (
    bound_verdict,
    peak_anonymous_bytes,
    print_table,
    print_versions,
    stopwatch,
    versions,
    write_json,
)
from distributed import Client, LocalCluster
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.dask import DaskSparseAutoencoderTransformer

MB = 1e6
N_WORKERS = 2
OVERHEAD_BOUND = 30  # milliseconds of an evaluation
OVERHEAD_WORKS = [(2_000, 64, 25), (8_000, 784, 196), (40_000, 784, 196)]
N_BLOCKS = 8
SCALING_BLOCK = 20_000
N_FEATURES, N_COMPONENTS = 784, 25


def normal_rows(n_rows, n_features, block_rows):
    """Return float32 rows that are made anew wherever a block is read."""
    generator = da.random.default_rng(0)
    shape, chunks = (n_rows, n_features), (block_rows, n_features)
    return generator.random(size=shape, chunks=chunks, dtype=np.float32)


def of_problem(estimator, X):
    """Return the objective of a fitted estimator over rows, as L-BFGS asks for it."""
    from sksparse_ae._engine.startup import starting_tensorflow

    with starting_tensorflow(to_train=True):
        from sksparse_ae._engine.full_batch import FullBatchObjective

    objective = FullBatchObjective(X, estimator._problem, 1000)
    weights = estimator._scaling.unfold(estimator._parameters.arrays)
    return objective, objective.program.flatten(weights).astype(np.float64)


def median_ms(function, *arguments, repeats=30):
    """Return the median time of calls, after three that are not counted."""
    times = []
    for _ in range(3 + repeats):
        with stopwatch() as seconds:
            function(*arguments)
        times.append(1e3 * seconds[0])
    return statistics.median(times[3:])


def work_ms(chunking, vector, block):
    """Return the time in which a worker evaluates its blocks, without the cluster."""
    from sksparse_ae._engine.chunking import block_sums

    n_own = N_BLOCKS // N_WORKERS

    def evaluate():
        sums = (block_sums(chunking, vector, block) for _ in range(n_own))
        return functools.reduce(np.add, sums)

    return median_ms(evaluate)


def bench_overhead(client, arguments):
    """Time evaluations on the cluster beside the work that they consist of."""
    from sksparse_ae._engine.chunking import Chunking, block_sums

    results = []
    for n_rows, n_features, n_components in OVERHEAD_WORKS:
        block_rows = n_rows // N_BLOCKS
        X = normal_rows(n_rows, n_features, block_rows)
        estimator = DaskSparseAutoencoderTransformer(
            n_components, solver="lbfgs", max_iter=1, tol=0, random_state=0
        ).fit(X)
        rows = estimator._validate_training_data(X, True)
        objective, vector = of_problem(estimator, rows)
        evaluation = median_ms(objective, vector)
        block = X[:block_rows].compute()
        chunking = Chunking.of(rows, estimator._problem, 1000)
        single = vector.astype(np.float32)
        # Both workers at once, as in an evaluation.
        work = client.map(
            work_ms,
            [chunking] * N_WORKERS,
            [single] * N_WORKERS,
            [block] * N_WORKERS,
            pure=False,
        )
        work = max(client.gather(work))
        results.append(
            {
                "rows": n_rows,
                "network": f"{n_features} -> {n_components}",
                "evaluation_ms": evaluation,
                "work_ms": work,
                "up_bytes": len(pickle.dumps((chunking, single))),
                "down_bytes": len(pickle.dumps(block_sums(chunking, single, block))),
            }
        )
    return results


def print_overhead(results):
    print_table(
        f"An evaluation of {N_BLOCKS} blocks on {N_WORKERS} workers",
        [
            {
                "rows": own["rows"],
                "network": own["network"],
                "evaluation": f"{own['evaluation_ms']:.1f} ms",
                "its work": f"{own['work_ms']:.1f} ms",
                "overhead": bound_verdict(
                    own["evaluation_ms"] - own["work_ms"], OVERHEAD_BOUND
                ),
                "up": f"{own['up_bytes'] / MB:.2f} MB",
                "down": f"{own['down_bytes'] / MB:.2f} MB",
            }
            for own in results
        ],
    )


def anonymous_peak(dask_worker):
    """Return the most memory that a worker has used since ``watch``."""
    dask_worker.peak.__exit__(None, None, None)
    return dask_worker.peaks[0]


def watch(dask_worker):
    """Begin to watch the memory of a worker."""
    dask_worker.peak = peak_anonymous_bytes()
    dask_worker.peaks = dask_worker.peak.__enter__()


def bench_scaling(client, arguments):
    """Time fits over more and more rows, which are never all in memory."""
    results = []
    for n_rows in arguments.rows:
        X = normal_rows(n_rows, N_FEATURES, SCALING_BLOCK)
        client.run(watch)
        estimator = DaskSparseAutoencoderTransformer(
            N_COMPONENTS, solver="lbfgs", max_iter=2, tol=0, random_state=0
        )
        with stopwatch() as fit:
            estimator.fit(X)
        peaks = client.run(anonymous_peak)
        rows = estimator._validate_training_data(X, True)
        objective, vector = of_problem(estimator, rows)
        with stopwatch() as seconds:
            objective(vector)
        with stopwatch() as reading:
            rows.reduced(_n_rows, int.__add__)
        results.append(
            {
                "rows": n_rows,
                "fit_s": fit[0],
                "evaluation_s": seconds[0],
                "reading_s": reading[0],
                "peak_bytes": max(peaks.values()),
                "data_bytes": 4 * n_rows * N_FEATURES,
            }
        )
    return results


def _n_rows(rows):
    """Ask nothing of a block but that it is there."""
    return rows.shape[0]


def print_scaling(results):
    print_table(
        f"Rows of {N_FEATURES} float32, made anew in each pass, {N_COMPONENTS} units",
        [
            {
                "rows": f"{own['rows']:.0e}",
                "data": f"{own['data_bytes'] / 1e9:.1f} GB",
                "an evaluation": f"{own['evaluation_s']:.1f} s",
                "of which reading": f"{own['reading_s']:.1f} s",
                "a row, on a core": "{:.2f} us".format(
                    1e6 * N_WORKERS * own["evaluation_s"] / own["rows"]
                ),
                "fit, 2 iterations": f"{own['fit_s']:.0f} s",
                "peak of a worker": f"{own['peak_bytes'] / 1e9:.2f} GB",
            }
            for own in results
        ],
    )


def bench_search(client, arguments):
    """Time a search by joblib's Dask backend, in fresh workers and again."""
    X = load_digits().data
    search = GridSearchCV(
        SparseAutoencoderTransformer(50, max_iter=50, random_state=0),
        {"rho": [0.02, 0.05, 0.1], "beta": [1.0, 3.0]},
        cv=2,
        refit=False,
    )

    def run(n_jobs=None):
        with stopwatch() as seconds:
            scores = clone(search).set_params(n_jobs=n_jobs).fit(X).cv_results_
        return seconds[0], scores["mean_test_score"]

    run()
    here, expected = run()
    client.restart()
    results = {"n_jobs=1": here}
    with joblib.parallel_backend("dask", scatter=[X]):
        for name in ("workers that start TensorFlow", "the same workers again"):
            results[name], scores = run(-1)
            np.testing.assert_allclose(scores, expected, rtol=1e-6)
    return results


def print_search(results):
    print_table(
        "A search of 12 fits of digits, 64 -> 50, all with the same scores",
        [{"by": name, "search": f"{s:.1f} s"} for name, s in results.items()],
    )


PARTS = {
    "search": (bench_search, print_search),
    "overhead": (bench_overhead, print_overhead),
    "scaling": (bench_scaling, print_scaling),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--rows", nargs="+", type=int, default=[100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--json", type=Path, help="where to write every figure")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = {}
    with (
        LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        for name in arguments.only:
            measure, print_results = PARTS[name]
            results[name] = measure(client, arguments)
            print_results(results[name])
    results["versions"] = versions()
    print_versions(results["versions"])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

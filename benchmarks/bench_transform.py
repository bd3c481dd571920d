"""Time transform and its kin beside PCA and NumPy, and measure their memory.

Run ``python benchmarks/bench_transform.py [--repeats N] [--json FILE]``. What is
measured, and how, stands in README.md.
"""

import argparse
import json
import timeit
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
from _common import (
    bound_verdict,
    medians,
    print_table,
    print_versions,
    run_in_own_process,
    versions,
    write_json,
)
from scipy import sparse
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer

SHAPES = [(64, 25), (784, 196)]
ONE_ROW_BOUND = 1.5
CALLS = 300  # calls of one row are timed together
MANY_ROWS = 60_000
MANY_ROWS_BOUND = 1.2
MEMORY_ROWS = [10_000, 100_000]
MEMORY_SHAPE = (784, 196)
CSR_DENSITY = 0.1
METHODS = ["transform", "inverse_transform", "reconstruct", "score_samples"]
MB = 1e6


def random_rows(n_samples, n_features):
    return np.random.default_rng(0).random((n_samples, n_features), dtype=np.float32)


def fitted_transformer(n_components, X):
    """Return a transformer after one epoch; its time does not depend on the weights."""
    return SparseAutoencoderTransformer(n_components, max_iter=1, random_state=0).fit(X)


def seconds(function, number=1):
    return timeit.timeit(function, number=number) / number


# ------------------------------------------------------------------------- one row


def bench_one_row(n_features, n_components, repeats):
    """Time calls with one row, ours and PCA in turn."""
    X = random_rows(1000, n_features)
    pca, ours = PCA(n_components).fit(X), fitted_transformer(n_components, X)
    row, code = X[:1], ours.transform(X[:1])
    methods = {
        "transform": lambda: ours.transform(row),
        "inverse_transform": lambda: ours.inverse_transform(code),
        "score_samples": lambda: ours.score_samples(row),
    }
    runs = []
    for _ in range(repeats):
        run = {"PCA": seconds(lambda: pca.transform(row), CALLS)}
        for name, method in methods.items():
            run[name] = seconds(method, CALLS)
            run[f"{name}, ratio"] = run[name] / run["PCA"]
        runs.append(run)
    return {"shape": [n_features, n_components], "runs": runs, **medians(runs)}


def print_one_row(results):
    rows = []
    for result in results:
        n_features, n_components = result["shape"]
        for name in ("transform", "inverse_transform", "score_samples"):
            rows.append(
                {
                    "one row": f"{n_features} -> {n_components}, {name}",
                    "ours": f"{1e6 * result[name]:.0f} us",
                    "PCA.transform": f"{1e6 * result['PCA']:.0f} us",
                    "ratio": bound_verdict(result[f"{name}, ratio"], ONE_ROW_BOUND),
                }
            )
    print_table("One row beside scikit-learn's PCA", rows)


# ----------------------------------------------------------------------- many rows


def bench_many_rows(repeats):
    """Time ours and the same arithmetic in NumPy in turn; NumPy works in place."""
    n_features, n_components = SHAPES[-1]
    X = random_rows(MANY_ROWS, n_features)
    ours = fitted_transformer(n_components, X[:1000])
    W, b = ours.coefs_[0], ours.intercepts_[0]
    output = np.empty((MANY_ROWS, n_components), X.dtype)

    def by_hand():
        np.matmul(X, W, out=output)
        np.add(output, b, out=output)
        return expit(output, out=output)

    np.testing.assert_allclose(ours.transform(X), by_hand(), rtol=1e-4)
    runs = []
    for _ in range(repeats):
        run = {"ours": seconds(lambda: ours.transform(X)), "hand": seconds(by_hand)}
        runs.append(run | {"ratio": run["ours"] / run["hand"]})
    return {"runs": runs, **medians(runs)}


def print_many_rows(result):
    print_table(
        f"transform of {MANY_ROWS} x 784 -> 196, float32",
        [
            {
                "ours": f"{1e3 * result['ours']:.0f} ms",
                "expit(X @ W + b) in place": f"{1e3 * result['hand']:.0f} ms",
                "ratio": bound_verdict(result["ratio"], MANY_ROWS_BOUND),
            }
        ],
    )


# -------------------------------------------------------------------------- memory


def extra_bytes(method, X):
    """Return the peak memory that a call allocates, without its output."""
    tracemalloc.start()
    try:
        output = method(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - output.nbytes


def bench_memory(n_samples, is_sparse):
    """Measure the memory that each method allocates beside its output."""
    n_features, n_components = MEMORY_SHAPE
    if is_sparse:
        X = sparse.random_array(
            (n_samples, n_features),
            density=CSR_DENSITY,
            format="csr",
            dtype=np.float32,
            rng=0,
        )
    else:
        X = random_rows(n_samples, n_features)
    ours = fitted_transformer(n_components, X[:1000])
    given = dict.fromkeys(METHODS, X) | {"inverse_transform": ours.transform(X)}
    extra = {name: extra_bytes(getattr(ours, name), X) for name, X in given.items()}
    return {"n_samples": n_samples, "sparse": is_sparse, "bytes": extra}


def print_memory(results):
    print_table(
        "Peak memory beside the output, 784 -> 196, float32, in MB",
        [
            {
                "rows": result["n_samples"],
                "X": f"CSR, density {CSR_DENSITY}" if result["sparse"] else "dense",
                **{k: f"{size / MB:.1f}" for k, size in result["bytes"].items()},
            }
            for result in results
        ],
    )


def measure(repeats):
    """Measure everything in this process and print it as JSON."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = {
        "versions": versions(),
        "one_row": [bench_one_row(*shape, repeats) for shape in SHAPES],
        "many_rows": bench_many_rows(repeats),
        "memory": [
            bench_memory(n_samples, is_sparse)
            for is_sparse in (False, True)
            for n_samples in MEMORY_ROWS
        ],
    }
    print(json.dumps(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.repeats)
        return
    # In its own process, as an OPENBLAS_CORETYPE in this one would slow both sides.
    results = run_in_own_process(
        [__file__, "--measure", "--repeats", arguments.repeats]
    )
    print_versions(results["versions"])
    print_one_row(results["one_row"])
    print_many_rows(results["many_rows"])
    print_memory(results["memory"])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

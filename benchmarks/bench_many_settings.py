"""Time the fits of a search, trained together and one or two at a time.

Run ``python benchmarks/bench_many_settings.py [--work NAME ...] [--repeats N]
[--json FILE]``. What is measured, and how, stands in README.md.
"""

import argparse
import itertools
import json
import statistics
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import (
    print_table,
    print_versions,
    run_in_own_process,
    stopwatch,
    verdict,
    versions,
    write_json,
)
from joblib import Parallel, delayed
from sklearn.base import clone

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.model_selection import train_together

RHOS, BETAS = (0.01, 0.02, 0.05, 0.1, 0.2), (0.1, 0.3, 1.0, 3.0, 10.0)
N_FOLDS = 3
FLOOR = 3


class Work(NamedTuple):
    """A network, its batch size and its number of epochs."""

    n_features: int
    n_components: int
    batch_size: int
    n_epochs: int


# Data of 64 features are Ng's patches; data of more features are noise.
WORKS = {
    "64-25": Work(64, 25, 250, 40),
    "64-100": Work(64, 100, 50, 10),
    "784-196": Work(784, 196, 256, 2),
}
N_ROWS = 10_000


def training_rows(work):
    """Return the training rows of each fold."""
    if work.n_features == 64:
        X = load_natural_image_patches(random_state=0).astype(np.float32)
    else:
        size = N_ROWS, work.n_features
        X = np.random.default_rng(0).random(size, dtype=np.float32)
    folds = np.arange(N_ROWS) % N_FOLDS
    return [X[folds != fold] for fold in range(N_FOLDS)]


def candidates(work):
    """Return a transformer for every setting."""
    base = SparseAutoencoderTransformer(
        work.n_components,
        batch_size=work.batch_size,
        max_iter=work.n_epochs,
        tol=0,
        n_iter_no_change=1_000_000,
        random_state=0,
    )
    return [
        clone(base).set_params(rho=rho, beta=beta)
        for rho, beta in itertools.product(RHOS, BETAS)
    ]


def objective(transformer, X):
    return clone(transformer).fit(X).objective_.total


def bench(name, repeats):
    """Time each way for one work, after workers have started and programs compiled."""
    work = WORKS[name]
    folds = training_rows(work)
    calls = [
        delayed(objective)(candidate, X)
        for candidate, X in itertools.product(candidates(work), folds)
    ]
    runs = []
    with Parallel(n_jobs=2) as pool:
        pool(calls[:4])
        for _ in range(repeats + 1):
            run = {}
            with stopwatch() as seconds:
                separate = Parallel(n_jobs=1)(calls)
            run["one at a time"] = seconds[0]
            with stopwatch() as seconds:
                pool(calls)
            run["two at a time, loky"] = seconds[0]
            with stopwatch() as seconds, train_together():
                together = Parallel()(calls)
            run["together"] = seconds[0]
            run["difference"] = float(np.max(np.abs(np.divide(together, separate) - 1)))
            runs.append(run)
    return {"work": name, "runs": runs[1:]}


def print_result(result):
    work, runs = WORKS[result["work"]], result["runs"]
    rows = []
    for way in ("one at a time", "two at a time, loky", "together"):
        seconds = statistics.median(run[way] for run in runs)
        gain = statistics.median(run[way] / run["together"] for run in runs)
        shown = {
            "one at a time": verdict(gain, FLOOR) if work.n_components == 25 else "",
            "together": "",
        }
        rows.append(
            {
                "fits": way,
                "seconds": f"{seconds:.2f}",
                "over together": shown.get(way) or f"{gain:.2f}",
            }
        )
    print_table(
        f"{len(RHOS) * len(BETAS)} settings x {N_FOLDS} folds, {result['work']}, batch "
        f"{work.batch_size}, {work.n_epochs} epochs; objectives differ by at most "
        f"{max(run['difference'] for run in runs):.1e}",
        rows,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--bench", choices=WORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bench:
        warnings.simplefilter("ignore")
        print(json.dumps(bench(arguments.bench, arguments.repeats)))
        return
    results = {"versions": versions()}
    print_versions(results["versions"])
    for name in arguments.work:
        command = [__file__, "--bench", name, "--repeats", arguments.repeats]
        results[name] = run_in_own_process(command)
        print_result(results[name])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

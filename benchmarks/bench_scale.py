"""Measure how the time and memory of training grow with the data and the fits.

Run ``python benchmarks/bench_scale.py [--only PART ...] [--gigabytes N] [--repeats N]
[--json FILE]``. What is measured, and how, stands in README.md.
"""

import argparse
import gc
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _common import (
    bound_verdict,
    medians,
    peak_anonymous_bytes,
    print_table,
    print_versions,
    resident_bytes,
    run_in_own_process,
    seconds_of_epochs,
    stopwatch,
    verdict,
    versions,
    write_json,
)
from sklearn.datasets import load_digits

from sksparse_ae import SparseAutoencoderTransformer

MB, GB = 1e6, 1e9

IMAGE = {"n_features": 784, "n_components": 196}
FILE_BATCH = 256
FILE_MEMORY_BOUND = 1.5
THROUGHPUT_FLOOR = 0.7
N_BLOCKS = 40  # files that the rows of the map are cut into
PARTIAL_ROWS = 50_000
# These rows fit in one block, which is read only once: this is the fastest case.
IN_MEMORY_ROWS = 80_000
IN_MEMORY_EPOCHS = 10

COPIED_BYTES = 500 * MB
COPIES_BOUND = 1.0

# Number of rows, epochs of the short fit, and timed epochs.
EPOCH_WORKS = [(10_000, 30, 200), (100_000, 5, 20), (1_000_000, 1, 3)]

# With batches of 500, a fit of 250 epochs has enough steps to be compiled; a fit of 20
# epochs has not. Each kind has its number of fits and of epochs.
FITS = {
    "one shape": (500, 250),
    "distinct shapes": (60, 250),
    "distinct shapes, too short to compile": (60, 20),
}
GROWTH_BOUNDS = {"one shape": 100, "distinct shapes": 450}
FIRST_FITS = 10

WIDE = {"n_rows": 200, "n_features": 20_000, "n_factors": 10}


def transformer(n_components, max_iter, **settings):
    """Return a transformer that trains for exactly ``max_iter`` iterations."""
    return SparseAutoencoderTransformer(
        n_components,
        max_iter=max_iter,
        tol=0,
        n_iter_no_change=1_000_000,
        random_state=0,
        **settings,
    )


def random_rows(n_samples, n_features):
    return np.random.default_rng(0).random((n_samples, n_features), dtype=np.float32)


def warm_up(n_features, n_components):
    """Import TensorFlow, and let it allocate the memory that it keeps."""
    X = random_rows(1000, n_features)
    for solver in ("adam", "lbfgs"):
        transformer(n_components, 2, solver=solver).fit(X)


# ----------------------------------------------------------------------- on a file


def write_rows(path, n_rows, n_features):
    """Write random float32 rows to a file in pieces."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, n_rows, PARTIAL_ROWS):
            size = (min(PARTIAL_ROWS, n_rows - start), n_features)
            file.write(rng.random(size, dtype=np.float32).tobytes())


def image_fit(X):
    """Return a function of the number of epochs that trains on ``X``."""

    def fit(n_epochs):
        transformer(IMAGE["n_components"], n_epochs, batch_size=FILE_BATCH).fit(X)

    return fit


def bench_on_a_file(arguments):
    """Train on a memory map, on many files, by ``partial_fit``, and in memory."""
    n_features, n_components = IMAGE.values()
    n_rows = int(arguments.gigabytes * GB) // (4 * n_features)
    warm_up(n_features, n_components)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        free = shutil.disk_usage(folder).free
        if free < 2.1 * arguments.gigabytes * GB:
            raise SystemExit(f"{folder} has only {free / GB:.1f} GB free")
        path = Path(folder) / "rows"
        write_rows(path, n_rows, n_features)
        X = np.memmap(path, np.float32, "r", shape=(n_rows, n_features))
        blocks = [Path(folder) / f"{number}.npy" for number in range(N_BLOCKS)]
        for block, rows in zip(blocks, np.array_split(X, N_BLOCKS), strict=True):
            np.save(block, rows)
        in_memory = random_rows(IN_MEMORY_ROWS, n_features)
        fit, fit_in_memory = image_fit(X), image_fit(in_memory)
        fit_blocks = image_fit(blocks)
        fit_in_memory(5)  # compiles
        # The rows in memory do not count as memory of the training on the file.
        before = in_memory.nbytes
        for _ in range(arguments.repeats):
            run = {}
            with peak_anonymous_bytes() as peaks:
                seconds = seconds_of_epochs(fit, 1, 2)
            run["fit, bytes"] = peaks[0] - before
            run["fit, rows/s"] = 2 * n_rows / seconds
            with peak_anonymous_bytes() as peaks:
                seconds = seconds_of_epochs(fit_blocks, 1, 2)
            run["blocks, bytes"] = peaks[0] - before
            run["blocks, rows/s"] = 2 * n_rows / seconds
            # The short fit has two epochs: with one it would not hold its rows.
            seconds = seconds_of_epochs(fit_in_memory, 2, IN_MEMORY_EPOCHS)
            run["memory, rows/s"] = IN_MEMORY_EPOCHS * IN_MEMORY_ROWS / seconds
            with peak_anonymous_bytes() as peaks, stopwatch() as seconds:
                partial = transformer(n_components, 1, batch_size=FILE_BATCH)
                for start in range(0, n_rows, PARTIAL_ROWS):
                    partial.partial_fit(X[start : start + PARTIAL_ROWS])
            run["partial_fit, bytes"] = peaks[0] - before
            run["partial_fit, rows/s"] = n_rows / seconds[0]
            for name in ("fit", "blocks", "partial_fit"):
                ratio = run[f"{name}, rows/s"] / run["memory, rows/s"]
                run[f"{name}, ratio"] = ratio
            runs.append(run)
    return {
        "gigabytes": arguments.gigabytes,
        "rows": n_rows,
        "runs": runs,
        **medians(runs),
    }


def print_on_a_file(result):
    print_table(
        f"A memory map of {result['gigabytes']} GB, 784 -> 196, adam, batch 256",
        [
            {
                "by": name,
                "peak RssAnon, GB": bound_verdict(
                    result[f"{name}, bytes"] / GB, FILE_MEMORY_BOUND
                ),
                "rows/s": f"{result[f'{name}, rows/s']:.0f}",
                "in memory": f"{result['memory, rows/s']:.0f}",
                "ratio": verdict(result[f"{name}, ratio"], THROUGHPUT_FLOOR),
            }
            for name in ("fit", "blocks", "partial_fit")
        ],
    )


# -------------------------------------------------------------------------- copies


def bench_copies(arguments):
    """Measure the memory that ``fit`` adds to an array in memory, for one solver."""
    n_features, n_components = IMAGE.values()
    solver = arguments.variant
    warm_up(n_features, n_components)
    X = random_rows(int(COPIED_BYTES) // (4 * n_features), n_features)
    before = resident_bytes("RssAnon")
    with peak_anonymous_bytes() as peaks:
        transformer(n_components, 2, solver=solver).fit(X)
    return {
        "solver": solver,
        "bytes": X.nbytes,
        "copies": (peaks[0] - before) / X.nbytes,
    }


def print_copies(results):
    print_table(
        "What fit holds beside a float32 array in memory, 784 -> 196",
        [
            {
                "solver": result["solver"],
                "array": f"{result['bytes'] / MB:.0f} MB",
                "copies of it": bound_verdict(result["copies"], COPIES_BOUND),
            }
            for result in results
        ],
    )


# -------------------------------------------------------------------------- epochs


def bench_epochs(arguments):
    """Time an epoch for several numbers of rows, and fit the exponent."""
    runs = []
    X = random_rows(EPOCH_WORKS[-1][0], 64)

    def fit_rows(n_rows):
        return lambda n_epochs: transformer(25, n_epochs, batch_size=256).fit(
            X[:n_rows]
        )

    for n_rows, few, _ in EPOCH_WORKS:
        fit_rows(n_rows)(few)  # compiles
    for _ in range(arguments.repeats):
        runs.append(
            {
                str(n_rows): seconds_of_epochs(fit_rows(n_rows), few, n_epochs)
                / n_epochs
                for n_rows, few, n_epochs in EPOCH_WORKS
            }
        )
    seconds = medians(runs)
    rows = [n_rows for n_rows, _, _ in EPOCH_WORKS]
    exponent, _ = np.polyfit(np.log(rows), np.log(list(seconds.values())), 1)
    return {"runs": runs, "seconds": seconds, "exponent": exponent}


def print_epochs(result):
    print_table(
        f"An epoch, 64 -> 25, batch 256: time ~ rows ** {result['exponent']:.2f}",
        [
            {
                "rows": n_rows,
                "an epoch": f"{1e3 * seconds:.1f} ms",
                "a row": f"{1e9 * seconds / int(n_rows):.0f} ns",
            }
            for n_rows, seconds in result["seconds"].items()
        ],
    )


# ----------------------------------------------------------------------- many fits


def bench_many_fits(arguments):
    """Measure the memory after each of many fits, of one shape or distinct shapes."""
    kind = arguments.variant
    n_fits, n_epochs = FITS[kind]
    X = load_digits().data.astype(np.float32) / 16
    rss = []
    for i in range(n_fits):
        n_components = 25 if kind == "one shape" else 10 + i
        transformer(n_components, n_epochs, batch_size=500).fit(X)
        # The graphs of a shape that is not kept are garbage in a cycle. How much of it
        # lies about depends on when Python last collected: up to 80 MB.
        gc.collect()
        rss.append(resident_bytes())
    return {"kind": kind, "fits": n_fits, "rss": rss}


def print_many_fits(results):
    rows = []
    for result in results:
        growth = (result["rss"][-1] - result["rss"][FIRST_FITS - 1]) / MB
        n_fits = result["fits"] - FIRST_FITS
        rows.append(
            {
                "fits": f"{result['fits']}, {result['kind']}",
                "growth after the first ten, MB": bound_verdict(
                    growth, GROWTH_BOUNDS[result["kind"].partition(",")[0]]
                ),
                "a fit": f"{growth / n_fits:.2f} MB",
            }
        )
    print_table("Resident memory over many fits in one process", rows)


# ---------------------------------------------------------------------------- wide


def bench_wide(arguments):
    """Time a fit with the defaults on few rows of many features, for one solver."""
    warm_up(64, 25)
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(WIDE["n_rows"], WIDE["n_factors"]))
    of_features = rng.normal(size=(WIDE["n_factors"], WIDE["n_features"]))
    noise = rng.normal(size=(WIDE["n_rows"], WIDE["n_features"]))
    X = (factors @ of_features + noise).astype(np.float32)
    del of_features, noise
    before, runs = resident_bytes("RssAnon"), []
    for _ in range(arguments.repeats):
        estimator = SparseAutoencoderTransformer(
            solver=arguments.variant, random_state=0
        )
        with peak_anonymous_bytes() as peaks, stopwatch() as seconds:
            estimator.fit(X)
        runs.append(
            {
                "seconds": seconds[0],
                "bytes": peaks[0] - before,
                "load": os.getloadavg()[0],
            }
        )
    return {
        "solver": arguments.variant,
        "runs": runs,
        **medians(runs),
        "iterations": estimator.n_iter_,
        "objective": estimator.objective_.total,
        "score": estimator.score(X),
    }


def print_wide(results):
    print_table(
        f"The defaults on {WIDE['n_rows']} x {WIDE['n_features']} float32, 16 MB",
        [
            {
                "solver": result["solver"],
                "a fit": f"{result['seconds']:.1f} s",
                "memory beside the rows": f"{result['bytes'] / MB:.0f} MB",
                "iterations": result["iterations"],
                "objective": f"{result['objective']:.0f}",
                "score": f"{result['score']:.3f}",
                "load of the machine": f"{result['load']:.1f}",
            }
            for result in results
        ],
    )


# For each part the function that measures, the one that prints, and the variants, which
# run in processes of their own.
PARTS = {
    "on_a_file": (bench_on_a_file, print_on_a_file, None),
    "copies": (bench_copies, print_copies, ("adam", "lbfgs")),
    "epochs": (bench_epochs, print_epochs, None),
    "many_fits": (bench_many_fits, print_many_fits, tuple(FITS)),
    "wide": (bench_wide, print_wide, ("adam", "lbfgs")),
}


def run_part(name, arguments):
    """Return the results of a part, with a process for each of its variants."""
    command = [__file__, "--part", name, "--repeats", arguments.repeats]
    command += ["--gigabytes", arguments.gigabytes]
    variants = PARTS[name][2]
    if variants is None:
        return run_in_own_process(command)
    return [run_in_own_process([*command, "--variant", v]) for v in variants]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--gigabytes", type=float, default=4, help="of the file")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        warnings.simplefilter("ignore")
        print(json.dumps(PARTS[arguments.part][0](arguments)))
        return
    results = {"versions": versions()}
    print_versions(results["versions"])
    for name in arguments.only:
        results[name] = run_part(name, arguments)
        PARTS[name][1](results[name])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

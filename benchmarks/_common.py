"""Helpers of the benchmarks: timing, tables, data and child processes."""

import contextlib
import gzip
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

# Environment variables that slow the OpenBLAS of NumPy and SciPy.
OPENBLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# The folder in which Debian's package dataset-fashion-mnist puts the files.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

_IMAGES_HEADER, _LABELS_HEADER = 16, 8


@contextlib.contextmanager
def stopwatch():
    """Yield a list that holds the elapsed seconds after the block."""
    elapsed = []
    start = time.perf_counter()
    yield elapsed
    elapsed.append(time.perf_counter() - start)


def resident_bytes(kind="VmRSS"):
    """Return the resident memory of this process; RssAnon leaves mapped files out."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == kind:
            return 1024 * int(value.split()[0])
    raise OSError(f"/proc/self/status has no {kind}")


@contextlib.contextmanager
def peak_anonymous_bytes(interval=0.01):
    """Yield a list that holds the largest RssAnon seen after the block."""
    peaks, largest, done = [], 0, threading.Event()

    def sample():
        nonlocal largest
        while True:
            largest = max(largest, resident_bytes("RssAnon"))
            if done.wait(interval):
                return

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peaks
    finally:
        done.set()
        sampler.join()
        peaks.append(max(largest, resident_bytes("RssAnon")))


def seconds_of_epochs(fit, few, n_epochs):
    """Return the time of ``n_epochs`` epochs: that of a long fit less a short fit."""
    with stopwatch() as short:
        fit(few)
    with stopwatch() as long:
        fit(few + n_epochs)
    return long[0] - short[0]


def medians(runs):
    """Return the median of each key over a list of dicts."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def markdown_table(title, rows):
    """Return a Markdown table under a title; the rows are dicts with the same keys."""
    header = list(rows[0])
    cells = [[str(row[key]) for key in header] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [f"\n{title}\n"]
    for line in (header, ["-" * width for width in widths], *cells):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines)


def print_table(title, rows):
    """Print what ``markdown_table`` returns."""
    print(markdown_table(title, rows), flush=True)


def verdict(ratio, floor):
    """Return a ratio with its floor as text."""
    return f"{ratio:.2f} ({'reaches' if ratio >= floor else 'MISSES'} {floor})"


def bound_verdict(value, bound):
    """Return a value with its upper bound as text."""
    return f"{value:.2f} ({'within' if value <= bound else 'EXCEEDS'} {bound})"


def versions():
    """Return the number of cores and the versions of Python and the libraries."""
    import joblib
    import keras
    import scipy
    import sklearn
    import tensorflow as tf

    return {
        "cores": joblib.cpu_count(),
        "python": sys.version.split()[0],
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
    }


def print_versions(found):
    """Print what ``versions`` returns on one line."""
    print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)


def write_json(path, results):
    """Write every figure to ``path``, unless it is None."""
    if path is not None:
        path.write_text(json.dumps(results, indent=1) + "\n")


def add_choices(parser, works, peers):
    """Add the options that choose works, peers and the folder of the data."""
    parser.add_argument("--only", nargs="+", metavar="WORK", choices=works)
    parser.add_argument("--peers", nargs="+", metavar="NAME", choices=peers)
    parser.add_argument(
        "--fashion-mnist", metavar="DIR", type=Path, default=FASHION_MNIST
    )
    parser.add_argument("--json", type=Path, help="where to write every figure")


def idx_images(file):
    """Return the images of a gzipped IDX file in [0, 1], (n_samples, 784), float32."""
    pixels = np.frombuffer(
        gzip.decompress(file.read_bytes()), np.uint8, offset=_IMAGES_HEADER
    )
    return pixels.reshape(-1, 28 * 28).astype(np.float32) / 255


def fashion_mnist(folder, part="train"):
    """Return the images of a part, "train" or "t10k", and its labels."""
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return (
        idx_images(folder / f"{part}-images-idx3-ubyte.gz"),
        np.frombuffer(labels, np.uint8, offset=_LABELS_HEADER),
    )


def run_in_own_process(arguments, environment=None):
    """Run Python on ``arguments``; return the JSON of the last line that it prints.

    The child has the environment of this process without ``OPENBLAS_SETTINGS``, plus
    the variables of ``environment``.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in OPENBLAS_SETTINGS}
    finished = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=inherited | (environment or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])

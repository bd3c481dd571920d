"""Time a grid search beside plain Keras, and with two jobs beside one.

Run ``python benchmarks/bench_search.py [--repeats N] [--part PART] [--json FILE]``,
where the part is Keras or jobs. What is measured, and how, stands in README.md. The
part "jobs" reads Linux's /proc.
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import threading
import time
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
from _common import (
    bound_verdict,
    medians,
    print_table,
    print_versions,
    run_in_own_process,
    stopwatch,
    verdict,
    versions,
    write_json,
)
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.startup import starting_tensorflow
from sksparse_ae.model_selection import train_together

GRID = {"autoencoder__rho": [0.02, 0.05, 0.1], "autoencoder__beta": [0.3, 1, 3]}
TRANSFORMER_FLOOR, SEARCH_FLOOR, JOBS_FLOOR = 12, 5, 1
# A search that takes about a minute in one process.
LONG = {"n_components": 200, "max_iter": 400}
# Seconds between two looks at the workers. A thread that has run for a larger share of
# them than BUSY counts as busy.
INTERVAL, BUSY = 1.0, 0.1


# ------------------------------------------------------------ both sides of a search


class KerasAutoencoder(TransformerMixin, BaseEstimator):
    """What a user would write: a Keras model behind scikit-learn's interface."""

    def __init__(self, n_components=100, rho=0.05, beta=3.0, batch_size=50, epochs=50):
        self.n_components = n_components
        self.rho = rho
        self.beta = beta
        self.batch_size = batch_size
        self.epochs = epochs

    def fit(self, X, y=None):
        """Train encoder and decoder."""
        import keras

        from sksparse_ae.regularizers import KLDivergenceRegularizer

        def half_squared_error(y_true, y_pred):
            return 0.5 * keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)

        keras.utils.set_random_seed(0)
        inputs = keras.Input((X.shape[1],))
        code = keras.layers.Dense(
            self.n_components,
            "sigmoid",
            kernel_regularizer=keras.regularizers.L2(5e-5),
            activity_regularizer=KLDivergenceRegularizer(self.rho, self.beta),
        )(inputs)
        outputs = keras.layers.Dense(
            X.shape[1], kernel_regularizer=keras.regularizers.L2(5e-5)
        )(code)
        model = keras.Model(inputs, outputs)
        model.compile("adam", half_squared_error)
        model.fit(X, X, batch_size=self.batch_size, epochs=self.epochs, verbose=0)
        self.encoder_ = keras.Model(inputs, code)
        return self

    def transform(self, X):
        """Return the codes."""
        return self.encoder_.predict(X, verbose=0)


def ours(n_components=100, max_iter=50):
    """Return a transformer that trains for exactly ``max_iter`` epochs."""
    return SparseAutoencoderTransformer(
        n_components,
        batch_size=50,
        max_iter=max_iter,
        tol=0,
        n_iter_no_change=1_000_000,
        random_state=0,
    )


def grid_search(autoencoder, n_jobs=1):
    """Return an unfitted search of nine candidates in three folds: 28 fits."""
    pipeline = Pipeline(
        [("autoencoder", autoencoder), ("classifier", LogisticRegression())]
    )
    return GridSearchCV(pipeline, GRID, cv=3, n_jobs=n_jobs)


def scaled_digits():
    """Return the 1797 digits in [0, 1], float32, and their labels."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


# ------------------------------------------------------------ beside plain Keras


class CallTimer:
    """Sums the time in methods of a class; nested calls count once."""

    def __init__(self):
        self.seconds, self.n_calls, self._running = 0.0, 0, False

    def patched(self, owner, name):
        """Return a context in which a method is timed."""
        method = getattr(owner, name)

        def timed(*args, **kwargs):
            if self._running:
                return method(*args, **kwargs)
            self._running = True
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start
                self.n_calls += 1
                self._running = False

        return mock.patch.object(owner, name, timed)


def run_beside_keras(side):
    """Search in this process; imports are done before the time starts."""
    with starting_tensorflow():
        # What is imported here is not timed.
        for module in ("regularizers", "_engine.full_batch"):
            importlib.import_module(f"sksparse_ae.{module}")
        from sksparse_ae._engine.minibatch import MiniBatchProgram
    epoch, shapes = MiniBatchProgram.epoch, []

    def traced(program, data, *args):
        shapes.append(tuple(data.shape))
        return epoch(program, data, *args)

    X, y = scaled_digits()
    autoencoder = KerasAutoencoder() if side == "keras" else ours()
    owner, timer = type(autoencoder), CallTimer()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(MiniBatchProgram, "epoch", traced))
        if side == "together":  # its fits wait for each other: their times mean nothing
            stack.enter_context(train_together())
        else:
            for name in ("fit", "fit_transform", "transform"):
                stack.enter_context(timer.patched(owner, name))
        with stopwatch() as seconds:
            search = grid_search(autoencoder).fit(X, y)
    return {
        "search": seconds[0],
        "transformer": timer.seconds,
        "calls": timer.n_calls,
        "compilations": len(shapes),
        "shapes": len(set(shapes)),
        "best": search.best_score_,
    }


def bench_beside_keras(repeats):
    """Search with ours and with plain Keras in turn, each in its own process."""
    runs = {"ours": [], "together": [], "keras": []}
    ratios = []
    for _ in range(repeats):
        for side, taken in runs.items():
            taken.append(run_in_own_process([__file__, "--in-process", side]))
        mine, theirs = runs["ours"][-1], runs["keras"][-1]
        ratios.append({k: theirs[k] / mine[k] for k in ("transformer", "search")})
    summary = {side: medians(taken) for side, taken in runs.items()}
    return {"runs": runs, "ratios": ratios, "ratio": medians(ratios), **summary}


def print_beside_keras(result):
    print_table(
        "GridSearchCV on the digits, 28 fits, imports excluded",
        [
            {
                "by": side,
                "fit and transform": f"{result[side]['transformer']:.1f} s"
                if side != "together"
                else "",
                "search": f"{result[side]['search']:.1f} s",
                "best score": f"{result[side]['best']:.3f}",
            }
            for side in ("keras", "ours", "together")
        ],
    )
    mine, ratio = result["ours"], result["ratio"]
    print(
        f"\nfit and transform: {verdict(ratio['transformer'], TRANSFORMER_FLOOR)}"
        f"\nsearch: {verdict(ratio['search'], SEARCH_FLOOR)}"
        f"\n{mine['compilations']:.0f} compilations for {mine['shapes']:.0f} shapes: "
        + bound_verdict(mine["compilations"] / max(mine["shapes"], 1), 1),
        flush=True,
    )


# ------------------------------------------------------------ two jobs beside one


def children():
    """Return the ids of this process's children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The state and the parent follow the name, which is in parentheses.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found


def thread_seconds(pid):
    """Return the CPU time of each thread of a process."""
    seconds = {}
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            ticks = int(user) + int(system)
            seconds[stat.parent.name] = ticks / os.sysconf("SC_CLK_TCK")
    return seconds


class Watch:
    """Samples every second the CPU time of the threads of this process's children."""

    def __init__(self):
        self.samples = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._done.set()
        self._thread.join()

    def _look(self):
        before, at = {}, time.perf_counter()
        while not self._done.wait(INTERVAL):
            now = {pid: thread_seconds(pid) for pid in children()}
            elapsed, at = time.perf_counter() - at, time.perf_counter()
            for pid in now.keys() & before.keys():
                shares = [
                    (seconds - before[pid].get(thread, 0)) / elapsed
                    for thread, seconds in now[pid].items()
                ]
                sample = {
                    "cores": sum(shares),
                    "busy": sum(share > BUSY for share in shares),
                    "threads": len(shares),
                }
                self.samples.setdefault(pid, []).append(sample)
            before = now


def tensorflow_threads():
    """Return the numbers of threads to which this worker's TensorFlow is set."""
    import tensorflow as tf

    time.sleep(1)  # so that the other worker takes the other task
    return {
        "pid": os.getpid(),
        "share": os.environ.get("OMP_NUM_THREADS"),
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def run_jobs(n_jobs):
    """Search in ``n_jobs`` processes, their start and imports included."""
    X, y = scaled_digits()
    with Watch() as watch, stopwatch() as seconds:
        search = grid_search(ours(**LONG), n_jobs).fit(X, y)
    workers = []
    if n_jobs > 1:
        settings = Parallel(n_jobs)([delayed(tensorflow_threads)()] * n_jobs)
        for worker in {worker["pid"]: worker for worker in settings}.values():
            samples = watch.samples[worker["pid"]]
            worker["cores"] = statistics.median(s["cores"] for s in samples)
            for key in ("cores", "busy", "threads"):
                worker[f"most_{key}"] = max(s[key] for s in samples)
            workers.append(worker)
    return {"search": seconds[0], "best": search.best_score_, "workers": workers}


def bench_jobs(repeats):
    """Search with one job and with two jobs in turn."""
    runs = {"1": [], "2": []}
    for _ in range(repeats):
        for n_jobs, taken in runs.items():
            taken.append(run_in_own_process([__file__, "--in-process", n_jobs]))
    pairs = zip(*runs.values(), strict=True)
    return {
        "runs": runs,
        "ratio": statistics.median(o["search"] / t["search"] for o, t in pairs),
        **{
            n_jobs: statistics.median(run["search"] for run in taken)
            for n_jobs, taken in runs.items()
        },
    }


def print_jobs(result):
    print_table(
        "A longer search, imports included",
        [{"n_jobs": n_jobs, "search": f"{result[n_jobs]:.1f} s"} for n_jobs in "12"],
    )
    print(f"\none job / two: {verdict(result['ratio'], JOBS_FLOOR)}", flush=True)
    print_table(
        "The workers of each run with two jobs",
        [
            {
                "share (OMP_NUM_THREADS)": worker["share"],
                "TensorFlow's intra-op, inter-op threads": "{intra_op}, "
                "{inter_op}".format(**worker),
                "cores busy, median": f"{worker['cores']:.2f}",
                "most in a second": f"{worker['most_cores']:.2f}",
                "most threads busy in a second": worker["most_busy"],
                "threads": worker["most_threads"],
            }
            for run in result["runs"]["2"]
            for worker in run["workers"]
        ],
    )


PARTS = {
    "Keras": (bench_beside_keras, print_beside_keras),
    "jobs": (bench_jobs, print_jobs),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--part", choices=PARTS, help="default: both")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--in-process", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        warnings.simplefilter("ignore")
        run = run_jobs if arguments.in_process.isdecimal() else run_beside_keras
        asked = arguments.in_process
        print(json.dumps(run(int(asked) if asked.isdecimal() else asked)))
        return
    results = {"versions": versions()}
    print_versions(results["versions"])
    for part, (bench, show) in PARTS.items():
        if arguments.part in (None, part):
            results[part] = bench(arguments.repeats)
            show(results[part])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

"""Time the training engine beside plain Keras and hand-written NumPy.

Run ``python benchmarks/bench_engine.py [--repeats N] [--json FILE]``. What is measured,
and how, stands in README.md.
"""

import argparse
import functools
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from _common import (
    medians,
    print_table,
    print_versions,
    run_in_own_process,
    seconds_of_epochs,
    stopwatch,
    verdict,
    versions,
    write_json,
)
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches


class StepWork(NamedTuple):
    """A training whose steps are timed, and the smallest ratio to Keras expected."""

    n_samples: int
    n_features: int
    n_components: int
    batch_size: int
    epochs: int
    keras_epochs: int
    floor: float


# The timed epochs take about a second on either side.
STEP_WORKS = [
    StepWork(10_000, 64, 25, 256, epochs=200, keras_epochs=20, floor=8),
    StepWork(10_000, 576, 250, 50, epochs=20, keras_epochs=6, floor=4),
    StepWork(20_000, 784, 196, 256, epochs=15, keras_epochs=5, floor=3),
]
LBFGS_FLOORS = {"float32": 4, "float64": 3}
LBFGS_ITERATIONS = 400
# NumPy and SciPy bring an OpenBLAS each. Its threads spin while they wait for work, so
# that the two slow each other, and a single thread is faster than all cores.
NUMPY_ENVIRONMENTS = {
    "NumPy": {},
    "NumPy, one BLAS thread": {"OPENBLAS_NUM_THREADS": "1"},
}
NG = {"rho": 0.01, "beta": 3.0, "weight_decay": 1e-4}


# ------------------------------------------------------------ steps beside Model.fit


def step_data(work):
    """Return centred float32 rows: patches where their size fits, else noise.

    Ours trains on centred rows. With centred data, both take the same steps.
    """
    side = round(work.n_features**0.5)
    if work.n_samples == 10_000:
        X = load_natural_image_patches(work.n_samples, patch_size=side, random_state=0)
    else:
        X = np.random.default_rng(0).normal(size=(work.n_samples, work.n_features))
    return (X - X.mean(axis=0)).astype(np.float32)


def step_transformer(work, max_iter, **settings):
    """Return our transformer with the arithmetic of plain Keras: batch means only."""
    settings = {
        "learning_rate": 1e-3,
        "rho": 0.05,
        "weight_decay": 1e-4,
        "batch_size": work.batch_size,
    } | settings
    return SparseAutoencoderTransformer(
        work.n_components,
        max_iter=max_iter,
        rho_hat="batch",
        scale=False,
        tol=0,
        n_iter_no_change=1_000_000,
        random_state=0,
        **settings,
    )


def epochs_to_compile(work):
    """Return the epochs for 1000 steps; shorter fits may not be compiled."""
    return -(-1000 * work.batch_size // work.n_samples)


def same_start_in_keras(work, X):
    """Return a Keras model that has the weights from which ``fit`` starts."""
    # With this rate, the fit leaves the weights as they are.
    model = step_transformer(work, 1, learning_rate=1e-30).fit(X).to_keras()
    model.optimizer.learning_rate = 1e-3
    return model


def bench_steps(work, repeats):
    """Time a step of ours and of ``keras.Model.fit`` in turn."""
    import keras

    X = step_data(work)
    few = epochs_to_compile(work)
    model = same_start_in_keras(work, X)

    def fit(n_epochs, **settings):
        return step_transformer(work, n_epochs, **settings).fit(X)

    def keras_fit(n_epochs, shuffle=True, batch_size=work.batch_size):
        model.fit(
            X,
            X,
            batch_size=batch_size,
            epochs=n_epochs,
            shuffle=shuffle,
            verbose=0,
        )

    # The warm-up compiles both sides. It also shows that both do the same: without
    # shuffling, from the same start, they must arrive at the same objective. "adam"
    # itself would take other steps, along principal axes, and average its weights.
    # Keras would give a last batch of few rows as much say as the others.
    even = max(n for n in range(1, work.batch_size + 1) if work.n_samples % n == 0)
    same = {"shuffle": False, "batch_size": even}
    adam = keras.optimizers.Adam.from_config(model.optimizer.get_config())
    objective = fit(few, solver=adam, **same).objective_.total
    fit(few)
    keras_fit(few, **same)
    keras_objective = model.evaluate(X, X, batch_size=1000, verbose=0)
    np.testing.assert_allclose(objective, keras_objective, rtol=1e-3)

    n_steps = -(-work.n_samples // work.batch_size)
    runs = []
    for _ in range(repeats):
        ours = seconds_of_epochs(fit, few, work.epochs) / work.epochs
        theirs = seconds_of_epochs(keras_fit, 1, work.keras_epochs) / work.keras_epochs
        runs.append(
            {
                "ours_us": 1e6 * ours / n_steps,
                "keras_us": 1e6 * theirs / n_steps,
                "ratio": theirs / ours,
            }
        )
    return {
        "work": work._asdict(),
        "objective": objective,
        "keras_objective": keras_objective,
        "runs": runs,
        **medians(runs),
    }


def print_steps(results):
    print_table(
        "One optimisation step, whole-epoch average",
        [
            {
                "data, batch": "{n_samples} x {n_features} -> {n_components}, "
                "{batch_size}".format(**result["work"]),
                "ours": f"{result['ours_us']:.0f} us",
                "Model.fit": f"{result['keras_us']:.0f} us",
                "ratio": verdict(result["ratio"], result["work"]["floor"]),
                "objectives": f"{result['objective']:.4f}, "
                f"{result['keras_objective']:.4f}",
            }
            for result in results
        ],
    )


# ---------------------------------------------------------------------- second fits


def bench_second_fit():
    """Time a first fit and one with other settings and rows; count the traces.

    Run it before anything else compiles this shape.
    """
    from sksparse_ae._engine.minibatch import MiniBatchProgram

    work = STEP_WORKS[0]
    X = step_data(work)
    n_traces = 0
    epoch = MiniBatchProgram.epoch

    @functools.wraps(epoch)
    def counted(*args):
        nonlocal n_traces
        n_traces += 1
        return epoch(*args)

    first = step_transformer(work, 100)
    second = step_transformer(
        work, 100, rho=0.1, beta=1.0, weight_decay=1e-3, learning_rate=3e-3
    ).set_params(random_state=1)
    result = {}
    with mock.patch.object(MiniBatchProgram, "epoch", counted):
        for name, transformer, n_samples in (
            ("first", first, work.n_samples),
            ("second", second, work.n_samples * 93 // 100),
        ):
            n_traces = 0
            with stopwatch() as seconds:
                transformer.fit(X[:n_samples])
            result[name] = {
                "n_samples": n_samples,
                "seconds": seconds[0],
                "traces": n_traces,
            }
    return result


def print_second_fit(result):
    print_table(
        "A second fit with other rho, beta, weight_decay, learning_rate, seed and rows",
        [
            {
                "fit": name,
                "rows": fit["n_samples"],
                "wall time": f"{fit['seconds']:.2f} s",
                "traces": fit["traces"],
            }
            for name, fit in result.items()
        ],
    )


# ------------------------------------------------------------ L-BFGS beside NumPy


class NumpyObjective:
    """Ng's objective and gradient by hand, in the dtype of the data.

    Parameters
    ----------
    inputs : ndarray of shape (n_samples, n_features)
        The rows that the network reads, centred as ours are.
    targets : ndarray of shape (n_samples, n_features)
        The rows that the network reconstructs.
    n_components : int
    rho, beta, weight_decay : float
    """

    def __init__(self, inputs, targets, n_components, *, rho, beta, weight_decay):
        self.inputs, self.targets = inputs, targets
        self.rho, self.beta, self.weight_decay = rho, beta, weight_decay
        n_samples, n_features = inputs.shape
        self.shapes = [
            (n_features, n_components),
            (n_components,),
            (n_components, n_features),
            (n_features,),
        ]
        self.ends = np.cumsum([np.prod(shape) for shape in self.shapes])[:-1]
        dtype = inputs.dtype
        self.code, self.delta2 = np.empty((2, n_samples, n_components), dtype)
        self.output, self.delta3 = np.empty((2, n_samples, n_features), dtype)

    def __call__(self, vector):
        """Return the objective and its gradient, in float64 for SciPy."""
        vector = vector.astype(self.inputs.dtype)
        W1, b1, W2, b2 = (
            part.reshape(shape)
            for part, shape in zip(
                np.split(vector, self.ends), self.shapes, strict=True
            )
        )
        code, output, delta2, delta3 = self.code, self.output, self.delta2, self.delta3
        rho, beta, n_samples = self.rho, self.beta, len(self.inputs)

        np.matmul(self.inputs, W1, out=code)
        code += b1
        expit(code, out=code)
        np.matmul(code, W2, out=output)
        output += b2
        expit(output, out=output)
        rho_hat = code.mean(axis=0)
        np.subtract(output, self.targets, out=delta3)
        error = np.vdot(delta3, delta3) / (2 * n_samples)
        decay = self.weight_decay / 2 * (np.vdot(W1, W1) + np.vdot(W2, W2))
        divergence = rho * np.log(rho / rho_hat) + (1 - rho) * np.log(
            (1 - rho) / (1 - rho_hat)
        )

        # delta3 = (h - x) h (1 - h). The division by n_samples comes at the end.
        delta3 *= output
        np.subtract(1, output, out=output)
        delta3 *= output
        W2_gradient = code.T @ delta3
        b2_gradient = delta3.sum(axis=0)
        np.matmul(delta3, W2.T, out=delta2)
        delta2 += beta * ((1 - rho) / (1 - rho_hat) - rho / rho_hat)
        delta2 *= code
        np.subtract(1, code, out=code)
        delta2 *= code
        W1_gradient = self.inputs.T @ delta2
        b1_gradient = delta2.sum(axis=0)
        gradient = np.concatenate(
            [g.ravel() for g in (W1_gradient, b1_gradient, W2_gradient, b2_gradient)],
            dtype=np.float64,
        )
        gradient /= n_samples
        W1_end, b1_end, W2_end = self.ends
        gradient[:W1_end] += self.weight_decay * vector[:W1_end]
        gradient[b1_end:W2_end] += self.weight_decay * vector[b1_end:W2_end]
        return float(error + decay + beta * divergence.sum()), gradient


def run_numpy(problem_file):
    """Minimise NumpyObjective in this process and print the figures as JSON."""
    with np.load(problem_file) as problem:
        targets = problem["X"]
        start, max_corrections = problem["start"], int(problem["max_corrections"])
    inputs = targets - targets.mean(axis=0, dtype=np.float64).astype(targets.dtype)
    objective = NumpyObjective(inputs, targets, STEP_WORKS[0].n_components, **NG)
    objective(start)
    with stopwatch() as seconds:
        result = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": LBFGS_ITERATIONS,
                "maxfun": np.inf,
                "maxcor": max_corrections,
                "gtol": 0,
                "ftol": 0,
            },
        )
    taken = {
        "total": seconds[0],
        "evaluations": result.nfev,
        "iterations": result.nit,
        "ms": 1e3 * seconds[0] / result.nfev,
        "objective": float(result.fun),
    }
    print(json.dumps(taken))


def numpy_in_own_process(X, start, max_corrections, environment):
    """Return what ``run_numpy`` takes in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        np.savez(problem, X=X, start=start, max_corrections=max_corrections)
        return run_in_own_process([__file__, "--numpy", problem], environment)


def fit_lbfgs(X, max_iter):
    """Fit ours; return what it took, its start and its number of corrections.

    No iteration gains too little to go on from, as with ftol=0 for SciPy.
    """
    transformer = SparseAutoencoderTransformer(
        STEP_WORKS[0].n_components,
        output_activation="sigmoid",
        solver="lbfgs",
        init="uniform",
        scale=False,
        max_iter=max_iter,
        tol=0,
        random_state=0,
        **NG,
    )
    from sksparse_ae._engine.full_batch import FullBatchObjective
    from sksparse_ae._training import lbfgs

    evaluate, points = FullBatchObjective.__call__, []
    begun = ended = None

    def timed(objective, point):
        nonlocal begun, ended
        begun = begun or time.perf_counter()
        if not points:
            points.append(point)
        n_evaluated[0] += 1
        result = evaluate(objective, point)
        ended = time.perf_counter()
        return result

    n_evaluated = [0]
    with (
        mock.patch.object(FullBatchObjective, "__call__", timed),
        mock.patch.object(lbfgs, "LEAST_GAIN", -np.inf),
        stopwatch() as seconds,
    ):
        transformer.fit(X)
    taken = {
        "total": seconds[0],
        "evaluations": n_evaluated[0],
        "iterations": transformer.n_iter_,
        "ms": 1e3 * (ended - begun) / n_evaluated[0],
        "objective": transformer.objective_.total,
    }
    return taken, points[0], lbfgs.N_CORRECTIONS


def bench_lbfgs(dtype, repeats):
    """Time L-BFGS on Ng's patches, ours and NumPy's in turn."""
    X = load_natural_image_patches(random_state=0).astype(dtype)
    fit_lbfgs(X, 100)
    runs = {name: [] for name in ("ours", *NUMPY_ENVIRONMENTS)}
    for _ in range(repeats):
        ours, *problem = fit_lbfgs(X, LBFGS_ITERATIONS)
        runs["ours"].append(ours)
        for name, environment in NUMPY_ENVIRONMENTS.items():
            theirs = numpy_in_own_process(X, *problem, environment)
            theirs["ratio"] = theirs["ms"] / ours["ms"]
            theirs["total_ratio"] = theirs["total"] / ours["total"]
            runs[name].append(theirs)
    summary = {name: medians(taken) for name, taken in runs.items()}
    return {"dtype": dtype, "runs": runs, **summary}


def print_lbfgs(results):
    rows = []
    for result in results:
        for name in ("ours", *NUMPY_ENVIRONMENTS):
            taken = result[name]
            row = {
                "dtype": result["dtype"],
                "by": name,
                "total": f"{taken['total']:.2f} s",
                "evaluations": f"{taken['evaluations']:.0f}",
                "an evaluation": f"{taken['ms']:.2f} ms",
                "iterations": f"{taken['iterations']:.0f}",
                "objective": f"{taken['objective']:.4f}",
                "ratio": "",
                "ratio of totals": "",
            }
            if name != "ours":
                floor = LBFGS_FLOORS[result["dtype"]]
                row["ratio"] = verdict(taken["ratio"], floor)
                row["ratio of totals"] = f"{taken['total_ratio']:.1f}"
            rows.append(row)
    print_table("L-BFGS on Ng's patches", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--numpy", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.numpy:
        run_numpy(arguments.numpy)
        return
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = {"versions": versions()}
    print_versions(results["versions"])
    results["second_fit"] = bench_second_fit()
    print_second_fit(results["second_fit"])
    results["steps"] = [bench_steps(work, arguments.repeats) for work in STEP_WORKS]
    print_steps(results["steps"])
    results["lbfgs"] = [bench_lbfgs(dtype, arguments.repeats) for dtype in LBFGS_FLOORS]
    print_lbfgs(results["lbfgs"])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

"""Compare what two checkouts of the package fit, array by array.

Run ``python benchmarks/golden_fits.py OLD [NEW] [--rtol RTOL] [--only NAME ...]``.

OLD and NEW are folders that hold the package; NEW is this checkout if it is left out.
Each checkout fits the settings below in a process of its own, on the same data. The
script lists every fitted array that differs by more than RTOL, 0 by default, and exits
with 1 if there is one. Hold a change that only moves code against RTOL 0. Hold a change
of the order of sums against 1e-6, and say why it is needed. The script needs
scikit-learn 1.9 or later.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

# Data of this shape are larger than what a training holds in memory: they are streamed.
STREAMED_SHAPE = (60_000, 1200)

FEW = {"n_components": 8, "max_iter": 6, "random_state": 0}


class Died(Exception):
    """Raised instead of a killed process."""


class DyingCallback:
    """A callback of scikit-learn that ends a training at its third iteration."""

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Raise at the third iteration."""
        if context.parent is not None and context.task_id == 2:
            raise Died


# ------------------------------------------------------------------------- settings


def digits(n_rows=400):
    return load_digits().data[:n_rows] / 16


def autoencoder(**settings):
    from sksparse_ae import SparseAutoencoderTransformer

    return SparseAutoencoderTransformer(**FEW | settings)


def fit(X=None, **settings):
    return autoencoder(**settings).fit(digits() if X is None else X)


def warm_start(**settings):
    return fit(warm_start=True, **settings).fit(digits())


def partial_fit(**settings):
    estimator = autoencoder(**settings)
    for piece in (*np.array_split(digits(), 5), digits()[:7]):
        estimator.partial_fit(piece)
    return estimator


def fit_and_partial_fit():
    return fit().partial_fit(digits()[:50])


def pickled_between():
    estimator = fit(warm_start=True)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(estimator, Path(folder, "estimator"))
        return joblib.load(Path(folder, "estimator")).fit(digits())


def resumed(**settings):
    with tempfile.TemporaryDirectory() as folder:
        estimator = autoencoder(checkpoint_dir=folder, **settings)
        with contextlib.suppress(Died):
            clone(estimator).set_callbacks(DyingCallback()).fit(digits())
        assert list(Path(folder).iterdir()), "the training left no checkpoint"
        return estimator.fit(digits())


def optimizer(name, **options):
    import keras

    return fit(solver=getattr(keras.optimizers, name)(**options))


def streamed(**settings):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        X = np.lib.format.open_memmap(path, "w+", np.float32, STREAMED_SHAPE)
        rng = np.random.default_rng(0)
        for rows in np.array_split(np.arange(len(X)), 20):
            X[rows] = rng.random((len(rows), X.shape[1]), np.float32) ** 2
        X = np.load(path, mmap_mode="r")
        return fit(X, **{"n_components": 4, "max_iter": 1, **settings})


def search(together):
    from sksparse_ae.model_selection import train_together

    grid = {"rho": [0.05, 0.1], "beta": [0.5, 3.0], "max_iter": [4, 6]}
    with train_together() if together else contextlib.nullcontext():
        search = GridSearchCV(autoencoder(), grid, cv=2).fit(digits())
    return search.best_estimator_, search.cv_results_["mean_test_score"]


def fine_tuned(**settings):
    from sksparse_ae.stacks import fine_tune

    layers = autoencoder(), autoencoder(n_components=5, scale=False)
    pipeline = make_pipeline(StandardScaler(), *layers, LogisticRegression())
    y = load_digits().target[:400]
    pipeline.fit(digits(), y)
    fine_tune(pipeline, digits(), y, **{"max_iter": 4, "random_state": 0, **settings})
    return tuple(step for _, step in pipeline.steps[1:])


def counts():
    return sparse.random(300, 500, 0.05, "csr", random_state=0)


SETTINGS = {
    "defaults": fit,
    "float32": lambda: fit(digits().astype(np.float32)),
    "more columns than rows": lambda: fit(digits(40)),
    "one column constant": lambda: fit(np.column_stack([digits(), np.ones(400)])),
    "sgd": lambda: fit(solver="sgd"),
    "sgd, rate": lambda: fit(solver="sgd", learning_rate=0.01),
    "adam, rate": lambda: fit(learning_rate=0.003),
    "RMSprop": lambda: optimizer("RMSprop"),
    "AdamW": lambda: optimizer("AdamW", learning_rate=0.002, weight_decay=0.01),
    "lbfgs": lambda: fit(solver="lbfgs"),
    "lbfgs, float32": lambda: fit(digits().astype(np.float32), solver="lbfgs"),
    "lbfgs, CSR": lambda: fit(counts(), solver="lbfgs"),
    "lbfgs, early stopping": lambda: fit(solver="lbfgs", early_stopping=True),
    "tanh": lambda: fit(activation="tanh"),
    "relu": lambda: fit(activation="relu"),
    "tanh, lbfgs": lambda: fit(activation="tanh", solver="lbfgs"),
    "relu, lbfgs": lambda: fit(activation="relu", solver="lbfgs"),
    "sigmoid output": lambda: fit(output_activation="sigmoid"),
    "relu output": lambda: fit(output_activation="relu"),
    "tanh output": lambda: fit(2 * digits() - 1, output_activation="tanh"),
    "log loss": lambda: fit(loss="log_loss", output_activation="sigmoid"),
    "log loss, lbfgs": lambda: fit(
        loss="log_loss", output_activation="sigmoid", solver="lbfgs"
    ),
    "numbers for all": lambda: fit(rho=0.1, beta=1.0, weight_decay=1e-3),
    "no scale": lambda: fit(scale=False),
    "no penalties": lambda: fit(beta=0.0, weight_decay=0.0),
    "rho_hat of a batch": lambda: fit(rho_hat="batch"),
    "uniform start": lambda: fit(init="uniform"),
    "batches of 32": lambda: fit(batch_size=32),
    "one batch": lambda: fit(batch_size=400),
    "unshuffled": lambda: fit(shuffle=False),
    "early stopping": lambda: fit(early_stopping=True, max_iter=15),
    "stall": lambda: fit(tol=0.5, n_iter_no_change=2, max_iter=30),
    "revive": lambda: fit(revive=True, activation="relu", max_iter=15),
    "topk": lambda: fit(sparsity="topk", rho=0.3, max_iter=15),
    "batchtopk": lambda: fit(sparsity="batchtopk", rho=0.3, max_iter=15),
    "lifetime": lambda: fit(sparsity="lifetime", rho=0.3, max_iter=15),
    "CSR": lambda: fit(counts()),
    "CSR, log loss": lambda: fit(
        counts(), loss="log_loss", output_activation="sigmoid"
    ),
    "warm start": warm_start,
    "warm start, sgd": lambda: warm_start(solver="sgd"),
    "warm start, lbfgs": lambda: warm_start(solver="lbfgs"),
    "warm start after a pickle": pickled_between,
    "partial_fit": partial_fit,
    "partial_fit, sgd": lambda: partial_fit(solver="sgd"),
    "partial_fit, sigmoid output": lambda: partial_fit(output_activation="sigmoid"),
    "partial_fit after fit": fit_and_partial_fit,
    "checkpoint": resumed,
    "checkpoint, early stopping": lambda: resumed(early_stopping=True),
    "checkpoint, lbfgs": lambda: resumed(solver="lbfgs"),
    "memory map": streamed,
    "memory map, lbfgs": lambda: streamed(solver="lbfgs"),
    "search": lambda: search(together=False),
    "train_together": lambda: search(together=True),
    "fine_tune": fine_tuned,
    "fine_tune, early stopping": lambda: fine_tuned(early_stopping=True),
    "pipeline": lambda: make_pipeline(MinMaxScaler(), autoencoder()).fit(digits())[-1],
}


# ----------------------------------------------------------------------- comparison


def arrays_of(value, name="", found=None):
    """Return the arrays within a value by name; of estimators, the fitted arrays."""
    found = {} if found is None else found
    if hasattr(value, "get_params"):
        fitted = {k: v for k, v in vars(value).items() if k.endswith("_")}
        return arrays_of(fitted, name, found)
    if isinstance(value, dict):
        for key, item in value.items():
            arrays_of(item, f"{name}.{key}" if name else str(key), found)
    elif isinstance(value, (list, tuple)) and not all(np.isscalar(v) for v in value):
        for number, item in enumerate(value):
            arrays_of(item, f"{name}[{number}]", found)
    elif (array := np.asarray(value)).dtype.kind in "biufU":
        found[name] = array
    return found


def record(names, file):
    """Fit settings with the package on the path, and write their arrays to a file."""
    recorded = {}
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recorded[name] = arrays_of(SETTINGS[name]())
    joblib.dump(recorded, file)


def differences(old, new, rtol):
    """Describe each difference between the arrays of a setting."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            yield f"{name} is only in the {'old' if name in old else 'new'} fit"
            continue
        one, other = old[name], new[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            yield f"{name}: {one.dtype}{one.shape} became {other.dtype}{other.shape}"
        elif one.dtype.kind == "U" or one.dtype.kind == "b":
            if (one != other).any():
                yield f"{name}: {one} became {other}"
        elif not np.array_equal(one, other, equal_nan=True):
            size = np.nanmax(np.abs(one), initial=0.0)
            difference = np.nanmax(np.abs(one - other), initial=0.0)
            relative = difference / size if size > 0 else np.inf
            if not relative <= rtol:
                yield f"{name}: {relative:.1e} relative"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("new", type=Path, nargs="?", default=here)
    parser.add_argument("--rtol", type=float, default=0.0)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--record", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.record:
        record(arguments.only, arguments.record)
        return 0
    recorded = []
    with tempfile.TemporaryDirectory() as folder:
        for number, checkout in enumerate((arguments.old, arguments.new)):
            file = os.path.join(folder, str(number))
            command = [sys.executable, __file__, str(checkout), "--record", file]
            environment = {
                **os.environ,
                "PYTHONPATH": str(checkout.resolve()),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
            subprocess.run(
                [*command, "--only", *arguments.only], env=environment, check=True
            )
            recorded.append(joblib.load(file))
    n_arrays, n_settings = 0, 0
    for name in arguments.only:
        old, new = (arrays[name] for arrays in recorded)
        n_arrays += len(old)
        found = list(differences(old, new, arguments.rtol))
        n_settings += bool(found)
        for difference in found:
            print(f"{name}: {difference}")
    print(
        f"{len(arguments.only)} settings, {n_arrays} arrays: {n_settings} settings "
        f"differ by more than {arguments.rtol:g}."
    )
    return int(n_settings > 0)


if __name__ == "__main__":
    sys.exit(main())

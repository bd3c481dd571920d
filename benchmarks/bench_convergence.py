"""Measure whether fit with its defaults reaches the minimum of the objective.

Run ``python benchmarks/bench_convergence.py [--group grid|real|all] [--only DATA ...]
[--n-components S ...] [--solver S ...] [--share I/N] [--sample N | --full]
[--seed SEED] [--effort SHARE] [--references FILE] [--fashion-mnist DIR] [--verbose]
[--json FILE]``.

grid
    Ten data sets, crossed with n_components, rho, activation, batch_size, solver and
    seed; everything else is a default. The objective over all rows is compared with the
    lowest one known: that of a long L-BFGS, of sgd, of a long Adam, or of any case. The
    script counts the cases that end higher than the scatter of local minima explains,
    with and without a warning.
real
    Data as users bring them, fitted by the defaults with 200 units. The script prints
    how much is explained, also in the worst column, and the warnings of fit.

The references take most of the time. They are kept in a file, so that a run can be
stopped and started again. With Ctrl-C the script prints what it has so far.
"""

import argparse
import functools
import itertools
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import (
    FASHION_MNIST,
    fashion_mnist,
    print_table,
    print_versions,
    stopwatch,
    versions,
    write_json,
)
from _peers import import_keras
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_sample_image,
    load_wine,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

# Data with more values than this are float32.
LARGEST_FLOAT64 = 500_000

# What the data sets of the grid are crossed with.
N_COMPONENTS = (10, 25, 100, 200, 300, 1000, 4000)
RHOS = (0.01, 0.05, 0.2)
ACTIVATIONS = ("sigmoid", "tanh", "relu")
BATCH_SIZES = ("auto", 32, 1000)
SOLVERS = ("adam", "sgd")
SEEDS = (0, 1, 2)

# MANY_COMPONENTS units are trained only on data of at most FEATURES_OF_MANY features.
MANY_COMPONENTS, FEATURES_OF_MANY = 4000, 64

# The trainings with which a case is compared, besides the other cases of its objective.
REFERENCES = {
    "lbfgs": {"solver": "lbfgs", "max_iter": 2000, "tol": 1e-6},
    "sgd": {"solver": "sgd", "max_iter": 1000},
    "adam": {"solver": "adam", "max_iter": 3000, "tol": 0.0},
}

# A ratio to the lowest objective up to NEAR counts as near; one above FAR is listed.
NEAR, FAR = 1.01, 1.05

# A training rises if its last objective exceeds RISE times the lowest mean of
# RISE_EPOCHS epochs.
RISE_EPOCHS, RISE = 5, 1.02

# The rows are split into files, the first of which is in another unit. All files are
# read N_PASSES times.
N_FILES, UNIT_OF_FIRST_FILE, N_PASSES = 10, 0.1, 30


# ---------------------------------------------------------------------------- data


def low_rank():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((200, 10)) @ rng.standard_normal((10, 2000))
    return factors + 0.1 * rng.standard_normal(factors.shape)


def standardized(load):
    return StandardScaler().fit_transform(load().data)


def common_factor():
    """Return the readings of 50 thermometers in one place while the weather changes."""
    rng = np.random.default_rng(0)
    weather = rng.standard_normal((2000, 1)).cumsum(axis=0)
    return weather + 0.5 * rng.standard_normal((2000, 50))


def colour_patches():
    image = load_sample_image("flower.jpg") / 255
    patches = extract_patches_2d(image, (6, 6), max_patches=5000, random_state=0)
    return patches.reshape(len(patches), -1)


def counts():
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(0.5, size=(80, 5)) @ rng.gamma(0.5, size=(5, 3000)))


def mixed_scale():
    X = np.random.default_rng(0).standard_normal((1000, 10))
    X[:, 0] *= 50_000
    return X


def drifting_scale():
    """Return digits whose first file is in another unit."""
    X = load_digits().data
    np.array_split(X, N_FILES)[0][:] *= UNIT_OF_FIRST_FILE
    return X


GRID = {
    "digits": lambda: load_digits().data,
    "digits-unit": lambda: load_digits().data / 16,
    "digits-standard": lambda: standardized(load_digits),
    "breast-cancer": lambda: standardized(load_breast_cancer),
    "wine": lambda: standardized(load_wine),
    "iris": lambda: standardized(load_iris),
    "patches": lambda: load_natural_image_patches(random_state=0),
    "fashion-mnist": lambda folder: fashion_mnist(folder)[0][:10_000].copy(),
    "noise": lambda: np.random.default_rng(0).standard_normal((1000, 30)),
    "low-rank": low_rank,
}

REAL = {
    "common-factor": common_factor,
    "colour-patches": colour_patches,
    "random-walks": lambda: (
        np.random.default_rng(0).standard_normal((1500, 60)).cumsum(axis=1)
    ),
    "sigmoid-output": lambda: load_digits().data / 16,
    "counts": counts,
    "mixed-scale": mixed_scale,
    "drifting-scale": drifting_scale,
}

# Settings of the data that are not fitted by the defaults alone.
REAL_SETTINGS = {"sigmoid-output": {"output_activation": "sigmoid"}}


@functools.cache
def training_rows(name, data_folder):
    """Return the data of a name."""
    given = [data_folder] if name == "fashion-mnist" else []
    X = (GRID | REAL)[name](*given)
    return X.astype(np.float32 if X.size > LARGEST_FLOAT64 else np.float64)


# ------------------------------------------------------------------------ training


def trained(fit, **settings):
    """Train an estimator by ``fit``; return it, its warnings and the seconds."""
    estimator = SparseAutoencoderTransformer(**settings)
    with warnings.catch_warnings(record=True) as found, stopwatch() as seconds:
        warnings.simplefilter("always")
        # Python does not show them to users.
        warnings.simplefilter("ignore", DeprecationWarning)
        fit(estimator)
    if any("interrupted by user" in str(warning.message) for warning in found):
        raise KeyboardInterrupt
    return estimator, found, seconds[0]


def texts(found):
    """Return the distinct categories and first words of warnings."""
    return list(
        dict.fromkeys(f"{w.category.__name__}: {str(w.message)[:80]}" for w in found)
    )


def error_text(error):
    return f"{type(error).__name__}: {str(error)[:300]}"


def rises(estimator):
    """Return whether a training ends above the lowest part of its curve."""
    curve, width = estimator.loss_curve_, min(RISE_EPOCHS, estimator.n_iter_)
    means = np.convolve(curve, np.full(width, 1 / width), mode="valid")
    return bool(estimator.objective_.total > RISE * means.min())


# ---------------------------------------------------------------------------- grid


class Case(NamedTuple):
    """A fit of the grid."""

    data: str
    n_components: int
    rho: float
    activation: str
    batch_size: str | int
    solver: str
    seed: int

    @property
    def objective_settings(self):
        """The settings on which the objective depends."""
        return {name: getattr(self, name) for name in self._fields[1:4]}

    @property
    def objective(self):
        """The key of the objective in the references."""
        return " ".join(map(str, self[:4]))

    @property
    def settings(self):
        """All settings of the estimator."""
        return self.objective_settings | {
            "batch_size": self.batch_size,
            "solver": self.solver,
            "random_state": self.seed,
        }


def cases_of(name, arguments):
    """Return every case of a data set."""
    n_rows, n_features = training_rows(name, arguments.fashion_mnist).shape
    crossed = itertools.product(
        *([name], arguments.n_components, RHOS, ACTIVATIONS, BATCH_SIZES),
        *(arguments.solver, SEEDS),
    )
    return [
        case
        for case in map(Case._make, crossed)
        if (case.batch_size == "auto" or case.batch_size <= n_rows)
        and (case.n_components < MANY_COMPONENTS or n_features <= FEATURES_OF_MANY)
    ]


def chosen_cases(names, arguments):
    """Return the cases to run; cases of one objective follow each other."""
    cases = [case for name in names for case in cases_of(name, arguments)]
    number, n_shares = arguments.share
    start, end = (len(cases) * n // n_shares for n in (number - 1, number))
    cases = cases[start:end]
    if arguments.full or arguments.sample >= len(cases):
        return cases
    drawn = random.Random(arguments.seed).sample(range(len(cases)), arguments.sample)
    return [cases[i] for i in sorted(drawn)]


class References:
    """The lowest objectives known, kept in a file for later runs.

    Parameters
    ----------
    file : Path
    effort : float
        Share of the references' iterations that are run.

    Attributes
    ----------
    known : dict
        For every objective a dict by the name of the reference, or "case". Its values
        have the ``objective``; those of references also have ``max_iter``, ``n_iter``,
        ``warnings`` or ``error``.
    """

    def __init__(self, file, effort):
        self._file, self._effort, self._searched = file, effort, set()
        self.known = json.loads(file.read_text()) if file.exists() else {}

    def _save(self):
        # A run that is killed while it writes leaves the file as it was.
        part = self._file.with_name(self._file.name + ".part")
        write_json(part, self.known)
        part.replace(self._file)

    def search(self, case, X):
        """Train the missing references of a case's objective, once in a run."""
        if case.objective in self._searched:
            return
        self._searched.add(case.objective)
        known = self.known.setdefault(case.objective, {})
        for name, settings in REFERENCES.items():
            max_iter = max(round(self._effort * settings["max_iter"]), 1)
            before = known.get(name, {})
            if "objective" in before and before["max_iter"] >= max_iter:
                continue
            settings = case.objective_settings | settings | {"max_iter": max_iter}
            known[name] = self._train(X, settings)
            if "objective" in before:
                lowest = min(known[name].get("objective", np.inf), before["objective"])
                known[name]["objective"] = lowest
            self._save()
            report(f"{case.objective}, reference {name}", known[name])

    @staticmethod
    def _train(X, settings):
        try:
            estimator, found, seconds = trained(
                lambda e: e.fit(X), random_state=0, **settings
            )
        except Exception as error:
            return {"max_iter": settings["max_iter"], "error": error_text(error)}
        return {
            "max_iter": settings["max_iter"],
            "objective": estimator.objective_.total,
            "n_iter": estimator.n_iter_,
            "warnings": texts(found),
            "seconds": seconds,
        }

    def note(self, case, objective):
        """Record the objective that a case has reached."""
        known = self.known.setdefault(case.objective, {})
        if objective < known.get("case", {}).get("objective", np.inf):
            known["case"] = {"objective": objective}
            self._save()

    def lowest(self, case):
        """Return the lowest objective known, and the training that has reached it."""
        known = self.known.get(case.objective, {})
        found = [(k["objective"], by) for by, k in known.items() if "objective" in k]
        return min(found, default=(None, None))


def run_case(case, X):
    """Fit a case; return its results."""
    result = case._asdict()
    try:
        estimator, found, seconds = trained(lambda e: e.fit(X), **case.settings)
    except Exception as error:
        return result | {"error": error_text(error)}
    return result | {
        "objective": estimator.objective_.total,
        "converged": not any(issubclass(w.category, ConvergenceWarning) for w in found),
        "n_iter": estimator.n_iter_,
        "rises": rises(estimator),
        "warnings": texts(found),
        "seconds": seconds,
    }


def report(title, result):
    """Print on standard error that a training is done."""
    told = result.get("error")
    if told is None:
        told = "{objective:.6g} after {n_iter}, {seconds:.1f} s".format(**result)
    print(f"{title}: {told}", file=sys.stderr, flush=True)


def bench_grid(names, arguments, results):
    """Run the cases of the grid, and print them by data set."""
    references = References(arguments.references, arguments.effort)
    cases = chosen_cases(names, arguments)
    print(f"\n{len(cases)} cases; references in {arguments.references}", flush=True)
    results |= {"cases": [], "references": {}, "distribution": []}
    try:
        for name, group in itertools.groupby(cases, lambda case: case.data):
            X = training_rows(name, arguments.fashion_mnist)
            rows = []
            try:
                for case in group:
                    references.search(case, X)
                    rows.append(run_case(case, X))
                    report(" ".join(map(str, case)), rows[-1])
                    if "objective" in rows[-1]:
                        references.note(case, rows[-1]["objective"])
                    write_json(arguments.json, results | {"unfinished": rows})
            finally:
                # Only now are the lowest objectives of this data set known.
                add_ratios(rows, references)
                results["cases"] += rows
                print_cases(f"{name}, {X.shape[0]} x {X.shape[1]}", rows, arguments)
    finally:
        tried = {case.objective for case in cases}
        known = references.known.items()
        results["references"] = {name: k for name, k in known if name in tried}
        print_distribution(results)


def add_ratios(rows, references):
    """Add the lowest objective known to each row, and the ratio to it."""
    for row in rows:
        case = Case._make(row[name] for name in Case._fields)
        row["lowest"], row["by"] = references.lowest(case)
        if "objective" in row:
            row["ratio"] = row["objective"] / row["lowest"]


def print_cases(title, rows, arguments):
    """Print those that are far above the lowest objective, or all of them."""
    shown = [
        {name: row[name] for name in Case._fields[1:]}
        | {
            "objective": f"{row['objective']:.5g}",
            "lowest": f"{row['lowest']:.5g} ({row['by']})",
            "ratio": f"{row['ratio']:.4f}",
            "epochs": row["n_iter"],
            "converged": "yes" if row["converged"] else "no",
            "rises": "yes" if row["rises"] else "no",
            "warnings": ", ".join(text.partition(":")[0] for text in row["warnings"]),
        }
        for row in rows
        if "ratio" in row and (arguments.verbose or row["ratio"] > FAR)
    ]
    if shown:
        print_table(title if arguments.verbose else f"{title}, above {FAR}", shown)
    for row in rows:
        if "error" in row:
            settings = " ".join(str(row[name]) for name in Case._fields)
            print(f"\nFAILED {settings}: {row['error']}", flush=True)


def distribution_of(rows):
    """Describe the ratios of cases."""
    ratios = np.array([row["ratio"] for row in rows])
    return {
        "median": float(np.median(ratios)),
        "90 %": float(np.quantile(ratios, 0.9)),
        "max": float(ratios.max()),
        "cases": len(rows),
        f"<= {NEAR}": float(np.mean(ratios <= NEAR)),
        f"<= {FAR}": float(np.mean(ratios <= FAR)),
        "median epochs": float(np.median([row["n_iter"] for row in rows])),
    }


def print_distribution(results):
    """Print the ratios by solver and activation, and count misleading results."""
    rows = [row for row in results["cases"] if "ratio" in row]
    n_failed = len(results["cases"]) - len(rows)
    print(f"\n{len(rows)} cases compared, {n_failed} failed", flush=True)
    if not rows:
        return
    for pair in itertools.product(SOLVERS, ACTIVATIONS):
        pair_rows = [row for row in rows if (row["solver"], row["activation"]) == pair]
        if pair_rows:
            named = dict(zip(("solver", "activation"), pair, strict=True))
            results["distribution"].append(named | distribution_of(pair_rows))
    named = {"solver": "all", "activation": "all"}
    results["distribution"].append(named | distribution_of(rows))
    print_table(
        "the objective by the defaults over the lowest one known",
        [
            row
            | {name: f"{row[name]:.4f}" for name in ("median", "90 %", "max")}
            | {name: f"{row[name]:.0%}" for name in (f"<= {NEAR}", f"<= {FAR}")}
            | {"median epochs": f"{row['median epochs']:.0f}"}
            for row in results["distribution"]
        ],
    )
    counted = {
        f"called converged, but above {FAR} (false converged)": sum(
            row["converged"] and row["ratio"] > FAR for row in rows
        ),
        f"above {NEAR} without any warning": sum(
            row["ratio"] > NEAR and not row["warnings"] for row in rows
        ),
        "called converged": sum(row["converged"] for row in rows),
        "end above their lowest epochs": sum(row["rises"] for row in rows),
    }
    results["counted"] = counted
    print()
    for title, number in counted.items():
        print(f"{title}: {number} of {len(rows)}", flush=True)


# ------------------------------------------------------------------ as they come


def read_files(estimator, X):
    """Train on a stream of files."""
    for _ in range(N_PASSES):
        for piece in np.array_split(X, N_FILES):
            estimator.partial_fit(piece)


def column_scores(estimator, X):
    """Return the explained share of the variance of each column that varies."""
    errors = estimator.reconstruction_error(X, per_feature=True)
    deviations = np.square(X - X.mean(axis=0, dtype=np.float64)).sum(axis=0)
    varies = X.min(axis=0) < X.max(axis=0)
    return 1 - errors.sum(axis=0, dtype=np.float64)[varies] / deviations[varies]


def run_real(name, X):
    """Fit data as they come; return the results."""
    fit = read_files if name == "drifting-scale" else lambda e, X: e.fit(X)
    try:
        estimator, found, seconds = trained(
            lambda e: fit(e, X), random_state=0, **REAL_SETTINGS.get(name, {})
        )
    except Exception as error:
        return {"data": name, "error": error_text(error)}
    scores = column_scores(estimator, X)
    return {
        "data": name,
        # After partial_fit, objective_ is only that of the last file.
        "objective": estimator.evaluate_objective(X).total,
        "score": estimator.score(X),
        "worst column": float(scores.min()),
        "median column": float(np.median(scores)),
        "sparseness": estimator.sparseness_,
        "n_iter": estimator.n_iter_,
        "rises": rises(estimator),
        "warnings": texts(found),
        "seconds": seconds,
    }


def bench_real(names, arguments, results):
    """Fit data as they come, and print the results."""
    rows = results["real"] = []
    try:
        for name in names:
            rows.append(run_real(name, training_rows(name, arguments.fashion_mnist)))
            report(name, rows[-1])
            write_json(arguments.json, results)
    finally:
        print_real(rows)


def print_real(rows):
    """Print the results of each data set, and every warning."""
    fitted = [row for row in rows if "error" not in row]
    figures = "score", "worst column", "median column", "sparseness"
    if fitted:
        print_table(
            "as they come, 200 units",
            [
                {"data": row["data"], "objective": f"{row['objective']:.5g}"}
                | {name: f"{row[name]:.3f}" for name in figures}
                | {
                    "epochs": row["n_iter"],
                    "rises": "yes" if row["rises"] else "no",
                    "warnings": len(row["warnings"]),
                }
                for row in fitted
            ],
        )
    print()
    for row in rows:
        for text in row.get("warnings", [f"FAILED {row.get('error')}"]):
            print(f"{row['data']}: {text}", flush=True)


# ---------------------------------------------------------------------------- main


def share(text):
    """Parse I/N."""
    number, n_shares = map(int, text.split("/"))
    if not 1 <= number <= n_shares:
        raise ValueError(text)
    return number, n_shares


def parsed_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group", choices=["grid", "real", "all"], default="all")
    parser.add_argument("--only", nargs="+", metavar="DATA", choices=[*GRID, *REAL])
    parser.add_argument(
        "--n-components",
        nargs="+",
        metavar="S",
        type=int,
        default=N_COMPONENTS,
        help="of the grid; default: %(default)s",
    )
    parser.add_argument("--solver", nargs="+", choices=SOLVERS, default=SOLVERS)
    parser.add_argument(
        "--share",
        metavar="I/N",
        type=share,
        default=(1, 1),
        help="the I-th of N equal shares of the grid, to choose from",
    )
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--sample", metavar="N", type=int, default=60, help="cases to draw; default: 60"
    )
    number.add_argument("--full", action="store_true", help="run every case")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument(
        "--effort",
        metavar="SHARE",
        type=float,
        default=1.0,
        help="share of their iterations that the references take; default: 1",
    )
    parser.add_argument(
        "--references",
        metavar="FILE",
        type=Path,
        default=Path(tempfile.gettempdir()) / "sksparse_ae_references.json",
        help="the lowest objectives known, to be removed when the objective or the "
        "data change; default: %(default)s",
    )
    parser.add_argument(
        "--fashion-mnist", metavar="DIR", type=Path, default=FASHION_MNIST
    )
    parser.add_argument("--verbose", action="store_true", help="print every case")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    return parser.parse_args()


def main():
    arguments = parsed_arguments()
    import_keras()
    results = {"versions": versions()}
    print_versions(results["versions"])
    groups = {"grid": (GRID, bench_grid), "real": (REAL, bench_real)}
    try:
        for group, (data, bench) in groups.items():
            names = [name for name in data if name in (arguments.only or data)]
            if "fashion-mnist" in names and not arguments.fashion_mnist.exists():
                print(f"fashion-mnist is left out: no {arguments.fashion_mnist}")
                names.remove("fashion-mnist")
            if names and arguments.group in (group, "all"):
                bench(names, arguments, results)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
    finally:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()

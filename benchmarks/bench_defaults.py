"""Measure the features that the defaults give, and a classifier on them.

Run ``python benchmarks/bench_defaults.py [--fashion-mnist DIR] [--repeats N]``. What is
measured, and how, stands in README.md.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _common import FASHION_MNIST, fashion_mnist
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.exceptions import UninformativeUnitsWarning

NGS_SETTING = {
    "n_components": 25,
    "rho": 0.01,
    "beta": 3.0,
    "weight_decay": 1e-4,
    "output_activation": "sigmoid",
    "solver": "lbfgs",
    "max_iter": 400,
}

GRID = {
    "features__n_components": [200, 400],
    "features__rho": [0.05, 0.1],
    "features__weight_decay": [3e-3, 1e-2],
}


def print_features(name, X, **settings):
    """Fit ``X`` and print the share of inactive units, the sparseness and the score."""
    estimator = SparseAutoencoderTransformer(random_state=0, **settings)
    start = time.perf_counter()
    estimator.fit(X)
    seconds = time.perf_counter() - start
    inactive = np.mean(estimator.unit_states_ != "active")
    print(
        f"| {name} | {inactive:.1%} | {estimator.sparseness_:.3f} | "
        f"{estimator.score(X):.3f} | {estimator.n_iter_} | {seconds:.0f} s |",
        flush=True,
    )


def pipeline(seed, **settings):
    return Pipeline(
        [
            ("standardize", StandardScaler()),
            ("features", SparseAutoencoderTransformer(random_state=seed, **settings)),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000)),
        ]
    )


def accuracies(estimator, X, y, seed):
    """Return the accuracy on each of five shuffled folds, and the fitted estimators."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    result = cross_validate(estimator, X, y, cv=folds, return_estimator=True)
    return result["test_score"], result["estimator"]


def print_accuracy(name, scores, raw):
    """Print accuracies of shape (n_repeats, 5), and how they differ from ``raw``."""
    means, gain = scores.mean(axis=1), (scores - raw).mean(axis=1)
    print(
        f"| {name} | {means.mean():.4f} | {' '.join(f'{m:.4f}' for m in means)} | "
        f"{gain.mean():+.4f} | {(scores > raw).sum()} / {(scores < raw).sum()} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--fashion-mnist", metavar="DIR", type=Path, default=FASHION_MNIST
    )
    parser.add_argument("--rows", type=int, default=10_000, help="of Fashion-MNIST")
    parser.add_argument("--repeats", type=int, default=3, help="of the five folds")
    parser.add_argument(
        "--part", choices=["features", "accuracy", "search", "all"], default="all"
    )
    arguments = parser.parse_args()
    # The table counts inactive units.
    warnings.simplefilter("ignore", UninformativeUnitsWarning)
    warnings.simplefilter("ignore", ConvergenceWarning)
    digits, y = load_digits(return_X_y=True)
    if arguments.part in ("features", "all"):
        patches = load_natural_image_patches(random_state=0).astype(np.float32)
        print("| data | units not active | sparseness | explained | epochs | time |")
        print("| --- | --- | --- | --- | --- | --- |")
        print_features("digits, standardised", StandardScaler().fit_transform(digits))
        print_features("digits in [0, 1]", digits / 16)
        print_features("patches", patches)
        print_features("patches, Ng's setting", patches, **NGS_SETTING)
        print_features(
            f"Fashion-MNIST, {arguments.rows} rows",
            fashion_mnist(arguments.fashion_mnist)[0][: arguments.rows],
        )
        print()
    if arguments.part == "features":
        return
    digits = digits.astype(np.float32)
    seeds = range(arguments.repeats)
    print("| classifier | accuracy | by repeat | gain | folds won / lost |")
    print("| --- | --- | --- | --- | --- |")
    plain = Pipeline(pipeline(0).steps[:1] + pipeline(0).steps[3:])
    raw = np.array([accuracies(plain, digits, y, seed)[0] for seed in seeds])
    print_accuracy("raw pixels", raw, raw)
    if arguments.part in ("accuracy", "all"):
        for name, settings in {
            "the defaults": {},
            "100 units": {"n_components": 100},
            "300 units": {"n_components": 300},
        }.items():
            scores = [
                accuracies(pipeline(seed, **settings), digits, y, seed)[0]
                for seed in seeds
            ]
            print_accuracy(name, np.array(scores), raw)
    if arguments.part in ("search", "all"):
        # Nested: each training part chooses for itself, by three folds of its own.
        scores, chosen = [], []
        for seed in seeds:
            folds = StratifiedKFold(3, shuffle=True, random_state=seed)
            search = GridSearchCV(pipeline(seed), GRID, cv=folds)
            by_fold, searches = accuracies(search, digits, y, seed)
            scores.append(by_fold)
            chosen += [
                tuple(fitted.best_params_[name] for name in GRID) for fitted in searches
            ]
        print_accuracy("a small search", np.array(scores), raw)
        print("\nchosen (n_components, rho, weight_decay):")
        for setting in sorted(set(chosen)):
            print(f"  {setting}: {chosen.count(setting)} of {len(chosen)}")


if __name__ == "__main__":
    main()

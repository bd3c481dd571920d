"""What moving one parameter does: the table of the page on choosing parameters.

python benchmarks/bench_choosing.py [--data digits] [--parameters rho beta]

From the defaults one parameter is moved at a time. Three stratified folds give the
variance that is explained of held-out rows, the sparseness of the codes on them, and
the accuracy of a logistic regression on the standardised codes.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.metrics import hoyer_sparseness

MOVES = {
    "rho": [0.01, 0.02, 0.1, 0.2],
    "beta": [0.3, 1.0, 10.0, 100.0],
    "weight_decay": [3e-4, 1e-3, 1e-2, 3e-2, 1e-1],
    "n_components": [25, 50, 200],
}


def standardised(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


DATA = {
    "digits": (lambda: load_digits(return_X_y=True), 100),
    "breast_cancer": (lambda: standardised(load_breast_cancer), 30),
}


def measure(X, y, **settings):
    """Return the means over three folds of what the table shows."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    rows = []
    for train, test in folds.split(X, y):
        features = SparseAutoencoderTransformer(random_state=0, **settings)
        codes = features.fit_transform(X[train])
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        classifier.fit(codes, y[train])
        rows.append(
            [
                features.rho_hat_.mean(),
                np.mean(features.unit_states_ != "active"),
                features.score(X[test]),
                hoyer_sparseness(features, X[test]),
                classifier.score(features.transform(X[test]), y[test]),
            ]
        )
    return np.mean(rows, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--parameters", nargs="+", choices=MOVES, default=list(MOVES))
    options = parser.parse_args()
    for category in (ConvergenceWarning, UninformativeUnitsWarning):
        warnings.simplefilter("ignore", category)
    for name in options.data:
        load, n_components = DATA[name]
        X, y = load()
        print(f"\n{name}: mean rho_hat, not active, explained, sparseness, accuracy")
        moves = [{}, *({key: v} for key in options.parameters for v in MOVES[key])]
        for move in moves:
            start = time.perf_counter()
            found = measure(X, y, **({"n_components": n_components} | move))
            cells = " ".join(f"{value:.3f}" for value in found)
            seconds = time.perf_counter() - start
            print(f"{move or 'the defaults'!s:28} {cells} {seconds:6.0f} s", flush=True)


if __name__ == "__main__":
    main()

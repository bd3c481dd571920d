"""Ng's exercises with this package: our figures, to stand beside the published ones.

python benchmarks/bench_course.py [--data FOLDER] [--only NAME ...] [--rows N]

The exercises on digits need the four idx files of MNIST in FOLDER, named as they are
distributed (train-images-idx3-ubyte.gz and so on). The default is the folder of
Fashion-MNIST of Debian's package dataset-fashion-mnist, whose files have the same form:
the figures are then those of pieces of clothing. Architecture, rho, weight decay and
beta are the exercises' own, on pixels in [0, 1] with a sigmoid output.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _common import FASHION_MNIST, fashion_mnist
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.stacks import fine_tune

DIGITS = {
    "rho": 0.1,
    "beta": 3.0,
    "weight_decay": 3e-3,
    "output_activation": "sigmoid",
    "random_state": 0,
}


def softmax(n_samples):
    """Return the course's softmax regression, with its weight decay of 1e-4."""
    return LogisticRegression(C=1 / (1e-4 * n_samples), max_iter=1000)


def print_features(autoencoder, X):
    """Print what an autoencoder has learned."""
    objective = autoencoder.objective_
    terms = ", ".join(f"{name} {value:.4g}" for name, value in objective.items())
    states, counts = np.unique(autoencoder.unit_states_, return_counts=True)
    found = ", ".join(f"{n} {s}" for s, n in zip(states, counts, strict=True))
    print(f"  {terms}")
    print(
        f"  {autoencoder.n_iter_} epochs or iterations; {found}; mean rho_hat "
        f"{autoencoder.rho_hat_.mean():.4f}, sparseness {autoencoder.sparseness_:.3f}, "
        f"variance explained {autoencoder.score(X):.3f}",
        flush=True,
    )


def patches(options):
    """Learn edge detectors, 64-25-64, from 8x8 patches of photographs."""
    X = load_natural_image_patches(random_state=0)
    settings = DIGITS | {"rho": 0.01, "weight_decay": 1e-4}
    autoencoder = SparseAutoencoderTransformer(
        25, **settings, solver="lbfgs", max_iter=400
    )
    print_features(autoencoder.fit(X), X)


def strokes(options):
    """Learn strokes, 784-196-784, from the first 10 000 images."""
    X = fashion_mnist(options.data, "train")[0][: min(options.rows, 10_000)]
    autoencoder = SparseAutoencoderTransformer(
        196, **DIGITS, solver="lbfgs", max_iter=400
    )
    print_features(autoencoder.fit(X), X)


def self_taught(options):
    """Learn from classes 5 to 9, then tell classes 0 to 4 apart by a softmax."""
    X, y = fashion_mnist(options.data, "train")
    X, y = X[: options.rows], y[: options.rows]
    unlabelled, X, y = X[y >= 5], X[y < 5], y[y < 5]
    half = len(X) // 2
    autoencoder = SparseAutoencoderTransformer(200, **DIGITS).fit(unlabelled)
    print_features(autoencoder, unlabelled)
    codes = autoencoder.transform(X)
    for name, features in (("features", codes), ("raw pixels", X)):
        classifier = softmax(half).fit(features[:half], y[:half])
        accuracy = classifier.score(features[half:], y[half:])
        print(f"  accuracy, {name}: {accuracy:.3f}", flush=True)


def stacked(options):
    """Train 784-200-200-10 layer by layer, and fine-tune it."""
    X, y = (values[: options.rows] for values in fashion_mnist(options.data, "train"))
    X_test, y_test = fashion_mnist(options.data, "t10k")
    stack = make_pipeline(
        SparseAutoencoderTransformer(200, **DIGITS),
        SparseAutoencoderTransformer(200, **DIGITS),
        softmax(len(X)),
    ).fit(X, y)
    print_features(stack[0], X)
    print_features(stack[1], stack[0].transform(X))
    print(f"  accuracy, before fine-tuning: {stack.score(X_test, y_test):.3f}")
    tuned = fine_tune(stack, X, y, random_state=0)
    print(f"  accuracy, after: {tuned.score(X_test, y_test):.3f}", flush=True)


def colour(options):
    """Learn edges and opponent colours, 192-400-192, from whitened 8x8 patches.

    The exercise's whitening leaves the patches a twenty-fifth of the variance that
    scale="whiten" gives them, so its 3e-3 and 5 are 0.075 and 125 here.
    """
    X = load_natural_image_patches(
        100_000, color=True, normalize=False, random_state=0
    ).astype(np.float32)
    autoencoder = SparseAutoencoderTransformer(
        400, rho=0.035, beta=125.0, weight_decay=0.075, scale="whiten", random_state=0
    ).fit(X)
    print_features(autoencoder, X)


EXERCISES = {f.__name__: f for f in (patches, strokes, self_taught, stacked, colour)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=FASHION_MNIST)
    parser.add_argument("--only", nargs="+", choices=EXERCISES, default=EXERCISES)
    parser.add_argument("--rows", type=int, default=60_000, help="of the training set")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in options.only:
        start = time.perf_counter()
        print(f"{name}: {EXERCISES[name].__doc__.splitlines()[0]}", flush=True)
        EXERCISES[name](options)
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

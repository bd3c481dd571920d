"""Fine-tuning of a stacked autoencoder on Fashion-MNIST, before and after.

python benchmarks/bench_fine_tuning.py [--data FOLDER] [--rows N] [--json FILE]

The data are the four idx files of Fashion-MNIST, by default in the folder in which
Debian's package dataset-fashion-mnist puts them. Everything is fitted to the first N
rows of the training set.
"""

import argparse
import time
from pathlib import Path

from _common import FASHION_MNIST, fashion_mnist, write_json
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.stacks import fine_tune


def report(name, model, data, seconds):
    X, y, X_test, y_test = data
    result = {
        "accuracy on the training set": model.score(X, y),
        "accuracy on the test set": model.score(X_test, y_test),
        "cross-entropy on the test set": log_loss(y_test, model.predict_proba(X_test)),
        "seconds": seconds,
    }
    print(f"{name:40}", *(f"{value:8.4f}" for value in result.values()), flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=FASHION_MNIST)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=30, help="of each autoencoder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    X, y = (values[: options.rows] for values in fashion_mnist(options.data, "train"))
    data = X, y, *fashion_mnist(options.data, "t10k")
    settings = {"rho": 0.1, "max_iter": options.epochs, "tol": 0, "random_state": 0}

    stack = make_pipeline(
        SparseAutoencoderTransformer(200, **settings),
        SparseAutoencoderTransformer(200, **settings),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    scratch = MLPClassifier(
        (200, 200),
        activation="logistic",
        batch_size=256,
        max_iter=50,
        tol=0,
        random_state=0,
    )
    trainings = {
        "stack 784-200-200, layer by layer": lambda: stack.fit(X, y),
        "fine-tuned": lambda: fine_tune(stack, X, y, random_state=0),
        "fine-tuned, weight_decay=1e-2": lambda: fine_tune(
            stack, X, y, weight_decay=1e-2, random_state=0
        ),
        "fine-tuned, early_stopping": lambda: fine_tune(
            stack, X, y, early_stopping=True, random_state=0
        ),
        "MLPClassifier of the same shape": lambda: scratch.fit(X, y),
    }
    print(f"{len(X)} rows; accuracy on training and test set, cross-entropy, seconds")
    results = {}
    for name, train in trainings.items():
        start = time.perf_counter()
        model = train()
        results[name] = report(name, model, data, time.perf_counter() - start)
    write_json(options.json, results)


if __name__ == "__main__":
    main()

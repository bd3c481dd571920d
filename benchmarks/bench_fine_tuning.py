"""Fine-tuning of a stacked autoencoder on Fashion-MNIST, before and after.

python benchmarks/bench_fine_tuning.py [--data FOLDER] [--rows N] [--json FILE]

The data are the four idx files of Fashion-MNIST, by default where Debian's package
dataset-fashion-mnist puts them. Everything is fitted to the first N rows of the
training set.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.stacks import fine_tune

IMAGES_HEADER, LABELS_HEADER = 16, 8


def load(folder, part):
    """Return the pixels of a part in [0, 1], (n_samples, 784), and its labels."""
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    X = np.frombuffer(images, np.uint8, offset=IMAGES_HEADER).reshape(-1, 784)
    return X.astype(np.float32) / 255, np.frombuffer(
        labels, np.uint8, offset=LABELS_HEADER
    )


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
    folder = Path("/usr/share/datasets/fashion-mnist")
    parser.add_argument("--data", type=Path, default=folder)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=30, help="of each autoencoder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    X, y = (values[: options.rows] for values in load(options.data, "train"))
    data = X, y, *load(options.data, "t10k")
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
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

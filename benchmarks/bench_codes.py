"""Compare sparse codes with each other, with classical ones and with random ones.

Run ``python benchmarks/bench_codes.py [--only WORK ...] [--codes NAME ...] [--seeds N]
[--rows N] [--epochs N] [--json FILE] [--figure FILE] [--tables FOLDER]``. What is
measured, and how, stands in README.md.
"""

import argparse
import csv
import functools
import json
import statistics
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
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import (
    NMF,
    PCA,
    FastICA,
    MiniBatchDictionaryLearning,
    SparseCoder,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._metrics.codes import explained_by_active
from sksparse_ae.datasets import load_natural_image_patches, make_sparse_codes
from sksparse_ae.inspection import CodeTradeoffDisplay
from sksparse_ae.metrics import random_baseline, recovery_score, stability

# The numbers of active codes in a row that are asked for. The middle one is fitted with
# several seeds, and classes are told from its codes.
ACTIVE = (5, 10, 20)

# What is asked of the units of "kl", whose codes are no zeros, for about as many.
RHO_OF_KL = (0.02, 0.05, 0.1)

# Numbers of single units from which a class is told.
PROBES = (1, 5, 20)


class Work(NamedTuple):
    """Data, float32, in parts to fit and to score; labels, or features, if known."""

    X: np.ndarray
    X_test: np.ndarray
    n_units: int
    y: np.ndarray | None = None
    y_test: np.ndarray | None = None
    dictionary: np.ndarray | None = None
    n_epochs: int = 200  # the most, of autoencoders and of dictionary learning
    # The most of dictionary learning alone, which solves a problem for each row: with
    # 784 columns an epoch of 5000 rows takes it half a minute.
    n_dictionary_epochs: int = 200

    def shortened(self, n_rows, n_epochs):
        """Return the work with at most so many rows to fit."""
        y = self.y if self.y is None else self.y[:n_rows]
        return self._replace(X=self.X[:n_rows], y=y, n_epochs=n_epochs)


def digits(_):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X.astype(np.float32), y, test_size=360, stratify=y, random_state=0
    )
    return Work(X, X_test, 100, y, y_test)


def patches(_):
    X = load_natural_image_patches(12_000, random_state=0).astype(np.float32)
    return Work(*train_test_split(X, test_size=2000, random_state=0), 128)


def fashion(folder):
    X, y = fashion_mnist(folder)
    return Work(
        X[:10_000],
        X[10_000:12_000],
        256,
        y[:10_000],
        y[10_000:12_000],
        n_dictionary_epochs=2,
    )


def synthetic(_):
    X, dictionary, _ = make_sparse_codes(
        12_000,
        n_components=128,
        n_active=5,
        zipf=0.5,
        correlation=0.3,
        noise=0.05,
        random_state=100,  # with 0, random encoders of seed 0 are the features
    )
    X, X_test = train_test_split(X.astype(np.float32), test_size=2000, random_state=0)
    return Work(X, X_test, 128, dictionary=dictionary)


WORKS = {
    "digits": digits,
    "patches": patches,
    "fashion": fashion,
    "synthetic": synthetic,
}


# --------------------------------------------------------------------------- codes
#
# Each function fits a code to a work, at a level of ``ACTIVE`` and with a seed.


def autoencoder(sparsity, level, work, seed):
    """Return an autoencoder; its defaults but for width, sparsity and seed."""
    rho = RHO_OF_KL[level] if sparsity == "kl" else ACTIVE[level] / work.n_units
    return SparseAutoencoderTransformer(
        work.n_units,
        sparsity=sparsity,
        rho=rho,
        max_iter=work.n_epochs,
        random_state=seed,
    )


def fit_autoencoder(sparsity, level, work, seed):
    return autoencoder(sparsity, level, work, seed).fit(work.X)


def fit_random_encoder(sparsity, level, work, seed):
    return random_baseline(autoencoder(sparsity, level, work, seed), work.X)


def fit_random_decoder(level, work, seed):
    """Return the best codes that orthogonal matching pursuit finds for random rows."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((work.n_units, work.X.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    coder = SparseCoder(directions.astype(np.float32), **pursuit(level))
    return make_pipeline(centred_and_scaled(work), coder).fit(work.X)


def fit_dictionary(level, work, seed):
    n_epochs = min(work.n_epochs, work.n_dictionary_epochs)
    learner = MiniBatchDictionaryLearning(
        work.n_units, max_iter=n_epochs, random_state=seed, **pursuit(level)
    )
    return make_pipeline(centred_and_scaled(work), learner).fit(work.X)


def pursuit(level):
    return {
        "transform_algorithm": "omp",
        "transform_n_nonzero_coefs": ACTIVE[level],
    }


def centred_and_scaled(work):
    """Return a step that brings data to the units in which autoencoders train."""
    offset = work.X.mean(axis=0)
    scale = np.sqrt(np.square(work.X - offset).mean())
    return FunctionTransformer(
        lambda X: (X - offset) / scale,
        inverse_func=lambda X: X * scale + offset,
        check_inverse=False,
    )


def fit_pca(level, work, seed):
    return PCA(ACTIVE[level], random_state=seed).fit(work.X)


def fit_ica(level, work, seed):
    """Return FastICA in float64: in float32 it leaves the space of PCA (digits)."""
    ica = FastICA(ACTIVE[level], max_iter=500, random_state=seed)
    return ica.fit(work.X.astype(np.float64))


def fit_nmf(level, work, seed):
    """Return NMF of four times as many components as are asked to be active.

    It has no parameter for their number. Its start is random, as that of the others.
    """
    nmf = NMF(4 * ACTIVE[level], init="random", random_state=seed)
    return nmf.fit(work.X)


def itself(estimator):
    """Return an estimator, whose directions `metrics` finds."""
    return estimator


def dictionary_of(pipeline):
    """Return the directions of a SparseCoder, which is not fitted."""
    return pipeline[-1].dictionary


class Code(NamedTuple):
    """How a code is fitted, whether its directions have a sign, and what has them."""

    fit: object
    signed: bool = True
    with_directions: object = itself


OURS = ("kl", "topk", "batchtopk", "lifetime")

CODES = {
    **{name: Code(functools.partial(fit_autoencoder, name)) for name in OURS},
    "dictionary learning, OMP": Code(fit_dictionary, signed=False),
    "PCA": Code(fit_pca, signed=False),
    "FastICA": Code(fit_ica, signed=False),
    "NMF": Code(fit_nmf),
    "random encoder, kl": Code(functools.partial(fit_random_encoder, "kl")),
    "random encoder, topk": Code(functools.partial(fit_random_encoder, "topk")),
    "random decoder, OMP": Code(fit_random_decoder, False, dictionary_of),
}


# --------------------------------------------------------------------- measurement


def measure(code, level, work):
    """Fit a code; return what it is like on the test rows, and the estimator."""
    with stopwatch() as fitting:
        estimator = code.fit(level, work, seed=0)
    times = []
    for _ in range(3):
        with stopwatch() as transforming:
            codes = estimator.transform(work.X_test)
        times.append(transforming[0])
    codes = dense(codes)
    n_active, by_active = explained_by_active(estimator, work.X_test)
    found = {
        "fit_seconds": fitting[0],
        "rows_per_second": len(work.X_test) / min(times),
        "n_codes": codes.shape[1],
        "active_codes": n_active,
        "explained_by_active": float(by_active),
        "explained": explained(work.X_test, estimator.inverse_transform(codes)),
        "hoyer": hoyer(codes),
        "never_active": float((np.abs(codes).max(axis=0) <= 0.1).mean()),
    }
    return found, estimator


def dense(codes):
    return codes.toarray() if sparse.issparse(codes) else np.asarray(codes)


def explained(X, output):
    error = np.square(X - output, dtype=np.float64).sum()
    return float(1 - error / np.square(X - X.mean(axis=0), dtype=np.float64).sum())


def hoyer(codes):
    """Return the mean of Hoyer's lifetime sparseness over units that are not 0."""
    codes = np.abs(codes.astype(np.float64))
    norm = np.sqrt(np.square(codes).sum(axis=0))
    ratio = codes.sum(axis=0)[norm > 0] / norm[norm > 0]
    root = np.sqrt(len(codes))
    return float(((root - ratio) / (root - 1)).mean())


def accuracies(codes, y, codes_test, y_test):
    """Return the accuracy on all codes, and that on few of them for each class.

    For each class against the others the units of largest F (ANOVA, training rows) are
    chosen, and the mean balanced accuracy over the classes is returned.
    """
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    found = {"accuracy": classifier.fit(codes, y).score(codes_test, y_test)}
    for k in PROBES:
        probe = make_pipeline(
            SelectKBest(f_classif, k=min(k, codes.shape[1])),
            StandardScaler(),
            LogisticRegression(class_weight="balanced"),
        )
        scores = []
        for label in np.unique(y):
            probe.fit(codes, y == label)
            predicted = probe.predict(codes_test)
            scores.append(balanced_accuracy_score(y_test == label, predicted))
        found[f"{k} units"] = statistics.mean(scores)
    return found


def measure_levels(code, work, n_seeds):
    """Measure a code at all levels, and the middle one with several seeds."""
    middle = len(ACTIVE) // 2
    results = {}
    # The middle first: it bears the cost of what is compiled, as a user's first fit.
    for level in (middle, *(i for i in range(len(ACTIVE)) if i != middle)):
        results[level], estimator = measure(code, level, work)
        if work.dictionary is not None:
            for key, threshold in (("recovery", None), ("recovered", 0.9)):
                results[level][key] = recovery_score(
                    code.with_directions(estimator),
                    work.dictionary,
                    threshold=threshold,
                    signed=code.signed,
                )
        if level == middle and work.y is not None:
            codes = [dense(estimator.transform(X)) for X in (work.X, work.X_test)]
            results[level] |= accuracies(codes[0], work.y, codes[1], work.y_test)
        if level == middle and n_seeds > 1:
            others = (code.fit(level, work, seed) for seed in range(1, n_seeds))
            fits = [code.with_directions(fit) for fit in (estimator, *others)]
            for key, threshold in (("stability", 0.7), ("mean_cosine", None)):
                results[level][key] = stability(
                    fits, threshold=threshold, signed=code.signed
                )
    return [results[level] for level in sorted(results)]


def measure_data(work):
    """Measure the data themselves as codes."""
    found = {"hoyer": hoyer(work.X_test), "n_codes": work.X.shape[1]}
    if work.y is not None:
        found |= accuracies(work.X, work.y, work.X_test, work.y_test)
    return found


# -------------------------------------------------------------------------- results


def shown(row, key, style, unit=1):
    return format(row[key] / unit, style) if key in row else ""


def print_work(work_name, results):
    """Print the tables of a work."""
    title = f"{work_name}: codes of held-out rows"
    rows = []
    for name, levels in results.items():
        for row in [levels] if isinstance(levels, dict) else levels:
            cells = {
                "code": name,
                "units": row["n_codes"],
                "active": shown(row, "active_codes", ".1f"),
                "explained": shown(row, "explained", ".3f"),
                "by active alone": shown(row, "explained_by_active", ".3f"),
                "Hoyer": shown(row, "hoyer", ".2f"),
                "never active": shown(row, "never_active", ".0%"),
                "fit": shown(row, "fit_seconds", ".1f"),
                "rows/s": shown(row, "rows_per_second", ".0f"),
                "stability": shown(row, "stability", ".2f"),
            }
            for key in ("recovery", "recovered"):
                cells[key] = shown(row, key, ".2f")
            for key in ("accuracy", *(f"{k} units" for k in PROBES)):
                cells[key] = shown(row, key, ".3f")
            rows.append(cells)
    used = [key for key in rows[0] if any(str(row[key]) for row in rows)]
    print_table(title, [{key: row[key] for key in used} for row in rows])


def write_tables(results, folder):
    """Write tables of results as CSV files, for the documentation.

    Each work has its codes at all levels, and its classes. The others have the works
    side by side, at the level in the middle.
    """
    works = [name for name in results if name != "versions"]
    middle = {
        work: {
            name: levels[len(ACTIVE) // 2]
            for name, levels in results[work].items()
            if isinstance(levels, list)
        }
        for work in works
    }
    for work in works:
        rows = [("code", "active", "explained", "by the active", "Hoyer")]
        for name, levels in results[work].items():
            for i, row in enumerate([levels] if isinstance(levels, dict) else levels):
                rows.append(
                    (
                        "" if i else name,
                        shown(row, "active_codes", ".1f"),
                        shown(row, "explained", ".3f"),
                        shown(row, "explained_by_active", ".3f"),
                        shown(row, "hoyer", ".2f"),
                    )
                )
        write_csv(folder / f"{work}.csv", rows)
        if "accuracy" in results[work]["the data"]:
            keys = "accuracy", *(f"{k} units" for k in PROBES)
            head = "code", *(key.replace("1 units", "1 unit") for key in keys)
            of_codes = {"the data": results[work]["the data"], **middle[work]}
            rows = [
                (name, *(shown(row, key, ".3f") for key in keys))
                for name, row in of_codes.items()
            ]
            write_csv(folder / f"{work}_classes.csv", [head, *rows])
    names = [name for name in CODES if any(name in found for found in middle.values())]

    def side_by_side(file, columns):
        """Write columns, each of a title, a work, a figure, its format and its unit."""
        rows = [("code", *(title for title, *_ in columns))]
        for name in names:
            cells = (shown(middle[w].get(name, {}), *how) for _, w, *how in columns)
            rows.append((name, *cells))
        write_csv(folder / file, rows)

    side_by_side("stability.csv", [(w, w, "stability", ".2f") for w in works])
    costs = (
        ("fit, s", "fit_seconds", ".1f"),
        ("1000 rows/s", "rows_per_second", ".1f", 1000),
    )
    timed = [w for w in works if w in ("digits", "fashion")]
    side_by_side(
        "cost.csv", [(f"{w}: {title}", w, *how) for w in timed for title, *how in costs]
    )
    if "synthetic" in works:
        rows = [("code", *(f"{k} active" for k in ACTIVE))]
        for name, levels in results["synthetic"].items():
            if isinstance(levels, list):
                rows.append((name, *(shown(row, "recovery", ".2f") for row in levels)))
        write_csv(folder / "recovery.csv", rows)


def write_csv(file, rows):
    with file.open("w", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)


# Colours and markers of the figure: ours in colour, the others in grey.
STYLES = {
    "kl": ("C0", "o", "-"),
    "topk": ("C1", "o", "-"),
    "batchtopk": ("C2", "s", "-"),
    "lifetime": ("C3", "^", "-"),
    "dictionary learning, OMP": ("0.1", "D", "-"),
    "PCA": ("0.45", "v", "-"),
    "NMF": ("0.6", "P", "-"),
    "random encoder, kl": ("C0", "x", ":"),
    "random encoder, topk": ("C1", "x", ":"),
    "random decoder, OMP": ("0.1", "x", ":"),
}


def draw(results, file):
    """Draw variance explained against active codes, a panel for each work."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    works = [name for name in results if name != "versions"]
    n_columns = min(len(works), 2)
    n_lines = -(-len(works) // n_columns)
    figure, axes = plt.subplots(
        n_lines,
        n_columns,
        figsize=(1.6 + 3.4 * n_columns, 1.6 + 3.0 * n_lines),
        layout="constrained",
    )
    axes = np.ravel(axes)
    for ax, work_name in zip(axes, works, strict=False):
        points = [
            (name, row["active_codes"], row["explained_by_active"])
            for name, levels in results[work_name].items()
            if name in STYLES
            for row in levels
        ]
        display = CodeTradeoffDisplay(*zip(*points, strict=True)).plot(ax)
        for line in display.lines_:
            color, marker, style = STYLES[line.get_label()]
            line.set(color=color, marker=marker, linestyle=style, markersize=4)
        ax.get_legend().remove()
        ax.set_title(work_name)
        ax.set_ylim(0, 1)
        ax.grid(alpha=0.3)
    for ax in axes[len(works) :]:
        ax.set_axis_off()
    labels = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        [labels[name] for name in STYLES if name in labels],
        [name for name in STYLES if name in labels],
        loc="outside lower center",
        ncols=1 + n_columns,
    )
    figure.savefig(file, dpi=100)
    plt.close(figure)


def parsed_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="WORK", choices=WORKS)
    parser.add_argument("--codes", nargs="+", metavar="NAME", choices=CODES)
    parser.add_argument("--seeds", type=int, default=5, help="default: 5")
    parser.add_argument("--rows", type=int, help="the most to fit; default: all")
    parser.add_argument("--epochs", type=int, default=200, help="default: 200")
    parser.add_argument(
        "--fashion-mnist", metavar="DIR", type=Path, default=FASHION_MNIST
    )
    parser.add_argument(
        "--json", type=Path, help="file of every figure; those it has are kept"
    )
    parser.add_argument("--figure", type=Path, help="where to draw the trade-off")
    parser.add_argument("--tables", type=Path, help="folder for tables, as CSV files")
    return parser.parse_args()


def main():
    arguments = parsed_arguments()
    warnings.simplefilter("ignore")  # such as that NMF has not converged
    import_keras()
    results = {}
    if arguments.json is not None and arguments.json.exists():
        results = json.loads(arguments.json.read_text())
    results["versions"] = versions()
    print_versions(results["versions"])
    for work_name in arguments.only or WORKS:
        work = WORKS[work_name](arguments.fashion_mnist)
        work = work.shortened(arguments.rows, arguments.epochs)
        found = results.setdefault(work_name, {})
        found["the data"] = measure_data(work)
        for name in arguments.codes or CODES:
            if name == "NMF" and work.X.min() < 0:
                continue
            with stopwatch() as elapsed:
                found[name] = measure_levels(CODES[name], work, arguments.seeds)
            print(f"{work_name}, {name}: {elapsed[0]:.0f} s", flush=True)
            write_json(arguments.json, results)
        print_work(work_name, found)
    if arguments.figure is not None:
        draw(results, arguments.figure)
    if arguments.tables is not None:
        write_tables(results, arguments.tables)


if __name__ == "__main__":
    main()

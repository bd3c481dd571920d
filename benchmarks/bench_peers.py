"""Time a step, a first fit and the way to an objective beside alternatives.

Run ``python benchmarks/bench_peers.py [--repeats N] [--only WORK ...]
[--peers NAME ...] [--json FILE] [--markdown FILE]``. What is measured, and how, stands
in README.md.
"""

import argparse
import importlib.util
import itertools
import json
import math
import resource
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

import joblib
import numpy as np
from _common import (
    add_choices,
    bound_verdict,
    fashion_mnist,
    markdown_table,
    medians,
    print_versions,
    run_in_own_process,
    seconds_of_epochs,
    stopwatch,
    verdict,
    versions,
    write_json,
)
from _peers import (
    NumpyAutoencoder,
    Setting,
    TorchAutoencoder,
    compiling_steps,
    full_objective,
    import_keras,
    keras_autoencoder,
)
from _traces import Trace, follow_ours, time_to, weights_of

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._training.plan import make_plan
from sksparse_ae._training.settings import with_python_parameters
from sksparse_ae.datasets import load_natural_image_patches


class Work(NamedTuple):
    """A training on which every peer is timed.

    Attributes
    ----------
    n_samples, n_features, n_components, batch_size : int
    first_epochs : int
        Epochs of the first fit, and of the short fit that a long one is compared with.
    most_epochs : int
        The largest number of epochs by which the long fit is longer.
    objective : float
        Objective over all rows, the time to which is measured.
    floor_bound : float or None
        Largest ratio of a step of ours to the five matrix products.
    keras_floor : float or None
        How many times faster than ``Model.fit`` ours must be.
    """

    n_samples: int
    n_features: int
    n_components: int
    batch_size: int
    first_epochs: int
    most_epochs: int
    objective: float
    floor_bound: float | None = None
    keras_floor: float | None = None

    @property
    def name(self):
        """The sizes of the layers."""
        return f"{self.n_features}-{self.n_components}"

    @property
    def title(self):
        """The title of its table."""
        return (
            f"{self.n_samples} x {self.n_features} -> {self.n_components}, "
            f"batch {self.batch_size}"
        )

    @property
    def n_steps(self):
        """Steps of an epoch."""
        return -(-self.n_samples // self.batch_size)

    @property
    def setting(self):
        """The objective and the optimizer of the peers that minimise it."""
        return Setting(0.05, 3.0, 1e-4, "linear", 1e-3, self.batch_size)


# A long fit exceeds a short one by about this time, and single steps take it in total.
TIMED_SECONDS = 2.0

# More epochs than any training takes.
WITHOUT_END = 100_000

# A peer that has not reached the work's objective is stopped after this time.
LONGEST_SECONDS = 120.0

# First fits are long enough for ours to compile. They have at least two epochs, because
# the rows of a single epoch are not held, and holding 60 000 x 784 takes as long as 80
# steps.
WORKS = [
    Work(10_000, 64, 25, 256, 20, 200, 0.2, keras_floor=12),
    Work(10_000, 576, 250, 50, 3, 20, 1.5, floor_bound=1.35),
    Work(60_000, 784, 196, 256, 2, 4, 4.0, floor_bound=1.35),
    Work(60_000, 784, 1000, 256, 2, 3, 2.2, floor_bound=1.25),
]


class Problem(NamedTuple):
    """The rows and the weights that every peer starts from."""

    work: Work
    X: np.ndarray
    weights: list

    def save(self, folder):
        """Write the arrays to a folder."""
        np.save(folder / "X.npy", self.X)
        np.savez(folder / "weights.npz", *self.weights)

    @classmethod
    def load(cls, work, folder):
        """Read what ``save`` has written."""
        with np.load(folder / "weights.npz") as weights:
            return cls(work, np.load(folder / "X.npy"), list(weights.values()))


def training_rows(work, data_folder):
    """Return centred float32 rows, as ours centres its data."""
    if work.n_features == 784:
        X = fashion_mnist(data_folder)[0]
    else:
        side = round(work.n_features**0.5)
        X = load_natural_image_patches(work.n_samples, patch_size=side, random_state=0)
    return (X - X.mean(axis=0)).astype(np.float32)


def our_transformer(work, max_iter, *, shuffle):
    """Return our transformer with the arithmetic of the peers: batch means only."""
    setting = work.setting
    return SparseAutoencoderTransformer(
        work.n_components,
        **setting.penalties,
        learning_rate=setting.learning_rate,
        batch_size=setting.batch_size,
        max_iter=max_iter,
        shuffle=shuffle,
        rho_hat="batch",
        scale=False,
        tol=0,
        n_iter_no_change=1_000_000,
        random_state=0,
    )


def make_problem(work, data_folder):
    """Return the problem, with the weights from which ours starts."""
    X = training_rows(work, data_folder)
    ours = with_python_parameters(our_transformer(work, 1, shuffle=False))
    plan = make_plan(ours, X, None, partial=False)
    return Problem(work, X, [w.astype(np.float32) for w in plan.weights])


# ---------------------------------------------------------------------------- peers


class Peer:
    """A model that trains by epochs.

    The constructor imports what the model needs and is not timed. ``build`` makes the
    model and is timed.
    """

    package: ClassVar[str] = "sklearn"
    note: ClassVar[str] = ""
    same_objective: ClassVar[bool] = True

    def __init__(self, problem):
        self.problem = problem

    def build(self):
        """Make the model."""

    def fit(self, n_epochs, *, shuffle=True):
        """Train for some epochs."""
        for _ in range(n_epochs):
            self.model.epoch(shuffle=shuffle)

    def weights(self):
        """Return W1, b1, W2, b2."""
        return self.model.weights()

    def epochs_to_time(self):
        """Return how many epochs take about ``TIMED_SECONDS``, within the limits."""
        work = self.problem.work
        with stopwatch() as short:
            self.fit(work.first_epochs)
        n_epochs = round(TIMED_SECONDS * work.first_epochs / short[0])
        return min(max(n_epochs, 1), work.most_epochs)

    def follow(self, trace):
        """Train from the start until ``trace`` asks to stop."""
        self.build()
        while not trace.record(self.weights):
            self.fit(1)

    def time_to_objective(self):
        """Return the time to the objective of the work, compilation included."""
        X, work = self.problem.X, self.problem.work
        trace = Trace(
            lambda weights: full_objective(X, weights, work.setting),
            LONGEST_SECONDS,
            work.objective,
        )
        self.follow(trace)
        return {"objective_s": time_to(trace.points, work.objective)}

    def measure(self):
        """Return all figures but the time to the objective."""
        work = self.problem.work
        before = peak_megabytes()
        with stopwatch() as first:
            self.build()
            self.fit(work.first_epochs, shuffle=False)
        figures = {"first_fit_s": first[0]}
        weights = [np.array(w) for w in self.weights()] if self.same_objective else None
        n_epochs = self.epochs_to_time()
        seconds = seconds_of_epochs(self.fit, work.first_epochs, n_epochs)
        figures["step_us"] = 1e6 * seconds / n_epochs / work.n_steps
        figures |= {"peak_mb": peak_megabytes(), "before_fit_mb": before}
        if weights is not None:
            figures["objective"] = full_objective(self.problem.X, weights, work.setting)
        return figures


class Ours(Peer):
    """The transformer of this package."""

    def __init__(self, problem):
        super().__init__(problem)
        import_keras()

    def fit(self, n_epochs, *, shuffle=True):
        """Fit a new estimator, which shares the compiled programs of earlier ones."""
        work, X = self.problem.work, self.problem.X
        self.transformer = our_transformer(work, n_epochs, shuffle=shuffle).fit(X)

    def follow(self, trace):
        """Fit an estimator that the trace stops."""
        work, X = self.problem.work, self.problem.X
        follow_ours(our_transformer(work, WITHOUT_END, shuffle=True), X, trace)

    def weights(self):
        """Return the fitted arrays in the order of the other peers'."""
        return weights_of(vars(self.transformer))


class ModelFit(Peer):
    """``keras.Model.fit`` with the regularizer of this package."""

    compiling: ClassVar[dict] = {}

    def __init__(self, problem):
        super().__init__(problem)
        import_keras()

    def build(self):
        """Make and compile the model."""
        self.model = keras_autoencoder(
            self.problem.weights, self.problem.work.setting, **self.compiling
        )

    def fit(self, n_epochs, *, shuffle=True, callbacks=()):
        """Train for some epochs."""
        self.model.fit(
            self.problem.X,
            self.problem.X,
            batch_size=self.problem.work.batch_size,
            epochs=n_epochs,
            shuffle=shuffle,
            verbose=0,
            callbacks=list(callbacks),
        )

    def follow(self, trace):
        """Call ``Model.fit`` only once, as each call costs time."""
        self.build()
        self.fit(WITHOUT_END, callbacks=[trace.keras_callback()])

    def weights(self):
        """Return the model's weights."""
        return self.model.get_weights()


class CompiledModelFit(ModelFit):
    """``keras.Model.fit`` with XLA, one call an epoch."""

    note = "jit_compile, steps_per_execution"

    def __init__(self, problem):
        super().__init__(problem)
        self.compiling = compiling_steps(
            problem.work.n_samples, problem.work.batch_size
        )


class Torch(Peer):
    """A loop of PyTorch."""

    package = "torch"
    note = "eager"

    def __init__(self, problem):
        super().__init__(problem)
        import torch

        torch.set_num_threads(joblib.cpu_count())

    def build(self):
        """Make the layers and the optimizer."""
        problem = self.problem
        self.model = TorchAutoencoder(problem.X, problem.weights, problem.work.setting)


class Numpy(Peer):
    """NumPy by hand."""

    note = "gradient and Adam by hand"

    def build(self):
        """Allocate the moments."""
        problem = self.problem
        self.model = NumpyAutoencoder(problem.X, problem.weights, problem.work.setting)


class Mlp(Peer):
    """scikit-learn's MLPRegressor, fitted to its own input."""

    note = "less: no KL"
    same_objective = False

    def __init__(self, problem):
        super().__init__(problem)
        # What is imported here is not timed.
        importlib.import_module("sklearn.neural_network")

    def fit(self, n_epochs, *, shuffle=True):
        """Fit a new estimator."""
        from sklearn.neural_network import MLPRegressor

        work, X = self.problem.work, self.problem.X
        MLPRegressor(
            hidden_layer_sizes=(work.n_components,),
            activation="logistic",
            alpha=work.setting.weight_decay,
            learning_rate_init=work.setting.learning_rate,
            batch_size=work.batch_size,
            max_iter=n_epochs,
            shuffle=shuffle,
            tol=0,
            n_iter_no_change=1_000_000,
            random_state=0,
        ).fit(X, X)


class StepPeer(Peer, ABC):
    """A model that is timed by single steps."""

    same_objective = False

    @abstractmethod
    def step(self, rows):
        """Take a step on a full batch."""

    def measure(self):
        """Return the time of a step and the memory; there is no first fit."""
        before = peak_megabytes()
        batches = itertools.cycle(full_batches(self.problem))
        with stopwatch() as warm_up:
            self.step(next(batches))
        n_steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < TIMED_SECONDS:
            self.step(next(batches))
            n_steps += 1
        return {
            "step_us": 1e6 * elapsed / n_steps,
            "warm_up_s": warm_up[0],
            "peak_mb": peak_megabytes(),
            "before_fit_mb": before,
        }


class DictionaryLearning(StepPeer):
    """scikit-learn's MiniBatchDictionaryLearning."""

    note = "another objective: l1 codes, no encoder, no KL"

    def __init__(self, problem):
        super().__init__(problem)
        from sklearn.decomposition import MiniBatchDictionaryLearning

        work = problem.work
        self.model = MiniBatchDictionaryLearning(
            work.n_components,
            batch_size=work.batch_size,
            fit_algorithm="cd",
            random_state=0,
        )

    def step(self, rows):
        """Encode the rows and update the dictionary."""
        self.model.partial_fit(rows)


class Products(StepPeer):
    """The five matrix products of a step, and nothing else."""

    note = "the floor: the five products in NumPy"

    def __init__(self, problem):
        super().__init__(problem)
        work = problem.work
        codes = np.full((work.batch_size, work.n_components), 0.1, np.float32)
        rows = np.full((work.batch_size, work.n_features), 0.1, np.float32)
        self._codes, self._delta2 = codes, codes.copy()
        self._output, self._delta3 = rows, rows.copy()
        W1, _, W2, _ = problem.weights
        self._W1, self._W2 = W1, W2
        self._W1_gradient, self._W2_gradient = np.empty_like(W1), np.empty_like(W2)

    def step(self, rows):
        """Multiply."""
        np.matmul(rows, self._W1, out=self._codes)
        np.matmul(self._codes, self._W2, out=self._output)
        np.matmul(self._codes.T, self._delta3, out=self._W2_gradient)
        np.matmul(self._delta3, self._W2.T, out=self._delta2)
        np.matmul(rows.T, self._delta2, out=self._W1_gradient)


def full_batches(problem):
    """Return the batches of all rows in order, without a last smaller batch."""
    size = problem.work.batch_size
    whole = len(problem.X) // size * size
    return np.split(problem.X[:whole], whole // size)


# As the speed of the machine drifts, ours runs next to the peers of its ratios.
PEERS = {
    "floor": ("Five products", Products),
    "ours": ("This package", Ours),
    "keras": ("Model.fit", ModelFit),
    "keras-jit": ("Model.fit, compiled", CompiledModelFit),
    "torch": ("PyTorch", Torch),
    "numpy": ("NumPy", Numpy),
    "mlp": ("MLPRegressor", Mlp),
    "dictionary": ("MiniBatchDictionaryLearning", DictionaryLearning),
}


# ---------------------------------------------------------------------- measurement


def peak_megabytes():
    """Return the peak memory of this process.

    Linux reports it in VmHWM. Elsewhere it is ``ru_maxrss``, which begins with the
    memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peak = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(peak["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_peer(name, what, work, folder):
    """Call a method of a peer in this process and print its figures as JSON."""
    warnings.simplefilter("ignore")
    _, peer = PEERS[name]
    print(json.dumps(getattr(peer(Problem.load(work, folder)), what)()))


def figures_of(name, work, folder):
    """Return the figures of a peer; each method runs in a process of its own."""
    _, peer = PEERS[name]
    whats = ["measure", "time_to_objective"] if peer.same_objective else ["measure"]
    figures = {}
    for what in whats:
        arguments = ["--in-process", name, what, work.name, folder]
        figures |= run_in_own_process([__file__, *arguments])
    return figures


def installed(names):
    """Return the peers whose package is installed; print the others."""
    found = []
    for name in names:
        title, peer = PEERS[name]
        if importlib.util.find_spec(peer.package):
            found.append(name)
        else:
            print(f"{title} is left out: {peer.package} is not installed.", flush=True)
    return found


def repeat(work, names, folder):
    """Run every peer once, in turn; add the ratios to ours and to the floor."""
    run = {}
    for name in names:
        run[name] = figures_of(name, work, folder)
        print(f"{work.name}, {name}: {run[name]['step_us']:.0f} us a step", flush=True)
    if "ours" in run:
        ours = run["ours"]
        for other in run.values():
            other["ratio_to_ours"] = other["step_us"] / ours["step_us"]
        if "floor" in run:
            ours["ratio_to_floor"] = ours["step_us"] / run["floor"]["step_us"]
    return run


def bench_work(work, names, repeats, data_folder):
    """Return the figures of every repeat, and their medians."""
    with tempfile.TemporaryDirectory() as folder:
        make_problem(work, data_folder).save(Path(folder))
        runs = [repeat(work, names, folder) for _ in range(repeats)]
    return {
        "work": work._asdict(),
        "setting": work.setting._asdict(),
        "runs": runs,
        "medians": {name: medians([run[name] for run in runs]) for name in names},
    }


# -------------------------------------------------------------------------- results


def shown(figures, key, form):
    """Return a figure as text, empty if there is none."""
    if key not in figures:
        return ""
    if math.isinf(figures[key]):
        return f"not in {LONGEST_SECONDS:.0f} s"
    return form.format(figures[key])


def comparison_rows(result):
    """Return the rows of a work's table."""
    work = result["work"]
    return [
        {
            "by": PEERS[name][0],
            "step": shown(figures, "step_us", "{:.0f} us"),
            "times ours": shown(figures, "ratio_to_ours", "{:.2f}"),
            f"to {work['objective']}": shown(figures, "objective_s", "{:.1f} s"),
            "first fit": shown(figures, "first_fit_s", "{:.1f} s"),
            "peak memory": shown(figures, "peak_mb", "{:.0f} MB"),
            "of it before": shown(figures, "before_fit_mb", "{:.0f} MB"),
            "objective": shown(figures, "objective", "{:.4f}"),
            "note": PEERS[name][1].note,
        }
        for name, figures in result["medians"].items()
    ]


def bound_rows(results):
    """Return the rows of the table of ratios and bounds."""
    rows = []
    for work, result in results:
        found = result["medians"]
        if work.floor_bound and "ratio_to_floor" in found.get("ours", {}):
            value = bound_verdict(found["ours"]["ratio_to_floor"], work.floor_bound)
            rows.append({"work": work.title, "ratio": "ours / floor", "is": value})
        if work.keras_floor and "ratio_to_ours" in found.get("keras", {}):
            value = verdict(found["keras"]["ratio_to_ours"], work.keras_floor)
            rows.append({"work": work.title, "ratio": "Model.fit / ours", "is": value})
    return rows


def check_objectives(result):
    """Raise if peers with the same objective have reached different values."""
    found = [f["objective"] for f in result["medians"].values() if "objective" in f]
    if found:
        np.testing.assert_allclose(found, found[0], rtol=2e-3)


def table(work, result):
    """Return the Markdown of a work's comparison."""
    n_steps = work.first_epochs * work.n_steps
    title = f"{work.title}; first fit and objective after {n_steps} steps"
    return markdown_table(title, comparison_rows(result))


def parsed_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [work.name for work in WORKS]
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    add_choices(parser, names, PEERS)
    parser.add_argument("--markdown", type=Path, help="where to write the tables")
    parser.add_argument("--in-process", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = parsed_arguments()
    if arguments.in_process:
        name, what, work_name, folder = arguments.in_process
        work = next(work for work in WORKS if work.name == work_name)
        run_peer(name, what, work, Path(folder))
        return
    import_keras()
    results = {"versions": versions(), "works": []}
    print_versions(results["versions"])
    names = installed(arguments.peers or PEERS)
    works = [w for w in WORKS if not arguments.only or w.name in arguments.only]
    tables = []
    for work in works:
        result = bench_work(work, names, arguments.repeats, arguments.fashion_mnist)
        results["works"].append(result)
        tables.append(table(work, result))
        print(tables[-1], flush=True)
        write_json(arguments.json, results)
        check_objectives(result)
    if rows := bound_rows(zip(works, results["works"], strict=True)):
        tables.append(markdown_table("Ratios and their bounds", rows))
        print(tables[-1])
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(tables).lstrip() + "\n")


if __name__ == "__main__":
    main()

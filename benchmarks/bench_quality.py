"""Follow the full-data objective over wall time, ours and that of hand-written code.

Run ``python benchmarks/bench_quality.py [--repeats N] [--only WORK ...]
[--peers NAME ...] [--share SHARE] [--json FILE] [--figure FILE]``. What is measured,
and how, stands in README.md.
"""

import argparse
import importlib.util
import json
import math
import statistics
import warnings
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from _common import (
    add_choices,
    fashion_mnist,
    print_table,
    print_versions,
    run_in_own_process,
    versions,
    write_json,
)
from _peers import (
    Setting,
    TorchAutoencoder,
    compiling_steps,
    full_objective,
    import_keras,
    keras_autoencoder,
    uniform_start,
)
from _traces import Trace, follow_ours, time_to
from bench_engine import NumpyObjective
from scipy.optimize import minimize

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

# More iterations or epochs than any training takes in its time.
WITHOUT_END = 100_000

# Times are taken to the best objective found, increased by these shares.
MARGINS = (0.2, 0.05, 0.01)


class Work(NamedTuple):
    """An objective to minimise.

    Attributes
    ----------
    title : str
    n_components : int
    setting : Setting
        Its learning rate is the constant rate of the peers' Adam.
    seconds : float
        Time after which a training is stopped.
    """

    title: str
    n_components: int
    setting: Setting
    seconds: float


WORKS = {
    "patches": Work(
        "Ng's patches, 10 000 x 64 -> 25",
        25,
        # Ng's start leads to a collapse. At a rate of 1e-2 PyTorch stays in it, at
        # 0.454; at 1e-3 it leaves it after 20 s.
        Setting(0.01, 3.0, 1e-4, "sigmoid", 3e-3, 256),
        30.0,
    ),
    "fashion-mnist": Work(
        "Fashion-MNIST, 60 000 x 784 -> 196",
        196,
        Setting(0.1, 3.0, 3e-3, "sigmoid", 1e-3, 256),
        60.0,
    ),
}


def training_rows(name, data_folder):
    """Return the data of a work, float32."""
    if name == "patches":
        return load_natural_image_patches(random_state=0).astype(np.float32)
    return fashion_mnist(data_folder)[0]


# --------------------------------------------------------------------------- ours


def fit_ours(work, X, trace, seed, **settings):
    """Fit ours."""
    transformer = SparseAutoencoderTransformer(
        work.n_components,
        **work.setting.penalties,
        output_activation=work.setting.output_activation,
        scale=False,
        random_state=seed,
        **settings,
    )
    follow_ours(transformer, X, trace)


def follow_lbfgs(work, X, trace, seed):
    """Fit ours by L-BFGS until it makes no more progress."""
    fit_ours(work, X, trace, seed, solver="lbfgs", max_iter=WITHOUT_END, tol=0)


def follow_adam(work, X, trace, seed):
    """Fit ours by Adam until the time is over."""
    fit_ours(work, X, trace, seed, max_iter=WITHOUT_END, tol=0)


# -------------------------------------------------------------------------- peers


def start_of(work, X, seed):
    return uniform_start(X.shape[1], work.n_components, seed)


def follow_keras(work, X, trace, seed, **compiling):
    """Train by ``Model.fit`` with a constant learning rate."""
    import_keras()
    weights = start_of(work, X, seed)
    trace.restart()
    model = keras_autoencoder(weights, work.setting, **compiling)
    model.fit(
        X,
        X,
        batch_size=work.setting.batch_size,
        epochs=WITHOUT_END,
        verbose=0,
        callbacks=[trace.keras_callback()],
    )


def follow_compiled_keras(work, X, trace, seed):
    """Train by ``Model.fit`` with XLA, one call an epoch."""
    compiling = compiling_steps(len(X), work.setting.batch_size)
    follow_keras(work, X, trace, seed, **compiling)


def follow_torch(work, X, trace, seed):
    """Train by a loop of PyTorch with a constant learning rate."""
    import torch

    torch.set_num_threads(joblib.cpu_count())
    torch.manual_seed(seed)
    weights = start_of(work, X, seed)
    trace.restart()
    model = TorchAutoencoder(X, weights, work.setting)
    while not trace.record(model.weights):
        model.epoch(shuffle=True)


def follow_scipy(work, X, trace, seed):
    """Minimise by SciPy's L-BFGS with a hand-written gradient."""
    weights = start_of(work, X, seed)
    vector = np.concatenate([w.ravel() for w in weights])
    trace.restart()
    objective = NumpyObjective(X, X, work.n_components, **work.setting.penalties)

    def split(x):
        parts = np.split(x, objective.ends)
        return [p.reshape(s) for p, s in zip(parts, objective.shapes, strict=True)]

    def on_iteration(intermediate_result):
        if trace.record(lambda: split(intermediate_result.x)):
            raise StopIteration

    result = minimize(
        objective,
        vector,
        jac=True,
        method="L-BFGS-B",
        callback=on_iteration,
        options={"maxiter": WITHOUT_END, "maxfun": np.inf, "gtol": 0},
    )
    trace.finish(lambda: split(result.x))


class Peer(NamedTuple):
    """The title of a contestant, its curve's style and the function that trains it."""

    title: str
    color: str
    style: str
    follow: object
    package: str = "sklearn"


PEERS = {
    "lbfgs": Peer("ours, lbfgs", "C3", "-", follow_lbfgs),
    "adam": Peer("ours, adam", "C1", "-", follow_adam),
    "keras": Peer("Model.fit", "C0", "--", follow_keras),
    "keras-jit": Peer("Model.fit, compiled", "C9", "--", follow_compiled_keras),
    "torch": Peer("PyTorch", "C4", "--", follow_torch, "torch"),
    "scipy": Peer("NumPy, SciPy's L-BFGS", "C7", "--", follow_scipy),
}


# --------------------------------------------------------------------- measurement


def run_peer(name, work_name, seed, share, data_folder):
    """Follow a training in this process and print its points as JSON."""
    warnings.simplefilter("ignore")
    work, X = WORKS[work_name], training_rows(work_name, data_folder)
    trace = Trace(lambda w: full_objective(X, w, work.setting), share * work.seconds)
    PEERS[name].follow(work, X, trace, seed)
    print(json.dumps(trace.points))


def bench_work(work_name, names, arguments):
    """Return the traces of every peer, one per repeat."""
    traces = {name: [] for name in names}
    for seed in range(arguments.repeats):
        for name in names:
            own = [name, work_name, seed, arguments.share, arguments.fashion_mnist]
            points = run_in_own_process([__file__, "--in-process", *own])
            traces[name].append(points)
            seconds, objective = points[-1]
            print(
                f"{work_name}, {name}: {objective:.4f} at {seconds:.1f} s", flush=True
            )
    return {
        "work": WORKS[work_name]._asdict(),
        "setting": WORKS[work_name].setting._asdict(),
        "traces": traces,
    }


def installed(names):
    """Return the peers whose package is installed; print the others."""
    found = []
    for name in names:
        peer = PEERS[name]
        if importlib.util.find_spec(peer.package):
            found.append(name)
        else:
            print(f"{peer.title} is left out: {peer.package} is not installed.")
    return found


# -------------------------------------------------------------------------- results


def best_objective(result):
    """Return the lowest objective that any peer has reached."""
    return min(
        objective
        for runs in result["traces"].values()
        for points in runs
        for _, objective in points
    )


def add_times(result):
    """Add the stated objectives and every peer's median time to each."""
    best = best_objective(result)
    result["targets"] = [(1 + margin) * best for margin in MARGINS]
    result["seconds_to_target"] = {
        name: [
            statistics.median(time_to(points, target) for points in runs)
            for target in result["targets"]
        ]
        for name, runs in result["traces"].items()
    }


def print_times(result):
    """Print the time to each stated objective."""
    targets = [
        f"{target:.4f} (best + {margin:.0%})"
        for margin, target in zip(MARGINS, result["targets"], strict=True)
    ]
    rows = []
    for name, times in result["seconds_to_target"].items():
        shown = [f"{t:.2f} s" if math.isfinite(t) else "not reached" for t in times]
        ends = [points[-1] for points in result["traces"][name]]
        seconds, objective = (statistics.median(c) for c in zip(*ends, strict=True))
        rows.append(
            {"by": PEERS[name].title}
            | dict(zip(targets, shown, strict=True))
            | {"at the end": f"{objective:.4f} after {seconds:.0f} s"}
        )
    print_table(f"{result['work']['title']}: time to a full-data objective", rows)


def draw(results, file):
    """Draw the objective over time, a panel for each work, a colour for each peer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(results), figsize=(5.2 * len(results), 4.4), layout="constrained"
    )
    for ax, result in zip(np.atleast_1d(axes), results, strict=True):
        draw_work(ax, result)
    handles = {}
    for ax in np.atleast_1d(axes):
        lines, labels = ax.get_legend_handles_labels()
        handles |= dict(zip(labels, lines, strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def draw_work(ax, result):
    """Draw the traces of a work; only the first repeat is labelled."""
    from matplotlib.ticker import LogLocator, NullLocator

    best = best_objective(result)
    for name, runs in result["traces"].items():
        peer = PEERS[name]
        for repeat, points in enumerate(runs):
            ax.plot(
                *zip(*points, strict=True),
                color=peer.color,
                linestyle=peer.style,
                label=None if repeat else peer.title,
            )
    ax.set_xscale("log")
    ax.set_yscale("log")
    first = min(points[0][0] for runs in result["traces"].values() for points in runs)
    ax.set_xlim(left=max(first, 0.05))
    ax.set_ylim(0.98 * best, 2.5 * best)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.set(
        title=result["work"]["title"],
        xlabel="seconds since the start of fit, with compilation",
        ylabel="objective over all rows",
    )
    ax.grid(alpha=0.3)


def parsed_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    add_choices(parser, WORKS, PEERS)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the time each training may take"
    )
    parser.add_argument("--figure", type=Path, help="where to draw the curves")
    parser.add_argument("--in-process", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    arguments = parsed_arguments()
    if arguments.in_process:
        name, work_name, seed, share, data_folder = arguments.in_process
        run_peer(name, work_name, int(seed), float(share), Path(data_folder))
        return
    import_keras()
    results = {"versions": versions(), "works": []}
    print_versions(results["versions"])
    names = installed(arguments.peers or PEERS)
    for work_name in arguments.only or WORKS:
        result = bench_work(work_name, names, arguments)
        add_times(result)
        print_times(result)
        results["works"].append(result)
        write_json(arguments.json, results)
    if arguments.figure is not None:
        draw(results["works"], arguments.figure)


if __name__ == "__main__":
    main()

"""Time settings trained in one program beside separate fits, one and two at a time.

Run ``python benchmarks/bench_many_settings.py [--work NAME ...] [--repeats N]
[--json FILE]``. What is measured, and how, stands in README.md.
"""

import argparse
import itertools
import json
import math
import statistics
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import (
    print_table,
    print_versions,
    run_in_own_process,
    stopwatch,
    versions,
    write_json,
)
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

RHOS, BETAS = (0.01, 0.02, 0.05, 0.1, 0.2), (0.1, 0.3, 1.0, 3.0, 10.0)
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Keras' defaults for Adam


class Work(NamedTuple):
    """A network and the batches it is trained in."""

    n_components: int
    batch_size: int
    n_epochs: int


# Patches of 64 features, two thirds of them: what a fold of three trains on.
WORKS = {"64-25": Work(25, 250, 30), "64-100": Work(100, 50, 10)}
N_ROWS = 6667


def candidates(work):
    """Return a transformer for every setting."""
    base = SparseAutoencoderTransformer(
        work.n_components,
        batch_size=work.batch_size,
        max_iter=work.n_epochs,
        tol=0,
        n_iter_no_change=1_000_000,
        random_state=0,
    )
    return [
        clone(base).set_params(rho=rho, beta=beta)
        for rho, beta in itertools.product(RHOS, BETAS)
    ]


def fitted_objectives(transformers, X):
    return [t.fit(X).objective_.total for t in transformers]


# ------------------------------------------------------------------- in one program


def wide(X, W1, b1, W2, b2):
    """Return codes and output: the first product is one, of all models' units."""
    import tensorflow as tf

    n_models, n_features, n_components = W1.shape
    kernel = tf.reshape(tf.transpose(W1, [1, 0, 2]), [n_features, -1])
    Z = tf.reshape(tf.matmul(X, kernel), [-1, n_models, n_components])
    codes = tf.sigmoid(tf.transpose(Z, [1, 0, 2]) + b1[:, None])
    return codes, tf.matmul(codes, W2) + b2[:, None]


def batched(X, W1, b1, W2, b2):
    """Return codes and output: every product is one for each model."""
    import tensorflow as tf

    n_models = W1.shape[0]
    codes = tf.sigmoid(tf.matmul(tf.tile(X[None], [n_models, 1, 1]), W1) + b1[:, None])
    return codes, tf.matmul(codes, W2) + b2[:, None]


def unrolled(X, W1, b1, W2, b2):
    """Return codes and output: the models' networks stand beside each other."""
    import tensorflow as tf

    codes, outputs = [], []
    for k in range(W1.shape[0]):
        codes.append(tf.sigmoid(tf.matmul(X, W1[k]) + b1[k]))
        outputs.append(tf.matmul(codes[-1], W2[k]) + b2[k])
    return tf.stack(codes), tf.stack(outputs)


LAYOUTS = {"wide": wide, "batched": batched, "unrolled": unrolled}


class StackedProgram:
    """Epochs of Adam over models that differ in rho and beta alone."""

    def __init__(self, trainings, layout, batch_size, n_rows):
        import tensorflow as tf

        from sksparse_ae._minibatch import RHO_HAT_WINDOW

        self._layout, self._batch_size = layout, batch_size
        self._momentum = max(1 - batch_size / min(RHO_HAT_WINDOW, n_rows), 0)
        penalties = [t.problem.penalties for t in trainings]
        rho, beta, weight_decay = np.transpose(penalties).astype(np.float32)
        self._rho, self._beta = rho[:, None], beta[:, None]
        self._weight_decay = weight_decay
        weights = [
            np.stack(arrays).astype(np.float32)
            for arrays in zip(*(t.weights for t in trainings), strict=True)
        ]
        self.variables = [tf.Variable(w) for w in weights]
        self._moments = [
            (tf.Variable(tf.zeros_like(w)), tf.Variable(tf.zeros_like(w)))
            for w in weights
        ]
        self._rho_hat = tf.Variable(
            np.stack([t.rho_hat for t in trainings]).astype(np.float32)
        )
        self._n_steps = tf.Variable(0.0)
        self.epoch = tf.function(self._epoch, jit_compile=True)

    def _epoch(self, data, n_rows, rate):
        import tensorflow as tf
        from keras import ops

        from sksparse_ae._objective import kl_divergence, straight_through

        def step(start):
            X = tf.slice(data, [start, 0], [self._batch_size, data.shape[1]])
            n_valid = tf.minimum(n_rows - start, self._batch_size)
            is_row = tf.cast(tf.range(self._batch_size) < n_valid, X.dtype)
            row_weights = is_row / tf.cast(n_valid, X.dtype)
            values = [v.value() for v in self.variables]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                W1, _, W2, _ = values
                codes, output = self._layout(X, *values)
                errors = 0.5 * tf.reduce_sum(tf.square(output - X), axis=2)
                rho_hat = tf.linalg.matvec(codes, row_weights, transpose_a=True)
                running = tf.stop_gradient(
                    self._momentum * self._rho_hat + (1 - self._momentum) * rho_hat
                )
                divergence = kl_divergence(
                    self._rho, straight_through(running, rho_hat, ops), ops
                )
                decay = tf.reduce_sum(tf.square(W1), [1, 2]) + tf.reduce_sum(
                    tf.square(W2), [1, 2]
                )
                objective = (
                    tf.reduce_sum(errors * row_weights)
                    + tf.reduce_sum(self._beta * divergence)
                    + 0.5 * tf.reduce_sum(self._weight_decay * decay)
                )
            gradients = tape.gradient(objective, values)
            self._n_steps.assign_add(1.0)
            n = self._n_steps
            alpha = rate * tf.sqrt(1 - BETA_2**n) / (1 - BETA_1**n)
            for variable, (m, v), gradient in zip(
                self.variables, self._moments, gradients, strict=True
            ):
                m.assign_add((gradient - m) * (1 - BETA_1))
                v.assign_add((tf.square(gradient) - v) * (1 - BETA_2))
                variable.assign_sub(m * alpha / (tf.sqrt(v) + EPSILON))
            self._rho_hat.assign(running)
            return [start + self._batch_size]

        tf.while_loop(lambda start: start < n_rows, step, [0])


class StackedTrainings:
    """The trainings of ``candidates``, which share data and order, as one."""

    def __init__(self, transformers, X, layout):
        from sksparse_ae import _training

        self._trainings = [
            _training.prepare(t, X, None, partial=False) for t in transformers
        ]
        self._batch_size = transformers[0].batch_size
        self._n_epochs = transformers[0].max_iter
        self._layout, self._X = layout, X
        self.program = StackedProgram(
            self._trainings, layout, self._batch_size, X.shape[0]
        )

    def run(self):
        """Train; return the objective of each model."""
        import tensorflow as tf

        from sksparse_ae._minibatch import AnnealedRate, OptimizerSpec, automatic_rate
        from sksparse_ae._streams import BlockStream

        first = self._trainings[0]
        scaling, X = first.problem.scaling, self._X
        stream = BlockStream(X, scaling, self._batch_size, True, first.rng)
        adam, _ = OptimizerSpec.from_solver("adam")
        rate = AnnealedRate(automatic_rate(adam, X, scaling), self._n_epochs)
        for epoch in range(self._n_epochs):
            for data, n_rows in stream:
                self.program.epoch(
                    data, tf.constant(n_rows), tf.constant(rate(epoch), tf.float32)
                )
        stacked = [v.numpy() for v in self.program.variables]
        return [
            training.fitted_attributes(weights)["objective_"].total
            for training, *weights in zip(self._trainings, *stacked, strict=True)
        ]


# -------------------------------------------------------------------------- measured


def bench(name, repeats):
    """Time the three ways for one work, everything compiled before."""
    work = WORKS[name]
    X = load_natural_image_patches(random_state=0)[:N_ROWS].astype(np.float32)
    transformers = candidates(work)
    halves = transformers[::2], transformers[1::2]
    expected = fitted_objectives(transformers[:1], X)  # compiles
    pool = Parallel(n_jobs=2)
    with pool, parallel_config(backend="loky"):
        pool(delayed(fitted_objectives)(half[:1], X) for half in halves)
        runs = []
        for _ in range(repeats):
            run = {}
            with stopwatch() as seconds:
                expected = fitted_objectives(transformers, X)
            run["separate"] = seconds[0]
            with stopwatch() as seconds:
                pool(delayed(fitted_objectives)(half, X) for half in halves)
            run["two at a time"] = seconds[0]
            for layout, forward in LAYOUTS.items():
                stacked = StackedTrainings(transformers, X, forward)
                # The first call compiles, on no rows.
                rows = np.zeros((padded(X, work), X.shape[1]), np.float32)
                stacked.program.epoch(rows, np.int32(0), np.float32(0))
                with stopwatch() as seconds:
                    objectives = stacked.run()
                run[layout] = seconds[0]
                worst = max(
                    abs(a / b - 1) for a, b in zip(objectives, expected, strict=True)
                )
                run[f"{layout}, difference"] = worst
            runs.append(run)
    return {"work": name, "runs": runs}


def padded(X, work):
    from sksparse_ae._network import padded_rows

    return math.ceil(padded_rows(X.shape[0]) / work.batch_size) * work.batch_size


def print_result(result):
    runs = result["runs"]
    rows = []
    for way in ("separate", "two at a time", *LAYOUTS):
        seconds = statistics.median(run[way] for run in runs)
        row = {"way": way, "seconds": f"{seconds:.2f}"}
        for other in ("separate", "two at a time"):
            gain = statistics.median(run[other] / run[way] for run in runs)
            row[f"faster than {other}"] = f"{gain:.2f}"
        difference = runs[-1].get(f"{way}, difference")
        row["objectives differ by"] = "" if difference is None else f"{difference:.1e}"
        rows.append(row)
    n_models = len(RHOS) * len(BETAS)
    work = WORKS[result["work"]]
    print_table(
        f"{n_models} settings, {result['work']}, batch {work.batch_size}, "
        f"{work.n_epochs} epochs of {N_ROWS} rows",
        rows,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--bench", choices=WORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bench:
        warnings.simplefilter("ignore")
        print(json.dumps(bench(arguments.bench, arguments.repeats)))
        return
    results = {"versions": versions()}
    print_versions(results["versions"])
    for name in arguments.work:
        command = [__file__, "--bench", name, "--repeats", arguments.repeats]
        results[name] = run_in_own_process(command)
        print_result(results[name])
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()

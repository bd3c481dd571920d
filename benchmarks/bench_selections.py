"""Time selected codes: the selection, a step, sparse output and the thresholds.

Run ``python benchmarks/bench_selections.py [--repeats N] [--only PART ...]
[--json FILE]``. What is measured, and how, stands in README.md.
"""

import argparse
import functools
import importlib.util
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from _common import (
    FASHION_MNIST,
    bound_verdict,
    fashion_mnist,
    medians,
    peak_anonymous_bytes,
    print_table,
    print_versions,
    resident_bytes,
    run_in_own_process,
    stopwatch,
    versions,
    write_json,
)
from _peers import TorchTopK, import_keras

from sksparse_ae import SparseAutoencoderTransformer

BATCH_SIZE, N_FEATURES = 256, 784
WIDE, K = 4096, 32  # units, and how many of them are on in a row
NARROW, NARROW_RHO = 1000, 0.05
SELECTED = "topk", "batchtopk", "lifetime"
WITH_THRESHOLD = SELECTED[1:]

# The largest ratios: a selection to the first product, a step to one of KL, and a step
# to its five products. The largest memory, in GB, of a transform to CSR.
SELECTION_BOUND, KL_BOUND, PRODUCTS_BOUND, GIGABYTES = 1.0, 1.3, 1.6, 1.5

STEPS = {NARROW: 20, WIDE: 8}  # of which one time is the mean
SPARSE_ROWS, SPARSE_FEATURES = 1_000_000, 64
FITTED_ROWS, COMPARED_ROWS = 5_000, 20_000
THRESHOLD_ROWS = 20_000


def in_turn(functions, repeats, n_calls=1):
    """Return the seconds of a call of each function, by repeat, by its name.

    They take turns, as the speed of the machine drifts. A first call is not timed. The
    time is that of the clock, and under ``processor``, which others disturb less, that
    of the processor, all threads added up.
    """
    for function in functions.values():
        function()
    runs = []
    for _ in range(repeats):
        run = {}
        for name, function in functions.items():
            processor = time.process_time()
            with stopwatch() as elapsed:
                function()
            run[name] = elapsed[0] / n_calls
            run[processor_of(name)] = (time.process_time() - processor) / n_calls
        runs.append(run)
    return runs


def processor_of(name):
    """Return the name of the processor's time of a function."""
    return f"{name}, processor"


def ratio(runs, name, other):
    """Return the median over the repeats of the ratio of two times."""
    return statistics.median(run[name] / run[other] for run in runs)


def compared(runs, name, other, bound=None):
    """Return the ratio of two times by the clock and by the processor, as text."""
    value = ratio(runs, name, other)
    text = f"{value:.2f}" if bound is None else bound_verdict(value, bound)
    return f"{text}, {ratio(runs, processor_of(name), processor_of(other)):.2f}"


def shown(runs, name):
    """Return the median times of a function by the clock and by the processor."""
    times = medians(runs)
    return f"{1e3 * times[name]:.1f}, {1e3 * times[processor_of(name)]:.1f} ms"


def compiled(function, *arguments, n_calls=1, jit_compile=True):
    """Return a call of a function of tensors, as a graph, that waits for its result."""
    import tensorflow as tf

    graph = tf.function(function, jit_compile=jit_compile, autograph=False)

    def call():
        for _ in range(n_calls):
            result = graph(*arguments)
        np.asarray(tf.nest.flatten(result)[0][..., 0])

    return call


# ---------------------------------------------------------------------- the selection


def activations_of(n_units):
    """Return rows, an encoder's kernel and its relu activations, as tensors."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(BATCH_SIZE, N_FEATURES)).astype(np.float32)
    kernel = rng.normal(size=(N_FEATURES, n_units)).astype(np.float32)
    kernel /= np.sqrt(N_FEATURES)
    activations = np.maximum(rows @ kernel, 0)
    return tuple(map(tf.constant, (rows, kernel, activations)))


def bench_selection(repeats):
    """Time selections beside the product that makes the activations, and others."""
    import tensorflow as tf
    from keras import ops

    from sksparse_ae._objective.selections import SELECTIONS, largest

    rows, kernel, activations = activations_of(WIDE)
    rho = tf.constant(K / WIDE, tf.float32)
    row_weights = tf.fill([BATCH_SIZE], 1 / BATCH_SIZE)

    def kept(values):
        return tf.where(activations >= values[:, -1:], activations, 0.0)

    def by_top_k(activations):
        return kept(tf.math.top_k(activations, K).values)

    def by_sort(activations):
        return kept(tf.sort(activations, direction="DESCENDING")[:, :K])

    def ours(name):
        return lambda values: largest(SELECTIONS[name], values, rho, row_weights, ops)

    n_calls = 4
    make = functools.partial(compiled, n_calls=n_calls)
    expected = tf.function(by_top_k)(activations)
    np.testing.assert_array_equal(ours("topk")(activations)[0], expected)
    functions = {"first product": make(tf.matmul, rows, kernel)}
    functions |= {name: make(ours(name), activations) for name in SELECTED}
    functions |= {
        "top_k": make(by_top_k, activations, jit_compile=False),
        "sort": make(by_sort, activations, jit_compile=False),
        "top_k, XLA": make(by_top_k, activations),
        "sort, XLA": make(by_sort, activations),
    }
    runs = in_turn(functions, repeats, n_calls)
    print_table(
        f"{BATCH_SIZE} x {WIDE} activations, {K} to stay; by clock, processor",
        [
            {
                "selection": name,
                "time": shown(runs, name),
                "of the first product": compared(
                    runs,
                    name,
                    "first product",
                    SELECTION_BOUND if name in SELECTED else None,
                ),
            }
            for name in functions
        ],
    )
    return runs


# ---------------------------------------------------------------------------- a step


def rows_of(n_rows):
    """Return rows of Fashion-MNIST."""
    return fashion_mnist(FASHION_MNIST)[0][:n_rows]


def transformer_of(sparsity, n_units, **settings):
    """Return a transformer, with defaults but for the size of its batches."""
    rho = K / n_units if n_units == WIDE else NARROW_RHO
    settings = {"rho": rho, "batch_size": BATCH_SIZE, "max_iter": 100} | settings
    return SparseAutoencoderTransformer(
        n_units, sparsity=sparsity, random_state=0, **settings
    )


def epoch_of(sparsity, n_units, X):
    """Return a call of one epoch of the defaults' training."""
    from sksparse_ae._engine.minibatch import MiniBatchEngine
    from sksparse_ae._training.plan import make_plan
    from sksparse_ae._training.settings import with_python_parameters

    settings = with_python_parameters(transformer_of(sparsity, n_units))
    plan = make_plan(settings, X, None, partial=False)
    engine = MiniBatchEngine([plan.minibatches])
    return lambda: engine.epoch([1e-4])


def five_products(n_units, n_calls):
    """Return calls of the five products of a step, each compiled."""
    import tensorflow as tf

    rows, kernel, _ = activations_of(n_units)
    W1 = W2 = tf.transpose(kernel)

    def products(rows, W1, W2):
        codes = tf.matmul(rows, W1, transpose_b=True)
        output = tf.matmul(codes, W2)
        delta = tf.matmul(output, W2, transpose_b=True)
        return (
            tf.matmul(codes, output, transpose_a=True),
            tf.matmul(delta, rows, transpose_a=True),
        )

    return compiled(products, rows, W1, W2, n_calls=n_calls)


def bench_step(repeats):
    """Time steps beside KL's and beside the five products."""
    results = {}
    for n_units, sparsities in {NARROW: ("kl", *SELECTED), WIDE: ("topk",)}.items():
        n_steps = STEPS[n_units]
        X = rows_of(n_steps * BATCH_SIZE)
        functions = {"five products": five_products(n_units, n_steps)}
        functions |= {name: epoch_of(name, n_units, X) for name in sparsities}
        runs = in_turn(functions, repeats, n_steps)
        table = []
        for name in functions:
            of_kl = of_products = ""
            if name in SELECTED and "kl" in functions:
                of_kl = compared(runs, name, "kl", KL_BOUND)
            if name != "five products":
                bound = PRODUCTS_BOUND if n_units == WIDE else None
                of_products = compared(runs, name, "five products", bound)
            table.append(
                {
                    "step": name,
                    "time": shown(runs, name),
                    "of kl": of_kl,
                    "of the five products": of_products,
                }
            )
        shape = f"{N_FEATURES} -> {n_units}, batch {BATCH_SIZE}"
        print_table(f"A step of {shape}; by clock, processor", table)
        results[n_units] = runs
    return results


# -------------------------------------------------------------- decoders of few codes


def bench_decoder(repeats):
    """Time selection, decoder and their gradients, dense and by gathering k rows."""
    import tensorflow as tf
    from keras import ops

    from sksparse_ae._objective.selections import SELECTIONS, largest

    rows, kernel, activations = activations_of(WIDE)
    kernel = tf.transpose(kernel)
    rho = tf.constant(K / WIDE, tf.float32)
    row_weights = tf.fill([BATCH_SIZE], 1 / BATCH_SIZE)

    def dense(activations, kernel):
        given = SELECTIONS["topk"], activations, rho, row_weights, ops
        return tf.matmul(largest(*given)[0], kernel)

    def gathered(activations, kernel):
        values, units = tf.math.top_k(activations, K, sorted=False)
        return tf.einsum("rk,rkf->rf", values, tf.gather(kernel, units))

    def with_gradients(decode):
        def function(activations, kernel):
            with tf.GradientTape() as tape:
                tape.watch([activations, kernel])
                error = tf.reduce_sum(tf.square(decode(activations, kernel) - rows))
            found = tape.gradient(error, [activations, kernel])
            return [tf.convert_to_tensor(gradient) for gradient in found]

        return function

    given = activations, kernel
    expected, found = (with_gradients(f)(*given) for f in (dense, gathered))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-2)
    functions = {
        "dense, XLA": compiled(with_gradients(dense), *given),
        "k rows gathered": compiled(
            with_gradients(gathered), *given, jit_compile=False
        ),
        "k rows gathered, XLA": compiled(with_gradients(gathered), *given),
    }
    runs = in_turn(functions, repeats)
    print_table(
        f"Selection, decoder and gradients, {WIDE} -> {N_FEATURES}, {K} on; by clock, "
        "processor",
        [{"decoder": name, "time": shown(runs, name)} for name in functions],
    )
    return runs


# --------------------------------------------------------------------------- PyTorch


def step_seconds(by, n_units):
    """Print the seconds of a step, ours or PyTorch's, as JSON."""
    n_units = int(n_units)
    X = rows_of(STEPS[n_units] * BATCH_SIZE)
    if by == "ours":
        import_keras()
        epoch = epoch_of("topk", n_units, X)
    else:
        import torch

        torch.set_num_threads(joblib.cpu_count())
        k = K if n_units == WIDE else round(NARROW_RHO * n_units)
        epoch = TorchTopK(X - X.mean(axis=0), n_units, k, BATCH_SIZE).epoch
    epoch()
    times = []
    for _ in range(3):
        with stopwatch() as elapsed:
            epoch()
        times.append(elapsed[0] / STEPS[n_units])
    print(json.dumps(statistics.median(times)))


def bench_torch(repeats):
    """Time steps beside a script of PyTorch, each in a process of its own, in turn."""
    if not importlib.util.find_spec("torch"):
        print("PyTorch is left out: torch is not installed.", flush=True)
        return {}
    results = {}
    for n_units in (NARROW, WIDE):
        runs = []
        for _ in range(repeats):
            run = {}
            for by in ("ours", "PyTorch"):
                given = [__file__, "--in-process", "step_seconds", by, n_units]
                run[by] = run_in_own_process(given)
            runs.append(run)
        results[n_units] = {"runs": runs, "medians": medians(runs)}
    print_table(
        f"A step of topk beside a script of PyTorch, batch {BATCH_SIZE}",
        [
            {
                "step": f"{N_FEATURES} -> {n_units}",
                "ours": f"{1e3 * result['medians']['ours']:.1f} ms",
                "PyTorch": f"{1e3 * result['medians']['PyTorch']:.1f} ms",
                "ratio": f"{ratio(result['runs'], 'PyTorch', 'ours'):.2f}",
            }
            for n_units, result in results.items()
        ],
    )
    return results


# --------------------------------------------------------------------- sparse output


def sparse_output(file):
    """Print the memory and the rows per second of transform to CSR, as JSON."""
    X = np.load(file, mmap_mode="r")
    fitted = transformer_of("topk", WIDE, max_iter=1).fit(np.array(X[:FITTED_ROWS]))
    few, figures = np.array(X[:COMPARED_ROWS]), {}
    for name, as_csr in {"dense": False, "CSR": True}.items():
        fitted.set_params(sparse_output=as_csr)
        with stopwatch() as elapsed:
            fitted.transform(few)
        figures[f"{name}_rows_per_s"] = len(few) / elapsed[0]
    del few
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    figures["before_gb"] = resident_bytes("RssAnon") / 1e9
    with stopwatch() as elapsed, peak_anonymous_bytes() as anonymous:
        codes = fitted.transform(X)
    figures["seconds"] = elapsed[0]
    figures["peak_gb"] = anonymous[0] / 1e9
    figures["resident_gb"] = resident_bytes("VmHWM") / 1e9
    figures["codes_gb"] = sum(
        a.nbytes / 1e9 for a in (codes.data, codes.indices, codes.indptr)
    )
    figures["active"] = codes.nnz / len(X)
    print(json.dumps(figures))


def bench_sparse(repeats):
    """Weigh and time transform to CSR of a memory map, in a process of its own."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        shape = SPARSE_ROWS, SPARSE_FEATURES
        np.save(file, rng.standard_normal(shape, dtype=np.float32))
        found = run_in_own_process([__file__, "--in-process", "sparse_output", file])
    print_table(
        f"transform of {SPARSE_ROWS} x {SPARSE_FEATURES} to CSR of {WIDE} units",
        [
            {
                "active codes": f"{found['active']:.1f}",
                "peak": f"{bound_verdict(found['peak_gb'], GIGABYTES)} GB",
                "with file pages": f"{found['resident_gb']:.2f} GB",
                "before": f"{found['before_gb']:.2f} GB",
                "codes": f"{found['codes_gb']:.2f} GB",
                "rows/s": f"{found['CSR_rows_per_s']:.0f}",
                "rows/s, dense": f"{found['dense_rows_per_s']:.0f}",
                "all": f"{found['seconds']:.0f} s",
            }
        ],
    )
    return found


# ------------------------------------------------------------------------ thresholds


def bench_threshold(repeats):
    """Time the exact pass for the thresholds beside an epoch."""
    from sksparse_ae._network.thresholds import thresholds

    X, results = rows_of(THRESHOLD_ROWS), {}
    for sparsity in WITH_THRESHOLD:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = transformer_of(sparsity, NARROW, max_iter=2).fit(X)
        given = fitted._parameters, sparsity, fitted.rho
        functions = {
            "pass": functools.partial(thresholds, X, *given),
            "epoch": epoch_of(sparsity, NARROW, X),
        }
        results[sparsity] = in_turn(functions, repeats)
    print_table(
        f"The thresholds of {THRESHOLD_ROWS} x {N_FEATURES} -> {NARROW}; by clock, "
        "processor",
        [
            {
                "sparsity": sparsity,
                "pass": shown(runs, "pass"),
                "epoch": shown(runs, "epoch"),
                "ratio": compared(runs, "pass", "epoch"),
            }
            for sparsity, runs in results.items()
        ],
    )
    return results


PARTS = {
    "selection": bench_selection,
    "step": bench_step,
    "decoder": bench_decoder,
    "torch": bench_torch,
    "sparse": bench_sparse,
    "threshold": bench_threshold,
}
IN_PROCESS = {"step_seconds": step_seconds, "sparse_output": sparse_output}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=PARTS)
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--in-process", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        warnings.simplefilter("ignore")
        name, *given = arguments.in_process
        IN_PROCESS[name](*given)
        return
    import_keras()
    results = {"versions": versions()}
    print_versions(results["versions"])
    for name, bench in PARTS.items():
        if arguments.only is None or name in arguments.only:
            start = time.perf_counter()
            results[name] = bench(arguments.repeats)
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
            write_json(arguments.json, results)


if __name__ == "__main__":
    main()

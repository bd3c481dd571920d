"""Time what a fitted transformer exports beside its own transform.

Run ``python benchmarks/bench_exports.py [--repeats N] [--json FILE]``. All compute the
same codes of the same float32 rows in one thread. The CPU time of the process is
measured: on a busy machine, the wall time of several threads would include their waits.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import skl2onnx
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer


class Work(NamedTuple):
    """A fitted network."""

    n_features: int
    n_components: int


WORKS = [Work(64, 100), Work(784, 196)]
ROWS = [1, 100, 10_000]
# A measurement repeats the call for so long.
SECONDS = 0.2


def seconds_per_call(function):
    """Return the mean CPU time of a call, over ``SECONDS`` of calls."""
    n_calls, start = 0, time.process_time()
    while True:
        function()
        n_calls += 1
        elapsed = time.process_time() - start
        if elapsed >= SECONDS:
            return elapsed / n_calls


def medians(functions, repeats):
    """Time functions in turn; return the median time of each."""
    for function in functions.values():
        function()
    runs = [
        {name: seconds_per_call(function) for name, function in functions.items()}
        for _ in range(repeats)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in functions}


def session(model):
    """Return a function of rows that runs an ONNX model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    running = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = running.get_inputs()[0].name
    return lambda X: running.run(None, {name: X})[-1]


def generated(transformer):
    """Return ``encode`` of the module that a transformer generates."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.py")
        transformer.generate_function(path)
        spec = importlib.util.spec_from_file_location("network", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module.encode


def keras_encoder(transformer):
    """Return a function of rows that calls the encoder of the Keras model."""
    model = transformer.to_keras()
    import keras

    return keras.Model(model.input, model.get_layer("encoder").output).predict_on_batch


def encoders(work):
    """Return functions from rows to codes, and rows to call them with."""
    X = np.random.default_rng(0).normal(size=(max(ROWS), work.n_features))
    X = X.astype(np.float32)
    transformer = SparseAutoencoderTransformer(
        work.n_components, max_iter=2, random_state=0
    ).fit(X[:1000])
    functions = {
        "transform": transformer.transform,
        "onnxruntime": session(transformer.to_onnx()),
        "generated module": generated(transformer),
        "Keras": keras_encoder(transformer),
    }
    return functions, X


def pipelines(work):
    """Return functions from rows to a classifier's probabilities, and rows."""
    X = np.random.default_rng(0).normal(size=(max(ROWS), work.n_features))
    X = X.astype(np.float32)
    pipeline = make_pipeline(
        StandardScaler(),
        SparseAutoencoderTransformer(work.n_components, max_iter=2, random_state=0),
        LogisticRegression(max_iter=1000),
    ).fit(X[:1000], np.arange(1000) % 10)
    model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    functions = {
        "predict_proba": pipeline.predict_proba,
        "onnxruntime": session(model),
    }
    return functions, X


def bench(functions, X, repeats):
    """Time functions on several numbers of rows; return a dict for each number."""
    results = []
    for n_rows in ROWS:
        rows = X[:n_rows]
        expected, *outputs = (function(rows) for function in functions.values())
        difference = max(float(np.abs(o - expected).max()) for o in outputs)
        # The rounding of float32 grows with the number of features.
        assert difference <= 1e-5, difference
        calls = {
            name: lambda function=function, rows=rows: function(rows)
            for name, function in functions.items()
        }
        seconds = medians(calls, repeats)
        results.append(
            {"rows": n_rows, "seconds": seconds, "largest_difference": difference}
        )
    return results


def print_table(title, results):
    """Print the times in microseconds as a Markdown table."""
    names = list(results[0]["seconds"])
    print(f"\n{title}\n\n| rows | {' | '.join(names)} | largest difference |")
    print("| --- " * (len(names) + 2) + "|")
    for result in results:
        times = (f"{1e6 * seconds:.0f} us" for seconds in result["seconds"].values())
        difference = f"{result['largest_difference']:.1e}"
        print(f"| {result['rows']} | {' | '.join(times)} | {difference} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    # TensorFlow reads these variables when it starts, at the first fit.
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    results = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
    print(results)
    for title, make in (("Codes", encoders), ("A pipeline's classes", pipelines)):
        for work in WORKS:
            name = f"{title}, {work.n_features} -> {work.n_components}"
            functions, X = make(work)
            with threadpoolctl.threadpool_limits(1):
                results[name] = bench(functions, X, arguments.repeats)
            print_table(name, results[name])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Try the package for long: hostile inputs, kills, threads and many fits.

Run ``python benchmarks/soak.py [inputs] [kills] [threads]``; without names, all three.
Each prints what was tried and what was lost; the exit status is 1 if anything was lost.

inputs
    Run the tests of tests/test_fuzz.py on many more inputs, which depend on the seed.
kills
    Train with a checkpoint_dir in processes that are killed by SIGKILL at a random
    moment and started again. Their results are compared bit by bit with those of
    trainings that were not killed.
threads
    Fit several kinds of transformers in a pool of threads. The results are compared
    with the same fits one after the other. The growth of the memory is printed.
"""

import argparse
import importlib.util
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _common import resident_bytes
from sklearn.base import clone
from sklearn.datasets import load_digits

from sksparse_ae import SparseAutoencoderTransformer

FUZZ_TESTS = Path(__file__).parents[1] / "tests" / "test_fuzz.py"

# ------------------------------------------------------------------------- inputs


def load_fuzz_tests(n_examples):
    """Import the module of the tests, which is in no package."""
    os.environ["SKSPARSE_AE_SOAK_EXAMPLES"] = str(n_examples)
    spec = importlib.util.spec_from_file_location("test_fuzz", FUZZ_TESTS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def try_inputs(arguments):
    """Run each fuzz test on many inputs; return how many tests failed."""
    from hypothesis import seed

    module = load_fuzz_tests(arguments.examples)
    failures = {}
    for name, test in list(vars(module).items()):
        if not (name.startswith("test_") and arguments.only in name):
            continue
        start, before = time.perf_counter(), module.TRIED.total()
        try:
            seed(arguments.seed)(test)()
        except Exception:
            failures[name] = traceback.format_exc()
        print(
            f"{'FAILED' if name in failures else 'passed'}  {name}: "
            f"{module.TRIED.total() - before} calls, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    tried = module.TRIED
    print("\n| call | right results | refused |\n| --- | --- | --- |")
    for function in sorted({function for function, _ in tried}):
        right, refused = tried[function, "right result"], tried[function, "refused"]
        print(f"| {function} | {right} | {refused} |")
    print(f"\ninputs: {tried.total()} tried, {len(failures)} tests failed\n")
    for name, text in failures.items():
        print(f"\n{name}\n{text}")
    return len(failures)


# -------------------------------------------------------------------------- kills

# Each takes some seconds; most of them are compiled.
KILLED_TRAININGS = {
    "adam": {"max_iter": 1000},
    "early stopping": {"max_iter": 600, "early_stopping": True},
    "reviving": {"max_iter": 800, "revive": True},
    "lbfgs": {"solver": "lbfgs", "max_iter": 600},
}


def train_and_save(name, folder, result):
    """Train in this process; this is what a child does."""
    warnings.simplefilter("ignore")
    X = load_digits().data
    # Nothing ends the training before max_iter.
    few = SparseAutoencoderTransformer(25, tol=0, n_iter_no_change=1000, random_state=0)
    few.set_params(**KILLED_TRAININGS[name])
    clone(few).set_params(max_iter=1).fit(X[:50])  # start TensorFlow
    print("training", flush=True)
    few.set_params(checkpoint_dir=folder or None).fit(X)
    np.savez(result, *few.coefs_, *few.intercepts_, few.loss_curve_)


def run_child(name, folder, result, seconds=None):
    """Train in a child process, and kill it ``seconds`` after its training began.

    Return the seconds that it trained, and whether it was killed. Without ``seconds``
    it trains to the end.
    """
    command = [sys.executable, __file__, "--child", name, str(folder), str(result)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        child.stdout.readline()
        start = time.perf_counter()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        taken = time.perf_counter() - start
    if child.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a child ended with status {child.returncode}")
    return taken, child.returncode != 0


def same_arrays(one, other):
    with np.load(one) as a, np.load(other) as b:
        return all(np.array_equal(a[name], b[name]) for name in a.files)


def try_kills(arguments):
    """Kill trainings at random moments; count different results and leftover files."""
    random.seed(arguments.seed)
    n_kills, n_different, n_resumed, n_left = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        expected = {name: place / f"{name}.npz" for name in KILLED_TRAININGS}
        seconds = {name: run_child(name, "", expected[name])[0] for name in expected}
        for i, name in enumerate(itertools.cycle(KILLED_TRAININGS)):
            if n_kills >= arguments.kills:
                break
            folder, result = place / "checkpoints", place / f"{i}.npz"
            moment = random.uniform(0, seconds[name])
            _, killed = run_child(name, folder, result, moment)
            if not killed:  # the training ended before
                result.unlink()
                continue
            n_kills += 1
            found = len(list(folder.glob("*")))
            n_resumed += found > 0
            after, _ = run_child(name, folder, result)
            same = same_arrays(result, expected[name])
            n_different += not same
            n_left += len(list(folder.glob("*")))
            print(
                f"{name}: killed after {moment:.2f} of {seconds[name]:.2f} s, "
                f"{found} files found, {after:.2f} s more, "
                f"{'the same' if same else 'DIFFERENT'}",
                flush=True,
            )
    print(
        f"\nkills: {n_kills}, of which {n_resumed} had a checkpoint to go on from; "
        f"{n_kills - n_different} results identical, {n_different} different; "
        f"{n_left} files left behind\n"
    )
    return n_different + n_left


# ------------------------------------------------------------------------ threads


def fit_codes(transformer, X):
    return clone(transformer).fit(X).transform(X)


def try_threads(arguments):
    """Fit in a pool of threads; count the results that differ from single fits."""
    warnings.simplefilter("ignore")
    X = load_digits().data[:300]
    kinds = [
        SparseAutoencoderTransformer(
            n_components, solver=solver, max_iter=n_iter, tol=0, random_state=seed
        )
        for n_components in (5, 8)
        for solver, n_iter in (("adam", 2), ("adam", 100), ("sgd", 3), ("lbfgs", 3))
        for seed in (0, 1)
    ]
    expected = [fit_codes(kind, X) for kind in kinds]
    tasks = [i % len(kinds) for i in range(arguments.fits)]
    n_different, rss = 0, []

    def task(i):
        return np.array_equal(fit_codes(kinds[i], X), expected[i])

    start = time.perf_counter()
    with ThreadPoolExecutor(arguments.threads) as pool:
        for n_done, same in enumerate(pool.map(task, tasks), 1):
            n_different += not same
            if n_done % (len(tasks) // 10) == 0:
                rss.append(resident_bytes() / 2**20)
                print(f"{n_done} fits, {rss[-1]:.0f} MiB", flush=True)
    print(
        f"\nthreads: {arguments.threads}, fits: {len(tasks)} of {len(kinds)} kinds in "
        f"{time.perf_counter() - start:.0f} s; {n_different} results different; "
        f"memory grew by {rss[-1] - rss[0]:.0f} MiB over the last nine tenths\n"
    )
    return n_different


PARTS = {"inputs": try_inputs, "kills": try_kills, "threads": try_threads}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    parser.add_argument("--examples", type=int, default=5000, help="inputs a test")
    parser.add_argument("--only", default="", help="part of the names of those tests")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        train_and_save(*arguments.child)
        return 0
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    lost = [PARTS[name](arguments) for name in arguments.parts or PARTS]
    return int(any(lost))


if __name__ == "__main__":
    sys.exit(main())

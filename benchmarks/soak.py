"""Try the package for long: inputs drawn by Hypothesis, and what fails on them.

Run ``python benchmarks/soak.py [--examples N] [--seed N] [--only NAME]``. It runs the
tests of tests/test_fuzz.py with many more inputs, other ones for every seed, and prints
how many were tried, how many were refused by a clear error, and what failed. The exit
status is 1 if anything did.
"""

import argparse
import importlib.util
import os
import sys
import time
import traceback
from pathlib import Path

from hypothesis import seed

FUZZ_TESTS = Path(__file__).parents[1] / "tests" / "test_fuzz.py"


def load_fuzz_tests(n_examples):
    """Import the module of the tests, which stands in no package."""
    os.environ["SKSPARSE_AE_SOAK_EXAMPLES"] = str(n_examples)
    spec = importlib.util.spec_from_file_location("test_fuzz", FUZZ_TESTS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_fuzz_tests(n_examples, first_seed, only):
    """Run each test on ``n_examples`` inputs; return those tried and the failures.

    Returns
    -------
    tried : Counter
        Calls by (function, outcome).
    failures : dict
        Tracebacks, with the smallest input that fails, by test.
    """
    module = load_fuzz_tests(n_examples)
    failures = {}
    for name, test in list(vars(module).items()):
        if not (name.startswith("test_") and only in name):
            continue
        start, before = time.perf_counter(), module.TRIED.total()
        try:
            seed(first_seed)(test)()
        except Exception:
            failures[name] = traceback.format_exc()
        print(
            f"{'FAILED' if name in failures else 'passed'}  {name}: "
            f"{module.TRIED.total() - before} calls, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return module.TRIED, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5000, help="inputs a test")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--only", default="", help="part of the tests' names")
    arguments = parser.parse_args()

    tried, failures = run_fuzz_tests(arguments.examples, arguments.seed, arguments.only)
    print("\n| call | right results | refused |\n| --- | --- | --- |")
    for function in sorted({function for function, _ in tried}):
        right, refused = tried[function, "right result"], tried[function, "refused"]
        print(f"| {function} | {right} | {refused} |")
    print(f"\n{tried.total()} inputs tried, {len(failures)} tests failed")
    for name, text in failures.items():
        print(f"\n{name}\n{text}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())

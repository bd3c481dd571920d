"""Time the import beside that of its dependencies, and look for TensorFlow's messages.

Run ``python benchmarks/bench_import.py [--repeats N] [--json FILE]``. What is measured,
and how, stands in README.md.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from _common import (
    bound_verdict,
    medians,
    print_table,
    print_versions,
    run_in_own_process,
    versions,
    write_json,
)

BOUND = 1.10
# Each statement runs in a fresh interpreter. The "needs" are the modules from which a
# scikit-learn transformer takes its base classes and decorators. sklearn.callback came
# with scikit-learn 1.9.
IMPORTS = {
    "sklearn.base": "import sklearn.base",
    "sklearn.base and needs": (
        "import sklearn.base, sklearn.utils.metaestimators\n"
        "try:\n    import sklearn.callback\n"
        "except ImportError:\n    pass"
    ),
    "sksparse_ae": "import sksparse_ae",
}
TIMED = """
import time
start = time.process_time()
{}
print(time.process_time() - start)
"""
MODULES = "import json, sys\n{}\nprint(json.dumps(sorted(sys.modules)))"
SMALL_FIT = """
import numpy as np
from sksparse_ae import SparseAutoencoderTransformer
X = np.random.default_rng(0).normal(size=(100, 8))
SparseAutoencoderTransformer(4, max_iter=30, tol=1e3).fit(X).transform(X)
"""


def bench_imports(repeats):
    """Time each import in fresh interpreters in turn, after one warm-up.

    The CPU time is measured, as other processes change it least.
    """
    runs = []
    for _ in range(repeats + 1):
        run = {
            name: run_in_own_process(["-c", TIMED.format(statement)])
            for name, statement in IMPORTS.items()
        }
        for name in list(IMPORTS)[:2]:
            run[f"ratio to {name}"] = run["sksparse_ae"] / run[name]
        runs.append(run)
    return {"runs": runs[1:], **medians(runs[1:])}


def modules_beyond_needs():
    """Return the modules of others that only ``import sksparse_ae`` loads."""
    needs, package = (
        set(run_in_own_process(["-c", MODULES.format(IMPORTS[name])]))
        for name in ("sklearn.base and needs", "sksparse_ae")
    )
    return sorted(m for m in package - needs if not m.startswith("sksparse_ae"))


def messages_of_a_small_fit():
    """Return what a fit writes to standard error if TF_CPP_MIN_LOG_LEVEL is not set."""
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SMALL_FIT],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return finished.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="default: 9")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    arguments = parser.parse_args()
    found = versions()
    print_versions(found)
    imports = bench_imports(arguments.repeats)
    print_table(
        "Imports in fresh interpreters",
        [
            {"import": n, "processor time": f"{1e3 * imports[n]:.0f} ms"}
            for n in IMPORTS
        ],
    )
    print()
    for name in list(IMPORTS)[:2]:
        ratio = bound_verdict(imports[f"ratio to {name}"], BOUND)
        print(f"sksparse_ae / {name}: {ratio}")
    beyond = modules_beyond_needs()
    print(f"modules of others beyond the needs: {', '.join(beyond) or 'none'}")
    messages = messages_of_a_small_fit()
    print(f"on standard error during a small fit: {messages or 'nothing'}", flush=True)
    write_json(
        arguments.json,
        {
            "versions": found,
            "imports": imports,
            "beyond_needs": beyond,
            "messages": messages,
        },
    )


if __name__ == "__main__":
    main()

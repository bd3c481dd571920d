"""``python -m sksparse_ae`` prints what a report of a fault should contain."""

import os
import platform
import sys

import joblib
from threadpoolctl import threadpool_info

from . import __version__
from ._utils.versions import version_of

REQUIRED = ("tensorflow", "keras", "scikit-learn", "scipy", "numpy", "joblib")
OPTIONAL = (
    "threadpoolctl",
    "dask",
    "distributed",
    "pandas",
    "polars",
    "matplotlib",
    "pillow",
    "jinja2",
    "onnx",
    "skl2onnx",
    "skops",
)

# Variables of the environment that change how trainings run.
VARIABLES = ("KERAS_", "TF_", "XLA_", "CUDA_", "OMP_NUM_THREADS")


def versions() -> str:
    """Return what is installed and set here, without starting TensorFlow."""
    system = {
        "python": sys.version.replace("\n", ""),
        "executable": sys.executable,
        "machine": platform.platform(),
        "cores": joblib.cpu_count(),
    }
    packages = {"sksparse_ae": __version__}
    for name in (*REQUIRED, *OPTIONAL):
        packages[name] = version_of(name) or "not installed"
    variables = {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)}
    pools = {
        f"{pool['user_api']} {pool['internal_api']}": (
            f"{pool['version']}, {pool['num_threads']} threads"
        )
        for pool in threadpool_info()
    }
    sections: dict[str, dict] = {
        "System": system,
        "Packages": packages,
        "Environment": variables,
        "Pools of threads": pools,
    }
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"{k:>18}: {v}" for k, v in values.items())])
        for title, values in sections.items()
        if values
    )


if __name__ == "__main__":
    print(versions())

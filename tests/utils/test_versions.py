"""``python -m sksparse_ae`` tells what is installed."""

import importlib.metadata
import os
import platform
import subprocess
import sys

import numpy as np

import sksparse_ae
from sksparse_ae._utils import versions
from sksparse_ae._utils.versions import version_of


def test_the_module_run_as_a_program_shows_versions_without_tensorflow():
    code = (
        "import runpy, sys; runpy.run_module('sksparse_ae', run_name='__main__'); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    shown = dict(
        line.strip().split(": ", 1) for line in run.stdout.splitlines() if ": " in line
    )
    assert shown["sksparse_ae"] == sksparse_ae.__version__
    assert shown["numpy"] == np.__version__
    assert shown["tensorflow"] == importlib.metadata.version("tensorflow")
    assert shown["python"].startswith(platform.python_version())
    assert shown["KERAS_BACKEND"] == "jax"
    assert any(name.startswith("blas ") for name in shown)


def test_a_package_that_is_not_installed_has_no_version():
    assert version_of("sksparse-ae-of-tomorrow") is None


def test_tensorflow_is_found_under_its_other_names(monkeypatch):
    def version(name):
        if name == "tensorflow-cpu":
            return "2.20.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions.importlib.metadata, "version", version)
    assert version_of("tensorflow") == "2.20.0"
    assert version_of("keras") is None

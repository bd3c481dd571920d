"""A server needs neither TensorFlow nor Keras, and a fit there says what it needs."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sksparse_ae import SparseAutoencoderTransformer

SERVE = Path(__file__).with_name("serve.py")

# As where they are not installed.
BLOCKED = """
import runpy, sys
sys.modules.update(tensorflow=None, keras=None)
sys.argv[:2] = sys.argv[1:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_files_of_a_pipeline_are_served_without_tensorflow(tmp_path):
    runpy.run_path(str(SERVE))["train"](tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", BLOCKED, SERVE, tmp_path],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "fit says that training needs it" in run.stdout


@pytest.mark.parametrize("name", ["tensorflow", "keras"])
def test_the_package_that_is_missing_is_named_alone(name, digits, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    unfitted = SparseAutoencoderTransformer(5)
    with pytest.raises(ImportError, match=rf"is not installed.*pip install {name}$"):
        unfitted.fit(digits)
    assert not hasattr(unfitted, "coefs_")


def test_a_keras_model_says_that_it_needs_keras(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match="as do Keras models; Keras is not"):
        fitted.to_keras()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras_model", "regularizers", "selections"])
def test_modules_of_keras_classes_say_what_they_need(name):
    code = f"import sys; sys.modules['keras'] = None; import sksparse_ae.{name}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = run.stderr.splitlines()[-1]
    assert last.startswith("ImportError: Training needs TensorFlow and Keras")
    assert last.endswith("Install with: python -m pip install keras")

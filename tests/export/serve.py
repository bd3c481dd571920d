"""What a server does with a fitted pipeline, without TensorFlow and Keras.

``python serve.py train FOLDER`` fits a pipeline and writes files and what it gives;
``python serve.py FOLDER``, where neither is installed, reads the files and compares.
.ci/run does both, the second in an environment made by the two commands of the README.
"""

import importlib
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import skops.io
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

TRUSTED = ["sksparse_ae._transformer.SparseAutoencoderTransformer"]

X, y = load_digits(return_X_y=True)


def results(pipeline):
    """Return what the pipeline and its autoencoder give."""
    autoencoder = pipeline[0]
    codes = autoencoder.transform(X)
    return {
        "codes": codes,
        "inverse_transform": autoencoder.inverse_transform(codes),
        "reconstruct": autoencoder.reconstruct(X),
        "impute": autoencoder.impute(np.where(X == 16, np.nan, X)),
        "score": autoencoder.score(X),
        "score_samples": autoencoder.score_samples(X),
        "objective": list(autoencoder.evaluate_objective(X).values()),
        "predict": pipeline.predict(X),
    }


def train(folder):
    """Fit a pipeline; write what a server gets."""
    pipeline = make_pipeline(
        SparseAutoencoderTransformer(20, max_iter=10, random_state=0),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(X, y)
    joblib.dump(pipeline, folder / "pipeline.joblib")
    skops.io.dump(pipeline, folder / "pipeline.skops")
    np.savez(folder / "results.npz", **results(pipeline))


def serve(folder):
    """Read the files; compare what they give with what the training process has got."""
    for name in ("tensorflow", "keras"):
        assert importlib.util.find_spec(name) is None, name
    for name in ("datasets", "exceptions", "inspection", "metrics", "model_selection"):
        importlib.import_module(f"sksparse_ae.{name}")
    by_joblib = joblib.load(folder / "pipeline.joblib")
    by_skops = skops.io.load(folder / "pipeline.skops", trusted=TRUSTED)
    expected = np.load(folder / "results.npz")
    for pipeline in (by_joblib, by_skops):
        for name, result in results(pipeline).items():
            np.testing.assert_allclose(result, expected[name], rtol=1e-9, err_msg=name)

    autoencoder = by_joblib[0]
    autoencoder.to_onnx(folder / "encoder.onnx")
    autoencoder.generate_function(folder / "encoder.py")
    sys.path.insert(0, str(folder))
    codes = importlib.import_module("encoder").encode(X)
    np.testing.assert_allclose(codes, expected["codes"], rtol=1e-9)

    before = autoencoder.coefs_[0].copy()
    for method in (autoencoder.fit, autoencoder.partial_fit, by_joblib.fit):
        answer = ""
        try:
            method(X, y)
        except ImportError as error:
            answer = str(error)
        assert answer.startswith("Training needs TensorFlow and Keras"), answer
        assert answer.endswith("python -m pip install tensorflow keras"), answer
    np.testing.assert_array_equal(autoencoder.coefs_[0], before)
    print("Served without TensorFlow; fit says that training needs it.")


if __name__ == "__main__":
    *command, place = sys.argv[1:]
    train(Path(place)) if command == ["train"] else serve(Path(place))

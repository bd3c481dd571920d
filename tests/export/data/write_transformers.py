"""Write fitted transformers, and what they compute, as this version saves them.

    python tests/export/data/write_transformers.py

The files bear the version. They stay as they are: later versions are tested on them.
Best run with the oldest versions that pyproject.toml declares, whose files newer ones
read; of the other way round their authors promise nothing.
"""

import pickle
import warnings
from pathlib import Path

import keras
import numpy as np

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer

# Of the oldest Python that is supported.
PROTOCOL = 4


def transformers(X):
    """Return fitted transformers that are saved in different ways, by name."""
    few = {"n_components": 3, "max_iter": 5, "random_state": 0}
    unit = (X - X.min()) / (X.max() - X.min())
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    return {
        "adam": SparseAutoencoderTransformer(**few).fit(X),
        "float32": SparseAutoencoderTransformer(activation="tanh", **few).fit(
            X.astype(np.float32)
        ),
        "lbfgs": SparseAutoencoderTransformer(
            solver="lbfgs",
            activation="relu",
            output_activation="sigmoid",
            loss="log_loss",
            early_stopping=True,
            **few,
        ).fit(unit),
        "optimizer": SparseAutoencoderTransformer(
            solver=keras.optimizers.SGD(schedule, momentum=0.5), **few
        ).fit(X),
        "stream": SparseAutoencoderTransformer(**few).partial_fit(X),
    }


def main():
    """Write the files beside this one."""
    warnings.simplefilter("ignore")  # of trainings that are short on purpose
    X = np.random.RandomState(0).normal(3, 2, size=(20, 4))
    fitted = transformers(X)
    path = Path(__file__).with_name(f"transformers-{sksparse_ae.__version__}.pickle")
    path.write_bytes(pickle.dumps(fitted, protocol=PROTOCOL))
    values = {"X": X}
    for name, transformer in fitted.items():
        values[f"{name}.transform"] = transformer.transform(X[:5])
        values[f"{name}.reconstruct"] = transformer.reconstruct(X[:5])
        values[f"{name}.objective"] = list(transformer.objective_.values())
    # What a training that goes on comes to.
    stream = pickle.loads(pickle.dumps(fitted["stream"])).partial_fit(X)
    values["stream.continued"] = stream.transform(X[:5])
    np.savez_compressed(path.with_suffix(".npz"), **values)


if __name__ == "__main__":
    main()

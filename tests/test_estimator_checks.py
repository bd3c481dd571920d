"""scikit-learn's own checks, over the settings that take different paths."""

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network.weighting import WeightedRows


class ClippingTransformer(SparseAutoencoderTransformer):
    """The transformer behind a clip to [0, 1].

    With log_loss it refuses data outside [0, 1], which the checks are full of.
    """

    def _validate_training_data(self, *args, **kwargs):
        return clipped(super()._validate_training_data(*args, **kwargs))

    def _validate(self, X, sample_weight=None):
        return clipped(super()._validate(X, sample_weight))


def clipped(X):
    if isinstance(X, WeightedRows):
        return WeightedRows(clipped(X.rows), X.weights)
    if sparse.issparse(X):
        X = X.copy()
        X.data = np.clip(X.data, 0, 1)
        return X
    return np.clip(X, 0, 1)


@keras.saving.register_keras_serializable("sksparse_ae_tests")
class RMSprop(keras.optimizers.RMSprop):
    """Has the same name and pickle in every process and at every time of day.

    Workers compare the names of their tests. A check compares pickles, and Keras' own
    holds the time.
    """

    def __repr__(self):
        return "RMSprop()"

    def __reduce__(self):
        values = [variable.numpy() for variable in self.variables]
        return rebuilt, (self.get_config(), values)


def rebuilt(config, values):
    optimizer = RMSprop.from_config(config)
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)
    return optimizer


FEW = {"n_components": 5, "max_iter": 3, "random_state": 0}
EARLY = {"early_stopping": True, "validation_fraction": 0.2}
BINARY = {"output_activation": "sigmoid", "loss": "log_loss"}
COUNTS = {"output_activation": "exponential", "loss": "poisson"}
ESTIMATORS = [
    SparseAutoencoderTransformer(**FEW),
    SparseAutoencoderTransformer(solver="lbfgs", activation="tanh", rho=0.2, **FEW),
    SparseAutoencoderTransformer(
        solver="sgd", activation="relu", output_activation="relu", scale=False, **FEW
    ),
    SparseAutoencoderTransformer(
        solver=RMSprop(1e-3), init="uniform", rho_hat="batch", **FEW
    ),
    SparseAutoencoderTransformer(**EARLY, **FEW),
    ClippingTransformer(**BINARY, **FEW),
    ClippingTransformer(solver="lbfgs", **BINARY, **EARLY, **FEW),
    SparseAutoencoderTransformer(**COUNTS, **FEW),
    SparseAutoencoderTransformer(loss="huber", solver="lbfgs", **EARLY, **FEW),
    SparseAutoencoderTransformer(sparsity="topk", rho=0.4, **FEW),
    SparseAutoencoderTransformer(
        sparsity="batchtopk", rho=0.4, sparse_output=True, **FEW
    ),
    SparseAutoencoderTransformer(sparsity="lifetime", solver="sgd", rho=0.4, **FEW),
]


# Three iterations are enough for what the checks prove, and not meant to converge.
# Some checks fit a handful of random samples, which may leave a unit of five constant.
# One calls partial_fit, whatever the parameters are, and is told what it does not do.
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:early_stopping=True has no effect with partial_fit")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)

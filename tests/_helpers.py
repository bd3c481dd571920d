"""What tests of several rooms share and is no fixture."""

from numpy.testing import assert_array_equal

# The settings of Ng's exercise, for ``patches``.
NGS_EXERCISE = {
    "n_components": 25,
    "rho": 0.01,
    "beta": 3.0,
    "weight_decay": 1e-4,
    "output_activation": "sigmoid",
}

# For tests of what is made of a fit. L-BFGS traces a smaller program than mini-batches,
# which is most of the time of a fit to little data.
BRIEFLY = {"solver": "lbfgs", "tol": 0.02, "random_state": 0}


def assert_same_fit(one, other):
    """Assert that two transformers were trained alike, to the bit."""
    for a, b in zip(
        one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        assert_array_equal(a, b)
    assert one.loss_curve_ == other.loss_curve_
    assert one.objective_ == other.objective_

"""What is known of each activation."""

import numpy as np

# The interval that a unit's activation lives in; rho_hat is the mean activation
# measured on it. relu has no upper end: its mean is taken as it is.
ACTIVATION_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 1.0)}

# The interval that an output can give; a linear one gives all.
OUTPUT_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, np.inf)}


def mean_to_rho_hat(mean_activation, activation_range):
    """Measure a mean activation on its interval, e.g. (mean + 1) / 2 for tanh."""
    low, high = activation_range
    return (mean_activation - low) / (high - low)

"""The names that users give to the features."""

from typing import Any

import numpy as np


def checked_names(feature_names: Any, n_features: int) -> list[str]:
    """Return the names as text, one for each feature."""
    if isinstance(feature_names, (str, set)) or np.ndim(feature_names) > 1:
        raise ValueError(
            f"feature_names must be a list of names; got {feature_names!r}."
        )
    feature_names = list(feature_names)
    if len(feature_names) != n_features:
        raise ValueError(
            f"feature_names has {len(feature_names)} names, but a sample has "
            f"{n_features} features."
        )
    return [str(name) for name in feature_names]

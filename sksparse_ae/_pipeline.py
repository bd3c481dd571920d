"""The autoencoder inside a pipeline, and the steps before it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._network.reading import Rows, dense, row_chunks
from ._utils.extras import import_extra

# The input is moved by a unit so large, but at most LARGEST_UNIT, that the output of
# the steps changes by at least this share of its value at the origin. The change is
# then exact to eps / LEAST_CHANGE.
LEAST_CHANGE, LARGEST_UNIT = 1e-6, 2.0**120


class LocatedAutoencoder:
    """A fitted autoencoder that has some attributes, and the steps before it.

    The fitted estimator is the autoencoder itself, a Pipeline that has it as a step,
    nested or not, or a search over one of these, which stands for its best estimator.
    If several steps qualify, the last one is taken; steps that can `reconstruct` come
    first.
    """

    def __init__(self, estimator: Any, *attributes: str) -> None:
        check_is_fitted(estimator)
        steps = [step for _, step in flat_steps(estimator)]
        qualified = [
            # An autoencoder is preferred to a PCA or a network that follows it.
            (hasattr(step, "reconstruct"), hasattr(step, "transform"), i)
            for i, step in enumerate(steps)
            if all(hasattr(step, attribute) for attribute in attributes)
        ]
        if not qualified:
            raise TypeError(_what_is_missing(steps, attributes))
        position = max(qualified)[-1]
        # Samplers of imbalanced-learn have no transform: they act in fit only.
        self.steps = [s for s in steps[:position] if hasattr(s, "transform")]
        self.autoencoder = steps[position]

    @property
    def settings(self) -> Any:
        """The settings of the fit; if there is no record of them, the parameters."""
        return getattr(self.autoencoder, "_fitted_settings", self.autoencoder)

    def transform(self, X: Any) -> Any:
        """Return `X` after the steps before the autoencoder."""
        for step in self.steps:
            X = step.transform(X)
        return X

    def inverse_transform(self, X: Rows) -> np.ndarray:
        """Take data from the autoencoder's space back to the pipeline's input."""
        for step in reversed(self.steps):
            if not hasattr(step, "inverse_transform"):
                raise ValueError(
                    f"The step {type(step).__name__} before the autoencoder has no "
                    "inverse_transform, so that nothing can be shown in the units of "
                    "the pipeline's input. Pass the autoencoder itself, e.g. "
                    "pipeline[-1], and the data that reach it."
                )
            X = step.inverse_transform(X)
        return np.asarray(dense(X))

    @property
    def feature_names(self) -> list | None:
        """Names of the columns of the pipeline's input; None if it has no names."""
        first = (self.steps or [self.autoencoder])[0]
        names = getattr(first, "feature_names_in_", None)
        return None if names is None else list(names)

    def components_on_input(self, weights: np.ndarray) -> np.ndarray:
        """Turn weights on the autoencoder's input into weights on the pipeline's input.

        Both have one row a unit, and are weights of the same functions, up to
        constants. For whitened data this is the picture W1 @ whitening that is usually
        shown.
        """
        if not self.steps:
            return weights
        n_features = self.steps[0].n_features_in_
        origin = self._forward(np.zeros((1, n_features)))
        probe = np.linspace(1, 2, n_features)[np.newaxis]
        unit = 1.0  # a power of two, so that nothing is rounded
        while unit < LARGEST_UNIT and np.any(
            np.abs(self._forward(unit * probe) - origin) < LEAST_CHANGE * np.abs(origin)
        ):
            unit *= 2.0**10
        # As CSR: of 20 000 features the dense matrix would have 3 GB.
        moved = self._moved(
            lambda X: self._forward(X) @ weights.T,
            unit * sparse.csr_array(sparse.identity(n_features)),
        )
        return moved.T / unit

    def directions_on_input(self, directions: np.ndarray) -> np.ndarray:
        """Take directions from the autoencoder's space to the pipeline's input."""
        if not self.steps:
            return directions
        return self._moved(self.inverse_transform, np.asarray(directions, np.float64))

    def _moved(
        self, function: Callable[[np.ndarray], np.ndarray], directions: Rows
    ) -> np.ndarray:
        """Return what each direction adds to the value of an affine function."""
        n_directions, n_values = directions.shape
        origin = function(np.zeros((1, n_values)))
        values = [function(dense(directions[r])) for r in row_chunks(directions)]
        moved = np.vstack(values) - origin
        probe = np.linspace(-2, 3, n_directions)[np.newaxis]
        expected, found = function(probe @ directions) - origin, probe @ moved
        scale = max(np.abs(expected).max(), np.abs(found).max())
        if not np.allclose(found, expected, rtol=0, atol=1e-4 * scale):
            names = ", ".join(type(step).__name__ for step in self.steps)
            raise ValueError(
                f"The steps before the autoencoder ({names}) are not affine, so that "
                "its weights have no picture in the space of the pipeline's input. "
                "Pass the autoencoder itself, e.g. pipeline[-1]."
            )
        return moved

    def _forward(self, X: np.ndarray) -> np.ndarray:
        if self.feature_names is not None:
            pd = import_extra(
                "pandas", extra="displays", needed_by="A pipeline with feature names"
            )
            X = pd.DataFrame(X, columns=self.feature_names)
        return np.asarray(dense(self.transform(X)))


def flat_steps(estimator: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, step) for the steps of a Pipeline, nested ones included.

    A fitted search stands for its best estimator. Steps that do nothing are left out.
    """
    if isinstance(estimator, Pipeline):
        for step_name, step in estimator.steps:
            if step is not None and not isinstance(step, str):  # "passthrough"
                full_name = f"{name}__{step_name}" if name else step_name
                yield from flat_steps(step, full_name)
    # In vars, as a FrozenEstimator lends the attributes of what it holds: a frozen
    # search is one step.
    elif "best_estimator_" in vars(estimator):
        yield from flat_steps(estimator.best_estimator_, name)
    else:
        yield name, estimator


def _what_is_missing(steps: list, attributes: tuple[str, ...]) -> str:
    found = f"a Pipeline of {', '.join(type(step).__name__ for step in steps)}"
    if len(steps) == 1:
        missing = [a for a in attributes if not hasattr(steps[0], a)]
        found = f"{type(steps[0]).__name__} without {', '.join(missing)}"
        if hasattr(steps[0], "cv_results_"):
            found = f"{type(steps[0]).__name__} with refit=False"
    return (
        f"Expected a fitted estimator with {', '.join(attributes)}, such as "
        "SparseAutoencoderTransformer, a Pipeline with such a step, or a search over "
        f"one of these; got {found}."
    )

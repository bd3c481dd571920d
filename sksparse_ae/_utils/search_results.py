"""Access to the `cv_results_` of scikit-learn's searches."""

from collections.abc import Iterable


def score_names(cv_results: Iterable[str]) -> list[str]:
    """Return the names of the scores in `cv_results_`."""
    prefix = "mean_test_"
    return [key.removeprefix(prefix) for key in cv_results if key.startswith(prefix)]

"""What scikit-learn's searches keep of their candidates, `cv_results_`."""

from collections.abc import Iterable


def score_names(cv_results: Iterable[str]) -> list[str]:
    """Return the names of the scores."""
    prefix = "mean_test_"
    return [key.removeprefix(prefix) for key in cv_results if key.startswith(prefix)]

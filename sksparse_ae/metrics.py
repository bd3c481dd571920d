"""Scorers for searches over autoencoders, and what tells whether to trust a fit.

Each scorer is a function of a fitted estimator and `X`, to be passed as `scoring`.
Greater is better for all of them. `SparsestWithin` is a rule that chooses a candidate
by two of them. `match_units`, `stability` and `recovery_score` compare what estimators
have found, and `random_baseline` is what to compare every score with.
"""

import warnings
from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils.validation import _num_samples

from ._metrics.baseline import random_baseline
from ._metrics.codes import active_codes
from ._metrics.matching import match_units, recovery_score, stability
from ._pipeline import LocatedAutoencoder
from ._utils.search_results import score_names

__all__ = [
    "SparsestWithin",
    "active_units",
    "get_scorers",
    "hoyer_sparseness",
    "match_units",
    "neg_active_codes",
    "neg_mean_kl",
    "random_baseline",
    "recovery_score",
    "stability",
    "variance_explained",
]


def variance_explained(estimator, X, y=None):
    """Share of the variance of the data that the reconstruction explains.

    It is the transformer's own `score`, but that it is the variance for the losses
    "poisson" and "huber" too: a search over losses compares like with like. In a
    Pipeline it is computed on the data that reach the autoencoder: after a step that
    standardises, it is the variance of the standardised data.

    Parameters
    ----------
    estimator : estimator instance
        Fitted :class:`~sksparse_ae.SparseAutoencoderTransformer`, a Pipeline with one
        (the last one, if there are several), or a search over one of these.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data that `estimator` takes.

    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    score : float
        1 for a perfect reconstruction, 0 for one no better than the mean.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import cross_val_score
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import variance_explained
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.1, random_state=0)
    >>> scores = cross_val_score(autoencoder, X, scoring=variance_explained, cv=2)
    >>> bool(scores.mean() > 0.5)
    True
    """
    located = _located(estimator)
    X = located.transform(X)
    return float(located.autoencoder._share_explained(X, of="variance"))


def active_units(estimator, X, y=None):
    """Share of the units that are neither dead, saturated nor collapsed.

    Parameters
    ----------
    estimator : estimator instance
        Fitted :class:`~sksparse_ae.SparseAutoencoderTransformer`, a Pipeline with one
        (the last one, if there are several), or a search over one of these.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data that `estimator` takes.

    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    score : float
        Share of the rows of `unit_report` whose `state` is "active", in [0, 1]. For a
        single sample it is NaN, with an UndefinedMetricWarning.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import active_units
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.1, random_state=0).fit(X)
    >>> active_units(autoencoder, X)
    1.0
    """
    if _is_single(X):
        return np.nan
    return float((_unit_column(estimator, X, "state") == "active").mean())


def neg_mean_kl(estimator, X, y=None):
    r"""Negative mean over the units of :math:`\mathrm{KL}(\rho\,\|\,\hat\rho_j)`.

    It measures how close the mean activations on `X` are to `rho`. Each candidate is
    measured by its own `rho`. Units that are constantly `rho` have a divergence of 0,
    so read this score together with :func:`active_units`.

    Parameters
    ----------
    estimator : estimator instance
        Fitted :class:`~sksparse_ae.SparseAutoencoderTransformer`, a Pipeline with one
        (the last one, if there are several), or a search over one of these.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data that `estimator` takes. With few rows the means are noisy, and the
        divergences larger.

    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    score : float
        0 or less; 0 if the mean activation of every unit is `rho`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import neg_mean_kl
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.1, random_state=0).fit(X)
    >>> bool(-0.1 < neg_mean_kl(autoencoder, X) < 0)
    True
    """
    return -float(_unit_column(estimator, X, "kl").mean())


def hoyer_sparseness(estimator, X, y=None):
    r"""Mean over the units of Hoyer's lifetime sparseness.

    The sparseness of a unit with activations :math:`a` over :math:`n` samples is
    :math:`(\sqrt n - \|a\|_1 / \|a\|_2) / (\sqrt n - 1)` [1]_.

    Parameters
    ----------
    estimator : estimator instance
        Fitted :class:`~sksparse_ae.SparseAutoencoderTransformer`, a Pipeline with one
        (the last one, if there are several), or a search over one of these.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data that `estimator` takes.

    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    score : float
        0 if all units are constant; :math:`1 - \sqrt\rho` if each is fully on for a
        share :math:`\rho` of many samples and off for the others; at most 1. For a
        single sample it is NaN, with an UndefinedMetricWarning.

    References
    ----------
    .. [1] Hoyer, P. O. "Non-negative matrix factorization with sparseness
       constraints", Journal of Machine Learning Research 5, 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import hoyer_sparseness
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.1, random_state=0).fit(X)
    >>> bool(0.4 < hoyer_sparseness(autoencoder, X) < 0.78)
    True
    """
    if _is_single(X):
        return np.nan
    return float(_unit_column(estimator, X, "sparseness").mean())


def neg_active_codes(estimator, X, y=None):
    """Negative mean number of active codes in a row, L0.

    Parameters
    ----------
    estimator : estimator instance
        Fitted, with `transform`: :class:`~sksparse_ae.SparseAutoencoderTransformer`, or
        any other such as PCA or dictionary learning. It may be a step of a Pipeline (an
        autoencoder, else the last step that transforms), or be searched over.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data that `estimator` takes.

    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    score : float
        0 or less, and at least minus the number of units.

    See Also
    --------
    hoyer_sparseness : How unequal the codes of a unit are; it needs no threshold.
    sksparse_ae.inspection.CodeTradeoffDisplay : The variance that the active codes
        explain.

    Notes
    -----
    A code is active if it is not 0. Sigmoid and tanh units are never exactly off. They
    count as active above a tenth of their range: a sigmoid unit above 0.1, a tanh unit
    above -0.8. With 100 units on the digits, `rho` of 0.02 to 0.1, the codes below
    account for 0.01 to 0.06 of the variance explained; those below half of the range
    for a third.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sksparse_ae.metrics import neg_active_codes
    >>> X, _ = load_digits(return_X_y=True)
    >>> neg_active_codes(PCA(10).fit(X), X)
    -10.0
    """
    return -active_codes(estimator, X)[2]


def _unit_column(estimator, X, name):
    located = _located(estimator)
    return np.asarray(located.autoencoder.unit_report(located.transform(X))[name])


def _is_single(X):
    """Return whether ``X`` is a single sample, over which nothing varies; then warn.

    With LeaveOneOut, any number would be the same for each candidate of a search.
    """
    if _num_samples(X) > 1:
        return False
    warnings.warn(
        "How units vary over the samples is not defined on a single one.",
        UndefinedMetricWarning,
        stacklevel=3,
    )
    return True


def _located(estimator):
    return LocatedAutoencoder(estimator, "unit_report", "score")


_SCORERS = {
    scorer.__name__: scorer
    for scorer in (
        variance_explained,
        active_units,
        neg_mean_kl,
        hoyer_sparseness,
        neg_active_codes,
    )
}


def get_scorers(*names):
    """Return scorers by their names, as the `scoring` of a search.

    scikit-learn accepts as strings only the names of its own scorers. Their table is
    private, and is copied into the checks of parameters when scikit-learn is imported.

    Parameters
    ----------
    *names : {"variance_explained", "active_units", "neg_mean_kl", \
            "hoyer_sparseness", "neg_active_codes"}
        Names of scorers; none for all five.

    Returns
    -------
    scorers : dict of str to callable
        In the order of `names`.

    Raises
    ------
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> from sksparse_ae.metrics import get_scorers
    >>> list(get_scorers("variance_explained", "hoyer_sparseness"))
    ['variance_explained', 'hoyer_sparseness']
    """
    unknown = [name for name in names if name not in list(_SCORERS)]
    if unknown:
        raise ValueError(
            f"Unknown scorers: {', '.join(map(repr, unknown))}. "
            f"Known are {', '.join(map(repr, _SCORERS))}."
        )
    return {name: _SCORERS[name] for name in names or _SCORERS}


@dataclass(frozen=True)
class SparsestWithin:
    """Choose the sparsest candidate that reconstructs nearly as well as the best.

    Pass it as `refit` to a search with several scorers. It takes `cv_results_` and
    returns the index of the candidate that the search fits again.

    Parameters
    ----------
    tolerance : float, default=0.02
        Largest amount by which the mean reconstruction score of the chosen candidate
        may lie below that of the best one. For `variance_explained`, 0.02 is two
        hundredths of the variance. 0 allows only ties with the best.

    reconstruction : str, default="variance_explained"
        Name, in `scoring`, of the score that may fall by `tolerance`.

    sparseness : str, default="hoyer_sparseness"
        Name, in `scoring`, of the score to be maximised among these candidates. If
        values are equal, the better `reconstruction` decides, then the order of the
        candidates.

    Raises
    ------
    ValueError
        If `tolerance` is negative or not finite. When called, if a score is not among
        the results or no candidate has finite values of both.

    See Also
    --------
    get_scorers : The scores that it weighs.

    Notes
    -----
    Candidates whose scores are not finite, such as failed fits, are never chosen.
    With a callable `refit`, a search has no `best_score_`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import SparsestWithin, get_scorers
    >>> X, _ = load_digits(return_X_y=True)
    >>> search = GridSearchCV(
    ...     SparseAutoencoderTransformer(10, tol=1, random_state=0),
    ...     {"beta": [0.01, 3.0]},
    ...     scoring=get_scorers("variance_explained", "hoyer_sparseness"),
    ...     refit=SparsestWithin(tolerance=0.5),
    ...     cv=3,
    ... ).fit(X[:300])
    >>> search.best_params_
    {'beta': 3.0}
    """

    tolerance: float = 0.02
    reconstruction: str = "variance_explained"
    sparseness: str = "hoyer_sparseness"

    def __post_init__(self):
        is_number = isinstance(self.tolerance, Real)
        if not (is_number and 0 <= self.tolerance < np.inf):
            raise ValueError(
                "tolerance must be a finite number of 0 or more; got "
                f"{self.tolerance!r}."
            )

    def __call__(self, cv_results):
        """Return the index of the chosen candidate.

        Parameters
        ----------
        cv_results : dict of ndarrays
            The `cv_results_` of a search with both scores.

        Returns
        -------
        best_index : int
            Index of the candidate.
        """
        reconstruction = _mean_test_score(cv_results, self.reconstruction)
        sparseness = _mean_test_score(cv_results, self.sparseness)
        usable = np.isfinite(reconstruction) & np.isfinite(sparseness)
        if not usable.any():
            raise ValueError(
                f"No candidate has finite means of both {self.reconstruction!r} and "
                f"{self.sparseness!r}."
            )
        threshold = reconstruction[usable].max() - self.tolerance
        eligible = np.flatnonzero(usable & (reconstruction >= threshold))
        # The last key counts most. The sort is stable: the first candidate wins ties.
        order = np.lexsort((-reconstruction[eligible], -sparseness[eligible]))
        return int(eligible[order[0]])


def _mean_test_score(cv_results, name):
    try:
        return np.asarray(cv_results[f"mean_test_{name}"], dtype=np.float64)
    except KeyError:
        names = score_names(cv_results)
        raise ValueError(
            f"The search has no score {name!r}, only {', '.join(map(repr, names))}. "
            "Pass a dict of scorers as scoring, e.g. that of get_scorers()."
        ) from None

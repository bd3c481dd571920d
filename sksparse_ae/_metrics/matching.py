"""Units of two dictionaries, matched by what they write."""

from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils import Bunch, check_array

from .._network.statistics import of_norm_one
from .._network.validation import strict_validation
from .._pipeline import LocatedAutoencoder
from .._utils.options import number

# Where estimators keep what their codes are multiplied with, one row a unit. The
# components_ of FastICA and of an autoencoder are those of the encoder, so they come
# last.
OF_DECODERS = {
    "coefs_": lambda step: step.coefs_[-1],
    "mixing_": lambda step: step.mixing_.T,
    "components_": lambda step: step.components_,
}


def match_units(a, b, *, signed=True):
    r"""Pair the units of two estimators by what they write.

    Units have no order: another seed gives the same features in other places. This
    finds the pairs, one unit of `a` with one of `b`, whose decoder weights have the
    largest sum of cosines (the Hungarian method) [1]_.

    Parameters
    ----------
    a, b : estimator instance or array-like of shape (n_units, n_features)
        Fitted :class:`~sksparse_ae.SparseAutoencoderTransformer`, a Pipeline with one
        (the last one, if there are several), or a search over one of these: the rows of
        the decoder, `coefs_[1]`, are compared. Other estimators are compared by
        `mixing_` (FastICA), else by `components_` (PCA, NMF, dictionary learning). Any
        other directions are passed as an array, one row a unit. The numbers of units
        may differ.

    signed : bool, default=True
        Whether opposite directions differ. They do where codes have a sign of their
        own, as those of autoencoders and NMF. Those of PCA, FastICA and dictionary
        learning may as well be turned round: use False, which compares the magnitudes
        of the cosines.

    Returns
    -------
    match : Bunch
        Of as many pairs as the smaller one of the two has units.

        - `a`, `b` : ndarrays of int, the numbers of the units. `a` ascends.
        - `cosines` : ndarray of float, the cosine of each pair, its magnitude unless
          `signed`.

    Raises
    ------
    ValueError
        If `a` and `b` have different numbers of features.

    See Also
    --------
    stability : The share of units that are found again under other seeds.
    recovery_score : How well known features are found.

    Notes
    -----
    A unit whose decoder weights are all 0 has the cosine 0 with everything.

    Rows of the decoder are in the units of the data that the autoencoder is given: the
    number `scale_` is without effect, but with `scale="whiten"` the directions in
    which the data vary most rule the cosines. Multiply the rows by `whitening_` to
    compare what the training saw: `match_units(a.coefs_[1] @ a.whitening_,
    b.coefs_[1] @ b.whitening_)`. Of a Pipeline, too, the data that reach the
    autoencoder count, so the steps before it should be the same in `a` and `b`.

    The time grows with the third power of the number of units: about 0.2 s for 1000
    units and 4 s for 4000.

    References
    ----------
    .. [1] Paulo, G. and Belrose, N. "Sparse autoencoders trained on the same data learn
       different features", arXiv:2501.16615, 2025.

    Examples
    --------
    >>> from sksparse_ae.metrics import match_units
    >>> match = match_units([[1, 0], [0, 2]], [[0, 1], [-1, 0], [3, 0]])
    >>> match.a, match.b, match.cosines
    (array([0, 1]), array([2, 0]), array([1., 1.]))
    """
    a, b = of_norm_one(decoder_rows(a, "a")), of_norm_one(decoder_rows(b, "b"))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            "Units can be matched if they write to the same features; a has "
            f"{a.shape[1]} features and b has {b.shape[1]}."
        )
    cosines = a @ b.T
    if not signed:
        cosines = np.abs(cosines)
    of_a, of_b = linear_sum_assignment(cosines, maximize=True)
    return Bunch(a=of_a, b=of_b, cosines=cosines[of_a, of_b])


def stability(estimators, *, threshold=0.7, signed=True):
    """Share of the units that are found again under another seed.

    Fit the same settings with several `random_state`, and pass the fits. A feature that
    only one seed finds says as much about the seed as about the data.

    Parameters
    ----------
    estimators : sequence of two or more estimators or array-likes
        Each as in :func:`match_units`.

    threshold : float or None, default=0.7
        Cosine at which two units count as the same, in (0, 1). All such numbers are
        conventions. 0.7 is that of Paulo and Belrose [1]_, who also ask that the
        encoders' weights give the same pair; Sharkey et al. and Cunningham et al. ask
        for 0.9 [2]_ [3]_. None returns the mean cosine of the pairs instead, which is
        the PW-MCC of Song et al. [4]_.

    signed : bool, default=True
        Whether opposite directions differ, as in :func:`match_units`.

    Returns
    -------
    share : float
        Over all pairs of estimators, the mean share of the units of one whose partner
        in the other, by :func:`match_units`, has a cosine of at least `threshold`. 1 if
        all seeds agree. With `threshold=None`, the mean cosine. A unit without a
        partner counts as 0.

    Raises
    ------
    ValueError
        If there are fewer than two estimators.

    See Also
    --------
    random_baseline : What a network scores that has learned nothing.

    Notes
    -----
    The mean maximal cosine similarity (MMCS) of [2]_ lets several units have the same
    partner; here each unit has one of its own, so the share is never larger. In few
    dimensions random directions are alike, too: the mean cosine of the pairs of 100
    random units is 0.29 with 64 features, and 0.73 with 8.

    References
    ----------
    .. [1] Paulo, G. and Belrose, N. "Sparse autoencoders trained on the same data learn
       different features", arXiv:2501.16615, 2025.
    .. [2] Sharkey, L., Braun, D. and Millidge, B. "Taking features out of superposition
       with sparse autoencoders", AI Alignment Forum, 2022.
    .. [3] Cunningham, H. et al. "Sparse autoencoders find highly interpretable features
       in language models", ICLR 2024.
    .. [4] Song, X. et al. "Position: mechanistic interpretability should prioritize
       feature consistency in SAEs", arXiv:2505.20254, 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import stability
    >>> X, _ = load_digits(return_X_y=True)
    >>> fits = [
    ...     SparseAutoencoderTransformer(16, tol=0.01, random_state=seed).fit(X)
    ...     for seed in range(3)
    ... ]
    >>> 0.2 < stability(fits) < 1
    True
    """
    if hasattr(estimators, "fit") or len(estimators) < 2:
        raise ValueError(
            "stability compares fits with each other: pass two or more, e.g. of "
            "different random_state, in a list."
        )
    rows = [decoder_rows(e, f"estimators[{i}]") for i, e in enumerate(estimators)]
    return float(
        np.mean(
            [
                _summary(match_units(a, b, signed=signed), len(n), threshold)
                for a, b in combinations(rows, 2)
                for n in (a, b)
            ]
        )
    )


def recovery_score(estimator, features, *, threshold=None, signed=True):
    """How well an estimator has found features that are known.

    Parameters
    ----------
    estimator : estimator instance or array-like of shape (n_units, n_features)
        As in :func:`match_units`.

    features : array-like of shape (n_known, n_features)
        The known features, one a row, such as the `dictionary` of
        :func:`~sksparse_ae.datasets.make_sparse_codes`. Their lengths are without
        effect.

    threshold : float or None, default=None
        None for the mean cosine. A number in (0, 1) for the share of the known features
        with a cosine of at least that; 0.9 is usual [1]_.

    signed : bool, default=True
        Whether opposite directions differ, as in :func:`match_units`.

    Returns
    -------
    score : float
        Mean, over the known features, of the cosine with the unit that is matched to
        it; each unit is matched to one feature. Features without a unit count as 0. 1
        if all are found. Random directions do not score 0: see :func:`stability`.

    References
    ----------
    .. [1] Sharkey, L., Braun, D. and Millidge, B. "Taking features out of superposition
       with sparse autoencoders", AI Alignment Forum, 2022.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.datasets import make_sparse_codes
    >>> from sksparse_ae.metrics import recovery_score
    >>> X, dictionary, _ = make_sparse_codes(
    ...     5000, n_features=20, n_components=30, n_active=2, random_state=0
    ... )
    >>> pca = PCA().fit(X)
    >>> autoencoder = SparseAutoencoderTransformer(30, random_state=0).fit(X)
    >>> found = recovery_score(autoencoder, dictionary)
    >>> found > recovery_score(pca, dictionary, signed=False)
    True
    """
    features = decoder_rows(features, "features")
    match = match_units(estimator, features, signed=signed)
    return _summary(match, len(features), threshold)


def _summary(match, n_units, threshold):
    if threshold is None:
        return float(match.cosines.sum() / n_units)
    threshold = number(
        "threshold", threshold, lambda v: 0 < v < 1, "be None or between 0 and 1"
    )
    return float((match.cosines >= threshold).sum() / n_units)


def decoder_rows(estimator, name):
    """Return the directions that an estimator writes, one row a unit, in float64."""
    if not hasattr(estimator, "fit"):
        with strict_validation():
            return check_array(estimator, dtype=np.float64, input_name=name)
    errors = []
    for attribute, rows in OF_DECODERS.items():
        try:
            step = LocatedAutoencoder(estimator, attribute).autoencoder
        except TypeError as error:
            errors.append(error)
        else:
            return np.asarray(rows(step), dtype=np.float64)
    raise errors[0]

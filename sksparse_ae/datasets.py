"""Natural-image patches as in Ng's course, and data whose features are known."""

from numbers import Integral, Real

import numpy as np
from scipy.special import ndtri
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ._network.statistics import of_norm_one
from ._network.validation import strict_validation

# How many features of make_sparse_codes tend to be active together.
GROUP_SIZE = 4


@validate_params(
    {
        "n_patches": [Interval(Integral, 1, None, closed="left")],
        "patch_size": [Interval(Integral, 2, 427, closed="both")],
        "color": ["boolean"],
        "normalize": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_natural_image_patches(
    n_patches=10_000, *, patch_size=8, color=False, normalize=True, random_state=None
):
    """Draw square patches from scikit-learn's two bundled photographs.

    Each photograph gives half of the patches, at random places.

    Parameters
    ----------
    n_patches : int, default=10000
        Number of patches, at most 2 (428 - p) (641 - p) for a `patch_size` of p: the
        number of places in the two photographs.

    patch_size : int, default=8
        Height and width of a patch in pixels, from 2 to 427.

    color : bool, default=False
        Whether to keep the colours: a row is then a patch of shape (patch_size,
        patch_size, 3). If not, the photographs are converted to grey first.

    normalize : bool, default=True
        Whether to apply `normalize_patches`. If not, pixels are in [0, 255], as for the
        course's exercise on colours, which whitens them (`scale="whiten"`).

    random_state : int, RandomState instance or None, default=None
        Determines the places. Pass an int for the same patches in every call.

    Returns
    -------
    patches : ndarray of shape (n_patches, n_pixels), float64
        One patch a row, of patch_size**2 pixels, or three times as many values with
        `color`.

    Raises
    ------
    ValueError
        If `n_patches` exceeds the number of places.

    Examples
    --------
    >>> from sksparse_ae.datasets import load_natural_image_patches
    >>> patches = load_natural_image_patches(100, random_state=0)
    >>> patches.shape
    (100, 64)
    >>> bool(patches.min() >= 0.1 - 1e-9), bool(patches.max() <= 0.9 + 1e-9)
    (True, True)
    """
    rng = check_random_state(random_state)
    images = load_sample_images().images
    if not color:
        images = [image.mean(axis=2) for image in images]
    n_places = sum(
        (image.shape[0] - patch_size + 1) * (image.shape[1] - patch_size + 1)
        for image in images
    )
    if n_patches > n_places:
        raise ValueError(
            f"n_patches={n_patches} is more than the photographs have places for "
            f"patch_size={patch_size}, {n_places}."
        )
    shares = np.array_split(np.arange(n_patches), len(images))
    patches = [
        extract_patches_2d(
            image,
            (patch_size, patch_size),
            max_patches=len(share),
            random_state=rng,
        ).reshape(len(share), -1)
        for image, share in zip(images, shares, strict=True)
        if len(share)
    ]
    patches = np.concatenate(patches).astype(np.float64, copy=False)
    return normalize_patches(patches) if normalize else patches


def normalize_patches(patches):
    """Bring patches to [0.1, 0.9], as the course does for a sigmoid output.

    The mean of each patch is subtracted from the patch. The result is clipped to plus
    and minus three standard deviations of all pixels and mapped to [0.1, 0.9] [1]_.

    Parameters
    ----------
    patches : array-like of shape (n_patches, n_pixels)
        One patch a row, in any unit.

    Returns
    -------
    normalized : ndarray of shape (n_patches, n_pixels)
        In [0.1, 0.9]; 0.5 where a pixel equals the mean of its patch.

    References
    ----------
    .. [1] Ng, A. "Sparse autoencoder", CS294A lecture notes and exercise, Stanford
       University, 2011.

    Examples
    --------
    >>> from sksparse_ae.datasets import normalize_patches
    >>> normalize_patches([[0.0, 2.0], [5.0, 7.0]]).round(2)
    array([[0.37, 0.63],
           [0.37, 0.63]])
    """
    with strict_validation():
        patches = check_array(
            patches, dtype=[np.float64, np.float32], input_name="patches"
        )
    # Divided by the largest value, so that squares neither overflow nor vanish.
    patches = patches / max(np.abs(patches).max(), np.finfo(patches.dtype).tiny)
    patches = patches - patches.mean(axis=1, keepdims=True)
    limit = 3 * patches.std()
    if limit <= 8 * np.finfo(patches.dtype).eps:  # what rounding leaves of a mean
        return np.full_like(patches, 0.5)
    return 0.5 + 0.4 * np.clip(patches / limit, -1, 1)


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_active": [Interval(Real, 0, None, closed="neither")],
        "zipf": [Interval(Real, 0, None, closed="left")],
        "correlation": [Interval(Real, 0, 1, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_sparse_codes(
    n_samples=10_000,
    *,
    n_features=64,
    n_components=128,
    n_active=5,
    zipf=0.0,
    correlation=0.0,
    noise=0.0,
    random_state=None,
):
    r"""Draw data that are sparse sums of known features.

    Each row is :math:`x = \sum_j a_j d_j + \varepsilon`: few of the codes
    :math:`a_j \ge 0` are not 0, and the features :math:`d_j` are random directions of
    length 1, of which there may be more than columns. Whether an estimator finds them
    can be told by :func:`~sksparse_ae.metrics.recovery_score`.

    Parameters
    ----------
    n_samples : int, default=10000
        Number of rows.

    n_features : int, default=64
        Number of columns.

    n_components : int, default=128
        Number of known features.

    n_active : float, default=5
        How many of them are active in a row, on average. Their number varies from row
        to row.

    zipf : float, default=0.0
        Exponent of the law by which features differ in frequency: feature :math:`j` is
        active in a share of the rows proportional to :math:`(j + 1)^{-zipf}`. 0 makes
        all equally frequent, 1 is Zipf's law of words.

    correlation : float, default=0.0
        How much features occur together, in [0, 1). Features are dealt into groups of
        four at random. A feature is active where a normal variable exceeds a quantile;
        the variables of a group have this correlation.

    noise : float, default=0.0
        Standard deviation of the normal noise in each value of `X`. The row of a single
        active feature has a length of 1 on average.

    random_state : int, RandomState instance or None, default=None
        Determines the draws. Pass an int for the same data in every call.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
        The data.

    dictionary : ndarray of shape (n_components, n_features), float64
        The known features, one a row, of length 1.

    codes : ndarray of shape (n_samples, n_components), float64
        What `X` is made of: uniform in [0.5, 1.5] where a feature is active, 0 else.

    Raises
    ------
    ValueError
        If a feature would have to be active in more than all rows.

    See Also
    --------
    sklearn.datasets.make_sparse_coded_signal : The same number of active features in
        each row, with codes of both signs.

    Examples
    --------
    >>> from sksparse_ae.datasets import make_sparse_codes
    >>> X, dictionary, codes = make_sparse_codes(
    ...     1000, n_features=20, n_components=50, n_active=3, random_state=0
    ... )
    >>> X.shape, dictionary.shape, codes.shape
    ((1000, 20), (50, 20), (1000, 50))
    >>> float((codes > 0).sum(axis=1).mean().round(1))
    3.0
    """
    rng = check_random_state(random_state)
    share = np.arange(1.0, n_components + 1) ** -float(zipf)
    share *= n_active / share.sum()
    if share[0] > 1:
        raise ValueError(
            f"With n_active={n_active}, n_components={n_components} and zipf={zipf} "
            f"the first feature would be active in {share[0]:.3g} times the rows. "
            f"n_active can be at most {n_active / share[0]:.3g}."
        )
    dictionary = of_norm_one(rng.standard_normal((n_components, n_features)))
    group = rng.permutation(n_components) // GROUP_SIZE
    common = rng.standard_normal((n_samples, group.max() + 1))[:, group]
    own = rng.standard_normal((n_samples, n_components))
    level = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    is_active = level < ndtri(share)
    codes = np.where(is_active, rng.uniform(0.5, 1.5, is_active.shape), 0.0)
    X = codes @ dictionary
    if noise:
        X += noise * rng.standard_normal(X.shape)
    return X, dictionary, codes

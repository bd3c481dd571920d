"""Natural-image patches, prepared as Ng's course prepares them."""

from numbers import Integral

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ._network.validation import strict_validation


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

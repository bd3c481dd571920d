"""The display of samples, their reconstructions and the errors."""

import numpy as np
from sklearn.utils import indexable

from .._network.reading import dense
from .._pipeline import LocatedAutoencoder
from .._utils.image_shape import checked_image_shape
from .._utils.options import count
from ._display import (
    FIGURE_WIDTH,
    DisplayMixin,
    feature_columns,
    gap_between,
    montage,
    with_transparent_gaps,
)


class ReconstructionDisplay(DisplayMixin):
    """Inputs, their reconstructions and the errors, as three rows of images.

    Create it by :meth:`from_estimator`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    inputs : array-like of shape (n_samples, n_features)
        Samples.

    reconstructions : array-like of shape (n_samples, n_features)
        Reconstructions of the samples.

    image_shape : tuple of int, default=None
        (height, width) of grey images, (height, width, 3) of colour images. None for
        square grey ones.

    feature_names : list of str, default=None
        Names of the features; None for x0, x1, ...

    Attributes
    ----------
    errors : ndarray of shape (n_samples, n_features)
        `reconstructions` - `inputs`.

    ax_ : matplotlib Axes
        Axes of the last `plot`.

    figure_ : matplotlib Figure
        Figure of `ax_`.

    image_ : matplotlib AxesImage
        All images, as one.

    See Also
    --------
    ComponentsDisplay : What the reconstructions are made of.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.inspection import ReconstructionDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(tol=0.1, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(autoencoder, X[:10])
    >>> display.errors.shape
    (10, 64)
    """

    def __init__(
        self, inputs, reconstructions, *, image_shape=None, feature_names=None
    ):
        self.inputs = inputs
        self.reconstructions = reconstructions
        self.image_shape = image_shape
        self.feature_names = feature_names

    @property
    def errors(self):
        """`reconstructions` - `inputs`."""
        # Differences of unsigned integers would wrap around.
        return np.subtract(self.reconstructions, self.inputs, dtype=np.float64)

    @classmethod
    def from_estimator(
        cls, estimator, X, *, image_shape=None, n_samples=10, ax=None, **kwargs
    ):
        """Reconstruct samples and draw them.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `reconstruct`, or a Pipeline with such a step, or a search over
            one of these. The reconstructions of a Pipeline are taken back to its input
            by the `inverse_transform` of the steps before the autoencoder.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        image_shape : tuple of int, default=None
            (height, width) or (height, width, 3). None for square grey images.

        n_samples : int, default=10
            How many samples to show, starting with the first.

        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        located = LocatedAutoencoder(estimator, "reconstruct")
        (X,) = indexable(X)
        n_samples = count("n_samples", n_samples)
        X = X.head(n_samples) if hasattr(X, "head") else X[:n_samples]
        reconstructions = located.inverse_transform(
            located.autoencoder.reconstruct(located.transform(X))
        )
        inputs = np.asarray(dense(X))
        display = cls(
            inputs,
            reconstructions,
            image_shape=checked_image_shape(image_shape, inputs.shape[1]),
            feature_names=located.feature_names,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, cmap="gray", error_cmap="RdBu_r"):
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey inputs and reconstructions, on one scale from the smallest
            to the largest value of the inputs. Reconstructions outside of this range
            have the colours of its ends. Colour images are shown on this scale too.

        error_cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the errors of grey images, on a scale whose middle is 0. The
            colour bar belongs to this row. Errors of colour images are added to a
            middle grey.

        Returns
        -------
        display : ReconstructionDisplay
            The display itself.
        """
        plt = self._import("matplotlib.pyplot", "plot")
        inputs, errors = np.asarray(self.inputs, np.float64), self.errors
        shape = checked_image_shape(self.image_shape, inputs.shape[1])
        low, high = inputs.min(), inputs.max()
        extent = high - low if high > low else 1
        limit = np.abs(errors).max() or 1
        images = (np.concatenate([inputs, self.reconstructions]) - low) / extent
        images = images.reshape(-1, *shape)
        errors = (0.5 + 0.5 * errors / limit).reshape(-1, *shape)
        if len(shape) == 2:
            images = plt.get_cmap(cmap)(images)[..., :3]
            error_colours = plt.get_cmap(error_cmap)
            errors = error_colours(errors)[..., :3]
        picture = with_transparent_gaps(
            montage(np.concatenate([images, errors]), n_columns=len(inputs))
        )
        # The labels beside the images take 1.25 inches.
        width, (n_rows, n_columns) = 1.4 * FIGURE_WIDTH, picture.shape[:2]
        ax = self._axes(ax, width, (width - 1.25) * n_rows / n_columns)
        self.image_ = ax.imshow(picture)
        height, gap = shape[0], gap_between(*shape[:2])
        ax.set_yticks(
            [height / 2 - 0.5 + i * (height + gap) for i in range(3)],
            ["input", "reconstruction", "error"],
        )
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        if len(shape) == 2:
            top = 1 - (2 * (height + gap)) / picture.shape[0]
            bar = ax.inset_axes([1.02, 0, 0.015, top])
            scale = plt.cm.ScalarMappable(plt.Normalize(-limit, limit), error_colours)
            colorbar = ax.figure.colorbar(
                scale, cax=bar, ticks=[-limit, 0, limit], format="%.2g"
            )
            colorbar.ax.tick_params(labelsize="small")
        return self

    def frame(self):
        """Return the numbers that are drawn.

        Returns
        -------
        frame : pandas.DataFrame
            One row per sample and feature: `sample` (its row in `X`), `feature`,
            `input`, `reconstruction` and `error`.
        """
        pd = self._import("pandas", "frame")
        inputs = np.asarray(self.inputs)
        n_samples, n_features = inputs.shape
        names = feature_columns(self.feature_names, n_features)
        return pd.DataFrame(
            {
                "sample": np.repeat(np.arange(n_samples), n_features),
                "feature": np.tile(np.asarray(names, dtype=object), n_samples),
                "input": inputs.ravel(),
                "reconstruction": np.ravel(self.reconstructions),
                "error": self.errors.ravel(),
            }
        )

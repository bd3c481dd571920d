"""The display of the units' weights as images."""

import math

import numpy as np

from .._network.statistics import norms, of_norm_one
from .._objective.activations import ACTIVATIONS
from .._pipeline import LocatedAutoencoder
from .._utils.image_shape import checked_image_shape
from .._utils.options import count, one_of
from ._display import (
    FIGURE_WIDTH,
    DisplayMixin,
    feature_columns,
    montage,
    with_transparent_gaps,
)


class ComponentsDisplay(DisplayMixin):
    """The weights of the units as images, side by side.

    Create it by :meth:`from_estimator`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    components : array-like of shape (n_units, n_features)
        One row per unit, in the order in which the units are shown.

    image_shape : tuple of int, default=None
        (height, width) of grey images, (height, width, 3) of colour images, whose rows
        hold the pixels in C order. None for square grey images.

    units : array-like of shape (n_units,), default=None
        Numbers of the units in the estimator; None for 0, 1, ...

    use : array-like of shape (n_units,), default=None
        How far each unit moves the reconstruction on average.

    feature_names : list of str, default=None
        Names of the columns of `components`; None for x0, x1, ...

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.

    figure_ : matplotlib Figure
        Figure of `ax_`.

    image_ : matplotlib AxesImage
        All images, as one.

    See Also
    --------
    ReconstructionDisplay : What all units together make of samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.inspection import ComponentsDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.1, random_state=0).fit(X)
    >>> display = ComponentsDisplay.from_estimator(autoencoder)
    >>> display.frame().shape  # how much each is used, and 64 pixels
    (25, 65)
    """

    def __init__(
        self, components, *, image_shape=None, units=None, use=None, feature_names=None
    ):
        self.components = components
        self.image_shape = image_shape
        self.units = units
        self.use = use
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        kind="maximal_inputs",
        image_shape=None,
        order="use",
        n_units=None,
        ax=None,
        **kwargs,
    ):
        """Draw the units of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `components_` (with `coefs_` for the decoder), or a Pipeline
            with such a step, or a search over one of these. For a Pipeline the weights
            on its input are shown, for which the steps before the autoencoder must be
            affine, as scalers and PCA are.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Data on which `unit_report` measures the mean activations. None for those on
            the training set, `rho_hat_`.

        kind : {"maximal_inputs", "encoder", "decoder"}, default="maximal_inputs"
            "maximal_inputs" are the inputs of norm 1 that activate each unit most,
            "encoder" the weights of the encoder, which are proportional to them, and
            "decoder" the weights of the decoder.

        image_shape : tuple of int, default=None
            (height, width) or (height, width, 3). None for square grey images.

        order : {"use", "index"}, default="use"
            "use" starts with the unit that moves the reconstruction most on average.
            The use of a unit is its mean activation, measured from the lowest possible
            activation, times the norm of its decoder weights. "index" keeps the order
            of the units. Estimators without `rho_hat_` and `coefs_` always keep it.

        n_units : int, default=None
            How many units to show, starting with the first; None for all.

        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : ComponentsDisplay
            The display, drawn.
        """
        one_of("kind", kind, ("maximal_inputs", "encoder", "decoder"))
        one_of("order", order, ("use", "index"))
        if kind == "decoder":
            located = LocatedAutoencoder(estimator, "coefs_")
            components = located.directions_on_input(located.autoencoder.coefs_[1])
        else:
            located = LocatedAutoencoder(estimator, "components_")
            components = located.components_on_input(located.autoencoder.components_)
        if kind == "maximal_inputs":
            components = of_norm_one(components)
        use = _use_of_units(located, X)
        units = np.arange(len(components))
        if order == "use" and use is not None:
            units = np.argsort(-use, kind="stable")
        units = units[: None if n_units is None else count("n_units", n_units)]
        display = cls(
            components[units],
            image_shape=checked_image_shape(image_shape, components.shape[1]),
            units=units,
            use=None if use is None else use[units],
            feature_names=located.feature_names,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, n_columns=None, cmap="gray", common_scale=False):
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        n_columns : int, default=None
            Number of images in a row; None for a picture that is about square.

        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images, for values from minus to plus the limit, with 0 in
            the middle. Channels of colour images are added to a middle grey.

        common_scale : bool, default=False
            Whether all images share one limit, the largest absolute value of all.
            Otherwise each image has its own limit.

        Returns
        -------
        display : ComponentsDisplay
            The display itself.
        """
        components = np.asarray(self.components, dtype=np.float64)
        height, width, *channels = checked_image_shape(
            self.image_shape, components.shape[1]
        )
        limits = np.abs(components).max(axis=None if common_scale else 1, keepdims=True)
        scaled = components / np.where(limits > 0, limits, 1)
        images = scaled.reshape(-1, height, width, *channels)
        if n_columns is None:
            n_columns = max(round(math.sqrt(len(images) * height / width)), 1)
        n_columns = count("n_columns", n_columns)
        picture = montage(images, min(n_columns, len(images)))
        if channels:
            picture = with_transparent_gaps(0.5 + 0.5 * picture)
        n_rows, n_columns = picture.shape[:2]
        ax = self._axes(ax, FIGURE_WIDTH, FIGURE_WIDTH * n_rows / n_columns)
        self.image_ = ax.imshow(picture, cmap=cmap, vmin=-1, vmax=1)
        ax.set_axis_off()
        return self

    def frame(self):
        """Return the numbers that are drawn.

        Returns
        -------
        frame : pandas.DataFrame
            One row per unit, indexed by its number, in the order shown: `use`, if it is
            known, then its component, with one column per feature. The column `use`
            comes first even if a feature has that name too.
        """
        pd = self._import("pandas", "frame")
        components = np.asarray(self.components)
        names = feature_columns(self.feature_names, components.shape[1])
        frame = pd.DataFrame(components, self.units, names).rename_axis("unit")
        if self.use is not None:
            frame.insert(0, "use", np.asarray(self.use), allow_duplicates=True)
        return frame


def _use_of_units(located, X):
    """Return the use of each unit, None if the estimator lacks what it needs."""
    autoencoder = located.autoencoder
    if not hasattr(autoencoder, "rho_hat_") or not hasattr(autoencoder, "coefs_"):
        return None
    rho_hat = autoencoder.rho_hat_
    if X is not None:
        rho_hat = np.asarray(autoencoder.unit_report(located.transform(X))["rho_hat"])
    low, high = ACTIVATIONS[located.settings.activation].unit_range
    return (high - low) * rho_hat * norms(autoencoder.coefs_[1], axis=1)

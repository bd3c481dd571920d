"""The display of the units' weights, as images or as bars."""

import math

import numpy as np

from .._network.statistics import norms, of_norm_one
from .._objective.activations import ACTIVATIONS
from .._pipeline import LocatedAutoencoder
from .._utils.feature_names import checked_names
from .._utils.image_shape import checked_image_shape
from .._utils.options import count, one_of
from ._display import (
    FIGURE_WIDTH,
    DisplayMixin,
    feature_columns,
    literal,
    montage,
    with_transparent_gaps,
)

# In inches. Half of the width is for a name of LONGEST_NAME letters of size 7.
BARS_WIDTH, BAR_HEIGHT, LONGEST_NAME = 2.6, 0.16, 22

# Between the units that are side by side, in lengths of the longest bar, and one below
# the other, in bars: the number of the unit stands there.
BARS_GAP, BARS_HEADING = 0.3, 2


class ComponentsDisplay(DisplayMixin):
    """The weights of the units side by side: images, or bars with names for a table.

    Create it by :meth:`from_estimator`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    components : array-like of shape (n_units, n_features)
        One row per unit, in the order in which the units are shown.

    image_shape : tuple of int, default=None
        (height, width) of grey images, (height, width, 3) of colour images, whose rows
        hold the pixels in C order. None for square grey images, and for bars if the
        features have names or are no square.

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
        All images, as one. Only if images were drawn.

    bars_ : matplotlib BarContainer
        The bars, unit by unit. Only if bars were drawn.

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
        kind="decoder",
        image_shape=None,
        feature_names=None,
        order="use",
        n_units=None,
        ax=None,
        **kwargs,
    ):
        """Draw the units of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `components_`, or a Pipeline with such a step, or a search over
            one of these. For a Pipeline the weights on its input are shown, for which
            the steps before the autoencoder must be affine, as scalers and PCA are.

        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Data on which `unit_report` measures the mean activations. None for those on
            the training set, `rho_hat_`.

        kind : {"decoder", "maximal_inputs", "encoder"}, default="decoder"
            "decoder" are the weights of the decoder: what each unit adds to the
            reconstruction when its activation rises by 1. "maximal_inputs" are the
            inputs of norm 1 that activate each unit most, and "encoder" the weights of
            the encoder, which are proportional to them. Estimators without `coefs_`,
            such as PCA, have one set of weights, `components_`.

        image_shape : tuple of int, default=None
            (height, width) or (height, width, 3). None for square grey images, and for
            bars if the features have names or are no square.

        feature_names : array-like of str of shape (n_features,), default=None
            Names of the features. None for those of the data frame that the estimator
            was fitted to, if it was one.

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
        one_of("kind", kind, ("decoder", "maximal_inputs", "encoder"))
        one_of("order", order, ("use", "index"))
        located = _located(estimator, kind)
        if kind == "decoder":
            components = located.directions_on_input(_decoder(located.autoencoder))
        else:
            components = located.components_on_input(located.autoencoder.components_)
        if kind == "maximal_inputs":
            components = of_norm_one(components)
        n_features = components.shape[1]
        if image_shape is not None:
            image_shape = checked_image_shape(image_shape, n_features)
        if feature_names is None:
            feature_names = located.feature_names
        else:
            feature_names = checked_names(feature_names, n_features)
        use = _use_of_units(located, X)
        units = np.arange(len(components))
        if order == "use" and use is not None:
            units = np.argsort(-use, kind="stable")
        units = units[: None if n_units is None else count("n_units", n_units)]
        display = cls(
            components[units],
            image_shape=image_shape,
            units=units,
            use=None if use is None else use[units],
            feature_names=feature_names,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax=None, *, n_columns=None, cmap="gray", common_scale=False, n_bars=6
    ):
        """Draw the images, or the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        n_columns : int, default=None
            Number of units in a row; None for a picture of images that is about square,
            and for three units with bars.

        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images, for values from minus to plus the limit, with 0 in
            the middle. Channels of colour images are added to a middle grey.

        common_scale : bool, default=False
            Whether all units share one limit, the largest absolute value of all.
            Otherwise each unit has its own limit.

        n_bars : int, default=6
            How many features a unit has bars for, those with the largest weights.

        Returns
        -------
        display : ComponentsDisplay
            The display itself.
        """
        components = np.asarray(self.components, dtype=np.float64)
        limits = np.abs(components).max(axis=None if common_scale else 1, keepdims=True)
        scaled = components / np.where(limits > 0, limits, 1)
        if n_columns is not None:
            n_columns = count("n_columns", n_columns)
        n_bars = count("n_bars", n_bars)
        n_features = components.shape[1]
        is_square = math.isqrt(n_features) ** 2 == n_features
        has_names = self.feature_names is not None
        if self.image_shape is None and (has_names or not is_square):
            return self._plot_bars(ax, scaled, n_columns, n_bars)
        shape = checked_image_shape(self.image_shape, n_features)
        return self._plot_images(ax, scaled.reshape(-1, *shape), n_columns, cmap)

    def _plot_images(self, ax, images, n_columns, cmap):
        _, height, width, *channels = images.shape
        if n_columns is None:
            n_columns = max(round(math.sqrt(len(images) * height / width)), 1)
        picture = montage(images, min(n_columns, len(images)))
        if channels:
            picture = with_transparent_gaps(0.5 + 0.5 * picture)
        n_rows, n_columns = picture.shape[:2]
        ax = self._axes(ax, FIGURE_WIDTH, FIGURE_WIDTH * n_rows / n_columns)
        self.image_ = ax.imshow(picture, cmap=cmap, vmin=-1, vmax=1)
        ax.set_axis_off()
        return self

    def _plot_bars(self, ax, scaled, n_columns, n_bars):
        n_units, n_features = scaled.shape
        n_bars = min(n_bars, n_features)
        n_columns = min(n_columns or 3, n_units)
        names = [_shortened(n) for n in feature_columns(self.feature_names, n_features)]
        numbers = np.arange(n_units) if self.units is None else self.units
        strongest = np.argsort(-np.abs(scaled), axis=1, kind="stable")[:, :n_bars]
        rows, columns = np.divmod(np.arange(n_units), n_columns)
        middles = (2 + BARS_GAP) * columns
        tops = (n_bars + BARS_HEADING) * rows
        lengths = np.take_along_axis(scaled, strongest, axis=1).ravel()
        lefts = np.repeat(middles, n_bars)
        heights = (tops[:, np.newaxis] + np.arange(1, n_bars + 1)).ravel()

        height = BAR_HEIGHT * (n_bars + BARS_HEADING) * (rows[-1] + 1)
        ax = self._axes(ax, BARS_WIDTH * n_columns, height)
        colors = np.where(lengths < 0, "C1", "C0")
        self.bars_ = ax.barh(heights, lengths, 0.7, lefts, color=colors)
        ax.vlines(middles, tops + 0.5, tops + n_bars + 0.5, color="gray", linewidth=0.8)
        for number, middle, top in zip(numbers, middles, tops, strict=True):
            ax.text(middle, top, f"unit {number}", ha="center", va="center", size=8)
        # A name stands on the other side of the middle than its bar.
        for feature, middle, length, y in zip(
            strongest.ravel(), lefts, lengths, heights, strict=True
        ):
            side = 1 if length < 0 else -1
            align = "left" if length < 0 else "right"
            text = literal(names[feature])
            ax.text(middle + 0.04 * side, y, text, ha=align, va="center", size=7)
        ax.set_xlim(-1 - BARS_GAP / 2, middles.max() + 1 + BARS_GAP / 2)
        ax.set_ylim(tops.max() + n_bars + 1, -0.8)
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


def _located(estimator, kind):
    try:
        return LocatedAutoencoder(estimator, "components_")
    except TypeError:
        if kind != "decoder":
            raise
        # An MLPRegressor that reconstructs its input.
        return LocatedAutoencoder(estimator, "coefs_")


def _decoder(autoencoder):
    """Return the weights of the decoder, one row per unit."""
    if hasattr(autoencoder, "coefs_"):
        return autoencoder.coefs_[1]
    return autoencoder.components_


def _shortened(name):
    name = str(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


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

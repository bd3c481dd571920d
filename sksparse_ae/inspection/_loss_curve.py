"""The display of the objective over the training."""

from itertools import cycle

import numpy as np

from .._pipeline import LocatedAutoencoder
from ._display import FIGURE_WIDTH, DisplayMixin, literal, named_columns

# Colours of the Okabe-Ito palette. Line styles and markers differ for print in grey.
CURVE_STYLES = [
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#E69F00", "linestyle": "--"},
]
TERM_STYLES = [
    {"color": "#009E73", "marker": "o"},
    {"color": "#CC79A7", "marker": "s"},
    {"color": "#D55E00", "marker": "^"},
]


class LossCurveDisplay(DisplayMixin):
    """The objective after each epoch or iteration, and its terms.

    Create it by :meth:`from_estimator`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter,)
        Objective on the training samples.

    validation_loss_curve : array-like of shape (n_iter,), default=None
        Objective on the held-out samples; NaN for iterations without any.

    unit : str, default="iteration"
        Label of the horizontal axis, e.g. "epoch".

    terms : dict of str to float or array-like of shape (n_iter,), default=None
        Terms of the objective. A number is the value at the end of the training, an
        array holds the values after each iteration.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.

    figure_ : matplotlib Figure
        Figure of `ax_`.

    lines_ : list of matplotlib Line2D
        The curves, then the terms.

    See Also
    --------
    sksparse_ae.SparseAutoencoderTransformer.fit : Warns if it has not converged.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.inspection import LossCurveDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(
    ...     25, tol=0.1, early_stopping=True, random_state=0
    ... ).fit(X)
    >>> display = LossCurveDisplay.from_estimator(autoencoder)
    >>> list(display.frame())
    ['training', 'validation', 'reconstruction', 'weight_decay', 'sparsity']
    """

    def __init__(
        self, loss_curve, *, validation_loss_curve=None, unit="iteration", terms=None
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.unit = unit
        self.terms = terms

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `loss_curve_`, or a Pipeline with such a step, or a search
            over one of these. If it has a `validation_loss_curve_`, this is drawn too.
            The terms are those of `loss_terms_`, or else of `objective_`, which holds
            their values at the end.

        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.
        """
        located = LocatedAutoencoder(estimator, "loss_curve_")
        autoencoder = located.autoencoder
        # Without curves of the terms, show their values at the end.
        terms = getattr(autoencoder, "loss_terms_", None)
        if terms is None or len(autoencoder.loss_curve_) == 0:
            terms = getattr(autoencoder, "objective_", {})
        solver = getattr(autoencoder, "solver", "lbfgs")
        step = "iteration" if solver == "lbfgs" else "epoch"
        display = cls(
            autoencoder.loss_curve_,
            validation_loss_curve=getattr(autoencoder, "validation_loss_curve_", None),
            unit=getattr(located.settings, "step", step),
            terms={name: terms[name] for name in terms if name != "total"},
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, yscale="log"):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        yscale : str, default="log"
            Scale of the objective, "log" or "linear". A logarithmic scale does not show
            terms that are 0.

        Returns
        -------
        display : LossCurveDisplay
            The display itself.
        """
        plt = self._import("matplotlib.pyplot", "plot")
        curves, terms = self._curves(), self.terms or {}
        ax = self._axes(ax, 1.2 * FIGURE_WIDTH, 0.65 * FIGURE_WIDTH)
        ax.set_yscale(yscale)
        iterations = np.arange(1, len(self.loss_curve) + 1)
        self.lines_ = []
        # A line through one point would not be seen.
        marker = "o" if len(iterations) == 1 else None
        for (name, curve), style in zip(curves, CURVE_STYLES, strict=False):
            self.lines_ += ax.plot(
                iterations, curve, label=name, marker=marker, **style
            )
        for (name, values), style in zip(terms.items(), cycle(TERM_STYLES)):
            name, linestyle = literal(name.replace("_", " ")), "-"
            if np.ndim(values) == 0:
                name, linestyle = f"{name}, at the end: {values:.3g}", "none"
            values = np.atleast_1d(values)
            self.lines_ += ax.plot(
                # A training without iterations ends where it starts.
                iterations[-len(values) :] if len(iterations) else [0],
                values,
                label=name,
                linestyle=linestyle,
                linewidth=1,
                markersize=5,
                markevery=[len(values) - 1],
                clip_on=False,
                **style,
            )
        ax.set(xlabel=self.unit, ylabel="objective")
        ax.xaxis.set_major_locator(plt.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        if len(iterations) == 0:
            ax.set_xticks([0])
        ax.legend(
            frameon=False,
            fontsize="small",
            loc="center left",
            bbox_to_anchor=(1.02, 0.5),
        )
        ax.margins(y=0.08)
        ax.spines[["top", "right"]].set_visible(False)
        return self

    def frame(self):
        """Return the numbers of the curves.

        Returns
        -------
        frame : pandas.DataFrame
            One row per iteration, from 1: `training`, `validation` if there is one, and
            the terms whose curves are known. Terms that are known only at the end are
            in the attribute `terms`.
        """
        pd = self._import("pandas", "frame")
        curves = self._curves()
        curves += [(k, v) for k, v in (self.terms or {}).items() if np.ndim(v) == 1]
        index = pd.RangeIndex(1, len(self.loss_curve) + 1, name="iteration")
        return named_columns(pd, curves, index=index)

    def _curves(self):
        """Return (name, curve) pairs; raise if a curve or term lacks iterations."""
        curves = [("training", self.loss_curve)]
        if self.validation_loss_curve is not None:
            curves.append(("validation", self.validation_loss_curve))
        n_iter = len(self.loss_curve)
        for name, values in (*curves, *(self.terms or {}).items()):
            if np.ndim(values) == 1 and len(values) != n_iter:
                raise ValueError(
                    f"The curve {name!r} has {len(values)} values, but loss_curve has "
                    f"{n_iter}; put NaN for iterations without a value."
                )
        return curves

"""The display of mean activations and of the distribution of activations."""

import numpy as np

from .._network.reading import dense
from .._objective.activations import ACTIVATIONS, mean_to_rho_hat
from .._objective.selections import SELECTIONS
from .._pipeline import LocatedAutoencoder
from .._utils.options import one_of
from ._display import FIGURE_WIDTH, DisplayMixin

# The states differ in shape as well as in colour. The palette is safe for colour
# blindness (M. Okabe and K. Ito, "Color universal design", 2008).
STATE_STYLES = {
    "active": {"color": "#0072B2", "marker": "o"},
    "dead": {"color": "#000000", "marker": "x"},
    "saturated": {"color": "#D55E00", "marker": "^"},
    "collapsed": {"color": "#E69F00", "marker": "s"},
}


class ActivationDisplay(DisplayMixin):
    r"""Mean activation of each unit beside `rho`, and the distribution of activations.

    Create it by :meth:`from_estimator`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    rho_hat : array-like of shape (n_units,)
        Mean activation of each unit.

    rho : float
        Mean activation that the penalty asks of each unit.

    counts : array-like of shape (n_bins,)
        Number of activations in each bin, over all units.

    edges : array-like of shape (n_bins + 1,)
        Edges of the bins.

    state : array-like of shape (n_units,), default=None
        State of each unit: the column `state` of `unit_report`.

    is_selected : bool, default=False
        Whether the codes are selected, as by `sparsity="topk"`: `rho_hat` and `rho` are
        then shares of samples and not activations.

    Attributes
    ----------
    ax_ : matplotlib Axes or ndarray of two Axes
        Axes of the last `plot`.

    figure_ : matplotlib Figure
        Figure of `ax_`.

    See Also
    --------
    sksparse_ae.SparseAutoencoderTransformer.unit_report : A table of all units.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.inspection import ActivationDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.1, random_state=0).fit(X)
    >>> display = ActivationDisplay.from_estimator(autoencoder, X)
    >>> int(display.counts.sum()) == 25 * len(X)
    True
    """

    def __init__(self, rho_hat, *, rho, counts, edges, state=None, is_selected=False):
        self.is_selected = is_selected
        self.rho_hat = rho_hat
        self.rho = rho
        self.counts = counts
        self.edges = edges
        self.state = state

    @classmethod
    def from_estimator(cls, estimator, X, *, n_bins=50, ax=None, **kwargs):
        """Measure the activations on data and draw them.

        Activations are measured on [0, 1]: for tanh units as (a + 1) / 2, for relu
        units as they are.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `unit_report`, `transform` and `rho`, or a Pipeline with such a
            step, or a search over one of these.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data that `estimator` takes. All activations are held in memory.

        n_bins : int, default=50
            Number of bins of the distribution.

        ax : matplotlib Axes or sequence of two, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
            The display, drawn.
        """
        located = LocatedAutoencoder(estimator, "unit_report", "transform", "rho")
        X, autoencoder = located.transform(X), located.autoencoder
        report = autoencoder.unit_report(X)
        activation = ACTIVATIONS[located.settings.activation]
        codes = np.asarray(dense(autoencoder.transform(X)))
        codes = mean_to_rho_hat(codes, activation.unit_range)
        largest = 1 if activation.is_bounded else (codes.max() or 1)
        counts, edges = np.histogram(codes, bins=n_bins, range=(0, largest))
        display = cls(
            np.asarray(report["rho_hat"]),
            rho=located.settings.rho,
            counts=counts,
            edges=edges,
            state=np.asarray(report["state"]),
            is_selected=getattr(located.settings, "sparsity", None) in SELECTIONS,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, kind="both"):
        """Draw the mean activations, the distribution, or both.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of two, default=None
            Where to draw; `kind="both"` needs two. None for a new figure.

        kind : {"both", "rho_hat", "distribution"}, default="both"
            "rho_hat" draws the mean activation of each unit, in ascending order,
            with a line at `rho`. "distribution" draws the share of all activations in
            each bin, on a logarithmic scale.

        Returns
        -------
        display : ActivationDisplay
            The display itself.
        """
        one_of("kind", kind, ("both", "rho_hat", "distribution"))
        draw = {"rho_hat": [self._plot_rho_hat], "distribution": [self._plot_counts]}
        draw["both"] = draw["rho_hat"] + draw["distribution"]
        n_axes = len(draw[kind])
        if ax is not None and np.size(ax) != n_axes:
            raise ValueError(
                f"kind={kind!r} needs {n_axes} Axes as ax; got {np.size(ax)}."
            )
        width = FIGURE_WIDTH * (1 + 0.6 * (n_axes - 1))
        axes = np.ravel(self._axes(ax, width, 0.65 * FIGURE_WIDTH, n_axes))
        for draw_on, axis in zip(draw[kind], axes, strict=True):
            draw_on(axis)
            axis.spines[["top", "right"]].set_visible(False)
        return self

    def _plot_rho_hat(self, ax):
        rho_hat = np.asarray(self.rho_hat)
        rank = 1 + np.argsort(np.argsort(rho_hat, kind="stable"))
        line = ax.axhline(self.rho, color="0.4", linestyle="--", linewidth=1)
        line.set_label(rf"$\rho = {self.rho:g}$")
        if self.state is None:
            ax.scatter(rank, rho_hat, s=14, label="unit", **STATE_STYLES["active"])
        for name, style in STATE_STYLES.items():
            chosen = np.asarray(self.state) == name
            if chosen.any():
                label = f"{name} ({chosen.sum()})"
                ax.scatter(rank[chosen], rho_hat[chosen], s=14, label=label, **style)
        lowest, highest = min(rho_hat.min(), self.rho), max(rho_hat.max(), self.rho)
        if 0 < lowest < highest / 10:
            ax.set_yscale("log")
        else:
            ax.set_yscale("linear")
            ax.set_ylim(0, 1.2 * highest)
        measure = "share of samples" if self.is_selected else "mean activation"
        ax.set(xlabel=f"unit, by {measure}", ylabel=rf"{measure} $\hat\rho$")
        ax.legend(frameon=False, fontsize="small")

    def _plot_counts(self, ax):
        counts = np.asarray(self.counts)
        ax.stairs(counts / counts.sum(), self.edges, fill=True, color="#0072B2")
        if not self.is_selected:  # rho is no activation then
            ax.axvline(self.rho, color="0.4", linestyle="--", linewidth=1)
        ax.set_yscale("log")
        ax.set_xlim(self.edges[0], self.edges[-1])
        ax.set(xlabel="activation", ylabel="share of activations")

    def frame(self, kind="rho_hat"):
        """Return the numbers that are drawn.

        Parameters
        ----------
        kind : {"rho_hat", "distribution"}, default="rho_hat"
            Which of the two pictures to tabulate.

        Returns
        -------
        frame : pandas.DataFrame
            For "rho_hat" one row per unit, by number: `rho_hat`, `rho` and, if it is
            known, `state`. For "distribution" one row per bin: its edges `left` and
            `right`, `count` and `share`.
        """
        one_of("kind", kind, ("rho_hat", "distribution"))
        pd = self._import("pandas", "frame")
        if kind == "distribution":
            edges, counts = np.asarray(self.edges), np.asarray(self.counts)
            return pd.DataFrame(
                {
                    "left": edges[:-1],
                    "right": edges[1:],
                    "count": counts,
                    "share": counts / counts.sum(),
                }
            )
        frame = pd.DataFrame({"rho_hat": np.asarray(self.rho_hat), "rho": self.rho})
        if self.state is not None:
            frame["state"] = np.asarray(self.state)
        return frame.rename_axis("unit")

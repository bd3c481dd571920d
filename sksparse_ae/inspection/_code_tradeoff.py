"""The display of variance explained against the number of active codes."""

import numpy as np
from sklearn.utils import indexable

from .._metrics.codes import explained_by_active
from ._display import FIGURE_WIDTH, DisplayMixin, literal

# Up to this ratio of the largest to the least number of codes, the axis is linear.
LARGEST_LINEAR_RATIO = 10


class CodeTradeoffDisplay(DisplayMixin):
    """Variance explained against the number of active codes in a row.

    Create it by :meth:`from_estimators`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    names : array-like of shape (n_points,)
        Name of the line to which each point belongs.

    active_codes : array-like of shape (n_points,)
        Mean number of active codes in a row (L0).

    variance_explained : array-like of shape (n_points,)
        Share of the variance that the active codes explain.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.

    figure_ : matplotlib Figure
        Figure of `ax_`.

    lines_ : list of matplotlib Line2D
        A line for each name.

    See Also
    --------
    sksparse_ae.metrics.neg_active_codes : What counts as active.
    sksparse_ae.metrics.random_baseline : A network that has learned nothing, for a line
        of its own.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.inspection import CodeTradeoffDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> display = CodeTradeoffDisplay.from_estimators(
    ...     {
    ...         "autoencoder": SparseAutoencoderTransformer(32, tol=0.01).fit(X),
    ...         "PCA": [PCA(n).fit(X) for n in (5, 10, 20)],
    ...     },
    ...     X,
    ... )
    >>> display.active_codes[1:]
    array([ 5., 10., 20.])
    """

    def __init__(self, names, active_codes, variance_explained):
        self.names = names
        self.active_codes = active_codes
        self.variance_explained = variance_explained

    @classmethod
    def from_estimators(cls, estimators, X, *, ax=None, **kwargs):
        """Measure fitted estimators on data and draw them.

        Parameters
        ----------
        estimators : dict of str to an estimator or a list of estimators
            Fitted transformers, under the name of their line: autoencoders, PCA, NMF,
            dictionary learning and others with `inverse_transform` or `components_`.
            Each may be a Pipeline, of which the autoencoder, else the last step that
            transforms, is measured, or a search over one of these.

        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data, best such as no estimator was fitted to.

        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : CodeTradeoffDisplay
            The display, drawn.

        Notes
        -----
        The variance explained is that of the active codes alone, with all others set to
        0 (-1 for tanh units): each point is a code of so many values. For sigmoid and
        tanh units, of which :func:`~sksparse_ae.metrics.neg_active_codes` tells when
        they count as active, it is less than their `score`. Reconstructions of a
        Pipeline are taken back to its input, so that the variance is that of `X` for
        all.
        """
        if not isinstance(estimators, dict) or not estimators:
            raise TypeError(
                "estimators must be a dict of names to estimators, or to lists of "
                f"estimators, such as {{'PCA': [pca_5, pca_10]}}; got {estimators!r}."
            )
        (X,) = indexable(X)
        points = []
        for name, given in estimators.items():
            for estimator in given if isinstance(given, list | tuple) else [given]:
                points.append((name, *explained_by_active(estimator, X)))
        names, n_active, explained = zip(*points, strict=True)
        return cls(list(names), np.array(n_active), np.array(explained)).plot(
            ax=ax, **kwargs
        )

    def plot(self, ax=None, **kwargs):
        """Draw the points, those of one name joined from left to right.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to matplotlib's `plot` for each line.

        Returns
        -------
        display : CodeTradeoffDisplay
            The display itself.
        """
        ax = self._axes(ax, FIGURE_WIDTH, 0.75 * FIGURE_WIDTH)
        names = np.asarray(self.names, dtype=object)
        n_active = np.asarray(self.active_codes, dtype=np.float64)
        explained = np.asarray(self.variance_explained, dtype=np.float64)
        self.lines_ = []
        for name in dict.fromkeys(self.names):
            of_name = np.flatnonzero(names == name)
            of_name = of_name[np.argsort(n_active[of_name], kind="stable")]
            style = {"marker": "o", "label": literal(name)} | kwargs
            self.lines_ += ax.plot(n_active[of_name], explained[of_name], **style)
        if (
            n_active.min() > 0
            and n_active.max() > LARGEST_LINEAR_RATIO * n_active.min()
        ):
            ticker = self._import("matplotlib.ticker", "plot")
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_minor_locator(ticker.NullLocator())
            ax.xaxis.set_major_formatter("{x:g}")
        ax.set(xlabel="active codes per row (L0)", ylabel="variance explained")
        ax.legend(fontsize="small")
        return self

    def frame(self):
        """Return the numbers that are drawn.

        Returns
        -------
        frame : pandas.DataFrame
            One row per estimator: `name`, `active_codes` and `variance_explained`.
        """
        pd = self._import("pandas", "frame")
        return pd.DataFrame(
            {
                "name": list(self.names),
                "active_codes": np.asarray(self.active_codes),
                "variance_explained": np.asarray(self.variance_explained),
            }
        )

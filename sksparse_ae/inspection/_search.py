"""The display of a score over two parameters of a search."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._utils.options import one_of
from .._utils.search_results import score_names
from ._display import FIGURE_WIDTH, DisplayMixin, literal, named_columns

# Labels that are not just the name in `cv_results_` with blanks for underscores.
LABELS = {
    "rho": r"$\rho$",
    "beta": r"$\beta$",
    "weight_decay": r"$\lambda$",
    "active_units": "share of active units",
    "neg_active_codes": "minus active codes",
    "neg_mean_kl": "minus mean KL",
    "hoyer_sparseness": "Hoyer sparseness",
}


class SearchDisplay(DisplayMixin):
    """A score of a search over `rho` and `beta`, or over one or two other parameters.

    Create it by :meth:`from_estimator` or :meth:`from_cv_results`.

    Read more in the :ref:`user guide <displays>`.

    Parameters
    ----------
    x : array-like of shape (n_points,)
        Values of the parameter on the horizontal axis.

    y : array-like of shape (n_points,) or None
        Values of the parameter on the vertical axis; None for a line over `x`.

    scores : array-like of shape (n_points,)
        Score of each pair of values, or of each value of `x`.

    std : array-like of shape (n_points,), default=None
        Standard deviation of the score over the splits.

    names : tuple of three str, default=("rho", "beta", "score")
        Names of `x`, `y` and `scores`.

    chosen : tuple, default=None
        Pair of values to mark; (value,) on a line.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last `plot`.

    figure_ : matplotlib Figure
        Figure of `ax_`.

    mappable_ : matplotlib AxesImage, PathCollection or None
        The heat map, or the points; None for a line.

    colorbar_ : matplotlib Colorbar or None
        Colour bar of the score.

    See Also
    --------
    sksparse_ae.metrics.get_scorers : Scores for such searches.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.inspection import SearchDisplay
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(10, tol=1, random_state=0)
    >>> grid = {"rho": [0.05, 0.1], "beta": [1.0, 3.0]}
    >>> search = GridSearchCV(autoencoder, grid, cv=2).fit(X[:200])
    >>> SearchDisplay.from_estimator(search).frame().shape
    (4, 4)
    """

    def __init__(
        self, x, y, scores, *, std=None, names=("rho", "beta", "score"), chosen=None
    ):
        self.x = x
        self.y = y
        self.scores = scores
        self.std = std
        self.names = names
        self.chosen = chosen

    @classmethod
    def from_estimator(
        cls, estimator, *, score=None, x="rho", y="beta", ax=None, **kwargs
    ):
        """Draw the results of a fitted search and mark its choice.

        Parameters
        ----------
        estimator : GridSearchCV, RandomizedSearchCV or other search
            Fitted, with `cv_results_`. If it has a `best_index_`, that candidate is
            marked.

        score : str, default=None
            Name of the score; None if the search has only one.

        x, y : str, default="rho", "beta"
            Parameters on the axes, with or without the name of the step, as in
            "sparseautoencodertransformer__rho". With `y=None`, or if the search has
            one parameter, the score is drawn as a line over `x`.

        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "cv_results_"):
            raise TypeError(
                "Expected a fitted search with cv_results_, such as GridSearchCV; got "
                f"{type(estimator).__name__}."
            )
        return cls.from_cv_results(
            estimator.cv_results_,
            score=score,
            x=x,
            y=y,
            best_index=getattr(estimator, "best_index_", None),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_cv_results(
        cls,
        cv_results,
        *,
        score=None,
        x="rho",
        y="beta",
        best_index=None,
        ax=None,
        **kwargs,
    ):
        """Draw the results of a search.

        If other parameters vary too, the best score over them is shown for each pair
        of values. For a halving search, it is the best score in the last iteration that
        tried the pair.

        Parameters
        ----------
        cv_results : dict of array-likes
            The `cv_results_` of a search.

        score : str, default=None
            Name of the score; None if the search has only one.

        x, y : str, default="rho", "beta"
            Parameters on the axes, with or without the name of the step. With `y=None`,
            or if the search has one parameter, the score is drawn as a line over `x`.

        best_index : int, default=None
            Index of the candidate to mark.

        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        **kwargs : dict
            Passed to :meth:`plot`.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.
        """
        if hasattr(cv_results, "iloc"):  # a DataFrame, whose rows may be sorted
            if best_index is not None:
                best_index = list(cv_results.index).index(best_index)
            # A parameter that a candidate lacks has become NaN in the DataFrame.
            cv_results = {
                key: np.ma.array(column.to_numpy(), mask=column.isna())
                for key, column in cv_results.items()
            }
        scores = score_names(cv_results)
        if score is None and len(scores) == 1:
            (score,) = scores
        one_of("score", score, scores)
        if sum(key.startswith("param_") for key in cv_results) == 1:
            y = None
        names = [name for name in (x, y) if name is not None]
        columns = [cv_results[_parameter_key(cv_results, name)] for name in names]
        # Candidates of some grids in a list may lack a parameter.
        pairs = {
            i: pair
            for i, pair in enumerate(zip(*columns, strict=True))
            if not any(value is np.ma.masked for value in pair)
        }
        if not pairs:
            missing = f"both {x!r} and {y!r}" if y is not None else repr(x)
            raise ValueError(f"No candidate of the search has {missing}.")
        mean = np.asarray(cv_results[f"mean_test_{score}"], dtype=np.float64)
        std = np.asarray(cv_results[f"std_test_{score}"], dtype=np.float64)
        # Earlier iterations of a halving search have scored fewer rows.
        iteration = np.asarray(cv_results.get("iter", np.zeros(len(mean))))
        worth = list(zip(iteration, np.nan_to_num(mean, nan=-np.inf), strict=True))
        best = {}
        for i, pair in pairs.items():
            key = tuple(map(_key, pair))
            if worth[i] > worth[best.setdefault(key, i)]:
                best[key] = i
        rows = list(best.values())
        xs, *ys = zip(*(pairs[i] for i in rows), strict=True)
        display = cls(
            _as_column(xs),
            _as_column(ys[0]) if ys else None,
            mean[rows],
            std=std[rows],
            names=(*_short_names(x, y), score) if ys else (*_short_names(x, ""), score),
            chosen=pairs.get(best_index),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, cmap="viridis", values_format=".2f", colorbar=True):
        """Draw the score.

        A full grid of values is drawn as a heat map with a cell for each pair, in the
        order of the values. Anything else, such as random draws, is drawn as points.
        Values of one parameter are drawn as a line, with the deviations over the splits
        if they are known.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        cmap : str or matplotlib Colormap, default="viridis"
            Colours of the score.

        values_format : str or None, default=".2f"
            Format of the scores in the cells; None writes no scores.

        colorbar : bool, default=True
            Whether to draw a colour bar.

        Returns
        -------
        display : SearchDisplay
            The display itself.
        """
        ax = self._axes(ax, FIGURE_WIDTH, 0.8 * FIGURE_WIDTH)
        self.mappable_ = self.colorbar_ = None
        if self.y is None:
            return self._plot_line(ax)
        x, y = _Axis(self.x), _Axis(self.y)
        chosen = None
        if self.chosen is not None:
            chosen = x.place(self.chosen[0]), y.place(self.chosen[1])
            chosen = None if None in chosen else chosen
        if len(x.values) * len(y.values) == len(self.scores):
            self._plot_grid(ax, x, y, chosen, cmap, values_format)
        else:
            self._plot_points(ax, x, y, chosen, cmap)
        x_label, y_label = map(_parameter_label, self.names[:2])
        ax.set(xlabel=x_label, ylabel=y_label)
        if colorbar:
            self.colorbar_ = ax.figure.colorbar(
                self.mappable_, ax=ax, label=_label(self.names[2])
            )
        return self

    def _plot_line(self, ax):
        x = _Axis(self.x)
        positions = _positions("x", x, ax)
        order = np.argsort(x.places, kind="stable")
        places, scores = positions[x.places][order], np.asarray(self.scores)[order]
        std = None if self.std is None else np.asarray(self.std)[order]
        ax.errorbar(places, scores, std, fmt="o-", capsize=3)
        place = None if self.chosen is None else x.place(self.chosen[0])
        if place is not None:
            score = scores[places == positions[place]].max()
            ax.scatter(
                positions[place], score, s=130, facecolors="none", edgecolors="#D55E00"
            )
        ax.set(xlabel=_parameter_label(self.names[0]), ylabel=_label(self.names[-1]))
        return self

    def _plot_grid(self, ax, x, y, chosen, cmap, values_format):
        grid = np.full((len(y.values), len(x.values)), np.nan)
        grid[y.places, x.places] = self.scores
        self.mappable_ = ax.imshow(grid, cmap=cmap, origin="lower", aspect="auto")
        ax.set_xticks(range(len(x.values)), list(map(_short, x.values)))
        ax.set_yticks(range(len(y.values)), list(map(_short, y.values)))
        if values_format is not None:
            for i, j in zip(y.places, x.places, strict=True):
                text = format(grid[i, j], values_format)
                colour = _readable_on(self.mappable_, grid[i, j])
                ax.text(j, i, text, ha="center", va="center", color=colour)
        if chosen is not None:
            frame = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) - 0.5
            ax.plot(*(frame + chosen).T, color="#D55E00", linewidth=3, clip_on=False)

    def _plot_points(self, ax, x, y, chosen, cmap):
        positions = [_positions("x", x, ax), _positions("y", y, ax)]
        points = positions[0][x.places], positions[1][y.places]
        self.mappable_ = ax.scatter(
            *points, c=self.scores, cmap=cmap, s=40, edgecolors="0.3"
        )
        if chosen is not None:
            point = positions[0][chosen[0]], positions[1][chosen[1]]
            ax.scatter(*point, s=130, facecolors="none", edgecolors="#D55E00")

    def frame(self):
        """Return the numbers that are drawn.

        Returns
        -------
        frame : pandas.DataFrame
            One row per pair of values: the two parameters, or the one, and the score,
            under their `names`, and then `std` if it is known.
        """
        pd = self._import("pandas", "frame")
        values = self.x, self.y, self.scores
        pairs = zip(self.names, values, strict=True)
        columns = [(name, column) for name, column in pairs if column is not None]
        if self.std is not None:
            columns.append(("std", self.std))
        return named_columns(pd, columns)


def _positions(name, axis, ax):
    """Return where the values of a parameter lie on an axis, whose scale is set."""
    values = np.arange(len(axis.values))
    if all(map(_is_number, axis.values)):
        values = np.asarray(axis.values)
        if values.min() > 0 and values.max() / values.min() > 10:
            ax.set(**{f"{name}scale": "log"})
    else:
        labels = list(map(_short, axis.values))
        ax.set(**{f"{name}ticks": values, f"{name}ticklabels": labels})
    return values


def _parameter_key(cv_results, name):
    keys = [key for key in cv_results if key.startswith("param_")]
    if f"param_{name}" in keys:
        return f"param_{name}"
    matches = [key for key in keys if key.endswith(f"__{name}")]
    if len(matches) != 1:
        found = ", ".join(repr(key.removeprefix("param_")) for key in keys)
        raise ValueError(
            f"{'No' if not matches else 'More than one'} parameter of the search is "
            f"called {name!r}; it has {found}."
        )
    return matches[0]


def _short_names(*names):
    """Return the names without those of the steps, if they then still differ."""
    short = [name.rpartition("__")[2] for name in names]
    return short if len(set(short)) == len(names) else names


def _label(name):
    return LABELS.get(name, literal(name.replace("_", " ")))


def _parameter_label(name):
    step, _, name = name.rpartition("__")
    return f"{literal(step)}: {_label(name)}" if step else _label(name)


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def _key(value):
    """Return what tells a value of a parameter, of any type, from others in a dict.

    Those that can be in no dict, such as lists and arrays, are told by their text.
    """
    if _is_number(value):  # True is not 1, and NaN is one value
        return (0, value) if value == value else (1,)
    try:
        hash(value)
    except TypeError:
        value = type(value), str(value)
    return 2, value


class _Axis:
    """The distinct values of a parameter, and the place among them of each value.

    Numbers come first, in ascending order, NaN last of them. Other values, such as None
    or an optimizer, follow in the order of their first occurrence.
    """

    def __init__(self, values):
        keys = [_key(value) for value in values]
        distinct = dict(zip(keys, values, strict=True))
        order = sorted(distinct, key=lambda key: key if key[0] == 0 else key[:1])
        self.values = [distinct[key] for key in order]
        self._place_of = {key: place for place, key in enumerate(order)}
        self.places = [self._place_of[key] for key in keys]

    def place(self, value):
        """Return the place of a value, None if it is not among them."""
        return self._place_of.get(_key(value))


def _as_column(values):
    """Return an array of values; unless all are numbers, each keeps its type."""
    if all(map(_is_number, values)):
        return np.asarray(values)
    return np.fromiter(values, dtype=object, count=len(values))


def _short(value):
    if _is_number(value) and not isinstance(value, Integral):
        return f"{value:g}"
    text = str(value)
    # Python shows an object without a representation of its own by its address.
    if " at 0x" in text:
        text = getattr(value, "__name__", type(value).__name__)
    return literal(text)


def _readable_on(mappable, value):
    """Return black or white, whichever stands out on the colour of a value."""
    red, green, blue, _ = mappable.to_rgba(value)
    # Relative luminance, ITU-R BT.709.
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"

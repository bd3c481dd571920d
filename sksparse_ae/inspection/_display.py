"""What all Displays share."""

from .._utils.extras import import_extra


class DisplayMixin:
    """Imports the packages that a Display needs, and keeps the axes of its `plot`."""

    def _import_pyplot(self):
        return self._import("matplotlib.pyplot", method="plot")

    def _import_pandas(self):
        return self._import("pandas", method="frame")

    def _import(self, module, *, method):
        needed_by = f"{type(self).__name__}.{method}"
        return import_extra(module, extra="displays", needed_by=needed_by)

    def _drawn_on(self, ax):
        """Keep the axes as attributes; return the display."""
        self.ax_, self.figure_ = ax, ax.figure
        return self


def check_option(name, value, options):
    """Raise if the value of an argument is not one of its options."""
    if value not in options:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, options))}; got {value!r}."
        )


def feature_columns(feature_names, n_features):
    """Return the names of the features; without them x0, x1, ..."""
    if feature_names is None:
        return [f"x{i}" for i in range(n_features)]
    return list(feature_names)


def named_columns(pd, columns, *, index=None):
    """Return a DataFrame of (name, values) pairs; the same name may occur twice."""
    frame = pd.DataFrame({i: v for i, (_, v) in enumerate(columns)}, index=index)
    return frame.set_axis([name for name, _ in columns], axis=1)

"""What several Displays share."""

import numpy as np

from .._utils.extras import import_extra

# In inches. A column of text in the two-column layout of most journals is 3.5 wide.
FIGURE_WIDTH = 4.5


class DisplayMixin:
    """Imports the packages that a Display needs, and keeps the axes of its `plot`."""

    def _import(self, module, method):
        needed_by = f"{type(self).__name__}.{method}"
        return import_extra(module, extra="displays", needed_by=needed_by)

    def _axes(self, ax, width, height, n_axes=1):
        """Return the axes given, or new ones in a figure so many inches large."""
        plt = self._import("matplotlib.pyplot", "plot")
        if ax is None:
            size = width, max(height, 0.5)
            _, ax = plt.subplots(1, n_axes, figsize=size, layout="constrained")
        axes = np.ravel(np.asarray(ax, dtype=object))
        self.ax_, self.figure_ = axes if n_axes > 1 else axes[0], axes[0].figure
        return self.ax_


def feature_columns(feature_names, n_features):
    """Return the names of the features; without them x0, x1, ..."""
    if feature_names is None:
        return [f"x{i}" for i in range(n_features)]
    return list(feature_names)


def named_columns(pd, columns, *, index=None):
    """Return a DataFrame of (name, values) pairs; the same name may occur twice."""
    frame = pd.DataFrame({i: v for i, (_, v) in enumerate(columns)}, index=index)
    return frame.set_axis([name for name, _ in columns], axis=1)


def literal(text):
    """Escape dollar signs, between which matplotlib would set mathematics."""
    return str(text).replace("$", r"\$")


def montage(images, n_columns):
    """Arrange images in rows of ``n_columns``, with gaps of NaN between them.

    The images have the shape (n_images, height, width), with the channels as a last
    axis if they are coloured.
    """
    n_images, height, width, *channels = images.shape
    gap = gap_between(height, width)
    padding = [(0, -n_images % n_columns), (0, gap), (0, gap)]
    padding += [(0, 0)] * len(channels)
    padded = np.pad(images, padding, constant_values=np.nan)
    rows = padded.reshape(-1, n_columns, height + gap, width + gap, *channels)
    columns = n_columns * (width + gap)
    return rows.swapaxes(1, 2).reshape(-1, columns, *channels)[:-gap, :-gap]


def gap_between(height, width):
    """Return the gap in pixels: a tenth of the shorter side, but at least one."""
    return max(min(height, width) // 10, 1)


def with_transparent_gaps(colours):
    """Return an RGB montage as RGBA, with transparent gaps."""
    gaps = np.isnan(colours).any(axis=-1, keepdims=True)
    return np.concatenate([np.where(gaps, 0, np.clip(colours, 0, 1)), ~gaps], axis=-1)

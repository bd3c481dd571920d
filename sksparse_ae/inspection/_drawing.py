"""The arrangement of images, which some Displays share."""

import numpy as np

# Inches: the width of a column of text in most journals' two-column layouts is 3.5.
FIGURE_WIDTH = 4.5


def literal(text):
    """Return text whose dollars matplotlib shows: between two it reads mathematics."""
    return str(text).replace("$", r"\$")


def montage(images, n_columns):
    """Arrange images in rows, with gaps of NaN between them.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (..., n_channels)
    n_columns : int

    Returns
    -------
    montage : ndarray of shape (total height, total width) or (..., n_channels)
    """
    n_images, height, width, *channels = images.shape
    gap = gap_between(height, width)
    n_rows = -(-n_images // n_columns)
    canvas = np.full(
        (n_rows * (height + gap) - gap, n_columns * (width + gap) - gap, *channels),
        np.nan,
    )
    for i, image in enumerate(images):
        row, column = divmod(i, n_columns)
        top, left = row * (height + gap), column * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def gap_between(height, width):
    """Return the pixels between two images of a montage: a tenth of one, or one."""
    return max(min(height, width) // 10, 1)


def with_transparent_gaps(colours):
    """Return an RGB montage as RGBA whose gaps let the background through."""
    gaps = np.isnan(colours).any(axis=-1, keepdims=True)
    return np.concatenate([np.where(gaps, 0, np.clip(colours, 0, 1)), ~gaps], axis=-1)


def new_axes_for_image(plt, shape, *, width=FIGURE_WIDTH, margin=0.0):
    """Return axes for an image in a new figure of its proportions.

    Parameters
    ----------
    plt : module
    shape : tuple of int
        (height, width) of the image in pixels.
    width : float
        Width of the figure in inches.
    margin : float
        Inches of it that labels beside the image take.
    """
    height = (width - margin) * shape[0] / shape[1]
    _, ax = plt.subplots(figsize=(width, max(height, 0.5)), layout="constrained")
    return ax

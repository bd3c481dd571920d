"""Drawing helpers that several Displays share."""

import numpy as np

# In inches. A column of text in the two-column layout of most journals is 3.5 wide.
FIGURE_WIDTH = 4.5


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
    """Return the gap in pixels: a tenth of the shorter side, but at least one."""
    return max(min(height, width) // 10, 1)


def with_transparent_gaps(colours):
    """Return an RGB montage as RGBA, with transparent gaps."""
    gaps = np.isnan(colours).any(axis=-1, keepdims=True)
    return np.concatenate([np.where(gaps, 0, np.clip(colours, 0, 1)), ~gaps], axis=-1)


def new_axes_for_image(plt, shape, *, width=FIGURE_WIDTH, margin=0.0):
    """Return axes in a new figure that has the proportions of an image.

    ``shape`` starts with the image's height and width in pixels. The figure is
    ``width`` inches wide, of which labels beside the image take ``margin``.
    """
    height = (width - margin) * shape[0] / shape[1]
    _, ax = plt.subplots(figsize=(width, max(height, 0.5)), layout="constrained")
    return ax

"""Samples and learned inputs as small PNG images."""

import base64
import io
import math

import numpy as np
from PIL import Image

# Bytes of all pixels of a page together. Base64 adds a third, and noise, which PNG does
# not compress, about a tenth: 8 MB stay under 15 MB with everything else.
PIXEL_BUDGET = 8_000_000


class Encoder:
    """Turns rows of features into PNG images in base64, small enough for a page.

    Parameters
    ----------
    shape : tuple
        (height, width) or (height, width, 3).
    n_images : int
        How many images the page may hold. If their pixels exceed the budget, all are
        reduced by one whole factor.
    """

    def __init__(self, shape, n_images):
        self.shape = shape
        n_bytes = n_images * math.prod(shape)
        self.reduction = math.ceil(math.sqrt(n_bytes / PIXEL_BUDGET))

    @property
    def is_coarse(self):
        """Whether the images have so few pixels that they look best as squares."""
        return max(self.shape[:2]) // self.reduction <= 64

    def __call__(self, row, low, high):
        """Encode one row; `low` becomes black, and `high` white."""
        # float64 holds the width of every finite float32 range.
        shade = (row.reshape(self.shape).astype(np.float64) - low) / (high - low)
        image = Image.fromarray(np.rint(255 * shade.clip(0, 1)).astype(np.uint8))
        if self.reduction > 1:
            image = image.reduce(self.reduction)
        png = io.BytesIO()
        image.save(png, "png")
        return base64.b64encode(png.getvalue()).decode("ascii")

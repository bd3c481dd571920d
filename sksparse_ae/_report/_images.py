"""Samples and learned inputs as small PNG images."""

import base64
import io
import math

import numpy as np
from PIL import Image

# Largest number of bytes of all pixels on a page. Base64 adds a third, and PNG about a
# tenth to noise, which it does not compress: the page stays below 15 MB.
PIXEL_BUDGET = 8_000_000


class Encoder:
    """Turns rows of features into PNG images in base64, small enough for a page.

    If the pixels of ``n_images`` images exceed the budget, all images are reduced by
    one integer factor.
    """

    def __init__(self, shape: tuple[int, ...], n_images: int) -> None:
        self.shape = shape
        n_bytes = n_images * math.prod(shape)
        self.reduction = math.ceil(math.sqrt(n_bytes / PIXEL_BUDGET))

    @property
    def is_coarse(self) -> bool:
        """Whether the images have so few pixels that these are shown as squares."""
        return max(self.shape[:2]) // self.reduction <= 64

    def __call__(self, row: np.ndarray, low: float, high: float) -> str:
        """Encode one row; `low` becomes black, as do gaps, and `high` white."""
        # In float32, high - low may overflow.
        shade = (row.reshape(self.shape).astype(np.float64) - low) / (high - low)
        shade = np.nan_to_num(shade.clip(0, 1))
        image = Image.fromarray(np.rint(255 * shade).astype(np.uint8))
        if self.reduction > 1:
            image = image.reduce(self.reduction)
        png = io.BytesIO()
        image.save(png, "png")
        return base64.b64encode(png.getvalue()).decode("ascii")

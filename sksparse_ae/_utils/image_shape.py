"""The shape of samples that are images."""

import math
from numbers import Integral
from typing import Any


def checked_image_shape(image_shape: Any, n_features: int) -> tuple[int, ...]:
    """Return the shape of images: (height, width), or (height, width, 3) for colour.

    None stands for square grey images, and (height, width, 1) for (height, width).
    """
    if image_shape is None:
        side = math.isqrt(n_features)
        if side**2 != n_features:
            raise ValueError(
                f"{n_features} features are no square grey image; pass image_shape, "
                "(height, width) or (height, width, 3)."
            )
        return side, side
    try:
        shape: tuple[Any, ...] = tuple(image_shape)
    except TypeError:
        shape = ()
    if (
        len(shape) not in (2, 3)
        or not all(isinstance(size, Integral) for size in shape)
        or min(shape) < 1
        or shape[2:] not in ((), (1,), (3,))
        or math.prod(shape) != n_features
    ):
        raise ValueError(
            "image_shape must be (height, width), or (height, width, 3) for colour, "
            f"with as many values as there are features, {n_features}; got "
            f"{image_shape!r}."
        )
    shape = tuple(map(int, shape))
    return shape[:2] if shape[2:] == (1,) else shape

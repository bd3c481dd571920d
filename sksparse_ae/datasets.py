"""Natural-image patches, prepared as Ng's course prepares them."""

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.utils import check_random_state


def load_natural_image_patches(n_patches=10_000, patch_size=8, random_state=None):
    rng = check_random_state(random_state)
    images = [image.mean(axis=2) for image in load_sample_images().images]
    share = [len(p) for p in np.array_split(np.arange(n_patches), len(images))]
    patches = [
        extract_patches_2d(
            image, (patch_size, patch_size), max_patches=n, random_state=rng
        )
        for image, n in zip(images, share, strict=True)
    ]
    return np.concatenate(patches).reshape(n_patches, -1)


def normalize_patches(patches):
    patches = patches - patches.mean(axis=1, keepdims=True)
    limit = 3 * patches.std()
    return 0.4 * np.clip(patches, -limit, limit) / limit + 0.5

"""
Edges and opponent colours from whitened patches
================================================

How are colour pictures prepared for a sparse autoencoder with a linear output? Most of
their variance is brightness, which hides everything else. This exercise of Ng's course
whitens the patches first. Here `scale="whiten"` does so within `fit`.
"""

# %%
# The patches
# -----------
# 8x8 pixels in red, green and blue, as they are in the photographs: 192 values from 0
# to 255 a row.

import matplotlib.pyplot as plt
import numpy as np

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.inspection import ComponentsDisplay

patches = load_natural_image_patches(
    10_000, patch_size=8, color=True, normalize=False, random_state=0
).astype("float32")

# %%
# Fit
# ---
# The output is linear, which is the default and fits data of any range. The whitened
# data have a mean variance of 1. The exercise leaves them a variance of about 1/25, so
# its weight decay of 3e-3 is 0.075 here, and its beta of 5 would be 125. This network
# is smaller, of 64 units instead of 400, and takes 30.

autoencoder = SparseAutoencoderTransformer(
    n_components=64,
    rho=0.02,
    beta=30.0,
    weight_decay=0.075,
    scale="whiten",
    tol=0.01,
    random_state=0,
).fit(patches)
print(f"variance explained  {autoencoder.score(patches):.2f}")
print(f"mean sparseness     {autoencoder.sparseness_:.2f}")

# %%
# What whitening does
# -------------------
# Before it, a handful of directions hold nearly all of the variance. After it, strong
# and weak directions count alike, down to a floor that keeps noise small. The matrix is
# `whitening_`, and it acts on rows that are centred and scaled.

centred = (patches - autoencoder.offset_) / autoencoder.scale_
whitened = centred @ autoencoder.whitening_
for name, rows in (("as given", centred), ("whitened", whitened)):
    variances = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    share = variances[:3].sum() / variances.sum()
    print(f"{name}: three of 192 directions hold {share:.0%} of the variance")

# %%
# What the units look for
# -----------------------
# The weights that `fit` returns act on the patches as they are, so the units can be
# drawn as colours.


def mosaic(rows):
    """Return 64 patches side by side, their values mapped to [0, 1]."""
    limit = 3 * rows.std()
    tiles = np.clip(0.5 + 0.5 * rows[:64] / limit, 0, 1).reshape(8, 8, 8, 8, 3)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=1)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(72, 72, 3)


shown = np.random.default_rng(0).choice(len(patches), 64, replace=False)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.9), layout="constrained")
for ax, rows, title in (
    (axes[0], centred, "patches, centred"),
    (axes[1], whitened, "the same, whitened"),
):
    ax.imshow(mosaic(rows[shown]))
    ax.set_axis_off()
    ax.set_title(title)
ComponentsDisplay.from_estimator(
    autoencoder, kind="maximal_inputs", image_shape=(8, 8, 3), ax=axes[2]
)
axes[2].set_title("what the 64 units look for")
plt.show()

# %%
# What to take away
# -----------------
# Whitening leaves edges and differences of colours to be explained, and the units turn
# into detectors of both: grey edges, and pairs of opponent colours. It helps pictures,
# whose variance lies along few directions. For data whose variance is spread out
# already it gains nothing.
#
# :ref:`whitening` says how the matrix is made and when it pays.

"""
Parts of clothes
================

Into which parts does a sparse autoencoder take pictures apart? In Ng's course it finds
the strokes of handwritten digits. Here the pictures are clothes of Fashion-MNIST. The
number of units, rho, beta and lambda are the course's; the output is linear.
"""

# %%
# The pictures
# ------------
# Debian has Fashion-MNIST in the package `dataset-fashion-mnist`. Where it is not
# installed, this example takes the small digits of scikit-learn and says so.

import gzip
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.inspection import ComponentsDisplay

path = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
if path.exists():
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    X = (pixels.reshape(-1, 784)[:5000] / 255).astype("float32")
else:
    print(f"{path} is not there (apt install dataset-fashion-mnist).")
    print("The digits of scikit-learn are taken instead.")
    X = (load_digits().data / 16).astype("float32")
side = int(np.sqrt(X.shape[1]))
print(f"{len(X)} pictures of {side}x{side} pixels")

# %%
# Fit
# ---
# The exercise has 196 units, rho = 0.1, beta = 3 and lambda = 3e-3. The output is
# linear, which is the default: with the same numbers it explains more of the variance
# than the sigmoid output of the exercise.

autoencoder = SparseAutoencoderTransformer(
    n_components=196,
    rho=0.1,
    beta=3.0,
    weight_decay=3e-3,
    tol=0.05,
    random_state=0,
).fit(X)
codes = autoencoder.transform(X)
print(f"variance explained  {autoencoder.score(X):.2f}")
print(f"mean activation     {codes.mean():.3f}")
print(f"mean sparseness     {autoencoder.sparseness_:.2f}")

# %%
# The parts
# ---------
# What a unit adds to a reconstruction is its row of the decoder: the parts from which
# pictures are put together.

display = ComponentsDisplay.from_estimator(autoencoder, n_units=64)
display.ax_.set_title("What the 64 units of most use add to a picture")
plt.show()

# %%
# A picture as a sum
# ------------------
# The code of a picture says how much of each part it has. Each row below starts with a
# picture and its reconstruction. Then follow the units whose activation exceeds their
# mean activation most, in units of what they add.

W = autoencoder.coefs_[1]
strength = np.abs(codes - codes.mean(axis=0)) * np.linalg.norm(W, axis=1)
rows = [0, 1, 2, 7]
figure, axes = plt.subplots(len(rows), 8, figsize=(9, 4.8), layout="constrained")
for row, line in zip(rows, axes, strict=True):
    line[0].imshow(X[row].reshape(side, side), "gray")
    line[1].imshow(autoencoder.reconstruct(X[[row]]).reshape(side, side), "gray")
    for ax, unit in zip(line[2:], np.argsort(-strength[row]), strict=False):
        added = (codes[row, unit] - codes[:, unit].mean()) * W[unit]
        limit = np.abs(added).max()
        ax.imshow(added.reshape(side, side), "RdBu_r", vmin=-limit, vmax=limit)
titles = ["picture", "reconstructed", "strongest parts"]
for ax, title in zip(axes[0], titles, strict=False):
    ax.set_title(title, fontsize="medium")
for ax in axes.ravel():
    ax.set_axis_off()
plt.show()
# sphinx_gallery_thumbnail_number = 2

# %%
# What to take away
# -----------------
# A part is a piece of an outline or of a pattern, and many pictures share it. Red
# pixels are what the unit adds, blue ones what it takes away. Look at the decoder to
# see what units add, and at `kind="maximal_inputs"` to see what they respond to.
#
# :ref:`displays` shows every picture that the package draws. What such parts are good
# for is the question of :ref:`sphx_glr_auto_examples_features_self_taught.py`.

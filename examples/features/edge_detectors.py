"""
Edge detectors from photographs
===============================

What does a sparse autoencoder find in photographs? Edges. This is the first exercise of
Andrew Ng's course: 25 units reconstruct patches of 8x8 pixels, and each of them is
active on about one patch in a hundred. The example shows what the units become, and
what they would become without the sparsity penalty.
"""

# %%
# The patches
# -----------
# They come from the two photographs that scikit-learn ships. As in the exercise, the
# mean of each patch is subtracted from it, and the result is mapped to [0.1, 0.9].

import warnings

import matplotlib.pyplot as plt

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.inspection import ComponentsDisplay

patches = load_natural_image_patches(10_000, patch_size=8, random_state=0)
patches = patches.astype("float32")

# %%
# The exercise
# ------------
# Its settings are rho = 0.01, beta = 3, lambda = 1e-4, a sigmoid output for data in
# [0.1, 0.9], and at most 400 iterations of L-BFGS.

autoencoder = SparseAutoencoderTransformer(
    n_components=25,
    rho=0.01,
    beta=3.0,
    weight_decay=1e-4,
    output_activation="sigmoid",
    solver="lbfgs",
    max_iter=400,
    random_state=0,
).fit(patches)

for term, value in autoencoder.objective_.items():
    print(f"{term:>15}  {value:.4f}")

# %%
# Is the code sparse? The mean activation alone cannot tell, because a unit that is
# constantly 0.01 has the right mean as well. Hoyer's sparseness can: it is 0 for
# constant units and 0.9 for units of this mean that are either on or off.

rho_hat = autoencoder.rho_hat_
print(f"mean activation of a unit  {rho_hat.min():.4f} to {rho_hat.max():.4f}")
print(f"mean sparseness            {autoencoder.sparseness_:.2f}")

# %%
# The same network without the penalty
# ------------------------------------
# With beta = 0 the units are free to be active as often as they like. Some of them end
# up constant, of which `fit` would warn.

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UninformativeUnitsWarning)
    dense = SparseAutoencoderTransformer(**autoencoder.get_params())
    dense.set_params(beta=0.0).fit(patches)

figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.4), layout="constrained")
for ax, estimator, title in (
    (axes[0], autoencoder, "with the penalty, beta = 3"),
    (axes[1], dense, "without it, beta = 0"),
):
    ComponentsDisplay.from_estimator(estimator, kind="maximal_inputs", ax=ax)
    explained, sparseness = estimator.score(patches), estimator.sparseness_
    ax.set_title(f"{title}\n{explained:.0%} explained, sparseness {sparseness:.2f}")
figure.suptitle("The input of norm 1 that activates each unit most")
figure.savefig("edge_detectors.png", dpi=150)
print("saved edge_detectors.png")

# %%
# What to take away
# -----------------
# With the penalty each unit has to wait for its kind of patch, and becomes a detector
# of edges or stripes of one direction. Without it the network explains more of the
# variance, but no single unit means anything.
#
# :ref:`objective` derives the objective, and :ref:`sparse_features` tells how the
# activations of the units are judged. The same exercise on colours
# is :ref:`sphx_glr_auto_examples_features_color_patches.py`.

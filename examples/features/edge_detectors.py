"""
Edge detectors from natural images
==================================

The exercise of Andrew Ng's course: 25 units that reconstruct 8x8 patches of
photographs, each active on about one patch in a hundred, become detectors of oriented
edges. The patches come from the two photographs that scikit-learn ships, each less its
mean and mapped to [0.1, 0.9].
"""

# %%
# Fit
# ---
# The settings are those of the exercise: a sigmoid output for data in [0.1, 0.9],
# rho = 0.01, beta = 3, lambda = 1e-4, and at most 400 iterations of L-BFGS.

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches

patches = load_natural_image_patches(10_000, patch_size=8, random_state=0)
autoencoder = SparseAutoencoderTransformer(
    n_components=25,
    rho=0.01,
    beta=3.0,
    weight_decay=1e-4,
    output_activation="sigmoid",
    solver="lbfgs",
    max_iter=400,
    verbose=1,
    random_state=0,
).fit(patches.astype("float32"))

# %%
# The objective and what it is made of
# ------------------------------------
# Nearly all of the sparsity penalty is gone: the mean activation of every unit is close
# to rho, and the units are far from constant, as Hoyer's sparseness shows, which is 0
# for a constant unit and 0.9 for one that is either on or off.

for term, value in autoencoder.objective_.items():
    print(f"{term:>15}  {value:.4f}")
report = autoencoder.unit_report(patches)
rho_hat = autoencoder.rho_hat_
print(
    f"mean activation  {rho_hat.mean():.4f} (from {rho_hat.min():.4f} "
    f"to {rho_hat.max():.4f})"
)
print(f"     sparseness  {report['sparseness'].mean():.2f}")

# %%
# What each unit looks for
# ------------------------
# The patch of norm 1 that activates a unit most is its row of weights, normalised. The
# units that move the reconstruction most come first.

from sksparse_ae.inspection import ComponentsDisplay

display = ComponentsDisplay.from_estimator(autoencoder, image_shape=(8, 8))
display.figure_.suptitle("Inputs that activate the 25 units most")
display.figure_.savefig("natural_image_filters.png", dpi=150)
print("saved natural_image_filters.png")

"""
Which units are found again under another seed?
===============================================

Does a unit say something about the data, or about the seed? A training starts from
random weights, and another start ends in other units. Those that every start finds can
be trusted. This example fits the same settings under five seeds, matches the units, and
shows which ones return.
"""

# %%
# Five fits
# ---------
# The course's exercise on patches of photographs, five times. By the explained variance
# and the sparseness the fits are alike.

import matplotlib.pyplot as plt
import numpy as np

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.metrics import match_units, stability

patches = load_natural_image_patches(5_000, random_state=0).astype("float32")
fits = [
    SparseAutoencoderTransformer(
        n_components=25,
        rho=0.01,
        beta=3.0,
        weight_decay=1e-4,
        output_activation="sigmoid",
        solver="lbfgs",
        max_iter=1000,
        random_state=seed,
    ).fit(patches)
    for seed in range(5)
]
for seed, autoencoder in enumerate(fits):
    print(
        f"seed {seed}: variance explained {autoencoder.score(patches):.3f}, "
        f"mean sparseness {autoencoder.sparseness_:.3f}"
    )

# %%
# The share that is found again
# -----------------------------
# Units have no order. So each unit of one fit is paired with one of the other, such
# that the cosines of their decoder weights are as large as possible in sum. `stability`
# is the share of the pairs with a cosine of 0.7 or more. Random directions show what
# chance does.

rng = np.random.default_rng(0)
random = [rng.normal(size=(25, 64)) for _ in fits]
print(f"found again under another seed  {stability(fits):.0%}")
print(f"the same of random directions   {stability(random):.0%}")

# %%
# Which ones
# ----------
# The units of seed 0, and the partner of each under the other seeds.

matches = [match_units(fits[0], other) for other in fits[1:]]
cosines = np.array([match.cosines for match in matches])
order = np.argsort(-cosines.mean(axis=0))
of_random = np.array([match_units(random[0], other).cosines for other in random[1:]])

figure = plt.figure(figsize=(10, 3.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1.5, 1])
shown = [*order[:6], *order[-6:]]
axes = left.subplots(5, 12)
for unit, column in zip(shown, axes.T, strict=True):
    partners = [unit, *(match.b[unit] for match in matches)]
    for fit, partner, ax in zip(fits, partners, column, strict=True):
        weights = fit.coefs_[1][partner]
        limit = np.abs(weights).max()
        ax.imshow(weights.reshape(8, 8), "gray", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
    column[0].set_title(f"{cosines[:, unit].mean():.2f}", fontsize="small")
for seed, ax in enumerate(axes[:, 0]):
    ax.set_ylabel(f"seed {seed}")
left.suptitle("Found by all seeds, and hardly found again: mean cosine")

ax = right.subplots()
rank = np.arange(1, 26)
for name, found, color in (("units", cosines, "C0"), ("chance", of_random, "0.6")):
    ranked = -np.sort(-found, axis=1)
    ax.plot(rank, ranked.mean(axis=0), color=color, label=name)
    ax.fill_between(
        rank, ranked.min(axis=0), ranked.max(axis=0), color=color, alpha=0.25, lw=0
    )
ax.axhline(0.7, color="black", linestyle=":", linewidth=1)
ax.set(ylim=(0, 1), xlabel="pairs, by cosine", ylabel="cosine with the partner")
ax.legend(frameon=False)
plt.show()

# %%
# What to take away
# -----------------
# Two fits of the same quality agree on most units, far beyond chance, and not on all.
# Interpret those that other seeds find as well. If few return, there are more units
# than the data have features for, or too few rows: try fewer units.
#
# Where the true features are known, :func:`sksparse_ae.metrics.recovery_score` compares
# with them. :ref:`sparse_features` tells how to judge the units of a single fit.

"""
Units that collapse, and the cure
=================================

All mean activations are right, and still the code is worthless: how does that happen,
and what helps? A unit that is constantly 0.01 has exactly the mean that rho = 0.01 asks
for. With too much weight decay every unit ends so. This example shows such a training,
reads its warning, and cures it.
"""

# %%
# A training that looks perfect
# -----------------------------
# It is the course's exercise on patches of photographs, with a weight decay of 1e-3
# instead of 1e-4.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.inspection import ActivationDisplay

patches = load_natural_image_patches(5_000, random_state=0).astype("float32")
autoencoder = SparseAutoencoderTransformer(
    n_components=25,
    rho=0.01,
    beta=3.0,
    weight_decay=1e-3,
    output_activation="sigmoid",
    solver="lbfgs",
    max_iter=400,
    random_state=0,
)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", UninformativeUnitsWarning)
    autoencoder.fit(patches)

rho_hat = autoencoder.rho_hat_
print(f"mean activation     {rho_hat.min():.4f} to {rho_hat.max():.4f}")
print(f"sparsity penalty    {autoencoder.objective_.sparsity:.4f}")
print(f"variance explained  {autoencoder.score(patches):.3f}")
print(f"mean sparseness     {autoencoder.sparseness_:.3f}")

# %%
# The penalty is nearly 0, because it knows the means only. But nothing is explained,
# and the sparseness of the units is 0: they are constant. `fit` has noticed:

print(caught[0].message)

# %%
# The cure
# --------
# The warning names the parameter, values to try, and a limit: with more weight decay
# than that, a unit that has become constant cannot come back. The exercise's own value,
# 1e-4, is above the values to try and below the limit.

cured = SparseAutoencoderTransformer(**autoencoder.get_params())
cured.set_params(weight_decay=1e-4).fit(patches)
print(f"variance explained  {cured.score(patches):.3f}")
print(f"mean sparseness     {cured.sparseness_:.3f}")

figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
for row, estimator in zip(axes, (autoencoder, cured), strict=True):
    ActivationDisplay.from_estimator(estimator, patches, ax=row)
    row[0].set(ylim=(0, 0.014))
    row[0].set_title(f"weight_decay = {estimator.weight_decay:g}")
    row[1].set(xlim=(0, 1), ylim=(1e-6, 1.5))
plt.show()

# %%
# The left column hardly tells the two apart. The right one does: collapsed units know
# one value only, and sparse units are mostly off and sometimes on.
#
# How much weight decay is too much
# ---------------------------------
# The same network for growing weight decays. With little of it, units explain more by
# half-hearted activations, so that the code is less sparse. With too much they fade
# out, one after the other.

decays = [1e-6, 1e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3]
explained, sparseness, active = [], [], []
for decay in decays:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UninformativeUnitsWarning)
        cured.set_params(weight_decay=decay, max_iter=1000).fit(patches)
    explained.append(cured.score(patches))
    sparseness.append(cured.sparseness_)
    active.append(np.mean(cured.unit_states_ == "active"))

figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.plot(decays, explained, "o-", label="variance explained")
ax.plot(decays, sparseness, "s-", label="mean sparseness")
ax.plot(decays, active, "^--", label="share of active units")
ax.set(xscale="log", xlabel="weight_decay")
ax.legend(frameon=False)
plt.show()

# %%
# What to take away
# -----------------
# Never judge a code by its mean activations. Look at `sparseness_` and `unit_states_`,
# and take the warning seriously. `weight_decay="auto"`, the default, stays below the
# limit for data of any scale, and the sparseness has a maximum not far below the limit.
#
# :ref:`collapse` derives the limit and names the other causes.

"""
Is my training done?
====================

How can one see that a training has gone on for long enough? Three trainings of the same
network on the digits, and what their curves and warnings say: one that was cut off, one
that has converged, and one whose steps are too long.
"""

# %%
# Three trainings
# ---------------
# Each is fitted as anybody would. The warning that it gives, if any, is printed below
# its name.

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer

X, _ = load_digits(return_X_y=True)
trainings = {
    "cut off": {"max_iter": 12},
    "converged": {},
    "too long steps": {"learning_rate": 0.3, "max_iter": 60},
}
fitted = {}
for title, settings in trainings.items():
    autoencoder = SparseAutoencoderTransformer(100, random_state=0, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fitted[title] = autoencoder.fit(X)
    print(
        f"{title}: {autoencoder.n_iter_} epochs, "
        f"objective {autoencoder.objective_.total:.2f}, "
        f"variance explained {autoencoder.score(X):.3f}"
    )
    messages = [
        str(warning.message)
        for warning in caught
        if issubclass(warning.category, ConvergenceWarning)
    ]
    print("  " + (messages[0] if messages else "no warning"))

# %%
# Their curves
# ------------
# `loss_curve_` is the mean objective of the mini-batches of an epoch, with the noise of
# single steps in it. The dashed line is the exact objective of the weights that are
# returned. These are an average over the last steps, so the line may lie below the
# curve.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained", sharey=True)
for ax, (title, autoencoder) in zip(axes, fitted.items(), strict=True):
    epochs = range(1, autoencoder.n_iter_ + 1)
    ax.plot(epochs, autoencoder.loss_curve_, label="mini-batches of an epoch")
    total = autoencoder.objective_.total
    ax.axhline(total, color="C1", linestyle="--", label="weights returned")
    ax.set(title=title, xlabel="epoch", yscale="log")
    ax.set_yticks([4, 10, 40, 100], ["4", "10", "40", "100"])
    ax.set_yticks([], minor=True)
axes[0].set_ylabel("objective")
axes[1].legend()
plt.show()

# %%
# What to take away
# -----------------
# A training that is done ends by itself, before `max_iter`, and without a warning. If
# one is cut off, raise `max_iter`. If the steps are too long, leave `learning_rate` at
# "auto": the rate is then lowered whenever the objective stalls.
#
# A small difference in the objective may not matter to you: compare the variance that
# is explained. :ref:`done` says what ends a training.

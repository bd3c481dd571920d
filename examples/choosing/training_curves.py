"""
Is my training done?
====================

Three trainings of the same network on the digits, and what their curves say: one that
was cut off, one that has converged, and one whose steps are too long. The objective of
an epoch is that of its mini-batches, with the noise of single steps in it; the dashed
line is the objective of the averaged weights that are returned.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer

X, _ = load_digits(return_X_y=True)

# %%
# Each is fitted as anybody would, and the warning that it gives is kept.

trainings = {
    "cut off": {"max_iter": 12},
    "converged": {},
    "too long steps": {"learning_rate": 0.3, "max_iter": 60},
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, (title, settings) in zip(axes, trainings.items(), strict=True):
    autoencoder = SparseAutoencoderTransformer(100, random_state=0, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        autoencoder.fit(X)
    messages = [
        str(warning.message)
        for warning in caught
        if issubclass(warning.category, ConvergenceWarning)
    ]
    total = autoencoder.objective_.total
    print(f"{title}: {autoencoder.n_iter_} epochs, objective {total:.3f}")
    print("  " + (messages[0] if messages else "no warning"))

    epochs = range(1, autoencoder.n_iter_ + 1)
    ax.plot(epochs, autoencoder.loss_curve_, label="mini-batches of an epoch")
    ax.axhline(total, color="C1", linestyle="--", label="weights returned")
    ax.set(title=title, xlabel="epoch", yscale="log")
    for place in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        place("{x:g}")
axes[0].set_ylabel("objective")
axes[1].legend()
figure.savefig("training_curves.png", dpi=150)

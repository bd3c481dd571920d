"""
A stack of two autoencoders, before and after fine-tuning
=========================================================

How much does a stack of autoencoders gain from being trained as one network? Two sparse
autoencoders in a pipeline, the second trained on the codes of the first, and a logistic
regression are the stacked autoencoder of Ng's course. Trained layer by layer, the
encoders do not know what they are for. Fine-tuning trains them together with the
classifier.
"""

# %%
# Layer by layer
# --------------
# Only the last step sees the labels.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.stacks import fine_tune

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
stack = make_pipeline(
    SparseAutoencoderTransformer(100, tol=0.1, random_state=0),
    SparseAutoencoderTransformer(50, tol=0.1, random_state=0),
    StandardScaler(),
    LogisticRegression(),
).fit(X, y)

# %%
# As one network
# --------------
# `fine_tune` returns a pipeline of the same steps, and leaves the first one as it was.

tuned = fine_tune(stack, X, y, random_state=0)
for name, pipeline in (("layer by layer", stack), ("fine-tuned", tuned)):
    print(
        f"{name:>14}  accuracy {pipeline.score(X, y):.3f} on the training set, "
        f"{pipeline.score(X_test, y_test):.3f} on the test set"
    )

# %%
# What has become of the codes
# ----------------------------
# Each point is the code of a picture of the test set. t-SNE draws codes close together
# that are close among the 50 numbers. Before, some pictures lie among those of another
# digit: the codes were made to reconstruct. Afterwards the labels are in the codes.

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (name, pipeline) in zip(
    axes, (("layer by layer", stack), ("fine-tuned", tuned)), strict=True
):
    codes = pipeline[:3].transform(X_test)
    points = TSNE(init="pca", max_iter=400, random_state=0).fit_transform(codes)
    ax.scatter(*points.T, c=y_test, cmap="tab10", s=8)
    for digit in range(10):
        ax.text(
            *np.median(points[y_test == digit], axis=0),
            str(digit),
            ha="center",
            va="center",
            weight="bold",
            bbox={"boxstyle": "circle,pad=0.15", "color": "white", "alpha": 0.8},
        )
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{name}: {pipeline.score(X_test, y_test):.1%} recognised")
plt.show()

# %%
# What has become of the sparseness
# ---------------------------------
# No penalty holds the mean activations any more. Most units of the first layer still
# are active on few digits.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(range(1, tuned.fine_tuning_.n_iter + 1), tuned.fine_tuning_.loss_curve)
left.set(xlabel="epoch", ylabel="objective", ylim=(0, None), title="Fine-tuning")
bins = np.linspace(0, 0.2, 21)
for label, first in (("layer by layer", stack[0]), ("fine-tuned", tuned[0])):
    right.hist(first.rho_hat_, bins, alpha=0.6, label=label)
right.axvline(stack[0].rho, color="black", linestyle=":", label="rho")
right.set(xlabel="mean activation", ylabel="units", title="First layer")
right.legend()
plt.show()

# %%
# What to take away
# -----------------
# Fine-tuning pays where there are labels for all rows. It costs one call after the
# pipeline is fitted, and what comes out is a pipeline again.
#
# :ref:`stacks` says what is minimised and which steps may stand in the pipeline.

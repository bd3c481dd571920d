"""
Anomaly scores beside PCA and IsolationForest
=============================================

Can the error of reconstruction tell what the training has not seen? One digit after the
other is left out of the training. Then the rows of a test set are scored by how well
they are reconstructed, and the digit that was left out should stand out. PCA and an
isolation forest do the same task.
"""

# %%
# Ten novelties
# -------------
# All three have `score_samples`, which is higher for rows that are more normal. That of
# the autoencoder is minus the squared error of a row, that of PCA a log-likelihood. The
# area under the ROC curve is 1 if all images of the new digit score lower than all
# others, and 0.5 if the score knows nothing of it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from sksparse_ae import SparseAutoencoderTransformer

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
detectors = {
    "sparse autoencoder": SparseAutoencoderTransformer(
        n_components=100, tol=0.1, random_state=0
    ),
    "PCA, 20 components": PCA(20),
    "isolation forest": IsolationForest(random_state=0),
}
areas, normality = {}, {}
for name, detector in detectors.items():
    areas[name] = []
    for digit in range(10):
        scores = detector.fit(X[y != digit]).score_samples(X_test)
        areas[name].append(roc_auc_score(y_test != digit, scores))
        normality[name, digit] = scores
    print(f"{name:<18}  mean area under the curve {np.mean(areas[name]):.3f}")

# %%
# Which digits are hard
# ---------------------
# On the right are the scores of one case, in which the zeros were left out.

LEFT_OUT = 0
figure, (left, *others) = plt.subplots(
    1, 4, figsize=(11, 3.6), layout="constrained", width_ratios=[2.2, 1, 1, 1]
)
for (name, area), marker in zip(areas.items(), "osD", strict=True):
    left.plot(range(10), area, marker, label=name)
left.axhline(0.5, color="0.5", linestyle=":", linewidth=1)
left.set(xticks=range(10), xlabel="digit left out", ylabel="area under the ROC curve")
left.set_title("A digit never seen before")
left.legend(frameon=False, fontsize="small", loc="lower left")
for name, ax in zip(detectors, others, strict=True):
    scores = normality[name, LEFT_OUT]
    bins = np.linspace(*np.quantile(scores, [0.01, 1]), 30)
    for rows, label in ((y_test != LEFT_OUT, "known"), (y_test == LEFT_OUT, "new")):
        ax.hist(scores[rows], bins, density=True, alpha=0.6, label=label)
    ax.set(title=name, xlabel="score_samples", yticks=[])
others[0].legend(frameon=False)
plt.show()

# %%
# The rows that stand out most
# ----------------------------
# The autoencoder also says why: the error of each pixel. Below are the rows of the test
# set of lowest score, what is made of them, and the difference: in red what is there
# and was not expected, in blue what was expected and is missing.

autoencoder = detectors["sparse autoencoder"].fit(X[y != LEFT_OUT])
strangest = np.argsort(autoencoder.score_samples(X_test))[:10]
images = X_test[strangest]
made = autoencoder.reconstruct(images)
figure, axes = plt.subplots(3, 10, figsize=(10, 3.2), layout="constrained")
for column, digit, image, reconstruction in zip(
    axes.T, y_test[strangest], images, made, strict=True
):
    column[0].imshow(image.reshape(8, 8), "gray_r", vmin=0, vmax=16)
    column[0].set_title(f"a {digit}", fontsize="small")
    column[1].imshow(reconstruction.reshape(8, 8), "gray_r", vmin=0, vmax=16)
    error = (image - reconstruction).reshape(8, 8)
    column[2].imshow(error, "RdBu_r", vmin=-12, vmax=12)
for ax, label in zip(
    axes[:, 0], ("picture", "reconstructed", "difference"), strict=True
):
    ax.set_ylabel(label, fontsize="small")
for ax in axes.ravel():
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# What to take away
# -----------------
# A code of few active units can only write what the training had in it, so a new digit
# is reconstructed badly. Directions of large variance, as in PCA, are shared by all
# digits, and a new one lies in them as well. A threshold is yours to choose: a low
# quantile of the scores of rows that you know to be normal.
#
# The squared error is in the units of the data. Standardise the columns first if
# theirs differ, as in :ref:`sphx_glr_auto_examples_tables_mixed_table.py`.

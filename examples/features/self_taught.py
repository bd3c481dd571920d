"""
Self-taught learning: features from one task help another
=========================================================

Labels are few, but unlabelled pictures of something similar are many: do features
learned from those help? Ng's exercise on self-taught learning learns features from the
digits 5 to 9, without labels, and uses them to tell the digits 0 to 4 apart. This
example repeats it on the small digits of scikit-learn, for growing numbers of labels.
"""

# %%
# Two sets of pictures
# --------------------
# The first set has no labels, and none of the digits that are to be recognised.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

X, y = load_digits(return_X_y=True)
unlabelled = X[y >= 5]
X, y = X[y < 5], y[y < 5]
print(f"{len(unlabelled)} pictures without labels, {len(X)} with labels")

# %%
# Features of the first set
# -------------------------
# The settings are those of the exercise: 200 units, rho = 0.1, beta = 3 and
# lambda = 3e-3. The exercise has a sigmoid output and pictures of 784 pixels. With the
# 64 pixels here, its weight decay would be too strong for a sigmoid output, and make
# some units constant. The linear output, the default, brings the data to a scale for
# which the number is right.

autoencoder = SparseAutoencoderTransformer(
    n_components=200, rho=0.1, beta=3.0, weight_decay=3e-3, random_state=0
).fit(unlabelled)
print(f"mean activation  {autoencoder.rho_hat_.mean():.3f}")
print(f"mean sparseness  {autoencoder.sparseness_:.2f}")

# %%
# A classifier for the second set
# -------------------------------
# A logistic regression sees a few labelled pictures, once as pixels and once as codes.
# It is tested on 400 others, and all is repeated for ten random choices.

numbers = [25, 50, 100, 200, 400]
inputs = {"pixels": X, "codes": autoencoder.transform(X)}
accuracies = {name: [] for name in inputs}
for n_labels in numbers:
    splits = StratifiedShuffleSplit(
        10, train_size=n_labels, test_size=400, random_state=0
    )
    for name, rows in inputs.items():
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        accuracies[name].append(cross_val_score(classifier, rows, y, cv=splits))

print("labels  pixels  codes")
for i, n_labels in enumerate(numbers):
    means = [accuracies[name][i].mean() for name in inputs]
    print("{:>6}    {:.3f}  {:.3f}".format(n_labels, *means))

# %%
# Errors are drawn on a logarithmic scale. The bars are the standard error over the
# ten choices.

figure, (first, second, right) = plt.subplots(
    1, 3, figsize=(10.5, 3.8), layout="constrained", width_ratios=[1, 1, 1.5]
)
for ax, rows, title in (
    (first, unlabelled, "features from these,\nwithout labels"),
    (second, X, "to tell these apart,\nby few labels"),
):
    tiles = np.pad(rows[:36].reshape(6, 6, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    ax.imshow(tiles.transpose(0, 2, 1, 3).reshape(60, 60), "gray_r")
    ax.set_axis_off()
    ax.set_title(title)
for (name, found), style in zip(accuracies.items(), ("C1s--", "C0o-"), strict=True):
    errors = 1 - np.array(found)
    spread = errors.std(axis=1) / np.sqrt(errors.shape[1])
    mean = errors.mean(axis=1)
    right.errorbar(numbers, 100 * mean, 100 * spread, fmt=style, label=name)
right.set(xscale="log", yscale="log", xlabel="labelled pictures", ylabel="errors in %")
right.set_title("A logistic regression on")
for axis, ticks in ((right.xaxis, numbers), (right.yaxis, [0.5, 1, 2, 5, 10])):
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axis.set_ticks([], minor=True)
right.legend(frameon=False)
plt.show()

# %%
# What to take away
# -----------------
# The codes need fewer labels than the pixels for the same accuracy. They were learned
# from other digits, but from the same strokes. That the two sets share parts is what
# makes it work: on Fashion-MNIST, features of shoes and bags made no difference to a
# classifier of shirts and trousers.
#
# If the labels belong to the very pictures that the features come from, go on to train
# both together: :ref:`sphx_glr_auto_examples_features_fine_tuning.py`.

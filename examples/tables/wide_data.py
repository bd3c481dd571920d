"""
More columns than rows
======================

What can be learned from 200 rows of 1728 columns? As in tables of genes there are far
more columns than rows, and a network can know the rows by heart. The example shows what
that looks like, and that `weight_decay` prevents it.
"""

# %%
# The rows
# --------
# Each is a patch of 24x24 pixels in three colours, one half from a photograph of a
# temple, the other from one of a flower. Which one a patch comes from is what a
# classifier is to tell in the end.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.metrics import variance_explained

X = load_natural_image_patches(
    300, patch_size=24, color=True, normalize=False, random_state=0
).astype("float32")
y = np.repeat(["temple", "flower"], 150)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
print(f"{len(X)} rows of {X.shape[1]} columns, two thirds of them to train on")

# %%
# Growing weight decay
# --------------------
# Twenty units, fewer than there are rows. The variance that is explained of the rows
# trained on is compared with that of the others.


def classifier(*features):
    """Return a logistic regression on the standardised features."""
    return make_pipeline(*features, StandardScaler(), LogisticRegression(max_iter=1000))


decays = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
scoring = {"explained": variance_explained, "accuracy": "accuracy"}
found = {"train_explained": [], "test_explained": [], "test_accuracy": []}
print("weight_decay  explained  of new rows  accuracy")
for decay in decays:
    autoencoder = SparseAutoencoderTransformer(
        n_components=20, weight_decay=decay, tol=0.01, random_state=0
    )
    scores = cross_validate(
        classifier(autoencoder),
        X,
        y,
        cv=folds,
        scoring=scoring,
        return_train_score=True,
    )
    for name, means in found.items():
        means.append(scores[name].mean())
    print(
        "{:>12g}  {:>9.2f}  {:>11.2f}  {:>8.2f}".format(
            decay, *(means[-1] for means in found.values())
        )
    )

# %%
# Beside it, the same classifier on the columns themselves and on principal components.

accuracies = {
    name: cross_validate(classifier(*features), X, y, cv=folds)["test_score"].mean()
    for name, features in (("columns", ()), ("PCA, 20 components", (PCA(20),)))
}
for name, accuracy in accuracies.items():
    print(f"{name:<20} accuracy {accuracy:.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(decays, found["train_explained"], "o--", label="rows trained on")
left.plot(decays, found["test_explained"], "s-", label="new rows")
left.set(xscale="log", xlabel="weight_decay", ylabel="variance explained")
left.legend(frameon=False)
right.plot(decays, found["test_accuracy"], "s-", color="C1", label="codes")
for (name, accuracy), style in zip(accuracies.items(), (":", "--"), strict=True):
    right.axhline(accuracy, color="0.4", linestyle=style, label=name)
right.set(xscale="log", xlabel="weight_decay", ylabel="accuracy on new rows")
right.legend(frameon=False)
plt.show()

# %%
# What to take away
# -----------------
# With the weight decay that suits many rows, the network explains the rows it knows and
# not others. A larger one closes the gap, and the codes then say more about new rows
# than columns or principal components do. Look for it by cross-validation, in steps of
# three, and keep fewer units than rows.
#
# :ref:`wide_data` repeats this on a table of genes whose factors are known, and says
# which of the decays to take.

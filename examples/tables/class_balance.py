"""
A rare class: balance through sample_weight
===========================================

What becomes of a rare digit, when the units are few and are spent on what is common? 15
eights stand beside 800 other digits. With balanced weights each digit counts alike, in
the features and in the classifier. Metadata routing takes the weights through a
pipeline to the steps that ask for them.
"""

# %%
# A rare digit
# ------------
# Half of the images are kept to test on, with all of their eights.

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from sksparse_ae import SparseAutoencoderTransformer

RARE, N_RARE, SEEDS = 8, 15, range(5)

X, y = load_digits(return_X_y=True)


def rare_digit(seed):
    """Return rows and labels to train on and to test on."""
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    kept = y_train != RARE
    kept[np.flatnonzero(~kept)[:N_RARE]] = True
    return X_train[kept], X_test, y_train[kept], y_test


# %%
# The steps that ask for the weights
# ----------------------------------
# What `fit` of the pipeline is given reaches the steps whose `set_fit_request` says so.

sklearn.set_config(enable_metadata_routing=True)


def make_classifier(seed, *, features, classifier):
    """Return a pipeline of which the features, the classifier or both ask for them."""
    autoencoder = SparseAutoencoderTransformer(
        n_components=30, tol=0.01, random_state=seed
    )
    return make_pipeline(
        autoencoder.set_fit_request(sample_weight=features),
        StandardScaler().set_fit_request(sample_weight=features),
        LogisticRegression(max_iter=1000).set_fit_request(sample_weight=classifier),
    )


# %%
# What they change
# ----------------
# Four ways to use the weights, each for five seeds.


def measure(seed, features, classifier):
    """Return squared errors and accuracies of new eights and of other digits."""
    X_train, X_test, y_train, y_test = rare_digit(seed)
    pipeline = make_classifier(seed, features=features, classifier=classifier)
    # A pipeline of which no step asks for weights refuses them.
    balanced = {"sample_weight": compute_sample_weight("balanced", y_train)}
    pipeline.fit(X_train, y_train, **(balanced if features or classifier else {}))
    values = [
        pipeline[0].reconstruction_error(X_test),
        pipeline.predict(X_test) == y_test,
    ]
    is_rare = y_test == RARE
    return [v[rows].mean() for v in values for rows in (is_rare, ~is_rare)]


ways = {
    "nothing": (False, False),
    "the classifier": (False, True),
    "the features": (True, False),
    "both": (True, True),
}
found = {
    name: np.mean([measure(seed, *asking) for seed in SEEDS], axis=0)
    for name, asking in ways.items()
}
sklearn.set_config(enable_metadata_routing=False)

print("                  squared error       accuracy")
print("weights in        eights  others   eights  others")
for name, means in found.items():
    print("{:<16} {:7.0f} {:7.0f} {:8.3f} {:7.3f}".format(name, *means))

# %%
# The same as a picture. The grey lines start at the pipeline without weights.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
lines = np.arange(len(found))
for ax, first, title in ((left, 0, "squared error"), (right, 2, "share recognised")):
    for column, name in ((first, "eights"), (first + 1, "other digits")):
        values = np.array([means[column] for means in found.values()])
        ax.hlines(lines, values[0], values, color="0.7")
        ax.plot(values, lines, "o", label=name)
    ax.set(title=title, yticks=lines, ylim=(3.5, -0.5))
left.set_yticks(lines, [f"weights in {name}" for name in found])
right.set_yticks(lines, [])
left.set_xlim(0)
left.legend(frameon=False)
plt.show()

# %%
# What to take away
# -----------------
# With weights in the features, new eights are reconstructed better, and the other
# digits hardly worse. With weights in the classifier as well, most of the eights are
# recognised that were missed before. If units are plenty, the features have room for
# all digits, and the classifier gains most.
#
# :ref:`sample_weight` says what a weight means and what takes one.

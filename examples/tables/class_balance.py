"""
Class balance through sample_weight
===================================

One of ten digits is rare: 15 eights stand beside 800 others. Thirty units are spent on
what is common. With balanced weights each digit counts alike, in the features and in
the classifier. Metadata routing takes the weights through a pipeline to the steps that
ask for them.
"""

# %%
# A rare digit
# ------------
# Half of the images are kept to test on, with all of their eights.

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
    autoencoder = SparseAutoencoderTransformer(n_components=30, random_state=seed)
    return make_pipeline(
        autoencoder.set_fit_request(sample_weight=features),
        StandardScaler().set_fit_request(sample_weight=features),
        LogisticRegression(max_iter=1000).set_fit_request(sample_weight=classifier),
    )


# %%
# What they change
# ----------------
# Eights that are new are reconstructed better and recognised more often, the other
# digits hardly worse. The mean activation that the penalty holds near rho is a weighted
# one: the eights are in it by a tenth, and so are nearer to rho.


def measure(seed, features, classifier):
    """Return squared errors, mean codes and accuracies of new eights and others."""
    X_train, X_test, y_train, y_test = rare_digit(seed)
    pipeline = make_classifier(seed, features=features, classifier=classifier)
    # A pipeline of which no step asks for weights refuses them.
    balanced = {"sample_weight": compute_sample_weight("balanced", y_train)}
    pipeline.fit(X_train, y_train, **(balanced if features or classifier else {}))
    values = [
        pipeline[0].reconstruction_error(X_test),
        pipeline[0].transform(X_test).mean(axis=1),
        pipeline.predict(X_test) == y_test,
    ]
    is_rare = y_test == RARE
    return [v[rows].mean() for v in values for rows in (is_rare, ~is_rare)]


print("                  squared error   mean activation    accuracy")
print("weights in        eights  others   eights  others   eights  others")
for name, *asking in (
    ("nothing", False, False),
    ("the classifier", False, True),
    ("the features", True, False),
    ("both", True, True),
):
    found = np.mean([measure(seed, *asking) for seed in SEEDS], axis=0)
    print("{:<16} {:7.0f} {:7.0f} {:8.3f} {:7.3f} {:8.3f} {:7.3f}".format(name, *found))

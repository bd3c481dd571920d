"""
TopK beside KL, PCA, NMF and dictionary learning
================================================

Which sparse code explains most with how few numbers a row? `sparsity="topk"` keeps the
largest activations of each row, and "kl", Ng's penalty, holds the mean activations
down. This example draws both beside three neighbours in scikit-learn: the variance that
is explained of held-out digits against the number of active codes.
"""

# %%
# The estimators
# --------------
# Each is fitted for growing numbers of active codes. PCA and NMF have as many
# components as that. The autoencoders and the dictionary have 64 units, of which a row
# uses few. The dictionary finds the codes of each row by orthogonal matching pursuit.

import copy
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA, MiniBatchDictionaryLearning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.inspection import CodeTradeoffDisplay

X, _ = load_digits(return_X_y=True)
X, X_test = train_test_split(X, test_size=0.3, random_state=0)

numbers = [6, 10, 20]
common = {"n_components": 64, "tol": 0.1, "random_state": 0}
estimators = {
    "topk": [
        SparseAutoencoderTransformer(sparsity="topk", rho=k / 64, **common).fit(X)
        for k in numbers
    ],
    "kl": [
        SparseAutoencoderTransformer(rho=rho, **common).fit(X)
        for rho in (0.02, 0.05, 0.2)
    ],
    "PCA": [PCA(k).fit(X) for k in numbers],
    "NMF": [NMF(k, init="nndsvda", max_iter=2000).fit(X) for k in (8, 20)],
}
dictionary = make_pipeline(
    StandardScaler(with_std=False),
    MiniBatchDictionaryLearning(
        64,
        alpha=10,
        max_iter=10,
        fit_algorithm="cd",
        transform_algorithm="omp",
        random_state=0,
    ),
).fit(X)
estimators["dictionary learning"] = []
for k in numbers:
    of_k = copy.deepcopy(dictionary)
    of_k[1].set_params(transform_n_nonzero_coefs=k)
    estimators["dictionary learning"].append(of_k)

# %%
# Explained by how many codes?
# ----------------------------
# A sigmoid unit is never exactly off. It counts as active above 0.1, and what the codes
# below that add is left out of the variance explained.

display = CodeTradeoffDisplay.from_estimators(estimators, X_test)
display.ax_.set_title("held-out digits")
plt.show()

print(display.frame().round(2).to_string())

# %%
# The dictionary looks for the best codes of each row, and the autoencoder computes them
# in one step.

for name in ("topk", "dictionary learning"):
    begin = time.perf_counter()
    estimators[name][0].transform(X_test)
    seconds = time.perf_counter() - begin
    print(f"{name:<20}{1e6 * seconds / len(X_test):6.0f} microseconds a row")

# %%
# What a code stands for
# ----------------------
# Ten directions of each: what a code of 1 adds to a picture.

atoms = {
    "topk": estimators["topk"][1].coefs_[1],
    "kl": estimators["kl"][1].coefs_[1],
    "PCA": estimators["PCA"][-1].components_,
    "NMF": estimators["NMF"][-1].components_,
    "dictionary\nlearning": dictionary[1].components_,
}
figure, axes = plt.subplots(5, 10, figsize=(9, 5), layout="constrained")
for line, (name, directions) in zip(axes, atoms.items(), strict=True):
    for ax, direction in zip(line, directions, strict=False):
        limit = np.abs(direction).max()
        ax.imshow(direction.reshape(8, 8), "RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
plt.show()

# %%
# What to take away
# -----------------
# A row that may use any few of 64 directions is explained better than by the same few
# directions for all rows, as in PCA. Dictionary learning explains most, at the price of
# a search for the codes of each row. TopK comes near it in one step, with codes that
# are exactly 0. The penalty needs somewhat more active codes for the same share, and
# its activations between 0 and 1 can be read as how sure a unit is.
#
# :ref:`selections` says how the activations are chosen and what happens to new rows.

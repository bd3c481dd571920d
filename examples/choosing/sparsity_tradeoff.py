"""
Sparsity against reconstruction, over rho and beta
==================================================

How are rho and beta chosen? A sparser code reconstructs less. How sparse it is depends
on rho, the mean activation that is asked of each unit, and on beta, how firmly. A
search measures both on held-out digits, and `SparsestWithin` chooses the sparsest code
that explains nearly as much of the variance as the best.
"""

# %%
# Search
# ------
# Two scorers at once. `variance_explained` contains no penalty; `hoyer_sparseness` is 0
# for units that are constant and 1 - sqrt(rho) for units that are either on or off.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.inspection import SearchDisplay
from sksparse_ae.metrics import SparsestWithin, get_scorers
from sksparse_ae.model_selection import train_together

X, _ = load_digits(return_X_y=True)
scorers = ["variance_explained", "hoyer_sparseness"]
search = GridSearchCV(
    SparseAutoencoderTransformer(n_components=50, tol=0.1, random_state=0),
    {"rho": [0.01, 0.02, 0.05, 0.1], "beta": [0.1, 0.3, 1.0, 3.0]},
    scoring=get_scorers(*scorers),
    refit=SparsestWithin(tolerance=0.05),
    cv=2,
)
with train_together():  # candidates of a fold share their steps
    search.fit(X)

scores = search.cv_results_
print(f"most variance explained  {scores['mean_test_variance_explained'].max():.3f}")
print(f"chosen                   {search.best_params_}")
for name in scorers:
    print(f"{name:>23}  {scores[f'mean_test_{name}'][search.best_index_]:.3f}")

# %%
# The trade-off
# -------------
# Both scores over rho and beta, with the chosen pair marked, and one against the other:
# each line is a rho, each point on it a beta. Towards larger beta the codes become
# sparser and explain less, and lines of smaller rho reach further. The lines nearly
# coincide: what a given sparseness costs hardly depends on whether rho or beta has
# brought it about.

figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
for axis, score in zip(axes, scorers, strict=False):
    SearchDisplay.from_estimator(search, score=score, ax=axis)

sparseness = scores["mean_test_hoyer_sparseness"]
explained = scores["mean_test_variance_explained"]
for rho, marker in zip([0.01, 0.02, 0.05, 0.1], "osD^", strict=True):
    of_rho = scores["param_rho"] == rho
    axes[2].plot(
        sparseness[of_rho],
        explained[of_rho],
        marker=marker,
        label=rf"$\rho = {rho:g}$",
    )
threshold = explained.max() - search.refit.tolerance
axes[2].axhline(threshold, color="0.4", linestyle="--", linewidth=1)
axes[2].text(
    sparseness.max(),
    threshold,
    f"best - {search.refit.tolerance:g}",
    color="0.3",
    ha="right",
    va="bottom",
)
axes[2].set(xlabel="Hoyer sparseness", ylabel="variance explained")
axes[2].legend(frameon=False)
plt.show()

# %%
# What to take away
# -----------------
# Choose by both scores. The variance explained alone chooses the smallest beta, and the
# sparseness alone the largest. Decide what share of the variance you can spare, and let
# the search find the sparsest code within it. If the chosen pair lies at the edge of
# the grid, widen the grid there.
#
# :ref:`scorers` explains these scores and others.

"""
A table of numbers, categories and gaps
=======================================

How does a real table get into the autoencoder, and how do its names get out? The Palmer
penguins have four measurements, an island and a sex, and some of these are missing. A
`ColumnTransformer` prepares the columns, the autoencoder takes the gaps as they are,
and the names of the columns stay with the weights.
"""

# %%
# The table
# ---------

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from palmerpenguins import load_penguins
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

penguins = load_penguins()
numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
categories = ["island", "sex"]
print(penguins[[*numbers, *categories]].iloc[:5].to_string())
print(f"\n{len(penguins)} rows, missing values:")
print(penguins[[*numbers, *categories]].isna().sum().to_string())

# %%
# Prepare the columns
# -------------------
# Numbers are standardised, because grams would outweigh millimetres, and their gaps
# stay gaps. Each category becomes a column of zeros and ones. A missing sex becomes a
# category of its own.

prepare = make_column_transformer(
    (StandardScaler(), numbers),
    (OneHotEncoder(sparse_output=False), categories),
    verbose_feature_names_out=False,
).set_output(transform="pandas")
X = prepare.fit_transform(penguins)
print(*X.columns, sep="\n")

# %%
# Fit
# ---
# Eight units for ten columns, each active on about a tenth of the birds. So few units,
# with ten times the usual weight decay, each stand for several columns. L-BFGS takes a
# moment on so few rows. The species is not among the columns.

autoencoder = SparseAutoencoderTransformer(
    n_components=8,
    rho=0.1,
    weight_decay=0.03,
    solver="lbfgs",
    max_iter=1000,
    random_state=0,
).set_output(transform="pandas")
codes = autoencoder.fit_transform(X)
codes.columns = [f"unit {unit}" for unit in range(8)]
print(f"variance explained  {autoencoder.score(X):.2f}")
print(f"mean sparseness     {autoencoder.sparseness_:.2f}")

# %%
# What the units have found
# -------------------------
# On the left, what each unit adds to which column. On the right, how active it is in
# which birds.

weights = pd.DataFrame(autoencoder.coefs_[1], codes.columns, X.columns)
birds = codes.groupby([penguins["species"], penguins["sex"]]).mean()
units = birds.to_numpy().argmax(axis=0).argsort(kind="stable")

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.4), layout="constrained", width_ratios=[1.4, 1], sharey=True
)
limit = np.abs(weights.to_numpy()).max()
drawn = left.imshow(weights.iloc[units], "RdBu_r", vmin=-limit, vmax=limit)
figure.colorbar(drawn, ax=left, label="what the unit adds", shrink=0.8)
left.set_xticks(range(10), weights.columns, rotation=50, ha="right")
left.set_yticks(range(8), weights.index[units])
drawn = right.imshow(birds.T.iloc[units], "Blues", vmin=0, aspect="auto")
figure.colorbar(drawn, ax=right, label="mean activation", shrink=0.8)
names = [f"{species}, {sex}" for species, sex in birds.index]
right.set_xticks(range(6), names, rotation=50, ha="right")
plt.show()

# %%
# Fill the gaps
# -------------
# `impute` fills what is missing by what is reconstructed. To see how well, a fifth of
# the measurements is hidden, and the same network is fitted to the rest. Filling in the
# mean of the column has an error of about one standard deviation.

hidden = X.copy()
rng = np.random.default_rng(0)
gaps = rng.random((len(X), len(numbers))) < 0.2
hidden[numbers] = X[numbers].mask(gaps)
filled = autoencoder.fit(hidden).impute(hidden)
filled = pd.DataFrame(np.asarray(filled), columns=X.columns)
print("error of the filled values, in standard deviations")
for column in numbers:
    was_known = hidden[column].isna() & X[column].notna()
    errors = (filled[column] - X[column])[was_known]
    print(f"  {column:<18} {np.sqrt(np.square(errors).mean()):.2f}")

# %%
# The report
# ----------
# One page lists the units with the columns they depend on and the birds that activate
# them most. It needs no network and can be mailed.

with tempfile.TemporaryDirectory() as folder:
    path = autoencoder.report(X, Path(folder) / "penguins.html")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")

# %%
# What to take away
# -----------------
# Standardise numbers, encode categories, leave gaps. With data frames the names of the
# columns are in `feature_names_in_`, in the report and in what you draw.
#
# :ref:`tables` has more on scalers and counts, :ref:`missing_values` on gaps, and
# :ref:`report` describes the page.

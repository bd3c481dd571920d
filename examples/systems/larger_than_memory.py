"""
Rows in many files, more than memory holds
==========================================

How are rows fitted that lie in many files and do not fit in memory? `fit` takes the
list of files, and reads them in turns. The example shows that nothing depends on how
the rows are cut into files, and why `partial_fit`, one file after the other, is not the
same.
"""

# %%
# Ten files
# ---------
# Here they are small, and each holds the images of one digit. That is the worst case of
# files in which the rows drift: by day, by patient, by instrument.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sksparse_ae import SparseAutoencoderTransformer

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
folder = tempfile.TemporaryDirectory()
paths = []
for digit in range(10):
    paths.append(Path(folder.name) / f"rows_{digit}.npy")
    np.save(paths[-1], X[y == digit])
print(f"{len(paths)} files, {paths[0].name} to {paths[-1].name}")

# %%
# A list of files
# ---------------
# A block of rows is the path of a `.npy` file, an array, a memory map, or what an
# object of your own reads from anywhere. One block is held at a time. Up to 256 MiB,
# each epoch takes the rows of all files in a new random order. More is streamed, in
# runs of 256 MiB that are taken in random order and shuffled within.

autoencoder = SparseAutoencoderTransformer(n_components=30, tol=0.01, random_state=0)
autoencoder.fit(paths)

joined = np.concatenate([np.load(path) for path in paths])
in_memory = SparseAutoencoderTransformer(**autoencoder.get_params()).fit(joined)
same = np.array_equal(autoencoder.coefs_[0], in_memory.coefs_[0])
print(f"the weights are those of one array, to the bit: {same}")

# %%
# Codes may be larger than the rows. `transform` writes them to a memory map, chunk by
# chunk.

codes = np.lib.format.open_memmap(
    Path(folder.name) / "codes.npy", "w+", np.float32, (len(joined), 30)
)
autoencoder.transform(paths, out=codes)
print(f"codes: {codes.shape}, {codes.nbytes / 1e6:.1f} MB on disk")

# %%
# One file after the other
# ------------------------
# `partial_fit` takes a few steps on the rows it is given, and knows nothing of the
# others. Eight rounds over the files are compared with eight rounds over the same rows
# in random order.

stream = SparseAutoencoderTransformer(n_components=30, random_state=0)
for _ in range(8):
    for path in paths:
        stream.partial_fit(np.load(path))

rounds = SparseAutoencoderTransformer(n_components=30, random_state=0)
rng = np.random.default_rng(0)
for _ in range(8):
    for rows in np.array_split(rng.permutation(len(joined)), len(paths)):
        rounds.partial_fit(joined[rows])

# %%
# What is explained of each file, as a share of the variance of all rows.

variance = joined.var(axis=0).sum()
fits = {
    "fit, list of files": autoencoder,
    "partial_fit, rows shuffled": rounds,
    "partial_fit, file by file": stream,
}
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, estimator), style in zip(fits.items(), ("o-", "^--", "s:"), strict=True):
    errors = [estimator.reconstruction_error(np.load(path)).mean() for path in paths]
    ax.plot(range(10), np.array(errors) / variance, style, label=name)
    print(f"{name:<28} variance explained {estimator.score(joined):.3f}")
ax.set(
    xticks=range(10),
    xlabel="file, in the order in which they are read",
    ylabel="unexplained variance",
    ylim=(0, None),
)
ax.legend(frameon=False)
plt.show()

folder.cleanup()

# %%
# What to take away
# -----------------
# If the rows are there, in whatever number of files, give `fit` the list: it shuffles
# across files, ends by itself and reports an exact objective. With `partial_fit` each
# file pulls the weights towards its own rows, and none is explained well. Keep it for
# rows that arrive and are gone, and mix them before if you can.
#
# :ref:`blocks` says what a block may be. Rows on several machines are for
# :ref:`sphx_glr_auto_examples_systems_cluster.py`.

"""
A stack of two autoencoders, fine-tuned
=======================================

Two sparse autoencoders in a pipeline, the second trained on the codes of the first, and
a logistic regression: Ng's stacked autoencoder. Trained layer by layer it does not know
what it is for. Fine-tuning then trains encoders and classifier as one network.
"""

# %%
# Layer by layer
# --------------
# Only the last step sees the labels.

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
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
# The result is a pipeline of the same steps; the first one is left as it was.

tuned = fine_tune(stack, X, y, random_state=0)
for name, pipeline in (("layer by layer", stack), ("fine-tuned", tuned)):
    print(
        f"{name:>14}  accuracy {pipeline.score(X, y):.3f} on the training set, "
        f"{pipeline.score(X_test, y_test):.3f} on the test set"
    )

# %%
# What has become of the units
# ----------------------------
# Most units of the first layer are still active on few digits, though nothing holds
# their mean activations at rho any more.

import matplotlib.pyplot as plt
import numpy as np

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
left.plot(range(1, tuned.fine_tuning_.n_iter + 1), tuned.fine_tuning_.loss_curve)
left.set(xlabel="epoch", ylabel="objective", ylim=(0, None), title="Fine-tuning")
bins = np.linspace(0, 0.2, 21)
for label, first in (("layer by layer", stack[0]), ("fine-tuned", tuned[0])):
    right.hist(first.rho_hat_, bins, alpha=0.6, label=label)
right.axvline(stack[0].rho, color="black", linestyle=":", label="rho")
right.set(xlabel="mean activation", ylabel="units", title="First layer")
right.legend()
figure.savefig("fine_tuning.png", dpi=150)
print("saved fine_tuning.png")

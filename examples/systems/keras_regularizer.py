"""
Ng's sparsity penalty as a Keras activity regularizer
=====================================================

How is the sparsity penalty of Andrew Ng's autoencoder written for Keras, what does
Keras pass to it, and how does the whole cost function come together? In plain Keras the
penalty is one argument of a layer. This example shows what the regularizer is given,
which factors the terms need, and what the size of a batch changes.
"""

# %%
# What the regularizer is given
# -----------------------------
# The output of the layer for one batch: rows are samples, columns are units. So the
# mean over axis 0 is the mean activation of each unit over this batch, an estimate of
# Ng's mean over all samples. What is added to the loss of the batch is beta times the
# sum of the divergences, here computed once more by hand.

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.utils import shuffle

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.regularizers import KLDivergenceRegularizer

patches = load_natural_image_patches(4_000, patch_size=24, random_state=0)
patches = shuffle(patches, random_state=0).astype("float32")

layer = keras.layers.Dense(
    250, "sigmoid", activity_regularizer=KLDivergenceRegularizer(rho=0.1, beta=6.0)
)
activations = np.asarray(layer(patches[:50]))
rho, rho_hat = 0.1, activations.mean(axis=0)
divergence = rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))
print(f"shape of a batch's activations  {activations.shape}")
print(f"penalty by hand                 {6.0 * divergence.sum():.3f}")
print(f"penalty in layer.losses         {float(layer.losses[0]):.3f}")

# %%
# The whole cost function
# -----------------------
# Ng's cost is half the squared error, summed over the D features and averaged over the
# samples, plus lambda / 2 times the squared weights, plus beta times the divergences.
# The loss "mse" is a mean over the features: it is the first term times 2 / D, so the
# others have to be multiplied by 2 / D as well. Read the other way round, beta = 6
# beside "mse" on 576 features is Ng's beta = 1728, if Keras does not divide it by the
# size of a batch. Keras' ``L2(l)`` adds l times the squared weights, so that l is
# lambda / D.


def whole_cost(n_components, beta, weight_decay, regularizer, n_features=576):
    """Return a model whose loss is 2 / n_features times Ng's cost."""
    decay = keras.regularizers.L2(weight_decay / n_features)
    model = keras.Sequential(
        [
            keras.Input((n_features,)),
            keras.layers.Dense(
                n_components,
                activation="sigmoid",
                kernel_regularizer=decay,
                activity_regularizer=regularizer(rho, 2 * beta / n_features),
            ),
            keras.layers.Dense(
                n_features, activation="sigmoid", kernel_regularizer=decay
            ),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    return model


# %%
# The estimator minimises that cost as it stands in the lecture notes, with the same
# beta, rho and lambda. In the plain Keras model its weights give the same number, if
# all samples make one batch.

autoencoder = SparseAutoencoderTransformer(
    n_components=250,
    rho=rho,
    beta=3.0,
    weight_decay=1e-4,
    output_activation="sigmoid",
    tol=0.05,
    n_iter_no_change=3,
    random_state=0,
).fit(patches)
(W1, W2), (b1, b2) = autoencoder.coefs_, autoencoder.intercepts_
plain = whole_cost(250, 3.0, 1e-4, KLDivergenceRegularizer)
plain.set_weights([W1, b1, W2, b2])
loss = plain.evaluate(patches, patches, batch_size=len(patches), verbose=0)
print("  ".join(f"{term} {x:.4f}" for term, x in autoencoder.objective_.items()))
print(f"576 / 2 times the loss of plain Keras: {576 / 2 * loss:.4f}")

# %%
# The size of a batch
# -------------------
# A regularizer that returns the bare penalty, as in many answers to this question, is
# at the mercy of the version of Keras. From 3.14 on, Keras divides what an activity
# regularizer returns by the size of the batch, as Keras 2 did; from 3.0 to 3.13 it does
# not.


class BarePenalty(keras.regularizers.Regularizer):
    """The penalty as it is usually written."""

    def __init__(self, rho, beta):
        self.rho, self.beta = rho, beta

    def __call__(self, x):
        """Return beta times the divergences of the means over the batch."""
        mean = keras.ops.mean(x, axis=0)
        return self.beta * keras.ops.sum(
            self.rho * keras.ops.log(self.rho / mean)
            + (1 - self.rho) * keras.ops.log((1 - self.rho) / (1 - mean))
        )


# %%
# ``KLDivergenceRegularizer`` adds the penalty itself on every version and at every
# batch size. Below, both are asked for the penalty of two encoders: one with the
# weights that Keras starts from, and the one that was trained above.


def penalties(regularizer, weights):
    """Return the penalty that Keras adds, averaged over the batches of each size."""
    layer = keras.layers.Dense(
        250, "sigmoid", activity_regularizer=regularizer(rho, 3.0)
    )
    layer.build((None, 576))
    layer.set_weights(weights)
    found = []
    for batch_size in batch_sizes:
        of_batches = []
        for start in range(0, len(patches), batch_size):
            layer(patches[start : start + batch_size])
            of_batches.append(float(layer.losses[0]))
        found.append(np.mean(of_batches))
    return found


batch_sizes = [20, 50, 200, 1000, 4000]
start = keras.layers.Dense(250)
start.build((None, 576))
encoders = {"start": start.get_weights(), "trained": [W1, b1]}

print(f"penalty by batch size, Keras {keras.__version__}")
print(" " * 33 + "".join(f"{batch_size:>9}" for batch_size in batch_sizes))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, (name, weights) in zip(axes, encoders.items(), strict=True):
    for regularizer, style in ((BarePenalty, "s:"), (KLDivergenceRegularizer, "o-")):
        found = penalties(regularizer, weights)
        label = regularizer.__name__
        print(f"{name:>8}, {label:<23}" + "".join(f"{x:9.3f}" for x in found))
        ax.plot(batch_sizes, found, style, label=label)
    ax.axhline(found[-1], color="0.5", linestyle="--", label="all samples at once")
    ax.set(xscale="log", yscale="log", xlabel="batch size", title=f"weights: {name}")
    ax.set_xticks(batch_sizes, batch_sizes)
    ax.set_xticks([], minor=True)
axes[0].set_ylabel("penalty that Keras adds")
axes[0].legend(frameon=False)
plt.show()

# %%
# The bare penalty is right or wrong by the factor of the batch size. The right picture
# shows what is left with ``KLDivergenceRegularizer``. The mean of a small batch strays
# from rho, even if the mean of all rows is rho. KL is convex. So the penalty, averaged
# over the batches, is larger than that of the mean of all rows. It pulls at the very
# units that vary.
# ``KLSparsity(momentum=...)`` and the estimator train with a running mean instead, and
# the model of ``to_keras()`` evaluates to Ng's cost at any batch size.

network = autoencoder.to_keras()
for batch_size in (50, 1000):
    loss = network.evaluate(patches, patches, batch_size=batch_size, verbose=0)
    print(f"to_keras() in batches of {batch_size}: {loss:.4f}")

# %%
# Units that leave (0, 1)
# -----------------------
# The divergence compares two probabilities: sigmoid units live in (0, 1), relu units do
# not. Their mean may pass 1, where log(1 - mean) makes the formula NaN as it stands.
# Here the divergence goes on along its tangent, very steep, so that the unit comes
# back. ``activation_range=(0, 1)`` says that a mean of 1 is meant to be the largest;
# for tanh units, ``activation_range=(-1, 1)`` compares (mean + 1) / 2 with rho. Better
# use sigmoid units: a relu unit that is 0 for all samples has no gradient, and stays
# there.

too_large = np.full((50, 250), 1.5, dtype="float32")
relu = KLDivergenceRegularizer(rho=0.1, beta=6.0, activation_range=(0, 1))
print(
    f"bare penalty, means of 1.5             {float(BarePenalty(0.1, 6.0)(too_large))}"
)
print(f"KLDivergenceRegularizer, means of 1.5  {float(relu(too_large)):.3g}")

# %%
# Saving
# ------
# Keras rebuilds a regularizer from what ``get_config`` returns. If rho and beta are not
# in it, a model that is loaded goes on training with the defaults, or does not load.
# Here they are, and the class is registered: import ``sksparse_ae.regularizers``, then
# ``keras.models.load_model`` needs no ``custom_objects``.

print(relu.get_config())

# %%
# What to take away
# -----------------
# ``x`` is the batch of activations, samples by units. Beside "mse" multiply beta by
# 2 / D. Let the regularizer take care of the version of Keras, and take large batches
# or a running mean, as one batch is not the training set.
#
# :ref:`activity_regularizer` derives the factors.

"""
Ng's sparsity penalty as a Keras activity regularizer
=====================================================

How is the sparsity penalty of Andrew Ng's autoencoder written for Keras, what does
Keras pass to it, and how does the whole cost function come together? In plain Keras the
penalty is one argument of a layer. This example trains an autoencoder of 576 inputs and
250 hidden units with it, shows what the numbers mean, and ends with the estimator that
minimises the same cost.
"""

# %%
# The model
# ---------
# 24x24 patches of two photographs, in random order, an encoder and a decoder of relu
# units, the mean squared error, and the penalty on the hidden layer's activations.

import keras
import numpy as np
from sklearn.utils import shuffle

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.regularizers import KLDivergenceRegularizer

patches = load_natural_image_patches(10_000, patch_size=24, random_state=0)
patches = shuffle(patches, random_state=0).astype("float32")
keras.utils.set_random_seed(0)

inputs = keras.Input((576,))
encoded = keras.layers.Dense(
    250,
    activation="relu",
    activity_regularizer=KLDivergenceRegularizer(
        rho=0.1, beta=6.0, activation_range=(0, 1)
    ),
    name="encoder",
)(inputs)
decoded = keras.layers.Dense(576, activation="relu")(encoded)
model = keras.Model(inputs, decoded)
model.compile(optimizer="adam", loss="mse")

# %%
# What the regularizer is given
# -----------------------------
# The output of the layer for one batch: rows are samples, columns are units. Not its
# transpose, and not the training set: the mean over axis 0 is the mean activation of
# each unit over the 50 samples of this batch, an estimate of Ng's mean over all of
# them. What Keras then adds to the loss of the batch is beta times the sum of the
# divergences, here computed once more by hand (for sigmoid units; relu follows below).

layer = keras.layers.Dense(
    250, "sigmoid", activity_regularizer=KLDivergenceRegularizer(rho=0.1, beta=6.0)
)
codes = np.asarray(layer(patches[:50]))
rho, rho_hat = 0.1, codes.mean(axis=0)
divergence = rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))
print(f"shape of a batch's activations  {codes.shape}")
print(f"penalty by hand                 {6.0 * divergence.sum():.3f}")
print(f"penalty in layer.losses         {float(layer.losses[0]):.3f}")

# %%
# From version 3.14 on, Keras divides what an activity regularizer returns by the batch
# size, as Keras 2 did; from 3.0 to 3.13 it does not. A regularizer that returns the
# bare penalty, like the one in many answers to the question, trains with beta on one
# version and, in batches of 50, with beta / 50 on another. Ours returns the penalty
# times the batch size where Keras is going to divide, so that both add the same.

# %%
# Ten epochs
# ----------

history = model.fit(patches, patches, batch_size=50, epochs=10, verbose=0).history
print("loss of each epoch ", " ".join(f"{loss:.4g}" for loss in history["loss"]))

# %%
# The loss stays far from zero, and not for the squared error. The divergence compares
# two probabilities: sigmoid units live in (0, 1), relu units do not. Their mean may
# pass 1, where log(1 - mean) makes the formula NaN as it stands. Here the divergence
# goes on along its tangent, very steep: the loss jumps, and the unit comes back.
# ``activation_range=(0, 1)`` says that a mean of 1 is meant to be the largest; without
# it the regularizer warns of such units. A relu unit that is 0 for all samples is
# another matter: the penalty asks for more, but the derivative of relu is 0 there and
# stops the request. A batch in which a unit is silent costs 6.9, and of that the loss
# of a quiet epoch mostly consists.

encoder = keras.Model(inputs, model.get_layer("encoder").output)
codes = encoder.predict(patches, verbose=0)
silent = (codes.reshape(-1, 50, 250) == 0).all(axis=1)
print(f"largest mean activation            {codes.mean(axis=0).max():.3f}")
print(f"units that are silent throughout   {silent.all(axis=0).sum()} of 250")
print(f"units that are silent in a batch   {silent.sum(axis=1).mean():.1f} on average")
print(f"6.9 for each of those              {6.9 * silent.sum(axis=1).mean():.1f}")

# %%
# Sigmoid units, which Ng uses, keep a gradient. For tanh units,
# ``activation_range=(-1, 1)`` compares (mean + 1) / 2 with rho.

# %%
# The whole cost function
# -----------------------
# Ng's cost is half the squared error, summed over the D features and averaged over the
# samples, plus lambda / 2 times the squared weights, plus beta times the divergences.
# The loss "mse" is a mean over the features: it is the first term times 2 / D, so the
# others have to be multiplied by 2 / D as well. Read the other way round, beta = 6
# beside "mse" is Ng's beta = 1728. Keras' ``L2(l)`` adds l times the squared weights,
# so that l is lambda / D.


def whole_cost(n_components, rho, beta, weight_decay, n_features=576):
    """Return a model whose loss is 2 / n_features times Ng's cost."""
    decay = keras.regularizers.L2(weight_decay / n_features)
    penalty = KLDivergenceRegularizer(rho, 2 * beta / n_features)
    model = keras.Sequential(
        [
            keras.Input((n_features,)),
            keras.layers.Dense(
                n_components,
                activation="sigmoid",
                kernel_regularizer=decay,
                activity_regularizer=penalty,
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
# beta, rho and lambda. In the plain Keras model its weights give the same number.

autoencoder = SparseAutoencoderTransformer(
    n_components=250,
    rho=0.1,
    beta=3.0,
    weight_decay=1e-4,
    output_activation="sigmoid",
    max_iter=50,
    tol=0.05,
    n_iter_no_change=3,
    random_state=0,
).fit(patches)
plain = whole_cost(250, rho=0.1, beta=3.0, weight_decay=1e-4)
(W1, W2), (b1, b2) = autoencoder.coefs_, autoencoder.intercepts_
plain.set_weights([W1, b1, W2, b2])
loss = plain.evaluate(patches, patches, batch_size=len(patches), verbose=0)
print("  ".join(f"{term} {x:.4f}" for term, x in autoencoder.objective_.items()))
print(f"576 / 2 times the loss of plain Keras: {576 / 2 * loss:.4f}")

# %%
# In one batch, that is. Over smaller ones Keras averages the penalties of the batches'
# own means, which is more than the penalty of the mean over all samples, as KL is
# convex. ``KLSparsity(momentum=...)`` and the estimator train with a running mean
# instead, and ``autoencoder.to_keras()`` evaluates to Ng's cost at any batch size.

for batch_size in (1000, 50):
    loss = plain.evaluate(patches, patches, batch_size=batch_size, verbose=0)
    print(f"plain Keras in batches of {batch_size}: {576 / 2 * loss:.4f}")
network = autoencoder.to_keras()
loss = network.evaluate(patches, patches, batch_size=50, verbose=0)
print(f"to_keras() in batches of 50: {loss:.4f}")

# %%
# Saving
# ------
# Keras rebuilds a regularizer from what ``get_config`` returns. If rho and beta are not
# in it, a model that is loaded goes on training with the defaults, or does not load.
# Here they are, and the class is registered: import ``sksparse_ae.regularizers``, then
# ``keras.models.load_model`` needs no ``custom_objects``.

print(model.get_layer("encoder").activity_regularizer.get_config())

"""Autoencoders that users write by hand, to compare with.

All of them minimise Ng's objective with sigmoid units, from given weights: W1 of shape
(n_features, n_components), b1, W2 (n_components, n_features), b2.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from sksparse_ae._engine.startup import starting_tensorflow

# Number of rows on which the objective is computed at a time.
CHUNK_ROWS = 2000

# The default of Keras. PyTorch's own default is 1e-8.
ADAM_EPSILON = 1e-7


class Setting(NamedTuple):
    """The coefficients of the objective, and the settings of Adam."""

    rho: float
    beta: float
    weight_decay: float
    output_activation: str
    learning_rate: float
    batch_size: int

    @property
    def penalties(self):
        """The hyper-parameters of the objective, by name."""
        return {
            "rho": self.rho,
            "beta": self.beta,
            "weight_decay": self.weight_decay,
        }


def full_objective(X, weights, setting):
    """Return the objective over all rows, computed in chunks and summed in float64."""
    W1, b1, W2, b2 = (np.asarray(w, dtype=X.dtype) for w in weights)
    error, mean = 0.0, np.zeros(len(b1))
    for start in range(0, len(X), CHUNK_ROWS):
        rows = X[start : start + CHUNK_ROWS]
        codes = expit(rows @ W1 + b1)
        output = codes @ W2 + b2
        if setting.output_activation == "sigmoid":
            expit(output, out=output)
        output -= rows
        error += float(np.vdot(output, output))
        mean += codes.sum(axis=0, dtype=np.float64)
    rho, rho_hat = setting.rho, mean / len(X)
    divergence = rho * np.log(rho / rho_hat) + (1 - rho) * np.log(
        (1 - rho) / (1 - rho_hat)
    )
    decay = setting.weight_decay / 2 * float(np.vdot(W1, W1) + np.vdot(W2, W2))
    return error / (2 * len(X)) + decay + setting.beta * float(divergence.sum())


def uniform_start(n_features, n_components, seed):
    """Return Ng's start, in float32."""
    rng = np.random.default_rng(seed)
    r = np.sqrt(6 / (n_features + n_components + 1))
    weights = [
        rng.uniform(-r, r, (n_features, n_components)),
        np.zeros(n_components),
        rng.uniform(-r, r, (n_components, n_features)),
        np.zeros(n_features),
    ]
    return [w.astype(np.float32) for w in weights]


# ---------------------------------------------------------------------------- Keras


def import_keras():
    """Import Keras and TensorFlow without their messages."""
    with starting_tensorflow():
        pass


def keras_autoencoder(weights, setting, **compiling):
    """Return a compiled Keras model; ``compiling`` goes to ``Model.compile``."""
    import keras

    from sksparse_ae.regularizers import KLDivergenceRegularizer

    def half_squared_norm(y_true, y_pred):
        return 0.5 * keras.ops.sum(keras.ops.square(y_pred - y_true), axis=-1)

    decay = keras.regularizers.L2(setting.weight_decay / 2)
    n_features, n_components = weights[0].shape
    model = keras.Sequential(
        [
            keras.Input((n_features,)),
            keras.layers.Dense(
                n_components,
                activation="sigmoid",
                kernel_regularizer=decay,
                activity_regularizer=KLDivergenceRegularizer(setting.rho, setting.beta),
            ),
            keras.layers.Dense(
                n_features,
                activation=setting.output_activation,
                kernel_regularizer=decay,
            ),
        ]
    )
    model.set_weights(weights)
    model.compile(
        optimizer=keras.optimizers.Adam(setting.learning_rate),
        loss=half_squared_norm,
        **compiling,
    )
    return model


def compiling_steps(n_samples, batch_size):
    """Return the arguments of ``Model.compile`` that make it as fast as it gets."""
    steps = -(-n_samples // batch_size)
    return {"jit_compile": True, "steps_per_execution": steps}


# -------------------------------------------------------------------------- PyTorch


class TorchAutoencoder:
    """A loop of PyTorch over mini-batches."""

    def __init__(self, X, weights, setting):
        import torch

        self._torch, self._setting = torch, setting
        self._X = torch.from_numpy(X)
        n_features, n_components = weights[0].shape
        self._encoder = torch.nn.Linear(n_features, n_components)
        self._decoder = torch.nn.Linear(n_components, n_features)
        with torch.no_grad():
            for parameter, value in zip(self._parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(value.T))
        self._optimizer = torch.optim.Adam(
            self._parameters(), lr=setting.learning_rate, eps=ADAM_EPSILON
        )

    def _parameters(self):
        return [*self._encoder.parameters(), *self._decoder.parameters()]

    def weights(self):
        """Return W1, b1, W2, b2."""
        return [p.detach().numpy().T.copy() for p in self._parameters()]

    def _objective(self, rows):
        torch, setting = self._torch, self._setting
        codes = torch.sigmoid(self._encoder(rows))
        output = self._decoder(codes)
        if setting.output_activation == "sigmoid":
            output = torch.sigmoid(output)
        rho, rho_hat = setting.rho, codes.mean(0)
        divergence = rho * torch.log(rho / rho_hat) + (1 - rho) * torch.log(
            (1 - rho) / (1 - rho_hat)
        )
        decay = (
            self._encoder.weight.square().sum() + self._decoder.weight.square().sum()
        )
        return (
            0.5 * (output - rows).square().sum() / len(rows)
            + setting.beta * divergence.sum()
            + setting.weight_decay / 2 * decay
        )

    def epoch(self, *, shuffle):
        """Train for one epoch."""
        torch, X, batch_size = self._torch, self._X, self._setting.batch_size
        order = torch.randperm(len(X)) if shuffle else torch.arange(len(X))
        for numbers in order.split(batch_size):
            self._optimizer.zero_grad()
            self._objective(X[numbers]).backward()
            self._optimizer.step()


class TorchTopK:
    """A plain script of a TopK sparse autoencoder: its rows are centred."""

    def __init__(self, X, n_components, k, batch_size):
        import torch

        self._torch, self._k, self._batch_size = torch, k, batch_size
        self._X = torch.from_numpy(X)
        n_features = X.shape[1]
        self._encoder = torch.nn.Linear(n_features, n_components)
        self._decoder = torch.nn.Linear(n_components, n_features)
        self._normalize()
        with torch.no_grad():
            self._encoder.weight.copy_(self._decoder.weight.T)
        layers = self._encoder, self._decoder
        parameters = [p for layer in layers for p in layer.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def _normalize(self):
        """Give the features norm one."""
        with self._torch.no_grad():
            weight = self._decoder.weight
            weight /= weight.norm(dim=0, keepdim=True)

    def epoch(self):
        """Train for one epoch."""
        torch, X = self._torch, self._X
        for numbers in torch.randperm(len(X)).split(self._batch_size):
            rows = X[numbers]
            activations = torch.relu(self._encoder(rows))
            values, units = activations.topk(self._k, dim=1, sorted=False)
            codes = torch.zeros_like(activations).scatter(1, units, values)
            error = 0.5 * (self._decoder(codes) - rows).square().sum() / len(rows)
            self._optimizer.zero_grad()
            error.backward()
            self._optimizer.step()
            self._normalize()


# ---------------------------------------------------------------------------- NumPy


class NumpyAutoencoder:
    """Backpropagation and Adam by hand, for a linear output."""

    def __init__(self, X, weights, setting):
        self._X, self._setting = X, setting
        self._weights = [w.copy() for w in weights]
        self._first, self._second = (
            [np.zeros_like(w) for w in weights] for _ in range(2)
        )
        self._n_steps = 0
        self._rng = np.random.default_rng(0)

    def weights(self):
        """Return W1, b1, W2, b2."""
        return self._weights

    def _gradients(self, rows):
        W1, b1, W2, b2 = self._weights
        setting, n_rows = self._setting, len(rows)
        rho = setting.rho
        codes = expit(rows @ W1 + b1)
        delta3 = codes @ W2
        delta3 += b2
        delta3 -= rows
        delta3 /= n_rows
        rho_hat = codes.mean(axis=0)
        slope = setting.beta * ((1 - rho) / (1 - rho_hat) - rho / rho_hat) / n_rows
        delta2 = delta3 @ W2.T
        delta2 += slope
        delta2 *= codes
        delta2 *= 1 - codes
        return [
            rows.T @ delta2 + setting.weight_decay * W1,
            delta2.sum(axis=0),
            codes.T @ delta3 + setting.weight_decay * W2,
            delta3.sum(axis=0),
        ]

    def _step(self, gradients, beta1=0.9, beta2=0.999):
        self._n_steps += 1
        correction = np.sqrt(1 - beta2**self._n_steps) / (1 - beta1**self._n_steps)
        rate = np.float32(self._setting.learning_rate * correction)
        for weight, first, second, gradient in zip(
            self._weights, self._first, self._second, gradients, strict=True
        ):
            first += (1 - beta1) * (gradient - first)
            np.square(gradient, out=gradient)
            second += (1 - beta2) * (gradient - second)
            weight -= rate * first / (np.sqrt(second) + ADAM_EPSILON)

    def epoch(self, *, shuffle):
        """Train for one epoch."""
        n_samples, batch_size = len(self._X), self._setting.batch_size
        order = np.arange(n_samples)
        if shuffle:
            self._rng.shuffle(order)
        for start in range(0, n_samples, batch_size):
            self._step(self._gradients(self._X[order[start : start + batch_size]]))

"""New starts, during a training, for units that carry nothing."""

import numpy as np

from .._network.autoencoder import Parameters
from .._network.initialization import bias_for_mean_activation, standardized_sample
from .._network.kept import Kept
from .._network.problem import Problem
from .._network.reading import Rows
from .._network.thresholds import completed
from .._network.units import UnitStatistics
from .monitor import Weights

# Epochs between two looks. A unit needs some to learn before it is judged.
INTERVAL = 10

# Units are started anew in this share of the epochs, then they need time to learn, and
# in so many epochs at most: each new start puts off the end of the training.
REVIVING_SHARE, REVIVING_EPOCHS = 0.7, 140

# Length of a new unit's decoder weights, as a share of those of the active ones.
DECODER_SHARE = 0.2

# New units of codes that are selected may raise the squared error by this factor.
MOST_HARM = 2.0


class Reviver:
    """Find inactive units on a sample of the training's rows, and start them anew.

    A new unit looks for what is reconstructed badly: its weights point along the error
    of a row that is drawn with a chance proportional to its squared error. As at the
    start of a training, its input has unit variance and its rho_hat is rho. What the
    old unit added to the output on average goes to the output's bias. With a selection
    its weights have norm one, and its bias makes it stay on for the share rho of the
    rows, at the threshold that there is: without that, hundreds of new units along
    similar errors are on together, and 400 on Fashion-MNIST did not recover from it.
    Still, those that are alike add up; no more are started than the error allows.

    The state of ``rng`` is part of a training's.
    """

    def __init__(self, X: Rows, problem: Problem, rng: np.random.RandomState) -> None:
        architecture, coefficients, scaling = problem
        # What is missing is the mean, as the encoder reads it: of the errors of all
        # values these are among the smallest.
        loss = architecture.objective.loss
        self._sample = standardized_sample(X, scaling, rng, near=loss.is_robust)
        self._offset = scaling.reconstruction_offset
        self.rho, self.rng = coefficients.rho, rng
        self._activations = architecture.activation, architecture.output_activation
        self._problem = problem

    def is_due(self, n_epochs: int, max_iter: int) -> bool:
        """Say whether to look after so many epochs."""
        end = min(REVIVING_SHARE * max_iter, REVIVING_EPOCHS)
        return n_epochs % INTERVAL == 0 and n_epochs < end

    def revive(self, weights: Weights) -> tuple[Weights, np.ndarray]:
        """Start the inactive units anew; return the weights and the new units."""
        W1, b1, W2, b2 = (np.array(w, dtype=np.float64) for w in weights)
        architecture, coefficients, _ = self._problem
        # The rows have no gaps.
        parameters = self._problem.network([W1, b1, W2, b2])._replace(means=None)
        given = self._sample, architecture.sparsity, coefficients.rho
        parameters = completed(parameters, *given)
        codes = parameters.encode(self._sample)
        statistics = UnitStatistics(codes, architecture.objective)
        revived = statistics.states(self.rho) != "active"
        n_revived = int(revived.sum())
        if n_revived == 0:
            return weights, revived
        error = self._sample + self._offset - parameters.decode(codes)
        square = np.square(error).sum(axis=1)
        if not (np.isfinite(square).all() and square.sum() > 0):
            return weights, np.zeros_like(revived)
        rows = self.rng.choice(len(square), n_revived, p=square / square.sum())
        direction = error[rows] / np.linalg.norm(error[rows], axis=1, keepdims=True)
        if parameters.kept is not None:
            return self._selected_starts(
                parameters, parameters.kept, revived, direction, square.sum()
            )

        activation = self._activations[0]
        spread = (self._sample @ direction.T).std(axis=0)
        W1[:, revived] = direction.T / np.where(spread > 0, spread, 1.0)
        b1[revived] = bias_for_mean_activation(
            self._sample @ W1[:, revived], self.rho, activation
        )
        if self._activations[1] == "linear":
            b2 += codes[:, revived].mean(axis=0) @ W2[revived]
        norms = np.linalg.norm(W2[~revived], axis=1)
        W2[revived] = DECODER_SHARE * (norms.mean() if norms.size else 1.0) * direction
        return [W1, b1, W2, b2], revived

    def _selected_starts(
        self,
        network: Parameters,
        kept: Kept,
        revived: np.ndarray,
        direction: np.ndarray,
        error: float,
    ) -> tuple[Weights, np.ndarray]:
        """Start units along directions, half as many until they do no harm.

        ``error`` is the sum of squares that the network leaves of the sample.
        """
        activations = network._replace(kept=None).encode(self._sample)
        least = np.broadcast_to(kept.least(activations), activations.shape)
        units = np.flatnonzero(revived)
        while len(units):
            started = self._started(network, least, units, direction[: len(units)])
            left = self._sample + self._offset - started.reconstruct(self._sample)
            if np.square(left).sum() <= MOST_HARM * error:
                break
            units = units[: len(units) // 2]
        revived = np.zeros_like(revived)
        revived[units] = True
        return list(started.arrays if len(units) else network.arrays), revived

    def _started(
        self,
        network: Parameters,
        least: np.ndarray,
        units: np.ndarray,
        direction: np.ndarray,
    ) -> Parameters:
        """Return the network with units that start along directions of norm one.

        ``least`` has the least activation of each row and unit that stays.
        """
        W1, b1, W2, _ = (array.copy() for array in network.arrays)
        W1[:, units], W2[units] = direction.T, direction
        inputs = self._sample @ direction.T
        # On for the share rho of the rows, at what is the least there that stays.
        b1[units] = np.quantile(least[:, units] - inputs, self.rho, axis=0)
        return network._replace(W1=W1, b1=b1, W2=W2)

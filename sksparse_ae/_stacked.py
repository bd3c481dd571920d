"""Mini-batch training of several models side by side, in one program."""

import functools
import warnings

import numpy as np
import tensorflow as tf

from ._checkpoint import fingerprint
from ._minibatch import Trained, TrainingState, minibatch_program, train
from ._monitor import Losses
from ._problem import Penalties


def shared_key(training):
    """Return what trainings have in common that can be one.

    They see the same rows in the same order. What they minimise, where they start and
    how fast and how long they go may differ.
    """
    _, _, scaling = training.problem
    return fingerprint(
        training.X,
        training.problem.architecture,
        (scaling.scale, scaling.linear_output),
        repr(training.optimizer),
        training.batch_size,
        training.shuffle,
        training.rng.get_state(legacy=False),
    )


class _Model:
    """One of the models, as long as it trains and after.

    Attributes
    ----------
    result : Trained, Exception or None
        What the training ended with; None as long as it goes on.
    """

    def __init__(self, training):
        self.training, self.result, self._converged = training, None, False

    def rate(self, epoch):
        """Return the learning rate of an epoch, 0 after the training has ended."""
        return 0.0 if self.result is not None else self.training.rate(epoch)

    def update(self, n_epochs, losses, get_weights, get_state):
        """Take note of an epoch; end the training if it was the last one."""
        training, monitor = self.training, self.training.monitor
        try:
            monitor.update(losses, get_weights)
        except ValueError as error:  # diverged
            self.result = error
            return
        ended = False
        if monitor.stalled:
            self._converged, ended = True, training.rate.on_stall(n_epochs)
        if ended or n_epochs >= training.rate.end:
            self.end(n_epochs, get_weights, get_state)

    def interrupt(self, *end):
        """End the training because the user has asked for it."""
        self.training.monitor.interrupted = self._converged = True
        self.end(*end)

    def end(self, n_epochs, get_weights, get_state):
        """End the training with what it has reached."""
        n_steps = n_epochs * self.training.steps_per_epoch
        self.result = Trained(get_weights(), get_state(), n_steps, self._converged)


class _Snapshot:
    """What a program of several models holds after an epoch, copied when asked for."""

    def __init__(self, program):
        self._weights = functools.cache(program.weights)
        self._state = functools.cache(program.state)

    def of(self, number):
        """Return the functions that return one model's weights and its state."""

        def weights():
            return [stacked[number].copy() for stacked in self._weights()]

        def state():
            variables, rho_hat = self._state()
            own = [np.array(v if v.ndim == 0 else v[number]) for v in variables]
            return TrainingState(own, rho_hat[number].copy())

        return weights, state


def train_together(trainings):
    """Minimise objectives that differ in coefficients, start and rate, as one.

    The results equal those of ``train`` to float32 rounding: products are summed in
    another order.

    Parameters
    ----------
    trainings : list of MiniBatchTraining
        Of one ``shared_key``, by Adam.

    Returns
    -------
    results : list of Trained or Exception
        In their order; the exception that ended a training.
    """
    if len(trainings) == 1:
        try:
            return [train(trainings[0])]
        except Exception as error:
            return [error]
    first, n_models = trainings[0], len(trainings)
    models = [_Model(training) for training in trainings]
    stream = first.rows()
    program = minibatch_program(
        first.architecture,
        first.optimizer,
        first.batch_size,
        stream.chunk_rows,
        n_models,
    )
    longest = max(trainings, key=lambda training: training.rate.end)
    compiled = longest.is_worth_compiling(n_models)
    run_epoch = program.compiled_epoch if compiled else program.plain_epoch
    scaling = first.problem.scaling
    offset = tf.constant(scaling.reconstruction_offset, dtype=tf.float32)
    penalties = [training.problem.penalties for training in trainings]
    rho, *others = np.transpose(penalties).astype(np.float32)
    coefficients = Penalties(*map(tf.constant, (rho[:, None], *others)))
    momentum = np.array([[training.momentum] for training in trainings], np.float32)
    momentum = tf.constant(momentum)

    n_epochs, snapshot = 0, _Snapshot(program)
    with program.lock:
        program.load(
            [np.stack(w) for w in zip(*(t.weights for t in trainings), strict=True)],
            TrainingState(None, np.stack([t.state.rho_hat for t in trainings])),
        )
        program.set_learning_rate(1.0)
        try:
            while any(model.result is None for model in models):
                rates = [model.rate(n_epochs) for model in models]
                rates = tf.constant(rates, dtype=tf.float32)
                total = np.zeros((3, n_models))
                for data, n_rows in stream:
                    n_rows = tf.constant(n_rows, dtype=tf.int32)
                    terms, decay = run_epoch(
                        data, n_rows, offset, coefficients, momentum, rates
                    )
                    total += terms.numpy()
                n_epochs, snapshot = n_epochs + 1, _Snapshot(program)
                means, decays = total.T / first.X.shape[0], decay.numpy()
                for number, model in enumerate(models):
                    if model.result is None:
                        losses = Losses.from_terms(means[number], decays[number])
                        model.update(n_epochs, losses, *snapshot.of(number))
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
            for number, model in enumerate(models):
                if model.result is None:
                    model.interrupt(n_epochs, *snapshot.of(number))
    for training in trainings:
        training.rng.set_state(first.rng.get_state())
    return [model.result for model in models]

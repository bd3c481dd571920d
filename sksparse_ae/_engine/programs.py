"""TensorFlow programs: graphs over variables that every training has of its own."""

import functools
import threading

import numpy as np
import tensorflow as tf


class Program:
    """A network and a Keras optimizer, and the graphs of functions over them.

    One serves all trainings of its shape, at the same time if need be: each is a
    ``Run`` with values of its own, and these variables are only what is traced.

    Parameters
    ----------
    weights : list of keras.Variable
    optimizer : keras.optimizers.Optimizer
        Built for them.
    extra : list of tf.Variable
        Whatever else the functions read and assign.

    Attributes
    ----------
    weights, optimizer
    variables : list of tf.Variable
        Those of the weights, of the optimizer, and the extra ones.
    """

    def __init__(self, weights, optimizer, extra=()):
        self.weights, self.optimizer = weights, optimizer
        of_keras = [*weights, *optimizer.variables]
        self.variables = [*(variable.value for variable in of_keras), *extra]
        self._graphs, self._lock = {}, threading.Lock()

    def graph(self, function, *signature, compiled=False):
        """Return a method of this object as a graph over the variables of a run.

        It is traced once for every signature: see ``graph_over``.
        """
        key = function.__name__, compiled, *tf.nest.flatten(signature)
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = graph_over(
                    self.variables, function, *signature, compiled=compiled
                )
            return self._graphs[key]

    def fresh_optimizer_values(self, weights):
        """Return what the optimizer keeps where a training begins at these weights."""
        return [variable.numpy() for variable in self.optimizer.variables]

    def finalize(self):
        """Let the optimizer finish, e.g. put averaged weights in place."""
        self.optimizer.finalize_variable_values(self.weights)


class Run:
    """The variables of one training.

    Parameters
    ----------
    program : Program
    weights : list of ndarray
    optimizer_values : list of ndarray or None
        The state of an optimizer to continue from. None begins afresh.
    extra : list of ndarray

    Attributes
    ----------
    program : Program
    weights, of_optimizer, extra : list of tf.Variable
    """

    def __init__(self, program, weights, optimizer_values=None, extra=()):
        self.program = program
        n_weights = len(weights)
        if optimizer_values is None:
            optimizer_values = program.fresh_optimizer_values(weights)
        values = [*weights, *optimizer_values, *extra]
        variables = [
            tf.Variable(value, dtype=traced.dtype, trainable=False)
            for value, traced in zip(values, program.variables, strict=True)
        ]
        self._handles = [variable.handle for variable in variables]
        first_extra = len(values) - len(extra)
        self.weights = variables[:n_weights]
        self.of_optimizer = variables[n_weights:first_extra]
        self.extra = variables[first_extra:]

    def call(self, graph, *tensors):
        """Call a graph of the program, which may change the variables.

        It takes its gradients itself: a tape around the training is to record nothing.
        """
        with tf.init_scope():
            return graph(self._handles, *tensors)

    def set_learning_rate(self, rate):
        """Set the rate of an optimizer that has no schedule."""
        optimizer = self.program.optimizer
        (place,) = (
            place
            for place, variable in enumerate(optimizer.variables)
            if variable is optimizer.learning_rate
        )
        self.of_optimizer[place].assign(rate)

    def finalize(self):
        """Let the optimizer finish."""
        self.call(self.program.graph(self.program.finalize))


def values_of(variables):
    """Return the values of variables as arrays that stay as they are."""
    return [np.array(variable.numpy()) for variable in variables]


def graph_over(variables, function, *signature, compiled):
    """Return a function of tensors and variables as a graph, compiled by XLA or not.

    TensorFlow ties a graph to the variables that it was traced with. So that is called
    within another one, which takes the handles of the variables to use instead: what is
    compiled then serves any number of trainings, also at the same time.

    Parameters
    ----------
    variables : list of tf.Variable
        What ``function`` reads and assigns.
    function : callable
    *signature : nested TensorSpec or None
        Of its arguments.
    compiled : bool

    Returns
    -------
    call : callable
        Takes the handles of as many variables and the arguments; returns a list of
        tensors, or None.
    """
    traced = as_graph(function, compiled=False).get_concrete_function(*signature)
    places = {id(variable.handle): n for n, variable in enumerate(variables)}
    captured = [places.get(id(tensor), tensor) for tensor in traced.captured_inputs]
    _refuse_others(traced, captured)
    if not captured and not traced.outputs:  # most optimizers have nothing to finalize
        return lambda handles, *arguments: None

    def with_handles(handles, tensors):
        captures = [handles[c] if isinstance(c, int) else c for c in captured]
        outputs = tf.raw_ops.StatefulPartitionedCall(
            args=[*tensors, *captures],
            Tout=[output.dtype for output in traced.outputs],
            f=traced,
        )
        return outputs if traced.outputs else None  # it would be an operation

    graph = as_graph(with_handles, compiled=compiled).get_concrete_function(
        [tf.TensorSpec([], tf.resource)] * len(variables), _tensors_of(signature)
    )
    return lambda handles, *arguments: graph(handles, _tensors_of(arguments))


def _refuse_others(traced, captured):
    """Raise ValueError if a graph has variables that trainings would share."""
    others = {id(c) for c in captured if not isinstance(c, int)}
    names = {v.name for v in traced.graph.variables if id(v.handle) in others}
    if names:
        raise ValueError(
            "The solver keeps state in variables that are not among its `variables`: "
            f"{', '.join(sorted(names))}. Fits would share them; let build() make them "
            "with add_variable() or add_variable_from_reference()."
        )


def _tensors_of(arguments):
    return [leaf for leaf in tf.nest.flatten(arguments) if leaf is not None]


def as_graph(function, *, compiled):
    """Return a function of tensors as a TensorFlow graph, compiled by XLA or not.

    Calling it operation by operation instead takes 20 to 100 ms for a step, where the
    graph takes 0.2 and more: tracing it, in 0.3 s, pays from some ten steps on.
    """
    # Autograph is for control flow in Python, of which there is none here; to begin
    # with it costs the first fit of a process more than a second.
    return tf.function(function, autograph=False, jit_compile=compiled)


def worth_compiling(n_calls, n_values):
    """Say whether XLA saves more time over all calls of a graph than it takes.

    It takes one or two seconds to compile, and leaves 6 MB in the process. A call then
    takes 0.15 ms less, and 20 ns less for each value of a layer's output. One fit need
    gain a quarter of a second only: in folds and searches it has others of its shape.
    The answer must not depend on what is compiled already, or results would differ in
    the last digit with the history of the process.

    Parameters
    ----------
    n_calls : int
        Steps or evaluations that the training may take.
    n_values : int
        Outputs of both layers for the rows of one call.
    """
    return n_calls * (0.15e-3 + 20e-9 * n_values) >= 0.25


def latest_programs(n_kept):
    """Return a decorator for what makes programs, which keeps the latest of them.

    Threads that ask for the same at once get the same; one is made at a time.
    """

    def decorate(make):
        lock, kept = threading.RLock(), functools.lru_cache(maxsize=n_kept)(make)

        @functools.wraps(kept)
        def one_at_a_time(*key):
            with lock:
                return kept(*key)

        one_at_a_time.cache_info = kept.cache_info
        one_at_a_time.cache_clear = kept.cache_clear
        return one_at_a_time

    return decorate


def even_batches(n_rows, batch_size):
    """Split rows into as few batches as can be, whose sizes differ by one at most.

    A batch of the few rows that are left over would take a step as long as the others.

    Parameters
    ----------
    n_rows : scalar tensor, int32
    batch_size : int

    Returns
    -------
    n_steps : scalar tensor, int32
    bounds : callable
        Maps the number of a batch to its first row and how many there are. A slice of
        ``batch_size`` rows from there stays within ``n_steps`` times as many.
    """
    n_steps = (n_rows + batch_size - 1) // batch_size
    least, n_larger = n_rows // n_steps, n_rows % n_steps

    def bounds(number):
        start = number * least + tf.minimum(number, n_larger)
        return start, least + tf.cast(number < n_larger, tf.int32)

    return n_steps, bounds


def padded_rows(n_rows):
    """Round a row count up, so that near counts share one compiled shape.

    Eight sizes to every doubling: at most an eighth of the rows is padding.
    """
    step = 1 << max(n_rows.bit_length() - 4, 0)
    return -(-n_rows // step) * step

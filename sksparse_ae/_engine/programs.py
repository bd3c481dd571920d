"""TensorFlow programs: graphs over variables that every training has of its own."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

# One program is made at a time: threads that ask a cache for the same get the same.
making_programs = threading.RLock()

# It takes the handles of variables and the arguments of the function that was traced,
# and returns a list of tensors, or None.
Graph: TypeAlias = Callable[..., Any]


class Program:
    """A network and a Keras optimizer, and the graphs of functions over them.

    One serves all trainings of its shape, at the same time if need be. Each training is
    a ``Run`` with values of its own; the variables of the program are only traced. The
    optimizer is built for the weights, Keras' variables. The ``extra`` variables,
    TensorFlow's, are whatever else the functions read and assign.
    """

    def __init__(
        self, weights: list[Any], optimizer: Any, extra: Sequence[Any] = ()
    ) -> None:
        self.weights, self.optimizer = weights, optimizer
        keras_variables = [*weights, *optimizer.variables]
        self.variables = [*(variable.value for variable in keras_variables), *extra]
        self._graphs: dict[tuple[Any, ...], Graph] = {}
        self._lock = threading.Lock()

    def graph(
        self, function: Callable[..., Any], *signature: Any, compiled: bool = False
    ) -> Graph:
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

    def fresh_optimizer_values(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return what the optimizer keeps where a training begins at these weights."""
        return [variable.numpy() for variable in self.optimizer.variables]

    def finalize(self) -> None:
        """Let the optimizer finish, e.g. put averaged weights in place."""
        self.optimizer.finalize_variable_values(self.weights)


class Run:
    """The variables of one training.

    The state of an optimizer is given to continue from it; None begins afresh.
    """

    def __init__(
        self,
        program: Program,
        weights: list[np.ndarray],
        optimizer_values: list[np.ndarray] | None = None,
        extra: Sequence[np.ndarray] = (),
    ) -> None:
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
        self.optimizer_variables = variables[n_weights:first_extra]
        self.extra = variables[first_extra:]

    def call(self, graph: Graph, *tensors: Any) -> Any:
        """Call a graph of the program, which may change the variables.

        The graph takes its gradients itself: a tape around the training is to record
        nothing.
        """
        with tf.init_scope():
            return graph(self._handles, *tensors)

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of an optimizer that has no schedule."""
        optimizer = self.program.optimizer
        places = [id(variable) for variable in optimizer.variables]
        place = places.index(id(optimizer.learning_rate))
        self.optimizer_variables[place].assign(rate)


def values_of(variables: Iterable[Any]) -> list[np.ndarray]:
    """Return the values of variables as arrays that stay as they are."""
    return [np.array(variable.numpy()) for variable in variables]


def graph_over(
    variables: list[Any], function: Callable[..., Any], *signature: Any, compiled: bool
) -> Graph:
    """Return a function of tensors and variables as a graph, compiled by XLA or not.

    TensorFlow ties a graph to the variables that it was traced with. That graph is
    therefore called within another one, which takes the handles of the variables to use
    instead. What is compiled then serves any number of trainings, also at the same
    time.

    ``variables`` are all that ``function`` reads and assigns. The signature is made of
    nested TensorSpecs or None.
    """
    traced = as_graph(function, compiled=False).get_concrete_function(*signature)
    places = {id(variable.handle): n for n, variable in enumerate(variables)}
    captured = [places.get(id(tensor), tensor) for tensor in traced.captured_inputs]
    shared = {id(c) for c in captured if not isinstance(c, int)}
    if names := {v.name for v in traced.graph.variables if id(v.handle) in shared}:
        raise ValueError(
            "The solver keeps state in variables that are not among its `variables`: "
            f"{', '.join(sorted(names))}. Fits would share them; let build() make them "
            "with add_variable() or add_variable_from_reference()."
        )
    if not captured and not traced.outputs:  # most optimizers have nothing to finalize
        return lambda handles, *arguments: None

    def with_handles(handles: list[Any], tensors: list[Any]) -> Any:
        captures = [handles[c] if isinstance(c, int) else c for c in captured]
        outputs = tf.raw_ops.StatefulPartitionedCall(
            args=[*tensors, *captures],
            Tout=[output.dtype for output in traced.outputs],
            f=traced,
        )
        # Without outputs TensorFlow returns an operation, which is of no use here.
        return outputs if traced.outputs else None

    graph = as_graph(with_handles, compiled=compiled).get_concrete_function(
        [tf.TensorSpec([], tf.resource)] * len(variables), _tensors_of(signature)
    )
    return lambda handles, *arguments: graph(handles, _tensors_of(arguments))


def _tensors_of(arguments: tuple[Any, ...]) -> list[Any]:
    return [leaf for leaf in tf.nest.flatten(arguments) if leaf is not None]


def as_graph(function: Callable[..., Any], *, compiled: bool) -> Any:
    """Return a function of tensors as a TensorFlow graph, compiled by XLA or not.

    A step takes 20 to 100 ms if it is called operation by operation, and 0.2 ms or more
    as a graph. Tracing takes 0.3 s, which pays from some ten steps on.
    """
    # Autograph is for control flow in Python, of which there is none here. Its start
    # would cost the first fit of a process more than a second.
    return tf.function(function, autograph=False, jit_compile=compiled)


def even_batches(
    n_rows: Any, batch_size: int
) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """Split rows into as few batches as can be, whose sizes differ by one at most.

    A batch of the few rows that are left over would take a step as long as the others.

    Returned are ``n_steps``, the number of batches, and a function that maps the number
    of a batch to its first row and how many there are. A slice of ``batch_size`` rows
    from there stays within ``n_steps * batch_size`` rows.
    """
    n_steps = (n_rows + batch_size - 1) // batch_size
    least, n_larger = n_rows // n_steps, n_rows % n_steps

    def bounds(number: Any) -> tuple[Any, Any]:
        start = number * least + tf.minimum(number, n_larger)
        return start, least + tf.cast(number < n_larger, tf.int32)

    return n_steps, bounds

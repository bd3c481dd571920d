"""scikit-learn's callbacks, where its version has them (1.9)."""

import functools

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9: no set_callbacks, all else works

    class CallbackSupportMixin:
        """Stands for scikit-learn's mixin."""

    def with_callbacks(method):
        """Return the method, a frame deeper: warnings count frames to the user's."""

        @functools.wraps(method)
        def undisturbed_method(*args, **kwargs):
            return method(*args, **kwargs)

        return undisturbed_method


def fit_context(estimator, max_iter):
    """Open the context of a call of fit; None where there are no callbacks."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    return estimator._init_callback_context(max_subtasks=max_iter)


def iteration_tasks(estimator, context, given, task_name, fitted_attributes):
    """Return the tasks of a fit, or None where nothing is called back.

    Parameters
    ----------
    estimator : estimator
    context : sklearn.callback.CallbackContext or None
    given : dict
        The X and y that the callbacks are given.
    task_name : str
    fitted_attributes : callable
        As for ``IterationTasks``.
    """
    if context is None or not hasattr(estimator, "_skl_callbacks"):
        return None
    return IterationTasks(
        context,
        estimator,
        **given,
        task_name=task_name,
        fitted_attributes=fitted_attributes,
    )


class IterationTasks:
    """One task in the context of a fit for each iteration of a solver.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
    estimator : estimator
    X, y
        What the callbacks are given.
    task_name : str
    fitted_attributes : callable
        Maps weights to the attributes of an estimator fitted to them. Called only if
        a callback asks for the fitted estimator.
    """

    def __init__(self, context, estimator, X, y, task_name, fitted_attributes):
        self._context, self._estimator = context, estimator
        self._data = {"X": X, "y": y}
        self._task_name, self._fitted_attributes = task_name, fitted_attributes
        self._current = None

    def begin(self):
        """Open the task of an iteration, unless it is open."""
        if self._current is None:
            self._current = self._context.subcontext(task_name=self._task_name)
            self._current.call_on_fit_task_begin(
                estimator=self._estimator, **self._data
            )

    def end(self, get_weights):
        """End the task; return whether a callback asks to stop."""
        current, self._current = self._current, None
        return current.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=lambda: self._fitted_attributes(get_weights()),
            **self._data,
        )

    def close(self):
        """End a task whose iteration was not finished."""
        if self._current is not None:
            current, self._current = self._current, None
            current.call_on_fit_task_end(estimator=self._estimator)

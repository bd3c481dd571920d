"""scikit-learn's callbacks, where its version has them (1.9)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9: no set_callbacks, all else works
    # Where the import fails, nothing has the name yet; mypy reads both branches.
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's mixin."""

    def with_callbacks(method: Callable) -> Callable:
        """Return the method, a frame deeper: warnings count frames to the user's."""

        @functools.wraps(method)
        def undisturbed_method(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return undisturbed_method


@dataclasses.dataclass
class IterationTasks:
    """One task in the context of a fit for each iteration of a solver.

    The callbacks are given ``data``, the X and y. ``fitted_attributes`` maps weights to
    the attributes of an estimator fitted to them; it is called only if a callback asks
    for the fitted estimator.
    """

    context: Any
    estimator: Any
    data: dict
    task_name: str
    fitted_attributes: Callable[[Any], dict]
    current: Any = None

    def begin(self) -> None:
        """Open the task of an iteration, unless it is open."""
        if self.current is None:
            self.current = self.context.subcontext(task_name=self.task_name)
            self.current.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end(self, get_weights: Callable[[], Any]) -> bool:
        """End the task; return whether a callback asks to stop."""
        current, self.current = self.current, None
        return current.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.fitted_attributes(get_weights()),
            **self.data,
        )

    def close(self) -> None:
        """End a task whose iteration was not finished."""
        if self.current is not None:
            current, self.current = self.current, None
            current.call_on_fit_task_end(estimator=self.estimator)

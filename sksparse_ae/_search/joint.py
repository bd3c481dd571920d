"""Trainings that can be one, and how they are: side by side in one program."""

import copy
import threading
from typing import Any

import numpy as np
from scipy import sparse

from .._engine.minibatch import MiniBatchEngine
from .._network.blocks import Blocks
from .._network.reading import Rows
from .._network.validation import NotFinite
from .._training.checkpoint import fingerprint
from .._training.fit import train
from .._training.loop import Course, run
from .._training.monitor import Monitor, Weights
from .._training.plan import Plan
from .together import Task, Training

# The weights and whether the training converged, or what ended it.
Trained = tuple[Weights, bool] | Exception


def joint_groups(tasks: list[Task]) -> list[list[Task]]:
    """Group the tasks whose trainings can be one.

    These see the same rows in the same order. What they minimise, where they start and
    how fast and how long they go may differ.
    """
    of_keys: dict[str, list[list[Task]]] = {}
    for task in tasks:
        plan = task.training.plan
        groups = of_keys.setdefault(_key(plan.minibatches), [])
        for group in groups:
            if _equal(plan.X, group[0].training.plan.X):
                group.append(task)
                break
        else:
            groups.append([task])
    return [group for groups in of_keys.values() for group in groups]


def _key(minibatches: Any) -> str:
    """Return a name that trainings share if they can be one, but for their rows.

    The scaling, which has the means of the columns, tells nearly all data apart. To
    hash the rows took a twentieth of a search; to compare them takes a tenth of that.
    """
    return fingerprint(
        type(minibatches.X),
        minibatches.X.shape,
        minibatches.problem.architecture,
        tuple(minibatches.problem.scaling),
        repr(minibatches.optimizer),
        minibatches.batch_size,
        minibatches.follows,
        minibatches.shuffle,
        minibatches.rng.get_state(legacy=False),
    )


def _equal(X: Rows, other: Rows) -> bool:
    """Say whether data of one type and shape are equal."""
    if X is other:
        return True
    if isinstance(X, Blocks):
        # Another cut into blocks has other rows at each number, or is read otherwise.
        return X.content() == other.content()
    if sparse.issparse(X):
        parts = "indptr", "indices", "data"
        return all(np.array_equal(getattr(X, p), getattr(other, p)) for p in parts)
    return np.array_equal(X, other)


def train_jointly(
    trainings: list[Training], stop: threading.Event | None = None
) -> list[Trained]:
    """Minimise objectives that differ in coefficients, start and rate, as one.

    The trainings are one of the ``joint_groups``, by Adam, and begin afresh. ``stop``
    ends them as Ctrl-C does. The results equal those of ``train`` to float32 rounding:
    products are summed in another order. A training whose rate proves too large is
    begun again by itself.
    """
    if len(trainings) == 1:
        return [_train_alone(*trainings[0], stop)]
    plans = [training.plan for training in trainings]
    starts = [(copy.deepcopy(t.plan.rng), t.monitor.state()) for t in trainings]
    courses = [
        Course(monitor, plan.new_rate(), plan.max_iter) for plan, monitor in trainings
    ]
    run(courses, MiniBatchEngine([plan.minibatches for plan in plans]), stop)
    results: list[Trained] = []
    for course, (plan, monitor), (rng, state) in zip(
        courses, trainings, starts, strict=True
    ):
        result: Trained = course.error or (course.weights, course.converged)
        if course.is_lost:
            plan.rng.set_state(rng.get_state(legacy=False))
            monitor.restore(state)
            result = _train_alone(plan, monitor, stop)
        results.append(result)
    return results


def _train_alone(plan: Plan, monitor: Monitor, stop: threading.Event | None) -> Trained:
    try:
        course, _ = train(plan, monitor, stop=stop)
    except NotFinite as error:
        return error
    return course.weights, course.converged

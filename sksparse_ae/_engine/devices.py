"""Threads and devices of TensorFlow."""

import contextlib
from typing import Any

import joblib
import tensorflow as tf


def n_threads() -> int:
    """Return how many threads an operation may use."""
    return tf.config.threading.get_intra_op_parallelism_threads() or joblib.cpu_count()


def current_device() -> str:
    """Return the name of the device on which this thread computes."""
    return tf.zeros(()).device


def on_device(name: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which this thread computes on a device."""
    if current_device() == name:
        return contextlib.nullcontext()
    return tf.device(name)

"""Threads and devices of TensorFlow."""

import contextlib

import joblib
import tensorflow as tf


def n_threads():
    """Return how many threads an operation may use."""
    return tf.config.threading.get_intra_op_parallelism_threads() or joblib.cpu_count()


def current_device():
    """Return the name of the device on which this thread computes."""
    return tf.zeros(()).device


def on_device(name):
    """Return a context in which this thread computes on a device."""
    if current_device() == name:
        return contextlib.nullcontext()
    return tf.device(name)

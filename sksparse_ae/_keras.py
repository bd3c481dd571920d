"""Keras, for the public modules that are classes of it."""

from ._engine.startup import check_installed

try:
    import keras
    from keras import ops
except ImportError:
    check_installed()  # says what to install
    raise

__all__ = ["keras", "ops"]

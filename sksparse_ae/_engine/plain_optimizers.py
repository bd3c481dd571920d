"""Keras optimizers as plain types, from which they are rebuilt.

Keras is imported only where there is an optimizer to rebuild.
"""

import re
import sys
from typing import Any


def optimizer_to_plain(solver: Any) -> Any:
    """Describe a Keras optimizer, if it can be rebuilt from that; else return it."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(solver, keras.optimizers.Optimizer):
        return solver
    plain = {
        "class_name": keras.saving.get_registered_name(type(solver)),
        "config": solver.get_config(),
    }
    try:
        copy = optimizer_from_plain(plain)
    except Exception:
        # Its class is not registered: pickle, and Keras, may still save it.
        return solver
    same = type(copy) is type(solver) and copy.get_config() == plain["config"]
    return _without_automatic_names(plain) if same else solver


def _without_automatic_names(value: Any) -> Any:
    """Return a description without the names that Keras gave, by counting.

    They are no part of an optimizer. With them, equal optimizers would differ by when
    they were made, and what joblib has cached would never be found again.
    """
    if not isinstance(value, dict):
        return value
    value = {key: _without_automatic_names(item) for key, item in value.items()}
    if is_description(value):
        config = value["config"]
        stem = re.sub(r"_\d+$", "", str(config.get("name")))
        class_name = value["class_name"].rpartition(">")[2]
        if stem.replace("_", "").lower() == class_name.lower():
            value["config"] = {k: v for k, v in config.items() if k != "name"}
    return value


def is_description(value: object) -> bool:
    """Say whether a value describes an optimizer or a schedule."""
    return isinstance(value, dict) and {"class_name", "config"} <= value.keys()


def optimizer_from_plain(value: Any) -> Any:
    """Build optimizers and schedules from what ``get_config`` says of them.

    Keras' own deserialisation would import the modules that a file names. Here a file
    chooses among Keras' optimizers, its schedules and the classes that the process has
    registered, and nothing else.
    """
    import keras

    if isinstance(value, dict) and not is_description(value):
        return {key: optimizer_from_plain(item) for key, item in value.items()}
    if not is_description(value):
        return value
    name = value.get("registered_name") or value["class_name"]
    config = optimizer_from_plain(value["config"])
    registered = keras.saving.get_registered_object(name)
    optimizers, schedules = keras.optimizers, keras.optimizers.schedules
    kinds = optimizers.Optimizer, schedules.LearningRateSchedule
    own: Any = getattr(optimizers, name, None) or getattr(schedules, name, None)
    found = registered or own
    if isinstance(found, type) and issubclass(found, kinds):
        return registered.from_config(config) if registered else own(**config)
    raise ValueError(
        f"The file asks for an optimizer or a schedule named {name!r}, which is none "
        "of Keras' and not registered by keras.saving.register_keras_serializable."
    )

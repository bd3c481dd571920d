"""What a transformer is saved as: arrays and plain Python types.

A file of skops names the types that it needs, and a reader has to trust each. Records
are therefore saved as dicts, a path as a string, and a Keras optimizer, which skops
cannot save, as its configuration.
"""

import os
import re
import sys

from ._startup import starting_tensorflow


def to_plain(state, records):
    """Return the attributes of an estimator as they are saved.

    Parameters
    ----------
    state : dict
    records : dict
        The type, a dict or a NamedTuple, of each attribute that is one.
    """
    plain = dict(state)
    for name in records.keys() & state.keys():
        record = state[name]
        if record is not None:
            plain[name] = dict(record if isinstance(record, dict) else record._asdict())
    plain["solver"] = _optimizer_to_plain(state["solver"])
    if isinstance(state["checkpoint_dir"], os.PathLike):
        plain["checkpoint_dir"] = os.fspath(state["checkpoint_dir"])
    return plain


def from_plain(plain, records):
    """Undo ``to_plain``; a path stays a string."""
    state = dict(plain)
    for name in records.keys() & plain.keys():
        if plain[name] is not None:
            state[name] = records[name](**plain[name])
    if _is_description(plain["solver"]):
        with starting_tensorflow():
            state["solver"] = _optimizer_from_plain(plain["solver"])
    return state


def _optimizer_to_plain(solver):
    """Describe a Keras optimizer, if it can be rebuilt from that; else return it."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(solver, keras.optimizers.Optimizer):
        return solver
    plain = {
        "class_name": keras.saving.get_registered_name(type(solver)),
        "config": solver.get_config(),
    }
    try:
        copy = _optimizer_from_plain(plain)
    except Exception:
        # Of a class that is not registered: for pickle, and for Keras, to save.
        return solver
    same = type(copy) is type(solver) and copy.get_config() == plain["config"]
    return _without_automatic_names(plain) if same else solver


def _without_automatic_names(value):
    """Return a description without the names that Keras gave, by counting.

    They are no part of an optimizer: equal ones would differ by when they were made,
    and what joblib has cached would never be found again.
    """
    if not isinstance(value, dict):
        return value
    value = {key: _without_automatic_names(item) for key, item in value.items()}
    if _is_description(value):
        config = value["config"]
        stem = re.sub(r"_\d+$", "", str(config.get("name")))
        class_name = value["class_name"].rpartition(">")[2]
        if stem.replace("_", "").lower() == class_name.lower():
            value["config"] = {k: v for k, v in config.items() if k != "name"}
    return value


def _is_description(value):
    return isinstance(value, dict) and {"class_name", "config"} <= value.keys()


def _optimizer_from_plain(value):
    """Build optimizers and schedules from what ``get_config`` says of them.

    Not by Keras' own deserialisation, which imports the modules that a file names: a
    file chooses here among Keras' optimizers, its schedules and the classes that the
    process has registered, and nothing else.
    """
    import keras

    if isinstance(value, dict) and not _is_description(value):
        return {key: _optimizer_from_plain(item) for key, item in value.items()}
    if not _is_description(value):
        return value
    name = value.get("registered_name") or value["class_name"]
    config = _optimizer_from_plain(value["config"])
    registered = keras.saving.get_registered_object(name)
    for place in (keras.optimizers, keras.optimizers.schedules):
        found = registered or getattr(place, name, None)
        if isinstance(found, type) and issubclass(
            found,
            (
                keras.optimizers.Optimizer,
                keras.optimizers.schedules.LearningRateSchedule,
            ),
        ):
            return found.from_config(config) if registered else found(**config)
    raise ValueError(
        f"The file asks for an optimizer or a schedule named {name!r}, which is none "
        "of Keras' and not registered by keras.saving.register_keras_serializable."
    )

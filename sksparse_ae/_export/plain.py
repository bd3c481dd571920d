"""What a transformer is saved as: arrays and plain Python types.

A file of skops names the types that it needs, and a reader has to trust each. Records
are therefore saved as dicts, a path as a string, and a Keras optimizer, which skops
cannot save, as its configuration.
"""

import os
from collections.abc import Mapping
from typing import Any

from .._engine.plain_optimizers import (
    is_description,
    optimizer_from_plain,
    optimizer_to_plain,
)
from .._engine.startup import starting_tensorflow

State = dict[str, Any]


def to_plain(state: State, records: Mapping[str, type]) -> State:
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
    plain["solver"] = optimizer_to_plain(state["solver"])
    if isinstance(state["checkpoint_dir"], os.PathLike):
        plain["checkpoint_dir"] = os.fspath(state["checkpoint_dir"])
    return plain


def from_plain(plain: State, records: Mapping[str, type]) -> State:
    """Undo ``to_plain``; a path stays a string."""
    state = dict(plain)
    for name in records.keys() & plain.keys():
        if plain[name] is not None:
            state[name] = records[name](**plain[name])
    if is_description(plain["solver"]):
        with starting_tensorflow():
            state["solver"] = optimizer_from_plain(plain["solver"])
    return state

"""The plain form in which a transformer is saved: arrays and basic Python types.

A skops file names the types that it needs, and its reader has to trust each of them.
Records are therefore saved as dicts, paths as strings, and a Keras optimizer, which
skops cannot save, as its configuration.
"""

import os

from .._engine.plain_optimizers import (
    is_description,
    optimizer_from_plain,
    optimizer_to_plain,
)
from .._engine.startup import starting_tensorflow


def to_plain(state, records):
    """Return the attributes of an estimator in the form in which they are saved.

    ``records`` maps the name of each attribute that is a record to its type, a subclass
    of dict or a NamedTuple.
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


def from_plain(plain, records):
    """Undo ``to_plain``, but leave paths as strings."""
    state = dict(plain)
    for name in records.keys() & plain.keys():
        if plain[name] is not None:
            state[name] = records[name](**plain[name])
    if is_description(plain["solver"]):
        with starting_tensorflow():
            state["solver"] = optimizer_from_plain(plain["solver"])
    return state

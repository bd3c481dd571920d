"""What a transformer is saved as: arrays and plain Python types.

A file of skops names the types that it needs, and a reader has to trust each. Records
are therefore saved as dicts, a path as a string, and a Keras optimizer, which skops
cannot save, as its configuration. The version of this package stands beside them.
"""

import os
import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils.fixes import parse_version

from .._engine.plain_optimizers import (
    is_description,
    optimizer_from_plain,
    optimizer_to_plain,
)
from .._engine.startup import starting_tensorflow

State = dict[str, Any]

VERSION = "_sksparse_ae_version"


def to_plain(state: State, records: Mapping[str, type]) -> State:
    """Return the attributes of an estimator as they are saved.

    Parameters
    ----------
    state : dict
    records : dict
        The type, a dict or a NamedTuple, of each attribute that is one.
    """
    from .. import __version__

    plain = {**state, VERSION: __version__}
    for name in records.keys() & state.keys():
        record = state[name]
        if record is not None:
            plain[name] = dict(record if isinstance(record, dict) else record._asdict())
    plain["solver"] = optimizer_to_plain(state["solver"])
    if isinstance(state["checkpoint_dir"], os.PathLike):
        plain["checkpoint_dir"] = os.fspath(state["checkpoint_dir"])
    return plain


def from_plain(plain: State, records: Mapping[str, type]) -> State:
    """Undo ``to_plain``; a path stays a string. Warn of a newer version's."""
    from .. import __version__

    state = dict(plain)
    version = state.pop(VERSION, __version__)
    if parse_version(version) > parse_version(__version__):
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name="SparseAutoencoderTransformer of sksparse_ae",
                current_sklearn_version=__version__,
                original_sklearn_version=version,
            ),
            stacklevel=3,
        )
    for name in records.keys() & plain.keys():
        if plain[name] is not None:
            state[name] = records[name](**plain[name])
    if is_description(plain["solver"]):
        with starting_tensorflow():
            state["solver"] = optimizer_from_plain(plain["solver"])
    return state

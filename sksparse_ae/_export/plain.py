"""The plain form in which a transformer is saved: arrays and basic Python types.

A skops file names the types that it needs, and its reader has to trust each of them.
Records are therefore saved as dicts, paths as strings, and a Keras optimizer, which
skops cannot save, as its configuration. The version of this package stands beside them.
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

Attributes = dict[str, Any]

VERSION = "_sksparse_ae_version"


def to_plain(state: Attributes, records: Mapping[str, type]) -> Attributes:
    """Return the attributes of an estimator in the form in which they are saved.

    ``records`` maps the name of each attribute that is a record to its type, a subclass
    of dict or a NamedTuple.
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


def from_plain(plain: Attributes, records: Mapping[str, type]) -> Attributes:
    """Undo ``to_plain``, but leave paths as strings. Warn of a newer version's."""
    from .. import __version__

    state = dict(plain)
    version = state.pop(VERSION, __version__)
    is_newer = parse_version(version) > parse_version(__version__)
    try:
        for name in records.keys() & plain.keys():
            if plain[name] is not None:
                state[name] = records[name](**plain[name])
        if is_description(plain["solver"]):
            with starting_tensorflow():
                state["solver"] = optimizer_from_plain(plain["solver"])
    except Exception as error:
        if not is_newer:
            raise
        raise ValueError(
            f"The file was written by sksparse_ae {version}, newer than the "
            f"{__version__} that is installed, which cannot read it: {error}"
        ) from error
    if is_newer:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name="SparseAutoencoderTransformer of sksparse_ae",
                current_sklearn_version=__version__,
                original_sklearn_version=version,
            ),
            stacklevel=3,
        )
    return state

"""What a transformer is saved as: arrays and plain Python types.

A file of skops names the types that it needs, and a reader has to trust each. Records
are therefore saved as dicts, a path as a string, and a Keras optimizer, which skops
cannot save, as its configuration. The version of the package goes with them: what a
newer one has saved is read as well as can be, and told.
"""

import os
import warnings

from sklearn.utils.fixes import parse_version

from .._engine.plain_optimizers import (
    is_description,
    optimizer_from_plain,
    optimizer_to_plain,
)
from .._engine.startup import starting_tensorflow

# Where a saved state has the version that wrote it.
WRITTEN_BY = "_sksparse_ae_version"


def to_plain(state, records):
    """Return the attributes of an estimator as they are saved.

    Parameters
    ----------
    state : dict
    records : dict
        The type, a dict or a NamedTuple, of each attribute that is one.
    """
    from .. import __version__

    plain = dict(state) | {WRITTEN_BY: __version__}
    for name in records.keys() & state.keys():
        record = state[name]
        if record is not None:
            plain[name] = dict(record if isinstance(record, dict) else record._asdict())
    plain["solver"] = optimizer_to_plain(state["solver"])
    if isinstance(state["checkpoint_dir"], os.PathLike):
        plain["checkpoint_dir"] = os.fspath(state["checkpoint_dir"])
    return plain


def from_plain(plain, records):
    """Undo ``to_plain``; a path stays a string."""
    state = dict(plain)
    newer = _of_a_newer_version(state.pop(WRITTEN_BY, None))
    try:
        for name in records.keys() & plain.keys():
            if plain[name] is not None:
                state[name] = records[name](**plain[name])
        if is_description(plain["solver"]):
            with starting_tensorflow():
                state["solver"] = optimizer_from_plain(plain["solver"])
    except Exception as error:
        if newer:
            raise ValueError(f"{newer}, which cannot read it: {error}") from error
        raise
    if newer:
        warnings.warn(f"{newer}: results may differ. Upgrade.", stacklevel=3)
    return state


def _of_a_newer_version(version):
    """Return what to say of a file of this version, or None if it is not newer."""
    from .. import __version__

    if version is None or parse_version(version) <= parse_version(__version__):
        return None
    return (
        f"The file was written by sksparse_ae {version}, newer than the {__version__} "
        "that is installed"
    )

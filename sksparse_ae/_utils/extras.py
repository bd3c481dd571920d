"""Imports of packages that an extra installs."""

import importlib
from types import ModuleType


def import_extra(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import a module by its full name, or name the extra that installs it.

    ``needed_by`` is what the user called, for the message.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{needed_by} needs {package}, which cannot be imported. Install it, e.g. "
            f"with: python -m pip install 'sksparse_ae[{extra}]'"
        ) from error

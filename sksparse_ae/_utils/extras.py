"""Imports of packages that only an extra installs."""

import importlib
from types import ModuleType


def import_extra(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import a module, or say which extra of this package brings it.

    Parameters
    ----------
    module : str
        Full name, e.g. "matplotlib.pyplot".
    extra : str
        Name of the extra in pyproject.toml.
    needed_by : str
        What the user called, for the message.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{needed_by} needs {package}, which cannot be imported. Install it, e.g. "
            f"with: python -m pip install 'sksparse_ae[{extra}]'"
        ) from error

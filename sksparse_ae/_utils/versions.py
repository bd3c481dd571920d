"""Versions of installed packages, without importing them."""

import importlib.metadata

# Names under which TensorFlow is also distributed.
OTHER_NAMES = {"tensorflow": ("tensorflow-cpu", "tensorflow-macos", "tf-nightly")}


def version_of(package: str) -> str | None:
    """Return the version of a distribution; None if it is not installed."""
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None

"""What each private package may import: see CONTRIBUTING.md."""

import ast
import re
from pathlib import Path

import pytest

import sksparse_ae

ROOT = Path(sksparse_ae.__file__).parent

# In the order in which they may import: each only what stands before it.
ROOMS = (
    "_utils",
    "_objective",
    "_network",
    "_engine",
    "_training",
    "_dask",
    "_search",
)

# What the public modules that are classes of Keras import it from.
OF_KERAS = ("_keras.py",)


def imports_of(path):
    """Return the names of all modules that a file imports, ours from the root on."""
    package = ("sksparse_ae", *path.relative_to(ROOT).parts[:-1])
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found


def files(folder=""):
    return sorted((ROOT / folder).rglob("*.py"))


def test_only_the_engine_imports_tensorflow_and_keras():
    importing = {
        path.relative_to(ROOT).parts[0]
        for path in files()
        for name in imports_of(path)
        if name.split(".")[0] in ("tensorflow", "keras")
    }
    assert importing == {"_engine", *OF_KERAS}


def test_only_classes_of_keras_import_it_from_there():
    importing = {
        str(path.relative_to(ROOT))
        for path in files()
        for name in imports_of(path)
        if name.startswith("sksparse_ae._keras.")
    }
    classes = "keras_model", "regularizers", "selections", "_sparsity_layer"
    assert importing == {f"{name}.py" for name in classes}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_before_it(room):
    allowed = ROOMS[: ROOMS.index(room) + 1]
    if room == "_objective":
        allowed = ("_objective",)
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in files(room)
        for name in imports_of(path)
        if name.split(".")[0] == "sksparse_ae"
        and name.split(".")[1] not in (*allowed, "__version__")
    }
    assert found == set()


def test_only_one_room_imports_dask():
    importing = {
        path.relative_to(ROOT).parts[0]
        for path in files()
        for name in imports_of(path)
        if name.split(".")[0] in ("dask", "distributed")
    }
    assert importing == {"_dask"}


def test_nothing_below_the_search_names_it():
    below = [path for room in ROOMS[:-1] for path in files(room)]
    assert len(below) > 20
    assert not [p for p in below if re.search(r"\b_search\b", p.read_text())]

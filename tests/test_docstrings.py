"""Public docstrings pass scikit-learn's own check of its docstrings."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
from numpydoc.validate import validate

API = Path(__file__).parents[1] / "docs" / "api.rst"

# As sklearn/tests/test_docstrings.py filters: RT02 wants no names of what is returned;
# GL01 and GL02 want empty lines about the text.
NOT_OURS = {"RT02", "GL01", "GL02"}
OF_PROPERTIES = {"PR02", "GL08"}
# An extended summary, See Also and examples are asked of classes alone.
OF_CLASSES = {"EX01", "SA01", "ES01"}


def documented():
    """Yield the path and the kind of all that docs/api.rst lists, and its members."""
    for name in re.findall(r"^   ([\w.]+)$", API.read_text("utf-8"), re.MULTILINE):
        path = f"sksparse_ae.{name}"
        module, _, attribute = path.rpartition(".")
        item = getattr(importlib.import_module(module), attribute)
        if not inspect.isclass(item):
            yield path, "function"
            continue
        yield path, "class"
        for member in dir(item):
            # What is inherited from others is theirs to describe.
            owner = next(c for c in item.__mro__ if member in vars(c))
            value = getattr(item, member)
            is_documented = callable(value) or isinstance(value, property)
            if (
                is_documented
                and not member.startswith("_")
                and owner.__module__.startswith("sksparse_ae")
            ):
                is_property = isinstance(value, property)
                yield f"{path}.{member}", "property" if is_property else "method"


@pytest.mark.parametrize(("path", "kind"), list(documented()))
def test_docstring_has_what_scikit_learn_asks_of_its_own(path, kind):
    ignored = NOT_OURS | (set() if kind == "class" else OF_CLASSES)
    ignored |= OF_PROPERTIES if kind == "property" else set()
    errors = [error for error in validate(path)["errors"] if error[0] not in ignored]
    assert errors == []

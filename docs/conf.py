"""Settings of the documentation: python -m sphinx -W -b html docs docs/_build/html."""

import inspect

import sksparse_ae

project = "sksparse_ae"
author = "the sksparse_ae developers"
copyright = f"2026, {author}"
release = version = sksparse_ae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "templates"]
templates_path = ["templates"]
default_role = "literal"
toc_object_entries_show_parents = "hide"

# The template of a class documents its own methods; those that it inherits from
# scikit-learn and Keras are documented there.
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False

# Every example runs, two side by side; one that fails, fails the build. To build the
# pages alone: -D plot_gallery=0.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "subsection_order": [
        "../examples/features",
        "../examples/choosing",
        "../examples/tables",
        "../examples/systems",
    ],
    "doc_module": ("sksparse_ae",),
    "backreferences_dir": "api/backreferences",
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "parallel": 2,
}

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {version}"
html_show_sourcelink = False
html_sidebars = {"**": []}  # three pages and the API need no second menu
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def signature_of_init(app, what, name, obj, options, signature, returns):
    """Return what ``__init__`` takes: the ``__new__`` of Keras layers hides it."""
    if what != "class":
        return None
    init = inspect.signature(obj.__init__)
    parameters = list(init.parameters.values())[1:]
    return str(init.replace(parameters=parameters)), returns


def without_requests(app, what, name, obj, skip, options):
    """Leave out set_fit_request and its like: their text refers to scikit-learn's."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    """Connect to autodoc."""
    app.connect("autodoc-process-signature", signature_of_init)
    app.connect("autodoc-skip-member", without_requests)

"""Settings of the documentation: python -m sphinx -W -b html docs docs/_build/html."""

import inspect
import sys
from html import escape
from pathlib import Path

from docutils import nodes

import sksparse_ae

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "sksparse_ae"
author = "the sksparse_ae developers"
copyright = f"2026, {author}"
release = version = sksparse_ae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "myst_parser",
    "inventories",  # of _ext: links to other packages, from links.txt
    "mathml",  # of _ext: formulas
]
# sg_execution_times, the gallery's table of times, loads scripts from elsewhere.
exclude_patterns = ["_build", "templates", "**sg_execution_times.rst"]
templates_path = ["templates"]
default_role = "literal"
smartquotes = False  # string literals keep their quotes
toc_object_entries_show_parents = "hide"
html_math_renderer = "mathml"
intersphinx_mapping = {}  # _ext/inventories.py fills it
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# A reference that leads nowhere is an error.
nitpicky = True
suppress_warnings = ["myst.header"]  # CHANGELOG.md is included without its title

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
    "reset_modules": ("matplotlib", "gallery.start_processes_afresh"),
    "parallel": 2,
}

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {version}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/logo.svg"
html_baseurl = "https://sksparse-ae.github.io/sksparse_ae/"
html_context = {
    "github_user": "sksparse-ae",
    "github_repo": "sksparse_ae",
    "github_version": "main",
    "doc_path": "docs",
}
html_sidebars = {"index": []}
html_theme_options = {
    "logo": {
        "text": project,
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 5,
    "github_url": "https://github.com/sksparse-ae/sksparse_ae",
    "use_edit_page_button": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}


def signature_of_init(app, what, name, obj, options, signature, returns):
    """Return what ``__init__`` takes: the ``__new__`` of Keras layers hides it."""
    if what != "class":
        return None
    init = inspect.signature(obj.__init__)
    _, *parameters = init.parameters.values()
    # Types stand in the docstrings.
    parameters = [p.replace(annotation=p.empty) for p in parameters]
    init = init.replace(parameters=parameters, return_annotation=init.empty)
    return str(init), returns


# What Keras and skl2onnx call, not users.
CALLED_BY_OTHERS = {
    "build",
    "compute_output_shape",
    "onnx_converter",
    "onnx_shape_calculator",
    "test_step",
}


def without_others(app, what, name, obj, skip, options):
    """Leave out what users do not call, and set_fit_request and its like.

    The text of these refers to scikit-learn's.
    """
    is_request = name.startswith("set_") and name.endswith("_request")
    return True if is_request or name in CALLED_BY_OTHERS else None


def add_description(app, pagename, templatename, context, doctree):
    """Describe a page, to search engines, by its first paragraph."""
    lead = doctree and doctree.next_node(nodes.paragraph)
    if lead:
        text = escape(" ".join(lead.astext().split()))
        context["metatags"] += f'\n<meta name="description" content="{text}">'


def setup(app):
    """Connect to autodoc and to the writer of pages."""
    app.connect("html-page-context", add_description)
    app.connect("autodoc-process-signature", signature_of_init)
    app.connect("autodoc-skip-member", without_others)

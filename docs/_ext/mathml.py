"""Write formulas as MathML, which browsers draw without a script or the network."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError

# docutils sets the index of an accented letter below it, and leaves no space at log.
CORRECTIONS = [
    (re.compile(r"\\(hat|bar) ?(\\?[A-Za-z]+)(?=[_^])"), r"{{\\\1{\2}}{}}"),
    (re.compile(r"\\log\b"), r"\\,\\log\\,"),
]


def _mathml(node, as_block):
    tex = node.astext().strip()
    for pattern, replacement in CORRECTIONS:
        tex = pattern.sub(replacement, tex)
    if as_block and r"\\" in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return tex2mathml(tex, as_block=as_block)
    except MathError as error:
        raise ExtensionError(f"{error} In the formula: {tex}") from error


def _visit_inline(self, node):
    self.body.append(_mathml(node, as_block=False))
    raise SkipNode  # whose text is not to follow


def _visit_block(self, node):
    formula = _mathml(node, as_block=True)
    # A wide formula scrolls in a box of its own, which the keyboard reaches.
    self.body.append(f'<div class="formula" tabindex="0">{formula}</div>')
    raise SkipNode


def setup(app):
    """Register the renderer, for ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The snippets in the documentation run and print what they say."""

import ast
import doctest
import re
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BUILT = {"auto_examples", "generated", "backreferences", "_build"}
PAGES = [
    page.relative_to(DOCS)
    for page in sorted(DOCS.rglob("*.rst"))
    if not BUILT.intersection(page.relative_to(DOCS).parts)
]
WITH_EXAMPLES = [page for page in PAGES if ">>> " in (DOCS / page).read_text()]
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+")


class ToTheDigitsWritten(doctest.OutputChecker):
    """Compare decimal numbers to one unit of the last digit that the page has."""

    def check_output(self, want, got, flags):
        """Return whether the output is what the page says."""
        wanted, found = NUMBER.findall(want), NUMBER.findall(got)
        if len(wanted) == len(found):
            for expected, number in zip(wanted, found, strict=True):
                last_digit = 10 ** -len(expected.split(".")[1])
                if abs(float(expected) - float(number)) <= 1.001 * last_digit:
                    got = got.replace(number, expected, 1)
        return super().check_output(want, got, flags)


# Trainings that are short on purpose stop at max_iter.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings(  # of Keras, where it saves a model
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=str)
def test_examples_of_a_page_print_what_they_say(page, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    text = (DOCS / page).read_text()
    test = doctest.DocTestParser().get_doctest(text, {}, str(page), str(page), 0)
    printed = []
    runner = doctest.DocTestRunner(
        ToTheDigitsWritten(), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    failed, attempted = runner.run(test, out=printed.append)
    plt.close("all")
    assert attempted > 0
    assert not failed, "".join(printed)


def blocks_of_python(page):
    """The snippets of a page that are shown and do not run."""
    blocks = re.findall(
        r"^( *)\.\. code-block:: python\n\n((?:\1   .*\n|\n)+)",
        (DOCS / page).read_text() + "\n",
        flags=re.M,
    )
    return [textwrap.dedent(block) for _, block in blocks]


# What needs a cluster, a server, a killed process, or files of the reader's own.
DO_NOT_RUN = {
    "how_to/clusters.rst",
    "how_to/images.rst",
    "how_to/long_trainings.rst",
    "user_guide/neighbours.rst",
}


def test_snippets_that_do_not_run_are_python_and_few():
    shown = {str(page): blocks_of_python(page) for page in PAGES}
    assert {page for page, blocks in shown.items() if blocks} == DO_NOT_RUN
    for blocks in shown.values():
        for block in blocks:
            ast.parse(block)

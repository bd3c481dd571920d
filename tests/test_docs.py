"""The examples in the documentation run and print what they say."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


# Trainings that are short on purpose stop at max_iter.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "page", ["losses", "migration", "neighbours", "stacks", "tables", "user_guide"]
)
def test_examples_of_a_page_print_what_they_say(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(
        str(DOCS / f"{page}.rst"), module_relative=False
    )
    assert attempted > 0
    assert failed == 0

"""Every page of the built documentation fits a phone, and every snippet a laptop.

It needs a browser, as the tests of the report do, and the pages, which it looks for in
``docs/_build/html`` or where the environment's SITE says::

    python -m sphinx -b html docs docs/_build/html
    python -m pytest -m browser tests/test_site_browser.py
"""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

# More than a hundred pages: several minutes where a machine is busy.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

SITE = Path(os.environ.get("SITE", Path(__file__).parents[1] / "docs/_build/html"))
PHONE, LAPTOP = 390, 1280  # px, the widths of common ones

# What reaches beyond the right edge, unless it is in a box that scrolls or that cuts it
# off, such as a table, a snippet or a closed menu.
STICKS_OUT = """
const edge = document.documentElement.clientWidth + 1;
const rightOf = element => element.getBoundingClientRect().right;
const isHeld = element => {
  let box = element.parentElement;
  for (; box !== document.body; box = box.parentElement)
    if (getComputedStyle(box).overflowX !== "visible" && rightOf(box) <= edge)
      return true;
  return false;
};
const found = [];
for (const element of document.body.querySelectorAll("*")) {
  if (rightOf(element) <= edge || isHeld(element)) continue;
  if (!element.checkVisibility({visibilityProperty: true})) continue;
  const name = [element.tagName.toLowerCase(), ...element.classList].join(".");
  const text = element.textContent.trim().slice(0, 40);
  found.push(`${name} to ${Math.round(rightOf(element))} px: ${text}`);
}
const width = document.scrollingElement.scrollWidth;
if (width > edge) found.push(`the page is ${width} px wide`);
return found;
"""


# The widest line of each snippet that has to be scrolled to be read.
CUT_OFF = """
const longest = text => text.split("\\n").sort((a, b) => b.length - a.length)[0];
return [...document.querySelectorAll("pre")]
  .filter(snippet => snippet.scrollWidth > snippet.clientWidth + 1)
  .map(snippet => longest(snippet.innerText));
"""


def resize(browser, width):
    """Give the browser the window of a device of this width."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": width,
            "height": 844,
            "deviceScaleFactor": 1,
            "mobile": width == PHONE,
        },
    )


@pytest.fixture(scope="module")
def phone(chromium):
    """The browser with the window of a phone."""
    resize(chromium, PHONE)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def pages():
    """The pages that readers see, without copies of source files."""
    found = sorted(SITE.rglob("*.html"))
    return [page for page in found if "_static" not in page.relative_to(SITE).parts]


def sticking_out(phone, page):
    """What sticks out of a page, for the schemes in which something does."""
    phone.get(page.as_uri())
    found = {}
    for scheme in ("light", "dark"):
        phone.execute_script(
            "document.documentElement.dataset.theme = arguments[0]", scheme
        )
        if wide := phone.execute_script(STICKS_OUT):
            found[scheme] = wide[:5]
    return found


class Page(NamedTuple):
    """What a page has that it should not have."""

    wide: dict  # what sticks out on a phone, for each scheme
    cut_off: list  # lines of snippets that are cut off on a laptop
    asked_for: list  # of the network


@pytest.fixture(scope="module")
def read(phone):
    """All pages, read on a phone and on a laptop."""
    assert pages(), f"{SITE} has no pages: build the documentation first, or set SITE"
    found = {}
    for page in pages():
        wide = sticking_out(phone, page)
        resize(phone, LAPTOP)
        cut_off = phone.execute_script(CUT_OFF)
        resize(phone, PHONE)
        resources = phone.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        asked_for = [name for name in resources if name.startswith("http")]
        found[str(page.relative_to(SITE))] = Page(wide, cut_off, asked_for)
    return found


def test_no_page_is_wider_than_a_phone(read):
    assert {name: page.wide for name, page in read.items() if page.wide} == {}


def test_no_snippet_is_scrolled_on_a_laptop(read):
    assert {name: page.cut_off for name, page in read.items() if page.cut_off} == {}


def test_no_page_asks_the_network_for_anything(read):
    asked = {name: page.asked_for for name, page in read.items() if page.asked_for}
    assert asked == {}


@pytest.mark.parametrize(
    ("content", "is_found"),
    [
        ('<p style="width: 600px">wide</p>', True),
        (
            '<p style="margin-left: 300px"><code>a_long_name_without_a_break</code>',
            True,
        ),
        ('<div style="overflow-x: auto"><p style="width: 600px">wide</p></div>', False),
        ("<p>narrow</p>", False),
    ],
)
def test_what_sticks_out_is_found(content, is_found, phone, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><meta name="viewport" content="width=device-width">' + content
    )
    assert bool(sticking_out(phone, page)) == is_found

"""The report in Chromium: sort, filter, open a unit, by mouse, keyboard and ear.

These tests need a browser, which pip does not install, and run by themselves:
``apt-get install chromium chromium-driver``, then ``python -m pytest -m browser``.
"""

import json
import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network.units import STATES

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>window.hostile = 1</script><b onclick='hostile()'>"


class Reader:
    """Someone before the page."""

    def __init__(self, driver):
        self.driver = driver

    def load(self, path):
        self.driver.get(path.as_uri())
        self.data = json.loads(self("return document.getElementById('data').text"))

    def __call__(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def devtools(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def set_window(self, width, scheme="light"):
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.devtools(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    @property
    def shown(self):
        """Numbers of the units in the table, from top to bottom."""
        return self(
            "return [...document.querySelectorAll('tbody[data-unit]')]"
            ".filter(body => body.offsetHeight > 0).map(body => +body.dataset.unit)"
        )

    def button(self, unit):
        return self.find(f"tbody[data-unit='{unit}'] button")

    def header(self, key):
        return self.find(f"button[data-key='{key}']")

    def details(self, unit):
        return self.find_all(f"#details-{unit}")


@pytest.fixture
def reader(chromium):
    """Someone before an empty window; at the end nothing may have gone wrong."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    reader = Reader(chromium)
    reader.set_window(1280)
    yield reader
    assert chromium.get_log("browser") == []


def with_states(digits):
    """A transformer with units of every state."""
    estimator = SparseAutoencoderTransformer(30, solver="lbfgs", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.set_params(max_iter=20).fit(digits)
    W1, b1 = estimator.coefs_[0], estimator.intercepts_[0]
    W1[:, [3, 7, 11]] = 0
    b1[[3, 7, 11]] = [-9, 9, -1]
    return estimator


@pytest.fixture(scope="session")
def pages(digits, tmp_path_factory):
    """The paths of three reports: with images, with names, and with hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    estimator = with_states(digits)
    names = [f"pixel {i}" for i in range(64)]
    hostile = [HOSTILE + name for name in names]
    return {
        "images": estimator.report(
            digits, folder / "images.html", image_shape=(8, 8), feature_names=names
        ),
        "names": estimator.report(digits, folder / "names.html", feature_names=names),
        "hostile": estimator.report(
            digits, folder / "hostile.html", feature_names=hostile
        ),
    }


@pytest.mark.parametrize("key", ["rho_hat", "sparseness", "maximum", "kl", "state"])
def test_a_header_sorts_up_then_down(key, reader, pages):
    reader.load(pages["images"])
    values = [unit[key] for unit in reader.data["units"]]
    header = reader.header(key)
    cell = header.find_element("xpath", "..")
    header.click()
    assert cell.get_attribute("aria-sort") == "ascending"
    assert reader.shown == sorted(range(30), key=lambda unit: (values[unit], unit))
    header.click()
    assert cell.get_attribute("aria-sort") == "descending"
    assert all(values[a] >= values[b] for a, b in pairwise(reader.shown))
    assert len(reader.find_all("[aria-sort]")) == 1
    reader.header("unit").click()
    assert reader.shown == list(range(30))


def test_a_unit_stays_open_under_its_row_when_the_table_is_sorted(reader, pages):
    reader.load(pages["images"])
    reader.button(4).click()
    reader.header("sparseness").click()
    (details,) = reader.details(4)
    assert details.is_displayed()
    assert "4" in reader(
        "return arguments[0].previousElementSibling.innerText", details
    )


def test_states_filter_and_the_count_is_announced(reader, pages):
    from selenium.webdriver.common.keys import Keys

    reader.load(pages["images"])
    states = [unit["state"] for unit in reader.data["units"]]
    assert {states[3], states[7], states[11]} == {"dead", "saturated", "collapsed"}
    for state in STATES:
        reader.find("#state").send_keys(Keys.DOWN)
        expected = [unit for unit in range(30) if states[unit] == state]
        assert reader.shown == expected
        # An output is a live region: what it says is read out.
        assert reader.find("output").text == f"{len(expected)} of 30 units"


def test_text_filters_by_number_and_by_feature(reader, pages):
    reader.load(pages["names"])
    search = reader.find("#search")
    search.send_keys("12")
    features = [
        [name for name, *_ in unit["features"]] for unit in reader.data["units"]
    ]
    has_12 = [unit for unit in range(30) if "pixel 12" in features[unit]]
    assert reader.shown == sorted({12, *has_12})
    search.clear()
    search.send_keys("PIXEL 20")
    expected = [unit for unit in range(30) if "pixel 20" in features[unit]]
    assert 0 < len(expected) < 30
    assert reader.shown == expected


def test_a_search_without_a_match_says_so_and_is_cleared(reader, pages):
    reader.load(pages["images"])
    assert not reader.find("#none").is_displayed()
    reader.find("#search").send_keys("no such feature\n")
    assert reader.shown == []
    assert "No unit matches" in reader.find("#none").text
    reader.find("#clear").click()
    assert reader.shown == list(range(30))
    assert reader.find("#search").get_attribute("value") == ""
    assert not reader.find("#none").is_displayed()


def test_a_unit_opens_to_its_numbers_its_histogram_and_its_samples(reader, pages):
    reader.load(pages["images"])
    unit = reader.data["units"][5]
    assert reader.details(5) == []
    reader.button(5).click()
    (details,) = reader.details(5)
    for name in ("rho_hat", "std", "kl", "encoder_norm"):
        text = reader.find(f"#details-5 [data-measure={name}]").text
        assert float(text) == pytest.approx(unit[name], rel=6e-3)
    images = reader.find_all("#details-5 img")
    assert len(images) == 2 + 8
    reader("return Promise.all(arguments[0].map(image => image.decode()))", images)
    for image in images:
        assert reader("return arguments[0].naturalWidth", image) == 8
    captions = reader.find_all("#details-5 .samples figcaption")
    for caption, sample, activation in zip(
        captions, unit["samples"], unit["activations"], strict=True
    ):
        shown, number = caption.text.split("\n")
        assert number == f"sample {sample}"
        assert float(shown) == pytest.approx(activation, rel=6e-3)
    reader.find("#details-5 summary").click()
    counts = [cell.text for cell in reader.find_all("#details-5 .counts td")]
    assert [int(count) for count in counts] == unit["counts"]
    assert details.find_elements("css selector", ".histogram svg path")
    reader.button(5).click()
    assert reader.details(5) == []


def test_the_table_and_the_details_write_numbers_alike(reader, pages):
    reader.load(pages["images"])
    for unit in range(30):
        reader("arguments[0].click()", reader.button(unit))
        for name in ("rho_hat", "sparseness", "maximum", "kl"):
            row = reader.find(f"tbody[data-unit='{unit}'] td.{name}")
            place = reader.find(f"#details-{unit} [data-measure={name}]")
            assert row.text == place.text != ""


def test_a_unit_of_named_features_opens_to_the_values_of_its_samples(reader, pages):
    reader.load(pages["names"])
    unit = reader.data["units"][5]
    reader.button(5).click()
    rows = [
        [cell.text for cell in row.find_elements("css selector", "th, td")]
        for row in reader.find_all("#details-5 .values tr")
    ]
    assert rows[0] == ["Sample", "Activation", *(name for name, *_ in unit["features"])]
    for row, place in zip(rows[1:3], (1, 2), strict=True):
        weights = [float(text) for text in row[1:]]
        expected = [feature[place] for feature in unit["features"]]
        assert weights == pytest.approx(expected, rel=6e-3)
    for row, sample, values in zip(
        rows[3:], unit["samples"], unit["values"], strict=True
    ):
        assert row[0] == str(sample)
        assert [float(text) for text in row[2:]] == pytest.approx(values, rel=6e-3)


def test_a_click_anywhere_in_a_row_opens_the_unit(reader, pages):
    reader.load(pages["images"])
    reader.find("tbody[data-unit='2'] td.rho_hat").click()
    assert reader.details(2)


def test_the_keyboard_alone_sorts_filters_and_opens(reader, pages):
    from selenium.webdriver.common.keys import Keys

    reader.load(pages["images"])
    reader.press(Keys.TAB)
    assert reader.driver.switch_to.active_element.text == "Skip to the units"
    reader.press(Keys.ENTER)
    reader.press(Keys.TAB)
    assert reader.driver.switch_to.active_element == reader.find("#search")
    reader.press("pixel 20")
    expected = reader.shown
    assert 1 < len(expected) < 30
    reader.press(Keys.TAB)
    assert reader.driver.switch_to.active_element == reader.find("#state")
    reader.press(Keys.TAB)
    assert reader.driver.switch_to.active_element == reader.header("unit")
    reader.press(Keys.SPACE)
    assert reader.shown == expected[::-1]
    unit = expected[-1]
    for _ in range(6):  # four measures, the state, and the first unit
        reader.press(Keys.TAB)
    assert reader.driver.switch_to.active_element == reader.button(unit)
    reader.press(Keys.ENTER)
    assert reader.details(unit)
    assert reader.button(unit).get_attribute("aria-expanded") == "true"
    assert reader.button(unit).get_attribute("aria-controls") == f"details-{unit}"


@pytest.mark.parametrize("name", ["images", "names"])
def test_all_that_a_screen_reader_meets_has_a_name(name, reader, pages):
    reader.load(pages[name])
    reader.button(5).click()
    reader.devtools("Accessibility.enable")
    nodes = reader.devtools("Accessibility.getFullAXTree")["nodes"]
    roles = {
        "button", "combobox", "searchbox", "image", "table", "region", "search",
        "columnheader", "rowheader", "heading", "link",
    }  # fmt: skip
    met = set()
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in roles and not node["ignored"]:
            met.add(role)
            # The small tables stand under a heading or in a region that names them.
            assert node["name"]["value"] or role == "table", node
    assert met >= {"button", "combobox", "searchbox", "image", "table", "columnheader"}
    names = {node["name"]["value"] for node in nodes if "name" in node}
    assert {"Unit 5", "Mean activation"} <= {
        re.sub(r"\W+$", "", name).strip("▸▾ ") for name in names
    }


def test_names_are_shown_as_text_and_never_run(reader, pages):
    reader.load(pages["hostile"])
    reader.button(5).click()
    assert reader("return window.hostile") is None
    assert reader.find_all("#units b") == []
    assert HOSTILE in reader.find("#details-5 .values thead").text


def test_the_page_asks_for_nothing(reader, pages):
    reader.load(pages["images"])
    reader.button(5).click()
    asked_for = reader(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert all(name.startswith("data:") for name in asked_for)


INKS = [
    *("text", "muted", "accent", "second"),
    *("reconstruction", "weight-decay", "sparsity"),
]


def _luminance(color):
    """Relative luminance of a CSS color, as WCAG 2.2 defines it."""
    channels = np.array([int(n) for n in re.findall(r"\d+", color)[:3]]) / 255
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(scheme, reader, pages):
    reader.set_window(1280, scheme)
    reader.load(pages["images"])
    colors = reader(
        "return Object.fromEntries(arguments[0].map(name => {"
        "  document.body.style.color = `var(--${name})`;"
        "  return [name, getComputedStyle(document.body).color]; }))",
        ["page", "panel", *INKS],
    )
    luminance = {name: _luminance(color) for name, color in colors.items()}
    assert (luminance["page"] > 0.5) == (scheme == "light")
    for ground in ("page", "panel"):
        for ink in INKS:
            dark, light = sorted([luminance[ground], luminance[ink]])
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, ink)
    # The figures follow.
    fill = "return getComputedStyle(document.querySelector('.overview path')).stroke"
    assert reader(fill) != ""
    text = reader("return getComputedStyle(document.querySelector('svg text')).fill")
    assert text == colors["text"]


@pytest.mark.parametrize("name", ["images", "names"])
@pytest.mark.parametrize("width", [360, 700, 1000, 1600])
def test_no_window_is_too_narrow(width, name, reader, pages):
    reader.set_window(width)
    reader.load(pages[name])
    reader.button(0).click()
    reader("document.querySelector('.parameters').open = true")
    assert reader("return document.documentElement.scrollWidth") <= width
    # Open details span the table, and go on to do so when the window changes.
    for new_width in (width, 1280):
        reader.set_window(new_width)
        reader(
            "return new Promise(done => requestAnimationFrame(() => "
            "requestAnimationFrame(done)))"
        )
        cells, spanned = reader(
            "return [[...document.querySelectorAll('#units > thead th')]"
            ".filter(cell => cell.offsetWidth > 0).length, "
            "document.querySelector('.details > td').colSpan]"
        )
        assert cells == spanned


def test_a_thousand_units_on_sixty_thousand_samples_are_sorted_and_opened(
    reader, tmp_path
):
    # Noise is the worst case: PNG does not compress it.
    X = np.random.default_rng(0).random((60_000, 784), dtype=np.float32)
    estimator = SparseAutoencoderTransformer(1000, random_state=0).partial_fit(X[:200])
    path = estimator.report(X, tmp_path / "large.html", image_shape=(28, 28))
    assert path.stat().st_size < 15e6
    reader.load(path)
    assert len(reader.shown) == 1000
    values = [unit["sparseness"] for unit in reader.data["units"]]
    reader.header("sparseness").click()
    assert reader.shown == sorted(range(1000), key=lambda unit: (values[unit], unit))
    reader.button(reader.shown[0]).click()
    images = reader.find_all(f"#details-{reader.shown[0]} .samples img")
    reader("return Promise.all(arguments[0].map(image => image.decode()))", images)
    assert [reader("return arguments[0].naturalWidth", i) for i in images] == [28] * 8

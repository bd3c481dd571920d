"""The report's page: what it says, that it is complete in itself, what it refuses."""

import base64
import hashlib
import html
import io
import json
import subprocess
import sys
import tracemalloc
import warnings
from html.parser import HTMLParser

import joblib
import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import sparse
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network import reading
from sksparse_ae._report import _images
from sksparse_ae.inspection import ComponentsDisplay
from sksparse_ae.metrics import variance_explained

HOSTILE = "</script><script>window.hostile = 1</script><img src=x onerror=hostile()>"


class Page(HTMLParser):
    """A page's elements, with the text that stands directly in each."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in ("meta", "img", "input"):
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data

    def find(self, tag, **attributes):
        return [
            element
            for element in self.elements
            if element["tag"] == tag and attributes.items() <= element.items()
        ]

    @property
    def data(self):
        return json.loads(self.find("script", id="data")[0]["text"])

    def row(self, unit):
        """The texts of the table cells of a unit."""
        start = self.elements.index(self.find("tbody", **{"data-unit": str(unit)})[0])
        texts = []
        for element in self.elements[start + 1 :]:
            if element["tag"] in ("tbody", "template", "p"):
                break
            texts.append(element["text"])
        return texts


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def briefly_fitted(X, n_components, *, solver="lbfgs", max_iter=2, **parameters):
    estimator = SparseAutoencoderTransformer(
        n_components, solver=solver, max_iter=max_iter, random_state=0, **parameters
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.fixture(scope="module")
def page(fitted, digits, tmp_path_factory):
    """The report of the digits, as images."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    return Page(fitted.report(digits, path, image_shape=(8, 8)))


def test_report_returns_the_path_it_wrote(fitted, digits, path):
    assert fitted.report(digits, str(path)) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_elements_are_closed_and_ids_are_unique(page):
    assert page.open == []
    ids = [element["id"] for element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))


def test_the_page_loads_nothing_and_runs_no_script_but_its_own(page):
    for element in page.elements:
        for attribute in ("src", "href", "xlink:href", "data", "action"):
            assert element.get(attribute, "#").startswith(("#", "data:image/png"))
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    data, script = page.find("script")
    digest = hashlib.sha256(script["text"].encode()).digest()
    assert "default-src 'none'" in policy["content"]
    assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy["content"]
    assert data["type"] == "application/json"


def test_the_terms_of_the_objective_are_those_of_the_estimator(page, fitted, digits):
    cells = [element["text"] for element in page.find("td")]
    on_these = fitted.evaluate_objective(digits)
    for term in ("reconstruction", "weight_decay", "sparsity", "total"):
        assert f"{fitted.objective_[term]:.4g}" in cells
        assert f"{on_these[term]:.4g}" in cells


def test_the_table_agrees_with_unit_report(page, fitted, digits):
    table = fitted.unit_report(digits)
    units = page.data["units"]
    assert len(units) == len(table) == 20
    for name in table.columns.drop("state"):
        assert_allclose([unit[name] for unit in units], table[name], rtol=1e-5)
    assert [unit["state"] for unit in units] == list(table["state"])
    for unit, row in table.iterrows():
        cells = page.row(unit)
        for name in ("rho_hat", "sparseness", "maximum", "kl"):
            assert any(_is_three_digits_of(cell, row[name]) for cell in cells)
        assert row["state"] in cells


def _is_three_digits_of(text, value):
    try:
        return abs(float(text) - value) <= 0.006 * abs(value)
    except ValueError:
        return False


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_histograms_and_samples_are_those_of_transform(
    activation, digits, path, monkeypatch
):
    # Several chunks, the last of them with fewer rows than samples are shown.
    monkeypatch.setattr(reading, "CHUNK_VALUES", 64 * 37)
    estimator = briefly_fitted(
        digits, 12, activation=activation, solver="lbfgs", max_iter=20
    )
    codes = estimator.transform(digits)
    if activation == "tanh":
        codes = (codes + 1) / 2
    upper = codes.max(axis=0) if activation == "relu" else np.ones(12)
    units = Page(estimator.report(digits, path)).data["units"]
    for unit, activations, end in zip(units, codes.T, upper, strict=True):
        strongest = np.argsort(-activations, kind="stable")[:8]
        assert unit["samples"] == strongest.tolist()
        assert_allclose(unit["activations"], activations[strongest], rtol=1e-5)
        counts = np.histogram(activations, 24, (0, end or 1))[0]
        # A value on the edge of two bins may fall to either side by rounding.
        assert np.abs(np.cumsum(unit["counts"]) - np.cumsum(counts)).max() <= 1
        assert sum(unit["counts"]) == len(digits)


def test_of_equally_active_samples_the_first_are_shown(digits, path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_VALUES", 64 * 10)
    X = np.zeros((50, 64))  # whose codes are the same to the last digit in any chunk
    estimator = briefly_fitted(digits, 3)
    for unit in Page(estimator.report(X, path)).data["units"]:
        assert unit["samples"] == list(range(8))
        assert unit["state"] in ("collapsed", "dead", "saturated")


def test_fewer_samples_than_places_are_all_shown(fitted, digits, path):
    for unit in Page(fitted.report(digits[:3], path)).data["units"]:
        assert sorted(unit["samples"]) == [0, 1, 2]


def test_images_are_the_weights_and_the_samples(page, fitted, digits):
    data = page.data
    for name, rows in (
        ("decoder", fitted.coefs_[1]),
        ("learned", fitted.maximal_inputs_),
    ):
        for unit, weights in zip(data["units"], rows, strict=True):
            shade = 127.5 + 127.5 * weights.reshape(8, 8) / np.abs(weights).max()
            assert_allclose(decoded(unit[name]), shade, atol=0.51)
    in_table = page.find("img", alt="Decoder weights of unit 3")[0]["src"]
    assert in_table.endswith(data["units"][3]["decoder"])
    shown = {str(sample) for unit in data["units"] for sample in unit["samples"]}
    assert data["images"].keys() == shown
    end = digits[[int(sample) for sample in shown]].max()
    for sample, png in data["images"].items():
        expected = 255 * digits[int(sample)].reshape(8, 8) / end
        assert_allclose(decoded(png), expected, atol=0.51)


def test_colour_images_keep_their_channels(path):
    X = np.random.default_rng(0).uniform(0, 1, (40, 4 * 5 * 3))
    X[0] = np.tile([1.0, 0.0, 0.0], 20)
    estimator = briefly_fitted(X, 2)
    data = Page(estimator.report(X[:3], path, image_shape=(4, 5, 3))).data
    image = decoded(data["images"]["0"])
    assert image.shape == (4, 5, 3)
    assert_array_equal(image, X[0].reshape(4, 5, 3) * 255)


def test_large_images_are_reduced_to_keep_the_page_small(
    fitted, digits, path, monkeypatch
):
    monkeypatch.setattr(_images, "PIXEL_BUDGET", 20 * 10 * 16)
    fitted.report(digits, path, image_shape=(8, 8, 1))
    page = Page(path)
    assert decoded(page.data["units"][0]["decoder"]).shape == (4, 4)
    assert "All images are reduced to 1/2 of their size" in path.read_text("utf-8")


def test_the_features_that_a_unit_moves_farthest_are_named(fitted, digits, path):
    names = [f"pixel {i}" for i in range(64)]
    units = Page(fitted.report(digits, path, feature_names=names)).data["units"]
    spread = digits.std(axis=0, dtype=np.float64)
    in_spreads = np.abs(fitted.coefs_[1]) / np.where(spread > 0, spread, np.inf)
    for j, unit in enumerate(units):
        strongest = np.argsort(-in_spreads[j], kind="stable")[:8]
        named, decoder, learned = zip(*unit["features"], strict=True)
        assert list(named) == [names[i] for i in strongest]
        assert_allclose(decoder, fitted.coefs_[1][j, strongest], rtol=1e-5)
        assert_allclose(learned, fitted.maximal_inputs_[j, strongest], rtol=1e-5)
        assert_allclose(unit["values"], digits[unit["samples"]][:, strongest])


def test_missing_values_are_shown_as_such(digits, path):
    X = digits[:200].copy()
    X[::3, 20] = np.nan
    X[3] = np.where(np.arange(64) < 63, np.nan, 16.0)
    estimator = briefly_fitted(X, 3)
    units = Page(estimator.report(X, path)).data["units"]
    values = [v for unit in units for row in unit["values"] for v in row]
    assert "NaN" not in path.read_text(encoding="utf-8").split('id="data">')[1]
    few = np.full((4, 64), np.nan)
    few[:, :5] = digits[:4, 20:25]
    of_few = Page(estimator.report(few, path)).data["units"]
    values += [v for unit in of_few for row in unit["values"] for v in row]
    assert None in values
    page = Page(estimator.report(few, path, image_shape=(8, 8)))
    for sample, png in page.data["images"].items():
        low, high = np.nanmin(few), np.nanmax(few)
        shade = 255 * (few[int(sample)] - low) / (high - low)
        assert_allclose(decoded(png).ravel(), np.nan_to_num(shade), atol=0.51)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_autoencoder_behind_affine_steps_is_shown_on_their_input(digits, path):
    frame = pd.DataFrame(digits).add_prefix("pixel ")
    autoencoder = SparseAutoencoderTransformer(
        4, solver="lbfgs", max_iter=2, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), PCA(10), autoencoder).fit(frame)
    data = Page(pipeline[-1].report(frame, path, steps=pipeline[:-1])).data
    shown = ComponentsDisplay.from_estimator(pipeline, order="index").components
    spread = digits.std(axis=0, dtype=np.float64)
    in_spreads = np.abs(shown) / np.where(spread > 0, spread, np.inf)
    codes = pipeline.transform(frame)
    for j, unit in enumerate(data["units"]):
        strongest = np.argsort(-in_spreads[j], kind="stable")[:8]
        named, decoder, _ = zip(*unit["features"], strict=True)
        assert list(named) == [f"pixel {i}" for i in strongest]
        assert_allclose(decoder, shown[j, strongest], rtol=1e-4)
        assert_allclose(unit["activations"], np.sort(codes[:, j])[:-9:-1], rtol=1e-4)
        assert_allclose(unit["values"], digits[unit["samples"]][:, strongest])
    text = path.read_text(encoding="utf-8")
    assert "4 units on 300 samples of\n64 features. They are those of the" in text
    images = pipeline[-1].report(frame, path, (8, 8), steps=pipeline[:-1])
    decoder = Page(images).data["units"][0]["decoder"]
    shade = 127.5 + 127.5 * shown[0].reshape(8, 8) / np.abs(shown[0]).max()
    assert_allclose(decoded(decoder), shade, atol=0.51)


def test_an_autoencoder_behind_other_steps_is_shown_on_what_reaches_it(path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=60), "kind": list("abc") * 20})
    columns = make_column_transformer(
        (StandardScaler(), ["size"]), (OneHotEncoder(sparse_output=False), ["kind"])
    )
    prepared = columns.fit_transform(frame)
    autoencoder = briefly_fitted(prepared, 3)
    units = Page(autoencoder.report(frame, path, steps=columns)).data["units"]
    names = columns.get_feature_names_out()
    for j, unit in enumerate(units):
        named, decoder, _ = zip(*unit["features"], strict=True)
        assert set(named) == set(names)
        expected = dict(zip(names, autoencoder.coefs_[1][j], strict=True))
        assert_allclose(decoder, [expected[n] for n in named], rtol=1e-5)
    assert "that reach the autoencoder" in path.read_text(encoding="utf-8")
    nameless = FunctionTransformer(np.square).fit(prepared)
    units = Page(autoencoder.report(prepared, path, steps=nameless)).data["units"]
    assert {name for name, *_ in units[0]["features"]} == {"x0", "x1", "x2", "x3"}


def test_what_is_no_step_is_refused(fitted, digits, path):
    with pytest.raises(TypeError, match=r"such as pipeline\[:-1\]; got 'passthrough'"):
        fitted.report(digits, path, steps="passthrough")
    assert not path.exists()


def test_columns_of_a_frame_name_the_features(digits, path):
    frame = pd.DataFrame(digits, columns=[f"pixel {i}" for i in range(64)])
    estimator = briefly_fitted(frame, 3)
    units = Page(estimator.report(frame, path)).data["units"]
    assert {name.split()[0] for unit in units for name, *_ in unit["features"]} == {
        "pixel"
    }


def test_names_cannot_bring_markup_into_the_page(fitted, digits, path):
    names = [HOSTILE + str(i) for i in range(64)]
    page = Page(fitted.report(digits, path, feature_names=names))
    assert len(page.find("script")) == 2
    assert page.find("img") == []
    assert page.data["units"][0]["features"][0][0].startswith(HOSTILE)
    assert page.find("span", **{"class": "feature"})[0]["text"].split(" ", 1)[1] in (
        names
    )


def test_names_may_hold_what_utf_8_cannot(fitted, digits, path):
    page = Page(
        fitted.report(digits, path, feature_names=[f"\ud800{i}" for i in range(64)])
    )
    names = {element["text"] for element in page.find("span", **{"class": "feature"})}
    assert all(name[2:].startswith("\\ud800") for name in names)


def test_parameters_cannot_bring_markup_into_the_page(fitted, digits, path):
    class Hostile(type(fitted)):
        def get_params(self, deep=True):
            return {HOSTILE: HOSTILE}

    estimator = Hostile()
    vars(estimator).update(vars(fitted))
    page = Page(estimator.report(digits, path))
    assert len(page.find("script")) == 2
    assert page.find("dt")[0]["text"] == HOSTILE


def test_sparse_data_are_reported_as_the_same_dense_data_are(fitted, digits, path):
    for options in ({}, {"image_shape": (8, 8)}):
        dense, of_sparse = (
            Page(fitted.report(X, path, **options)).data
            for X in (digits, sparse.csr_array(digits))
        )
        assert dense["images"] == of_sparse["images"]
        for unit, other in zip(dense["units"], of_sparse["units"], strict=True):
            for name in ("samples", "state"):
                assert unit[name] == other[name]
            for name in ("rho_hat", "sparseness", "activations"):
                assert_allclose(unit[name], other[name], rtol=1e-5)


def test_the_page_repeats_and_heeds_and_changes_no_style(fitted, digits, tmp_path):
    first = fitted.report(digits, tmp_path / "first.html").read_bytes()
    style = {"axes.facecolor": "red", "svg.fonttype": "path", "font.size": 30}
    with matplotlib.rc_context(style):
        second = fitted.report(digits, tmp_path / "second.html").read_bytes()
        assert {name: matplotlib.rcParams[name] for name in style} == style
    assert first == second


def test_figures_take_their_colours_from_the_page(page):
    style = " ".join(element.get("style", "") for element in page.elements)
    assert "var(--accent)" in style
    for color in ("#010101", "#020202", "#030303", "#040404", "#1f77b4"):
        assert color not in style


def test_a_training_of_one_step_without_spread_can_be_reported(path):
    X = np.ones((20, 4))
    estimator = SparseAutoencoderTransformer(3, random_state=0).partial_fit(X)
    page = Page(estimator.report(X, path, image_shape=(2, 2)))
    assert {decoded(png).max() for png in page.data["images"].values()} == {0}


# So large a weight decay leaves constant units: rounding takes their penalty below 0.
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.parametrize(("weight_decay", "is_log"), [(1e2, False), (3e-3, True)])
def test_curves_that_reach_0_are_not_drawn_on_a_logarithmic_axis(
    weight_decay, is_log, digits, path
):
    estimator = SparseAutoencoderTransformer(
        2, weight_decay=weight_decay, beta=10.0, tol=1.0, random_state=0
    ).fit(digits)
    assert (np.min(estimator.loss_terms_["sparsity"]) > 0) == is_log
    page = estimator.report(digits, path).read_text(encoding="utf-8")
    assert (r"\mathdefault{10^{" in page) == is_log


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_training_without_iterations_can_be_reported(activation, digits, path):
    estimator = SparseAutoencoderTransformer(
        3, activation=activation, solver="lbfgs", tol=1e9, random_state=0
    ).fit(digits)
    assert estimator.n_iter_ == 0
    page = Page(estimator.report(digits, path))
    (training,) = (e for e in page.find("p") if "converged" in e["text"])
    assert training["text"] == "The training had converged before its first iteration."
    assert f"{estimator.objective_.total:.4g}" in [e["text"] for e in page.find("td")]


def test_the_page_says_what_the_fit_was_and_not_what_the_parameters_are(digits, path):
    estimator = briefly_fitted(digits, 3, solver="adam", activation="tanh")
    before = estimator.report(digits, path).read_bytes()
    estimator.set_params(activation="relu", rho=0.5, beta=9.0, solver="lbfgs")
    after = estimator.report(digits, path).read_bytes()
    assert after.count(b"iteration") == 0
    of_fit, _, of_now = after.partition(b"as they are set now")
    assert b"lbfgs" not in of_fit
    assert b"lbfgs" in of_now
    estimator.set_params(solver="adam")
    assert estimator.report(digits, path).read_bytes() == before


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"objective", "reconstruction", "weight decay", "sparsity"}),
        ({"beta": 0.0}, {"objective", "reconstruction", "weight decay"}),
        (
            {"early_stopping": True},
            {"objective", "held out", "reconstruction", "weight decay", "sparsity"},
        ),
    ],
)
def test_the_curves_of_all_terms_are_drawn(parameters, expected, digits, path):
    page = Page(briefly_fitted(digits, 3, **parameters).report(digits, path))
    texts = {element["text"].strip() for element in page.find("text")}
    curves = {"objective", "held out", "reconstruction", "weight decay", "sparsity"}
    assert texts & curves == expected


@pytest.mark.slow
def test_memory_does_not_grow_with_samples_times_units(path):
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (30_000, 8)).astype(np.float32)
    estimator = briefly_fitted(X[:100], 400)
    tracemalloc.start()
    estimator.report(X, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36e6  # the codes alone are 48 MB


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (8, 9)}, "values as there are features, 64; got \\(8, 9\\)"),
        ({"image_shape": 64}, "image_shape must be \\(height, width\\).* got 64"),
        ({"image_shape": (64,)}, "image_shape must be \\(height, width\\)"),
        ({"image_shape": (4, 4, 4)}, "or \\(height, width, 3\\) for colour"),
        ({"image_shape": (8.0, 8)}, "image_shape must be"),
        ({"feature_names": ["a"]}, "feature_names has 1 names.* 64 features"),
    ],
)
def test_what_does_not_fit_the_features_is_refused(
    options, message, fitted, digits, path
):
    with pytest.raises(ValueError, match=message):
        fitted.report(digits, path, **options)
    assert not path.exists()


def test_a_folder_that_does_not_exist_is_named(fitted, digits, path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*absent'"):
        fitted.report(digits, path.parent / "absent" / "report.html")


def test_an_estimator_that_is_not_fitted_has_no_report(digits, path):
    with pytest.raises(NotFittedError):
        SparseAutoencoderTransformer().report(digits, path)


@pytest.mark.parametrize("module", ["jinja2", "matplotlib", "PIL"])
def test_a_package_that_is_missing_is_named_with_the_extra(
    module, fitted, digits, path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module},.*sksparse_ae\[report\]"):
        fitted.report(digits, path)


def test_only_a_report_imports_its_packages_and_no_report_imports_tensorflow(
    fitted, tmp_path
):
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    code = """
import sys, joblib
from sklearn.datasets import load_digits
fitted = joblib.load("fitted.joblib")
fitted._repr_html_()
assert not {"jinja2", "matplotlib", "PIL"} & sys.modules.keys()
fitted.report(load_digits().data[:30], "report.html", image_shape=(8, 8))
assert "jinja2" in sys.modules
assert not {"tensorflow", "keras", "matplotlib.pyplot"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


# ------------------------------------------------------------------- in a notebook


def test_a_notebook_shows_a_summary_of_the_fit(fitted, digits):
    objective = fitted.objective_
    for page in (fitted._repr_html_(), fitted._repr_mimebundle_()["text/html"]):
        assert "20 units of 64 features" in page
        assert f"Objective {objective.total:.4g} = " in page
        assert f"{objective.sparsity:.4g} sparsity" in page
        assert f"{fitted.score(digits):.1%} of the variance explained" in page
        assert f"sparseness {fitted.sparseness_:.2f}." in page
        n_active = int((fitted.unit_states_ == "active").sum())
        assert f"Units: {n_active} active" in page
        assert "sk-container" in page


def test_a_notebook_links_to_the_page_of_the_class(fitted):
    url = "https://sksparse-ae.github.io/sksparse_ae/api/generated/"
    for estimator in (fitted, SparseAutoencoderTransformer()):
        link = f'href="{url}sksparse_ae.SparseAutoencoderTransformer.html"'
        assert link in estimator._repr_html_()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": False, "output_activation": "relu"},
        {"loss": "poisson", "output_activation": "exponential"},
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_summary_tells_the_variance_explained(digits, settings):
    weights = np.arange(len(digits)) % 3
    estimator = SparseAutoencoderTransformer(5, max_iter=5, random_state=0, **settings)
    for X in (digits, np.where(digits == 16, np.nan, digits)):
        estimator.fit(X, sample_weight=weights)
        share = variance_explained(estimator, np.repeat(X, weights, axis=0))
        assert f"{share:.1%} of the variance explained" in estimator._repr_html_()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_summary_of_whitened_data_tells_of_their_variance(digits):
    estimator = SparseAutoencoderTransformer(
        5, scale="whiten", max_iter=5, random_state=0
    ).fit(digits)
    whitened = (digits - estimator.offset_) @ estimator.whitening_
    error = (digits - estimator.reconstruct(digits)) @ estimator.whitening_
    share = 1 - np.square(error).sum() / np.square(whitened).sum()
    text = f"{share:.1%} of the variance of the whitened data explained"
    assert text in estimator._repr_html_()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_summary_of_a_stream_or_of_hubers_loss_tells_of_no_variance(digits):
    stream = SparseAutoencoderTransformer(5, random_state=0).partial_fit(digits)
    assert "after 1 epoch: sparseness" in stream._repr_html_()
    robust = SparseAutoencoderTransformer(5, loss="huber", max_iter=1, random_state=0)
    assert "after 1 epoch: sparseness" in robust.fit(digits)._repr_html_()


def test_a_notebook_shows_no_summary_before_the_fit():
    unfitted = SparseAutoencoderTransformer()
    assert "<p style" not in unfitted._repr_html_()
    assert "<p style" not in unfitted._repr_mimebundle_()["text/html"]


def test_a_notebook_set_to_text_shows_text(fitted):
    with config_context(display="text"):
        assert not hasattr(fitted, "_repr_html_")
        assert fitted._repr_mimebundle_().keys() == {"text/plain"}


def test_a_pipeline_shows_its_own_diagram(fitted):
    pipeline = make_pipeline(StandardScaler(), fitted)
    assert "SparseAutoencoderTransformer" in pipeline._repr_html_()


@pytest.mark.parametrize("name", ["n_iter_", "rho"])
def test_the_summary_escapes_what_a_file_may_hold(name, digits):
    estimator = briefly_fitted(digits, 2)
    if name == "rho":
        settings = estimator._fitted_settings
        estimator._fitted_settings = settings._replace(rho=HOSTILE)
    else:
        setattr(estimator, name, HOSTILE)
    page = estimator._repr_html_()
    assert html.escape(HOSTILE) in page
    assert HOSTILE not in page


@pytest.mark.parametrize("names", ["a" * 64, set(map(str, range(64))), [["a"]] * 64])
def test_what_is_no_list_of_names_is_refused(fitted, digits, tmp_path, names):
    with pytest.raises(ValueError, match="feature_names must be a list of names"):
        fitted.report(digits, tmp_path / "report.html", feature_names=names)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "variance"),
        ({"loss": "poisson", "output_activation": "exponential"}, "deviance"),
        ({"loss": "huber"}, "Huber loss"),
    ],
    ids=["squared_error", "poisson", "huber"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_page_says_what_the_score_is_the_share_of(digits, tmp_path, settings, word):
    estimator = SparseAutoencoderTransformer(5, max_iter=30, random_state=0, **settings)
    path = estimator.fit(digits).report(digits, tmp_path / "page.html")
    share = f"{100 * estimator.score(digits):.1f}"
    text = html.unescape(path.read_text(encoding="utf-8")).replace("\xa0", " ")
    assert f"{share} % of the {word} is explained." in text

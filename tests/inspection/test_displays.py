"""Displays hold the numbers of the estimator, and draw what they hold."""

import copy
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from _helpers import BRIEFLY
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import NMF, PCA, FastICA, MiniBatchDictionaryLearning
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.inspection import (
    ActivationDisplay,
    CodeTradeoffDisplay,
    ComponentsDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SearchDisplay,
)


@pytest.fixture(autouse=True)
def figures_without_a_screen():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


@pytest.fixture(scope="module")
def whitened(digits):
    """A pipeline whose autoencoder sees 10 whitened principal components."""
    return make_pipeline(
        StandardScaler(with_std=False),
        PCA(10, whiten=True),
        SparseAutoencoderTransformer(6, **BRIEFLY),
        StandardScaler(),
        PCA(2),
    ).fit(digits)


# ------------------------------------------------------------------ all of them


def test_displays_and_scorers_are_imported_without_optional_packages():
    code = (
        "import sys\n"
        "sys.modules['pandas'] = None\n"
        "import sksparse_ae.inspection, sksparse_ae.metrics\n"
        "loaded = {'matplotlib', 'tensorflow', 'keras'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("module", "method"), [("matplotlib", "plot"), ("pandas", "frame")]
)
def test_without_the_extra_the_error_says_what_to_install(module, method, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    if module == "matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = LossCurveDisplay([3.0, 2.0])
    with pytest.raises(
        ImportError, match=rf"LossCurveDisplay\.{method} needs {module}.*\[displays\]"
    ):
        getattr(display, method)()


@pytest.mark.parametrize(
    "draw",
    [
        ComponentsDisplay.from_estimator,
        LossCurveDisplay.from_estimator,
        SearchDisplay.from_estimator,
        lambda estimator: ReconstructionDisplay.from_estimator(estimator, [[1.0]]),
        lambda estimator: ActivationDisplay.from_estimator(estimator, [[1.0]]),
    ],
)
def test_displays_ask_for_a_fitted_estimator_that_has_what_they_show(draw, digits):
    with pytest.raises(NotFittedError):
        draw(SparseAutoencoderTransformer())
    with pytest.raises(TypeError, match=r"Expected a fitted .* got StandardScaler"):
        draw(StandardScaler().fit(digits))


def test_displays_draw_on_the_axes_they_are_given(fitted, digits, ax):
    for display in (
        ComponentsDisplay.from_estimator(fitted, ax=ax),
        ReconstructionDisplay.from_estimator(fitted, digits, ax=ax),
        LossCurveDisplay.from_estimator(fitted, ax=ax),
        ActivationDisplay.from_estimator(fitted, digits, ax=ax, kind="rho_hat"),
        SearchDisplay([1, 2], [1, 2], [0.5, 0.6]).plot(ax),
        CodeTradeoffDisplay.from_estimators({"codes": fitted}, digits, ax=ax),
    ):
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
    assert len(plt.get_fignums()) == 1


# ------------------------------------------------------------- ComponentsDisplay


def test_components_are_sorted_by_how_far_they_move_the_reconstruction(fitted, digits):
    display = ComponentsDisplay.from_estimator(fitted)
    use = fitted.rho_hat_ * np.linalg.norm(fitted.coefs_[1], axis=1)
    assert_allclose(display.use, np.sort(use)[::-1])
    assert_allclose(display.components, fitted.coefs_[1][np.argsort(-use)])
    assert_array_equal(display.units, np.argsort(-use))

    few = digits[:20]
    on_few = ComponentsDisplay.from_estimator(fitted, few, n_units=3)
    use = fitted.transform(few).mean(axis=0) * np.linalg.norm(fitted.coefs_[1], axis=1)
    assert_allclose(on_few.use, np.sort(use)[::-1][:3])


@pytest.mark.parametrize("kind", ["decoder", "maximal_inputs", "encoder"])
def test_each_kind_shows_its_weights(kind, fitted):
    shown = ComponentsDisplay.from_estimator(fitted, kind=kind, order="index")
    expected = {
        "maximal_inputs": fitted.maximal_inputs_,
        "encoder": fitted.components_,
        "decoder": fitted.coefs_[1],
    }[kind]
    assert_allclose(shown.components, expected)
    frame = shown.frame()
    assert list(frame)[:2] == ["use", "x0"]
    assert_allclose(frame.drop(columns="use"), expected)


def test_use_of_tanh_units_counts_from_their_lowest_value(digits):
    tanh = SparseAutoencoderTransformer(5, activation="tanh", **BRIEFLY)
    tanh.fit(digits)
    use = (tanh.transform(digits).mean(axis=0) + 1) * np.linalg.norm(
        tanh.coefs_[1], axis=1
    )
    display = ComponentsDisplay.from_estimator(tanh, digits, order="index")
    assert_allclose(display.use, use)


def test_weights_of_a_pipeline_are_shown_in_the_space_of_its_input(whitened, digits):
    autoencoder = whitened[2]

    def preactivation(X):
        return whitened[:2].transform(X) @ autoencoder.coefs_[0]

    shown = ComponentsDisplay.from_estimator(whitened, kind="encoder", order="index")
    difference = preactivation(digits[:5]) - preactivation(digits[5:10])
    assert_allclose((digits[:5] - digits[5:10]) @ shown.components.T, difference)

    shown = ComponentsDisplay.from_estimator(
        whitened, kind="maximal_inputs", order="index"
    )
    assert_allclose(np.linalg.norm(shown.components, axis=1), 1)

    shown = ComponentsDisplay.from_estimator(whitened, kind="decoder", order="index")
    codes = autoencoder.transform(whitened[:2].transform(digits[:2]))
    images = whitened[:2].inverse_transform(autoencoder.inverse_transform(codes))
    assert_allclose((codes[0] - codes[1]) @ shown.components, images[0] - images[1])


def test_a_pipeline_on_named_columns_gives_their_names(digits):
    X = pd.DataFrame(digits[:, :9]).add_prefix("pixel")
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        SparseAutoencoderTransformer(4, **BRIEFLY),
    ).fit(X)
    frame = ComponentsDisplay.from_estimator(pipeline, X).frame()
    assert list(frame) == ["use", *X]
    frame = ReconstructionDisplay.from_estimator(pipeline, X, n_samples=2).frame()
    assert list(frame["feature"]) == [*X, *X]


def test_weights_on_a_column_that_a_step_blots_out_are_0_on_the_input(digits):
    seen = np.arange(64) != 20
    pipeline = make_pipeline(
        FunctionTransformer(lambda X: X * seen + 1),
        SparseAutoencoderTransformer(4, **BRIEFLY),
    ).fit(digits)
    shown = ComponentsDisplay.from_estimator(pipeline, kind="encoder", order="index")
    assert_allclose(shown.components, pipeline[-1].coefs_[0].T * seen, atol=1e-12)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_steps_that_bend_the_space_are_refused(kind, digits):
    autoencoder = SparseAutoencoderTransformer(4, **BRIEFLY)
    bent = FunctionTransformer(np.square, np.sqrt, check_inverse=False)
    if kind == "encoder":
        bent = Normalizer()
    pipeline = make_pipeline(bent, autoencoder).fit(digits)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="are not affine"),
    ):
        ComponentsDisplay.from_estimator(pipeline, kind=kind)
    assert ComponentsDisplay.from_estimator(pipeline[-1], kind=kind).components.size


def test_features_may_have_the_name_of_another_column(digits):
    X = pd.DataFrame(digits[:, :4], columns=["use", "unit", "sample", "x0"])
    autoencoder = SparseAutoencoderTransformer(2, **BRIEFLY).fit(X)
    display = ComponentsDisplay.from_estimator(autoencoder)
    frame = display.frame()
    assert list(frame) == ["use", *X]
    assert_array_equal(frame, np.column_stack([display.use, display.components]))


def test_names_of_features_may_be_an_array():
    display = ComponentsDisplay([[1.0, 2.0]], feature_names=np.array(["a", "b"]))
    assert list(display.frame()) == ["a", "b"]


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_an_estimator_with_components_alone_is_shown_in_its_order(kind, digits):
    pca = PCA(4).fit(digits)
    display = ComponentsDisplay.from_estimator(pca, kind=kind)
    assert_allclose(display.components, pca.components_)
    assert display.use is None
    assert list(display.frame().index) == [0, 1, 2, 3]


def test_a_network_of_scikit_learn_is_shown_by_its_last_weights(digits):
    network = MLPRegressor(hidden_layer_sizes=5, tol=10, random_state=0).fit(
        digits, digits
    )
    display = ComponentsDisplay.from_estimator(network)
    assert_allclose(display.components, network.coefs_[1])
    with pytest.raises(TypeError, match="without components_"):
        ComponentsDisplay.from_estimator(network, kind="encoder")


TABLE = pd.DataFrame(
    [[0.5, -2.0, 1.0, 0.0], [-3.0, 1.0, 2.0, 0.1], [0.0, 0.0, 0.0, 0.0]],
    columns=["height", "a name that is too long to be read", "cost in $", "age"],
)


def texts_of(display):
    return [text.get_text() for text in display.ax_.texts]


def test_features_with_names_are_drawn_as_bars_the_longest_first():
    display = ComponentsDisplay(TABLE, units=[4, 1, 0], feature_names=list(TABLE))
    display.plot(n_columns=2, n_bars=3)
    lengths = np.reshape([bar.get_width() for bar in display.bars_], (3, 3))
    assert_allclose(lengths[:2], [[-1, 0.5, 0.25], [-1, 2 / 3, 1 / 3]])
    assert texts_of(display)[:6] == [
        *("unit 4", "unit 1", "unit 0"),
        *("a name that is too lo…", r"cost in \$", "height"),
    ]
    # A name stands beside the middle of its unit, across from the bar.
    middle = display.bars_[0].get_x()
    across = [text.get_position()[0] - middle for text in display.ax_.texts[3:6]]
    assert np.sign(across).tolist() == [1, -1, -1]
    common = display.plot(common_scale=True, n_bars=9)
    lengths = np.reshape([bar.get_width() for bar in common.bars_], (3, 4))
    assert_allclose(lengths[0], [-2 / 3, 1 / 3, 1 / 6, 0])


def test_bars_stay_inside_the_axes(ax):
    display = ComponentsDisplay(TABLE, feature_names=list(TABLE)).plot(ax, n_columns=2)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for bar in display.bars_:
        ends = bar.get_x(), bar.get_x() + bar.get_width()
        assert left < min(ends) <= max(ends) < right
        assert top < bar.get_y() < bottom  # unit 0 is at the top


def test_images_are_drawn_of_squares_without_names_or_where_a_shape_is_given(digits):
    frame = pd.DataFrame(digits).add_prefix("pixel")
    autoencoder = SparseAutoencoderTransformer(3, **BRIEFLY)
    shown = ComponentsDisplay.from_estimator
    assert hasattr(shown(autoencoder.fit(digits)), "image_")
    assert hasattr(shown(autoencoder.fit(digits[:, :63])), "bars_")
    assert hasattr(shown(autoencoder.fit(frame)), "bars_")
    assert hasattr(shown(autoencoder, image_shape=(8, 8)), "image_")


def test_names_may_be_given_for_the_features_that_reach_the_autoencoder(digits):
    autoencoder = SparseAutoencoderTransformer(2, **BRIEFLY)
    autoencoder.fit(digits[:, :4])
    names = np.array(["a", "b", "c", "d"])
    display = ComponentsDisplay.from_estimator(autoencoder, feature_names=names)
    assert list(display.frame()) == ["use", *names]
    assert set("abcd") < set(texts_of(display))
    with pytest.raises(ValueError, match=r"has 3 names, but a sample has 4"):
        ComponentsDisplay.from_estimator(autoencoder, feature_names=names[:3])


def test_the_picture_holds_each_image_scaled_to_its_own_or_a_common_limit():
    components = np.array([[1.0, -2.0, 0.0, 1.0], [4.0, 0.0, 0.0, 0.0]])
    display = ComponentsDisplay(components).plot(n_columns=2)
    gap = np.full((2, 1), np.nan)
    first, second = components.reshape(2, 2, 2)
    assert_array_equal(
        display.image_.get_array().filled(np.nan),
        np.hstack([first / 2, gap, second / 4]),
    )
    display.plot(n_columns=1, common_scale=True)
    assert_array_equal(
        display.image_.get_array().filled(np.nan),
        np.vstack([first / 4, gap.T, second / 4]),
    )


def test_colour_images_have_zero_in_the_middle_and_transparent_gaps():
    components = np.array([[0.5, 0.0, -1.0], [0.0, 0.0, 0.0]])
    picture = ComponentsDisplay(components, image_shape=(1, 1, 3)).plot(n_columns=2)
    assert_allclose(
        picture.image_.get_array(),
        [[[0.75, 0.5, 0.0, 1], [0, 0, 0, 0], [0.5, 0.5, 0.5, 1]]],
    )


def test_one_channel_is_grey(fitted):
    display = ComponentsDisplay.from_estimator(fitted, image_shape=(8, 8, 1))
    assert display.image_shape == (8, 8)


@pytest.mark.parametrize(
    "image_shape", [(8, 7), (64,), 64, (8.0, 8), (4, 4, 4), (2, 2, 2, 8), (-8, -8)]
)
def test_an_image_shape_that_does_not_fit_is_refused(image_shape, fitted):
    with pytest.raises(ValueError, match=r"image_shape must be .* features, 64; got"):
        ComponentsDisplay.from_estimator(fitted, image_shape=image_shape)


def test_features_that_are_no_square_need_an_image_shape(digits):
    with pytest.raises(ValueError, match="63 features are no square grey image"):
        ReconstructionDisplay(digits[:, :63], digits[:, :63]).plot()


def test_unknown_kinds_and_orders_are_refused(fitted, digits):
    with pytest.raises(ValueError, match="kind must be one of 'decoder'"):
        ComponentsDisplay.from_estimator(fitted, kind="weights")
    with pytest.raises(ValueError, match="order must be one of 'use', 'index'"):
        ComponentsDisplay.from_estimator(fitted, order="norm")
    display = ActivationDisplay([0.1], rho=0.1, counts=[1], edges=[0, 1])
    for method in (display.plot, display.frame):
        with pytest.raises(ValueError, match="kind must be one of"):
            method(kind="histogram")


# --------------------------------------------------------- ReconstructionDisplay


def test_reconstructions_and_errors_are_those_of_the_estimator(fitted, digits):
    display = ReconstructionDisplay.from_estimator(fitted, digits, n_samples=4)
    assert_array_equal(display.inputs, digits[:4])
    assert_allclose(display.reconstructions, fitted.reconstruct(digits[:4]))
    frame = display.frame()
    squared = frame["error"].pow(2).groupby(frame["sample"]).sum()
    assert_allclose(squared, fitted.reconstruction_error(digits[:4]))
    assert_allclose(frame["input"] + frame["error"], frame["reconstruction"])


@pytest.mark.parametrize("kind", ["coo_array", "csr_matrix", "lil_array"])
def test_the_first_of_sparse_rows_are_shown(kind, fitted, digits):
    X = getattr(sparse, kind)(digits)
    display = ReconstructionDisplay.from_estimator(fitted, X, n_samples=3)
    assert_array_equal(display.inputs, digits[:3])


def test_the_first_rows_of_a_frame_are_shown_whatever_its_index(fitted, digits):
    frame = pd.DataFrame(digits, index=np.arange(300, 0, -1.0))
    display = ReconstructionDisplay.from_estimator(fitted, frame, n_samples=3)
    assert_array_equal(display.inputs, digits[:3])


def test_a_pipeline_is_reconstructed_in_the_units_of_its_input(whitened, digits):
    display = ReconstructionDisplay.from_estimator(whitened, digits)
    before, autoencoder = whitened[:2], whitened[2]
    expected = before.inverse_transform(
        autoencoder.reconstruct(before.transform(digits[:10]))
    )
    assert_array_equal(display.inputs, digits[:10])
    assert_allclose(display.reconstructions, expected)


def test_a_step_that_cannot_be_undone_is_named(digits):
    autoencoder = SparseAutoencoderTransformer(4, **BRIEFLY)
    pipeline = make_pipeline(Normalizer(), autoencoder).fit(digits)
    with pytest.raises(
        ValueError, match=r"The step Normalizer .* no inverse_transform"
    ):
        ReconstructionDisplay.from_estimator(pipeline, digits)


def test_inputs_and_reconstructions_share_the_scale_of_the_inputs():
    inputs, reconstructions = [[0.0, 4.0, 2.0, 1.0]], [[0.0, 5.0, 2.0, 0.5]]
    display = ReconstructionDisplay(inputs, reconstructions).plot()
    picture = np.asarray(display.image_.get_array())
    assert picture.shape == (3 * 2 + 2, 2, 4)
    grey = picture[:5, :, 0]
    assert_allclose(grey[:2], [[0, 1], [0.5, 0.25]], atol=1 / 255)
    assert_allclose(grey[3:5], [[0, 1], [0.5, 0.125]], atol=1 / 255)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["input", "reconstruction", "error"]


def test_colour_images_keep_their_colours_and_have_errors_about_a_middle_grey():
    inputs, outputs = [[0.0, 0.5, 1.0]], [[0.5, 0.5, 0.0]]
    display = ReconstructionDisplay(inputs, outputs, image_shape=(1, 1, 3)).plot()
    picture = np.asarray(display.image_.get_array())[..., :3]
    assert_allclose(picture[[0, 2, 4], 0], [*inputs, *outputs, [0.75, 0.5, 0.0]])
    assert not display.ax_.child_axes  # no colour bar: there is no one scale


# ------------------------------------------------------------- ActivationDisplay


def test_activations_are_counted_and_averaged_on_the_unit_interval(digits):
    tanh = SparseAutoencoderTransformer(5, activation="tanh", **BRIEFLY)
    pipeline = make_pipeline(StandardScaler(with_std=False), tanh).fit(digits)
    codes = (pipeline.transform(digits) + 1) / 2
    display = ActivationDisplay.from_estimator(pipeline, digits, n_bins=10)
    units, distribution = display.frame(), display.frame("distribution")
    assert_allclose(units["rho_hat"], codes.mean(axis=0))
    assert set(units["rho"]) == {0.05}
    assert list(units["state"]) == list(display.state)
    assert_array_equal(distribution["count"], np.histogram(codes, 10, (0, 1))[0])
    assert_allclose(distribution["share"].sum(), 1)
    assert_allclose(distribution[["left", "right"]].iloc[[0, -1]], [[0, 0.1], [0.9, 1]])


def test_relu_activations_are_counted_up_to_the_largest(digits):
    relu = SparseAutoencoderTransformer(5, activation="relu", tol=10, random_state=0)
    codes = relu.fit_transform(digits)
    display = ActivationDisplay.from_estimator(relu, digits)
    assert display.edges[-1] == codes.max()
    assert display.counts.sum() == codes.size


def test_every_unit_is_drawn_in_order_with_the_others_of_its_state(digits, fitted):
    broken = clone(fitted).fit(digits)
    broken.intercepts_[0][:3] = -1e3
    broken.intercepts_[0][3:5] = 1e3
    display = ActivationDisplay.from_estimator(broken, digits)
    left, right = display.ax_
    assert {c.get_label() for c in left.collections} == {
        "active (15)",
        "dead (3)",
        "saturated (2)",
    }
    points = np.concatenate([c.get_offsets() for c in left.collections])
    assert_allclose(points[np.argsort(points[:, 0]), 1], np.sort(display.rho_hat))
    assert_allclose(left.lines[0].get_ydata(), broken.rho)
    assert right.get_xlim() == (0, 1)


def test_units_without_a_state_are_drawn_alike_on_a_scale_that_shows_them_all():
    rho_hat = np.array([0.5, 1e-4, 0.03])
    display = ActivationDisplay(rho_hat, rho=0.05, counts=[3, 1], edges=[0, 0.5, 1])
    display.plot(kind="rho_hat")
    (points,) = display.ax_.collections
    assert_array_equal(points.get_offsets(), [[3, 0.5], [1, 1e-4], [2, 0.03]])
    assert points.get_label() == "unit"
    assert display.ax_.get_yscale() == "log"
    assert list(display.frame()) == ["rho_hat", "rho"]


def test_two_pictures_need_two_axes(fitted, digits, ax):
    with pytest.raises(ValueError, match="kind='both' needs 2 Axes as ax; got 1"):
        ActivationDisplay.from_estimator(fitted, digits, ax=ax)
    axes = plt.subplots(2, 1)[1]
    display = ActivationDisplay.from_estimator(fitted, digits, ax=axes)
    assert list(display.ax_) == list(axes)


def test_displays_show_what_was_fitted_and_not_what_the_parameters_are(digits):
    autoencoder = SparseAutoencoderTransformer(4, activation="tanh", **BRIEFLY)
    autoencoder.fit(digits)

    def shown():
        activations = ActivationDisplay.from_estimator(autoencoder, digits)
        return (
            activations.frame(),
            activations.frame("distribution"),
            ComponentsDisplay.from_estimator(autoencoder, digits).frame(),
            LossCurveDisplay.from_estimator(autoencoder).ax_.get_xlabel(),
        )

    before = shown()
    autoencoder.set_params(activation="sigmoid", rho=0.5, solver="adam")
    for after, expected in zip(shown(), before, strict=True):
        if isinstance(expected, str):
            assert after == expected == "iteration"
        else:
            pd.testing.assert_frame_equal(after, expected)


@pytest.mark.parametrize("nested", [False, True])
def test_displays_show_what_a_search_has_chosen(nested, digits):
    autoencoder = SparseAutoencoderTransformer(4, **BRIEFLY)
    pipeline = make_pipeline(StandardScaler(with_std=False), autoencoder)
    grid = {"sparseautoencodertransformer__rho": [0.1, 0.2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(digits)
    shown = make_pipeline(search) if nested else search
    best = search.best_estimator_
    for display, *data in (
        (ComponentsDisplay,),
        (LossCurveDisplay,),
        (ReconstructionDisplay, digits),
        (ActivationDisplay, digits),
    ):
        pd.testing.assert_frame_equal(
            display.from_estimator(shown, *data).frame(),
            display.from_estimator(best, *data).frame(),
        )


def test_a_search_without_a_choice_is_told(digits):
    autoencoder = SparseAutoencoderTransformer(2, **BRIEFLY)
    search = GridSearchCV(autoencoder, {"rho": [0.1]}, cv=2, refit=False).fit(digits)
    with pytest.raises(TypeError, match="got GridSearchCV with refit=False"):
        ComponentsDisplay.from_estimator(search)


# -------------------------------------------------------------- LossCurveDisplay


def test_curves_of_some_calls_only_keep_their_epochs(digits):
    autoencoder = SparseAutoencoderTransformer(
        5, early_stopping=True, tol=100, n_iter_no_change=1, random_state=0
    ).fit(digits)
    n_before, curve = autoencoder.n_iter_, autoencoder.validation_loss_curve_
    autoencoder.partial_fit(digits)
    frame = LossCurveDisplay.from_estimator(autoencoder).frame()
    assert_array_equal(frame["validation"], [*curve, np.nan])
    assert len(autoencoder.train_scores_) == autoencoder.n_iter_ == n_before + 1

    later = SparseAutoencoderTransformer(5, random_state=0).partial_fit(digits)
    later.set_params(early_stopping=True, warm_start=True, tol=100, n_iter_no_change=1)
    later.fit(digits)
    validation = LossCurveDisplay.from_estimator(later).frame()["validation"]
    assert validation.isna().tolist() == [True] + [False] * (later.n_iter_ - 1)


def test_a_curve_that_lacks_iterations_is_named():
    for curves in (
        {"validation_loss_curve": [1.0]},
        {"terms": {"validation": [1.0]}},
    ):
        display = LossCurveDisplay([3.0, 2.0], **curves)
        for method in (display.plot, display.frame):
            with pytest.raises(ValueError, match="curve 'validation' has 1 values, bu"):
                method()


def test_a_term_may_have_the_name_of_another_curve():
    display = LossCurveDisplay([3.0, 2.0], terms={"training": [1.0, 0.5]})
    assert_array_equal(display.frame(), [[3.0, 1.0], [2.0, 0.5]])


def test_dollars_in_names_and_values_are_no_mathematics():
    strange = "a_$^$"
    displays = (
        SearchDisplay(
            [strange, "b"], ["u", "u"], [1.0, 2.0], names=(strange, "p", strange)
        ),
        LossCurveDisplay([2.0, 1.0], terms={strange: [2.0, 1.0]}),
    )
    for display in displays:
        figure = display.plot().figure_
        figure.canvas.draw()
        texts = figure.findobj(lambda item: hasattr(item, "get_text"))
        assert any(r"\$^\$" in text.get_text() for text in texts)


# Trainings that are short on purpose stop at max_iter.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("unit", [1e-25, 1e18])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_components_of_a_pipeline_are_alike_in_every_unit_of_the_data(unit, kind):
    X = 2 + np.random.default_rng(0).normal(size=(60, 6))

    def components(X):
        autoencoder = SparseAutoencoderTransformer(3, max_iter=2, random_state=0)
        pipeline = make_pipeline(StandardScaler(), autoencoder).fit(X)
        display = ComponentsDisplay.from_estimator(
            pipeline, kind=kind, image_shape=(2, 3)
        )
        return display.components

    expected, found = components(X), components(X * unit)
    found = found * unit if kind == "encoder" else found / unit
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_a_training_without_iterations_shows_the_terms_at_its_start(digits):
    autoencoder = SparseAutoencoderTransformer(
        3, solver="lbfgs", tol=1e9, early_stopping=True, random_state=0
    ).fit(digits)
    display = LossCurveDisplay.from_estimator(autoencoder)
    assert len(display.frame()) == autoencoder.n_iter_ == 0
    terms = autoencoder.objective_
    ends = [line.get_xydata().tolist() for line in display.lines_[2:]]
    assert ends == [[[0, v]] for name, v in terms.items() if name != "total"]
    assert autoencoder.validation_loss_curve_ == []


def test_curves_and_terms_are_those_of_the_estimator(digits):
    autoencoder = SparseAutoencoderTransformer(
        5, early_stopping=True, tol=1, random_state=0
    ).fit(digits)
    display = LossCurveDisplay.from_estimator(make_pipeline(autoencoder))
    frame = display.frame()
    assert_array_equal(frame["training"], autoencoder.loss_curve_)
    assert_array_equal(frame["validation"], autoencoder.validation_loss_curve_)
    assert list(frame.index) == list(range(1, autoencoder.n_iter_ + 1))
    terms = frame[["reconstruction", "weight_decay", "sparsity"]]
    assert_array_equal(terms["sparsity"], autoencoder.loss_terms_.sparsity)
    assert_allclose(terms.sum(axis=1), frame["training"])
    for line, name in zip(display.lines_, frame, strict=True):
        assert_array_equal(line.get_xydata(), frame[name].reset_index().to_numpy())
    assert display.ax_.get_xlabel() == "epoch"


def test_terms_with_curves_are_drawn_and_listed_over_the_iterations():
    terms = {"reconstruction": [2.0, 1.0], "sparsity": 0.5}
    display = LossCurveDisplay([3.0, 1.5], terms=terms).plot()
    assert list(display.frame()) == ["training", "reconstruction"]
    assert_array_equal(display.lines_[1].get_ydata(), [2.0, 1.0])
    assert_array_equal(display.lines_[2].get_xydata(), [[2, 0.5]])
    assert display.ax_.get_xlabel() == "iteration"


def test_terms_at_the_end_stand_in_for_curves_that_are_not_recorded(fitted):
    older = copy.copy(fitted)
    del older.loss_terms_
    display = LossCurveDisplay.from_estimator(older)
    assert list(display.frame()) == ["training"]
    assert_allclose(sum(display.terms.values()), fitted.objective_.total)
    ends = [line.get_xydata() for line in display.lines_[1:]]
    assert_allclose(ends, [[(fitted.n_iter_, v)] for v in display.terms.values()])


def test_other_estimators_with_a_loss_curve_are_drawn(fitted, digits):
    network = MLPRegressor(hidden_layer_sizes=5, tol=1e9, random_state=0)
    network.fit(digits, digits[:, 20])
    display = LossCurveDisplay.from_estimator(network)
    assert_array_equal(display.frame()["training"], network.loss_curve_)
    # In a pipeline, the autoencoder's curve is meant, not that of what comes after.
    display = LossCurveDisplay.from_estimator(make_pipeline(fitted, network))
    assert_array_equal(display.frame()["training"], fitted.loss_curve_)


# ----------------------------------------------------------------- SearchDisplay


@pytest.fixture(scope="module")
def search(digits):
    pipeline = make_pipeline(
        StandardScaler(with_std=False),
        SparseAutoencoderTransformer(4, **BRIEFLY),
    )
    grid = {
        "sparseautoencodertransformer__rho": [0.2, 0.05],
        "sparseautoencodertransformer__beta": [0.1, 1.0, 10.0],
    }
    return GridSearchCV(pipeline, grid, cv=2).fit(digits)


def test_the_scores_of_a_search_over_a_pipeline_are_shown(search):
    display = SearchDisplay.from_estimator(search, score="score")
    results = pd.DataFrame(search.cv_results_)
    frame = display.frame()
    assert list(frame) == ["rho", "beta", "score", "std"]
    for column, key in {
        "rho": "param_sparseautoencodertransformer__rho",
        "beta": "param_sparseautoencodertransformer__beta",
        "score": "mean_test_score",
        "std": "std_test_score",
    }.items():
        assert_array_equal(frame[column], results[key].astype(float))
    grid = frame.pivot(index="beta", columns="rho", values="score")
    assert_array_equal(display.mappable_.get_array(), grid)
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0.05", "0.2"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["0.1", "1", "10"]


def test_a_grid_may_go_without_numbers_bar_and_deviations():
    display = SearchDisplay([0.1, 0.1], [1, 2], [0.5, 0.7], names=("rho", "beta", "s"))
    display.plot(values_format=None, colorbar=False)
    assert display.colorbar_ is None
    assert len(display.figure_.axes) == 1
    assert not display.ax_.texts
    assert list(display.frame()) == ["rho", "beta", "s"]


def test_the_chosen_candidate_is_framed(search):
    display = SearchDisplay.from_estimator(search)
    x, y = display.ax_.lines[0].get_data()
    best = search.best_params_
    column = [0.05, 0.2].index(best["sparseautoencodertransformer__rho"])
    row = [0.1, 1.0, 10.0].index(best["sparseautoencodertransformer__beta"])
    assert (np.min(x) + 0.5, np.min(y) + 0.5) == (column, row)


def test_the_best_over_other_parameters_is_shown_for_each_pair():
    results = {
        "param_a__rho": np.ma.array([0.1, 0.1, 0.2, 0.1]),
        "param_a__beta": np.ma.array([1.0, 1.0, 1.0, 2.0], mask=[0, 0, 0, 1]),
        "param_a__n": np.ma.array([1, 2, 1, 1]),
        "mean_test_s": np.array([np.nan, 0.5, 0.4, 0.9]),
        "std_test_s": np.array([0.0, 0.1, 0.2, 0.3]),
    }
    frame = SearchDisplay.from_cv_results(results).frame()
    assert_array_equal(frame, [[0.1, 1.0, 0.5, 0.1], [0.2, 1.0, 0.4, 0.2]])
    frame = SearchDisplay.from_cv_results(results, x="n").frame()
    assert_array_equal(frame, [[1, 1.0, 0.4, 0.2], [2, 1.0, 0.5, 0.1]])


def cv_results(n_candidates, **parameters):
    results = {f"param_{name}": values for name, values in parameters.items()}
    scores = np.linspace(0.1, 0.9, n_candidates)
    return results | {"mean_test_score": scores, "std_test_score": scores / 10}


def test_parameters_of_two_steps_may_have_one_name():
    results = cv_results(
        4, a__rho=np.array([0.1, 0.1, 0.2, 0.2]), b__rho=np.array([1.0, 2.0, 1.0, 2.0])
    )
    display = SearchDisplay.from_cv_results(results, x="a__rho", y="b__rho")
    frame = display.frame()
    assert list(frame) == ["a__rho", "b__rho", "score", "std"]
    assert_array_equal(frame["a__rho"], results["param_a__rho"])
    assert display.ax_.get_xlabel() == r"a: $\rho$"
    assert display.ax_.get_ylabel() == r"b: $\rho$"


def test_a_score_may_have_the_name_of_a_parameter():
    frame = SearchDisplay([1, 2], [3, 4], [5, 6], std=[7, 8], names=("a", "std", "a"))
    assert_array_equal(frame.frame(), [[1, 3, 5, 7], [2, 4, 6, 8]])


def test_a_best_candidate_without_the_parameters_is_not_marked():
    rho = np.ma.array([0.1, 0.2, 0.3], mask=[0, 0, 1])
    results = cv_results(3, rho=rho, beta=np.array([1.0, 1.0, 2.0]))
    display = SearchDisplay.from_cv_results(results, best_index=2)
    assert display.chosen is None
    assert len(display.frame()) == 2
    assert len(display.ax_.lines) == 0


def test_of_a_halving_search_the_last_iteration_of_a_pair_is_shown():
    results = cv_results(3, rho=np.array([0.1, 0.2, 0.1]), beta=np.ones(3))
    results |= {"iter": [0, 0, 1], "mean_test_score": [0.9, 0.8, 0.7]}
    frame = SearchDisplay.from_cv_results(results, best_index=2).frame()
    assert dict(zip(frame["rho"], frame["score"], strict=True)) == {0.1: 0.7, 0.2: 0.8}


def test_a_search_whose_candidates_lack_one_or_the_other_is_told():
    one = np.ma.array([0.1, 0.2], mask=[0, 1])
    other = np.ma.array([0.1, 0.2], mask=[1, 0])
    with pytest.raises(ValueError, match="No candidate of the search has both 'rho'"):
        SearchDisplay.from_cv_results(cv_results(2, rho=one, beta=other))

    lacking = cv_results(2, rho=np.ma.array([0.1, 0.2], mask=[1, 1]))
    with pytest.raises(ValueError, match="No candidate of the search has 'rho'"):
        SearchDisplay.from_cv_results(lacking)


def test_a_search_over_one_parameter_is_a_line_with_its_choice_marked():
    results = cv_results(3, rho=[0.2, 0.01, 0.05])
    display = SearchDisplay.from_cv_results(results, best_index=1)
    line = display.ax_.lines[0]
    assert_array_equal(line.get_xdata(), [0.01, 0.05, 0.2])
    mean = results["mean_test_score"]
    assert_array_equal(line.get_ydata(), [mean[1], mean[2], mean[0]])
    ring = display.ax_.collections[-1]  # the others are error bars
    assert_array_equal(ring.get_offsets(), [[0.01, mean[1]]])
    assert display.ax_.get_xscale() == "log"
    assert list(display.frame()) == ["rho", "score", "std"]
    assert display.mappable_ is display.colorbar_ is None


def test_a_line_over_one_of_two_parameters_has_the_best_over_the_other():
    results = cv_results(4, rho=[0.1, 0.1, 0.2, 0.2], beta=[1, 3, 1, 3])
    display = SearchDisplay.from_cv_results(results, y=None)
    mean = np.reshape(results["mean_test_score"], (2, 2)).max(axis=1)
    assert_array_equal(display.ax_.lines[0].get_ydata(), mean)
    words = cv_results(2, solver=["adam", "lbfgs"])
    display = SearchDisplay.from_cv_results(words, x="solver")
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == ["adam", "lbfgs"]


class Unnamed:
    pass


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["auto", 0.01, None, 0.001], ["0.001", "0.01", "auto", "None"]),
        ([Unnamed(), Unnamed(), "adam"], ["Unnamed", "Unnamed", "adam"]),
        ([(10,), (5, 5), (5, 6)], ["(10,)", "(5, 5)", "(5, 6)"]),
        ([True, False], ["True", "False"]),
        ([np.nan, 1, 2], ["1", "2", "nan"]),
        ([[1], {"a": 1}, np.ones(2)], ["[1]", "{'a': 1}", "[1. 1.]"]),
        ([np.ones(1), np.ones(2), np.ones(3)], ["[1.]", "[1. 1.]", "[1. 1. 1.]"]),
        ([[np.ones(1)], [np.zeros(2)]], ["[array([1.])]", "[array([0., 0.])]"]),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_values_may_be_of_any_type(values, labels, full):
    column = np.fromiter(values * 2, dtype=object)
    beta = np.repeat([1, 100], len(values))
    results = cv_results(len(column), rho=np.ma.array(column), beta=beta)
    if not full:
        results = {name: column[1:] for name, column in results.items()}
    display = SearchDisplay.from_cv_results(results, best_index=len(column) - 2)
    if full:
        assert [t.get_text() for t in display.ax_.get_xticklabels()] == labels
    else:
        assert display.mappable_.get_offsets().shape == (len(column) - 1, 2)
    frame = display.frame()
    assert_array_equal(frame["score"], results["mean_test_score"])
    for value, expected in zip(frame.iloc[:, 0], results["param_rho"], strict=True):
        assert value is expected or value == expected or np.isnan(value)


def test_a_table_of_results_is_taken_too(search):
    table = pd.DataFrame(search.cv_results_)
    expected = SearchDisplay.from_estimator(search).frame()
    for results in (table, table.to_dict("list")):
        frame = SearchDisplay.from_cv_results(results).frame()
        pd.testing.assert_frame_equal(frame, expected)


def test_random_draws_are_shown_as_points_on_logarithmic_axes():
    rng = np.random.RandomState(0)
    rho, beta = 10 ** rng.uniform(-3, 0, (2, 8))
    display = SearchDisplay(rho, beta, rng.rand(8), chosen=(rho[2], beta[2])).plot()
    assert display.ax_.get_xscale() == display.ax_.get_yscale() == "log"
    assert_array_equal(display.mappable_.get_offsets(), np.column_stack([rho, beta]))


def test_a_randomized_search_is_drawn(digits):
    search = RandomizedSearchCV(
        SparseAutoencoderTransformer(4, **BRIEFLY),
        {"rho": [0.05, 0.1, 0.2], "beta": [0.1, 1.0, 3.0]},
        n_iter=4,
        cv=2,
        random_state=0,
    ).fit(digits)
    assert len(SearchDisplay.from_estimator(search).frame()) == 4


def test_scores_and_parameters_that_the_search_has_not_are_told(search):
    with pytest.raises(ValueError, match=r"score must be one of 'score'; got .*'kl'"):
        SearchDisplay.from_estimator(search, score="kl")
    with pytest.raises(ValueError, match="No parameter of the search is called 'lam'"):
        SearchDisplay.from_estimator(search, x="lam")
    results = {
        "param_a__rho": np.array([0.1]),
        "param_b__rho": np.array([0.1]),
        "mean_test_score": np.array([1.0]),
        "std_test_score": np.array([0.0]),
    }
    with pytest.raises(ValueError, match=r"More than one parameter .* 'a__rho'"):
        SearchDisplay.from_cv_results(results)


def test_errors_of_unsigned_integers_do_not_wrap():
    inputs, outputs = np.array([[1, 200]], np.uint8), np.array([[0, 255]], np.uint8)
    assert_array_equal(ReconstructionDisplay(inputs, outputs).errors, [[-1, 55]])


def test_a_sorted_table_of_results_is_read_by_its_labels():
    rho = np.ma.array([0.1, 0.2, 0.3], mask=[0, 0, 1])
    results = cv_results(3, rho=rho, beta=np.array([1.0, 2.0, 3.0]))
    table = pd.DataFrame(results).sort_values("mean_test_score", ascending=False)
    display = SearchDisplay.from_cv_results(table, best_index=0)
    assert display.chosen == (0.1, 1.0)
    assert len(display.frame()) == 2  # one candidate has no rho


@pytest.mark.parametrize("name", ["n_units", "n_columns"])
@pytest.mark.parametrize("value", [0, -2, 2.5])
def test_bad_numbers_of_units_and_columns_are_named(fitted, name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of 1 or more"):
        ComponentsDisplay.from_estimator(fitted, **{name: value})


def test_a_bad_number_of_samples_is_named(fitted, digits):
    with pytest.raises(ValueError, match="n_samples must be a whole number of 1 or"):
        ReconstructionDisplay.from_estimator(fitted, digits, n_samples=-5)


# ----------------------------------------------------------- CodeTradeoffDisplay


def share_explained(X, reconstruction):
    error = np.square(X - reconstruction).sum()
    return 1 - error / np.square(X - X.mean(axis=0)).sum()


def test_tradeoffs_are_those_of_the_active_codes_alone(fitted, digits):
    centred = digits - digits.mean(axis=0)
    pcas = [PCA(n).fit(digits) for n in (3, 9)]
    nmf = NMF(6, init="nndsvd", max_iter=1000, random_state=0).fit(digits)
    learner = MiniBatchDictionaryLearning(
        10, max_iter=5, transform_algorithm="omp", transform_n_nonzero_coefs=4
    )
    learned = make_pipeline(StandardScaler(with_std=False), learner).fit(digits)
    display = CodeTradeoffDisplay.from_estimators(
        {"ours": fitted, "PCA": pcas, "NMF": nmf, "dictionary": learned}, digits
    )
    codes = fitted.transform(digits)
    kept = np.where(codes > 0.1, codes, 0)
    weights = nmf.transform(digits)
    coded = learned.transform(digits)
    assert_allclose(
        display.active_codes,
        [
            (codes > 0.1).sum(axis=1).mean(),
            3,
            9,
            np.count_nonzero(weights) / len(digits),
            np.count_nonzero(coded) / len(digits),
        ],
    )
    assert_allclose(
        display.variance_explained,
        [
            share_explained(digits, fitted.inverse_transform(kept)),
            pcas[0].explained_variance_ratio_.sum(),
            pcas[1].explained_variance_ratio_.sum(),
            share_explained(digits, weights @ nmf.components_),
            share_explained(centred, coded @ learner.components_),
        ],
        rtol=1e-6,
    )
    frame = display.frame()
    assert list(frame["name"]) == ["ours", "PCA", "PCA", "NMF", "dictionary"]
    assert_array_equal(frame["active_codes"], display.active_codes)
    assert_array_equal(frame["variance_explained"], display.variance_explained)


def test_the_tradeoff_of_ica_is_that_of_pca(digits):
    # FastICA of scikit-learn 1.6 loses its way among pixels that never vary.
    varied = digits[:, np.ptp(digits, axis=0) > 0]
    ica = FastICA(5, max_iter=1000, tol=0.01, random_state=0).fit(varied)
    display = CodeTradeoffDisplay.from_estimators({"ICA": ica}, varied)
    expected = PCA(5).fit(varied).explained_variance_ratio_.sum()
    assert_allclose(display.variance_explained, [expected], rtol=1e-6)
    assert_array_equal(display.active_codes, [5])


def test_inactive_tanh_units_are_set_to_what_they_are_at_rest(digits):
    autoencoder = SparseAutoencoderTransformer(10, activation="tanh", **BRIEFLY)
    autoencoder.fit(digits)
    display = CodeTradeoffDisplay.from_estimators({"tanh": autoencoder}, digits)
    codes = autoencoder.transform(digits)
    kept = np.where(codes > -0.8, codes, -1)
    expected = share_explained(digits, autoencoder.inverse_transform(kept))
    assert_allclose(display.variance_explained, [expected])


def test_each_name_has_a_line_from_left_to_right_and_wide_ranges_are_logarithmic(ax):
    display = CodeTradeoffDisplay(
        ["b", "a", "a$", "a"], [30, 20, 5, 2], [0.9, 0.8, 0.5, 0.4]
    ).plot(ax, linestyle=":")
    assert [line.get_label() for line in display.lines_] == ["b", "a", r"a\$"]
    assert_array_equal(display.lines_[1].get_xdata(), [2, 20])
    assert_array_equal(display.lines_[1].get_ydata(), [0.4, 0.8])
    assert display.lines_[1].get_linestyle() == ":"
    assert ax.get_xscale() == "log"
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    labels = {
        label.get_text()
        for label in ax.get_xticklabels(which="both")
        if low <= label.get_position()[0] <= high
    }
    assert labels - {""} == {"2", "5", "10", "20"}
    narrow = CodeTradeoffDisplay(["a", "a"], [5, 20], [0.4, 0.8]).plot()
    assert narrow.ax_.get_xscale() == "linear"


def test_estimators_without_a_name_or_a_code_are_refused(fitted, digits):
    for given in ([fitted], {}, fitted):
        with pytest.raises(TypeError, match="must be a dict of names to estimators"):
            CodeTradeoffDisplay.from_estimators(given, digits)
    with pytest.raises(NotFittedError):
        CodeTradeoffDisplay.from_estimators({"a": PCA()}, digits)
    neighbors = KNeighborsRegressor().fit(digits, digits)
    with pytest.raises(TypeError, match="got KNeighborsRegressor without transform"):
        CodeTradeoffDisplay.from_estimators({"a": neighbors}, digits)

"""The page that ``SparseAutoencoderTransformer.report`` writes."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_array

from .._network.reading import Rows, dense, dense_chunks, row_chunks
from .._network.statistics import of_norm_one
from .._network.units import STATES
from .._objective.activations import ACTIVATIONS
from .._objective.losses import LOSSES
from .._objective.selections import SELECTIONS
from .._pipeline import LocatedAutoencoder
from .._utils.feature_names import checked_names
from .._utils.files import FilePath, check_folder, replacing
from .._utils.image_shape import checked_image_shape
from ._figures import loss_figure, rho_hat_figure
from ._images import Encoder
from ._profile import N_TOP_SAMPLES, unit_profiles

N_TOP_FEATURES = 8
MEASURES = ("rho_hat", "sparseness", "maximum", "std", "kl")
NORMS = ("encoder_norm", "decoder_norm")


class View(NamedTuple):
    """What is shown of an autoencoder: of its own input, or of a pipeline's."""

    rows: Rows
    decoder: np.ndarray  # one row per unit, as are the learned inputs
    learned: np.ndarray
    names: list | None
    of: str  # says, for a pipeline, which features these are


def write_report(
    estimator: Any,
    X: Any,
    path: FilePath,
    image_shape: Any,
    feature_names: Any,
    steps: Any,
) -> Path:
    """Write the page that ``SparseAutoencoderTransformer.report`` describes."""
    path = check_folder(path)
    if steps is None:
        rows = estimator._validate_here(X)
        view = _own_view(estimator, rows)
    elif hasattr(steps, "transform"):
        X, input_of_steps = steps.transform(X), X
        rows = estimator._validate_here(X)
        view = _view_behind(steps, input_of_steps, estimator, rows)
    else:
        raise TypeError(
            "steps must be a fitted transformer, or a Pipeline of transformers such as "
            f"pipeline[:-1]; got {steps!r}."
        )
    n_features = view.decoder.shape[1]
    if image_shape is not None:
        image_shape = checked_image_shape(image_shape, n_features)
    names = view.names
    if feature_names is not None:
        names = checked_names(feature_names, n_features)
    elif names is None and image_shape is None:
        names = [f"x{i}" for i in range(n_features)]

    settings = estimator._fitted_settings
    table = estimator.unit_report(X)
    page = {
        "objective": estimator.evaluate_objective(X),
        "score": estimator.score(X),
        "explains": LOSSES[settings.loss].explains,
    }
    measures = {name: np.asarray(table[name]) for name in (*MEASURES, *NORMS)}
    states = [str(state) for state in table["state"]]
    upper = np.ones(len(states))
    if not ACTIVATIONS[settings.activation].is_bounded:
        upper = np.where(measures["maximum"] > 0, measures["maximum"], 1.0)
    counts, samples, activations = unit_profiles(
        rows, estimator._parameters.astype(rows.dtype), upper
    )

    units = [
        {
            **{name: _rounded(values[unit]) for name, values in measures.items()},
            "state": states[unit],
            "upper": _rounded(upper[unit]),
            "counts": counts[unit].tolist(),
            "samples": samples[unit].tolist(),
            "activations": [_rounded(a) for a in activations[unit]],
        }
        for unit in range(len(states))
    ]
    images = {}
    if names is not None:
        _add_features(units, view, names)
    if image_shape is not None:
        encode = Encoder(image_shape, (2 + N_TOP_SAMPLES) * len(units))
        page |= {"reduction": encode.reduction, "is_coarse": encode.is_coarse}
        for unit, *both in zip(units, view.decoder, view.learned, strict=True):
            unit["decoder"], unit["learned"] = (
                encode(weights, -end, end)
                for weights in both
                for end in [np.abs(weights).max() or 1.0]
            )
        images = _sample_images(view.rows, np.unique(samples), encode)
    is_selected = settings.sparsity in SELECTIONS
    measure = "Share of the samples" if is_selected else "Mean activation"
    page |= {
        "is_selected": is_selected,
        "measure": measure,
        "measures_text": (
            "the shares of samples on which units are on"
            if is_selected
            else "the mean activations of the units"
        ),
        "estimator": estimator,
        "settings": settings,
        "parameters": _parameters(estimator),
        "n_samples": rows.shape[0],
        "n_features": n_features,
        "features_of": view.of,
        "units": units,
        "images": images,
        "states": {state: states.count(state) for state in STATES},
        "has_images": image_shape is not None,
        "has_features": names is not None,
        "rho_hat": measures["rho_hat"],
        "sparseness": measures["sparseness"].mean(),
        "loss_figure": Markup(
            loss_figure(
                estimator.loss_curve_,
                estimator.loss_terms_,
                getattr(estimator, "validation_loss_curve_", []),
                settings.step,
            )
        ),
        "rho_hat_figure": Markup(
            rho_hat_figure(measures["rho_hat"], settings.rho, measure)
        ),
    }
    # UTF-8 cannot encode half of a surrogate pair, which a name may contain.
    content = _render(page).encode("utf-8", "backslashreplace")
    with replacing(path) as file:
        file.write(content)
    return path


def _parameters(estimator: Any) -> tuple[dict, dict]:
    """Return the parameters that the fit recorded, and the others as they are now."""
    parameters, settings = estimator.get_params(deep=False), estimator._fitted_settings
    fitted = {n: getattr(settings, n) for n in parameters if hasattr(settings, n)}
    return fitted, {n: v for n, v in parameters.items() if n not in fitted}


def _own_view(estimator: Any, rows: Rows, names: Any = None, of: str = "") -> View:
    """Return what is shown in the space of the autoencoder's own input."""
    if names is None:
        names = getattr(estimator, "feature_names_in_", None)
    return View(rows, estimator.coefs_[1], estimator.maximal_inputs_, names, of)


def _view_behind(steps: Any, X: Any, estimator: Any, rows: Rows) -> View:
    """Return what is shown of an autoencoder behind other steps.

    It is in the space of the pipeline's input, if the steps can be undone and are
    affine, as scalers and PCA are; else in that of the autoencoder's.
    """
    located = LocatedAutoencoder(make_pipeline(steps, estimator), "coefs_")
    try:
        return View(
            decoder=located.directions_on_input(estimator.coefs_[1]),
            learned=of_norm_one(located.components_on_input(estimator.components_)),
            rows=check_array(X, accept_sparse="csr", ensure_all_finite="allow-nan"),
            names=located.feature_names,
            of="They are those of the pipeline's input.",
        )
    except ValueError:
        try:
            names = steps.get_feature_names_out()
        except AttributeError:  # a step has none
            names = None
        of = "They are those that reach the autoencoder from the steps before it."
        return _own_view(estimator, rows, names, of)


def _add_features(units: list[dict], view: View, names: Sequence[Any]) -> None:
    """Give each unit its strongest features, and their values in its samples.

    Strong are those that the unit moves far, measured by the spread of each.
    """
    n_top = min(N_TOP_FEATURES, len(names))
    moves = np.abs(view.decoder) * _inverse(_spreads(view.rows))
    for unit, move, decoder, learned in zip(
        units, moves, view.decoder, view.learned, strict=True
    ):
        strongest = np.argsort(-move, kind="stable")[:n_top]
        unit["features"] = [
            [str(names[i]), _rounded(decoder[i]), _rounded(learned[i])]
            for i in strongest
        ]
        values = dense(view.rows[unit["samples"]])[:, strongest]
        unit["values"] = [[_rounded(value) for value in row] for row in values]


def _spreads(X: Rows) -> np.ndarray:
    """Return the standard deviation of each column over what is not missing."""

    def means(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total, n_known = 0.0, 0
        for rows in row_chunks(X):
            chunk = np.asarray(dense(X[rows]), dtype=np.float64)
            total = total + np.nansum(function(chunk), axis=0)
            n_known = n_known + (~np.isnan(chunk)).sum(axis=0)
        return total / np.maximum(n_known, 1)

    center = means(lambda chunk: chunk)
    return np.sqrt(means(lambda chunk: np.square(chunk - center)))


def _inverse(spreads: np.ndarray) -> np.ndarray:
    return np.divide(1.0, spreads, out=np.zeros_like(spreads), where=spreads > 0)


def _sample_images(X: Rows, samples: np.ndarray, encode: Encoder) -> dict[int, str]:
    """Encode rows of `X` as images on one scale from black to white."""
    low, high = np.inf, -np.inf
    for chunk in dense_chunks(X, samples):
        known = chunk[~np.isnan(chunk)]
        low = min(low, float(known.min(initial=np.inf)))
        high = max(high, float(known.max(initial=-np.inf)))
    if low == np.inf:  # nothing is known of these samples
        low = high = 0.0
    if low == high:
        high = low + 1
    rows = (row for chunk in dense_chunks(X, samples) for row in chunk)
    return {
        int(sample): encode(row, low, high)
        for sample, row in zip(samples, rows, strict=True)
    }


def _rounded(value: float) -> float | None:
    """Return the float to six digits, so that rows sort by the numbers on the page.

    JSON has no NaN: a missing value is None.
    """
    return None if np.isnan(value) else float(f"{value:.6g}")


def _short(value: float) -> str:
    """Return a number as text of three digits, as ``number`` in page.js does."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e6:
        return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e+")
    return f"{value:.0f}" if size >= 100 else f"{value:#.3g}"


def _bars(counts: Sequence[int]) -> str:
    """Return the SVG path of a histogram with bins of width 1 and a log scale to 1."""
    heights = np.log1p(counts) / np.log1p(max(counts))
    steps = "".join(f"V{1 - height:.3g}h1" for height in heights)
    return f"M0 1{steps}V1z"


def _render(page: dict) -> str:
    loader = jinja2.PackageLoader(__name__)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _short,
        "count": lambda n: f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        "bars": _bars,
    }
    names = "page.css", "page.js"
    style, script = (loader.get_source(environment, name)[0] for name in names)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        page,
        style=Markup(style),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        measures=MEASURES,
        norms=NORMS,
    )

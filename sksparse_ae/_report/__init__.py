"""The page that ``SparseAutoencoderTransformer.report`` writes."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from .._network.reading import Rows, dense, dense_chunks
from .._network.units import STATES
from .._objective.activations import ACTIVATIONS
from .._objective.losses import LOSSES
from .._objective.selections import SELECTIONS
from .._utils.files import FilePath, check_folder, replacing
from .._utils.image_shape import checked_image_shape
from ._figures import loss_figure, rho_hat_figure
from ._images import Encoder
from ._profile import N_TOP_SAMPLES, unit_profiles

N_TOP_FEATURES = 8
MEASURES = ("rho_hat", "sparseness", "maximum", "std", "kl")
NORMS = ("encoder_norm", "decoder_norm")


def write_report(
    estimator: Any, X: Any, path: FilePath, image_shape: Any, feature_names: Any
) -> Path:
    """Write the page that ``SparseAutoencoderTransformer.report`` describes."""
    path = check_folder(path)
    n_features = estimator.n_features_in_
    if image_shape is not None:
        image_shape = checked_image_shape(image_shape, n_features)
    names = _feature_names(estimator, image_shape, feature_names)

    settings = estimator._fitted_settings
    table = estimator.unit_report(X)
    page = {
        "objective": estimator.evaluate_objective(X),
        "score": estimator.score(X),
        "explains": LOSSES[settings.loss].explains,
    }
    X = estimator._validate_here(X)
    measures = {name: np.asarray(table[name]) for name in (*MEASURES, *NORMS)}
    states = [str(state) for state in table["state"]]
    upper = np.ones(len(states))
    if not ACTIVATIONS[settings.activation].is_bounded:
        upper = np.where(measures["maximum"] > 0, measures["maximum"], 1.0)
    counts, samples, activations = unit_profiles(
        X, estimator._parameters.astype(X.dtype), upper
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
    learned, images = estimator.maximal_inputs_, {}
    if names is not None:
        _add_features(units, learned, names, X)
    if image_shape is not None:
        encode = Encoder(image_shape, (1 + N_TOP_SAMPLES) * len(units))
        page |= {"reduction": encode.reduction, "is_coarse": encode.is_coarse}
        for unit, weights in zip(units, learned, strict=True):
            end = np.abs(weights).max() or 1.0
            unit["image"] = encode(weights, -end, end)
        images = _sample_images(X, np.unique(samples), encode)
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
        "n_samples": X.shape[0],
        "units": units,
        "images": images,
        "states": {state: states.count(state) for state in STATES},
        "has_images": image_shape is not None,
        "has_features": names is not None,
        "rho_hat": measures["rho_hat"],
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


def _feature_names(
    estimator: Any, image_shape: Any, feature_names: Any
) -> list[str] | None:
    """Return the names of the features; None for images without names."""
    n_features = estimator.n_features_in_
    if feature_names is None:
        feature_names = getattr(estimator, "feature_names_in_", None)
    if feature_names is None:
        return None if image_shape else [f"x{i}" for i in range(n_features)]
    if isinstance(feature_names, (str, set)) or np.ndim(feature_names) > 1:
        raise ValueError(
            f"feature_names must be a list of names; got {feature_names!r}."
        )
    feature_names = list(feature_names)
    if len(feature_names) != n_features:
        raise ValueError(
            f"feature_names has {len(feature_names)} names, but a sample has "
            f"{n_features} features."
        )
    return [str(name) for name in feature_names]


def _add_features(
    units: list[dict], learned: np.ndarray, names: list[str], X: Rows
) -> None:
    """Give each unit its strongest features, and their values in its samples."""
    n_top = min(N_TOP_FEATURES, len(names))
    for unit, weights in zip(units, learned, strict=True):
        strongest = np.argsort(-np.abs(weights), kind="stable")[:n_top]
        unit["features"] = [[names[i], _rounded(weights[i])] for i in strongest]
        values = dense(X[unit["samples"]])[:, strongest]
        unit["values"] = [[_rounded(value) for value in row] for row in values]


def _sample_images(X: Rows, samples: np.ndarray, encode: Encoder) -> dict[int, str]:
    """Encode rows of `X` as images on one scale from black to white."""
    low, high = np.inf, -np.inf
    for chunk in dense_chunks(X, samples):
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    if low == high:
        high = low + 1
    rows = (row for chunk in dense_chunks(X, samples) for row in chunk)
    return {
        int(sample): encode(row, low, high)
        for sample, row in zip(samples, rows, strict=True)
    }


def _rounded(value: float) -> float:
    """Return the float to six digits, so that rows sort by the numbers on the page."""
    return float(f"{value:.6g}")


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

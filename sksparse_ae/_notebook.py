"""What a notebook shows of an estimator: a link and, after the fit, a summary."""

from html import escape
from typing import Any

from ._network.units import STATES
from ._objective.selections import SELECTIONS


class FittedSummaryMixin:
    """Adds to scikit-learn's diagram a link to the documentation and a summary.

    scikit-learn 1.6 to 1.9 build the HTML in one of these two methods, whichever the
    front end calls.
    """

    _doc_link_module = "sksparse_ae"
    _doc_link_template = (
        "https://sksparse-ae.github.io/sksparse_ae/api/generated/"
        "{estimator_module}.{estimator_name}.html"
    )

    # Both methods are BaseEstimator's, which stands behind this mixin in the estimator.
    # mypy looks for them in the mixin's own bases, of which there are none.

    def _repr_html_inner(self) -> str:
        return super()._repr_html_inner() + _summary(self)  # type: ignore[misc]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if "text/html" in bundle:
            bundle["text/html"] += _summary(self)
        return bundle


def _summary(estimator: Any) -> str:
    """Return a paragraph on the fit, empty before it."""
    if not hasattr(estimator, "coefs_"):
        return ""
    objective, rho_hat = estimator.objective_, estimator.rho_hat_
    settings = estimator._fitted_settings
    n_features, n_units = estimator.coefs_[0].shape
    is_selected = settings.sparsity in SELECTIONS
    measure = "Units are on for shares" if is_selected else "Mean activations"
    plural = "" if estimator.n_iter_ == 1 else "s"
    explained = ""
    if estimator._variance_explained is not None:
        data = " of the whitened data" if hasattr(estimator, "whitening_") else ""
        share = f"{estimator._variance_explained:.1%}"
        explained = f"{share} of the variance{data} explained, "
    states = list(estimator.unit_states_)
    counts = [f"{states.count(state)} {state}" for state in STATES if state in states]
    lines = (
        f"{n_units} units of {n_features} features, "
        f"after {estimator.n_iter_} {settings.step}{plural}: {explained}"
        f"sparseness {estimator.sparseness_:.2f}.",
        f"Units: {', '.join(counts)}. "
        f"{measure} from {rho_hat.min():.3g} to {rho_hat.max():.3g}; "
        f"rho is {settings.rho}.",
        f"Objective {objective.total:.4g} = "
        f"{objective.reconstruction:.4g} reconstruction "
        f"+ {objective.weight_decay:.4g} weight decay "
        f"+ {objective.sparsity:.4g} sparsity.",
    )
    # A loaded file may hold anything in these values: show it as text, never as markup.
    text = "<br>".join(map(escape, lines))
    return f'<p style="margin: 0.5em 0; font-size: 0.9em">{text}</p>'

"""What a notebook shows of a fitted transformer, beside scikit-learn's diagram."""

from html import escape


class FittedSummaryMixin:
    """Adds a short summary of the fit to the HTML representation.

    scikit-learn 1.6 to 1.9 build the HTML in one of these two methods, whichever the
    front end calls.
    """

    def _repr_html_inner(self):
        return super()._repr_html_inner() + _summary(self)

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += _summary(self)
        return bundle


def _summary(estimator):
    """Return a paragraph on the fit, empty before it."""
    if not hasattr(estimator, "coefs_"):
        return ""
    objective, rho_hat = estimator.objective_, estimator.rho_hat_
    n_features, n_units = estimator.coefs_[0].shape
    step = "iteration" if estimator.solver == "lbfgs" else "epoch"
    plural = "" if estimator.n_iter_ == 1 else "s"
    return (
        '<p style="margin: 0.5em 0; font-size: 0.9em">'
        f"{n_units} units of {n_features} features, "
        f"after {estimator.n_iter_} {step}{plural}.<br>"
        f"Objective {objective.total:.4g} = "
        f"{objective.reconstruction:.4g} reconstruction "
        f"+ {objective.weight_decay:.4g} weight decay "
        f"+ {objective.sparsity:.4g} sparsity.<br>"
        f"Mean activations from {rho_hat.min():.3g} to {rho_hat.max():.3g}; "
        f"rho is {escape(str(estimator.rho))}.</p>"
    )

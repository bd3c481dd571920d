"""The figures of the report, as SVG in the colours of the page."""

import io
import re

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Matplotlib draws in placeholder colours. Each is replaced by a variable of the page's
# style sheet, which has values for the light and for the dark scheme.
COLORS = {
    "#010101": "var(--text)",
    "#020202": "var(--muted)",
    "#030303": "var(--accent)",
    "#040404": "var(--second)",
    "#050505": "var(--reconstruction)",
    "#060606": "var(--weight-decay)",
    "#070707": "var(--sparsity)",
}
TEXT, MUTED, ACCENT, SECOND, *TERMS = COLORS

STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "sksparse_ae",  # the same data give the same page
    "text.color": TEXT,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "font.size": 10,
    "legend.frameon": False,
}


def loss_figure(
    loss_curve: list, loss_terms: dict[str, list], validation_curve: list, step: str
) -> str:
    """Draw the objective and its terms over the epochs or iterations."""
    with matplotlib.style.context(["default", STYLE]):
        figure, axes = _axes()
        # A line through one point would not be seen.
        marker = "o" if len(loss_curve) < 2 else None
        curves = {"objective": loss_curve, "held out": validation_curve, **loss_terms}
        lines = "-", "--", "-.", ":", (0, (3, 1, 1, 1))
        styles = zip((ACCENT, SECOND, *TERMS), lines, strict=True)
        for (name, values), (color, line) in zip(curves.items(), styles, strict=True):
            if np.nan_to_num(values).any():
                steps = np.arange(1, len(values) + 1)
                (drawn,) = axes.plot(steps, values, color=color, marker=marker)
                drawn.set(linestyle=line, label=name.replace("_", " "))
        if not any(np.less_equal(line.get_ydata(), 0).any() for line in axes.lines):
            axes.set_yscale("log")
        if axes.lines:
            figure.legend(loc="outside upper left", ncols=3, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel=step.capitalize(), ylabel="Objective")
        return _svg(figure, "loss")


def rho_hat_figure(rho_hat: np.ndarray, rho: float, measure: str) -> str:
    """Draw a histogram of a measure of the units, with a line at rho."""
    with matplotlib.style.context(["default", STYLE]):
        figure, axes = _axes()
        low, high = min(rho_hat.min(), rho), max(rho_hat.max(), rho)
        margin = 0.05 * max(high - low, 0.2 * rho)
        low, high = low - margin, high + margin
        bins = int(np.clip(len(rho_hat) // 5, 12, 40))
        axes.hist(rho_hat, bins=bins, range=(low, high), color=ACCENT)
        axes.axvline(rho, color=SECOND, linestyle="--")
        axes.annotate(
            f"ρ = {rho:.3g}",
            (rho, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 7),
            textcoords="offset points",
            # Written towards the edge that is farther away.
            horizontalalignment="left" if rho < (low + high) / 2 else "right",
        )
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set(xlabel=measure, ylabel="Units", xlim=(low, high))
        return _svg(figure, "rho-hat")


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element, whose ids start with `name`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for color, variable in COLORS.items():
        svg = svg.replace(color, variable)
    return svg

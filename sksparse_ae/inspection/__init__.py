"""Pictures of what an autoencoder has learned, in the form of scikit-learn's Displays.

Each class holds the numbers of one picture. `from_estimator` computes them from a
fitted estimator and draws them; `from_estimators` compares several. An estimator may be
a Pipeline, of which the step with the needed attributes is shown, or a search over one
of these, of which the best estimator is shown. `plot` draws the numbers again, and
`frame` returns them as a table. Drawing needs matplotlib and tables need pandas, which
the extra "displays" installs.
"""

from ._activation import ActivationDisplay
from ._code_tradeoff import CodeTradeoffDisplay
from ._components import ComponentsDisplay
from ._loss_curve import LossCurveDisplay
from ._reconstruction import ReconstructionDisplay
from ._search import SearchDisplay

__all__ = [
    "ActivationDisplay",
    "CodeTradeoffDisplay",
    "ComponentsDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "SearchDisplay",
]

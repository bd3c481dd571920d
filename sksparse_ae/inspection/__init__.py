"""Pictures of what an autoencoder has learned, in the form of scikit-learn's Displays.

Each class holds the numbers of one picture. `from_estimator` computes them from the
attributes and methods of a fitted estimator, of the step of a Pipeline that has them,
or of what a search over one of these has chosen, and draws; `plot` draws; `frame`
returns them as a table. Drawing needs matplotlib and tables need pandas, which the
extra "displays" installs.
"""

from ._activation import ActivationDisplay
from ._components import ComponentsDisplay
from ._loss_curve import LossCurveDisplay
from ._reconstruction import ReconstructionDisplay
from ._search import SearchDisplay

__all__ = [
    "ActivationDisplay",
    "ComponentsDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "SearchDisplay",
]

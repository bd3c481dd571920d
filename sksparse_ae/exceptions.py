"""The warnings of the package, to be filtered by class."""


class UninformativeUnitsWarning(UserWarning):
    """Warn that many of the units that `fit` has trained carry nothing of the data.

    It is no `ConvergenceWarning`: such a training may well have converged, and short
    trainings, whose `ConvergenceWarning` is often silenced on purpose, should still
    tell of units that are constant.

    See Also
    --------
    SparseAutoencoderTransformer.unit_report : More about each unit, as a table.

    Examples
    --------
    To accept such features, e.g. in a search that explores extreme settings:

    >>> import warnings
    >>> from sksparse_ae.exceptions import UninformativeUnitsWarning
    >>> warnings.simplefilter("ignore", UninformativeUnitsWarning)
    """

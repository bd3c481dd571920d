"""The warning classes of the package."""


class UninformativeUnitsWarning(UserWarning):
    """Warn that many of the units that `fit` has trained carry nothing of the data.

    It is not a `ConvergenceWarning`, because such a training may well have converged.
    Users often silence the `ConvergenceWarning` of short trainings, and should still
    learn of units that are constant.

    See Also
    --------
    sksparse_ae.SparseAutoencoderTransformer.unit_report : A table of all units.

    Examples
    --------
    To accept such features, e.g. in a search that explores extreme settings:

    >>> import warnings
    >>> from sksparse_ae.exceptions import UninformativeUnitsWarning
    >>> warnings.simplefilter("ignore", UninformativeUnitsWarning)
    """

"""Searches over sparse autoencoders."""

import contextlib
from numbers import Integral

from joblib import parallel_config

from ._search.together import TogetherBackend

__all__ = ["train_together"]


@contextlib.contextmanager
def train_together(n_fits=100):
    """Let searches train fits that see the same data in one program.

    Within the block, `GridSearchCV`, `cross_val_score` and whatever else calls joblib
    keeps up to `n_fits` fits under way at once, whatever `n_jobs` says. Trainings of
    `SparseAutoencoderTransformer` that they come to are one where they have the same
    training rows and shape and the same seed: the candidates of a search that differ
    in `rho`, `beta`, `weight_decay`, `learning_rate` or `max_iter`, fold by fold. The
    data are then read once for all of them, and the operations are few and large
    instead of many and small. Up to three such trainings, of several folds, run at the
    same time. All else, such as other steps of a pipeline and scoring, runs one after
    the other in this process, each fit in a thread of its own.

    Only trainings with `solver="adam"` and an integer `random_state` are joined, and
    none with `verbose`, `checkpoint_dir`, `warm_start`, `partial_fit` or
    scikit-learn's callbacks. The others run as they would. Results are those of
    separate fits but for the rounding of float32, which may decide in a long training
    whether the learning rate falls. The times that a search reports, `mean_fit_time`
    and its like, include the wait for the others.

    Fits wait for each other. A fit that holds a lock for which another one waits
    deadlocks.

    Parameters
    ----------
    n_fits : int, default=100
        Fits that are under way at once, at least 4; an odd number is rounded up. Each
        holds its training rows, as scikit-learn copies them for it. A search with three
        folds trains a third of them together. Best as many as the search has: another
        number of fits that train together is another program to compile.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If `n_fits` is not an integer from 4 on.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.model_selection import train_together
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(10, tol=0.1, random_state=0)
    >>> grid = {"rho": [0.05, 0.1, 0.2], "weight_decay": [0.001, 0.01, 0.1]}
    >>> with train_together():
    ...     search = GridSearchCV(autoencoder, grid, cv=3).fit(X[:300])
    >>> search.best_params_
    {'rho': 0.2, 'weight_decay': 0.01}
    """
    if not isinstance(n_fits, Integral) or n_fits < 4:
        raise ValueError(f"n_fits must be an integer from 4 on; got {n_fits!r}.")
    with parallel_config(backend=TogetherBackend(n_fits)):
        yield

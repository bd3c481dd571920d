"""A sparse autoencoder whose rows lie on a Dask cluster.

It needs the extra "dask": ``python -m pip install 'sksparse_ae[dask]'``.
"""

import copy
import re
from typing import ClassVar

from sklearn.utils.validation import check_is_fitted, validate_data

from ._transformer import SparseAutoencoderTransformer
from ._utils.extras import import_extra

for _module in ("dask.array", "distributed"):
    import_extra(_module, extra="dask", needed_by="sksparse_ae.dask")

from ._dask.blocks import DaskBlocks
from ._dask.clients import asking, client_of
from ._dask.collections import (
    head_of,
    is_collection,
    of_each_block,
    of_whole_rows,
    weights_of_blocks,
)

__all__ = ["DaskSparseAutoencoderTransformer"]

_INTRODUCTION = """Sparse autoencoder over rows that lie on a Dask cluster.

    It minimises the objective of :class:`~sksparse_ae.SparseAutoencoderTransformer`,
    whose parameters and attributes it has, over the rows of a Dask array or dataframe.
    With `solver="lbfgs"`, every evaluation runs where the blocks of rows are, and what
    comes back is one sum. "adam" and "sgd" need one row after another: the blocks come
    to this process in turn.

    `transform`, `inverse_transform`, `reconstruct`, `reconstruction_error` and
    `score_samples` are lazy: they return a Dask collection, of an array an array and of
    a dataframe a dataframe. All else is computed at once.

    Read more in the :ref:`user guide <dask>`.

    Parameters
    ----------"""

_CLIENT = """    client : distributed.Client or None, default=None
        The cluster to compute on. None stands for the default client, which is the
        latest one made, and within a task for that of the task. It is not pickled, and
        clones share it.

    Attributes
    ----------
    client_ : distributed.Client
        The client in use.

"""

_END = """    See Also
    --------
    sksparse_ae.SparseAutoencoderTransformer : The same for rows on one machine.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae.dask import DaskSparseAutoencoderTransformer
    >>> client = Client(processes=False, dashboard_address=":0")
    >>> X = da.from_array(load_digits().data, chunks=(500, -1))
    >>> autoencoder = DaskSparseAutoencoderTransformer(
    ...     n_components=20, solver="lbfgs", max_iter=200, tol=0.02, random_state=0
    ... ).fit(X)
    >>> codes = autoencoder.transform(X)
    >>> codes.shape, codes.chunks[0]
    ((1797, 20), (500, 500, 500, 297))
    >>> bool(autoencoder.score(X) > 0.5)
    True
    >>> client.close()
    """


def _documentation():
    """Return the docstring: that of the local estimator, with what is other."""
    local = SparseAutoencoderTransformer.__doc__ or ""  # None by python -OO
    _, _, parameters = local.partition("    Parameters\n    ----------")
    parameters, _, rest = parameters.partition("    Attributes\n    ----------\n")
    attributes = rest.partition("    See Also\n")[0]
    # The references stand in the docstring of the local estimator.
    parameters = re.sub(r" \[\d\]_", "", parameters)
    return _INTRODUCTION + parameters + _CLIENT + attributes + _END


class DaskSparseAutoencoderTransformer(SparseAutoencoderTransformer):  # noqa: D101, __doc__ is computed
    __doc__ = _documentation()

    _parameter_constraints: ClassVar[dict] = {
        **SparseAutoencoderTransformer._parameter_constraints,
        "client": "no_validation",  # see client_of
    }

    def __init__(
        self,
        n_components=200,
        *,
        sparsity="kl",
        rho=0.05,
        beta="auto",
        weight_decay="auto",
        activation="auto",
        output_activation="linear",
        loss="squared_error",
        solver="adam",
        learning_rate="auto",
        batch_size="auto",
        max_iter=1000,
        shuffle=True,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        rho_hat="running",
        corruption=0.0,
        corruption_kind="mask",
        init="auto",
        scale="auto",
        revive="auto",
        sparse_output=False,
        checkpoint_dir=None,
        warm_start=False,
        verbose=0,
        random_state=None,
        client=None,
    ):
        super().__init__(
            n_components,
            sparsity=sparsity,
            rho=rho,
            beta=beta,
            weight_decay=weight_decay,
            activation=activation,
            output_activation=output_activation,
            loss=loss,
            solver=solver,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_iter=max_iter,
            shuffle=shuffle,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            rho_hat=rho_hat,
            corruption=corruption,
            corruption_kind=corruption_kind,
            init=init,
            scale=scale,
            revive=revive,
            sparse_output=sparse_output,
            checkpoint_dir=checkpoint_dir,
            warm_start=warm_start,
            verbose=verbose,
            random_state=random_state,
        )
        self.client = client

    @property
    def client_(self):
        """The client in use."""
        return client_of(self.client)

    def to_local(self):
        """Return the estimator for rows on one machine.

        Returns
        -------
        estimator : SparseAutoencoderTransformer
            With the parameters of this one but `client`, and fitted if this one is. To
            load its pickle needs no Dask.
        """
        parameters = self.get_params(deep=False)
        del parameters["client"]
        local = SparseAutoencoderTransformer(**parameters)
        fitted = vars(self).keys() - self.get_params(deep=False).keys()
        vars(local).update({name: copy.copy(vars(self)[name]) for name in fitted})
        return local

    def _on_cluster(self, X, sample_weight):
        """Return the blocks of a collection and its weights; anything else as it is."""
        if not is_collection(X):
            return X, sample_weight
        X, client = of_whole_rows(X), self.client_
        if sample_weight is None:
            return DaskBlocks(X, client), None
        of_blocks = weights_of_blocks(X, sample_weight)
        # The rows stay where they are. Of a weight, 8 bytes, the client has a copy.
        with asking(client):
            weights = client.compute(of_blocks).result()
        return DaskBlocks(X, client, of_blocks), weights

    def _validate_training_data(self, X, continued, sample_weight=None, partial=False):
        if not is_collection(X):
            raise TypeError(
                "X must be a Dask array or dataframe (dask.array.from_array, "
                f"dask.dataframe.read_parquet); got {type(X).__name__}. Rows on this "
                "machine are for SparseAutoencoderTransformer."
            )
        X, sample_weight = self._on_cluster(X, sample_weight)
        return super()._validate_training_data(X, continued, sample_weight, partial)

    def _validate(self, X, sample_weight=None):
        check_is_fitted(self)
        return super()._validate(*self._on_cluster(X, sample_weight))

    def _lazily(self, X, method, names, out=None, **arguments):
        """Return what a method of the local estimator makes of each block."""
        check_is_fitted(self)
        if out is not None:
            raise ValueError(
                "out is for rows on this machine. What a Dask collection gives is "
                "computed later: write it with dask.array.store(result, out)."
            )
        local = self.to_local()
        if method != "inverse_transform":
            validate_data(
                local,
                head_of(of_whole_rows(X)),
                dtype="numeric",
                ensure_all_finite="allow-nan",
                ensure_min_samples=0,
                reset=False,
            )
        return of_each_block(X, local, method, names, **arguments)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the components, those of the local estimator.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only used to check the names seen in `fit`.

        Returns
        -------
        feature_names_out : ndarray of str
            "sparseautoencodertransformer0" and so on.
        """
        return self.to_local().get_feature_names_out(input_features)

    def set_output(self, *, transform=None):
        """Keep the output as it is: a collection of the kind that was given.

        Parameters
        ----------
        transform : {"default"} or None, default=None
            Only these: a dataframe gives a dataframe in any case.

        Returns
        -------
        self : DaskSparseAutoencoderTransformer
            This estimator.
        """
        if transform not in (None, "default"):
            raise ValueError(
                f"transform={transform!r} is not available: a Dask dataframe gives a "
                "dataframe with names, and an array an array. to_local() has the "
                "containers of scikit-learn."
            )
        return self

    def _input_names(self):
        names = getattr(self, "feature_names_in_", None)
        return [f"x{n}" for n in range(self.n_features_in_)] if names is None else names

    def transform(self, X, out=None):
        """Return the activations of the hidden units, lazily.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Data in the units of the training data. Of rows on this machine, an array
            is returned at once.

        out : None
            As for the local estimator, for rows on this machine.

        Returns
        -------
        codes : dask Array or DataFrame of shape (n_samples, n_components)
            The activations that the penalty acts on. The columns of a DataFrame are
            `get_feature_names_out`.
        """
        if not is_collection(X):
            return super().transform(X, out)
        check_is_fitted(self)
        return self._lazily(X, "transform", list(self.get_feature_names_out()), out)

    def inverse_transform(self, X):
        """Reconstruct samples from their codes, lazily.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_components)
            Activations of the hidden units, as `transform` returns them.

        Returns
        -------
        X_reconstructed : dask Array or DataFrame of shape (n_samples, n_features)
            In the units of the training data.
        """
        if not is_collection(X):
            return super().inverse_transform(X)
        check_is_fitted(self)
        return self._lazily(X, "inverse_transform", self._input_names())

    def reconstruct(self, X, out=None):
        """Encode and decode samples, lazily.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Data in the units of the training data.

        out : None
            As for the local estimator, for rows on this machine.

        Returns
        -------
        X_reconstructed : dask Array or DataFrame of shape (n_samples, n_features)
            `inverse_transform` of `transform` of `X`.
        """
        if not is_collection(X):
            return super().reconstruct(X, out)
        check_is_fitted(self)
        return self._lazily(X, "reconstruct", self._input_names(), out)

    def impute(self, X, out=None):
        """Return samples with what is missing filled, lazily.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Data in the units of the training data, with NaN for what is missing.

        out : None
            As for the local estimator, for rows on this machine.

        Returns
        -------
        X_filled : dask Array or DataFrame of shape (n_samples, n_features)
            `X` with its reconstruction for what is missing.
        """
        if not is_collection(X):
            return super().impute(X, out)
        check_is_fitted(self)
        return self._lazily(X, "impute", self._input_names(), out)

    def reconstruction_error(self, X, per_feature=False):
        """Return the squared reconstruction errors, lazily.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Data in the units of the training data.

        per_feature : bool, default=False
            Whether to return the error of each value rather than of each row.

        Returns
        -------
        errors : dask Array, Series or DataFrame
            Squared errors of the rows, or of the values.
        """
        if not is_collection(X):
            return super().reconstruction_error(X, per_feature)
        check_is_fitted(self)
        names = self._input_names() if per_feature else None
        return self._lazily(X, "reconstruction_error", names, per_feature=per_feature)

    def score_samples(self, X):
        """Return how well each sample is reconstructed, lazily.

        Parameters
        ----------
        X : dask Array or DataFrame of shape (n_samples, n_features)
            Data in the units of the training data.

        Returns
        -------
        scores : dask Array or Series of shape (n_samples,)
            Minus the squared reconstruction error of each row.
        """
        if not is_collection(X):
            return super().score_samples(X)
        return self._lazily(X, "score_samples", None)

    def __sklearn_clone__(self):
        # A client cannot be copied: the clone shares it.
        bare = copy.copy(self)
        bare.client = None
        clone = super(DaskSparseAutoencoderTransformer, bare).__sklearn_clone__()
        return clone.set_params(client=self.client)

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}

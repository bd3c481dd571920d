"""Stacked autoencoders: pipelines of transformers, fine-tuned as one network."""

import copy
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import Bunch, check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._engine.startup import starting_tensorflow
from ._network.reading import as_seen
from ._pipeline import flat_steps
from ._training.monitor import Monitor, Progress, announce
from ._training.settings import as_python, rows_of_a_batch
from ._transformer import SparseAutoencoderTransformer

__all__ = ["fine_tune"]


class _Map(NamedTuple):
    """shift + factor * x, element by element: what scalers between the layers do."""

    shift: np.ndarray | float = 0.0
    factor: np.ndarray | float = 1.0

    def then(self, other):
        """Return the map that applies this one first."""
        return _Map(other.shift + other.factor * self.shift, other.factor * self.factor)


def _centred_map(centre, scale):
    centre = 0.0 if centre is None else centre
    scale = 1.0 if scale is None else scale
    return _Map(-centre / scale, 1 / scale)


# By exact type: a subclass may transform differently.
_SCALER_MAPS = {
    StandardScaler: lambda scaler: _centred_map(
        scaler.mean_ if scaler.with_mean else None,
        scaler.scale_ if scaler.with_std else None,
    ),
    MinMaxScaler: lambda scaler: _Map(scaler.min_, scaler.scale_),
    MaxAbsScaler: lambda scaler: _centred_map(None, scaler.scale_),
    RobustScaler: lambda scaler: _centred_map(
        scaler.center_ if scaler.with_centering else None,
        scaler.scale_ if scaler.with_scaling else None,
    ),
}


class _Stack(NamedTuple):
    """The steps of a pipeline, as the parts of a network.

    Attributes
    ----------
    before : list of (name, transformer)
        What stands before the first autoencoder; it is not trained.
    encoders : list of SparseAutoencoderTransformer
    maps : list of _Map
        For each encoder what stands between its code and the next layer.
    classifier : LogisticRegression
    """

    before: list
    encoders: list
    maps: list
    classifier: LogisticRegression

    @classmethod
    def from_pipeline(cls, pipeline):
        """Take a pipeline apart; raise for a step that cannot be part of it."""
        *steps, (last_name, classifier) = flat_steps(pipeline)
        # By exact type: LogisticRegressionCV is one too, with another objective.
        if type(classifier) is not LogisticRegression:
            raise ValueError(
                "The last step of the pipeline must be a LogisticRegression; "
                f"{last_name!r} is a {type(classifier).__name__}."
            )
        _check_classifier(last_name, classifier)
        before, encoders, maps = [], [], []
        for name, step in steps:
            if _is_encoder(step):
                encoders.append(step)
                maps.append(_Map())
            elif not encoders:
                before.append((name, step))
            else:
                maps[-1] = maps[-1].then(_scaler_map(name, step))
        if not encoders:
            raise ValueError(
                "The pipeline has no SparseAutoencoderTransformer to fine-tune; its "
                f"steps are {[*(name for name, _ in steps), last_name]}."
            )
        return cls(before, encoders, maps, classifier)

    def inputs(self, X):
        """Return what the first autoencoder reads."""
        for name, step in self.before:
            if not hasattr(step, "transform"):
                raise ValueError(
                    f"The step {name!r} ({type(step).__name__}) has no transform. "
                    "Apply it to X and y, and leave it out of the pipeline."
                )
            X = step.transform(X)
        return X

    def codes(self, X):
        """Return what the classifier reads, from what the first autoencoder reads."""
        for encoder, (shift, factor) in zip(self.encoders, self.maps, strict=True):
            X = shift + factor * encoder._parameters.encode(X)
        return X

    # The network works in the units that the autoencoders were trained in: there a step
    # of Adam has a size that suits every layer, whatever the units of the data. Between
    # layers only maps element by element are made: the whitening of a later encoder
    # stays part of its weights.

    @property
    def scalings(self):
        """The units of the input of each encoder in the network."""
        first, *others = (encoder._scaling for encoder in self.encoders)
        return [first, *(scaling._replace(whitening=None) for scaling in others)]

    def standardize(self, X):
        """Return the network's input, in float32."""
        out = np.empty(X.shape, dtype=np.float32)
        return as_seen(self.scalings[0].standardize(X, out=out))

    def network_maps(self):
        """Return for each encoder the map from its code to the next layer's input."""
        following = [
            _centred_map(scaling.offset, scaling.scale) for scaling in self.scalings[1:]
        ]
        return [
            scalers.then(units)
            for scalers, units in zip(self.maps, [*following, _Map()], strict=True)
        ]

    def kept(self):
        """Return for each encoder its threshold, or rho if it has none."""
        return [
            np.asarray(getattr(encoder, "threshold_", encoder._fitted_settings.rho))
            for encoder in self.encoders
        ]

    def weights(self, classifier):
        """Return the network's weights and biases, layer by layer."""
        weights = []
        for encoder, scaling in zip(self.encoders, self.scalings, strict=True):
            weights += scaling.unfold(encoder._parameters)[:2]
        weights.append(classifier.coef_.T)
        return (
            [*weights, classifier.intercept_] if classifier.fit_intercept else weights
        )

    def set_weights(self, weights):
        """Give the network's weights and biases to the steps."""
        scalings = self.scalings
        for i, (encoder, scaling) in enumerate(
            zip(self.encoders, scalings, strict=True)
        ):
            _, _, W2, b2 = scaling.unfold(encoder._parameters)
            W1, b1, _, _ = scaling.fold([*weights[2 * i : 2 * i + 2], W2, b2])
            dtype = encoder.coefs_[0].dtype
            encoder.coefs_[0] = W1.astype(dtype)
            encoder.intercepts_[0] = b1.astype(dtype)
            if encoder._continuation is not None:
                encoder._continuation = encoder._continuation.without_weights()
        coef, *intercept = weights[2 * len(self.encoders) :]
        classifier = self.classifier
        classifier.coef_ = coef.T.astype(classifier.coef_.dtype)
        if classifier.fit_intercept:
            classifier.intercept_ = intercept[0].astype(classifier.intercept_.dtype)


def _is_encoder(step):
    """Say whether a step is an autoencoder that transforms as the class says."""
    cls = SparseAutoencoderTransformer
    return isinstance(step, cls) and type(step).transform is cls.transform


def _evaluate_again(pipeline, X):
    """Bring what the autoencoders report of the training set up to date.

    `X` is what the first of them reads.
    """
    n_seen = 0
    *steps, _ = flat_steps(pipeline)
    for _, step in steps:
        if _is_encoder(step):
            n_seen += 1
            step._evaluate_again(X)
        if n_seen:
            X = step.transform(X)


def _targets(y, classifier):
    """Return one-hot rows, or for two classes a column that is 1 for the second."""
    numbers = np.searchsorted(classifier.classes_, y)
    if len(classifier.coef_) == 1:
        return numbers[:, np.newaxis]
    return np.eye(len(classifier.classes_), dtype=np.float32)[numbers]


def _hold_out(y, fraction, rng):
    """Return the numbers of the samples to train on and of those held out."""
    rows, held_out = train_test_split(
        np.arange(len(y)), test_size=fraction, stratify=y, random_state=rng
    )
    missing = np.setdiff1d(y, y[rows])
    if len(missing):
        raise ValueError(
            f"validation_fraction={fraction} leaves no sample of the classes "
            f"{missing.tolist()} to train on; lower it."
        )
    return rows, held_out


def _scaler_map(name, step):
    if type(step) not in _SCALER_MAPS:
        raise ValueError(
            f"The step {name!r} ({type(step).__name__}) cannot be fine-tuned through. "
            "After the first SparseAutoencoderTransformer only others and "
            f"{', '.join(c.__name__ for c in _SCALER_MAPS)} may stand; any transformer "
            "may stand before it."
        )
    if getattr(step, "clip", False):
        raise ValueError(
            f"The step {name!r} (MinMaxScaler) has clip=True, which stops the gradient "
            "where it clips; fit the pipeline with clip=False."
        )
    return _SCALER_MAPS[type(step)](step)


def _check_classifier(name, classifier):
    """Raise for a logistic regression with another objective than softmax and L2."""
    problem = None
    # l1_ratio alone decides since scikit-learn 1.8; before, penalty did.
    penalty = classifier.penalty
    if penalty == "l1" or (
        penalty in ("elasticnet", "deprecated") and classifier.l1_ratio
    ):
        problem = "an L1 penalty; use L2 or none"
    elif classifier.solver == "liblinear":
        problem = "solver='liblinear', which penalises the intercept; use 'lbfgs'"
    elif getattr(classifier, "multi_class", "deprecated") not in ("deprecated", "auto"):
        problem = "multi_class set; leave it at its default"
    if problem:
        raise ValueError(f"The step {name!r} (LogisticRegression) has {problem}.")


@validate_params(
    {
        "pipeline": [Pipeline],
        "X": "no_validation",
        "y": "no_validation",
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def fine_tune(
    pipeline,
    X,
    y,
    *,
    weight_decay=1e-3,
    learning_rate=1e-3,
    batch_size="auto",
    max_iter=50,
    tol=1e-4,
    n_iter_no_change=10,
    early_stopping=False,
    validation_fraction=0.1,
    verbose=0,
    random_state=None,
):
    r"""Train the encoders of a pipeline together with its logistic regression.

    A pipeline of sparse autoencoders, each fitted to the codes of the one before, is a
    stacked autoencoder trained layer by layer. Here its encoders and the final
    logistic regression, taken as one network, are trained on the labels, starting from
    the weights that they have. Over :math:`n` samples this minimises

    .. math::

        \frac{1}{n} \sum_{i=1}^n -\log p(y_i \mid x_i)
        + \frac{1}{2 C n} \|W_\text{LR}\|_F^2
        + \frac{\lambda}{2} \sum_k \|W_k\|_F^2,

    the objective of the logistic regression plus weight decay of the encoders, by Adam
    in float32. Biases are not decayed. The sparsity penalty is not part of it.

    Read more in the :ref:`user guide <stacks>`.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted, with one or more
        :class:`~sksparse_ae.SparseAutoencoderTransformer` and, at the end, a
        :class:`~sklearn.linear_model.LogisticRegression` with an L2 penalty or none.
        Before the first autoencoder any transformers may stand; after it only
        StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler. All these stay as
        they are. Steps may be pipelines themselves.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Training data, as for the pipeline's `fit`.

    y : array-like of shape (n_samples,)
        Labels, each one of the pipeline's `classes_`.

    weight_decay : float, default=1e-3
        Weight :math:`\lambda` of the squared weights of the encoders, measured for
        inputs divided by the `scale_` of each, and whitened as the first encoder may
        have been trained (`scale="whiten"`). It takes the place of that of the
        autoencoders, which was to balance another loss.

    learning_rate : float, default=1e-3
        Step size of Adam. It falls to a hundredth along a half cosine in the last 30 %
        of `max_iter`, or when the training stalls.

    batch_size : "auto" or int, default="auto"
        Samples in a mini-batch. "auto" is a fortieth of the samples rounded down to a
        power of two, but at least 32 and at most 256. A number larger than that of the
        samples makes one batch of them all.

    max_iter : int, default=50
        Number of epochs, unless the training stalls before.

    tol : float, default=1e-4
        The training stalls when the objective (with `early_stopping`, the
        cross-entropy of the held-out samples) has not improved by `tol` of itself for
        more than `n_iter_no_change` epochs. It ends when the rate has fallen.

    n_iter_no_change : int, default=10
        Epochs in a row without such an improvement that are still no stall.

    early_stopping : bool, default=False
        Whether to hold out samples, in the proportions of the classes, and keep the
        weights for which their cross-entropy was lowest. The logistic regression is
        then first fitted anew without them.

    validation_fraction : float, default=0.1
        Share of the samples held out by `early_stopping`, in (0, 1).

    verbose : int, default=0
        If not 0, show the progress on standard error, and why it ended: on a terminal
        in one line that is rewritten, elsewhere line by line.

    random_state : int, RandomState instance or None, default=None
        Determines the order of the samples and which are held out. Pass an int for
        results that repeat.

    Returns
    -------
    tuned : sklearn.pipeline.Pipeline
        A copy of the pipeline with new encoders (`coefs_[0]`, `intercepts_[0]`) and a
        new `coef_` and `intercept_`; the one given is left as it was. `objective_` and
        `rho_hat_` of the autoencoders are evaluated on `X` again. Their decoders are
        not part of the network: they stay as they were, and no longer suit the codes.
        `tuned.fine_tuning_` is a Bunch with `loss_curve`, the mean objective of the
        mini-batches of each epoch, `validation_loss_curve` with `early_stopping`, and
        `n_iter`.

    Raises
    ------
    ValueError
        If a step cannot be part of the network, or `y` has unknown labels.

    References
    ----------
    .. [1] Ng, A., Ngiam, J., Foo, C. Y., Mai, Y., Suen, C. "Fine-tuning stacked
       AEs", UFLDL Tutorial, Stanford University, 2013.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.stacks import fine_tune
    >>> X, y = load_digits(return_X_y=True)
    >>> stack = make_pipeline(
    ...     SparseAutoencoderTransformer(40, tol=0.1, random_state=0),
    ...     SparseAutoencoderTransformer(20, tol=0.1, random_state=0),
    ...     StandardScaler(),
    ...     LogisticRegression(),
    ... ).fit(X[:1000], y[:1000])
    >>> tuned = fine_tune(stack, X[:1000], y[:1000], random_state=0)
    >>> bool(tuned.score(X[1000:], y[1000:]) > stack.score(X[1000:], y[1000:]))
    True
    """
    weight_decay, learning_rate, max_iter, tol, n_iter_no_change = map(
        as_python, (weight_decay, learning_rate, max_iter, tol, n_iter_no_change)
    )
    check_is_fitted(pipeline)
    tuned = copy.deepcopy(pipeline)
    stack = _Stack.from_pipeline(tuned)
    X_first = stack.inputs(X)
    Z = stack.encoders[0]._validate_here(X_first)
    y = column_or_1d(y, warn=True)
    check_consistent_length(Z, y)
    classes = stack.classifier.classes_
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y has labels that the pipeline was not fitted with, {unknown.tolist()}; "
            f"its classes are {classes.tolist()}."
        )
    rng = check_random_state(random_state)
    rows, held_out, classifier = np.arange(len(y)), None, stack.classifier
    if early_stopping:
        rows, held_out = _hold_out(y, validation_fraction, rng)
        # Fitted to the samples held out too, it would make any change look bad on them.
        classifier = clone(classifier).fit(stack.codes(Z[rows]), y[rows])

    if verbose:
        n_units = [len(encoder.intercepts_[0]) for encoder in stack.encoders]
        announce(Z, n_units, "fine_tune")
    with starting_tensorflow(to_train=True):
        from ._engine.classifier import StackArchitecture, StackObjective
        from ._training.fine_tuning import train_stack

    sample_weight = compute_sample_weight(classifier.class_weight, y)
    # What multiplies half the squared weights of the classifier beside the mean loss.
    l2 = 0.0
    if classifier.penalty is not None:
        l2 = 1 / (classifier.C * sample_weight[rows].sum())

    def part(rows):
        weights = sample_weight[rows] / sample_weight[rows].mean()
        return stack.standardize(Z[rows]), _targets(y[rows], classifier), weights

    weights, monitor = train_stack(
        part(rows),
        stack.weights(classifier),
        held_out=None if held_out is None else part(held_out),
        architecture=StackArchitecture(
            Z.shape[1],
            tuple(
                (len(encoder.intercepts_[0]), settings.activation, settings.sparsity)
                for encoder in stack.encoders
                for settings in [encoder._fitted_settings]
            ),
            len(classifier.coef_),
            classifier.fit_intercept,
        ),
        objective=StackObjective(
            stack.network_maps(),
            stack.kept(),
            [weight_decay] * len(stack.encoders) + [l2],
        ),
        batch_size=min(rows_of_a_batch(batch_size, len(rows)), len(rows)),
        learning_rate=learning_rate,
        max_iter=max_iter,
        rng=rng,
        make_monitor=lambda evaluate: Monitor(
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            evaluate=evaluate,
            progress=Progress("epoch", max_iter, "fine_tune") if verbose else None,
        ),
    )
    stack.set_weights(weights)
    _evaluate_again(tuned, X_first)
    tuned.fine_tuning_ = Bunch(
        loss_curve=[loss.objective for loss in monitor.losses],
        n_iter=len(monitor.losses),
    )
    if early_stopping:
        tuned.fine_tuning_.validation_loss_curve = [
            loss.objective for loss in monitor.held_out
        ]
    return tuned

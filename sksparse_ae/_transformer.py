"""The estimator: parameters, validation and the public methods."""

import contextlib
import functools
import math
import os
import sys
import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.utils import Bunch, check_array
from sklearn.utils._param_validation import (
    HasMethods,
    Hidden,
    Interval,
    Options,
    StrOptions,
)
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._engine.startup import check_installed, starting_tensorflow
from ._export.plain import from_plain, to_plain
from ._network.evaluation import Recent, evaluate, explained, fitted_attributes
from ._network.problem import Architecture, Problem
from ._network.remote import RemoteRows
from ._network.scaling import Scaling
from ._network.statistics import imputed, of_norm_one, squared_errors
from ._network.units import unit_table
from ._network.validation import (
    NotFinite,
    check_out,
    check_range,
    finite,
    strict_validation,
    validated,
    weighted,
)
from ._notebook import FittedSummaryMixin
from ._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from ._objective.losses import LOSSES
from ._objective.objective import Coefficients
from ._objective.penalties import PENALTIES
from ._objective.selections import SELECTIONS
from ._training.advice import little_explained, warning_about_fit
from ._training.callbacks import CallbackSupportMixin, IterationTasks, with_callbacks
from ._training.diagnosis import diagnosis
from ._training.fit import (
    CURVES,
    attributes_of,
    find_checkpoint,
    make_monitor,
    minimize,
    training_curves,
)
from ._training.monitor import announce
from ._training.plan import EarlierFit, make_plan
from ._training.settings import (
    FittedSettings,
    as_python,
    check_continues,
    check_settings,
    check_sparse_output,
    told_settings,
    warn_of_unused,
    with_python_parameters,
)
from ._training.stream import Continuation
from ._utils.extras import import_extra
from .exceptions import UninformativeUnitsWarning

# The attributes that are more than arrays and plain types, which they are saved as.
RECORDS = {
    "objective_": Bunch,
    "loss_terms_": Bunch,
    "_fitted_settings": FittedSettings,
    "_continuation": Continuation,
    "_recent": Recent,
}


def _has_mini_batches(estimator):
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available with mini-batches: set solver to 'adam', "
            "'sgd' or a Keras optimizer, not 'lbfgs'."
        )
    return True


class SparseAutoencoderTransformer(
    FittedSummaryMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Sparse autoencoder, by Ng's Kullback-Leibler penalty or by a selection.

    An encoder :math:`a(x)` of `n_components` units and a decoder :math:`h(x)` are
    trained to minimise, over the :math:`m` rows of the training set,

    .. math::

        \frac{1}{m} \sum_{i=1}^m \frac{1}{2} \|h(x_i) - x_i\|^2
        + \frac{\lambda}{2} \left(\|W_1\|_F^2 + \|W_2\|_F^2\right)
        + \beta \sum_{j=1}^{s} \mathrm{KL}(\rho \,\|\, \hat\rho_j),

    where :math:`\hat\rho_j = \frac{1}{m} \sum_i a_j(x_i)` is the mean activation of
    unit :math:`j` and
    :math:`\mathrm{KL}(\rho \,\|\, \hat\rho) = \rho \log \frac{\rho}{\hat\rho}
    + (1 - \rho) \log \frac{1 - \rho}{1 - \hat\rho}`. The penalty drives every unit to
    be active on a share `rho` of the samples [1]_. `transform` returns the
    activations :math:`a(x)`.

    With `sparsity="topk"` [2]_, "batchtopk" [3]_ or "lifetime" [4]_ there is no
    penalty. Only the largest activations are kept, a share `rho` of them, and the
    others are exactly 0.

    Read more in the :ref:`user guide <user_guide>`.

    Parameters
    ----------
    n_components : int, default=200
        Number of hidden units, :math:`s`. More units explain more of the variance at
        the same sparseness and take proportionally longer to train.

    sparsity : {"kl", "topk", "batchtopk", "lifetime"}, default="kl"
        What makes the codes sparse.

        - "kl": the penalty.
        - "topk": the `rho * n_components` largest activations of each row are kept,
          rounded, and at least one.
        - "batchtopk": in training, as many on average over the rows of a mini-batch, so
          that a row may have more than another.
        - "lifetime": in training, each unit is kept for the share `rho` of the rows of
          a mini-batch on which it is strongest, and for at least one; so mini-batches
          need 1 / `rho` rows or more.

        The last three, selections, need relu units, a linear output and mini-batches.
        The rows of the decoder have norm one in the units of the training. The encoder
        starts along the transpose of the decoder. So that the code of a row does not
        depend on other rows, `threshold_` takes the place of "batchtopk" and "lifetime"
        after the training. See the :ref:`user guide <selections>`.

    rho : float, default=0.05
        Mean activation that the penalty asks of each unit, in (0, 1). Smaller values
        give sparser codes. For tanh units it is compared with (mean + 1) / 2. With a
        selection it is the share of the codes that is not 0.

    beta : "auto" or float, default="auto"
        Weight of the sparsity penalty. Larger values hold the mean activations
        closer to `rho`, at the cost of the reconstruction; 0 turns the penalty off.
        "auto" is 3, Ng's value, and for scaled data of more than 64 features grows in
        proportion to them, as the reconstruction term does; for data that are not
        scaled, in proportion to the summed variances of the features. `beta_` is what
        it came to. Not used with a selection.

    weight_decay : "auto" or float, default="auto"
        Weight :math:`\lambda` of the squared weights; biases are exempt. Larger values
        give smoother and, up to a point, sparser features. Far too large a value makes
        every unit constant. "auto" is 3e-3 for `rho=0.05` and a linear output on scaled
        data, and travels with the setting: in proportion to rho (1 - rho) (not for relu
        units), to the mean variance of the features in the units of the training, and
        to the squashing of the output. `weight_decay_` is what it came to. Ng uses 1e-4
        for image patches in [0.1, 0.9] with a sigmoid output and `rho=0.01`. With a
        selection it is that of the encoder alone, and "auto" is 0.

    activation : {"auto", "sigmoid", "tanh", "relu"}, default="auto"
        Activation of the hidden units. "auto" is "sigmoid" with the penalty and "relu",
        the only one, with a selection. For relu units with the penalty, whose mean may
        leave (0, 1), the divergence goes on along its tangent.

    output_activation : str, default="linear"
        Activation of the reconstruction: "linear", "sigmoid", "tanh", "relu" or
        "exponential". Use "sigmoid" for data in [0, 1], and "exponential" for counts.

    loss : {"squared_error", "log_loss", "poisson", "huber"}, default="squared_error"
        Reconstruction loss of a sample, summed over the features.

        - "squared_error": half the squared error.
        - "log_loss": the Bernoulli cross-entropy, for data in [0, 1] and
          `output_activation="sigmoid"`.
        - "poisson": half the Poisson deviance
          :math:`h - x + x \log(x / h)`, for counts and other data of 0 or more, and
          `output_activation="exponential"`: the network gives the logarithm of the
          mean. Pass the counts as they are.
        - "huber": half the squared error up to 1.35 units of the training, and linear
          beyond, so that values far out have a bounded pull; for
          `output_activation="linear"`. With `scale="auto"` the unit is a standard
          deviation that such values do not inflate: `scale_` comes from the range of
          nine in ten values, and `offset_` is the median. At 1.35 of these the loss
          has 95 % of the efficiency of squares for normal errors, as in
          :class:`sklearn.linear_model.HuberRegressor`. For another threshold set
          `scale=False` and divide the data by a number.

    solver : {"adam", "sgd", "lbfgs"} or keras.optimizers.Optimizer, default="adam"
        "adam" and "sgd" (with Nesterov momentum), and any Keras optimizer instance,
        train by mini-batches in float32; an instance, whose state must be in its
        `variables`, is rebuilt from its configuration, never changed. One that has more
        than `get_config` holds, as after `exclude_from_weight_decay`, is refused: make
        such settings in the `__init__` of a subclass.
        "lbfgs" is L-BFGS over all samples at once, in the dtype of `X`; it suits small
        data best.

    learning_rate : "auto" or float, default="auto"
        Step size of "adam" and "sgd". "auto" chooses it from the data and the network.
        With "adam" it then falls with the square root of the steps taken, and never
        needs to know how many will come. In `fit` it grows while much is gained; should
        it prove too large for the data, it is lowered and the training goes back to
        where its objective was lowest. (With `early_stopping` it does not grow, and is
        lowered where the training is.) A number is used throughout. With "sgd" it is
        the rate of plain gradient descent, with a momentum of 0.9; "auto", in `fit`,
        takes 0.98 (0.9 with `early_stopping` or `beta=0`), and makes shorter steps
        along directions in which the data vary more. Either way the weights that are
        returned are an average over about the last tenth of the steps, so that the
        noise of single steps is not in them. Not used by "lbfgs" and by Keras
        optimizers, which bring their own and are not averaged.

    batch_size : "auto" or int, default="auto"
        Samples in a mini-batch. "auto" is a fortieth of the samples rounded down to a
        power of two, but at least 32 and at most 256; in `partial_fit` it grows with
        the samples seen, to 128. An epoch is split evenly: its batches differ by one
        sample at most, and each sample has the same say. A number larger than that of
        the samples makes one batch of them all. Not used by "lbfgs".

    max_iter : int, default=1000
        Largest number of epochs, or of iterations of "lbfgs". It is a limit only:
        with "adam" and "sgd" the weights after 50 epochs are the same whether the
        limit is 50 or 1000, unless units start anew (`revive`). A training that reaches
        it before it has converged warns. If its objective had just risen, the weights
        from before are returned. An epoch that an automatic rate has to take again is
        not counted.

    shuffle : bool, default=True
        Whether to shuffle the samples in each epoch. Not used by "lbfgs".

    tol : float, default=1e-4
        With mini-batches, the share of the objective that an epoch has to lower it by.
        What is looked at is the objective of the averaged weights on up to 10 000
        samples (with `early_stopping`, on those held out; with a Keras optimizer, the
        mean of the epoch). What falls slowly has far to fall: after more than 300
        epochs of a `fit` without `early_stopping` the share is 300 `tol` over their
        number, and a training with fewer than 20 batches an epoch goes on for that part
        of the share. Five times what is asked for lets an automatic rate grow. "lbfgs"
        stops when no component of the gradient exceeds `tol`, or when a step lowers the
        objective by less than 2e-9 of it.

    n_iter_no_change : int, default=10
        Epochs in a row without such an improvement that are still no stall. "adam"
        and "sgd" look every `n_iter_no_change` + 1 epochs. At a stall an automatic rate
        is quartered; if that gains nothing, or the rate was given, the training has
        converged and ends (with `early_stopping` at the second stall). If the objective
        has risen, an automatic rate is halved and the training goes back to where it
        was lowest; a given rate ends the training with a warning. Smaller numbers look,
        and let the rate grow, more often.

    early_stopping : bool, default=False
        Whether to hold out samples, stop when the objective on them stalls, and keep
        the weights for which it was lowest. They are drawn at random, or, from
        files of more than 256 MiB, are the last ones.

    validation_fraction : float, default=0.1
        Share of the samples held out by `early_stopping`, in (0, 1).

    rho_hat : {"running", "batch"}, default="running"
        How a mini-batch estimates the mean activations. "running" averages them over
        300 samples at the start and more as the rate falls, which removes the bias of
        the penalty in a small batch, and adds what each step has changed, so that the
        average does not lag behind the weights; "batch" uses the batch alone, as a
        plain Keras regularizer does. Both use the exact means where a batch of `fit`
        has all rows (without `corruption`), as "lbfgs" does. Not used with a selection.

    corruption : float, default=0.0
        Share of the values, in [0, 1), that are hidden from the encoder in training,
        drawn anew in each epoch, while the output is to give them: a denoising
        autoencoder (Vincent et al., ICML 2008). The objective that is reported,
        `objective_`, is that of the data as they are; `loss_curve_` is that of the
        training. It needs mini-batches. See the :ref:`user guide <denoising>`.

    corruption_kind : {"mask", "swap"}, default="mask"
        What the encoder reads in their place: "mask" a missing value, "swap" the value
        of the feature in another row.

    init : {"auto", "uniform"}, default="auto"
        Start of the weights. "auto" draws them as Ng does, then scales those of each
        unit to an input of unit variance and sets its bias so that its mean activation
        is `rho`; "uniform" is Ng's start itself, whose penalty can collapse the units.
        Not used with a selection.

    scale : {"auto", "whiten", False}, default="auto"
        Units of the objective. "auto", for a linear output, states it for
        (X - `offset_`) / `scale_`, with one number for all features, so that
        `weight_decay` and `beta` mean the same in any unit; the weights are given in
        the units of the data all the same. For an exponential output it is stated for
        X / `scale_`, of which the encoder reads the deviations. False states it for
        the data as given.
        "whiten" multiplies the scaled rows by `whitening_` besides, as Ng's exercise on
        colour patches does (ZCA), so that strong and weak directions of the data count
        alike. With the principal axes :math:`U` of the scaled training rows and their
        variances :math:`v`, that is
        :math:`c\,U \mathrm{diag}(1 / \sqrt{v + 0.01 \max v}) U^\top`, where the number
        :math:`c` gives a mean variance of 1. It needs a linear output, a loss other
        than "huber", rows without missing values, and at most 4096 features.

    revive : "auto" or bool, default="auto"
        Whether mini-batch training starts inactive units anew: every ten epochs, in
        the first 70 % of `max_iter` and 140 epochs at most, units that `unit_report`
        would not call active on up to 1000 rows are pointed at what is reconstructed
        badly. It changes nothing where all units are active. "auto" does it with a
        selection, and for relu units that a penalty pulls down by "adam" or "sgd":
        these die otherwise. Not used by "lbfgs" and `partial_fit`.

    sparse_output : bool, default=False
        Whether `transform` returns a CSR matrix, without a dense array of all codes.
        For codes that are exactly 0 where units are off: those of a selection, or of
        relu units.

    checkpoint_dir : path-like or None, default=None
        Folder in which `fit` saves its training as it goes on. If the process dies,
        `fit` with the same parameters on the same data continues there and ends with
        the same weights, to the bit, as if it had not died. The files bear a
        name made of parameters and data, so that one folder serves any number of
        estimators, and are removed when `fit` ends. It needs a `random_state`, and is
        not used by `partial_fit`.

    warm_start : bool, default=False
        Whether `fit` continues from the weights and the optimizer's state of the
        previous call; an automatic learning rate begins anew. The state is kept, and
        saved, only if this is set, and after `partial_fit`.

    verbose : int, default=0
        If not 0, show the progress of `fit` on standard error, and why it ended: on a
        terminal in one line that is rewritten, elsewhere line by line.

    random_state : int, RandomState instance or None, default=None
        Determines the start of the weights, the samples held out and the order of the
        samples. Pass an int for results that repeat.

    Attributes
    ----------
    coefs_ : list of two ndarrays
        Weights of the encoder, (n_features, n_components), and of the decoder,
        (n_components, n_features).

    intercepts_ : list of two ndarrays
        Biases of the encoder, (n_components,), and of the decoder, (n_features,).

    components_ : ndarray of shape (n_components, n_features)
        Weights of the encoder, one row a unit.

    maximal_inputs_ : ndarray of shape (n_components, n_features)
        For each unit the input of norm 1 that activates it most.

    threshold_ : ndarray of shape () or (n_components,)
        With "batchtopk" and "lifetime": activations below it are 0 in the codes. It is
        the value that leaves the share `rho` of the codes of the training set; with
        "lifetime" there is one for each unit. After `partial_fit` it is that of the
        samples that `rho_hat_` tells of.

    rho_hat_ : ndarray of shape (n_components,)
        Mean activation of each unit over the training set, on [0, 1] for tanh units;
        with a selection the share of the samples on which the unit is not 0;
        after `partial_fit`, over the samples of the last call: of more than 5000 over
        as many at most, evenly spaced, and of fewer than 100 with those of earlier
        calls, as 100 at most.

    objective_ : Bunch
        The objective over the training set, in the units that `scale` sets: `total`
        and its terms `reconstruction`, the mean `loss` of a sample, `weight_decay` and
        `sparsity`, as floats; after `partial_fit`, over those samples.

    unit_states_ : ndarray of shape (n_components,)
        State of each unit on the training set, "active", "dead", "saturated" or
        "collapsed" as `unit_report` defines them; after `partial_fit`, on those
        samples.

    sparseness_ : float
        Mean over the units of Hoyer's lifetime sparseness on the training set: 0 for
        constant units, 1 - sqrt(`rho`) for perfect on/off codes of that mean; after
        `partial_fit`, on those samples.

    offset_ : ndarray of shape (n_features,)
        Mean of the training set, in `partial_fit` of all rows so far; with the loss
        "huber" the median of 2000 or more of its rows, evenly spaced. Training runs on
        centred data, which leaves the objective as it is since the biases carry no
        weight decay.

    beta_ : float
        The weight of the sparsity penalty that the training had.

    weight_decay_ : float
        The weight decay that the training had.

    scale_ : float
        The scale of the objective's units; 1 where none is used.

    observed_share_ : ndarray of shape (n_features,)
        Share of the values of each feature that were not missing, in `partial_fit` of
        all rows so far.

    whitening_ : ndarray of shape (n_features, n_features)
        What scaled rows were multiplied by, a symmetric matrix; in `partial_fit` that
        of all rows so far. Only with `scale="whiten"`.

    loss_curve_ : list of float
        Objective after each iteration of "lbfgs"; mean objective of the mini-batches
        of each epoch, with the weight decay of its end.

    loss_terms_ : Bunch
        The curves of the terms that add up to `loss_curve_`: `reconstruction`,
        `weight_decay` and `sparsity`, lists of float.

    validation_loss_curve_ : list of float
        Objective of the held-out samples after each iteration. Only with
        `early_stopping`; NaN for iterations of other calls that were continued without
        it.

    validation_scores_ : list of float
        `score` of the held-out samples, the share that is explained, after each
        iteration, as `validation_loss_curve_`; with `scale="whiten"` that of the
        whitened samples, which `score` does not see.

    train_scores_ : list of float
        The same for the samples trained on: with mini-batches the mean over those of
        an epoch.

    n_iter_ : int
        Number of iterations, over all calls that continued each other.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`. Defined only when `X` has feature
        names that are all strings.

    See Also
    --------
    sklearn.decomposition.PCA : Linear features of largest variance.
    sklearn.decomposition.MiniBatchDictionaryLearning : Sparse codes from a linear
        dictionary, found by an optimisation for each sample.
    sklearn.neural_network.BernoulliRBM : Probabilistic features of binary data.
    sksparse_ae.regularizers.KLDivergenceRegularizer : The penalty for a Keras layer.

    Notes
    -----
    Mini-batch training runs whole epochs in one compiled program, which costs about a
    second the first time a process meets a shape (n_features, n_components,
    batch size, and the number of samples to within about an eighth); later fits of
    the shape reuse it. Fits that would be done before that are not compiled; compiled
    and uncompiled steps differ by rounding.

    References
    ----------
    .. [1] Ng, A. "Sparse autoencoder", CS294A lecture notes, Stanford University, 2011.

    .. [2] Makhzani, A., Frey, B. "k-sparse autoencoders", ICLR 2014.

    .. [3] Bussmann, B., Leask, P., Nanda, N. "BatchTopK sparse autoencoders", 2024.

    .. [4] Makhzani, A., Frey, B. "Winner-take-all autoencoders", NIPS 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(n_components=100, random_state=0)
    >>> codes = autoencoder.fit_transform(X)
    >>> codes.shape
    (1797, 100)
    >>> bool(autoencoder.score(X) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "sparsity": [StrOptions({*PENALTIES, *SELECTIONS})],
        "rho": [Interval(Real, 0, 1, closed="neither")],
        "beta": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "activation": [StrOptions({"auto", *ACTIVATIONS})],
        "output_activation": [StrOptions(set(OUTPUT_ACTIVATIONS))],
        "loss": [StrOptions(set(LOSSES))],
        "solver": [
            StrOptions({"adam", "sgd", "lbfgs"}),
            HasMethods(["build", "apply", "get_config"]),
        ],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "rho_hat": [StrOptions({"running", "batch"})],
        "corruption": [Interval(Real, 0, 1, closed="left")],
        "corruption_kind": [StrOptions({"mask", "swap"})],
        "init": [StrOptions({"auto", "uniform"})],
        "scale": [
            StrOptions({"auto", "whiten"}),
            Options(bool, {False}),
            Hidden(Options(np.bool_, {np.False_})),
        ],
        "revive": [StrOptions({"auto"}), "boolean"],
        "sparse_output": ["boolean"],
        "checkpoint_dir": [str, os.PathLike, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
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
    ):
        self.n_components = n_components
        self.sparsity = sparsity
        self.rho = rho
        self.beta = beta
        self.weight_decay = weight_decay
        self.activation = activation
        self.output_activation = output_activation
        self.loss = loss
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.rho_hat = rho_hat
        self.corruption = corruption
        self.corruption_kind = corruption_kind
        self.init = init
        self.scale = scale
        self.revive = revive
        self.sparse_output = sparse_output
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    # ------------------------------------------------------------------ training

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn the features of the rows of `X`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. float32 and float64 are used as they are; a numpy.memmap of
            either streams through memory. NaN stands for a value that is not observed:
            it counts in no sum, and the encoder reads the mean of its column instead;
            see the :ref:`user guide <missing_values>`. Rows may lie in many blocks,
            here and in all methods: a list of arrays, CSR matrices, frames or paths of
            .npy files, or any sequence of such. See the :ref:`user guide <blocks>`.

        y : Ignored
            Not used, present for API consistency by convention.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0; None weighs all alike. The means of the
            objective, of the reconstruction term and of the activations, become
            weighted means: a row of weight 2 counts as one that stands twice, and one
            of weight 0 as one that is not there. See the
            :ref:`user guide <sample_weight>`.

        Returns
        -------
        self : SparseAutoencoderTransformer
            Fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used, before any training, or if the
            training diverges. An earlier fit is then left as it was.
        ImportError
            If TensorFlow or Keras is not installed.

        Warns
        -----
        ConvergenceWarning
            If the training reached `max_iter` before it converged, or if the objective
            rose; the message says how far it was, what to change, and the parameters
            that are not their defaults, by which candidates of a search are told apart.
        UninformativeUnitsWarning
            If all rows are equal, the output cannot reach the data, a few rows or
            columns hold all the variance, more than a tenth of the units is not active
            on the training set, or its `score` is less than a tenth. The message, the
            first of these that is due, says what to change, and takes the place of a
            ConvergenceWarning.
        UserWarning
            If a parameter that is not its default has no effect, such as `batch_size`
            with "lbfgs".
        """
        context = None
        if hasattr(self, "_init_callback_context"):  # scikit-learn has it from 1.9 on
            context = self._init_callback_context(max_subtasks=self.max_iter)
        # To a callback that scores, the target of an autoencoder is its input.
        given = {"X": X, "y": X if y is None else y}
        if context is not None:
            context.call_on_fit_task_begin(estimator=self, **given)
        with _unchanged_on_error(self), np.errstate(all="ignore"):
            continued = self.warm_start and hasattr(self, "coefs_")
            X = self._validate_training_data(X, continued, sample_weight)
            checkpoint, *ended = self._fit(
                X, continued=continued, context=context, given=given
            )
            self._warn_of_what_ended(X, *ended)
            if context is not None:
                context.call_on_fit_task_end(
                    estimator=self, reconstruction_attributes={}, **given
                )
        # Last: what raises before, warnings as errors too, leaves it to go on from.
        if checkpoint is not None:
            checkpoint.remove()
        return self

    @available_if(_has_mini_batches)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch on the rows of `X`, continuing earlier calls.

        The weights are averages that can be used after every call: it need not be known
        how many will come. `offset_`, `scale_` and `whitening_` are those of all rows
        seen so far; the weights are restated in the new units, which changes nothing of
        what they compute. The principal axes that "adam" trains along are those of the
        first rows, four for each feature and 2000 at least, or after a `fit` those of
        the first call. So these should be a fair sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.

        y : Ignored
            Not used, present for API consistency by convention.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in `fit`. In `offset_`, `scale_` and the fitted
            attributes rows count by their weights over all calls; the steps of a call
            are as long as those of as many rows without weights.

        Returns
        -------
        self : SparseAutoencoderTransformer
            Fitted estimator.

        Warns
        -----
        UserWarning
            If the rows spread so much farther than those before that training starts
            afresh.
        """
        with _unchanged_on_error(self), np.errstate(all="ignore"):
            continued = hasattr(self, "coefs_")
            X = self._validate_training_data(X, continued, sample_weight, partial=True)
            self._fit(X, continued=continued, partial=True)
        return self

    def _fit(self, X, *, continued, partial=False, context=None, given=None):
        """Train and set the fitted attributes.

        Returns
        -------
        checkpoint : Checkpoint or None
            To be removed.
        moments : Moments
            Of the rows.
        open_end : str or None
            Why the training has not converged; "" if it was told to stop; None if it
            has.
        """
        check_installed()
        # scikit-learn validates the parameters of a partial_fit only before the first.
        self._validate_params()
        estimator = with_python_parameters(self)
        check_settings(estimator, X, partial=partial)
        if not (partial and continued):
            warn_of_unused(estimator, partial=partial)
        earlier, checkpoint = None, None
        if continued:
            check_continues(estimator, self._fitted_settings)
            earlier = EarlierFit(
                self._parameters,
                self._problem,
                self._recent,
                self.rho_hat_,
                self._continuation,
            )
        self._fitted_settings = FittedSettings.of(estimator)
        if self.checkpoint_dir is not None and not partial:
            checkpoint = find_checkpoint(estimator, X, earlier)
        if self.verbose and not partial:
            announce(X, [estimator.n_components])
        plan = make_plan(estimator, X, earlier, partial=partial)
        tasks = None
        if context is not None and hasattr(self, "_skl_callbacks"):
            evaluated = functools.partial(attributes_of, plan)
            tasks = IterationTasks(context, self, given, plan.step, evaluated)
        monitor = make_monitor(plan, estimator, tasks)
        try:
            weights, converged, continuation = minimize(
                plan, estimator, monitor, checkpoint
            )
            fitted = attributes_of(plan, weights)
        except NotFinite as error:
            raise ValueError(diagnosis(error, plan, estimator)) from error
        for name in ("whitening_", "threshold_"):  # an earlier fit may have had them
            vars(self).pop(name, None)
        vars(self).update(fitted)
        self._set_curves(*training_curves(plan, monitor), continued)
        self._continuation = continuation
        open_end = None if converged else monitor.reason(estimator)
        if monitor.interrupted:
            checkpoint, open_end = None, ""
        elif monitor.stop_requested:
            open_end = ""
        return checkpoint, plan.moments, open_end

    def _set_curves(self, curves, terms, continued):
        """Set the curves of a training, after those of the one that it continues."""
        n_before, n_new = self.n_iter_ if continued else 0, len(curves["loss_curve_"])
        if continued:
            terms = Bunch(**{k: self.loss_terms_[k] + v for k, v in terms.items()})
        self.loss_terms_ = terms
        for name in CURVES:
            earlier = getattr(self, name, None) if continued else None
            latest = curves.get(name)
            if earlier is not None or latest is not None:
                # One that only some of the calls record keeps its iterations.
                earlier = [math.nan] * n_before if earlier is None else earlier
                latest = [math.nan] * n_new if latest is None else latest
                setattr(self, name, earlier + latest)
            elif hasattr(self, name):
                delattr(self, name)
        self.n_iter_ = len(self.loss_curve_)

    def _validate_training_data(self, X, continued, sample_weight=None, partial=False):
        # One sample has no spread to start from, but can be trained on.
        least = 1 if continued else 2
        X = validated(self, X, reset=not continued, ensure_min_samples=least)
        if isinstance(X, RemoteRows):
            X.hold()
            # Mini-batches are made of one block after the other, here.
            X = X if self.solver == "lbfgs" else X.in_turn()
        return weighted(X, sample_weight, least=least, in_stream=partial)

    def _warn_of_what_ended(self, X, moments, open_end):
        """Warn once, of the data and the units before the number of iterations."""
        message, category = open_end, ConvergenceWarning
        about = warning_about_fit(self, X, moments, open_end is None)
        if about is not None:
            if moments.deviation == 0:
                open_end = None
            message, category = f"{about} {open_end or ''}", UninformativeUnitsWarning
        elif open_end:
            message += little_explained(self, X)
        if message:
            message = message.rstrip()
            if settings := told_settings(self):
                message += f" Settings: {settings}."
            warnings.warn(message, category, stacklevel=5)

    # -------------------------------------------------------------- fitted network

    @property
    def _scaling(self):
        output = self._fitted_settings.output_activation
        outputs = output == "linear", output == "exponential"
        whitening = getattr(self, "whitening_", None)
        return Scaling(self.offset_, self.scale_, *outputs, whitening)

    @property
    def _problem(self):
        settings = self._fitted_settings
        return Problem(
            Architecture.of(
                settings,
                len(self.offset_),
                self.coefs_[0].dtype,
                has_missing=bool((self.observed_share_ < 1).any()),
            ),
            Coefficients(settings.rho, self.beta_, self.weight_decay_),
            self._scaling,
        )

    @property
    def _parameters(self):
        (W1, W2), (b1, b2) = self.coefs_, self.intercepts_
        threshold = getattr(self, "threshold_", None)
        return self._problem.network([W1, b1, W2, b2], threshold)

    def _evaluate_again(self, X):
        """Bring what is told of the training set up to date with changed weights."""
        X = self._validate_here(X)
        found = fitted_attributes(X, self._parameters, self._problem)
        for name in found.keys() - {"coefs_", "intercepts_"}:
            setattr(self, name, found[name])

    @property
    def _exported(self):
        """The network, which fills gaps only if its training had any."""
        if self._problem.architecture.has_missing:
            return self._parameters
        return self._parameters._replace(means=None)

    @property
    def components_(self):
        """Weights of the encoder, one row a unit."""
        return self.coefs_[0].T

    @property
    def maximal_inputs_(self):
        """For each unit the input of norm 1 that activates it most."""
        return of_norm_one(self.components_)

    @property
    def _n_features_out(self):
        return self.coefs_[0].shape[1]

    def _validate(self, X, sample_weight=None):
        check_is_fitted(self)
        return weighted(validated(self, X, reset=False), sample_weight)

    def _validate_here(self, X):
        """Validate rows for each of which something is returned."""
        X = self._validate(X)
        if isinstance(X, RemoteRows):
            raise TypeError(
                "What is returned for each row cannot be computed for rows that lie "
                "elsewhere: call the method there, on each block."
            )
        return X

    # Not metadata that a meta-estimator could route; scikit-learn reads this name.
    __metadata_request__transform: ClassVar[dict] = {"out": UNUSED}

    def transform(self, X, out=None):
        """Return the activations of the hidden units.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        out : ndarray of shape (n_samples, n_components), default=None
            Where to write the codes, such as a memory map of a file that may be larger
            than memory; of float32 or float64. Not with `sparse_output`.

        Returns
        -------
        codes : {ndarray, sparse matrix} of shape (n_samples, n_components)
            The activations that the penalty acts on, or those that are selected, in the
            dtype of `X`; `out`, if it is given. With `sparse_output` a CSR matrix.
        """
        X = self._validate_here(X)
        network = self._parameters.astype(X.dtype)
        if self.sparse_output:
            check_sparse_output(out, self._fitted_settings)
            return network.encode_sparse(X)
        check_out(out, (X.shape[0], self._n_features_out))
        return network.encode(X, out)

    def inverse_transform(self, X):
        """Reconstruct samples from their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Activations of the hidden units, as `transform` returns them.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            In the units of the training data and the dtype of the codes.
        """
        check_is_fitted(self)
        with strict_validation():
            codes = check_array(
                X,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                input_name="X",
            )
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but inverse_transform expects the "
                f"{self._n_features_out} components that transform returns."
            )
        return self._parameters.astype(codes.dtype).decode(codes)

    def reconstruct(self, X, out=None):
        """Encode and decode samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        out : ndarray of shape (n_samples, n_features), default=None
            Where to write the reconstruction, as for `transform`.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            `inverse_transform` of `transform` of `X`; `out`, if it is given.
        """
        X = self._validate_here(X)
        check_out(out, X.shape)
        return self._parameters.astype(X.dtype).reconstruct(X, out)

    def impute(self, X, out=None):
        """Return samples with what is missing filled by its reconstruction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data, with NaN for what is missing.

        out : ndarray of shape (n_samples, n_features), default=None
            Where to write the samples, as for `transform`; not for sparse matrices.

        Returns
        -------
        X_filled : {ndarray, sparse matrix} of shape (n_samples, n_features)
            A copy of `X` in which all that is observed stands as it was; `out`, if it
            is given.
        """
        X = self._validate_here(X)
        check_out(out, X.shape)
        if sparse.issparse(X) and out is not None:
            raise ValueError("A sparse matrix is filled as such, not in out.")
        return imputed(X, self._parameters.astype(X.dtype), out)

    def reconstruction_error(self, X, per_feature=False):
        """Return the squared reconstruction errors.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        per_feature : bool, default=False
            Whether to return the error of each value rather than of each row.

        Returns
        -------
        errors : ndarray of shape (n_samples,) or (n_samples, n_features)
            Squared errors in the squared units of the data, whatever the loss, summed
            over the features that are observed, unless `per_feature`: the error of a
            missing value is then NaN. They are in the dtype of `X`, or in float64 if
            data of the size of `scale_` have squares beyond float32.
        """
        X = self._validate_here(X)
        with np.errstate(all="ignore"):
            errors = squared_errors(
                X, self._parameters.astype(X.dtype), per_feature, self.scale_
            )
        finite(errors[~np.isnan(errors)] if per_feature else errors, "A squared error")
        return errors

    def score_samples(self, X):
        """Return how well each sample is reconstructed; the higher, the more normal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the squared reconstruction error of each row, whatever the loss. Rows
            trained on score higher than new ones: thresholds need rows held out, see
            the :ref:`user guide <anomalies>`.
        """
        errors = self.reconstruction_error(X)
        return np.negative(errors, out=errors)

    def score(self, X, y=None, sample_weight=None):
        """Return the share of the variance of `X` that its reconstruction explains.

        For the losses "poisson" and "huber", which have other words for how far data
        are from each other, it is the share of the loss. It contains no penalty, so
        that candidates of a search with different `rho`, `beta` and `weight_decay` can
        be compared. But it rewards reconstruction only: to choose for sparsity too, use
        the scorers. For a search over losses, score all by
        :func:`~sksparse_ae.metrics.variance_explained`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        y : Ignored
            Not used, present for API consistency by convention.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in `fit`.

        Returns
        -------
        score : float
            1 minus the squared errors over the squared deviations from the mean of
            `X`, both summed over samples and features: 1 is perfect, 0 no better than
            the mean. With the loss "poisson" it is 1 minus the deviance of the
            reconstruction over that of the means of the columns of `X`, as in
            :func:`sklearn.metrics.d2_tweedie_score`. With "huber" it is 1 minus the
            loss of the reconstruction over that of the best constants, one for each
            column of `X`: medians and means are near them. Data without variance score
            1 if they are reconstructed exactly and 0 if not, and a single sample NaN,
            with an UndefinedMetricWarning, as in :func:`sklearn.metrics.r2_score`.
        """
        return self._share_explained(X, sample_weight)

    def _share_explained(self, X, sample_weight=None, of=None):
        """Return the share of the variance, or of what suits the loss."""
        X = self._validate(X, sample_weight)
        if X.shape[0] < 2:
            warnings.warn(
                "score is not defined on fewer than two samples, which have no "
                "variance; score_samples is.",
                UndefinedMetricWarning,
                stacklevel=3,
            )
            return math.nan
        loss = self._fitted_settings.loss
        if of is None and LOSSES[loss].explains != "variance":
            check_range(X, loss)
        with np.errstate(all="ignore"):
            network = self._parameters.astype(X.dtype)
            score = explained(X, network, self._problem, of)
        if not math.isfinite(score):
            raise ValueError(
                "The score of X leaves the range of float64: X varies too little, or "
                "its values are too large."
            )
        return score

    def evaluate_objective(self, X, sample_weight=None):
        """Return the training objective and its terms on any data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in `fit`.

        Returns
        -------
        objective : Bunch
            `total` and its terms `reconstruction`, `weight_decay` and `sparsity` as
            floats, with the mean activations taken over all rows of `X`, in the units
            that `scale` sets, and with the `rho` of the training, `beta_` and
            `weight_decay_`.
        """
        X = self._validate(X, sample_weight)
        check_range(X, self._fitted_settings.loss)
        with np.errstate(all="ignore"):
            network = self._parameters.astype(X.dtype)
            losses, *_ = evaluate(X, network, self._problem)
        for term, name in (("sparsity", "beta"), ("weight_decay", "weight_decay")):
            value = getattr(losses, term)
            if math.isfinite(losses.reconstruction) > math.isfinite(value):
                coefficient = getattr(self._problem.coefficients, name)
                raise ValueError(
                    f"The term of {name}={coefficient:.3g} leaves the range of "
                    f"float64: lower {name}."
                )
        finite(losses.objective, "The objective on X")
        return Bunch(total=losses.objective, **losses.terms)

    def unit_report(self, X, sample_weight=None):
        r"""Describe what each unit does on data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, as in `fit`. With those of the training, the means and
            states of the units of a `fit` are `rho_hat_` and `unit_states_`.

        Returns
        -------
        report : pandas.DataFrame or structured ndarray of n_components rows
            A structured array if pandas is not installed. Activations are measured
            on [0, 1]: those of tanh units are (a + 1) / 2. `rho` is that of the
            training.

            - `rho_hat`: mean activation; with a selection the share of the samples on
              which the unit is not 0.
            - `std`: standard deviation of the activation over the samples.
            - `kl`: :math:`\mathrm{KL}(\rho \,\|\, \hat\rho)`.
            - `maximum`: largest activation.
            - `sparseness`: Hoyer's lifetime sparseness, 0 for a constant activation
              and 1 - sqrt(rho) for one that is on for a share `rho` and off else.
            - `encoder_norm`, `decoder_norm`: norms of the weights.
            - `state`: "active" if none of the others, "dead" if no activation reaches
              `rho`, "saturated" if all are above 1/2, and "collapsed" if `std` is below
              a twentieth of sqrt(rho (1 - rho)), that of a perfect on/off code. A unit
              of which several are true has collapsed if its mean is within half of
              `rho` from `rho`, and is dead or saturated else. With a selection a "dead"
              unit is always 0, a "saturated" one is not 0 on more than (1 + rho) / 2 of
              the samples, and none is "collapsed".
        """
        X = self._validate(X, sample_weight)
        network, objective = self._parameters, self._problem.architecture.objective
        rho = self._fitted_settings.rho
        with np.errstate(all="ignore"):
            return unit_table(X, network.astype(X.dtype), objective, rho)

    def report(self, X, path, image_shape=None, feature_names=None, steps=None):
        """Write a page that shows what each unit has learned and does on data.

        It has the terms of the objective, the curves of the training, the distribution
        of the mean activations, and a table of the units that sorts and filters. Each
        unit opens to its decoder weights, its learned input, its histogram and the
        samples that activate it most. The page is one HTML file that loads nothing from
        elsewhere.

        It needs the extra "report": Jinja2, matplotlib and Pillow.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data in the units of the training data; with `steps`, the input of these.
            The samples that activate a unit most are copied into the page.

        path : str or path-like
            File to write; one that exists is replaced.

        image_shape : tuple of int, default=None
            (height, width), or (height, width, 3) for colour, of samples that are
            images. Weights and samples are then shown as such; without it, by their
            strongest features.

        feature_names : array-like of str of shape (n_features,), default=None
            Names of the features; `feature_names_in_` where that is defined, else "x0",
            "x1" and so on.

        steps : estimator instance, default=None
            The fitted steps before this one in a Pipeline, `pipeline[:-1]`. If they are
            affine and can be undone, as scalers and PCA can, the page shows weights and
            samples in the space of their input. Otherwise it shows those of the
            features that reach the autoencoder, with the names that the steps give
            them.

        Returns
        -------
        path : pathlib.Path
            The file written.

        Raises
        ------
        ImportError
            If a package of the extra is not installed.
        TypeError
            If `steps` cannot transform.
        ValueError
            If `image_shape` or `feature_names` does not fit the features.
        FileNotFoundError
            If the folder of `path` does not exist.
        """
        check_is_fitted(self)
        for module in ("jinja2", "matplotlib", "PIL"):
            import_extra(module, extra="report", needed_by="report")
        from ._report import write_report

        return write_report(self, X, path, image_shape, feature_names, steps)

    def to_keras(self):
        """Build the network as a compiled Keras model.

        Returns
        -------
        model : sksparse_ae.keras_model.SparseAutoencoder
            A functional `keras.Model` in float32 with layers named "encoder" and
            "decoder", on data as given. Its `evaluate(X, X)` is the objective on `X`,
            at any batch size. The optimizer, for a training that goes on from here, is
            that of the parameter `solver` as it is now, Adam for "lbfgs", with
            `learning_rate` if that is a number and else with Keras' default. It takes
            NaN for missing values, as inputs and as targets, if the training had any:
            a layer named "missing" then comes before the encoder.
        """
        check_is_fitted(self)
        self._validate_params()
        with starting_tensorflow():
            from ._export.keras import compiled_model, optimizer_of

        return compiled_model(
            self._exported,
            self._problem,
            optimizer_of(self.solver, as_python(self.learning_rate)),
        )

    def to_onnx(self, path=None, *, reconstruct=False):
        """Build the network as an ONNX model in float32; needs no TensorFlow.

        Its input "X", of any number of rows, is data as given, with missing values if
        the training had any; its output "codes" is what `transform` returns. A whole
        Pipeline is converted by `skl2onnx.to_onnx`, which finds here how to convert
        this step.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write the model to.

        reconstruct : bool, default=False
            Whether the model has the output "reconstruction" too.

        Returns
        -------
        model : onnx.ModelProto
            Of operator set 13, which onnxruntime 1.6 and later read.

        Raises
        ------
        ImportError
            If onnx is not installed.
        """
        check_is_fitted(self)
        from ._export.onnx import network_model, write_model

        model = network_model(self._exported, reconstruct=reconstruct)
        if path is not None:
            write_model(model, path)
        return model

    def onnx_shape_calculator(self):
        """Return how to tell the shape of the output; called by skl2onnx.

        Returns
        -------
        shape_calculator : callable
            Takes what skl2onnx passes, an operator.
        """
        from ._export.onnx import set_output_shape

        return set_output_shape

    def onnx_converter(self):
        """Return how to add the encoder to an ONNX graph; called by skl2onnx.

        Returns
        -------
        converter : callable
            Takes what skl2onnx passes: a scope, an operator and a container.
        """
        check_is_fitted(self)
        from ._export.onnx import add_encoder

        return add_encoder

    def generate_function(self, path):
        """Write the network as a Python module that needs NumPy alone.

        It defines `encode`, `decode` and `reconstruct`, which return what `transform`,
        `inverse_transform` and `reconstruct` do, but for rounding. The weights are part
        of the file, bit by bit. It takes missing values if the training had any.

        Parameters
        ----------
        path : str or path-like
            File to write, whose name is to be that of a module, such as "encoder.py".

        Raises
        ------
        ValueError
            If the name is not one that can be imported, or is that of a module of
            Python or NumPy, which the new one would hide.
        """
        check_is_fitted(self)
        from ._export.numpy_module import write_module

        write_module(path, self._exported, getattr(self, "feature_names_in_", None))

    def __sklearn_clone__(self):
        _refuse_what_copies_lose(self.solver)
        return super().__sklearn_clone__()

    def __getstate__(self):
        _refuse_what_copies_lose(self.solver)
        return to_plain(super().__getstate__(), RECORDS)

    def __setstate__(self, state):
        super().__setstate__(from_plain(state, RECORDS))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        loss = LOSSES.get(self.loss) if isinstance(self.loss, str) else None
        tags.input_tags.positive_only = loss is not None and loss.takes_counts
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _refuse_what_copies_lose(solver):
    """Raise for a Keras optimizer of which copies, in silence, lose something."""
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(solver, keras.optimizers.Optimizer):
        from ._engine.optimizers import refuse_unconfigured

        refuse_unconfigured(solver)


@contextlib.contextmanager
def _unchanged_on_error(estimator):
    """Restore the attributes of an estimator if the body raises."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise

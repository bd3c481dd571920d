"""Losses of a reconstruction."""


def reconstruction_loss(X, output, loss, xp):
    """Loss of each row, summed over the features.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    output : array of shape (n_samples, n_features)
        The reconstruction for ``loss="squared_error"``; its logits, before the
        sigmoid, for ``loss="log_loss"``.
    loss : {"squared_error", "log_loss"}
    xp : namespace
    """
    if loss == "squared_error":
        return 0.5 * _sum_of_features(xp.square(output - X), xp)
    # log(1 + exp(z)) - x z, in the form that does not overflow.
    softplus = xp.maximum(output, 0) + xp.log1p(xp.exp(-xp.abs(output)))
    return _sum_of_features(softplus - X * output, xp)


def mean_squared_error(X, output, mean_loss, mean, loss, xp):
    """Return the mean over the rows of their squared errors, summed over the features.

    Parameters
    ----------
    X, output : array of shape (n_samples, n_features)
        As ``reconstruction_loss`` took them.
    mean_loss : scalar
        The mean of what it returned.
    mean : callable
        Averages a value of each row, or sums them, as ``mean_loss`` was.
    loss : {"squared_error", "log_loss"}
    xp : namespace
    """
    if loss == "squared_error":
        return 2 * mean_loss
    return mean(_sum_of_features(xp.square(1 / (1 + xp.exp(-output)) - X), xp))


def _sum_of_features(values, xp):
    """Sum the last axis, as a product: XLA on the CPU does not vectorise sums."""
    return xp.matmul(values, xp.ones(values.shape[-1:], values.dtype))

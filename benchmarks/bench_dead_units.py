"""What keeps the units of codes that are selected alive.

Run ``python benchmarks/bench_dead_units.py [--epochs N] [--seeds N] [--only DATA ...]
[--fashion-mnist DIR]``.

For each data set it fits `sparsity="topk"` with nothing against dead units, with new
starts (`revive`) and with an auxiliary loss, then without and with new starts on data
that are not centred. The auxiliary loss (AuxK: L. Gao et al., "Scaling and evaluating
sparse autoencoders", 2024) lets dead units reconstruct what is left over; it is a
prototype here. Printed are the share of units that are dead on the training rows, and
the score on rows held out, medians over the seeds.
"""

import argparse
import contextlib
import warnings
from unittest import mock

import numpy as np
import tensorflow as tf
from _common import FASHION_MNIST, fashion_mnist, markdown_table, medians
from keras import ops
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.minibatch import MiniBatchProgram, minibatch_program
from sksparse_ae._engine.network import Network
from sksparse_ae._network.scaling import Scaling
from sksparse_ae._objective.penalties import NoPenalty
from sksparse_ae._objective.selections import SELECTIONS, largest

# A unit is dead to the auxiliary loss if its running share of rows is less than this.
DEAD_SHARE = 1e-4

# Its weight in the objective, and the share of the features that it uses as units: the
# numbers of the paper.
AUXILIARY_WEIGHT, AUXILIARY_SHARE = 1 / 32, 0.5


def data(name, folder):
    """Return rows, the number of units and rho."""
    if name == "Fashion-MNIST":
        return fashion_mnist(folder)[0][:8000].astype(np.float32), 400, 0.02
    X = load_digits().data
    if name == "digits, mean of ten spreads":
        # As of sensors with offsets: each column has one of its own.
        return X + 10 * X.std() * np.random.default_rng(0).normal(size=64), 100, 0.05
    return X, 100, 0.05


class WithAuxiliaryLoss(Network):
    """A network whose dead units are to reconstruct what is left over."""

    running = None  # the running share of rows on which each unit is on

    def data_terms(self, X, offset, row_weights, coefficients, *args, **kwargs):
        """Add the auxiliary loss to the reconstruction."""
        terms = super().data_terms(
            X, offset, row_weights, coefficients, *args, **kwargs
        )
        spread = kwargs.get("spread", args[1] if len(args) > 1 else None)
        activations = self.encoder(X)
        dead = ops.cast(self.running < DEAD_SHARE, X.dtype)
        codes = self.objective.selected(activations, row_weights, coefficients, ops)
        rest = X - self._output(codes, spread) - spread_out(self.decoder.bias, spread)
        share = AUXILIARY_SHARE * X.shape[1] / activations.shape[1]
        given = activations * dead, ops.convert_to_tensor(share, X.dtype), row_weights
        helpers, _ = largest(SELECTIONS["topk"], *given, ops)
        rest = tf.stop_gradient(rest)
        left = ops.sum(ops.square(rest - self._output(helpers, spread)), axis=-1)
        scale = ops.sum(row_weights * ops.sum(ops.square(rest), axis=-1))
        share_left = ops.sum(row_weights * left) / scale
        added = AUXILIARY_WEIGHT * tf.stop_gradient(terms.reconstruction) * share_left
        return terms._replace(reconstruction=terms.reconstruction + added)

    def _output(self, codes, spread):
        return spread_out(ops.matmul(codes, self.decoder.kernel), spread)


def spread_out(values, spread):
    """Return values of the output's coordinates in the units of the training."""
    return values if spread is None else spread * values


@contextlib.contextmanager
def auxiliary_loss():
    """Train with the auxiliary loss within the block."""
    build = MiniBatchProgram.__init__

    def build_with_share(program, *args, **kwargs):
        build(program, *args, **kwargs)
        program.network.running = program._statistic

    with (
        mock.patch("sksparse_ae._engine.minibatch.Network", WithAuxiliaryLoss),
        mock.patch.object(MiniBatchProgram, "__init__", build_with_share),
        mock.patch.object(NoPenalty, "acts", True),  # keeps the running share
    ):
        minibatch_program.cache_clear()
        yield
    minibatch_program.cache_clear()


@contextlib.contextmanager
def without_centring():
    """Train on the data as given, but for the scale, within the block."""
    from_moments = Scaling.from_moments.__func__

    def bare(cls, moments, **settings):
        scaling = from_moments(cls, moments, **settings)
        return scaling._replace(offset=np.zeros_like(scaling.offset))

    with mock.patch.object(Scaling, "from_moments", classmethod(bare)):
        yield


WAYS = {
    "nothing": (contextlib.nullcontext, False),
    "new starts": (contextlib.nullcontext, True),
    "auxiliary loss": (auxiliary_loss, False),
    "nothing, not centred": (without_centring, False),
    "new starts, not centred": (without_centring, True),
}


def measured(X, n_units, rho, revive, epochs, seed):
    """Return the share of dead units and the score of a fit."""
    X, X_held_out = train_test_split(X, random_state=0)
    autoencoder = SparseAutoencoderTransformer(
        n_units,
        sparsity="topk",
        rho=rho,
        revive=revive,
        max_iter=epochs,
        random_state=seed,
    ).fit(X)
    return {
        "dead": float((autoencoder.unit_states_ == "dead").mean()),
        "score": autoencoder.score(X_held_out),
    }


def main():
    names = "digits", "digits, mean of ten spreads", "Fashion-MNIST"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--fashion-mnist", default=FASHION_MNIST)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.only:
        X, n_units, rho = data(name, arguments.fashion_mnist)
        rows = []
        for way, (context, revive) in WAYS.items():
            with context():
                found = medians(
                    [
                        measured(X, n_units, rho, revive, arguments.epochs, seed)
                        for seed in range(arguments.seeds)
                    ]
                )
            rows.append(
                {
                    "against dead units": way,
                    "dead": f"{found['dead']:.0%}",
                    "score": f"{found['score']:.3f}",
                }
            )
            print(rows[-1], flush=True)
        print(markdown_table(f"{name}, {n_units} units, rho {rho}", rows), flush=True)


if __name__ == "__main__":
    main()

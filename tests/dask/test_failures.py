"""Workers, schedulers and clients that go while a fit runs."""

import os
import signal
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

from sksparse_ae._dask import blocks, clients
from sksparse_ae._dask.clients import ClusterLost
from sksparse_ae.dask import DaskSparseAutoencoderTransformer

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SETTINGS = {
    "n_components": 5,
    "solver": "lbfgs",
    "max_iter": 12,
    "tol": 0,
    "random_state": 0,
}


@pytest.fixture
def threads():
    """A cluster of threads of this process, which starts at once."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(clients, "LOOK", 0.1)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield


@pytest.fixture
def at_evaluation(monkeypatch):
    """Return a function that lets something happen before an evaluation."""
    from sksparse_ae._engine.full_batch import FullBatchObjective

    def happen(number, action):
        evaluate, n_evaluations = FullBatchObjective.__call__, 0

        def evaluated(self, vector):
            nonlocal n_evaluations
            n_evaluations += 1
            if n_evaluations == number:
                action()
            return evaluate(self, vector)

        monkeypatch.setattr(FullBatchObjective, "__call__", evaluated)

    return happen


def made_anew():
    """Return rows that every call makes anew."""

    def block(block_id):
        return np.random.default_rng(block_id[0]).normal(size=(60, 8))

    return da.map_blocks(block, chunks=((60,) * 6, (8,)), meta=np.empty((0, 0)))


@pytest.fixture(scope="module")
def undisturbed(client):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return DaskSparseAutoencoderTransformer(**SETTINGS).fit(made_anew())


@pytest.mark.slow  # a minute each: the cluster first has to give a worker up
@pytest.mark.parametrize(("n_killed", "is_held"), [(1, False), (2, True)])
def test_killed_workers_change_no_bit(
    client, undisturbed, monkeypatch, at_evaluation, n_killed, is_held
):
    if not is_held:
        monkeypatch.setattr(blocks, "HELD_SHARE", 0)
    pids = list(client.run(os.getpid).values())
    killed = []

    def kill():
        for pid in pids[:n_killed]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    at_evaluation(4, kill)
    fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(made_anew())
    assert len(killed) == n_killed
    assert_array_equal(fitted.coefs_[0], undisturbed.coefs_[0])
    assert fitted.loss_curve_ == undisturbed.loss_curve_
    client.wait_for_workers(2, timeout=120)


@pytest.mark.slow
def test_without_workers_it_ends_and_goes_on_from_its_checkpoint(
    client, threads, undisturbed, impatient, at_evaluation, tmp_path
):
    settings = SETTINGS | {"checkpoint_dir": tmp_path}
    with distributed.Client(threads) as own:
        at_evaluation(7, lambda: threads.scale(0))
        lost = DaskSparseAutoencoderTransformer(**settings, client=own)
        with pytest.raises(ClusterLost, match="has lost its workers"):
            lost.fit(made_anew())
        assert not hasattr(lost, "coefs_")
    assert len(list(tmp_path.iterdir())) == 1
    evaluations = []
    at_evaluation(1, lambda: evaluations.append(1))
    fitted = DaskSparseAutoencoderTransformer(**settings, client=client)
    fitted.fit(made_anew())
    assert_array_equal(fitted.coefs_[0], undisturbed.coefs_[0])
    assert not list(tmp_path.iterdir())


def test_a_client_that_is_closed_is_named(threads, impatient, at_evaluation):
    own = distributed.Client(threads)
    at_evaluation(4, own.close)
    estimator = DaskSparseAutoencoderTransformer(**SETTINGS, client=own)
    with pytest.raises(ClusterLost, match="Dask cluster"):
        estimator.fit(made_anew())


def test_a_cluster_without_workers_is_named(impatient):
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=":0"
        ) as empty,
        distributed.Client(empty),
        pytest.raises(ClusterLost, match="has no worker"),
    ):
        DaskSparseAutoencoderTransformer(**SETTINGS).fit(made_anew())


def test_a_source_that_is_gone_says_so(client, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 8)))
    block = dask.delayed(np.load)(path)
    X = da.from_delayed(block, (60, 8), float)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"rows\.npy"):
        DaskSparseAutoencoderTransformer(**SETTINGS).fit(X)

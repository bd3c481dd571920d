"""A cluster of processes, which starts once for all tests."""

import contextlib
import os

import pytest

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


@pytest.fixture(autouse=True)
def environment_stays():
    """Leave the environment to the tests of other files as they found it.

    The nannies of a LocalCluster, which run in this process, set OMP_NUM_THREADS for
    the workers that they start. TensorFlow in another test's process would follow it.
    """
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def cluster():
    before = dict(os.environ)
    # A cluster looks 15 s after it has lost a worker whether it is back, and gives it
    # up for good if not: also where it was back meanwhile and was just killed again.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}):
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        )
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        yield cluster
        # Dask 2025.7 forgets a worker that was killed, and looks for its name here; on
        # a busy machine a worker takes longer to end than its nanny waits.
        with contextlib.suppress(KeyError, TimeoutError):
            cluster.close(timeout=60)


@pytest.fixture(scope="session")
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client

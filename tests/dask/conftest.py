"""A cluster of processes, which starts once for all tests."""

import contextlib

import pytest

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="session")
def cluster():
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    )
    yield cluster
    # Dask 2025.7 forgets a worker that was killed, and looks for its name here.
    with contextlib.suppress(KeyError):
        cluster.close(timeout=60)


@pytest.fixture(scope="session")
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client

"""The client of a cluster, and waiting for what it computes."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import dask
import distributed
import numpy as np
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

# Seconds between two looks at whether a cluster still works at what it was asked.
LOOK = 1.0


class ClusterLost(RuntimeError):
    """The cluster cannot compute what a training waits for."""


def client_of(client: Any) -> Any:
    """Return the client to use: the one given, the default one, or that of a task."""
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            client = _ambient_client()
    if not isinstance(client, distributed.Client):
        raise TypeError(
            f"client must be a distributed.Client or None; got {type(client).__name__}."
        )
    if client.asynchronous:
        raise TypeError(
            "An asynchronous client is not supported, because fit waits for results: "
            "pass client=Client(...) that was made without asynchronous=True, and call "
            "fit in a thread (asyncio.to_thread)."
        )
    return client


def _ambient_client() -> Any:
    address = dask.config.get("scheduler-address", None)
    if address is not None:
        return distributed.get_client(address)
    try:
        distributed.get_worker()
    except ValueError:
        raise ValueError(
            "There is no Dask client. Make one before fit, client = "
            "distributed.Client(...), or pass client=; without a cluster, use "
            "SparseAutoencoderTransformer."
        ) from None
    return distributed.get_client()


def patience() -> float:
    """Return the seconds for which workers, or the scheduler, may be gone."""
    timeout = dask.config.get("distributed.comm.timeouts.connect")
    return dask.utils.parse_timedelta(timeout, "s")


def number_of_threads(client: Any) -> int:
    """Return the number of threads of all workers; wait for the first worker."""
    try:
        client.wait_for_workers(1, timeout=patience())
        threads = client.nthreads()
    except (OSError, TimeoutError, RuntimeError) as error:
        raise ClusterLost(_advice("has no worker")) from error
    return sum(threads.values())


def memory_of_workers(client: Any) -> float:
    """Return the bytes that all workers may use together; 0 if they have no limit."""
    limits = [w["memory_limit"] for w in client.scheduler_info()["workers"].values()]
    # Some releases of Dask tell of five workers at most.
    n_workers = len(client.nthreads())
    return float(np.mean(limits)) * n_workers if limits and all(limits) else 0.0


@contextlib.contextmanager
def asking(client: Any) -> Iterator[None]:
    """Say what became of a client that the body cannot ask any more."""
    try:
        yield
    except Exception as error:
        if client.status in ("closing", "closed"):
            raise ClusterLost(
                _advice("cannot be asked: its client is closed")
            ) from error
        raise


def result_of(client: Any, future: Any) -> Any:
    """Wait for a future, as long as there are workers that may compute it."""
    deadline, seconds = time.monotonic() + patience(), LOOK
    try:
        while True:
            try:
                return future.result(timeout=seconds)
            except TimeoutError:
                if future.status == "error":  # the task's own
                    raise
            if future.done():
                # It is being sent, which begins anew each time, or was lost with its
                # worker.
                seconds *= 2
            if _has_workers(client):
                deadline = time.monotonic() + patience()
            elif time.monotonic() > deadline:
                raise ClusterLost(_advice("has lost its workers"))
    except KilledWorker as error:
        reason = (
            "has lost several workers at one task, as when a worker has too little "
            "memory for its blocks (use smaller ones, or more memory)"
        )
        raise ClusterLost(_advice(reason)) from error
    except (distributed.CancelledError, CommClosedError) as error:
        raise ClusterLost(_advice("cannot be reached any more")) from error


def _has_workers(client: Any) -> bool:
    if client.status != "running":
        return False
    try:
        return bool(client.nthreads())
    except (OSError, TimeoutError, RuntimeError):
        return False


def _advice(what: str) -> str:
    return (
        f"The Dask cluster {what}. Start it again and call fit again; with "
        "checkpoint_dir and a random_state, fit continues where it was."
    )

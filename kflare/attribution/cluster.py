"""The same export on many processes or machines: chunks of images as tasks of an executor, results in order.

The executor is dask.distributed's in production; anything with the interface of `concurrent.futures` will do.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from kflare.attribution.export import Export, Job, Result, export
from kflare.attribution.published import Source
from kflare.errors import KflareError, ServingError

__all__ = ["dask_executor", "export_on"]

_BATCHES = 4  # per task: long enough to outweigh sending it, short enough for a lost worker to lose little


def export_on(
    executor: Executor, jobs: Sequence[Job], source: Source, settings: Export, *, workers: int
) -> Iterator[Result]:
    """Do the jobs on an executor's workers, each of which opens the model once.

    Parameters
    ----------
    executor : Executor
        Its workers see the same file system.
    jobs, source, settings
        As for `export`.
    workers : int
        How many work at a time; three tasks for each are under way at most, so the memory needed stays constant.

    Yields
    ------
    Result
        One per job, in their order.

    Raises
    ------
    ServingError
        A worker died again and again, or cannot import kflare.
    KflareError
        As for `export`.
    """
    step = _BATCHES * settings.batch_size
    under_way: deque[Future[list[Result]]] = deque()
    for begin in range(0, len(jobs), step):
        under_way.append(executor.submit(_work, list(jobs[begin : begin + step]), source, settings))
        if len(under_way) >= 3 * workers:
            yield from _result(under_way.popleft())
    while under_way:
        yield from _result(under_way.popleft())


def _work(jobs: list[Job], source: Source, settings: Export) -> list[Result]:
    return list(export(jobs, source, settings))


def _result(task: "Future[list[Result]]") -> list[Result]:
    try:
        return task.result()
    except KflareError:
        raise
    # dask raises KilledWorker, CancelledError, CommClosedError, and whatever a worker's Python raises.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ServingError(
            f"the workers failed: {type(error).__name__}: {reason}; what is done is kept, so run the same command again"
        ) from error


@contextmanager
def dask_executor(
    *, workers: int, scheduler: str | None, prepare: Callable[[], object], timeout: float = 10.0
) -> Iterator[tuple[Executor, int]]:
    """An executor on a dask.distributed cluster, and the number of its workers.

    Parameters
    ----------
    workers : int
        Processes of a cluster on this machine; not used with `scheduler`.
    scheduler : str or None
        Address of a running scheduler, such as `tcp://10.0.0.1:8786`.
    prepare : callable
        Run once in each worker's process.
    timeout : float
        Seconds to wait for the scheduler, and again for its first worker.

    Raises
    ------
    ServingError
        No scheduler there, or one without workers.
    """
    from distributed import LocalCluster

    cluster = None
    if scheduler is None:
        share = str(max(1, (os.cpu_count() or 1) // workers))
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            memory_limit=0,
            # At the end its nannies would warn of each worker that TensorFlow keeps from leaving at once.
            silence_logs=logging.ERROR,
            env={"TF_NUM_INTRAOP_THREADS": share, "TF_NUM_INTEROP_THREADS": "1"},
        )
    try:
        with _client(cluster or scheduler, scheduler or "this machine", timeout) as client:
            client.run(prepare)
            yield client.get_executor(pure=False), sum(client.nthreads().values())
    finally:
        if cluster is not None:
            cluster.close()


def _client(cluster: Any, where: str, timeout: float) -> Any:
    from distributed import Client

    client = None
    try:
        client = Client(cluster, timeout=timeout)
        client.wait_for_workers(1, timeout=timeout)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        if client is not None:
            client.close()
        raise ServingError(
            f"no dask scheduler with a worker at {where} within {timeout:g} s: start them with `dask scheduler` and "
            "`dask worker ADDRESS`, or leave --scheduler out"
        ) from error
    return client

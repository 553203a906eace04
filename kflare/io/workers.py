"""Many tasks in this process, on processes of this machine or on a dask cluster: results in order, few tasks ahead."""

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Final, TypeVar

from kflare.errors import KflareError, ServingError

T = TypeVar("T")
R = TypeVar("R")
_LOG: Final = logging.getLogger(__name__)
_COMPUTING: Final = ("numpy", "scipy", "pandas", "astropy", "sunpy")
_VERSION: Final = "__import__('kflare').__version__"
_MALLOC: Final = {"ARENA_MAX": 1, "MMAP_THRESHOLD_": 2**25, "TRIM_THRESHOLD_": 2**28}
KEPT_MEMORY: Final = {f"distributed.nanny.pre-spawn-environ.MALLOC_{name}": size for name, size in _MALLOC.items()}
"""How a worker's `malloc` keeps an image's memory for the next one; dask's own gives all above 64 kB back at once."""
_AHEAD: Final = 3  # tasks under way or waiting for each worker, so that none is idle and memory stays constant


@contextmanager
def run_tasks(
    work: Callable[[T], Iterable[R]], tasks: Sequence[T], *, workers: int, scheduler: str | None,
    prepare: Callable[[], object], timeout: float = 10.0
) -> Iterator[Iterator[R]]:  # fmt: skip
    """Results of `work(task)` for each task, in the order of the tasks.

    With one worker and no scheduler the work is done in this process while the results are asked for. Otherwise it and
    the tasks travel to a dask cluster of so many processes on this machine, or to the workers of the `scheduler` (such
    as `tcp://10.0.0.1:8786`), which must see the same file system; `prepare` is run once in each of them. A worker that
    dies is replaced and its task done again; at the end of the block what has not begun is cancelled.

    ServingError if no scheduler or none with a worker is there within `timeout` seconds, if the scheduler or a worker
    cannot import kflare or has another version of it, of Python or of what computes, or workers died again and again.
    """
    if not tasks or (workers == 1 and scheduler is None):
        yield (result for task in tasks for result in work(task))
        return
    with (
        _dask_executor(workers, scheduler, prepare, timeout) as (executor, count),
        closing(results_on(executor, work, tasks, workers=count)) as results,
    ):
        yield results


def results_on(pool: Executor, work: Callable[[T], Iterable[R]], tasks: Iterable[T], *, workers: int) -> Generator[R]:
    """The same on an executor of dask, or of `concurrent.futures`, with so many workers."""
    under_way: deque[Future[list[R]]] = deque()
    try:
        for task in tasks:
            under_way.append(pool.submit(_collected, work, task))
            if len(under_way) >= _AHEAD * workers:
                yield from _result(under_way.popleft())
        while under_way:
            yield from _result(under_way.popleft())
    finally:
        for future in under_way:
            future.cancel()


def _collected(work: Callable[[T], Iterable[R]], task: T) -> list[R]:
    return list(work(task))


def _result(future: "Future[list[R]]") -> list[R]:
    with _explained():
        return future.result()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except KflareError:
        raise
    # dask raises KilledWorker, CancelledError, CommClosedError, and whatever a worker's Python raises.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        fault = f"the workers failed: {type(error).__name__}: {reason}"
        raise ServingError(f"{fault}; what is done is kept, so run the same command again") from error


@contextmanager
def _dask_executor(
    workers: int, scheduler: str | None, prepare: Callable[[], object], timeout: float
) -> Iterator[tuple[Executor, int]]:
    import dask
    from distributed import LocalCluster

    with ExitStack() as stack, dask.config.set(KEPT_MEMORY):
        cluster = None
        if scheduler is None:
            share = str(max(1, (os.cpu_count() or 1) // workers))
            # The default would be port 8787 of all addresses, with a warning where another run has it. At the end its
            # nannies would warn of each worker that TensorFlow keeps from leaving at once.
            quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.ERROR}
            env = {"TF_NUM_INTRAOP_THREADS": share, "TF_NUM_INTEROP_THREADS": "1", "TQDM_DISABLE": "1"}
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, env=env, **quiet)
            stack.callback(_close, cluster)
        client = stack.enter_context(_client(cluster or scheduler, scheduler or "this machine", timeout))
        if cluster is not None:
            stack.callback(_await_restarts, client, workers)
        with _explained():
            if scheduler is not None:
                _require_same_versions(client)
            client.run(prepare)
        yield client.get_executor(pure=False), sum(client.nthreads().values())


def _await_restarts(client: Any, workers: int) -> None:
    with suppress(OSError):  # TimeoutError is one
        client.wait_for_workers(workers, timeout=10)


def _close(cluster: Any) -> None:
    # dask's bookkeeping may fail here after a worker was killed (AssertionError while it starts anew, KeyError of its
    # old address): by then all results are here, and its error would hide the one that says what happened.
    try:
        cluster.close()
    except Exception:  # noqa: BLE001
        _LOG.debug("the dask cluster did not close well", exc_info=True)


def _require_same_versions(client: Any) -> None:
    """Refuse machines on which other versions would compute: `ServingError` names the machine and both versions."""
    versions = client.get_versions(packages=_COMPUTING)
    wanted = {name: versions["client"]["packages"][name] for name in ("python", *_COMPUTING)}
    machines = {"the scheduler": versions["scheduler"]["packages"]}
    machines |= {f"the worker {address}": about["packages"] for address, about in versions["workers"].items()}
    found = [f"{machine} {has}" for machine, others in machines.items() for has in _differences(others, wanted)]
    if not found:  # else nothing may be unpickled there
        # A name that is imported there: nothing of kflare travels before it is known to be the same.
        here = eval(_VERSION)  # noqa: S307 (a constant, as it is sent)
        try:
            kflare = {"the scheduler": client.run_on_scheduler(eval, _VERSION)}
        except Exception as error:  # noqa: BLE001 (whatever the import of a foreign module raises)
            kflare = {"the scheduler": error}
        for address, answer in client.run(eval, _VERSION, on_error="return").items():
            kflare[f"the worker {address}"] = answer
        for machine, there in kflare.items():
            if isinstance(there, Exception):
                reason = (str(there).splitlines() or [""])[0]
                found.append(f"{machine} cannot import kflare ({type(there).__name__}: {reason})")
            elif there != here:
                found.append(f"{machine} has kflare {there}, this process {here}")
    if found:
        more = f", and {len(found) - 1} more differences" if found[1:] else ""
        fault = f"{found[0]}{more}"
        raise ServingError(f"{fault}: install the same versions on all machines, or parts of two would be mixed")


def _differences(there: Mapping[str, str | None], here: Mapping[str, str | None]) -> list[str]:
    return [
        f"lacks {name} {own}" if there.get(name) is None else f"has {name} {there[name]}, this process {own}"
        for name, own in here.items()
        if there.get(name) != own
    ]


def _client(cluster: Any, where: str, timeout: float) -> Any:
    from distributed import Client

    client = None
    try:
        client = Client(cluster, timeout=timeout)
        client.wait_for_workers(1, timeout=timeout)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        if client is not None:
            client.close()
        how = "start them with `dask scheduler` and `dask worker ADDRESS`, or leave --scheduler out"
        raise ServingError(f"no dask scheduler with a worker at {where} within {timeout:g} s: {how}") from error
    return client

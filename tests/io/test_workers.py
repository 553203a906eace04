"""Tasks here and on real dask workers: in order, few ahead, through the death of a worker and an interrupt."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import kflare
from kflare.errors import DataError, ServingError
from kflare.io.workers import _close as close
from kflare.io.workers import _differences as differences
from kflare.io.workers import results_on, run_tasks


def squares(task):
    yield task
    yield task**2


def works(folder):
    """Kinds of work, made in here since the tests are no package that workers could import."""

    def noted(task):
        (folder / f"{task}-{os.getpid()}").touch()
        return [task, task**2]

    def killed_once(task):
        # As the kernel kills a process that takes all memory.
        if task == 3 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [task]

    def always_killed(_):
        os.kill(os.getpid(), signal.SIGKILL)

    def refused(task):
        raise DataError(f"`{task}` is damaged")

    def broken(_):
        raise ZeroDivisionError("by zero\nand more")

    def unprepared():
        raise ImportError("no kflare here")

    def slow(task):
        (folder / str(task)).touch()
        time.sleep(0.2)
        return [task]

    def memory(_):
        return [{name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "OMP_NUM_"))}]

    return SimpleNamespace(**locals())


EXPECTED = [number for task in range(12) for number in (task, task**2)]


def test_one_worker_is_this_process_and_works_when_asked(tmp_path):
    with run_tasks(works(tmp_path).noted, range(12), workers=1, scheduler=None, prepare=int) as results:
        assert list(tmp_path.iterdir()) == []
        assert next(results) == 0
        assert [path.name for path in tmp_path.iterdir()] == [f"0-{os.getpid()}"]
        assert [0, *results] == EXPECTED


def test_nothing_to_do_starts_no_cluster():
    with run_tasks(squares, [], workers=2, scheduler="tcp://127.0.0.1:1", prepare=int) as results:
        assert list(results) == []


def test_results_are_in_order_and_tasks_taken_a_few_ahead():
    taken = []

    def tasks():
        for task in range(12):
            taken.append(task)
            yield task

    with ThreadPoolExecutor(2) as executor:
        results = results_on(executor, squares, tasks(), workers=2)
        assert next(results) == 0
        assert taken == list(range(6))  # three for each worker
        assert [0, *results] == EXPECTED


@contextmanager
def cluster(work, tasks, *, scheduler=None, workers=2):
    with run_tasks(work, tasks, workers=workers, scheduler=scheduler, prepare=int) as results:
        yield results


@pytest.mark.timeout(120)
def test_a_killed_worker_costs_only_time(tmp_path):
    with cluster(works(tmp_path).killed_once, range(12)) as results:
        assert list(results) == list(range(12))
    assert (tmp_path / "died").exists()


@pytest.mark.timeout(120)
def test_workers_keep_the_memory_of_an_image_for_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with cluster(works(tmp_path).memory, [0]) as results:
        (found,) = results
    # dask's MALLOC_TRIM_THRESHOLD_ of 65,536 doubled the processor time of features and of attribution.
    kept = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"}
    assert found == {**kept, "OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(120)
def test_two_runs_side_by_side_want_no_fixed_port(tmp_path):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 8787))  # dask's port for its pages; a warning about it would fail this test
        taken.listen()
        with cluster(works(tmp_path).noted, range(12)) as results:
            assert list(results) == EXPECTED


def test_errors_of_tasks_on_a_running_scheduler(tmp_path):
    from distributed import Client, LocalCluster

    work = works(tmp_path)
    running = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50)
    try:
        address = running.scheduler_address
        with cluster(work.noted, range(12), scheduler=address) as results:
            assert list(results) == EXPECTED
        assert str(os.getpid()) not in {path.name.partition("-")[2] for path in tmp_path.iterdir()}
        with cluster(work.refused, [7], scheduler=address) as results, pytest.raises(DataError, match="`7` is damaged"):
            list(results)
        message = r"^the workers failed: ZeroDivisionError: by zero; what is done is kept, so run the same command"
        with cluster(work.broken, [7], scheduler=address) as results, pytest.raises(ServingError, match=message):
            list(results)
        with (
            pytest.raises(ServingError, match="the workers failed: ImportError: no kflare here"),
            run_tasks(work.noted, [7], workers=1, scheduler=address, prepare=work.unprepared),
        ):
            pass
        message = r"^the workers failed: KilledWorker: [^\n]+$"
        with cluster(work.always_killed, [7], scheduler=address) as results, pytest.raises(ServingError, match=message):
            list(results)
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
    finally:
        close(running)


@pytest.mark.timeout(120)
def test_workers_that_die_again_and_again_are_told_whatever_dask_is_about(tmp_path):
    message = r"^the workers failed: KilledWorker: [^\n]+$"
    for _ in range(5):  # one of five ended in an error of dask's, which was closing while a worker started anew
        with pytest.raises(ServingError, match=message), cluster(works(tmp_path).always_killed, [7]) as results:
            list(results)


@pytest.mark.timeout(120)
def test_an_interrupt_cancels_what_has_not_begun(tmp_path):
    def interrupted():
        with cluster(works(tmp_path).slow, range(100)) as results:
            next(results)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    begun = len(list(Path(tmp_path).iterdir()))
    assert 1 <= begun <= 7
    time.sleep(1)
    assert len(list(Path(tmp_path).iterdir())) == begun


class DeadWorkers:
    """An executor whose workers die."""

    def submit(self, *_):
        future = Future()
        future.set_exception(MemoryError("worker"))
        return future


def test_a_dead_worker_is_one_line():
    with pytest.raises(ServingError, match="the workers failed: MemoryError: worker; what is done is kept"):
        list(results_on(DeadWorkers(), squares, range(3), workers=2))


def test_no_dask_scheduler():
    # Port 1 of loopback: nothing listens there.
    with (
        pytest.raises(ServingError, match=r"no dask scheduler with a worker at tcp://127\.0\.0\.1:1 within 1 s"),
        run_tasks(squares, [1], workers=1, scheduler="tcp://127.0.0.1:1", prepare=int, timeout=1),
    ):
        pass


OTHERS = {
    "another version": ('__version__ = "0.0.1"', "kflare 0.0.1, this process " + kflare.__version__),
    "none": (
        "raise ModuleNotFoundError(\"No module named 'kflare'\")",
        "cannot import kflare .ModuleNotFoundError: No mod",
    ),
    "no version": ("", "cannot import kflare .AttributeError: module 'kflare' has no attribute '__version__'"),
    "damaged": ("def :", "cannot import kflare .SyntaxError: "),
}


def started(kind, *arguments, folder, path):
    """A dask scheduler or worker as another machine would have it, with another search path."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, arguments), "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", ["scheduler", "worker"])
@pytest.mark.parametrize("case", OTHERS)
def test_a_machine_with_another_kflare_is_named_and_does_nothing(tmp_path, case, where):
    content, message = OTHERS[case]
    other = tmp_path / "other"
    (other / "kflare").mkdir(parents=True)
    (other / "kflare" / "__init__.py").write_text(content)
    own = Path(kflare.__file__).parents[1]
    address = tmp_path / "scheduler.json"
    paths = {"scheduler": own, "worker": own, where: other}
    processes = [
        started("scheduler", "--port", 0, "--scheduler-file", address, folder=tmp_path, path=paths["scheduler"]),
        started("worker", "--scheduler-file", address, "--no-nanny", folder=tmp_path, path=paths["worker"]),
    ]
    try:
        deadline = time.monotonic() + 100
        while not address.exists() or not address.stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        target = json.loads(address.read_text())["address"]
        named = "the scheduler" if where == "scheduler" else r"the worker tcp://[0-9.:]+"
        with (
            pytest.raises(ServingError, match=f"^{named} (has )?{message}[^\n]*: install the same versions") as error,
            run_tasks(works(tmp_path).noted, [7], workers=1, scheduler=target, prepare=int, timeout=100),
        ):
            pass
        assert "\n" not in str(error.value)
        assert not list(tmp_path.glob("7-*"))
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def test_every_difference_of_what_computes_is_told():
    here = {"python": "3.11.7.final.0", "numpy": "2.4.0", "scipy": "1.17.0"}
    assert differences(here, here) == []
    there = {"python": "3.12.1.final.0", "numpy": None}
    assert differences(there, here) == [
        "has python 3.12.1.final.0, this process 3.11.7.final.0", "lacks numpy 2.4.0", "lacks scipy 1.17.0"
    ]  # fmt: skip

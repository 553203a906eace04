"""Requests put together: when, with whom, and who pays when one of them fails."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from kflare.errors import SettingError
from kflare.serving.messages.statuses import RequestError
from kflare.serving.server.batching import BatchScheduler
from kflare.serving.server.config_files import BatchingParameters
from kflare.serving.server.metrics import Metrics


class Doubling:
    """A signature that doubles `x`, and remembers how many rows came at a time."""

    def __init__(self):
        self.sizes = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs, deadline):
        self.entered.set()
        self.gate.wait(10)
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "negative")
        return {"y": 2 * inputs["x"]}


@pytest.fixture
def scheduler():
    made = []

    def make(**parameters):
        made.append(BatchScheduler(BatchingParameters(**{"num_batch_threads": 1, **parameters}), Metrics()))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def rows(*values):
    return {"x": np.array(values, np.float32)}


def at_once(scheduler, run, *requests, **options):
    """Ask with all requests while the only thread is busy with a first one; answers or errors in order."""
    run.gate.clear()
    options = {"deadline": None, **options}
    with ThreadPoolExecutor(len(requests) + 1) as pool:
        busy = pool.submit(scheduler.run, "key", run, rows(0))
        assert run.entered.wait(10)
        asked = []
        for count, request in enumerate(requests, start=1):
            asked.append(pool.submit(scheduler.run, "key", run, request, **options))
            while sum(len(b) for q in scheduler._queues.values() for b in q.batches) < count:
                if asked[-1].done():  # refused
                    break
                time.sleep(0.001)
        run.gate.set()
        busy.result()
        return [task.exception() or task.result()["y"].tolist() for task in asked]


def test_what_waits_for_a_thread_runs_together(scheduler):
    run = Doubling()
    answers = at_once(scheduler(), run, rows(1), rows(2, 3), rows(4))
    assert answers == [[2], [4, 6], [8]]
    assert run.sizes == [1, 4]


def test_a_batch_is_never_larger_than_allowed(scheduler):
    run = Doubling()
    at_once(scheduler(max_batch_size=3), run, rows(1), rows(2, 3), rows(4), rows(5))
    assert run.sizes == [1, 3, 2]


@contextmanager
def busy(scheduler):
    """One thread of the scheduler runs a batch of another model."""
    other = Doubling()
    other.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(scheduler.run, "other", other, rows(0))
        assert other.entered.wait(10)
        try:
            yield
        finally:
            other.gate.set()
            running.result()


def test_while_another_batch_runs_a_batch_waits_until_it_is_full(scheduler):
    run, batches = Doubling(), scheduler(max_batch_size=2, batch_timeout_micros=60_000_000, num_batch_threads=2)
    with busy(batches), ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda value: batches.run("key", run, rows(value)), (1, 2), timeout=30))
    assert run.sizes == [2]


def test_while_another_batch_runs_a_batch_waits_as_long_as_it_may(scheduler):
    run, batches = Doubling(), scheduler(batch_timeout_micros=200_000, num_batch_threads=2)
    with busy(batches):
        started = time.monotonic()
        batches.run("key", run, rows(1))
        assert time.monotonic() - started >= 0.2


def test_a_batch_waits_for_nobody_while_nothing_runs(scheduler):
    run, batches = Doubling(), scheduler(batch_timeout_micros=60_000_000, num_batch_threads=2)
    assert batches.run("key", run, rows(1))["y"].tolist() == [2]
    with ThreadPoolExecutor(1) as pool:
        with busy(batches):
            waiting = pool.submit(batches.run, "key", run, rows(2))
            while not batches._queues:
                time.sleep(0.001)
        assert waiting.result(10)["y"].tolist() == [4]  # the other batch has ended, the minute has not


def test_different_keys_and_shapes_do_not_mix(scheduler):
    run = Doubling()
    wide = {"x": np.ones((1, 2), np.float32)}
    assert at_once(scheduler(), run, rows(1), wide, rows(2)) == [[2], [[2, 2]], [4]]
    assert sorted(run.sizes) == [1, 1, 2]


def test_one_bad_request_fails_alone(scheduler):
    first, second, third = at_once(scheduler(), Doubling(), rows(1), rows(-1), rows(3))
    assert (first, third) == ([2], [6])
    assert second.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_full_queue_refuses(scheduler):
    # shared_batch_scheduler.h, Queue::Schedule: UNAVAILABLE, "... is full".
    run = Doubling()
    answers = at_once(scheduler(max_batch_size=1, max_enqueued_batches=2), run, rows(1), rows(2), rows(3))
    assert answers[:2] == [[2], [4]]
    assert answers[2].code is grpc.StatusCode.UNAVAILABLE
    assert "is full" in str(answers[2])


def test_who_waited_past_the_deadline_is_not_run(scheduler):
    run = Doubling()
    (late,) = at_once(scheduler(), run, rows(1), deadline=time.monotonic())
    assert late.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert run.sizes == [1]


def test_a_request_larger_than_a_batch(scheduler):
    run = Doubling()
    with pytest.raises(RequestError, match="Task size 3 is larger than maximum input batch size 2"):
        scheduler(max_batch_size=2).run("key", run, rows(1, 2, 3))
    short = scheduler(max_batch_size=10, max_execution_batch_size=2, max_enqueued_batches=2)
    with pytest.raises(RequestError, match="is full"):
        short.run("key", run, rows(1, 2, 3, 4, 5))
    assert short.run("key", run, rows(1, 2, 3))["y"].tolist() == [2, 4, 6]  # nothing of it is left
    split = scheduler(max_batch_size=10, max_execution_batch_size=2)
    assert split.run("key", run, rows(1, 2, 3, 4, 5))["y"].tolist() == [2, 4, 6, 8, 10]
    assert max(run.sizes) == 2


def test_padding_to_allowed_sizes(scheduler):
    run, batches = Doubling(), scheduler(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert batches.run("key", run, rows(1, 2, 3))["y"].tolist() == [2, 4, 6]
    assert batches.run("key", run, rows(1))["y"].tolist() == [2]
    assert run.sizes == [8, 2]


def test_inputs_of_different_length(scheduler):
    with pytest.raises(RequestError, match="equal 0th-dimension size"):
        scheduler().run("key", Doubling(), {**rows(1), "z": np.zeros(2)})


def test_a_model_may_bring_its_own_parameters(scheduler):
    run = Doubling()
    own = BatchingParameters(max_batch_size=4, max_execution_batch_size=1)
    scheduler().run("key", run, rows(1, 2, 3), parameters=own)
    assert run.sizes == [1, 1, 1]


@pytest.mark.parametrize("timeout", [0, 100, 3000])
@pytest.mark.parametrize("threads", [1, 3])
def test_random_loads_are_answered_row_by_row(timeout, threads):
    rng, run = np.random.default_rng(timeout + threads), Doubling()
    parameters = BatchingParameters(
        max_batch_size=7, max_execution_batch_size=5, max_enqueued_batches=1000, batch_timeout_micros=timeout,
        num_batch_threads=threads,
    )  # fmt: skip
    batches = BatchScheduler(parameters, Metrics())
    requests = [rng.integers(0, 1000, rng.integers(1, 8)).astype(np.float32) for _ in range(400)]

    def slow(inputs, deadline):
        time.sleep(float(inputs["x"][0]) * 1e-6)
        return run(inputs, deadline)

    def ask(number):
        return batches.run(number % 3, slow, {"x": requests[number]})["y"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(400), timeout=60))
    for sent, got in zip(requests, answers, strict=True):
        assert got.tolist() == (2 * sent).tolist()
    assert not batches._queues
    assert batches._running == 0


def test_stopping_runs_what_waits_and_refuses_the_rest(scheduler):
    batches = scheduler(batch_timeout_micros=60_000_000, num_batch_threads=2)
    with busy(batches), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(batches.run, "key", Doubling(), rows(1))
        while not batches._queues:
            time.sleep(0.001)
        batches.stop()
        assert waiting.result(10)["y"].tolist() == [2]
    with pytest.raises(RequestError, match="stopping"):
        batches.run("key", Doubling(), rows(1))


def test_the_file(tmp_path):
    path = tmp_path / "batching.config"
    path.write_text(
        "max_batch_size { value: 64 } batch_timeout_micros { value: 500 } num_batch_threads { value: 3 }\n"
        "allowed_batch_sizes: 8 allowed_batch_sizes: 16 thread_pool_name { value: 'pool' }\n"
        "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }\n"
    )
    read = BatchingParameters.read(path)
    assert (read.max_batch_size, read.largest, read.batch_timeout_micros, read.num_batch_threads) == (64, 16, 500, 3)
    assert (read.allowed_batch_sizes, read.thread_pool_name, read.max_enqueued_batches) == ((8, 16), "pool", 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "line 1"),
        ("max_batch_size { value: 0 }", "`max_batch_size` must lie in 1..16777216, got 0"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must grow and end with the largest batch, 8"),
        ("pad_variable_length_inputs: true", "`pad_variable_length_inputs`"),
        ("max_size { value: 3 }", "max_size"),
    ],
)
def test_files_that_cannot_be(tmp_path, text, message):
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(SettingError, match=message):
        BatchingParameters.read(path)
    with pytest.raises(SettingError, match="no batching configuration"):
        BatchingParameters.read(tmp_path / "absent")

"""Requests that arrive at about the same time run as one batch.

The options and their meaning are TensorFlow Serving's (batching/README.md, session_bundle_config.proto); so is the
queueing (tensorflow/core/kernels/batching_util/shared_batch_scheduler.h): a batch is run as soon as a thread is free
and it is full, or has waited `batch_timeout_micros`. Better here, so that nobody pays for somebody else's request:

* A batch waits for more only while another one runs.
* Inputs of different shapes wait in different queues instead of failing each other (FAILED_PRECONDITION there).
* If a batch fails, each of its requests is run alone, and only those at fault fail.
* A request whose deadline passed in the queue is dropped even where others of its batch still have time.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import grpc
import numpy as np

from kflare.io.arrays import AnyArray
from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.server.config_files import BatchingParameters
from kflare.serving.server.metrics import Metrics

Arrays = Mapping[str, AnyArray]
RunSignature = Callable[[Arrays, float | None], Arrays]
"""Runs a signature: inputs and the time (of `time.monotonic`) by which it must be done, to outputs."""


class _Turn(threading.Event):
    """Wakes the thread of a request when its tasks are done, or when it must run a batch."""

    running = False  # a batch, just now


@dataclass(eq=False)
class _Task:
    inputs: Arrays
    rows: int
    deadline: float | None
    turn: _Turn
    enqueued: float = field(default_factory=time.monotonic)
    answer: Future[Arrays] = field(default_factory=Future)


_Batch = list[_Task]


@dataclass(eq=False)
class _Queue:
    run: RunSignature
    parameters: BatchingParameters
    batches: deque[_Batch] = field(default_factory=deque)

    def room(self) -> int:
        """Rows that the youngest batch can still take."""
        return self.parameters.largest - _rows_of(self.batches[-1]) if self.batches else 0


class BatchScheduler:
    """Runs the batches of all models, `num_batch_threads` at a time, taking the queues in turn.

    It has no threads of its own: of the threads that wait for an answer, one runs the batch for all. To hand a request
    to another thread and its answer back would take longer than a small model runs.
    """

    def __init__(self, parameters: BatchingParameters, metrics: Metrics) -> None:
        self.parameters = parameters
        self._metrics = metrics
        self._lock = threading.Lock()  # held for moments, never while a batch runs
        self._queues: dict[Hashable, _Queue] = {}
        self._running = 0
        self._stopped = False

    def run(
        self, key: Hashable, run: RunSignature, inputs: Arrays, *, deadline: float | None = None,
        parameters: BatchingParameters | None = None
    ) -> Arrays:  # fmt: skip
        """Outputs of one request's inputs, run together with others of the same key, shapes and types.

        `run` runs a batch, and `parameters` are the model's own (without its thread pool), both the same for all
        requests of a key; `deadline` is of `time.monotonic`. `RequestError` INVALID_ARGUMENT: unequal numbers of rows,
        or more than `max_batch_size`; UNAVAILABLE: the queue is full; RESOURCE_EXHAUSTED: the deadline passed there.
        """
        parameters = parameters or self.parameters
        rows, most, largest = _rows(inputs), parameters.max_batch_size, parameters.largest
        self._metrics.observe(":tensorflow:serving:batching_session:input_batch_size", rows)
        if rows > most:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {most}")
        key = (key, *((name, array.dtype.str, array.shape[1:]) for name, array in sorted(inputs.items())))
        turn = _Turn()
        pieces = (
            {name: array[start : start + largest] for name, array in inputs.items()}
            for start in range(0, max(rows, 1), largest)
        )
        tasks = [_Task(piece, _rows(piece), deadline, turn) for piece in pieces]
        with self._lock:
            queue = self._queues.get(key) or _Queue(run, parameters)
            self._enqueue(queue, tasks)
            self._queues[key] = queue
        self._see_to(tasks, turn)
        results = [task.answer.result() for task in tasks]
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    def stop(self) -> None:
        """Refuse what comes; what waits is run at once."""
        with self._lock:
            self._stopped = True
            self._wake()

    def _enqueue(self, queue: _Queue, tasks: list[_Task]) -> None:
        if self._stopped:
            raise RequestError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        fresh = len(tasks) if len(tasks) > 1 else int(tasks[0].rows > queue.room() or not queue.batches)
        if fresh and len(queue.batches) + fresh > queue.parameters.max_enqueued_batches:
            message = "The batch scheduling queue to which this task was submitted is full"
            raise RequestError(grpc.StatusCode.UNAVAILABLE, message)
        for task in tasks:
            if not queue.batches or task.rows > queue.room():
                queue.batches.append([])
            queue.batches[-1].append(task)

    def _see_to(self, tasks: list[_Task], turn: _Turn) -> None:
        """Wait until the tasks are done, and meanwhile run what batches are due."""
        while True:
            with self._lock:
                turn.clear()
                if all(task.answer.done() for task in tasks):
                    return
                now = time.monotonic()
                taken = self._take(now) if self._running < self.parameters.num_batch_threads else None
                if taken is not None:
                    self._running += 1
                    turn.running = True
                pause = self._pause(now)
            if taken is None:
                turn.wait(pause)
                continue
            try:
                self._process(*taken)
            finally:
                with self._lock:
                    self._running -= 1
                    turn.running = False
                    self._wake()

    def _wake(self) -> None:
        """Let those who wait run the batches that are due."""
        now, free = time.monotonic(), self.parameters.num_batch_threads - self._running
        for queue in self._queues.values():
            for batch in queue.batches:
                if free <= 0:
                    return
                due = batch is not queue.batches[-1] or self._due(queue, now)
                waiting = (task.turn for task in batch if not task.turn.running)
                if due and (turn := next(waiting, None)):
                    turn.set()
                    free -= 1

    def _take(self, now: float) -> tuple[_Queue, _Batch] | None:
        for key, queue in self._queues.items():
            if self._due(queue, now):
                # To the end of the line, so that no model waits for all the batches of another.
                del self._queues[key]
                batch = queue.batches.popleft()
                if queue.batches:
                    self._queues[key] = queue
                return queue, batch
        return None

    def _due(self, queue: _Queue, now: float) -> bool:
        """Whether the oldest batch is to run now, given a free thread."""
        return self._running == 0 or len(queue.batches) > 1 or self._ripe_at(queue) <= now

    def _ripe_at(self, queue: _Queue) -> float:
        batch = queue.batches[0]
        if self._stopped or _rows_of(batch) >= queue.parameters.largest:
            return 0.0
        return batch[0].enqueued + queue.parameters.batch_timeout_micros / 1e6

    def _pause(self, now: float) -> float | None:
        """How long until another batch is due; those that are due already and wait for a free turn will be woken."""
        later = [ripe for queue in self._queues.values() if (ripe := self._ripe_at(queue)) > now]
        return min(later) - now if later else None

    def _process(self, queue: _Queue, batch: _Batch) -> None:
        now, tasks = time.monotonic(), []
        waited, pool = ":tensorflow:serving:batching_session:queuing_latency", self.parameters.thread_pool_name
        for task in batch:
            self._metrics.observe(waited, (now - task.enqueued) * 1e6, pool)
            if task.deadline is not None and task.deadline <= now:
                message = "Run() timeout exceeded while waiting in batching queue"
                task.answer.set_exception(RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message))
                task.turn.set()
            else:
                tasks.append(task)
        if len(tasks) > 1 and self._together(queue, tasks):
            return
        for task in tasks:
            try:
                task.answer.set_result(self._padded(queue, task.inputs, task.rows, task.deadline))
            except Exception as error:  # noqa: BLE001 - it is raised again where the request is answered
                task.answer.set_exception(error)
            task.turn.set()

    def _together(self, queue: _Queue, tasks: list[_Task]) -> bool:
        """Answer all tasks by one run; False where it fails, or its outputs do not belong to rows."""
        rows = _rows_of(tasks)
        deadlines = [task.deadline for task in tasks if task.deadline is not None]
        latest = max(deadlines) if len(deadlines) == len(tasks) else None
        try:
            merged = {name: np.concatenate([task.inputs[name] for task in tasks]) for name in tasks[0].inputs}
            outputs = self._padded(queue, merged, rows, latest)
        except Exception:  # noqa: BLE001 - which of them is at fault shows when each is run alone
            return False
        if any(array.ndim == 0 or len(array) != rows for array in outputs.values()):
            return False
        start = 0
        for task in tasks:
            task.answer.set_result({name: array[start : start + task.rows] for name, array in outputs.items()})
            start += task.rows
            task.turn.set()
        return True

    def _padded(self, queue: _Queue, inputs: Arrays, rows: int, deadline: float | None) -> Arrays:
        size = next((size for size in queue.parameters.allowed_batch_sizes if size >= rows), rows)
        self._metrics.count(":tensorflow:serving:batching_session:wrapped_run_count")
        self._metrics.observe(":tensorflow:serving:batching_session:processed_batch_size", size)
        self._metrics.observe(":tensorflow:serving:batching_session:padding_size", size - rows, str(size))
        if rows in {size, 0}:
            return queue.run(inputs, deadline)
        # A row that is there already is sure to be a valid one.
        filled = {name: np.concatenate([array, *[array[:1]] * (size - rows)]) for name, array in inputs.items()}
        return {name: array[:rows] for name, array in queue.run(filled, deadline).items()}


def _rows_of(batch: _Batch) -> int:
    return sum(task.rows for task in batch)


def _rows(inputs: Arrays) -> int:
    rows = {len(array) for array in inputs.values()}
    if len(rows) != 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return rows.pop()

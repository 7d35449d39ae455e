"""Worker processes on this machine: each loads the models once, and its death costs one object.

Tasks go to a worker in small batches, results come back over its own pipe. Before each object the
worker writes the object's number and the time into shared memory; when the process dies or its
heart stops beating, the supervisor knows which object did it, records `error:crash` or
`error:timeout` for exactly that one, starts a new worker and gives it the rest.
(`concurrent.futures` loses every queued task to one segfault; see docs/design.md.)
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from scanner.engines.work import CHUNK_ROWS, Rows, Setup, Task, Worker, outcome
from scanner.errors import ScannerError
from scanner.ledger import IS_OBJECT as _IS_OBJECT
from scanner.model import UNASSIGNED, Location

if TYPE_CHECKING:
    from ctypes import Array
    from multiprocessing.context import SpawnProcess

BATCH_OBJECTS = 64
BATCH_BYTES = 1 << 20  # a batch is sent once it holds this much, so big objects travel alone
BATCHES_AHEAD = 2  # per worker: one under way, one waiting, so that no worker waits for the parent
STALL_SECONDS = 300.0  # no sign of life for so long: the object is given up
LISTED_AHEAD = 20_000  # objects the listing may run ahead, so that the total is known early

_SPAWN = multiprocessing.get_context("spawn")
_IDLE = -1.0


@dataclass(slots=True)
class _Batch:
    number: int
    tasks: list[Task]
    done: int = 0  # tasks whose coverage row has arrived


@dataclass(slots=True)
class _Process:
    process: SpawnProcess
    pipe: Connection
    pulse: Array[Any]  # [batch number, index in batch, monotonic seconds of the last beat]
    batches: deque[_Batch] = field(default_factory=deque)
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; `listed_all` tells whether `listed` is the total."""

    listed: int
    done: int
    listed_all: bool


# ---------------------------------------------------------------- the worker's side


def _serve(pipe: Connection, pulse: Array[Any], setup: Setup) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as below, where the system cannot block it
    try:
        worker = Worker(setup)
    except ScannerError as error:
        pipe.send(("failed", str(error)))
        return
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone: so are we
        pipe.send(("ready", None))
        _serve_batches(pipe, pulse, worker)


def _serve_batches(pipe: Connection, pulse: Array[Any], worker: Worker) -> None:
    rows = Rows([], [], [])
    while True:
        batch: _Batch | None = pipe.recv()
        if batch is None:
            return

        sent = False

        def beat() -> None:
            nonlocal sent
            pulse[2] = time.monotonic()
            if len(rows) >= CHUNK_ROWS:
                _send(pipe, "rows", rows)
                sent = True

        for index, task in enumerate(batch.tasks):
            pulse[0], pulse[1], pulse[2] = batch.number, index, time.monotonic()
            sent = False
            worker.look(task, rows, beat)
            if sent or len(rows) >= CHUNK_ROWS:
                # An object is either reported whole or not at all when its successor dies.
                _send(pipe, "rows", rows)
        pulse[1] = _IDLE
        _send(pipe, "done", rows)


def _send(pipe: Connection, what: str, rows: Rows) -> None:
    pipe.send((what, (rows.coverage, rows.detections, rows.items)))
    rows.coverage, rows.detections, rows.items = [], [], []


# ---------------------------------------------------------------- the supervisor's side


class LocalEngine:
    """Runs tasks on `jobs` processes; `run` yields rows as they come, in no particular order."""

    def __init__(
        self,
        setup: Setup,
        jobs: int,
        locate: Callable[[Task], Location],
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._setup = setup
        self._jobs = jobs
        self._locate = locate
        self._stall = stall_seconds
        self._numbers = 0
        self._workers: list[_Process] = []
        self._retry: deque[list[Task]] = deque()
        self.listed = 0
        self.listed_all = False

    def run(
        self,
        tasks: Iterator[Task],
        stop: Callable[[], bool],
        tick: Callable[[], None],
    ) -> Iterator[Rows]:
        """Look at all tasks.

        `stop()` is asked several times a second; once true, what is under way is given up as
        `error:interrupted` and `run` ends. `tick()` is called as often, for a progress display. An
        exception of `tasks` (a listing that breaks off) is raised after all that was listed is
        done.
        """
        listing = _Listing(tasks)
        try:
            while True:
                self._feed(listing)
                self.listed, self.listed_all = listing.count, listing.finished
                if not any(w.batches for w in self._workers) and listing.empty and not self._retry:
                    break
                yield from self._collect()
                tick()
                if stop():
                    yield self._give_up(listing)
                    return
            if listing.error is not None:
                raise listing.error
        finally:
            listing.stop()
            self._end()

    def _feed(self, listing: _Listing) -> None:
        while self._room():
            tasks = self._retry.popleft() if self._retry else listing.batch()
            if not tasks:
                return
            worker = min(self._workers, key=lambda w: len(w.batches), default=None)
            if worker is None or (worker.batches and len(self._workers) < self._jobs):
                worker = self._start()
            self._numbers += 1
            batch = _Batch(self._numbers, tasks)
            worker.batches.append(batch)
            with suppress(OSError):  # it has just died: _collect buries it and saves its batches
                worker.pipe.send(batch)

    def _room(self) -> bool:
        if len(self._workers) < self._jobs:
            return True
        return any(len(w.batches) < BATCHES_AHEAD for w in self._workers)

    def _start(self) -> _Process:
        ours, theirs = _SPAWN.Pipe()
        pulse = _SPAWN.Array("d", [0.0, _IDLE, time.monotonic()], lock=False)
        process = _SPAWN.Process(
            target=_serve, args=(theirs, pulse, self._setup), daemon=True, name="consentry-worker"
        )
        with _without_ctrl_c():
            process.start()
        theirs.close()
        worker = _Process(process, ours, pulse)
        self._workers.append(worker)
        return worker

    def _collect(self) -> Iterator[Rows]:
        by_pipe = {w.pipe: w for w in self._workers}
        for pipe in wait(list(by_pipe), timeout=0.2):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                what, content = worker.pipe.recv()
            except (EOFError, OSError):
                yield self._bury(worker, "crash", "the decoder took its process down")
                continue
            if what == "failed":
                raise ScannerError(content)
            if what == "ready":
                worker.ready = True
                continue
            rows = Rows(*content)
            worker.batches[0].done += sum(row[_IS_OBJECT] for row in rows.coverage)
            if what == "done":
                worker.batches.popleft()
            yield rows
        now = time.monotonic()
        for worker in list(self._workers):
            working = worker.batches and worker.ready and worker.pulse[1] != _IDLE
            if working and now - worker.pulse[2] > self._stall:
                worker.process.kill()
                reason = f"no sign of life for {self._stall:.0f} seconds"
                yield self._bury(worker, "timeout", reason)

    def _bury(self, worker: _Process, reason: str, detail: str) -> Rows:
        """Record the object that did it; hand the others of its batches to the next worker."""
        worker.process.join(5)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        rows = Rows([], [], [])
        code = worker.process.exitcode
        if code == -signal.SIGTERM and reason == "crash":
            # Not the decoder: `timeout`, or whoever stops a whole process group
            reason, detail = "interrupted", "its worker process was told to stop"
        elif code == -signal.SIGKILL and reason == "crash":
            detail = "its worker process was killed, perhaps for lack of memory"
        if not worker.ready:
            raise ScannerError(f"a worker process could not start (exit code {code})")
        for batch in worker.batches:
            left = batch.tasks[batch.done :]
            if batch.number == worker.pulse[0] and worker.pulse[1] != _IDLE:
                culprit = batch.tasks[int(worker.pulse[1])]
                rows.coverage.append(self._row(culprit, reason, detail))
                # Objects before it are finished but not reported: they are looked at again.
                left = [task for task in left if task is not culprit]
            if left:
                self._retry.append(left)
        return rows

    def _row(self, task: Task, reason: str, detail: str) -> tuple[Any, ...]:
        dataset = self._setup.datasets[task.dataset].id if task.dataset >= 0 else UNASSIGNED
        return outcome(task, self._locate(task), dataset, "error", reason, detail)

    def _give_up(self, listing: _Listing) -> Rows:
        rows = Rows([], [], [])
        for worker in self._workers:
            worker.process.kill()
        left = [t for w in self._workers for b in w.batches for t in b.tasks[b.done :]]
        left += [t for tasks in self._retry for t in tasks]
        left += listing.rest()
        self.listed = listing.count
        for task in left:
            row = self._row(task, "interrupted", "the run was stopped before it was looked at")
            rows.coverage.append(row)
        return rows

    def _end(self) -> None:
        for worker in self._workers:
            with suppress(OSError):
                worker.pipe.send(None)
        for worker in self._workers:
            worker.process.join(2)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()


class _Listing:
    """Pulls tasks in a thread of its own, at most LISTED_AHEAD ahead, so that the total is known
    early.
    """

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks
        self._queue: queue.Queue[Task | None] = queue.Queue(LISTED_AHEAD)
        self._stopped = False
        self._over = False
        self.count = 0
        self.finished = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._pull, daemon=True, name="consentry-listing")
        self._thread.start()

    def _pull(self) -> None:
        try:
            for task in self._tasks:
                if not self._put(task):
                    return
                self.count += 1
        except BaseException as error:
            self.error = error
        finally:
            self.finished = True
            self._put(None)

    def _put(self, task: Task | None) -> bool:
        while not self._stopped:
            try:
                self._queue.put(task, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    @property
    def empty(self) -> bool:
        return self._over

    def batch(self) -> list[Task]:
        """The next tasks, without waiting long for the listing: [] when there is none just now."""
        tasks: list[Task] = []
        size = 0
        while len(tasks) < BATCH_OBJECTS and size < BATCH_BYTES and not self._over:
            try:
                task = self._queue.get(timeout=0 if tasks else 0.05)
            except queue.Empty:
                break
            if task is None:
                self._over = True
                break
            tasks.append(task)
            size += task.info.size
        return tasks

    def rest(self) -> list[Task]:
        self.stop()
        tasks = []
        while not self._queue.empty():
            task = self._queue.get_nowait()
            if task is not None:
                tasks.append(task)
        return tasks

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(2)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Children started herein never see Ctrl-C, which goes to the whole process group: only the
    parent answers it, however early it comes.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def usable_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Worker processes on this machine, supervised: whatever an object does, it costs only itself.

    tasks ──► sources (opened here) ──► workers (sandboxed) ──► results (checked) ──► rows

Each worker loads the models once, tells through a shared page which object it is at, and sends rows
back. When it dies, stalls or takes too long, exactly that object is tried once more in a fresh
worker; the second time it is `error: crash`, `timeout` or `memory`, and all others go on.
(`concurrent.futures` loses every queued task to one segfault; see docs/design.md.)
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scanner.engines import results, wire
from scanner.engines.ctimes import Ctimes
from scanner.engines.results import DETAIL, IS_OBJECT, LOOK, REASON, Dishonest, Naming
from scanner.engines.sources import AHEAD_BYTES, Source, Sources
from scanner.engines.work import CHUNK_ROWS, Job, Setup, Task
from scanner.errors import CredentialsExpired, ScannerError
from scanner.ledger import Rows
from scanner.model import CONTENT_REASONS, Reason
from scanner.stores import Store

WORKER = "scanner.engines.worker"  # the module whose `main` a worker runs
BATCH_OBJECTS = wire.MAX_FDS
BATCH_BYTES = 1 << 20  # a batch is sent once it holds this much, so big objects travel alone
BATCH_NAME_CHARACTERS = 32 << 10
SOCKET_BYTES = 128 << 10  # two batches must fit into it, else the second one waits here
BATCHES_AHEAD = 2  # per worker: one under way, one waiting, so that no worker waits for the parent
TASKS_AHEAD = 256  # listed and not yet opened
TICK_SECONDS = 0.2
HUNGRY_SECONDS = 0.02
SCAN_TIME_GRACE_SECONDS = 30  # a worker ends an object that takes too long itself; else this later
SEND_SECONDS = 60  # a worker that has nothing to do takes what it is handed; else it is ended
STRIKES = 2
LOSSES_BEFORE_ALONE = 3  # workers lost, by whatever: from then on an object is looked at alone
MOST_LOSSES = 8  # nor does one that hides behind others take down workers for ever
MOST_ROWS = 2 * CHUNK_ROWS  # of one message
START_SECONDS = 300  # a cold disk, a busy machine
MOST_FAILED_STARTS = 5  # workers killed while they started
MOST_MEMORY = 0.7  # of max_memory, from which on a death is put down to memory
_LAST = 2**31 - 1  # position of a row that stands after all others of its object
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# What a store may not do the next time, a few seconds later
_WORTH_ANOTHER_TRY: frozenset[Reason] = frozenset({"throttled", "changed", "timeout", "truncated"})
# All that a worker needs of our environment: what finds libraries, nothing that opens doors
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "DEEPFACE_HOME", "CONSENTRY_MODELS", "XDG_DATA_HOME", "CUDA_VISIBLE_DEVICES",
    "CONSENTRY_DEBUG", "SYSTEMROOT",
)  # fmt: skip
_ONE_THREAD = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ARROW_NUM_THREADS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from importlib import import_module; "
    "import_module(sys.argv[2]).main(int(sys.argv[3]), int(sys.argv[4]))"
)

Supply = Callable[[float], "list[Task] | None"]


@dataclass(slots=True)
class _Process:
    process: subprocess.Popen[bytes]
    sock: socket.socket
    hearing: wire.Hearing
    pulse: wire.Pulse
    batches: deque[int] = field(default_factory=deque)  # objects not yet reported, per batch sent
    sizes: deque[int] = field(default_factory=deque)  # bytes sent, per batch
    tasks: deque[Task] = field(default_factory=deque)  # all of them, in order
    first_since: float = 0.0  # when the first of `tasks` became the first
    started: float = field(default_factory=time.monotonic)
    ready: bool = False
    leaving: bool = False  # it said so: nobody's fault
    at: int = -1  # the object it was at when last looked at, since `at_since`
    at_since: float = 0.0
    held_bytes: int = 0  # memory beyond what it started with, when last looked at
    started_with_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; `listed_all` tells whether `listed` is the total."""

    listed: int
    done: int
    listed_all: bool


class LocalEngine:
    """Runs tasks on `jobs` processes; `run` yields rows as they come, in no particular order.

    `stores` are the targets, by `Task.store`; `name` tells what the rows of a task are called;
    `void(number, attempt)` is told when rows that were yielded no longer count.
    """

    def __init__(
        self,
        setup: Setup,
        jobs: int,
        stores: Sequence[Store],
        name: Callable[[Task], Naming],
        void: Callable[[int, int], None],
        worker: str | None = None,
    ) -> None:
        self._setup = setup
        self._jobs = jobs
        self._name = name
        self._void = void
        self._worker = worker or WORKER
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._sources = Sources(stores, jobs, self._wake)
        self._workers: list[_Process] = []
        self._tasks: deque[Task] = deque()  # to be opened
        self._opened: deque[Source] = deque()  # to be sent
        self._alone: deque[Task] = deque()  # whose worker died: next, in a batch of their own
        self._later: list[Task] = []  # whose store failed: once more at the end
        self._fresh: set[int] = set()  # objects whose rows must not stand for a later look
        self._names: dict[int, Naming] = {}  # of objects under way
        self._remarks: dict[int, str] = {}  # on objects that were replaced after they were listed
        self._partly: set[int] = set()  # objects of which some rows have been yielded already
        self._supplied_all = False
        self._failed_starts = 0
        self._ctimes = Ctimes()
        self.sandboxes: set[str] = set()  # levels that the workers reported
        self.paused: CredentialsExpired | None = None
        self.unreached = 0  # objects given up because of that

    def run(
        self, supply: Supply, stop: Callable[[], bool], tick: Callable[[], None]
    ) -> Iterator[Rows]:
        """Look at all tasks.

        `supply(seconds)` gives more tasks, waiting at most so long: [] if there are none just now,
        None when there are no more. `stop()` is asked several times a second; once true, what is
        under way is given up as `error:interrupted` and `run` ends. `tick()` is called as often,
        for a progress display. When credentials expire, what was opened is finished, `paused`
        tells, and `unreached` objects have no rows.
        """
        try:
            while True:
                self._take(supply)
                self._open()
                self._send()
                if not self._busy and self._supplied_all:
                    if not self._later:
                        return
                    self._tasks.extend(self._later)
                    self._later.clear()
                    continue
                yield from self._collect()
                tick()
                if stop():
                    yield from self._give_up()
                    return
        finally:
            self._end()

    @property
    def _busy(self) -> bool:
        return bool(
            self._tasks or self._alone or self._opened or self._sources.tasks
            or any(w.tasks for w in self._workers)
        )  # fmt: skip

    # ------------------------------------------------------------ towards the workers

    def _take(self, supply: Supply) -> None:
        while not self._supplied_all and len(self._tasks) < TASKS_AHEAD:
            tasks = supply(0 if self._busy else TICK_SECONDS)
            if tasks is None:
                self._supplied_all = True
            elif not tasks:
                return
            elif self.paused is not None:
                self.unreached += len(tasks)
            else:
                self._tasks.extend(tasks)

    def _open(self) -> None:
        try:
            self._opened.extend(self._sources.opened())
            self.paused = self.paused or self._sources.expired
            room = sum(s.task.info.size for s in self._opened if s.kind == "bytes") < AHEAD_BYTES
            while room and self.paused is None and self._tasks and self._has_room():
                source = self._sources.open(self._tasks[0])
                self._tasks.popleft()
                if source is not None:
                    self._opened.append(source)
        except CredentialsExpired as error:  # its task is still the first one
            self.paused = self.paused or error
        if self.paused is not None:
            # What is being opened in threads comes out of there, opened or refused at once.
            self.unreached += len(self._tasks) + len(self._later) + self._sources.refused
            self._sources.refused = 0
            self._tasks.clear()
            self._later.clear()
            self._supplied_all = True

    def _has_room(self) -> bool:
        return self._sources.has_room() and len(self._opened) < 2 * BATCH_OBJECTS

    def _send(self) -> None:
        while self._alone:
            worker = self._free(0)
            if worker is None:
                break
            task = self._alone.popleft()
            try:
                source = self._sources.open(task)
            except CredentialsExpired as error:
                self.paused = self.paused or error
                self.unreached += 1
                continue
            if source is not None and not self._hand(worker, [source]):
                source.close()
                self._alone.appendleft(task)
                break
        while self._opened:
            worker = self._free(0 if _suspect(self._opened[0].task) else BATCHES_AHEAD - 1)
            if worker is None:
                return
            batch = self._batch()
            if batch and not self._hand(worker, batch):
                self._opened.extendleft(reversed(batch))
                return

    def _batch(self) -> list[Source]:
        batch: list[Source] = []
        size = characters = 0
        while self._opened and len(batch) < BATCH_OBJECTS and size < BATCH_BYTES:
            source = self._opened.popleft()
            problem, task = source.problem, source.task
            if problem is not None and problem[0] in _WORTH_ANOTHER_TRY and not task.again:
                self._later.append(replace(task, again=True))
                continue
            if _suspect(task):
                if not batch:
                    return [source]
                self._opened.appendleft(source)
                break
            batch.append(source)
            size += task.info.size
            characters += 2 * len(task.info.key)
            if characters > BATCH_NAME_CHARACTERS:
                break
        return batch

    def _free(self, most_batches: int) -> _Process | None:
        """A worker with at most so many batches before it, a new one if there may be more."""
        free = [w for w in self._workers if w.ready and not w.leaving]
        worker = min(free, key=lambda w: len(w.batches), default=None)
        if worker is not None and not worker.batches:
            return worker
        starting = sum(not w.ready for w in self._workers)
        if len(self._workers) < self._jobs and starting < self._batches_waiting():
            self._start_one_more()
        return worker if worker is not None and len(worker.batches) <= most_batches else None

    def _batches_waiting(self) -> float:
        size = sum(source.task.info.size for source in self._opened)
        return len(self._opened) / BATCH_OBJECTS + size / BATCH_BYTES + len(self._alone)

    def _hand(self, worker: _Process, batch: Sequence[Source]) -> bool:
        """False if it cannot be sent now; never waits for a worker that has something to do."""
        data = wire.packed([self._job(source) for source in batch])
        if worker.batches and sum(worker.sizes) + len(data) > SOCKET_BYTES:
            return False
        worker.sock.settimeout(SEND_SECONDS)
        try:
            wire.send(worker.sock, data, [s.fd for s in batch if s.fd >= 0])
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:  # a limit over all workers: some will take theirs
                return False
            worker.process.kill()  # _collect buries it and saves its tasks
        worker.sock.settimeout(None)
        if not worker.tasks:
            worker.first_since = time.monotonic()
        worker.batches.append(len(batch))
        worker.sizes.append(len(data))
        worker.tasks.extend(source.task for source in batch)
        for source in batch:
            source.close()
        return True

    def _job(self, source: Source) -> Job:
        task = source.task
        info = task.info
        if source.kind == "file" and not self._ctimes.tell(info.version, source.fd):
            self._fresh.add(task.number)
        if source.remark is not None:
            self._remarks[task.number] = source.remark
        return Job(
            number=task.number,
            attempt=task.attempt,
            dataset=task.dataset,
            key=info.key,
            size=info.size,
            version=info.version,
            location=self._named(task).root,
            kind=source.kind,
            problem=source.problem,
        )

    def _start_one_more(self) -> None:
        try:
            self._start()
        except OSError as error:  # too many files or processes: those that there are go on
            if not self._workers:
                why = error.strerror or type(error).__name__
                raise ScannerError(
                    f"no worker process can be started ({why}); see ulimit, or try --jobs 1"
                ) from None
            self._jobs = len(self._workers)

    def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)  # Linux doubles it
        pulse = wire.Pulse.make()
        environment = {n: os.environ[n] for n in _ENVIRONMENT if n in os.environ}
        environment |= dict.fromkeys(_ONE_THREAD, "1")
        paths = json.dumps([str(Path(path).absolute()) for path in sys.path])
        arguments = [paths, self._worker, str(theirs.fileno()), str(pulse.fd)]
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, *arguments],
            env=environment,
            pass_fds=(theirs.fileno(), pulse.fd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Libraries print what they please, also pieces of what they read: not in our output
            stderr=None if os.environ.get("CONSENTRY_DEBUG") else subprocess.DEVNULL,
            process_group=0,  # Ctrl-C goes to the whole group: only the parent answers it
        )
        theirs.close()
        worker = _Process(process, ours, wire.Hearing(ours), pulse)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        with suppress(OSError):
            wire.send(ours, wire.packed(self._setup))
        return worker

    # ------------------------------------------------------------ from the workers

    def _wake(self) -> None:
        with suppress(OSError):
            self._wake_out.send(b"\0", socket.MSG_DONTWAIT)

    def _collect(self) -> Iterator[Rows]:
        seconds = 0.0 if not self._busy else TICK_SECONDS
        if not self._supplied_all and any(w.ready and not w.tasks for w in self._workers):
            seconds = min(seconds, HUNGRY_SECONDS)  # the listing does not wake us
        for chosen, _ in self._selector.select(seconds):
            worker: _Process | None = chosen.data
            if worker is None:
                self._wake_in.recv(4096)
                continue
            try:
                for what, content in worker.hearing.frames():
                    yield from self._hear(worker, what, content)
            except EOFError:
                yield from self._bury(worker, "crash", "the decoder took its process down")
            except (ValueError, TypeError, LookupError, RecursionError, Dishonest):
                worker.process.kill()
                lied = "its worker said what no worker says"
                yield from self._bury(worker, "crash", lied, killed=True)
        now = time.monotonic()
        for worker in list(self._workers):
            if (why := self._overdue(worker, now)) is not None:
                worker.process.kill()
                yield from self._bury(worker, "timeout", why, killed=True)

    def _hear(self, worker: _Process, what: str, content: Any) -> Iterator[Rows]:
        match what:
            case "said":
                yield from self._rows(worker, content)
            case "ready" if not worker.ready:  # later, it may no longer be ours that speaks
                worker.ready = True
                worker.started_with_bytes = _data_bytes(worker.process.pid)
                self.sandboxes.add(str(content)[:200])
            case "failed" if not worker.ready:
                raise ScannerError(str(content))
            case "bye":
                worker.leaving = True
                worker.process.kill()  # should it not go
            case _:
                raise Dishonest

    def _rows(self, worker: _Process, content: Any) -> Iterator[Rows]:
        """Rows of the ledger out of what a worker said of its own tasks, checked."""
        objects, nested, detections, items = content
        if len(objects) + len(nested) + len(detections) + len(items) > MOST_ROWS:
            raise Dishonest
        tasks = {task.number: task for task in worker.tasks}

        def of(said: Any) -> tuple[Task, Naming]:
            number, attempt = said[0], said[1]
            task = tasks.get(number) if type(number) is int else None
            if task is None or attempt != task.attempt:
                raise Dishonest
            return task, self._named(task)

        by_store: dict[int, Rows] = {}

        def rows_of(task: Task) -> Rows:
            return by_store.setdefault(task.store, Rows(task.store, [], [], []))

        for said in detections:
            task, name = of(said)
            rows_of(task).detections.append(results.detection_row(task, name, said))
        for said in items:
            task, name = of(said)
            rows_of(task).items.append(results.item_row(task, name, said))
        for said in nested:
            task, name = of(said)
            row = results.nested_row(task, name, said)
            rows_of(task).coverage.append(row)
            if row[REASON] not in CONTENT_REASONS:
                self._fresh.add(task.number)
        finished = []
        for said, expected in zip(objects, worker.tasks, strict=False):
            task, name = of(said)
            if task is not expected:
                raise Dishonest
            spread = task.number in self._partly
            finished.append((task, *results.object_row(task, name, said, spread)))
        if len(finished) < len(objects):
            raise Dishonest
        # All was honest: only from here on objects are done
        dropped = set()
        for task, row, store_failed in finished:
            worker.tasks.popleft()
            worker.first_since = time.monotonic()
            worker.batches[0] -= 1
            if not worker.batches[0]:
                worker.batches.popleft()
                worker.sizes.popleft()
            if store_failed and not task.again and row[REASON] in _WORTH_ANOTHER_TRY:
                dropped.add(task.number)
                self._later.append(replace(self._afresh(task), again=True))
                continue
            self._partly.discard(task.number)
            del self._names[task.number]
            rows_of(task).coverage.append(self._remarked(task, row))
        for rows in by_store.values():
            if dropped:
                rows.coverage = [row for row in rows.coverage if row[0] not in dropped]
                rows.detections = [row for row in rows.detections if row[0] not in dropped]
                rows.items = [row for row in rows.items if row[0] not in dropped]
            done = {row[0] for row in rows.coverage if row[IS_OBJECT]}
            tagged = (*rows.coverage, *rows.detections, *rows.items)
            self._partly.update({row[0] for row in tagged} - done)
            yield rows

    def _named(self, task: Task) -> Naming:
        name = self._names.get(task.number)
        if name is None:
            name = self._names[task.number] = self._name(task)
        return name

    def _remarked(self, task: Task, row: results.Row) -> results.Row:
        passing = row[REASON] is not None and row[REASON] not in CONTENT_REASONS
        if passing or task.number in self._fresh:
            self._fresh.discard(task.number)
            row = (*row[:LOOK], "", *row[LOOK + 1 :])
        remark = self._remarks.pop(task.number, None)
        if remark is None:
            return row
        detail = remark if row[DETAIL] is None else f"{remark}; {row[DETAIL]}"
        return (*row[:DETAIL], detail, *row[DETAIL + 1 :])

    def _afresh(self, task: Task) -> Task:
        """To be looked at again: rows of this look that are with the ledger count no longer."""
        self._remarks.pop(task.number, None)
        self._fresh.discard(task.number)
        if task.number not in self._partly:
            return task
        self._partly.discard(task.number)
        self._void(task.number, task.attempt)
        return replace(task, attempt=task.attempt + 1)

    def _overdue(self, worker: _Process, now: float) -> str | None:
        """Why a worker has to be ended, if it has to."""
        if not worker.ready:
            late = now - worker.started > START_SECONDS
            return f"it did not start within {START_SECONDS} seconds" if late else None
        number = worker.pulse.number
        if number != worker.at:
            worker.at, worker.at_since = number, now
        if not worker.tasks:
            return None
        # 0 while it ends: its memory goes before its socket does
        worker.held_bytes = _data_bytes(worker.process.pid) or worker.held_bytes
        limits = self._setup.limits
        scan, stall = limits.max_scan_time + SCAN_TIME_GRACE_SECONDS, limits.max_stall_time
        # What the page says may be a lie; which objects were reported is not.
        late = now - worker.first_since > scan + SCAN_TIME_GRACE_SECONDS
        if late or (number >= 0 and now - worker.at_since > scan):
            return f"looked at for more than {limits.max_scan_time} seconds (max_scan_time)"
        if number < 0:
            silent = now - max(worker.at_since, worker.first_since) > stall
        else:
            silent = not worker.pulse.waiting and now - worker.pulse.last > stall
        return f"no sign of life for {stall} seconds (max_stall_time)" if silent else None

    # ------------------------------------------------------------ deaths and ends

    def _bury(
        self, worker: _Process, reason: Reason, detail: str, *, killed: bool = False
    ) -> Iterator[Rows]:
        """Give the object that did it another try or its row; the others go to other workers.

        `killed`: by us, for `detail`.
        """
        peak_bytes = _ended(worker.process, 0 if killed else 5)
        worker.held_bytes = max(worker.held_bytes, peak_bytes)
        self._forget(worker)
        code = worker.process.returncode
        if not worker.ready:
            worker.pulse.close()
            self._failed_starts += 1
            if code >= 0 or self._failed_starts > MOST_FAILED_STARTS:
                hint = "CONSENTRY_DEBUG=1 shows why"
                raise ScannerError(f"a worker process could not start (exit code {code}); {hint}")
            return  # somebody killed it: another one is started
        number = worker.pulse.number
        worker.pulse.close()
        if not killed:
            reason, detail = _cause(worker, code, self._setup.limits.max_memory, detail)
        for task in reversed(worker.tasks):
            if task.number == number and not worker.leaving:
                if task.strikes + 1 < STRIKES:
                    self._alone.append(replace(self._afresh(task), strikes=task.strikes + 1))
                else:
                    yield self._row(task, reason, f"{detail}; {STRIKES} times")
            elif task.losses < MOST_LOSSES:
                # Those before it may be finished, but they were not reported: once more.
                lost = replace(self._afresh(task), losses=task.losses + 1)
                if _suspect(lost):
                    self._alone.append(lost)
                else:
                    self._tasks.appendleft(lost)
            else:
                yield self._row(task, reason, f"{detail}; {task.losses + 1} workers ended with it")

    def _row(self, task: Task, reason: Reason, detail: str) -> Rows:
        # What was seen of it until then stays.
        spread = task.number in self._partly
        row = results.coverage(
            task, self._named(task), "error", reason, detail, position=_LAST, spread=spread
        )
        return Rows(task.store, [self._remarked(task, row)], [], [])

    def _give_up(self) -> Iterator[Rows]:
        for worker in self._workers:
            worker.process.kill()
        left = [task for worker in self._workers for task in worker.tasks]
        left += [source.task for source in self._opened]
        left += [*self._sources.tasks, *self._alone, *self._tasks, *self._later]
        for task in left:
            yield self._row(task, "interrupted", "the run was stopped before it was looked at")

    def _forget(self, worker: _Process) -> None:
        self._selector.unregister(worker.sock)
        worker.sock.close()
        self._workers.remove(worker)

    def _end(self) -> None:
        for worker in list(self._workers):
            self._forget(worker)  # its socket is closed: it ends by itself
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(2)
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
            worker.pulse.close()
        for source in self._opened:
            source.close()
        self._sources.close()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()


def _cause(worker: _Process, code: int, max_memory: int, detail: str) -> tuple[Reason, str]:
    """What a death is put down to."""
    most = MOST_MEMORY * max_memory
    if code != -signal.SIGTERM and worker.held_bytes - worker.started_with_bytes > most:
        return "memory", "it needed more memory than a worker may have (max_memory)"
    if code == -signal.SIGKILL:
        return "crash", "its worker process was killed, perhaps for lack of memory"
    if code == -signal.SIGTERM:
        # Not the decoder: `timeout`, or whoever stops a whole process group
        return "interrupted", "its worker process was told to stop"
    return "crash", detail


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for a process, end it if it takes longer; the most memory it held, in bytes."""
    until = time.monotonic() + seconds
    with suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_maxrss * MAXRSS_BYTES
            if time.monotonic() > until:
                process.kill()
            time.sleep(0.01)
    process.wait()
    return 0


def _suspect(task: Task) -> bool:
    """Whether workers end with an object, so that it is looked at in a batch of its own."""
    return task.strikes > 0 or task.losses >= LOSSES_BEFORE_ALONE


def _data_bytes(pid: int) -> int:
    """Memory that a process has written to; 0 where the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[5]
    except (OSError, IndexError):
        return 0
    return int(pages) * PAGE_BYTES


def usable_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

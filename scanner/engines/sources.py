"""Opens objects for workers: whatever the store, a worker gets one open file.

file    a local file itself
bytes   a small remote object, fetched whole into memory
ranges  a large remote object: a socket on which the parent answers "bytes from … on"
none    nothing to read: empty, or it could not be opened
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from scanner.engines import wire
from scanner.engines.work import Task
from scanner.errors import CredentialsExpired, StoreError
from scanner.model import Reason
from scanner.stores import Store
from scanner.stores.local import LocalStore

Kind = Literal["file", "bytes", "ranges", "none"]
Expired = Callable[[CredentialsExpired], None]
WHOLE_BYTES = (
    8 << 20
)  # remote objects up to this size are fetched whole, while others are looked at
AHEAD_BYTES = 64 << 20  # fetched and not yet looked at
FETCHES_PER_JOB = 4


@dataclass(frozen=True, slots=True)
class Source:
    """An object opened for its worker; `fd` belongs to whoever holds this."""

    task: Task  # as it is now, if it was replaced after it was listed
    kind: Kind
    fd: int = -1
    problem: tuple[Reason, str] | None = None
    remark: str | None = None  # goes to the coverage row of an object that was replaced

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def open_source(store: Store, task: Task, expired: Expired) -> Source:
    """Open an object; one that was replaced after it was listed is opened as it is now.

    What goes wrong is the source's `problem`. Raises CredentialsExpired only; `expired` is told
    where that happens later, while the object is being read.
    """
    remark = None
    for last in (False, True):
        try:
            source = _open(store, task, expired)
            return source if remark is None else replace(source, remark=remark)
        except CredentialsExpired as error:
            error.store = task.store
            raise
        except StoreError as error:
            if error.reason != "changed" or last:
                return Source(task, "none", problem=(error.reason, error.detail))
        except OSError as error:
            kind = f"it could not be opened ({type(error).__name__})"
            return Source(task, "none", problem=("denied", kind))
        try:
            now = store.renewed(task.info)
        except CredentialsExpired as error:
            error.store = task.store
            raise
        except StoreError as error:
            return Source(task, "none", problem=(error.reason, error.detail))
        if now is None:
            return Source(task, "none", problem=("vanished", "listed, but no longer there"))
        if now.problem is not None:
            return Source(task, "none", problem=now.problem)
        remark = f"replaced after it was listed (was {task.info.version or 'unversioned'})"
        task = replace(task, info=now)
    raise AssertionError  # the loop returns


def _open(store: Store, task: Task, expired: Expired) -> Source:
    local = isinstance(store, LocalStore)
    if task.info.size == 0 and not local:
        # An empty object has a name but no bytes; opening it would only cost a request. Local
        # files are opened: those of /proc and of some mounts say 0 and have content.
        return Source(task, "none")
    stream = store.open(task.info)
    if local:
        with stream:
            return Source(task, "file", os.dup(stream.fileno()))
    if task.info.size <= WHOLE_BYTES:
        with stream:
            data = stream.read()
            failure = getattr(stream, "failure", None)
        if isinstance(failure, StoreError):
            raise failure
        return Source(task, "bytes", _in_memory(data))
    return Source(task, "ranges", _served(stream, task.store, expired))


def _in_memory(data: bytes) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("object")
        with io.FileIO(fd, "wb", closefd=False) as memory:
            view = memoryview(data)
            while view:
                view = view[memory.write(view) :]
        return fd
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return os.dup(file.fileno())


def _served(stream: BinaryIO, store: int, expired: Expired) -> int:
    ours, theirs = socket.socketpair()
    arguments = (stream, ours, store, expired)
    threading.Thread(target=_serve, args=arguments, daemon=True, name="ranges").start()
    return theirs.detach()


def _serve(stream: BinaryIO, sock: socket.socket, store: int, expired: Expired) -> None:
    with stream, sock, contextlib.suppress(EOFError, OSError):
        while True:
            position, count = wire.asked_range(sock)
            try:
                stream.seek(position)
                data = stream.read(min(count, WHOLE_BYTES))
            except StoreError as error:
                if isinstance(error, CredentialsExpired):
                    error.store = store
                    expired(error)
                wire.answer_range(sock, b"", (error.reason, error.detail))
            except Exception as error:  # drivers fail in odd ways; their texts may hold hosts
                detail = f"reading failed ({type(error).__name__})"
                wire.answer_range(sock, b"", ("truncated", detail))
            else:
                failure = None if data else ("truncated", f"ends at byte {position}")
                wire.answer_range(sock, data, failure)


class Sources:
    """Opens tasks ahead of the workers: local files at once, others in threads.

    The threads are daemons: a store that hangs does not keep the program from ending.
    """

    def __init__(self, stores: Sequence[Store], jobs: int, wake: Callable[[], None]) -> None:
        self._stores = stores
        self._wake = wake
        self._most = FETCHES_PER_JOB * jobs
        self._asked: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[tuple[Task, Source | BaseException]]
        self._answered = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._waiting: dict[int, Task] = {}  # by number
        self._bytes = 0
        self._closed = False
        self.refused = 0  # tasks that could not be opened because the credentials have expired
        self.expired: CredentialsExpired | None = None

    @property
    def tasks(self) -> list[Task]:
        """Those that are being opened."""
        return list(self._waiting.values())

    def has_room(self) -> bool:
        return len(self._waiting) < self._most and self._bytes < AHEAD_BYTES

    def open(self, task: Task) -> Source | None:
        """The opened object, or None: it comes out of `opened` later."""
        store = self._stores[task.store]
        if isinstance(store, LocalStore) or task.info.size == 0:
            return open_source(store, task, self._expire)
        if len(self._threads) < min(self._most, len(self._waiting) + 1):
            thread = threading.Thread(target=self._fetch, daemon=True, name="fetch")
            thread.start()
            self._threads.append(thread)
        self._waiting[task.number] = task
        self._bytes += _held(task)
        self._asked.put(task)
        return None

    def _fetch(self) -> None:
        while (task := self._asked.get()) is not None:
            try:
                answer: Source | BaseException = open_source(
                    self._stores[task.store], task, self._expire
                )
            except BaseException as error:
                answer = error
            if self._closed:
                if isinstance(answer, Source):
                    answer.close()
                return
            self._answered.put((task, answer))
            self._wake()

    def _expire(self, error: CredentialsExpired) -> None:
        self.expired = error

    def opened(self) -> Iterator[Source]:
        """What has been opened since; what was refused for want of credentials is only counted."""
        with contextlib.suppress(queue.Empty):
            while True:
                task, answer = self._answered.get_nowait()
                del self._waiting[task.number]
                self._bytes -= _held(task)
                if isinstance(answer, CredentialsExpired):
                    self.refused += 1
                    self.expired = answer
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    yield answer

    def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._asked.put(None)
        with contextlib.suppress(queue.Empty):
            while True:
                _, answer = self._answered.get_nowait()
                if isinstance(answer, Source):
                    answer.close()


def _held(task: Task) -> int:
    return min(task.info.size, WHOLE_BYTES)

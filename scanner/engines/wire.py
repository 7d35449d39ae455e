"""How the parent and a worker talk: frames over one Unix socket, files handed over beside them.

Parent to worker: pickles (the parent is trusted) with open file descriptors. Worker to parent:
JSON, because whoever unpickles what a worker says runs its code.
"""

from __future__ import annotations

import array
import json
import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

MAX_FDS = 64  # in one frame; the kernel takes 253
MAX_FRAME_BYTES = 64 << 20  # of a worker: a longer one is no honest frame (work.CHUNK_CHARACTERS)
RECEIVE_BYTES = 1 << 20

_HEADER = struct.Struct("<II")  # bytes, file descriptors
_LENGTH = struct.Struct("<I")
_RANGE = struct.Struct("<QI")  # position, count
_ANSWER = struct.Struct("<BI")  # 0 bytes, 1 failure; length


# ---------------------------------------------------------------- parent to worker


def packed(what: object) -> bytes:
    """The content of a frame."""
    return pickle.dumps(what)


def send(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send one frame of `packed` content with file descriptors beside it.

    Raises OSError when the worker is gone, or does not listen as long as the socket's timeout;
    ETOOMANYREFS, before anything is sent, when too many descriptors are on their way.
    """
    header = _HEADER.pack(len(data), len(fds))
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = sock.sendmsg([header], rights)
        header = header[sent:]
    sock.sendall(header + data)


def receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """The next frame. Raises EOFError when the parent is gone."""
    fds: list[int] = []
    header = b""
    while len(header) < _HEADER.size:
        size = _HEADER.size - len(header)
        data, found, _, _ = socket.recv_fds(sock, size, MAX_FDS)
        fds += found
        if not data:
            raise EOFError
        header += data
    length, _ = _HEADER.unpack(header)
    return pickle.loads(_exactly(sock, length)), fds


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    with memoryview(data) as view:
        filled = 0
        while filled < length:
            count = sock.recv_into(view[filled:])
            if not count:
                raise EOFError
            filled += count
    return bytes(data)


# ---------------------------------------------------------------- worker to parent


def say(sock: socket.socket, what: str, content: object) -> None:
    """Send one frame of JSON. Raises OSError when the parent is gone."""
    data = json.dumps([what, content], separators=(",", ":"), default=_plain).encode("ascii")
    sock.sendall(_LENGTH.pack(len(data)) + data)


def _plain(value: Any) -> Any:
    """Numbers of numpy."""
    return value.item()


class Hearing:
    """Frames of one worker, put together from whatever pieces arrive; never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = bytearray()

    def frames(self) -> Iterator[tuple[str, Any]]:
        """What can be read now. Raises EOFError at the end, ValueError if it is no honest frame."""
        try:
            data = self._sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > MAX_FRAME_BYTES:
                raise ValueError("a frame beyond all measure")
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            frame = json.loads(bytes(self._data[_LENGTH.size : end]))
            del self._data[:end]
            if not isinstance(frame, list) or len(frame) != 2 or not isinstance(frame[0], str):
                raise ValueError("not a frame")
            yield frame[0], frame[1]


# ---------------------------------------------------------------- ranges of a large object


def ask_range(sock: socket.socket, position: int, count: int) -> tuple[bytes, list[str] | None]:
    """The worker's side: some bytes, or [reason, detail]. Raises EOFError, OSError."""
    sock.sendall(_RANGE.pack(position, count))
    failed, length = _ANSWER.unpack(_exactly(sock, _ANSWER.size))
    data = _exactly(sock, length)
    return (b"", json.loads(data)) if failed else (data, None)


def asked_range(sock: socket.socket) -> tuple[int, int]:
    """The parent's side: position and count. Raises EOFError when the worker is done."""
    position, count = _RANGE.unpack(_exactly(sock, _RANGE.size))
    return position, count


def answer_range(sock: socket.socket, data: bytes, failure: tuple[str, str] | None = None) -> None:
    """Raises OSError when the worker is gone."""
    if failure is not None:
        data = json.dumps(failure).encode("ascii")
    sock.sendall(_ANSWER.pack(failure is not None, len(data)) + data)


# ---------------------------------------------------------------- the heartbeat


class Pulse:
    """A page that parent and worker share: the object under way, the last beat, whether it waits.

    Times are seconds of the monotonic clock, which is the same in all processes.
    """

    IDLE = -1.0

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._page = mmap.mmap(fd, mmap.PAGESIZE)
        self._values = memoryview(self._page).cast("d")

    @classmethod
    def make(cls) -> Pulse:
        """Raises OSError."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("pulse", 0)
        else:
            fd, name = tempfile.mkstemp()
            os.unlink(name)  # noqa: PTH108 - a name that mkstemp gave
        os.ftruncate(fd, mmap.PAGESIZE)
        pulse = cls(fd)
        pulse.rest()
        return pulse

    def begin(self, number: int, now: float) -> None:
        self._values[1] = now
        self._values[0] = number

    def rest(self) -> None:
        self._values[0] = self.IDLE

    def beat(self, now: float) -> None:
        self._values[1] = now

    def wait(self, waiting: bool) -> None:
        """The worker waits for the parent's bytes: no stall of its own."""
        self._values[2] = waiting

    @property
    def number(self) -> int:
        """The object under way, -1 if none; a worker may write anything here."""
        value = self._values[0]
        return int(value) if -1 <= value < 2**53 else -1

    @property
    def last(self) -> float:
        return self._values[1]

    @property
    def waiting(self) -> bool:
        return bool(self._values[2])

    def close(self) -> None:
        self._values.release()
        self._page.close()
        os.close(self.fd)

"""Decodes pictures for a person to look at, in a process that is locked in like a worker.

What lies in a store may be made to take a decoder over. So bytes go to a process that can open
nothing, and what comes back is a width, a height and that many RGB pixels, which are counted before
they are believed. A process that dies or hangs over a picture costs that picture.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from scanner.engines import wire
from scanner.engines.sandbox import isolate
from scanner.errors import Unreadable
from scanner.model import Blob, Limits, Location, Picture, ReadOptions

MAX_BYTES = 64 << 20  # of one file
TIMEOUT_SECONDS = 60.0
_START_SECONDS = 120.0  # it loads every reader first
_MAX_SIDE_PX = 1 << 15
_MAX_PIXELS = 1 << 26  # that come back: a panorama is reduced on its long side only
_MAX_MEMORY = 2 << 30  # bytes
_ANSWER = struct.Struct("<II")  # width, height; 0, 0: nothing to show

# What finds libraries, nothing that opens doors
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "CONSENTRY_DEBUG", "SYSTEMROOT",
)  # fmt: skip
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from scanner.engines.viewing import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


class Viewer:
    """One process that decodes; a context manager, as the process has to end with it."""

    def __init__(self, side_px: int, timeout: float = TIMEOUT_SECONDS) -> None:
        """Pictures come back with a long side of at least `side_px`, or as they are."""
        self._side_px = side_px
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def pixels(self, data: bytes) -> NDArray[np.uint8]:
        """The first frame of a picture file, upright, as RGB (h, w, 3).

        Raises Unreadable if there is none, or if its decoder took the process down.
        """
        if len(data) > MAX_BYTES:
            raise Unreadable("bytes", f"more than {MAX_BYTES >> 20} MiB")
        sock = self._ready()
        try:
            sock.settimeout(self._timeout)
            wire.send(sock, wire.packed(data))
            width, height = _ANSWER.unpack(_exactly(sock, _ANSWER.size))
            if not width or not height:
                raise Unreadable("malformed", "there is nothing to show")
            if max(width, height) > _MAX_SIDE_PX or width * height > _MAX_PIXELS:
                self._end()
                raise Unreadable("crash", "what decodes it no longer answers as it should")
            raw = _exactly(sock, width * height * 3)
        except TimeoutError:
            self._end()
            raise Unreadable("timeout", "decoding it took too long") from None
        except (EOFError, OSError):
            self._end()
            raise Unreadable("crash", "decoding it took the process down") from None
        return np.frombuffer(raw, np.uint8).reshape(height, width, 3)

    def _ready(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        ours, theirs = socket.socketpair()
        environment = {n: os.environ[n] for n in _ENVIRONMENT if n in os.environ}
        paths = json.dumps([os.path.abspath(path) for path in sys.path])  # noqa: PTH100 - "" too
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-I", "-c", _CODE,
                    paths, str(theirs.fileno()), str(self._side_px),
                ],
                env=environment,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if os.environ.get("CONSENTRY_DEBUG") else subprocess.DEVNULL,
                process_group=0,
            )  # fmt: skip
        self._socket = ours
        ours.settimeout(_START_SECONDS)
        try:
            _exactly(ours, _ANSWER.size)
        except (EOFError, OSError):
            self._end()
            raise Unreadable("crash", "the process that decodes does not start") from None
        return ours

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(min(count - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


# ---------------------------------------------------------------- the process that decodes


def main(channel: int, side_px: int) -> None:
    """Serve the parent on the socket `channel` until it is gone."""
    namespaces = isolate()  # before anything that might start a thread
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from scanner.engines.preload import preload
    from scanner.engines.sandbox import lock_down
    from scanner.look import Looker

    parent = socket.socket(fileno=channel)
    options = ReadOptions(limits=Limits(max_file_size=MAX_BYTES), look_px=side_px)
    preload(Looker(()), options)
    lock_down(max_memory=_MAX_MEMORY, namespaces=namespaces)
    with suppress(EOFError, OSError):  # the parent is gone: so are we
        parent.sendall(_ANSWER.pack(0, 0))
        while True:
            data, _ = wire.receive(parent)
            pixels = _first_frame(data, options)
            if pixels is None:
                parent.sendall(_ANSWER.pack(0, 0))
            else:
                parent.sendall(_ANSWER.pack(pixels.shape[1], pixels.shape[0]))
                parent.sendall(np.ascontiguousarray(pixels).data)


def _first_frame(data: bytes, options: ReadOptions) -> NDArray[np.uint8] | None:
    from scanner.readers import HEAD_BYTES, recognise

    known = recognise(data[:HEAD_BYTES])
    if known is None or not known[1].startswith("image/"):
        return None
    reader, media_type = known
    blob = Blob(Location(""), io.BytesIO(data), len(data))
    # whatever a hostile picture does to its decoder costs that picture
    with suppress(Exception):
        for part in reader.read(blob, media_type, options):
            if isinstance(part, Picture):
                return part.pixels
    return None

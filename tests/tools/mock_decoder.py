"""A reader that does on request what broken decoders do; after Tika's MockParser, for tests only.

It opens objects that begin with `MOCK1 <verb> …`, up to the end of the line:

    hang              sleeps for ever
    spin              computes for ever
    stop              stops itself (SIGSTOP), where that is allowed; then hangs
    segv              reads address 0
    abort             calls abort(), as C++ does at an uncaught exception
    exit [N]          ends its process with status N
    oom [python]      takes memory until Python has none left
    oom native        takes memory until malloc() has none left, then abort(), as C++ does
    flood detections [N]    N parts of text (endless), each with an identity number
    flood bytes [N]         one member of N MiB (endless)
    flood members [N]       N members (endless)
    flood problems [N]      N problems (endless)
    slow N            takes N seconds, with a sign of life every tenth of a second
    text              what follows is plain text

Everything it needs is loaded when it is imported: a sandbox allows no more imports later.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions, Text

MAGIC = b"MOCK1 "
MEDIA_TYPE = "application/x-mock1"
_NUMBER = "resident registration number 900101-1000006\n"  # well-formed, of nobody
_MEGABYTE = 1 << 20

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


class _Mock:
    name = "mock"
    priority = 0  # before every real one

    def sniff(self, head: bytes) -> str | None:
        return MEDIA_TYPE if head.startswith(MAGIC) else None

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        verb, *rest = blob.stream.readline(4096)[len(MAGIC) :].decode("ascii").split()
        match verb:
            case "hang":
                _hang()
            case "spin":
                while True:
                    pass
            case "stop":
                with suppress(PermissionError):  # a sandbox may not allow it
                    os.kill(os.getpid(), signal.SIGSTOP)
                _hang()
            case "segv":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "exit":
                os._exit(int(rest[0]) if rest else 0)
            case "oom":
                _oom(native=rest == ["native"])
            case "slow":
                yield from _slow(blob.location, float(rest[0]))
            case "flood":
                yield from _flood(blob.location, rest[0], int(rest[1]) if rest[1:] else None)
            case "text":
                yield Text(blob.location, 0, blob.stream.read().decode("utf-8"), last=True)
            case _:
                raise Unreadable("malformed", "a verb that the mock decoder does not have")


READER = _Mock()


def _hang() -> None:
    while True:
        time.sleep(3600)


def _oom(*, native: bool) -> None:
    if not native:
        held = []
        while True:
            held.append(bytearray(b"\1") * (8 * _MEGABYTE))
    while (block := _libc.malloc(8 * _MEGABYTE)) is not None:
        _libc.memset(block, 1, 8 * _MEGABYTE)
    os.abort()


def _slow(location: Location, seconds: float) -> Iterator[Part]:
    end = time.monotonic() + seconds
    for number in itertools.count():
        yield Text(location, number, "nothing to see\n")
        if time.monotonic() >= end:
            break
        time.sleep(0.1)
    yield Text(location, number + 1, "", last=True)


def _flood(location: Location, what: str, count: int | None) -> Iterator[Part]:
    numbers: Iterator[int] = itertools.count() if count is None else iter(range(count))
    match what:
        case "detections":
            for number in numbers:
                yield Text(location, number, _NUMBER)
            yield Text(location, 0, "", last=True)
        case "bytes":
            stream = io.BufferedReader(_Endless(count))
            yield Blob(location.child("member"), stream)
        case "members":
            for number in numbers:
                yield Blob(location.child(f"member-{number}"), io.BytesIO(b"nothing to see\n"))
        case "problems":
            for number in numbers:
                yield Problem(location.child(f"member-{number}"), "malformed", "one of a flood")
        case _:
            raise Unreadable("malformed", "a flood that the mock decoder does not have")


class _Endless(io.RawIOBase):
    """Text without end, or of so many MiB."""

    def __init__(self, megabytes: int | None) -> None:
        self._left = None if megabytes is None else megabytes * _MEGABYTE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        size = len(view) if self._left is None else min(len(view), self._left)
        if self._left is not None:
            self._left -= size
        view[:size] = (b"nothing to see\n" * (size // 15 + 1))[:size]
        return size

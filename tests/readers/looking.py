"""Looks into bytes as the scanner does: recognise, read, go down into every blob, depth first."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Picture, Problem, ReadOptions
from scanner.readers import recognise
from scanner.readers.streams import take_head


class Forward(io.RawIOBase):
    """Bytes that cannot be sought in and come in small pieces, as from a network."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = self._data.read(min(len(buffer), 7_001))
        buffer[: len(piece)] = piece
        return len(piece)


def forward(data: bytes) -> BinaryIO:
    raw: io.RawIOBase = Forward(data)
    return io.BufferedReader(raw)


def parts(
    data: bytes | BinaryIO, options: ReadOptions | None = None, name: str = "x", depth: int = 0
) -> list[Part]:
    """Everything inside, blobs replaced by what is inside of them; Unreadable becomes a Problem."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    return list(_look(Blob(Location(name), stream), options or ReadOptions(), depth))


def _look(blob: Blob, options: ReadOptions, depth: int) -> Iterator[Part]:
    head, stream = take_head(blob.stream)
    known = recognise(head)
    if known is None:
        yield Problem(blob.location, "unsupported", "not recognised")
        return
    if depth > options.limits.max_recursion:
        yield Problem(blob.location, "depth", "too deep")
        return
    reader, media_type = known
    try:
        for part in reader.read(replace(blob, stream=stream), media_type, options):
            if isinstance(part, Blob):
                yield from _look(part, options, depth + 1)
            else:
                yield part
    except Unreadable as error:
        yield Problem(blob.location, error.reason, error.detail)


def problems(found: list[Part]) -> list[tuple[str, str]]:
    """(location, reason) of every problem."""
    return [(str(part.location), part.reason) for part in found if isinstance(part, Problem)]


def pictures(found: list[Part]) -> dict[str, Picture]:
    return {str(part.location): part for part in found if isinstance(part, Picture)}

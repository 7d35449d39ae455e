"""What is inside: one file per container or format family, chosen by what the first bytes say.

A reader is a module of this folder with a constant `READER`. It recognises content by its first
bytes, never by a name, and yields parts: pictures, table batches, texts, and blobs, which are
looked at in the same way, one level deeper (by whoever called; a reader never calls another one).

Priorities: formats with magic bytes 10 to 49, formats made of text 50 to 89, plain text 90.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Protocol

from scanner.model import Blob, Part, ReadOptions

HEAD_BYTES = 65_536  # what `sniff` may see


class Reader(Protocol):
    """One format family. Heavy libraries are imported inside `read`, so that asking is cheap."""

    @property
    def name(self) -> str:
        """What it is called in tests and messages: "zip"."""

    @property
    def priority(self) -> int:
        """Lower is asked first."""

    def sniff(self, head: bytes) -> str | None:
        """The media type if `head` (up to HEAD_BYTES) begins what it opens; never raises."""

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        """What is inside `blob`.

        `media_type` is what `sniff` said. The stream of a Blob that is yielded is valid until the
        next part is asked for. Raises Unreadable where nothing (more) can be read, and yields a
        Problem where a part of it could not and the rest goes on; a library's own exceptions do not
        come out. StoreError comes through, as the store raised it.
        """


@cache  # the folder is part of the program: it does not change while it runs
def all_readers() -> tuple[Reader, ...]:
    """Every reader of this folder, in the order in which they are asked."""
    found: list[Reader] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        reader = getattr(importlib.import_module(f"{__name__}.{module.name}"), "READER", None)
        if reader is not None:
            found.append(reader)
    return tuple(sorted(found, key=lambda reader: (reader.priority, reader.name)))


def recognise(head: bytes) -> tuple[Reader, str] | None:
    """The first reader that knows what begins with `head`, and the media type; None if none."""
    for reader in all_readers():
        media_type = reader.sniff(head)
        if media_type is not None:
            return reader, media_type
    return None

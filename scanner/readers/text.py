"""Reads plain text: its lines, and the files that are written in it as base64 or hexadecimal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scanner.model import Blob, Part, Problem, ReadOptions, Record, Text
from scanner.readers.carving import Carver
from scanner.readers.charsets import Decoded, decode_head

if TYPE_CHECKING:
    from scanner.readers import Reader

_MAX_CHARS = 1 << 20  # of one part
_OVERLAP_CHARS = 4_096  # repeated where a long line is cut, so that no value is lost at the cut


class TextReader:
    """Whatever decodes as text and is nothing more particular: PostScript, XML, LDIF, vCard too."""

    name = "text"
    priority = 90

    def sniff(self, head: bytes) -> str | None:
        text = decode_head(head)
        if text is None or "\0" in text:
            return None
        return "text/plain"

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        decoded = Decoded(blob.stream)
        carver = Carver(options.limits.max_cell_bytes)
        inherited = blob.record.subject_key if blob.record is not None else None
        pending: Text | None = None
        rest, line = "", 0
        for chunk in decoded:
            for at, data in carver.feed(chunk):
                yield _child(blob, at, data, inherited)
            rest += chunk
            while len(rest) > _MAX_CHARS:
                cut = rest.rfind("\n", 0, _MAX_CHARS) + 1
                piece = rest[: cut or _MAX_CHARS]
                rest = rest[cut or _MAX_CHARS - _OVERLAP_CHARS :]
                if pending is not None:
                    yield pending
                pending = Text(blob.location, line, piece, blob.record)
                line += piece.count("\n")
        for at, data in carver.feed("", last=True):
            yield _child(blob, at, data, inherited)
        if pending is not None:
            yield pending
        yield Text(blob.location, line, rest, blob.record, last=True)
        for at in carver.too_long:
            detail = f"base64 of more than {options.limits.max_cell_bytes} bytes (max_cell_bytes)"
            yield Problem(blob.location.child(f"line={at + 1}"), "bytes", detail)
        yield from decoded.problems(blob.location)


def _child(blob: Blob, line: int, data: bytes, subject_key: str | None) -> Blob:
    place = blob.location.child(f"line={line + 1}")
    return Blob(place, io.BytesIO(data), len(data), Record(line, subject_key))


READER: Reader = TextReader()

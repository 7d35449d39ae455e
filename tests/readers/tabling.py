"""Reads bytes with the reader that knows them, one level, and puts a table's batches together."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from PIL import Image

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions, TableBatch, Text
from scanner.readers import HEAD_BYTES, recognise
from scanner.readers.streams import take_head


def jpeg(seed: int = 0) -> bytes:
    """A small picture of noise: nobody's face."""
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


JPEG = jpeg()
BASE64 = base64.b64encode(JPEG).decode()


def media_type(data: bytes) -> str | None:
    known = recognise(data[:HEAD_BYTES])
    return None if known is None else known[1]


def read(data: bytes | BinaryIO, options: ReadOptions | None = None) -> list[Part]:
    """The parts; Unreadable ends the list as a Problem."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    head, stream = take_head(stream)
    known = recognise(head)
    assert known is not None, "no reader knows these bytes"
    reader, kind = known
    found: list[Part] = []
    try:
        found.extend(reader.read(Blob(Location("x"), stream), kind, options or ReadOptions()))
    except Unreadable as error:
        found.append(Problem(Location("x"), error.reason, error.detail))
    return found


def tables(parts: Iterable[Part]) -> dict[str, pa.Table]:
    """Tables by location; checks what every table promises."""
    batches: dict[str, list[TableBatch]] = {}
    for part in parts:
        if isinstance(part, TableBatch):
            seen = batches.setdefault(str(part.location), [])
            assert not seen or not seen[-1].last, "a batch after the last"
            assert not seen or seen[-1].batch.schema == part.batch.schema, "the schema changed"
            assert part.batch.num_rows <= 8_192
            keys = part.subject_keys
            assert keys is None or len(keys) == part.batch.num_rows
            seen.append(part)
    for seen in batches.values():
        assert seen[-1].last, "no last batch"
    return {
        name: pa.Table.from_batches([part.batch for part in seen]) for name, seen in batches.items()
    }


def table(parts: Iterable[Part]) -> dict[str, list[object]]:
    found = tables(parts)
    assert len(found) == 1, f"{len(found)} tables"
    columns: dict[str, list[object]] = next(iter(found.values())).to_pydict()
    return columns


def blobs(parts: Iterable[Part]) -> dict[str, bytes]:
    return {str(p.location): p.stream.read() for p in parts if isinstance(p, Blob)}


def problems(parts: Iterable[Part]) -> list[tuple[str, str]]:
    return [(p.reason, p.detail) for p in parts if isinstance(p, Problem)]


def texts(parts: Iterable[Part]) -> list[Text]:
    return [p for p in parts if isinstance(p, Text)]

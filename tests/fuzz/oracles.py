"""What every target checks of what it is given back, beside that nothing unexpected is raised."""

from __future__ import annotations

import ast
import builtins
import hashlib
import io
import re
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

import scanner
from scanner.errors import ScannerError, Unreadable
from scanner.model import (
    KINDS,
    REASONS,
    Blob,
    Detection,
    ImageMetadata,
    Limits,
    Location,
    Part,
    Picture,
    Problem,
    ReadOptions,
    Record,
    TableBatch,
    Text,
)
from scanner.readers import Reader
from scanner.readers.streams import take_head

# Small, so that a few thousand bytes of input reach every limit.
LIMITS = Limits(
    max_recursion=4,
    max_files=40,
    max_frames=4,
    max_pixels=1 << 18,
    max_file_size=1 << 18,
    max_scan_size=1 << 20,
    max_ratio=40,
    ratio_after=1 << 16,
    max_cell_bytes=1 << 15,
)
OPTIONS = ReadOptions(limits=LIMITS, subject_column="id", look_px=64)
# One call of a codec may give this much beyond a limit before anyone can look.
SLACK_BYTES = 1 << 18
_PACKAGE = Path(scanner.__file__).parent
_BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RecursionError,
    TypeError,
)
_WORD = re.compile(r"[^\W\d_]{4,}|\d{7,}")


class Broken(AssertionError):
    """An oracle does not hold; the text says which."""


def check(holds: bool, oracle: str) -> None:
    if not holds:
        raise Broken(oracle)


class Trickle(io.RawIOBase):
    """Bytes that come `step` at a time, with or without seeking."""

    def __init__(self, data: bytes, step: int, can_seek: bool) -> None:
        self._inner, self._step, self._can_seek = io.BytesIO(data), step, can_seek

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._can_seek

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if not self._can_seek:
            raise io.UnsupportedOperation("seek")
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        piece = self._inner.read(min(len(buffer), self._step))
        buffer[: len(piece)] = piece
        return len(piece)


def trickle(data: bytes, step: int, can_seek: bool, *, raw: bool = True) -> BinaryIO:
    """`raw`: a read may give less than it was asked for; libraries want streams that do not."""
    stream = Trickle(data, step, can_seek)
    return cast("BinaryIO", stream) if raw else io.BufferedReader(cast("io.RawIOBase", stream), 64)


# ---------------------------------------------------------------- words that may be printed


@cache
def _vocabulary() -> frozenset[str]:
    """Every word that stands in the program's own texts, and the names of exceptions."""
    words: set[str] = set(_WORD.findall(" ".join(dir(builtins))))
    for name in (*dir(builtins), *dir(pa)):
        words.add(name)
        words.update(_WORD.findall(name))
    for path in _PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.update(_WORD.findall(node.value))
    return frozenset(words)


def no_content(message: str, data: str) -> None:
    """No word and no long number of the input in a message, save those the program itself uses."""
    for found in _WORD.findall(message):
        if found not in _vocabulary():
            check(found not in data, "a message holds content of the input")


def no_bug_behind(error: BaseException) -> None:
    """An error told as damage of the input must not be a mistake of our own code."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _BUGS) and not isinstance(seen, (UnicodeError, Broken)):
            frames = traceback.extract_tb(seen.__traceback__)
            own = bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)
            if own:
                where = f"{Path(frames[-1].filename).name}:{frames[-1].name}"
                raise Broken(f"{type(seen).__name__} of our own, told as damage, in {where}")
        seen = seen.__context__


def one_line(error: ScannerError) -> str:
    """The message of an error that a person reads: one line, without control characters."""
    message = str(error)
    check(bool(message.strip()), "an error without a message")
    check("\n" not in message and "\r" not in message, "an error of several lines")
    check(len(message) < 2_000, "an error of more than 2,000 characters")
    return message


# ---------------------------------------------------------------- readers

# (kind, location, digest or number, …): equal for equal parts
Print = tuple[object, ...]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _record(record: Record | None) -> Print:
    return () if record is None else (record.row, record.subject_key)


class Reading:
    """One pass of one reader over one input: all parts, checked and remembered."""

    def __init__(self) -> None:
        self.prints: list[Print] = []
        self.problems: list[Problem] = []
        self.blobs: list[tuple[str, bytes]] = []
        self.texts: list[Text] = []
        self.tables: dict[str, list[TableBatch]] = {}
        self.words: list[str] = []  # everything readable that came out
        self.produced = 0
        self.failure: Unreadable | None = None

    @property
    def clean(self) -> bool:
        return self.failure is None and not self.problems

    def reasons(self) -> set[str]:
        found = {problem.reason for problem in self.problems}
        return found | ({self.failure.reason} if self.failure is not None else set())


def read_all(
    reader: Reader,
    data: bytes,
    *,
    step: int = 1 << 20,
    can_seek: bool = True,
    options: ReadOptions = OPTIONS,
    raw: bool = True,
) -> Reading | None:
    """Everything that `reader` gives for `data`; None if it does not know it."""
    head, stream = take_head(trickle(data, step, can_seek, raw=raw))
    media_type = reader.sniff(head)
    if media_type is None:
        return None
    check(media_type == reader.sniff(head), "sniff says something else the second time")
    content = data.decode("latin-1")
    done = Reading()
    done.prints.append(("media type", media_type))
    root = Location("fuzz/input.bin")
    try:
        for part in reader.read(Blob(root, stream, len(data)), media_type, options):
            _take(part, done, options.limits)
            _inside(part.location, root)
    except Unreadable as error:
        done.failure = error
        check(error.reason in REASONS, f"a reason that is none: {error.reason}")
        no_bug_behind(error)
        no_content(error.detail, content)
        check(0 < len(error.detail) < 200, "a detail of no or of 200 characters")
        done.prints.append(("unreadable", error.reason, error.detail))
    for problem in done.problems:
        check(problem.reason in REASONS, f"a reason that is none: {problem.reason}")
        check(0 < len(problem.detail) < 200, "a detail of no or of 200 characters")
        no_content(problem.detail, content)
    for batches in done.tables.values():
        check(batches[-1].last or done.failure is not None, "a table without a last batch")
    return done


def _inside(location: Location, root: Location) -> None:
    check(location.root == root, "a part that lies somewhere else")
    str(location).encode("utf-8")


def _take(part: Part, done: Reading, limits: Limits) -> None:
    where = str(part.location)
    if isinstance(part, Problem):
        done.problems.append(part)
        done.prints.append(("problem", where, part.reason, part.detail))
    elif isinstance(part, Blob):
        data = _drained(part, limits)
        done.produced += len(data)
        done.blobs.append((where, data))
        done.prints.append(
            ("blob", where, part.size, len(data), _digest(data), _record(part.record))
        )
    elif isinstance(part, Picture):
        high, wide, channels = part.pixels.shape
        check(part.pixels.dtype.name == "uint8" and channels == 3, "pixels that are not RGB")
        check(high > 0 and wide > 0, "a picture of no size")
        check(part.width >= wide and part.height >= high, "a picture larger than it is")
        check(part.width * part.height <= limits.max_pixels, "more pixels than the limit")
        digest = _digest(part.pixels.tobytes())
        done.prints.append(("picture", where, part.width, part.height, high, wide, digest))
    elif isinstance(part, ImageMetadata):
        done.prints.append(("metadata", where, repr(sorted(part.exif_gps)), _digest(part.xmp)))
    elif isinstance(part, Text):
        check(part.first_line >= 0, "a line before the first")
        part.text.encode("utf-8", "surrogatepass")
        done.texts.append(part)
        done.words.append(part.text)
        done.produced += len(part.text)
        done.prints.append(
            (
                "text",
                where,
                part.first_line,
                part.last,
                _digest(part.text.encode("utf-8", "replace")),
            )
        )
    else:
        _take_table(part, done)


def _drained(blob: Blob, limits: Limits) -> bytes:
    """All bytes of a blob; no stream may go on for ever."""
    most = limits.max_scan_size + SLACK_BYTES
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := blob.stream.read(1 << 16):
            pieces.append(piece)
            size += len(piece)
            check(size <= most, "a blob of more bytes than the limits allow")
    except Unreadable as error:
        check(error.reason in REASONS, f"a reason that is none: {error.reason}")
        no_bug_behind(error)
        pieces.append(f"<{error.reason}>".encode())
    return b"".join(pieces)


def _take_table(part: TableBatch, done: Reading) -> None:
    where = str(part.location)
    part.batch.validate(full=True)
    before = done.tables.setdefault(where, [])
    if before:
        check(not before[-1].last, "a batch behind the last")
        check(before[-1].batch.schema == part.batch.schema, "a table whose schema changes")
        ends = before[-1].first_row + before[-1].batch.num_rows
        check(part.first_row >= ends, "a row that comes twice")
    else:
        names = part.batch.schema.names
        check(len(set(names)) == len(names), "two columns of one name")
        done.words.extend(names)
    keys = part.subject_keys
    check(keys is None or len(keys) == part.batch.num_rows, "subject keys that are not one a row")
    before.append(part)
    for column in part.batch.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            done.words.extend(value for value in column.to_pylist() if value)
        elif pa.types.is_list(column.type):
            done.words.extend(map(str, _scalars(column.to_pylist())))
    done.prints.append(
        ("rows", where, part.first_row, part.last, part.batch.num_rows, str(part.batch.schema))
    )
    done.produced += part.batch.nbytes


def _scalars(values: list[object]) -> Iterator[object]:
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        elif value is not None:
            yield value


def same(one: Reading, other: Reading, what: str) -> None:
    """Two passes over one input give the same parts in the same order."""
    if one.prints != other.prints:
        pairs = zip(one.prints, other.prints, strict=False)
        kinds = next((f"{a[0]} and {b[0]}" for a, b in pairs if a != b), "one is longer")
        raise Broken(f"{what}: {kinds}")


def rows_of(reading: Reading) -> dict[str, list[dict[str, object]]]:
    """Tables put together, whatever their batches were."""
    return {
        where: [row for batch in batches for row in batch.batch.to_pylist()]
        for where, batches in reading.tables.items()
    }


# ---------------------------------------------------------------- detectors


def sound(found: Iterator[Detection], root: Location) -> list[Detection]:
    """Detections that keep what their type promises."""
    kept = []
    for detection in found:
        check(detection.kind in KINDS, "a kind that is none")
        check(0.0 <= detection.confidence <= 1.0, "a confidence outside of 0 to 1")
        check(detection.certainty in ("certain", "possible"), "a certainty that is none")
        check(detection.count >= 1, "a detection of nothing")
        check(
            detection.representation in (None, "source_image", "template", "derived_attribute"),
            "a representation that is none",
        )
        check(detection.location.root == root.root, "a detection somewhere else")
        kept.append(detection)
    return kept

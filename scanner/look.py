"""Look at one object: readers unfold it into items, detectors judge each item.

The recursion of the whole program lives here and nowhere else: bytes → reader → parts; a part that
is a Blob goes through the same steps again, up to `Limits.max_recursion` levels and within one
budget of produced bytes and of time per object. Exceptions are caught broadly in this one place:
whatever an item does, it costs itself, and is a Problem.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from scanner.detectors import (
    Detector,
    LayoutDetector,
    MetadataDetector,
    PathDetector,
    PictureDetector,
    TableDetector,
    TableScan,
    TextDetector,
)
from scanner.errors import Unreadable
from scanner.model import (
    UNKNOWN_BYTES,
    Blob,
    Detection,
    ImageMetadata,
    Limits,
    Location,
    Part,
    Picture,
    Problem,
    ReadOptions,
    Reason,
    TableBatch,
    Text,
)
from scanner.readers import recognise
from scanner.readers.streams import take_head
from scanner.repeats import Repeats

EMPTY = "inode/x-empty"
_BEAT_SECONDS = 0.05  # signs of life from within a long read come no oftener than this


@dataclass(frozen=True, slots=True)
class Seen:
    """An item whose kind was recognised; for the object itself this carries its media type."""

    location: Location
    media_type: str
    opened: bool = True  # false: recognised, but nothing of it could be looked at


@dataclass(frozen=True, slots=True)
class Judged:
    """A picture whose pixels every detector has judged; follows what they saw."""

    location: Location


Sight = Detection | Problem | Seen | Judged


class _Budget:
    """Bytes produced from one object, all levels together, and the time it takes: what stops
    nested bombs, and objects that never end.

    Once broken, every further read raises, whatever a library makes of the first exception.
    """

    def __init__(
        self,
        limits: Limits,
        size: int | None,
        alive: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._alive = alive
        self._clock = clock
        self._limits = limits
        self._size = max(size or 0, 1)
        self._beaten = clock()
        self._until = self._beaten + limits.max_scan_time
        self.produced = 0
        self.broken: Unreadable | None = None

    def spend(self, amount: int) -> None:
        """Charge bytes that were produced; a sign of life, too."""
        limits = self._limits
        self.produced += amount
        if self.produced > limits.max_scan_size:
            self._break(
                "bytes", f"unfolds to more than {limits.max_scan_size} bytes", "max_scan_size"
            )
        elif self.produced > limits.ratio_after and (self.produced > limits.max_ratio * self._size):
            self._break(
                "ratio", f"unfolds to more than {limits.max_ratio} times its size", "max_ratio"
            )
        self.read_on()

    def read_on(self) -> None:
        """A sign of life from within a read, now and then; raises if the time is up."""
        now = self._clock()
        if now - self._beaten >= _BEAT_SECONDS:
            self._beaten = now
            self._alive()
        self._check(now)

    def part(self) -> None:
        """A sign of life behind each part; raises if the time is up."""
        self._beaten = self._clock()
        self._alive()
        self._check(self._beaten)

    def _check(self, now: float) -> None:
        if now > self._until:
            seconds = self._limits.max_scan_time
            self._break("timeout", f"takes longer than {seconds} seconds", "max_scan_time")
        if self.broken is not None:
            raise self.broken

    def _break(self, reason: Reason, detail: str, limit: str) -> None:
        if self.broken is None:  # the first limit met is the one that is told
            self.broken = Unreadable(reason, f"{detail} ({limit})")


class _Budgeted(io.RawIOBase):
    """A stream whose reads the budget of the object knows of."""

    def __init__(self, inner: BinaryIO, budget: _Budget) -> None:
        self._inner = inner
        self._budget = budget

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()


class _Watched(_Budgeted):
    """The object's own stream: every read is a sign of life, and none goes on past the time."""

    def read(self, size: int | None = -1, /) -> bytes:
        self._budget.read_on()
        return self._inner.read(-1 if size is None else size)

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast("bytearray", buffer)).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Counted(_Budgeted):
    """A child's stream, every byte charged to the object's budget."""

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer)).cast("B")
        data = self._inner.read(len(view))
        self._budget.spend(len(data))
        view[: len(data)] = data
        return len(data)


class Looker:
    """All readers and the chosen detectors, loaded once per worker process."""

    def __init__(self, detectors: Iterable[Detector]) -> None:
        chosen = tuple(detectors)
        self._pictures = [d for d in chosen if isinstance(d, PictureDetector)]
        self._layouts = [d for d in chosen if isinstance(d, LayoutDetector)]
        self._repeats = Repeats()
        self._metadata = [d for d in chosen if isinstance(d, MetadataDetector)]
        self._tables = [d for d in chosen if isinstance(d, TableDetector)]
        self._texts = [d for d in chosen if isinstance(d, TextDetector)]
        self._paths = [d for d in chosen if isinstance(d, PathDetector)]

    def look(
        self,
        blob: Blob,
        options: ReadOptions,
        alive: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Iterator[Sight]:
        """Yield all that is seen in `blob`, and all that could not be looked at.

        `alive()` is called after each part and from within long reads, also where nothing is seen:
        a table of hours may hold nothing to tell before its end. `clock()` gives seconds, for
        `Limits.max_scan_time`.
        """
        budget = _Budget(options.limits, blob.size, alive, clock)
        yield from self._look(blob, options, budget, 0)
        if budget.broken is not None:
            yield Problem(blob.location, budget.broken.reason, budget.broken.detail)

    def names(self, location: Location) -> Iterator[Detection]:
        """What the name alone says."""
        for detector in self._paths:
            yield from detector.path(location)

    def _look(
        self, blob: Blob, options: ReadOptions, budget: _Budget, depth: int
    ) -> Iterator[Sight]:
        if depth:  # the object's own name is judged by its key, not by where the target lies
            yield from self.names(blob.location)
        if depth > options.limits.max_recursion:
            yield Problem(
                blob.location,
                "depth",
                f"nested deeper than {options.limits.max_recursion} containers (max_recursion)",
            )
            return
        tables: dict[Location, list[TableScan]] = {}
        media_type, opened = None, False
        try:
            stream = (_charged if depth else _watched)(blob.stream, budget)
            head, stream = take_head(stream)
            if not head:
                yield Seen(blob.location, EMPTY)
                return
            known = recognise(head)
            if known is None:
                yield Problem(blob.location, "unsupported", UNKNOWN_BYTES)
                return
            reader, media_type = known
            fresh = Blob(blob.location, stream, blob.size, blob.record)
            for part in reader.read(fresh, media_type, options):
                if isinstance(part, Problem) and budget.broken is not None:
                    break  # a consequence: what broke the budget is told once, of the object
                if not opened and not isinstance(part, Problem):
                    opened = True
                    yield Seen(blob.location, media_type)
                if isinstance(part, Blob):
                    yield from self._look(part, options, budget, depth + 1)
                else:
                    yield from self._judge(part, blob.location, tables)
                budget.part()
            else:
                # whole, and nothing in it: an empty archive, or one with closed members only
                if not opened:
                    opened = True
                    yield Seen(blob.location, media_type)
        except MemoryError:
            yield Problem(blob.location, "memory", "not enough memory to open it")
        except Exception as error:
            # Where the budget is broken, this is what somebody made of that.
            if budget.broken is None:
                yield _failed(blob.location, error)
        finally:
            unfinished = [scan for scans in tables.values() for scan in scans]
        if media_type is not None and not opened:
            yield Seen(blob.location, media_type, opened=False)
        # A table that broke off has been judged up to there; what was seen must not be lost.
        for scan in unfinished:
            with suppress(Exception):
                yield from scan.finish()

    def _picture(self, picture: Picture) -> Iterator[Detection]:
        known = self._repeats.of(picture)
        if known is not None:
            yield from known
            return
        seen: list[Detection] = []
        for detector in self._pictures:
            for found in detector.picture(picture):
                seen.append(_with_share(found, picture))
                yield seen[-1]
        for layout_detector in self._layouts:
            for found in layout_detector.layout(picture, tuple(seen)):
                seen.append(_with_share(found, picture))
                yield seen[-1]
        self._repeats.keep(picture, seen)

    def _judge(
        self, part: Part, parent: Location, tables: dict[Location, list[TableScan]]
    ) -> Iterator[Sight]:
        try:
            if isinstance(part, Problem):
                yield part
            elif isinstance(part, Picture):
                if part.location != parent:
                    yield Seen(part.location, "image/frame")
                yield from self._picture(part)
                yield Judged(part.location)
            elif isinstance(part, ImageMetadata):
                for metadata_detector in self._metadata:
                    yield from metadata_detector.metadata(part)
            elif isinstance(part, Text):
                for text_detector in self._texts:
                    yield from text_detector.text(part)
            elif isinstance(part, TableBatch):
                scans = tables.get(part.location)
                if scans is None:
                    scans = tables[part.location] = [d.table() for d in self._tables]
                    if part.location != parent:
                        yield Seen(part.location, "table")
                for scan in scans:
                    yield from scan.batch(part)
                if part.last:
                    del tables[part.location]
                    for scan in scans:
                        yield from scan.finish()
        except MemoryError:
            yield Problem(parent, "memory", "not enough memory to judge it")
        except Exception as error:
            where = parent if isinstance(part, Blob) else part.location
            yield Problem(where, "model", f"a detector failed on it ({type(error).__name__})")


def _with_share(found: Detection, picture: Picture) -> Detection:
    """With the share of the picture that its box covers; boxes may reach beyond the edges."""
    if found.box is None:
        return found
    x, y, w, h = found.box
    wide = min(x + w, picture.width) - max(x, 0)
    high = min(y + h, picture.height) - max(y, 0)
    share = max(wide, 0) * max(high, 0) / (picture.width * picture.height)
    return replace(found, share=min(float(share), 1.0))


def _failed(location: Location, error: Exception) -> Problem:
    if isinstance(error, Unreadable):
        return Problem(location, error.reason, error.detail)
    kind = type(error).__name__
    if isinstance(error, OSError):
        # A read error of the store beneath; its own text may name hosts or credentials.
        return Problem(location, "truncated", f"reading failed ({kind})")
    return Problem(location, "malformed", f"its reader failed ({kind})")


def _watched(stream: BinaryIO, budget: _Budget) -> BinaryIO:
    return cast("BinaryIO", _Watched(stream, budget))


def _charged(stream: BinaryIO, budget: _Budget) -> BinaryIO:
    if isinstance(stream, io.BytesIO):  # already in memory: charge it whole, read it fast
        budget.spend(stream.getbuffer().nbytes)
        return stream
    return cast("BinaryIO", io.BufferedReader(_Counted(stream, budget), 1 << 16))

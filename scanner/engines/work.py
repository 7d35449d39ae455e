"""What one worker does with one object: look at its bytes, turn what was seen into rows.

A worker knows no store: it is handed bytes and the object's name. What it says of an object is told
relative to it; the parent puts the object's location, version and dataset before it, so that a
worker that was taken over by a hostile file can speak for no other object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from scanner.detectors import SizedPictureDetector, all_detectors
from scanner.errors import StoreError
from scanner.look import EMPTY, Judged, Looker, Seen
from scanner.model import (
    UNASSIGNED,
    Blob,
    DatasetSpec,
    Detection,
    Limits,
    Location,
    ObjectInfo,
    Problem,
    ReadOptions,
    Reason,
    item_id,
    printable,
)
from scanner.subjects import SubjectKey
from scanner.vocabulary import CPU

CHUNK_ROWS = 4_000
CHUNK_CHARACTERS = 4 << 20  # of names in rows: members of archives may have long ones
# Parts of a picture file that show the picture again: a face there is the same record, not another
# one.
SECOND_VIEWS = frozenset({"exif-thumbnail", "photoshop-thumbnail"})
_NO_DATASET = DatasetSpec(id=UNASSIGNED)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker needs, sent once when it starts."""

    datasets: tuple[DatasetSpec, ...]
    limits: Limits
    face_detector: str
    faces: str  # how far it goes, one of FACE_LEVELS
    subjects: SubjectKey
    device: str = CPU
    require_sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One object to look at."""

    number: int  # in the order of the listing, over all targets
    store: int  # index of its target
    dataset: int  # index into Setup.datasets; -1: unassigned
    info: ObjectInfo
    attempt: int = 1  # tells the rows of this look from those of an earlier one
    strikes: int = 0  # workers that died over it
    losses: int = 0  # workers that ended while it waited for them: over another, as far as is known
    again: bool = False  # its store failed once already


@dataclass(frozen=True, slots=True)
class Job:
    """A task as its worker sees it; the bytes come beside, as an open file or socket."""

    number: int
    attempt: int
    dataset: int
    key: str
    size: int
    version: str
    location: str
    kind: str  # of sources.Source
    problem: tuple[Reason, str] | None  # it could not be opened: only its name is judged


@dataclass(slots=True)
class Said:
    """What a worker says, emptied when sent; every row begins with number, attempt, position."""

    objects: list[list[Any]] = field(default_factory=list)
    """… media_type, state, reason, detail, items_seen, items_total, pictures, whether its store
    failed"""
    nested: list[list[Any]] = field(default_factory=list)
    """… suffix of the location, reason, detail"""
    detections: list[list[Any]] = field(default_factory=list)
    """… suffix of the location, suffix of the item's key, then the columns from item_id to
    subject_digest of schemas.DETECTIONS, and share"""
    items: list[list[Any]] = field(default_factory=list)
    """… suffix of the item's key"""
    characters: int = 0  # of all these suffixes

    def __len__(self) -> int:
        return len(self.objects) + len(self.nested) + len(self.detections) + len(self.items)

    def clear(self) -> None:
        self.objects, self.nested, self.detections, self.items = [], [], [], []
        self.characters = 0

    @property
    def enough(self) -> bool:
        return len(self) >= CHUNK_ROWS or self.characters >= CHUNK_CHARACTERS


class Worker:
    """Readers and detectors of one process, opened once."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        detectors = all_detectors(setup.face_detector, setup.faces, setup.device)
        self.looker = Looker(detectors)
        sized = [d for d in detectors if isinstance(d, SizedPictureDetector)]
        self.plain = ReadOptions(
            limits=setup.limits,
            look_px=max((d.look_px for d in sized), default=ReadOptions().look_px),
            first_px=max((d.first_px for d in sized), default=None),
        )
        self._paths = [
            re.compile(d.subject_from) if d.subject_from else None for d in setup.datasets
        ]
        self._options = [
            replace(self.plain, subject_column=_subject_column(d)) for d in setup.datasets
        ]

    def look(self, job: Job, stream: BinaryIO | None, said: Said, beat: Callable[[], None]) -> bool:
        """Say all there is to say of one object; false if memory ran out over it.

        `stream` is None where the object has no bytes or could not be opened. `beat` is called
        after each part; it may send what was said so far.
        """
        look = _Look(self, job, said)
        look.judge_name()
        if job.problem is not None:
            look.done("error", *job.problem, store_failed=True)
        elif stream is None:
            if look.dataset.manifest is not None:
                look.item("")
            look.done("scanned", media_type=EMPTY)
        else:
            return look.look(stream, beat)
        return True

    def dataset(self, number: int) -> DatasetSpec:
        return self._setup.datasets[number] if number >= 0 else _NO_DATASET

    def options(self, number: int) -> ReadOptions:
        return self._options[number] if number >= 0 else self.plain

    def subject(self, found: Detection, dataset: int, item_key: str) -> str | None:
        """The digest of the person that a detection belongs to, where row or path tells."""
        raw = found.subject_key
        if not raw and dataset >= 0 and (pattern := self._paths[dataset]) is not None:
            match = pattern.search(item_key)
            raw = match["subject"] if match is not None else None
        return self._setup.subjects.digest(raw) if raw else None


class _Look:
    """The look at one object; numbers its rows."""

    def __init__(self, worker: Worker, job: Job, said: Said) -> None:
        self._worker = worker
        self._job = job
        self._said = said
        self._rows = 0
        self.dataset = worker.dataset(job.dataset)
        self._location = Location(job.location)
        self._cut = len(str(self._location))
        self._key = printable(job.key)

    def _row(self, *values: object) -> list[object]:
        row = [self._job.number, self._job.attempt, self._rows, *values]
        self._rows += 1
        return row

    def judge_name(self) -> None:
        # By the key within the target: where the target lies says nothing about what is in it.
        for found in self._worker.looker.names(Location(self._job.key)):
            self._detection(found, self._location)

    def look(self, stream: BinaryIO, beat: Callable[[], None]) -> bool:
        seen = pictures = 0
        media_type: str | None = None
        problems: list[Problem] = []
        with stream:
            blob = Blob(self._location, stream, self._job.size)
            options = self._worker.options(self._job.dataset)
            for sight in self._worker.looker.look(blob, options, beat):
                if isinstance(sight, Detection):
                    self._detection(sight, sight.location)
                elif isinstance(sight, Judged):
                    pictures += _item(sight.location) is sight.location
                elif isinstance(sight, Seen):
                    if sight.location is self._location:
                        media_type = sight.media_type
                    seen += sight.opened
                    if self.dataset.manifest is not None:
                        self.item(_item_suffix(sight.location))
                elif _counts(sight, problems):
                    problems.append(sight)
                    if sight.location != self._location:
                        suffix = str(sight.location)[self._cut :]
                        self._said.characters += len(suffix)
                        self._said.nested.append(self._row(suffix, sight.reason, sight.detail))
                beat()
            # Readers and decoders may have taken a failed read for the end of the file.
            failure = getattr(stream, "failure", None)
        if isinstance(failure, StoreError):
            problems.insert(0, Problem(self._location, failure.reason, failure.detail))
        failed = failure is not None
        self._verdict(media_type, seen, pictures, problems, store_failed=failed)
        return all(problem.reason != "memory" for problem in problems)

    def _verdict(
        self,
        media_type: str | None,
        seen: int,
        pictures: int,
        problems: list[Problem],
        *,
        store_failed: bool,
    ) -> None:
        if not problems:
            self.done("scanned", media_type=media_type, seen=seen, total=seen, pictures=pictures)
            return
        own = [p for p in problems if p.location == self._location]
        first = (own or problems)[0]
        more = f"; {len(problems)} problems in all" if len(problems) > 1 else ""
        self.done(
            "partial" if seen else "error",
            first.reason,
            first.detail + more,
            media_type=media_type,
            seen=seen,
            total=seen + sum(p.location != self._location for p in problems),
            pictures=pictures,
            store_failed=store_failed,
        )

    def done(
        self,
        state: str,
        reason: str | None = None,
        detail: str | None = None,
        *,
        media_type: str | None = None,
        seen: int = 0,
        total: int | None = None,
        pictures: int = 0,
        store_failed: bool = False,
    ) -> None:
        """The object's own row, always its last one."""
        total = 0 if state == "scanned" and total is None else total
        row = self._row(media_type, state, reason, detail, seen, total, pictures, store_failed)
        self._said.objects.append(row)

    def item(self, suffix: str) -> None:
        self._said.characters += len(suffix)
        self._said.items.append(self._row(suffix))

    def _detection(self, found: Detection, location: Location) -> None:
        item = _item(location)
        item_suffix = _item_suffix(item)
        suffix = str(location)[self._cut :]
        self._said.characters += len(suffix) + len(item_suffix)
        self._said.detections.append(
            self._row(
                suffix,
                item_suffix,
                item_id(self._job.key, item),
                found.kind,
                found.representation or _declared(found, self.dataset),
                found.basis,
                found.count,
                found.confidence,
                found.certainty,
                list(found.box) if found.box is not None else None,
                found.detector,
                found.detector_version,
                self._worker.subject(found, self._job.dataset, self._key + item_suffix),
                found.share if item is location else None,
            )
        )


def _item(location: Location) -> Location:
    """What a second view of a picture shows: that picture; else the location itself."""
    while location.parent is not None and location.name in SECOND_VIEWS:
        location = location.parent
    return location


def _declared(found: Detection, dataset: DatasetSpec) -> str | None:
    """A dataset may declare what its biometric data are where the detector cannot tell."""
    return dataset.representation if found.kind.startswith("biometric.") else None


def _subject_column(dataset: DatasetSpec) -> str | None:
    if dataset.subject_column is not None:
        return dataset.subject_column
    return dataset.manifest.subject if dataset.manifest is not None else None


def _item_suffix(location: Location) -> str:
    """ "!/member…": with the object's key before it, what manifests and `subject_from` name."""
    names: list[str] = []
    here: Location | None = location
    while here is not None and here.parent is not None:
        names.append(printable(here.name))
        here = here.parent
    return "".join(f"!/{name}" for name in reversed(names))


def _counts(problem: Problem, before: list[Problem]) -> bool:
    # The same item, the same reason: said once (a budget breaks on every level above it).
    return not any(
        p.location == problem.location and p.reason == problem.reason for p in before[-8:]
    )

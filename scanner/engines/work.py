"""What one worker does with one object: open it, look at it, turn what was seen into rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scanner.detectors import all_detectors
from scanner.errors import ScannerError, StoreError
from scanner.look import EMPTY, Looker, Seen
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
    State,
    StoreSpec,
    item_id,
    printable,
)
from scanner.stores import Store, open_store, public_url
from scanner.stores.local import LocalStore
from scanner.subjects import SubjectKey

Row = tuple[Any, ...]
CHUNK_ROWS = 4_000
# Parts of a picture file that show the picture again: a face there is the same record, not another
# one.
SECOND_VIEWS = frozenset({"exif-thumbnail", "photoshop-thumbnail"})
_NO_DATASET = DatasetSpec(id=UNASSIGNED)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker needs, sent once when it starts."""

    stores: tuple[StoreSpec, ...]
    datasets: tuple[DatasetSpec, ...]
    limits: Limits
    face_detector: str
    subjects: SubjectKey


@dataclass(frozen=True, slots=True)
class Task:
    """One object to look at."""

    store: int  # index into Setup.stores
    dataset: int  # index into Setup.datasets; -1: unassigned
    info: ObjectInfo


@dataclass(slots=True)
class Rows:
    """Rows in the column order of schemas.COVERAGE, DETECTIONS, ITEMS; emptied when sent."""

    coverage: list[Row]
    detections: list[Row]
    items: list[Row]

    def __len__(self) -> int:
        return len(self.coverage) + len(self.detections) + len(self.items)


def outcome(
    task: Task,
    location: Location,
    dataset_id: str,
    state: State,
    reason: str | None = None,
    detail: str | None = None,
    *,
    media_type: str | None = None,
    seen: int = 0,
    total: int | None = None,
) -> Row:
    """The coverage row of an object."""
    info = task.info
    version, size = printable(info.version) or None, info.size
    where = str(location)
    return (
        where, version, size, media_type, dataset_id, state, reason, detail, seen, total, True
    )  # fmt: skip


class Worker:
    """Stores, readers and detectors of one process, opened once."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._stores: list[Store | None] = [None] * len(setup.stores)
        self._looker = Looker(all_detectors(setup.face_detector))
        self._paths = [
            re.compile(d.subject_from) if d.subject_from else None for d in setup.datasets
        ]
        self._options = [
            ReadOptions(limits=setup.limits, subject_column=_subject_column(d))
            for d in setup.datasets
        ]
        self._plain = ReadOptions(limits=setup.limits)

    def _store(self, number: int) -> Store:
        store = self._stores[number]
        if store is None:
            store = self._stores[number] = open_store(self._setup.stores[number])
        return store

    def look(self, task: Task, out: Rows, flush: Callable[[], None]) -> None:
        """Append all rows of one object to `out`; `flush` sends and empties it, and beats the
        heart.
        """
        info = task.info
        dataset = self._setup.datasets[task.dataset] if task.dataset >= 0 else _NO_DATASET
        try:
            store = self._store(task.store)
        except ScannerError as error:  # the target itself has gone since it was listed
            reason, detail = _store_gone(error)
            target = public_url(self._setup.stores[task.store].url).rstrip("/")
            lost = Location(f"{target}/{info.key}")
            out.coverage.append(outcome(task, lost, dataset.id, "error", reason, detail))
            return
        location = store.location(info.key)
        options = self._options[task.dataset] if task.dataset >= 0 else self._plain
        self._judge_name(location, task, dataset, out)
        if info.size == 0 and not isinstance(store, LocalStore):
            # An empty object has a name but no bytes; opening it would only cost a request. Local
            # files are opened: those of /proc and of some mounts say 0 and have content.
            row = outcome(task, location, dataset.id, "scanned", media_type=EMPTY, total=0)
            if dataset.manifest is not None:
                out.items.append((dataset.id, printable(info.key)))
            out.coverage.append(row)
            return
        try:
            stream = store.open(info)
        except StoreError as error:
            row = outcome(task, location, dataset.id, "error", error.reason, error.detail)
            out.coverage.append(row)
            return
        except OSError as error:
            kind = f"it could not be opened ({type(error).__name__})"
            out.coverage.append(outcome(task, location, dataset.id, "error", "denied", kind))
            return
        seen = 0
        media_type: str | None = None
        problems: list[Problem] = []
        with stream:
            blob = Blob(location, stream, info.size)
            for sight in self._looker.look(blob, options, flush):
                if isinstance(sight, Detection):
                    out.detections.append(self._detection(sight, task, dataset))
                elif isinstance(sight, Seen):
                    if sight.location is location:
                        media_type = sight.media_type
                    seen += sight.opened
                    if dataset.manifest is not None:
                        out.items.append((dataset.id, _item_key(info.key, sight.location)))
                elif _counts(sight, problems):
                    problems.append(sight)
                    if sight.location != location:
                        out.coverage.append(_nested(sight, dataset.id))
                flush()
            # Readers and decoders may have taken a failed read for the end of the file.
            failure = getattr(stream, "failure", None)
        if isinstance(failure, StoreError):
            problems.insert(0, Problem(location, failure.reason, failure.detail))
        row = _verdict(task, location, dataset.id, media_type, seen, problems)
        out.coverage.append(row)

    def _judge_name(self, location: Location, task: Task, dataset: DatasetSpec, out: Rows) -> None:
        # By the key within the target: where the target lies says nothing about what is in it.
        for found in self._looker.names(Location(task.info.key)):
            out.detections.append(self._detection(replace(found, location=location), task, dataset))

    def _detection(self, found: Detection, task: Task, dataset: DatasetSpec) -> Row:
        key = task.info.key
        item = found.location
        while item.parent is not None and item.name in SECOND_VIEWS:
            item = item.parent
        item_key = _item_key(key, item)
        subject = found.subject_key or self._subject_of(task.dataset, item_key)
        return (
            str(found.location),
            item_id(key, item),
            found.kind,
            found.representation or _declared(found, dataset),
            found.basis,
            found.count,
            found.confidence,
            found.certainty,
            list(found.box) if found.box is not None else None,
            found.detector,
            found.detector_version,
            self._setup.subjects.digest(subject) if subject else None,
            dataset.id,
            printable(key),
            item_key,
        )

    def _subject_of(self, dataset: int, item_key: str) -> str | None:
        pattern = self._paths[dataset] if dataset >= 0 else None
        match = pattern.search(item_key) if pattern is not None else None
        return match["subject"] if match is not None else None


def _store_gone(error: ScannerError) -> tuple[Reason, str]:
    if isinstance(error, StoreError):
        return error.reason, error.detail
    return "vanished", "its target could no longer be opened"


def _declared(found: Detection, dataset: DatasetSpec) -> str | None:
    """A dataset may declare what its biometric data are where the detector cannot tell."""
    return dataset.representation if found.kind.startswith("biometric.") else None


def _subject_column(dataset: DatasetSpec) -> str | None:
    if dataset.subject_column is not None:
        return dataset.subject_column
    return dataset.manifest.subject if dataset.manifest is not None else None


def _item_key(key: str, location: Location) -> str:
    """The object's key plus "!/member…": what manifests and `subject_from` name."""
    names: list[str] = []
    here: Location | None = location
    while here is not None and here.parent is not None:
        names.append(printable(here.name))
        here = here.parent
    return "!/".join([printable(key), *reversed(names)])


def _counts(problem: Problem, before: list[Problem]) -> bool:
    # The same item, the same reason: said once (a budget breaks on every level above it).
    return not any(
        p.location == problem.location and p.reason == problem.reason for p in before[-8:]
    )


def _nested(problem: Problem, dataset_id: str) -> Row:
    # An item inside an object is `error` on its own; its object becomes `partial`.
    location, reason, detail = str(problem.location), problem.reason, problem.detail
    return (
        location, None, None, None, dataset_id, "error", reason, detail, 0, None, False
    )  # fmt: skip


def _verdict(
    task: Task,
    location: Location,
    dataset_id: str,
    media_type: str | None,
    seen: int,
    problems: list[Problem],
) -> Row:
    if not problems:
        return outcome(
            task, location, dataset_id, "scanned", media_type=media_type, seen=seen, total=seen
        )
    own = [p for p in problems if p.location == location]
    first = (own or problems)[0]
    more = f"; {len(problems)} problems in all" if len(problems) > 1 else ""
    return outcome(
        task,
        location,
        dataset_id,
        "partial" if seen else "error",
        first.reason,
        first.detail + more,
        media_type=media_type,
        seen=seen,
        total=seen + sum(p.location != location for p in problems),
    )

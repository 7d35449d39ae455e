"""The main job: list, look, judge, save; reads top to bottom like the picture in docs/design.md."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from scanner import __version__, ledger, runs
from scanner.config import Settings
from scanner.context import Assigner, Selector, load_context
from scanner.engines.local import LocalEngine, Progress, usable_cores
from scanner.engines.work import Row, Setup, Task, outcome
from scanner.errors import ScannerError, StoreError, UsageError
from scanner.model import UNASSIGNED, DatasetSpec, Location, ObjectInfo, RunInfo, SavedRun
from scanner.policy import judge, load_packs
from scanner.stores import Store, open_store, public_url
from scanner.subjects import SubjectKey

CLEAN, VIOLATIONS, WRONG_USE, INCOMPLETE, BOTH, INTERRUPTED = 0, 1, 2, 3, 4, 130
_LEVELS_THAT_FAIL = {
    "error": ("error",),
    "warning": ("error", "warning"),
    "review": ("error", "warning"),
}


def scan(
    settings: Settings,
    *,
    started: datetime,
    as_of: datetime | None = None,
    clock: Callable[[], datetime],
    key: SubjectKey,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> SavedRun:
    """Look at every object of `settings.targets`, judge what was seen, save the run and return it.

    `started` names the run; the moment that consents and retention are judged at is `as_of`, or
    `started`. Raises UsageError, ConfigError, PolicyError, MissingExtra or ModelMissing before
    anything is read; what goes wrong later is a coverage row. `stop` is polled: once true, the
    partial run is judged and saved.
    """
    if not settings.targets:
        raise UsageError("nothing to scan: name a TARGET, or list targets in consentry.yaml")

    # What is claimed, and what it is judged by: all checked before the first byte is read.
    packs = load_packs(settings.policies, settings.policy_base)
    specs = tuple(map(settings.store_spec, settings.targets))
    stores = [open_store(spec) for spec in specs]
    context = load_context(
        settings.datasets,
        settings.registries,
        declared_use=settings.declared_use,
        child_age=settings.child_age,
        key=key,
        targets=settings.targets,
        open_url=lambda url: _open_one(settings, url),
    )

    # Look: every object listed ends in exactly one row of the ledger.
    book = ledger.Ledger(settings.output_directory, started)
    try:
        listing = _Listing(settings, stores)
        setup = Setup(
            stores=specs,
            datasets=settings.datasets,
            limits=settings.limits,
            face_detector=settings.face_detector,
            subjects=key,
        )
        engine = LocalEngine(setup, settings.jobs or usable_cores(), listing.locate)
        stopped = False

        def asked_to_stop() -> bool:
            nonlocal stopped
            stopped = stopped or stop()
            return stopped

        def tick() -> None:
            listing.drain(book)
            done = book.done
            on_progress(Progress(engine.listed + listing.settled, done, engine.listed_all))

        for rows in engine.run(listing.tasks(), asked_to_stop, tick):
            book.add(rows.coverage, rows.detections, rows.items)
        listing.drain(book)
        book.listed = engine.listed + listing.settled
        book.close()
    except ScannerError:
        shutil.rmtree(book.folder, ignore_errors=True)  # it proves nothing
        raise

    # Judge: always afresh, over all that was seen.
    moment = as_of or started
    judgement = judge(
        detections=book.path("detections"),
        items=book.path("items"),
        coverage=book.path("coverage"),
        context=context,
        packs=packs,
        as_of=moment,
        workdir=book.folder,
        previous=runs.first_seen(settings.output_directory),
    )

    complete = not (stopped or listing.broken or listing.empty_targets) and _complete(book)
    notes = list(listing.broken)
    if not stopped:  # else it may not have been listed yet
        notes += [f"{target}: there is nothing to scan" for target in listing.empty_targets]
    if _lies_in_target(settings):
        notes.append(
            "the configuration lies in the target itself and decides what is excluded and what is "
            "on record; --config names another"
        )
    if stopped:
        notes.append("the run was interrupted: what it did not reach is not judged")
    info = RunInfo(
        id=book.id,
        version=__version__,
        started=started,
        finished=clock(),
        as_of=moment,
        targets=tuple(map(public_url, settings.targets)),
        policies=settings.policies,
        settings=_recorded(settings),
        notes=(*notes, *judgement.notes),
        interrupted=stopped,
    )
    return runs.save(
        book.folder,
        info,
        exit_code=exit_code(judgement.findings, settings.fail_on, complete, stopped),
        complete=complete,
        rules=judgement.rules,
        findings=judgement.findings,
    )


def exit_code(findings: pa.Table, fail_on: str, complete: bool, interrupted: bool) -> int:
    """The contract of design section 7: 0 clean, 1 violations, 3 incomplete, 4 both, 130
    interrupted.
    """
    if interrupted:
        return INTERRUPTED
    counted = findings.filter(pc.is_null(findings.column("suppressed_by")))
    verdict, level = counted.column("verdict"), counted.column("level")
    bad = pc.and_(
        pc.equal(verdict, "violation"),
        pc.is_in(level, value_set=pa.array(_LEVELS_THAT_FAIL[fail_on])),
    )
    if fail_on == "review":
        bad = pc.or_(bad, pc.equal(verdict, "review"))
    if pc.any(bad).as_py():
        return VIOLATIONS if complete else BOTH
    return CLEAN if complete else INCOMPLETE


def _complete(book: ledger.Ledger) -> bool:
    looked_at = book.states["scanned"] + book.states["unchanged"]
    return looked_at > 0 and not book.states["partial"] and not book.states["error"]


class _Listing:
    """Turns listings into tasks; what needs no look (excluded, unreadable) is settled here."""

    def __init__(self, settings: Settings, stores: list[Store]) -> None:
        self._stores = stores
        self._datasets = settings.datasets
        self._assigner = Assigner(settings.datasets)
        self._selector = Selector(settings.include, settings.exclude)
        self._numbers = {spec.id: n for n, spec in enumerate(settings.datasets)}
        self._rows: deque[Row] = deque()  # filled by the listing thread, drained by the main one
        self._empty = set(range(len(stores)))
        self.settled = 0
        self.broken: list[str] = []  # one sentence per target whose listing broke off

    @property
    def empty_targets(self) -> list[str]:
        return [public_url(self._stores[number].spec.url) for number in sorted(self._empty)]

    def locate(self, task: Task) -> Location:
        return self._stores[task.store].location(task.info.key)

    def tasks(self) -> Iterator[Task]:
        for number, store in enumerate(self._stores):
            try:
                for info in store.list():
                    self._empty.discard(number)
                    dataset = self._assigner.assign(info.key)
                    task = Task(number, self._number(dataset), info)
                    row = self._settled_row(task, dataset)
                    if row is None:
                        yield task
                    else:
                        self._rows.append(row)
            except StoreError as error:  # the other targets are listed all the same
                self._empty.discard(number)
                self._settle_failure(number, error)

    def _number(self, dataset: DatasetSpec | None) -> int:
        return -1 if dataset is None else self._numbers[dataset.id]

    def _settled_row(self, task: Task, dataset: DatasetSpec | None) -> Row | None:
        info, name = task.info, dataset.id if dataset else UNASSIGNED
        location = self.locate(task)
        if info.excluded is not None:
            return outcome(task, location, name, "excluded", f"rule:{info.excluded}")
        if info.problem is not None:  # before the globs: a closed folder may hide what they select
            return outcome(task, location, name, "error", *info.problem)
        pattern = self._selector.excluded_by(info.key)
        if pattern is not None:
            return outcome(task, location, name, "excluded", f"rule:{pattern}")
        return None

    def _settle_failure(self, number: int, error: StoreError) -> None:
        """A listing that broke off counts as one object that could not be looked at."""
        store = self._stores[number]
        self.broken.append(f"{public_url(store.spec.url)}: the listing broke off: {error.detail}")
        task = Task(number, -1, ObjectInfo(key="", size=0))
        row = outcome(task, store.location(""), UNASSIGNED, "error", "listing", error.detail)
        self._rows.append(row)

    def drain(self, book: ledger.Ledger) -> None:
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        self.settled += len(rows)
        book.add(rows)


def _lies_in_target(settings: Settings) -> bool:
    """Whether what is scanned brings its own configuration along."""
    if settings.file is None:
        return False
    file = settings.file.resolve()
    return any(
        file.is_relative_to(Path(target).resolve())
        for target in settings.targets
        if "://" not in target
    )


def _open_one(settings: Settings, url: str) -> BinaryIO:
    """A manifest or registry that lies on a store."""
    store = open_store(settings.store_spec(url))
    found = next(iter(store.list()), None)
    if found is None:
        raise UsageError("there is no such object")
    return store.open(found)


def _recorded(settings: Settings) -> dict[str, object]:
    use = settings.declared_use
    return {
        "purpose": use.purpose,
        "recipient": use.recipient,
        "to": use.to,
        "config": settings.file.name if settings.file else None,
        "datasets": [d.id for d in settings.datasets],
        "fail_on": settings.fail_on,
        "face_detector": settings.face_detector,
        "include": list(settings.include),
        "exclude": list(settings.exclude),
        "child_age": settings.child_age,
    }

"""The main job: list, look, judge, save; reads top to bottom like the picture in docs/design.md."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from scanner import __version__, runs
from scanner.config import RUNS_FOLDER, STATE_FOLDER, Settings, lies_in_target
from scanner.context import load_context
from scanner.detectors.devices import choose as choose_device
from scanner.engines.local import LocalEngine, Progress, usable_cores
from scanner.engines.looks import look_digests, target_of
from scanner.engines.work import Setup
from scanner.errors import DISK_FAULTS, LedgerFault, UsageError
from scanner.ledger import Ledger
from scanner.listing import Listing
from scanner.model import Kept, RunInfo, SavedRun
from scanner.policy import choose, judge, load_packs, named
from scanner.sampling import Draw, bound_note, never_compliant
from scanner.stores import open_store, public_url
from scanner.subjects import SubjectKey
from scanner.vocabulary import AUTO

CLEAN, VIOLATIONS, WRONG_USE, INCOMPLETE, BOTH, INTERRUPTED = 0, 1, 2, 3, 4, 130
PAUSED = "paused: "  # begins the note of a run that could not go on
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
    # What is claimed, and what it is judged by: all checked before the first byte is read.
    packs = load_packs(named(settings.policies), settings.policy_base)
    with closing(_open_ledger(settings, key)) as book:
        settings, notes = _resumed(settings, book)
        if not settings.targets:
            raise UsageError("nothing to scan: name a TARGET, or list targets in consentry.yaml")
        specs = tuple(map(settings.store_spec, settings.targets))
        stores = [open_store(spec) for spec in specs]
        context = load_context(
            settings.datasets,
            settings.registries,
            declared_use=settings.declared_use,
            child_age=settings.child_age,
            key=key,
            targets=settings.targets,
            open_url=lambda url: open_one(settings, url),
            purposes=settings.purposes,
            spool=settings.output_directory / STATE_FOLDER,
        )
        if AUTO in settings.policies:
            chosen, why = choose(settings.policies, context)
            settings = replace(settings, policies=chosen)
            packs = load_packs(chosen, settings.policy_base)
            notes += why

        # Look: every object listed ends in exactly one row of the ledger.
        run_id = f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        faces = (settings.face_detector, settings.faces, settings.device)
        device_note = choose_device(settings.device).note
        if device_note is not None:
            notes.append(device_note)
        looks = look_digests(settings.datasets, settings.limits, faces, key)
        targets = [
            target_of(spec, settings.datasets, settings.include, settings.exclude) for spec in specs
        ]
        book.begin(run_id, started, targets, settings.targets)
        draw = Draw(settings.sample, key) if settings.sample is not None else None
        listing = Listing(settings, stores, book, looks, draw)
        setup = Setup(
            datasets=settings.datasets,
            limits=settings.limits,
            face_detector=settings.face_detector,
            faces=settings.faces,
            device=settings.device,
            subjects=key,
            require_sandbox=settings.require_sandbox,
        )
        engine = LocalEngine(
            setup, settings.jobs or usable_cores(), stores, listing.name, book.void
        )
        stopped = _look(book, listing, engine, stop, on_progress)
        expired = engine.paused or listing.expired
        if listing.expired is not None and expired is not listing.expired:
            listing.at_target(listing.expired.store, "interrupted", listing.expired.detail)
        if expired is not None:
            left = f"{engine.unreached} objects listed and not looked at"
            listing.at_target(expired.store, "interrupted", f"{expired.detail}; {left}")
            url = public_url(specs[expired.store].url)
            notes.append(
                f"{PAUSED}{url}: {expired.detail}, then continue with `consentry scan --resume`"
            )
        book.listed = listing.count - engine.unreached

        # Judge: always afresh, over all that was seen.
        moment = as_of or started
        with _run_folder(settings.output_directory, run_id) as folder:
            book.export(folder)
            previous = runs.first_seen(settings.output_directory)
            judgement = judge(
                detections=folder / "detections.parquet",
                items=folder / "items.parquet",
                coverage=folder / "coverage.parquet",
                context=context,
                packs=packs,
                as_of=moment,
                workdir=folder,
                previous=previous,
                keep=True,
            )

        findings = judgement.findings
        whole = not (stopped or expired or listing.broken)
        if draw is not None and draw.left_out:
            findings = never_compliant(findings, previous, moment)
            if whole:  # else what was drawn is not all there
                notes.append(bound_note(draw, folder))
        empty = [] if stopped else list(listing.empty_targets())  # else it may not be listed yet
        complete = whole and not empty and _complete(book)
        notes += [*book.notes, *listing.broken]
        notes += [f"{target}: there is nothing to scan" for target in empty]
        if lies_in_target(settings):
            notes.append(
                "the configuration lies in the target itself and decides what is excluded and what "
                "is on record; --config names another"
            )
        if stopped:
            notes.append("the run was interrupted: what it did not reach is not judged")
        info = RunInfo(
            id=run_id,
            version=__version__,
            started=started,
            finished=clock(),
            as_of=moment,
            targets=tuple(map(public_url, settings.targets)),
            policies=settings.policies,
            settings={**_recorded(settings), "sandbox": sorted(engine.sandboxes)},
            notes=(*notes, *judgement.notes),
            interrupted=stopped,
        )
        saved = runs.save(
            folder,
            info,
            exit_code=exit_code(findings, settings.fail_on, complete, stopped),
            complete=complete,
            rules=judgement.rules,
            findings=findings,
            kept=Kept(
                datasets=context.datasets,
                transfers=context.transfers,
                parties=context.parties,
                evidence=context.evidence,
                holdings=judgement.holdings,
                facts=judgement.facts,
            ),
        )
        if whole:  # else the next run goes on where this one ended
            book.finish()
        return saved


def _look(
    book: Ledger,
    listing: Listing,
    engine: LocalEngine,
    stop: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> bool:
    """Fill the ledger; whether the run was told to stop."""
    stopped = False

    def asked_to_stop() -> bool:
        nonlocal stopped
        stopped = stopped or stop()
        return stopped

    def tick() -> None:
        book.commit_if_due()
        on_progress(Progress(listing.count, book.done, listing.over))

    listing.start()
    try:
        for rows in engine.run(listing.tasks, asked_to_stop, tick):
            book.add(rows)
        book.commit()
    finally:
        listing.stop()
    return stopped


@contextmanager
def _run_folder(output: Path, run_id: str) -> Iterator[Path]:
    """The folder of this run; one that proves nothing does not stay."""
    folder = output / RUNS_FOLDER / run_id
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise LedgerFault(f"{folder}: cannot be made ({error.strerror})") from None
    try:
        yield folder
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno not in DISK_FAULTS:
            raise
        raise LedgerFault(
            f"{folder}: the run cannot be written ({os.strerror(error.errno)}); free space and "
            "continue with `consentry scan --resume`"
        ) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _open_ledger(settings: Settings, key: SubjectKey) -> Ledger:
    folder = settings.output_directory / STATE_FOLDER
    return Ledger.open(folder, key, use_cache=settings.cache)


def _resumed(settings: Settings, book: Ledger) -> tuple[Settings, list[str]]:
    """The settings of a run that goes on where one was interrupted, and what a reader is told."""
    # named twice, a target is scanned once
    settings = replace(settings, targets=tuple(dict.fromkeys(settings.targets)))
    before = book.interrupted()
    if before is None:
        if settings.resume:
            raise UsageError(
                f"{settings.output_directory}: no run was interrupted there, nothing to resume"
            )
        return settings, []
    targets = settings.targets or tuple(before.targets)
    if settings.resume and set(targets) != set(before.targets):
        raise UsageError(
            f"--resume: the run that was interrupted scanned {', '.join(before.targets)}; give the "
            "same targets, or none"
        )
    if set(targets) != set(before.targets) or not settings.cache:
        return settings, []
    note = f"continues run {before.id}, which was interrupted"
    return replace(settings, targets=targets), [note]


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


def _complete(book: Ledger) -> bool:
    looked_at = book.states["scanned"] + book.states["unchanged"]
    return looked_at > 0 and not book.states["partial"] and not book.states["error"]


def open_one(settings: Settings, url: str) -> BinaryIO:
    """A manifest or registry that lies on a store."""
    store = open_store(replace(settings.store_spec(url), all_versions=False))
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
        "faces": settings.faces,
        "device": settings.device,
        "include": list(settings.include),
        "exclude": list(settings.exclude),
        "child_age": settings.child_age,
        "sample": settings.sample,
    }

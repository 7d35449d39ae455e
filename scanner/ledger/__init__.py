"""What was looked at: every object of every run, in batches that survive any death.

Layout of the folder (mode 0700, files 0600; subjects appear only as keyed digests):

    lock             held by the one scan that writes; names it
    ledger.sqlite    `file.py`; with its journal while it is written

`batches.py` holds the rows as columns, `carrying.py` takes over what is unchanged, `exporting.py`
writes the Parquet files of a run.

A *generation* is one run's rows for one target; objects are numbered in the order of the listing.
An object is done when its coverage row with `is_object` is there; rows of its other attempts are
void. Nothing but this program's own output folder is ever written to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow.compute as pc

from scanner.errors import DISK_FAULTS, LedgerFault, ScannerError, UsageError
from scanner.ledger.batches import (
    COVERAGE,
    COVERAGE_TAGS,
    DETECTION_TAGS,
    DETECTIONS,
    IS_OBJECT,
    ITEM_TAGS,
    ITEMS,
    STATE,
    Batch,
    Row,
    column,
    from_rows,
    in_order,
    pack,
    together,
    unpack,
)
from scanner.ledger.carrying import Carrier, Chunk
from scanner.ledger.exporting import TABLES, Export
from scanner.ledger.file import Generation, LedgerFile, Lock, Run
from scanner.model import STATES, ObjectInfo
from scanner.subjects import SubjectKey

__all__ = [
    "COVERAGE_TAGS", "DETECTION_TAGS", "IS_OBJECT", "ITEM_TAGS", "STATE", "Interrupted", "Ledger",
    "Row", "Rows", "Target",
]  # fmt: skip

NAME = "ledger.sqlite"
COMMIT_ROWS = 8_192  # a second's worth, where rows come fast
CARRIED_ROWS = 32_768  # rows taken over that are written as one batch
COMMIT_SECONDS = 1.0
GENERATIONS_KEPT = 3  # of one base
UNFINISHED_KEPT = 8  # of one base: a run killed again and again does not fill the disk


@dataclass(frozen=True, slots=True)
class Target:
    """What is scanned, as the ledger knows it."""

    base: str  # identity of what is scanned
    selection: str  # digest of what decides which dataset a key belongs to, or excludes it
    url: str  # printable, for messages


@dataclass(slots=True)
class Rows:
    """Rows of one target: tags, then the columns of schemas.COVERAGE, DETECTIONS, ITEMS."""

    target: int
    coverage: list[Row]
    detections: list[Row]
    items: list[Row]

    def __len__(self) -> int:
        return len(self.coverage) + len(self.detections) + len(self.items)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run that did not come to its end."""

    id: str
    started: datetime
    targets: tuple[str, ...]  # URLs as given


class Ledger:
    """The ledger of one output folder, open for one run. Used from one thread."""

    def __init__(self, file: LedgerFile, lock: Lock, use_cache: bool) -> None:
        self._file = file
        self._lock = lock
        self._use_cache = use_cache
        self._carrier = Carrier(file)
        self.notes: list[str] = [] if file.note is None else [file.note]
        self._run: Run | None = None
        self._generations: list[Generation] = []
        self._selections: list[str] = []
        self._earlier: list[list[Generation]] = []  # by target, newest first
        self._waiting: list[Rows] = []  # by target
        self._waiting_rows = 0
        self._carried: list[list[Batch]] = []  # taken over, by target; not written yet
        self._committed = monotonic()
        self._retried: dict[int, int] = {}  # n → the attempt that counts, where not the first
        self._voided: set[tuple[int, int]] = set()
        self._undone: set[int] = set()  # objects with rows that are not done
        self.listed = 0
        self.taken_over = 0
        self.states: Counter[str] = Counter()

    @classmethod
    def open(cls, output: Path, key: SubjectKey, *, use_cache: bool = True) -> Ledger:
        """Open the ledger in `output`, making both where needed; everything in it is verified.

        Raises UsageError if nothing can be written there or another scan holds it, LedgerFault if
        the disk fails.
        """
        try:
            output.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Lock(output)
        except OSError as error:
            if error.errno in DISK_FAULTS:
                raise LedgerFault(
                    f"{output}: nothing can be written there ({error.strerror}); free space first"
                ) from None
            raise UsageError(
                f"{output}: cannot write results there ({error.strerror}); choose another "
                "folder with output.directory in consentry.yaml or --output-directory"
            ) from error
        try:
            file = LedgerFile(output / NAME, key.derive("ledger"))
        except BaseException:
            lock.close()
            raise
        return cls(file, lock, use_cache)

    @property
    def done(self) -> int:
        return self.states.total()

    def interrupted(self) -> Interrupted | None:
        """The newest run that did not come to its end; not the one that `begin` began."""
        for _, run in sorted(self._file.runs.items(), reverse=True):
            if not run.finished and run is not self._run:
                return Interrupted(run.id, datetime.fromisoformat(run.started), run.urls)
        return None

    def begin(
        self,
        run_id: str,
        started: datetime,
        targets: Sequence[Target],
        urls_as_given: Sequence[str],
    ) -> None:
        """Begin a run; `targets` are numbered from 0."""
        file = self._file
        for target in targets:
            earlier = [g for _, g in sorted(file.generations.items()) if g.base == target.base]
            unfinished = [g for g in earlier if not file.runs[g.run].finished]
            # an earlier run took over what the ones before it had: the longest are the best
            if len(unfinished) >= UNFINISHED_KEPT:
                unfinished.sort(key=lambda g: (file.size(g), g.number))
            for generation in unfinished[: 1 - UNFINISHED_KEPT]:
                file.drop(generation)
                earlier.remove(generation)
            self._earlier.append(earlier[::-1] if self._use_cache else [])
        self._run = file.add_run(run_id, started.astimezone(UTC).isoformat(), urls_as_given)
        for number, target in enumerate(targets):
            self._selections.append(target.selection)
            self._waiting.append(Rows(number, [], [], []))
            self._carried.append([])
            self._generations.append(
                file.add_generation(self._run, number, target.base, target.selection)
            )
        self.commit()

    # ------------------------------------------------------------ writing

    def carry(
        self,
        target: int,
        first_n: int,
        infos: Sequence[ObjectInfo],
        looks: Collection[str],
        accept: Callable[[ObjectInfo, str], bool] | None,
    ) -> list[bool]:
        """Which of these objects need not be looked at again; their rows are taken over at once.

        They are numbered from `first_n`. `accept` is asked about an object that an earlier run
        looked at under another selection: (info, look of then).
        """
        earlier = self._earlier[target]
        if not infos or not any(generation.batches for generation in earlier):
            return [False] * len(infos)
        done, batches = self._carrier.carry(
            earlier, self._selections[target], Chunk(infos, first_n), looks, accept
        )
        if not done.any():
            return [False] * len(infos)
        carried = self._carried[target]
        batch = next(batches)
        for following in batches:  # all but the last hold the rows of one big object
            self._keep(self._generations[target], batch)
            batch = following
        assert batch.coverage is not None
        carried.append(batch)
        if sum(map(len, carried)) >= CARRIED_ROWS:
            self._keep_carried(target)
        states = batch.coverage.filter(batch.coverage.column("is_object")).column("state")
        for entry in pc.value_counts(states).to_pylist():
            self.states[entry["values"]] += entry["counts"]
        self.taken_over += int(done.sum())
        if monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()
        result: list[bool] = done.tolist()
        return result

    def _keep_carried(self, target: int) -> None:
        if self._carried[target]:
            self._keep(self._generations[target], together(self._carried[target]))
            self._carried[target] = []

    def _keep(self, generation: Generation, batch: Batch) -> None:
        packed = pack(batch)
        if packed is not None:
            self._file.add_batch(generation, packed)

    def add(self, rows: Rows) -> None:
        """Keep rows; they are committed when enough have come together, or after a second."""
        waiting = self._waiting[rows.target]
        done = set()
        for row in rows.coverage:
            if row[IS_OBJECT]:
                n, attempt = row[0], row[1]
                if attempt > 1:
                    for before in range(1, attempt):
                        self.void(n, before)
                    self._retried[n] = attempt
                self.states[row[STATE]] += 1
                done.add(n)
        waiting.coverage += rows.coverage
        waiting.detections += rows.detections
        waiting.items += rows.items
        self._undone.update(row[0] for row in rows.detections if row[0] not in done)
        self._undone.update(row[0] for row in rows.items if row[0] not in done)
        self._undone.update(row[0] for row in rows.coverage if row[0] not in done)
        self._undone -= done
        self._waiting_rows += len(rows)
        if self._waiting_rows >= COMMIT_ROWS or monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def void(self, n: int, attempt: int) -> None:
        """The rows of that attempt at object `n` no longer count."""
        if (n, attempt) in self._voided:
            return
        assert self._run is not None, "begin() comes first"
        state = self._state_of(n, attempt)
        if state is not None:
            self.states[state] -= 1
            self._undone.add(n)
            self._retried.pop(n, None)
        self._voided.add((n, attempt))
        self._file.add_void(self._run, n, attempt)

    def _state_of(self, n: int, attempt: int) -> str | None:
        """The state of an object as this attempt left it; None if it did not get that far."""
        for rows in self._waiting:
            for row in rows.coverage:
                if row[0] == n and row[1] == attempt and row[IS_OBJECT]:
                    return str(row[STATE])
        for generation in self._generations:
            for seq in self._file.holding(generation, n):
                blob = self._file.blob(seq, "coverage")
                if blob is None:
                    continue
                found = unpack(blob)
                mine = (column(found, "n") == n) & (column(found, "attempt") == attempt)
                mine &= found.column("is_object").to_numpy(zero_copy_only=False)
                if mine.any():
                    return str(found.column("state")[int(np.flatnonzero(mine)[0])].as_py())
        return None

    def commit_if_due(self) -> None:
        """To be called while nothing happens, too: at most a second's work is lost in a crash."""
        if monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write down all that was added; raises LedgerFault if that is not possible."""
        for rows, generation in zip(self._waiting, self._generations, strict=True):
            self._keep_carried(rows.target)
            if len(rows):
                tables = (
                    from_rows(rows.coverage, COVERAGE),
                    from_rows(rows.detections, DETECTIONS),
                    from_rows(rows.items, ITEMS),
                )
                # in order, so that the next run finds keys by bisection
                ordered = [None if table is None else in_order(table) for table in tables]
                self._keep(generation, Batch(*ordered))
                rows.coverage, rows.detections, rows.items = [], [], []
        self._waiting_rows = 0
        self._file.commit()
        self._committed = monotonic()

    # ------------------------------------------------------------ the end

    def export(self, folder: Path) -> None:
        """Write coverage.parquet, detections.parquet and items.parquet.

        Raises ScannerError when not every object listed ended in exactly one known state.
        """
        self.commit()
        self._prove(self.states)
        export = Export(self._file, self._generations, self._retried, self._undone)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, schema in TABLES:
                export.write(name, schema, folder / f"{name}.parquet")
        except OSError as error:
            raise LedgerFault(
                f"{folder}: the results cannot be written ({error.strerror}); free space and "
                "continue with `consentry scan --resume`"
            ) from error
        self._prove(export.states if export.once else Counter())

    def _prove(self, states: Counter[str]) -> None:
        if self.listed != states.total() or {s for s, n in states.items() if n} - set(STATES):
            raise ScannerError(
                f"internal error: {self.listed} objects listed but {states.total()} accounted for; "
                "this run proves nothing, please report it"
            )

    def finish(self) -> None:
        """The run is whole: what it replaces is deleted."""
        assert self._run is not None, "begin() comes first"
        file = self._file
        file.set_finished(self._run)
        for own in self._generations:
            others = [
                g
                for _, g in sorted(file.generations.items(), reverse=True)
                if g.base == own.base and g.run != own.run
            ]
            left = [g for g in others if g.selection != own.selection]
            for generation in others:
                if generation not in left[: GENERATIONS_KEPT - 1]:
                    file.drop(generation)
        self.commit()

    def close(self) -> None:
        """Let go. Without `finish`, the next run takes over what was committed."""
        self._file.close()
        self._lock.close()

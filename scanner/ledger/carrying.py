"""Which objects need no new look: their rows of earlier runs, found by key in whole chunks.

An object's earlier rows stand for it if its key, version and size are the same, it was looked at
in a way that still holds (`look`), and what was seen depends on its content alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scanner.ledger.batches import (
    Batch,
    Numbers,
    coded,
    codes,
    column,
    in_order,
    joined,
    replaced,
    taken,
    unpack,
)
from scanner.ledger.file import Generation, LedgerFile
from scanner.model import CONTENT_REASONS, WEAK_VERSION, ObjectInfo, printable
from scanner.schemas import LOOKED_AT

_LASTING = pa.array(sorted(CONTENT_REASONS))
_CAN_STAND = pa.array(["scanned", "unchanged", "partial", "error"])

KEPT_ROWS = 131_072  # decoded rows of earlier batches kept at hand for the next chunks
GROUP_ROWS = 65_536  # rows of earlier batches that are searched at once

Accept = Callable[[ObjectInfo, str], bool]
Flags = NDArray[np.bool_]


class Chunk:
    """Some objects of a listing as columns."""

    def __init__(self, infos: Sequence[ObjectInfo], first_n: int) -> None:
        self.infos = infos
        self.first_n = first_n
        # a loop per field: several times faster than one over all of them
        self.keys = _printable([info.key for info in infos])
        self.versions = _printable([info.version for info in infos])
        self.sizes = pa.array([info.size for info in infos], pa.int64())
        self.wanted: Flags = pc.greater(pc.binary_length(self.versions), 0).to_numpy(
            zero_copy_only=False
        )
        # anybody can set a file's time back: it tells a change, but not that there was none
        self.wanted &= ~pc.starts_with(self.versions, WEAK_VERSION).to_numpy(zero_copy_only=False)
        problems = [info.problem for info in infos]
        excluded = [info.excluded for info in infos]
        for values in (problems, excluded):
            if values.count(None) < len(values):
                self.wanted &= np.array([value is None for value in values])


def _printable(names: Sequence[str]) -> pa.Array:
    try:
        array = pa.array(names, pa.string())
    except UnicodeEncodeError:  # a name that is not UTF-8
        return pa.array(map(printable, names), pa.string())
    if b"\\x" in array.buffers()[2].to_pybytes():  # may look as if it were not
        return pa.array(map(printable, names), pa.string())
    return array


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An earlier batch, decoded: the coverage rows that may count."""

    seq: int
    coverage: pa.RecordBatch
    by_key: bool  # whether they are in the order of their keys

    def between(self, low: str, high: str) -> _Earlier:
        """Without rows outside this range, as far as that costs nothing."""
        if not self.by_key:
            return self
        keys = self.coverage.column("key")
        first = bisect_left(range(len(keys)), low, key=lambda at: keys[at].as_py())
        end = bisect_right(range(len(keys)), high, lo=first, key=lambda at: keys[at].as_py())
        return _Earlier(self.seq, self.coverage.slice(first, end - first), True)


class _Group:
    """Some earlier batches of one generation, to be searched at once."""

    def __init__(self, batches: Sequence[_Earlier], finished: bool) -> None:
        self.seqs = [batch.seq for batch in batches]
        self.coverage = joined([batch.coverage for batch in batches])
        self.finished = finished
        whole = self.coverage.column("is_object")
        self.only_objects = whole.true_count == len(whole)
        self.objects = (
            self.coverage if self.only_objects else self.coverage.filter(pc.fill_null(whole, False))
        )

    @cached_property
    def usable(self) -> Flags:
        """Of each object: whether its outcome may be taken over."""
        rows = self.coverage
        state = rows.column("state")
        fine = pc.or_(pc.equal(state, "scanned"), pc.equal(state, "unchanged"))
        if fine.true_count == len(rows):
            return np.ones(len(self.objects), bool)
        bad = pc.invert(pc.is_in(state, value_set=_CAN_STAND))
        if self.finished:
            bad = pc.or_(bad, _may_pass(rows))
        usable: Flags = np.ones(len(self.objects), bool)
        if pc.any(bad).as_py():
            numbers = column(rows.filter(bad), "n")
            usable = ~np.isin(column(self.objects, "n"), numbers)
        return usable

    def known(self, looks: Collection[str]) -> Flags:
        """Of each object: whether it was looked at in one of these ways."""
        column_ = self.objects.column("look")
        if pc.equal(column_, column_[0]).true_count == len(column_):  # mostly
            first = column_[0].as_py()
            return np.full(len(column_), first in looks and first != "")
        known: Flags = pc.is_in(
            column_, value_set=pa.array(sorted(set(looks) - {""}), pa.string())
        ).to_numpy(zero_copy_only=False)
        return known

    def find(self, chunk: Chunk) -> tuple[Numbers, Flags]:
        """For each object of the chunk: where it is among `objects` (-1: not there), and whether
        it is the same.
        """
        at = _positions(chunk.keys, self.objects.column("key"))
        same = self._same(chunk, at)
        differ = (at >= 0) & ~same
        if differ.any():  # the key may be there in several versions
            other = self._by_version(chunk, differ)
            at = np.where(other >= 0, other, at)
            same = self._same(chunk, at)
        return at, same

    def _same(self, chunk: Chunk, at: Numbers) -> Flags:
        where = pa.array(np.maximum(at, 0))
        versions = pc.equal(self.objects.column("store_version").take(where), chunk.versions)
        sizes = pc.equal(self.objects.column("size_bytes").take(where), chunk.sizes)
        same = pc.fill_null(pc.and_(versions, sizes), False).to_numpy(zero_copy_only=False)
        result: Flags = same & (at >= 0)
        return result

    def _by_version(self, chunk: Chunk, which: Flags) -> Numbers:
        here = _key_and_version(self.objects.column("key"), self.objects.column("store_version"))
        mask = pa.array(which)
        sought = _key_and_version(chunk.keys.filter(mask), chunk.versions.filter(mask))
        found = np.full(len(which), -1, np.int64)
        found[which] = _positions(sought, here)
        return found


def _key_and_version(keys: pa.Array, versions: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(keys, pc.fill_null(versions, ""), "\0")


def _positions(sought: pa.Array, among: pa.Array) -> Numbers:
    """Where each value is first found; -1: nowhere."""
    if sought.equals(among):
        return np.arange(len(sought), dtype=np.int64)
    found = pc.fill_null(pc.index_in(sought, value_set=among), -1)
    positions: Numbers = found.to_numpy(zero_copy_only=False).astype(np.int64)
    return positions


def _may_pass(rows: pa.RecordBatch) -> pa.Array:
    """Rows about what went wrong for a reason that is not in the content."""
    fine = pc.is_in(rows.column("state"), value_set=LOOKED_AT)
    lasting = pc.is_in(rows.column("reason"), value_set=_LASTING)
    return pc.invert(pc.or_(fine, lasting))


@dataclass(frozen=True, slots=True)
class _Moved:
    """Objects whose rows are taken over: their numbers then and now."""

    old: Numbers
    attempt: Numbers
    new: Numbers  # ascending

    def of(self, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        """The rows that belong to them, renumbered and sorted; None if there are none."""
        if not len(self.old) or not len(rows):
            return None
        where = _positions(rows.column("n"), pa.array(self.old))
        mine = (where >= 0) & (column(rows, "attempt") == self.attempt[where])
        chosen = np.flatnonzero(mine)
        if not len(chosen):
            return None
        new = self.new[where[chosen]]
        order = np.lexsort((column(rows, "i")[chosen], new))
        return renumbered(taken(rows, chosen[order]), new[order])


def renumbered(rows: pa.RecordBatch, new: Numbers) -> pa.RecordBatch:
    attempts = np.zeros(len(rows), np.int8)
    return replaced(rows, n=pa.array(new, pa.int64()), attempt=pa.array(attempts))


class Carrier:
    """Finds earlier rows; keeps the batches of the last chunks decoded."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._kept: OrderedDict[int, _Earlier] = OrderedDict()
        self._kept_rows = 0
        self._void: dict[int, Numbers] = {}  # by run: codes of what does not count

    def carry(
        self,
        earlier: Sequence[Generation],
        selection: str,
        chunk: Chunk,
        looks: Collection[str],
        accept: Accept | None,
    ) -> tuple[Flags, Iterator[Batch]]:
        """Which objects of the chunk are taken over, and their rows under the new numbers.

        `earlier`: newest first; the newest that has a key decides about it. The batches have to be
        written in the order in which they come.
        """
        wanted = chunk.wanted.copy()
        done = np.zeros(len(wanted), bool)
        found: list[tuple[Generation, _Group, _Moved, Numbers]] = []
        for generation in earlier:
            if not wanted.any():
                break
            present = np.zeros(len(wanted), bool)
            for group in self._groups(generation, chunk, wanted):
                at, same = group.find(chunk)
                present |= at >= 0
                place = np.maximum(at, 0)
                take = same & wanted & ~done & group.usable[place]
                if take.any():
                    take &= group.known(looks)[place]
                if generation.selection != selection:
                    for number in np.flatnonzero(take).tolist():
                        was = group.objects.column("look")[int(at[number])].as_py()
                        take[number] = accept is not None and accept(chunk.infos[number], was)
                take &= self._spread_usable(generation, group, take, at)
                if take.any():
                    chosen = np.flatnonzero(take)
                    _, once = np.unique(at[chosen], return_index=True)
                    if len(once) < len(chosen):  # listed twice: rows are taken over for one only
                        chosen = chosen[np.sort(once)]
                        take = np.zeros(len(take), bool)
                        take[chosen] = True
                    objects = at[chosen]
                    moved = _Moved(
                        column(group.objects, "n")[objects],
                        column(group.objects, "attempt")[objects],
                        chunk.first_n + chosen,
                    )
                    found.append((generation, group, moved, objects))
                    done |= take
            wanted &= ~present
        return done, self._rows(found)

    # ------------------------------------------------------------ finding

    def _groups(self, generation: Generation, chunk: Chunk, wanted: Flags) -> Iterator[_Group]:
        keys = chunk.keys if wanted.all() else chunk.keys.filter(pa.array(wanted))
        bounds = pc.min_max(keys)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        finished = self._file.runs[generation.run].finished
        batches: list[_Earlier] = []
        rows = 0
        for seq in self._file.between(generation, low.encode(), high.encode()):
            batch = self._decoded(generation, seq).between(low, high)
            if not len(batch.coverage):
                continue
            if batches and rows + len(batch.coverage) > GROUP_ROWS:
                yield _Group(batches, finished)
                batches, rows = [], 0
            batches.append(batch)
            rows += len(batch.coverage)
        if batches:
            yield _Group(batches, finished)

    def _decoded(self, generation: Generation, seq: int) -> _Earlier:
        kept = self._kept.get(seq)
        if kept is not None:
            self._kept.move_to_end(seq)
            return kept
        blob = self._file.blob(seq, "coverage")
        assert blob is not None, "batches found by key have objects"
        rows = self._counting(generation, unpack(blob))
        reasons = rows.column("reason")
        if reasons.null_count < len(reasons):
            broken_off = pc.fill_null(pc.equal(reasons, "interrupted"), False)
            if broken_off.true_count:  # as if they had never been listed
                numbers = column(rows.filter(broken_off), "n")
                rows = rows.filter(pa.array(~np.isin(column(rows, "n"), numbers)))
        keys = rows.column("key")
        by_key = bool(pc.all(pc.less_equal(keys[:-1], keys[1:]), skip_nulls=False).as_py())
        kept = self._kept[seq] = _Earlier(seq, rows, by_key)
        self._kept_rows += len(rows)
        while self._kept_rows > KEPT_ROWS and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_rows -= len(oldest.coverage)
        return kept

    def _counting(self, generation: Generation, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Without the rows that were declared void."""
        void = self._void.get(generation.run)
        if void is None:
            void = coded(self._file.voids(self._file.runs[generation.run]))
            self._void[generation.run] = void
        if not len(void) or not len(rows):
            return rows
        gone = np.isin(codes(column(rows, "n"), column(rows, "attempt")), void)
        return rows.filter(pa.array(~gone)) if gone.any() else rows

    def _spread_usable(
        self, generation: Generation, group: _Group, take: Flags, at: Numbers
    ) -> Flags:
        """False for objects with a row in another batch that must not be taken over."""
        usable = np.ones(len(take), bool)
        spread = group.objects.column("spread")
        if not group.finished or not spread.true_count:
            return usable
        flags = spread.to_numpy(zero_copy_only=False)
        for place in np.flatnonzero(take & flags[np.maximum(at, 0)]):
            row = int(at[place])
            n, attempt = (column(group.objects, name)[row] for name in ("n", "attempt"))
            for seq in self._file.holding(generation, int(n)):
                blob = self._file.blob(seq, "coverage")
                if blob is None:
                    continue
                rows = unpack(blob)
                mine = (column(rows, "n") == n) & (column(rows, "attempt") == attempt)
                if pc.any(_may_pass(rows.filter(pa.array(mine)))).as_py():
                    usable[place] = False
                    break
        return usable

    # ------------------------------------------------------------ taking over

    def _rows(self, found: Sequence[tuple[Generation, _Group, _Moved, Numbers]]) -> Iterator[Batch]:
        tables: tuple[list[pa.RecordBatch], ...] = ([], [], [])
        for generation, group, moved, objects in found:
            spread = group.objects.column("spread")
            at_once = moved
            if spread.true_count:
                flags = spread.to_numpy(zero_copy_only=False)[objects]
                # Their other rows first: an object is done once its own row is there.
                for place in np.flatnonzero(flags):
                    yield from self._spread_rows(generation, moved, int(place))
                at_once = _Moved(moved.old[~flags], moved.attempt[~flags], moved.new[~flags])
            own = renumbered(taken(group.objects, objects), moved.new)
            tables[0].append(_unchanged(own) if group.finished else own)
            if not group.only_objects:
                nested = group.coverage.filter(pc.invert(group.coverage.column("is_object")))
                _append(tables[0], at_once.of(nested))
            for name, table in zip(("detections", "items"), tables[1:], strict=True):
                blobs = [self._file.blob(seq, name) for seq in group.seqs]
                rows = [unpack(blob) for blob in blobs if blob is not None]
                if rows:
                    _append(table, at_once.of(joined(rows)))
        yield Batch(*(in_order(joined(table)) if table else None for table in tables))

    def _spread_rows(self, generation: Generation, moved: _Moved, place: int) -> Iterator[Batch]:
        """The rows of one object from all batches, without its own coverage row."""
        alone = _Moved(*(v[place : place + 1] for v in (moved.old, moved.attempt, moved.new)))
        for seq in self._file.holding(generation, int(alone.old[0])):
            blobs = [self._file.blob(seq, name) for name in ("coverage", "detections", "items")]
            tables = [None if blob is None else alone.of(unpack(blob)) for blob in blobs]
            if tables[0] is not None:
                tables[0] = tables[0].filter(pc.invert(tables[0].column("is_object")))
            yield Batch(*tables)


def _append(tables: list[pa.RecordBatch], rows: pa.RecordBatch | None) -> None:
    if rows is not None:
        tables.append(rows)


def _unchanged(rows: pa.RecordBatch) -> pa.RecordBatch:
    state = rows.column("state")
    scanned = pc.equal(state, "scanned")
    if not scanned.true_count:
        return rows
    return replaced(rows, state=pc.if_else(scanned, pa.scalar("unchanged"), state))

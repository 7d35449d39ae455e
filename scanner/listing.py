"""Turns listings into tasks: what is known already is taken over, what needs no look is settled.

The stores are listed in a thread of their own, in chunks; everything else happens in the thread of
the caller, which is the only one that touches the ledger.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic

from scanner.config import Settings
from scanner.context import Assigner, Selector
from scanner.engines.results import Naming, coverage
from scanner.engines.work import Task
from scanner.errors import CredentialsExpired, StoreError
from scanner.ledger import Ledger, Rows
from scanner.model import UNASSIGNED, DatasetSpec, Location, ObjectInfo
from scanner.sampling import NOT_DRAWN, SAMPLED, Draw
from scanner.stores import Store, public_url

CHUNK_OBJECTS = 8_192
CHUNK_SECONDS = 0.25  # a chunk is passed on by then, so that the first results come soon
CHUNKS_AHEAD = 4  # the listing may run ahead, so that the total is known early


class Listing:
    """All objects of all targets, in the order of their stores, numbered from 0."""

    def __init__(
        self,
        settings: Settings,
        stores: Sequence[Store],
        book: Ledger,
        looks: Mapping[str, str],
        draw: Draw | None = None,
    ) -> None:
        """`draw`: only the objects that it takes are looked at; others are `partial`, `sampled`."""
        self._stores = stores
        self._book = book
        self._looks = looks
        self._draw = draw
        self._digests = frozenset(looks.values())
        self._assigner = Assigner(settings.datasets)
        self._selector = Selector(settings.include, settings.exclude)
        self._datasets = settings.datasets
        self._numbers = {spec.id: n for n, spec in enumerate(settings.datasets)}
        self._empty = set(range(len(stores)))
        self._chunks: queue.Queue[_Chunk | None] = queue.Queue(CHUNKS_AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._pull, daemon=True, name="listing")
        self.count = 0  # objects numbered so far
        self.over = False  # `count` is the total
        self.broken: list[str] = []  # one sentence per target whose listing broke off
        self.expired: CredentialsExpired | None = None

    # ------------------------------------------------------------ the listing thread

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        if self._thread.is_alive():
            self._thread.join(2)

    def _pull(self) -> None:
        for number, store in enumerate(self._stores):
            infos: list[ObjectInfo] = []
            deadline = monotonic() + CHUNK_SECONDS
            try:
                for info in store.list():
                    infos.append(info)
                    if len(infos) >= CHUNK_OBJECTS or (
                        not len(infos) % 64 and monotonic() > deadline
                    ):
                        if not self._put(_Chunk(number, infos)):
                            return
                        infos = []
                        deadline = monotonic() + CHUNK_SECONDS
                failure: BaseException | None = None
            except BaseException as error:  # a driver's panic, too: else all would wait for ever
                failure = error
            if not self._put(_Chunk(number, infos, failure)):
                return
        self._put(None)

    def _put(self, chunk: _Chunk | None) -> bool:
        while not self._stopped:
            try:
                self._chunks.put(chunk, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    # ------------------------------------------------------------ the caller's thread

    def tasks(self, seconds: float) -> list[Task] | None:
        """The next tasks, waiting at most so long: [] if there are none now, None at the end.

        Raises what is no fault of a store.
        """
        until = monotonic() + seconds
        while not self.over:
            try:
                chunk = self._chunks.get(timeout=max(until - monotonic(), 0.001))
            except queue.Empty:
                return []
            if chunk is None:
                self.over = True
                break
            tasks = self._of(chunk)
            if chunk.failure is not None:
                self._broke_off(chunk)
            if tasks or monotonic() > until:
                return tasks
        return None

    def _of(self, chunk: _Chunk) -> list[Task]:
        infos, first = chunk.infos, self.count
        if not infos:
            return []
        self._empty.discard(chunk.store)
        self.count += len(infos)
        known = self._book.carry(chunk.store, first, infos, self._digests, self._is_as_before)
        if self._draw is not None:
            for info, done in zip(infos, known, strict=True):
                if done:  # costs nothing, so it is taken over whether it is drawn or not
                    self._draw.count(info.key)
        if all(known):
            return []
        tasks = []
        settled = Rows(chunk.store, [], [], [])
        for number, (info, done) in enumerate(zip(infos, known, strict=True), first):
            if done:
                continue
            dataset = self._assigner.assign(info.key)
            task = Task(number, chunk.store, self._number(dataset), info)
            state = self._settled(info)
            if state is None:
                tasks.append(task)
            else:
                name = self.name(task)
                if state[1] == SAMPLED:
                    name.look = ""  # it stands for no look, in no later run
                settled.coverage.append(coverage(task, name, *state))
        if settled.coverage:
            self._book.add(settled)
        return tasks

    def _is_as_before(self, info: ObjectInfo, look: str) -> bool:
        """Whether an object that other globs were applied to belongs to the same dataset now."""
        if self._selector.excluded_by(info.key) is not None:
            return False
        dataset = self._assigner.assign(info.key)
        return self._looks[dataset.id if dataset else UNASSIGNED] == look

    def _settled(self, info: ObjectInfo) -> tuple[str, str] | tuple[str, str, str] | None:
        if info.excluded is not None:
            return "excluded", f"rule:{info.excluded}"
        if info.problem is not None:  # before the globs: a closed folder may hide what they select
            return "error", *info.problem
        pattern = self._selector.excluded_by(info.key)
        if pattern is not None:
            return "excluded", f"rule:{pattern}"
        if self._draw is not None and not self._draw.count(info.key):
            self._draw.left_out += 1
            return "partial", SAMPLED, NOT_DRAWN
        return None

    def _broke_off(self, chunk: _Chunk) -> None:
        """A listing that broke off counts as one object that could not be looked at."""
        assert chunk.failure is not None
        if not isinstance(chunk.failure, StoreError):
            raise chunk.failure
        if isinstance(chunk.failure, CredentialsExpired):
            chunk.failure.store = chunk.store
            self._empty.discard(chunk.store)
            if self.expired is None:
                self.expired = chunk.failure
            else:  # of more than one target
                self.at_target(chunk.store, "interrupted", chunk.failure.detail)
            return
        detail = chunk.failure.detail
        self._empty.discard(chunk.store)
        shown = public_url(self._stores[chunk.store].spec.url)
        self.broken.append(f"{shown}: the listing broke off: {detail}")
        self.at_target(chunk.store, "listing", detail)

    def at_target(self, store: int, reason: str, detail: str) -> None:
        """A row for what a target would have held: one object, which could not be looked at."""
        task = Task(self.count, store, -1, ObjectInfo(key="", size=0))
        self.count += 1
        row = coverage(task, self.name(task), "error", reason, detail)
        self._book.add(Rows(store, [row], [], []))

    def name(self, task: Task) -> Naming:
        """What the rows of a task are called."""
        dataset = self._datasets[task.dataset].id if task.dataset >= 0 else UNASSIGNED
        location: Location = self._stores[task.store].location(task.info.key)
        return Naming(task.info.key, location, dataset, self._looks[dataset])

    def _number(self, dataset: DatasetSpec | None) -> int:
        return -1 if dataset is None else self._numbers[dataset.id]

    def empty_targets(self) -> Iterator[str]:
        """Targets that hold nothing at all, as far as they were listed."""
        for number in sorted(self._empty):
            yield public_url(self._stores[number].spec.url)


class _Chunk:
    """Some objects of one target; `failure` is what ended its listing after them."""

    __slots__ = ("failure", "infos", "store")

    def __init__(
        self, store: int, infos: list[ObjectInfo], failure: BaseException | None = None
    ) -> None:
        self.store = store
        self.infos = infos
        self.failure = failure

"""The ledger's SQLite file: one connection, one writer, a keyed digest over everything in it.

SQLite survives the death of its process at any moment, but its own integrity check sees few flipped
bytes (../shared/reliability.md: 18 of 60), so each batch carries an HMAC-SHA256 over its columns
and the previous batch's digest, and one row in `meta` covers all runs and generations. A file
that does not match its digests is set aside whole: nothing in it is trusted.
"""

from __future__ import annotations

import fcntl
import heapq
import hmac
import json
import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scanner.errors import LedgerFault, UsageError
from scanner.ledger.batches import Packed

VERSION = 1
_APPLICATION = 0x434F4E53  # "CONS", for file(1)
_CACHE_KIB = 16 * 1024
_PAGE_BYTES = 32768  # blobs of some 100 kB: fewer overflow pages to follow than with 4096

_SCHEMA = """
CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), key BLOB NOT NULL, chain BLOB NOT NULL);
CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL, started TEXT NOT NULL,
  finished INTEGER NOT NULL, urls TEXT NOT NULL, voids INTEGER NOT NULL, head BLOB NOT NULL,
  chain BLOB NOT NULL);
CREATE TABLE generations (number INTEGER PRIMARY KEY, run INTEGER NOT NULL,
  target INTEGER NOT NULL, base TEXT NOT NULL, selection TEXT NOT NULL,
  batches INTEGER NOT NULL, head BLOB NOT NULL, chain BLOB NOT NULL);
CREATE TABLE batches (seq INTEGER PRIMARY KEY, generation INTEGER NOT NULL,
  first_n INTEGER NOT NULL, last_n INTEGER NOT NULL, first_i INTEGER NOT NULL,
  first_key BLOB, last_key BLOB, rows INTEGER NOT NULL, attempts INTEGER NOT NULL,
  chain BLOB NOT NULL, coverage BLOB, detections BLOB, items BLOB);
CREATE INDEX batches_by_n ON batches (generation, first_n, first_i, last_n, attempts);
CREATE INDEX batches_by_key ON batches (generation, first_key, last_key);
CREATE TABLE voided (seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, n INTEGER NOT NULL,
  attempt INTEGER NOT NULL, chain BLOB NOT NULL);
"""

# What says nothing about the file's content: the disk, the memory, another program.
_SURROUNDINGS = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip


class _Damaged(Exception):
    """The file is not what we wrote; the text goes into the note."""


@dataclass(slots=True)
class Run:
    """One run of the program."""

    number: int
    id: str
    started: str  # ISO 8601
    finished: bool
    urls: tuple[str, ...]  # as the user gave them
    voids: int
    head: bytes  # digest of the last void
    chain: bytes = b""

    def values(self) -> tuple[int | str | bytes, ...]:
        urls = json.dumps(self.urls)
        finished = int(self.finished)
        return self.number, self.id, self.started, finished, urls, self.voids, self.head


@dataclass(slots=True)
class Generation:
    """One run's rows for one target."""

    number: int
    run: int
    target: int
    base: str
    selection: str
    batches: int
    head: bytes  # digest of the last batch
    chain: bytes = b""

    def values(self) -> tuple[int | str | bytes, ...]:
        return (
            self.number, self.run, self.target, self.base, self.selection, self.batches, self.head
        )  # fmt: skip


class Lock:
    """The folder's lock: held as long as this object is open, gone with its process."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 200, 0).decode("ascii", "replace").split()
            os.close(self._fd)
            who = "another scan"
            if len(holder) == 2 and holder[0].isdigit():
                who = f"another scan (process {holder[0]}, since {holder[1]})"
            raise UsageError(
                f"{folder}: {who} is writing there; wait for it, or choose another folder with "
                "--output-directory"
            ) from None
        except OSError:
            os.close(self._fd)
            raise
        text = f"{os.getpid()} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n"
        os.ftruncate(self._fd, 0)  # what is in a stale file was written by a process now gone
        os.pwrite(self._fd, text.encode(), 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LedgerFile:
    """The open database. Writes collect in one transaction until `commit`."""

    def __init__(self, path: Path, secret: bytes) -> None:
        """Open it, or make it where there is none; what is damaged is set aside (`note`).

        Raises LedgerFault when the disk or another program is in the way.
        """
        self.path = path
        self.note: str | None = None
        self._secret = secret
        self._broken = False
        self._open = False
        self.runs: dict[int, Run] = {}
        self.generations: dict[int, Generation] = {}
        self._dirty_runs: set[int] = set()
        self._dirty_generations: set[int] = set()
        try:
            with self._faults():
                self._connect()
                self._check()
        except _Damaged as damage:
            self._database.close()
            with self._faults():
                aside = _set_aside(path)
            self.note = f"{damage}; it was set aside as {aside} and everything is read afresh"
            self.runs.clear()
            self.generations.clear()
            with self._faults():
                self._connect()
                self._check()
        except BaseException:
            if hasattr(self, "_database"):
                self._database.close()
            raise

    # ------------------------------------------------------------ opening

    def _connect(self) -> None:
        # Made with its mode before SQLite opens it; the journal files take over the mode.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o600)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
        self._database = sqlite3.connect(self.path, isolation_level=None, cached_statements=64)
        try:
            for pragma in (
                # Nobody else may open it (`Lock`), so no shared memory is needed.
                "locking_mode=EXCLUSIVE",
                f"page_size={_PAGE_BYTES}",
                "trusted_schema=OFF",
                "cell_size_check=ON",
                "journal_mode=WAL",  # where a file system cannot: SQLite keeps its own default
                "synchronous=FULL",
                f"cache_size=-{_CACHE_KIB}",
                "journal_size_limit=67108864",
                "secure_delete=FAST",
            ):
                self._database.execute(f"PRAGMA {pragma}").fetchall()
        except sqlite3.Error as error:
            raise self._judged(error) from None
        except ValueError as error:  # SQLite's message quotes damaged names
            raise _Damaged("the ledger was damaged") from error

    def _check(self) -> None:
        """Read everything once. Raises _Damaged unless all of it is as it was written."""
        try:
            schema = _schema_of(self._database)
            if not schema and self._number("PRAGMA page_count") <= 1:
                self._make()
                return
            version = self._number("PRAGMA user_version")
            if schema != _expected_schema() or version != VERSION:
                if version > VERSION and self._number("PRAGMA application_id") == _APPLICATION:
                    raise _Damaged("the ledger is that of a newer version of this program")
                raise _Damaged("the ledger was damaged")
            if self._database.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
                raise _Damaged("the ledger was damaged")
            self._verify()
        except sqlite3.Error as error:
            raise self._judged(error) from None
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise _Damaged("the ledger was damaged") from error

    def _judged(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return error if code in _SURROUNDINGS else _Damaged("the ledger was damaged")

    def _number(self, sql: str) -> int:
        value = self._database.execute(sql).fetchone()[0]
        return int(value)

    def _make(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            if statement.strip():
                self._database.execute(statement)
        self._database.execute(f"PRAGMA application_id={_APPLICATION}")
        self._database.execute(f"PRAGMA user_version={VERSION}")
        self._database.execute(
            "INSERT INTO meta VALUES (1, ?, ?)", (self._mac("key"), self._root())
        )
        self._database.execute("COMMIT")
        self._next_seq = 1

    def _verify(self) -> None:
        meta = self._database.execute("SELECT key, chain FROM meta").fetchall()
        if len(meta) != 1:
            raise _Damaged("the ledger was damaged")
        if not hmac.compare_digest(meta[0][0], self._mac("key")):
            raise _Damaged("the ledger was written with another subject key")
        for number, id_, started, finished, urls, voids, head, chain in self._database.execute(
            "SELECT number, id, started, finished, urls, voids, head, chain FROM runs"
        ):
            run = Run(number, id_, started, finished == 1, tuple(json.loads(urls)), voids, head)
            run.chain = self._mac("run", *run.values())
            if not hmac.compare_digest(run.chain, chain):
                raise _Damaged("the ledger was damaged")
            self.runs[number] = run
        for *values, chain in self._database.execute(
            "SELECT number, run, target, base, selection, batches, head, chain FROM generations"
        ):
            generation = Generation(*values)
            generation.chain = self._mac("generation", *values)
            if not hmac.compare_digest(generation.chain, chain) or generation.run not in self.runs:
                raise _Damaged("the ledger was damaged")
            self.generations[generation.number] = generation
        if not hmac.compare_digest(meta[0][1], self._root()):
            raise _Damaged("the ledger was damaged")
        self._verify_rows()

    def _verify_rows(self) -> None:
        counts = dict.fromkeys(self.generations, 0)
        heads = dict.fromkeys(self.generations, b"")
        self._next_seq = 1
        for chain, *values in self._database.execute(
            "SELECT chain, seq, generation, first_n, last_n, first_i, first_key, last_key, rows, "
            "attempts, coverage, detections, items FROM batches ORDER BY seq"
        ):
            seq, generation = values[:2]
            if generation not in heads:
                raise _Damaged("the ledger was damaged")
            mac = self._mac("batch", heads[generation], *values)
            if not hmac.compare_digest(mac, chain):
                raise _Damaged("the ledger was damaged")
            heads[generation] = mac
            counts[generation] += 1
            self._next_seq = seq + 1
        for number, generation in self.generations.items():
            if (counts[number], heads[number]) != (generation.batches, generation.head):
                raise _Damaged("the ledger was damaged")
        voids = dict.fromkeys(self.runs, 0)
        heads = dict.fromkeys(self.runs, b"")
        for run, n, attempt, chain in self._database.execute(
            "SELECT run, n, attempt, chain FROM voided ORDER BY seq"
        ):
            if run not in heads:
                raise _Damaged("the ledger was damaged")
            heads[run] = self._mac("void", heads[run], run, n, attempt)
            voids[run] += 1
            if not hmac.compare_digest(heads[run], chain):
                raise _Damaged("the ledger was damaged")
        for number, kept in self.runs.items():
            if (voids[number], heads[number]) != (kept.voids, kept.head):
                raise _Damaged("the ledger was damaged")

    def _mac(self, *values: int | str | bytes | None) -> bytes:
        digest = hmac.new(self._secret, digestmod="sha256")
        for value in values:
            if value is None:
                kind, data = b"n", b""
            elif isinstance(value, bytes):
                kind, data = b"b", value
            elif isinstance(value, str):
                kind, data = b"s", value.encode()
            elif isinstance(value, int):
                kind, data = b"i", str(value).encode()
            else:
                raise TypeError(type(value).__name__)
            digest.update(struct.pack("<cQ", kind, len(data)))
            digest.update(data)
        return digest.digest()

    def _root(self) -> bytes:
        """Covers every run and generation, so that none can go missing."""
        rows = sorted(self.runs.items()), sorted(self.generations.items())
        return self._mac("root", VERSION, *(row.chain for part in rows for _, row in part))

    # ------------------------------------------------------------ writing

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Every trouble of the file as a LedgerFault, after which nothing more is written."""
        if self._broken:
            raise LedgerFault(f"{self.path}: the ledger failed before; see the first message")
        try:
            yield
        except sqlite3.Error as error:
            self._broken = True
            code = getattr(error, "sqlite_errorcode", -1) & 0xFF
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise self._fault("the disk is full" if code == sqlite3.SQLITE_FULL else name) from None
        except OSError as error:
            self._broken = True
            raise self._fault(error.strerror or type(error).__name__) from None

    def _fault(self, what: str) -> LedgerFault:
        return LedgerFault(
            f"{self.path}: the run cannot be written down ({what}); what was written is intact: "
            "free space and continue with `consentry scan --resume`"
        )

    def _write(self, sql: str, values: Sequence[int | str | bytes | None] = ()) -> None:
        with self._faults():
            if not self._open:
                self._database.execute("BEGIN IMMEDIATE")
                self._open = True
            self._database.execute(sql, values)

    def add_run(self, id_: str, started: str, urls: Sequence[str]) -> Run:
        number = max(self.runs, default=0) + 1
        run = self.runs[number] = Run(number, id_, started, False, tuple(urls), 0, b"")
        self._dirty_runs.add(number)
        return run

    def add_generation(self, run: Run, target: int, base: str, selection: str) -> Generation:
        number = max(self.generations, default=0) + 1
        generation = Generation(number, run.number, target, base, selection, 0, b"")
        self.generations[number] = generation
        self._dirty_generations.add(number)
        return generation

    def add_batch(self, generation: Generation, p: Packed) -> None:
        values = (
            self._next_seq, generation.number, p.first_n, p.last_n, p.first_i, p.first_key,
            p.last_key, p.rows, p.attempts, p.coverage, p.detections, p.items,
        )  # fmt: skip
        chain = self._mac("batch", generation.head, *values)
        self._write(
            "INSERT INTO batches (seq, generation, first_n, last_n, first_i, first_key, last_key, "
            "rows, attempts, coverage, detections, items, chain) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, chain),
        )
        self._next_seq += 1
        generation.head = chain
        generation.batches += 1
        self._dirty_generations.add(generation.number)

    def add_void(self, run: Run, n: int, attempt: int) -> None:
        run.head = self._mac("void", run.head, run.number, n, attempt)
        run.voids += 1
        self._dirty_runs.add(run.number)
        self._write(
            "INSERT INTO voided (run, n, attempt, chain) VALUES (?, ?, ?, ?)",
            (run.number, n, attempt, run.head),
        )

    def set_finished(self, run: Run) -> None:
        run.finished = True
        self._dirty_runs.add(run.number)

    def drop(self, generation: Generation) -> None:
        """Delete a generation, and its run if it was the last of it."""
        self._write("DELETE FROM batches WHERE generation = ?", (generation.number,))
        self._write("DELETE FROM generations WHERE number = ?", (generation.number,))
        del self.generations[generation.number]
        self._dirty_generations.discard(generation.number)
        if all(other.run != generation.run for other in self.generations.values()):
            self._write("DELETE FROM voided WHERE run = ?", (generation.run,))
            self._write("DELETE FROM runs WHERE number = ?", (generation.run,))
            del self.runs[generation.run]
            self._dirty_runs.discard(generation.run)

    def commit(self) -> None:
        for number in self._dirty_runs:
            run = self.runs[number]
            run.chain = self._mac("run", *run.values())
            self._write(
                "REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*run.values(), run.chain)
            )
        for number in self._dirty_generations:
            generation = self.generations[number]
            generation.chain = self._mac("generation", *generation.values())
            self._write(
                "REPLACE INTO generations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*generation.values(), generation.chain),
            )
        if not self._open:
            return
        self._write("UPDATE meta SET chain = ?", (self._root(),))
        with self._faults():
            self._database.execute("COMMIT")
        self._open = False
        self._dirty_runs.clear()
        self._dirty_generations.clear()

    def close(self) -> None:
        """What was not committed is forgotten."""
        with suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        with suppress(sqlite3.Error):  # a full disk: the journal stays, and is read next time
            self._database.close()
        self._broken = True

    # ------------------------------------------------------------ reading

    def _read(self, sql: str, values: Sequence[int | str | bytes] = ()) -> list[tuple[int, ...]]:
        with self._faults():
            return self._database.execute(sql, values).fetchall()

    def between(self, generation: Generation, first_key: bytes, last_key: bytes) -> list[int]:
        """Batches that may hold objects with keys of this range, both ends included."""
        found = self._read(
            "SELECT seq FROM batches WHERE generation = ? AND first_key <= ? AND last_key >= ? "
            "ORDER BY seq",
            (generation.number, last_key, first_key),
        )
        return [seq for (seq,) in found]

    def holding(self, generation: Generation, n: int) -> list[int]:
        """Batches that may hold rows of object `n`."""
        found = self._read(
            "SELECT seq FROM batches WHERE generation = ? AND first_n <= ? AND last_n >= ? "
            "ORDER BY seq",
            (generation.number, n, n),
        )
        return [seq for (seq,) in found]

    def size(self, generation: Generation) -> int:
        """Rows in all."""
        sql = "SELECT coalesce(sum(rows), 0) FROM batches WHERE generation = ?"
        return self._read(sql, (generation.number,))[0][0]

    def in_order(self, generations: Sequence[Generation]) -> Iterator[tuple[int, int, int]]:
        """(first_n, first_i, seq) of all batches, ascending."""
        return heapq.merge(*(self._ordered(g.number) for g in generations))

    def _ordered(self, generation: int) -> Iterator[tuple[int, int, int]]:
        with self._faults():
            yield from self._database.execute(
                "SELECT first_n, first_i, seq FROM batches WHERE generation = ? "
                "ORDER BY first_n, first_i, seq",
                (generation,),
            )

    def blob(self, seq: int, table: str) -> bytes | None:
        """`table`: coverage, detections or items."""
        with self._faults():
            row = self._database.execute(
                f"SELECT {table} FROM batches WHERE seq = ?", (seq,)
            ).fetchone()
        blob: bytes | None = row[0]
        return blob

    def voids(self, run: Run) -> frozenset[tuple[int, int]]:
        """(n, attempt) whose rows do not count."""
        if not run.voids:
            return frozenset()
        found = self._read("SELECT n, attempt FROM voided WHERE run = ?", (run.number,))
        return frozenset((n, attempt) for n, attempt in found)


def _schema_of(database: sqlite3.Connection) -> set[tuple[str, ...]]:
    return set(database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def _expected_schema() -> set[tuple[str, ...]]:
    with sqlite3.connect(":memory:") as empty:
        empty.executescript(_SCHEMA)
        expected = _schema_of(empty)
    empty.close()
    return expected


def _set_aside(path: Path) -> str:
    """Rename the database and its journal; the new name."""
    name = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    taken, number = name, 1
    while path.with_name(taken).exists():
        number += 1
        taken = f"{name}-{number}"
    # The journals first: should we be killed in between, the database must not lose its own.
    for suffix in ("-wal", "-shm", "-journal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(taken + suffix))
    return taken

"""The ledger loses nothing that was committed, trusts nothing damaged, and counts every object
once.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner import ledger, schemas
from scanner.errors import LedgerFault, ScannerError, UsageError
from scanner.ledger import Ledger, Row, Rows, Target, batches
from scanner.ledger import file as ledger_file
from scanner.model import CONTENT_REASONS, REASONS, ObjectInfo, Reason, printable
from scanner.subjects import SubjectKey

NOW = datetime(2026, 11, 22, tzinfo=UTC)
KEY = SubjectKey(b"k" * 32)
TARGET = Target("base", "selection", "/data")
LOOKS = {"look"}


def info(key: str, size: int = 10, version: str = "v", version_id: str = "") -> ObjectInfo:
    return ObjectInfo(key, size, version, version_id=version_id)


def obj(
    n: int,
    found: ObjectInfo,
    state: str = "scanned",
    reason: str | None = None,
    *,
    attempt: int = 1,
    i: int = 0,
    look: str = "look",
    spread: bool = False,
) -> Row:
    key = printable(found.key)
    return (
        n, attempt, i, key, look, spread,
        f"/data/{key}", found.version or None, found.size, "text/csv", "d", state, reason, None,
        1, 1, True, 0,
    )  # fmt: skip


def nested(n: int, found: ObjectInfo, reason: str, *, attempt: int = 1, i: int = 1) -> Row:
    key = printable(found.key)
    return (
        n, attempt, i, key, "", False,
        f"/data/{key}!/{i}", None, None, None, "d", "error", reason, None, 0, None, False, None,
    )  # fmt: skip


def seen(n: int, i: int = 0, *, attempt: int = 1, name: str = "") -> Row:
    name = name or f"{n}/{i}"
    return (
        n, attempt, i, name, "1" * 32, "biometric.face", None, "content", 1, 0.5, "certain",
        [1.0, 2.0, 3.0, 4.0], "centerface", "1", None, "d", name, name, 0.5,
    )  # fmt: skip


def item(n: int, i: int = 0, *, attempt: int = 1) -> Row:
    return n, attempt, i, "d", f"{n}/{i}"


def add(
    book: Ledger,
    coverage: Iterable[Row] = (),
    detections: Iterable[Row] = (),
    items: Iterable[Row] = (),
    target: int = 0,
) -> None:
    book.add(Rows(target, list(coverage), list(detections), list(items)))


def begin(
    folder: Path, *targets: Target, run: str = "r", use_cache: bool = True, key: SubjectKey = KEY
) -> Ledger:
    book = Ledger.open(folder, key, use_cache=use_cache)
    book.begin(run, NOW, targets or (TARGET,), [t.url for t in targets or (TARGET,)])
    return book


def tables(book: Ledger, listed: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    book.listed = listed
    book.export(folder)
    return {
        name: pq.read_table(folder / f"{name}.parquet").to_pylist()
        for name in ("coverage", "detections", "items")
    }


def states(book: Ledger, listed: int, folder: Path) -> dict[str, str]:
    rows = tables(book, listed, folder)["coverage"]
    return {row["location"][6:]: row["state"] for row in rows if row["is_object"]}


def a_run(
    folder: Path,
    rows: Sequence[Row],
    detections: Sequence[Row] = (),
    items: Sequence[Row] = (),
    *,
    finish: bool = True,
    target: Target = TARGET,
) -> None:
    book = begin(folder, target)
    add(book, rows, detections, items)
    book.commit()
    if finish:
        book.finish()
    book.close()


# ---------------------------------------------------------------- rows and the invariant


def test_export(tmp_path: Path) -> None:
    book = begin(tmp_path / "out")
    a, b = info("a"), info("b")
    add(book, [obj(1, b, "partial", "depth"), nested(1, b, "depth")], [seen(1, 2), seen(1, 1)])
    add(book, [obj(0, a)], [seen(0)], [item(0)])
    folder = tmp_path / "run"
    found = tables(book, 2, folder)
    assert [row["location"] for row in found["coverage"]] == ["/data/a", "/data/b", "/data/b!/1"]
    assert [row["location"] for row in found["detections"]] == ["0/0", "1/1", "1/2"]
    assert found["items"] == [{"dataset_id": "d", "item_key": "0/0"}]
    assert pq.read_schema(folder / "coverage.parquet").equals(schemas.COVERAGE)
    assert pq.read_schema(folder / "detections.parquet").equals(schemas.DETECTIONS)
    assert pq.read_schema(folder / "items.parquet").equals(schemas.ITEMS)
    assert book.states == {"scanned": 1, "partial": 1}
    assert book.done == 2
    book.finish()
    files = [*(tmp_path / "out").iterdir(), *folder.iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    book.close()


def test_invariant(tmp_path: Path) -> None:
    book = begin(tmp_path)
    add(book, [obj(0, info("a")), obj(1, info("b"), "error", "denied")])
    book.listed = 3
    with pytest.raises(ScannerError, match="3 objects listed but 2"):
        book.export(tmp_path / "run")
    book.close()


def test_one_object_twice_for_another_is_noticed(tmp_path: Path) -> None:
    book = begin(tmp_path)
    add(book, [obj(0, info("a"))])
    add(book, [obj(0, info("a"))])
    book.listed = 2
    with pytest.raises(ScannerError, match="proves nothing"):
        book.export(tmp_path / "run")
    book.close()


def test_unknown_state_is_refused(tmp_path: Path) -> None:
    book = begin(tmp_path)
    add(book, [obj(0, info("a"), "fine")])
    book.listed = 1
    with pytest.raises(ScannerError, match="proves nothing"):
        book.export(tmp_path / "run")
    book.close()


def test_void_attempts(tmp_path: Path) -> None:
    book = begin(tmp_path)
    add(book, [nested(0, info("a"), "depth")], [seen(0, name="lost")], [item(0, 9)])
    book.commit()
    book.void(0, 1)
    add(book, [], [seen(0, attempt=2, name="kept")])
    add(book, [obj(0, info("a"), attempt=2, spread=True)])
    found = tables(book, 1, tmp_path / "run")
    assert [row["location"] for row in found["detections"]] == ["kept"]
    assert [row["location"] for row in found["coverage"]] == ["/data/a"]
    assert found["items"] == []
    book.finish()
    book.close()
    again = begin(tmp_path)
    assert again.carry(0, 0, [info("a")], LOOKS, None) == [True]
    found = tables(again, 1, tmp_path / "run2")
    assert [row["location"] for row in found["detections"]] == ["kept"]
    assert [row["state"] for row in found["coverage"]] == ["unchanged"]
    again.close()


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("said", [False, True])
def test_an_object_that_was_done_is_tried_again(
    tmp_path: Path, committed: bool, said: bool
) -> None:
    book = begin(tmp_path)
    add(book, [obj(0, info("a"), "error", "throttled")], [seen(0, name="lost")])
    if committed:
        book.commit()
    if said:
        book.void(0, 1)
        book.void(0, 1)  # once is enough
        assert book.done == 0
    add(book, [obj(0, info("a"), attempt=2)])
    assert book.states["error"] == 0
    found = tables(book, 1, tmp_path / "run")
    assert [row["state"] for row in found["coverage"]] == ["scanned"]
    assert found["detections"] == []
    book.close()


def test_rows_of_an_object_that_is_not_done_are_not_exported(tmp_path: Path) -> None:
    book = begin(tmp_path)
    add(book, [obj(0, info("a")), nested(1, info("b"), "depth")], [seen(1)], [item(1)])
    found = tables(book, 1, tmp_path / "run")
    assert [row["location"] for row in found["coverage"]] == ["/data/a"]
    assert found["detections"] == found["items"] == []
    book.close()
    again = begin(tmp_path)
    assert again.carry(0, 0, [info("a"), info("b")], LOOKS, None) == [True, False]
    assert tables(again, 1, tmp_path / "run2")["detections"] == []
    again.close()


_LOOK = st.tuples(
    st.integers(1, 3),  # attempts
    st.lists(st.integers(0, 2), max_size=4),  # rows of each message of an attempt
    st.booleans(),  # whether void is called, or only the next attempt comes
)


@settings(max_examples=25, deadline=None)
@given(looks=st.lists(_LOOK, min_size=1, max_size=8), order=st.randoms(use_true_random=False))
def test_any_order_gives_the_same_export(
    tmp_path_factory: pytest.TempPathFactory,
    looks: list[tuple[int, list[int], bool]],
    order: random.Random,
) -> None:
    """Objects arrive interleaved, in any number of batches; what counts is exported in order."""
    folder = tmp_path_factory.mktemp("book")
    book = begin(folder)
    queues: list[list[tuple[Any, ...]]] = []
    expected: list[str] = []
    for n, (attempts, messages, said) in enumerate(looks):
        queue: list[tuple[Any, ...]] = []
        for attempt in range(1, attempts + 1):
            i = 0
            for count in messages:
                rows = [
                    seen(n, i + k, attempt=attempt, name=f"{n}/{attempt}/{i + k}")
                    for k in range(count)
                ]
                queue.append(("rows", [], rows))
                i += count
            if attempt < attempts:
                queue.append(("void", n, attempt) if said else ("rows", [], []))
        spread = bool(messages)
        queue.append(("rows", [obj(n, info(f"k{n}"), attempt=attempts, spread=spread)], []))
        expected += [f"{n}/{attempts}/{i}" for i in range(sum(messages))]
        queues.append(queue)
    while any(queues):
        what, *content = order.choice([q for q in queues if q]).pop(0)
        if what == "void":
            book.void(*content)
        else:
            add(book, *content)
        if order.random() < 0.4:
            book.commit()
    found = tables(book, len(looks), folder / "run")
    assert [row["location"] for row in found["detections"]] == expected
    assert [row["location"] for row in found["coverage"]] == [
        f"/data/k{n}" for n in range(len(looks))
    ]
    book.finish()
    book.close()
    again = begin(folder)
    infos = [info(f"k{n}") for n in range(len(looks))]
    assert all(again.carry(0, 0, infos, LOOKS, None))
    found = tables(again, len(looks), folder / "again")
    assert [row["location"] for row in found["detections"]] == expected
    again.close()


def test_equal_rows_give_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.ledger.exporting.ROW_GROUP", 32)
    monkeypatch.setattr("scanner.ledger.exporting.WINDOW_ROWS", 16)
    contents = []
    for run in range(3):
        shuffled = list(range(150))
        if run:
            random.Random(run).shuffle(shuffled)
        book = begin(tmp_path / str(run))
        for count, n in enumerate(shuffled):
            add(book, [obj(n, info(f"{n:04}"))], [seen(n, 1), seen(n, 0)])
            if count % (7 * run + 1) == 0:
                book.commit()
        book.listed = 150
        book.export(tmp_path / str(run))
        names = ("coverage", "detections", "items")
        contents.append([(tmp_path / str(run) / f"{n}.parquet").read_bytes() for n in names])
        assert pq.ParquetFile(tmp_path / str(run) / "coverage.parquet").num_row_groups == 5
        book.close()
    assert contents[0] == contents[1] == contents[2]


# ---------------------------------------------------------------- what is taken over


def test_unchanged(tmp_path: Path) -> None:
    infos = [info("a"), info("b\udcff"), info("c\\xff"), info("new")]
    a_run(
        tmp_path,
        [obj(n, found) for n, found in enumerate(infos[:3])],
        [seen(1, name="x"), seen(2, name="y")],
        [item(1)],
    )
    book = begin(tmp_path)
    assert book.carry(0, 5, [infos[3], *infos[:3]], LOOKS, None) == [False, True, True, True]
    assert (book.taken_over, book.done, book.states) == (3, 3, {"unchanged": 3})
    add(book, [obj(5, infos[3])])
    found = tables(book, 4, tmp_path / "run")
    assert [row["location"] for row in found["coverage"]] == [
        "/data/new", "/data/a", "/data/b\\xff", "/data/c\\\\xff",
    ]  # fmt: skip
    assert [row["state"] for row in found["coverage"]] == ["scanned"] + ["unchanged"] * 3
    assert [row["location"] for row in found["detections"]] == ["x", "y"]
    assert len(found["items"]) == 1
    book.finish()
    book.close()


@pytest.mark.parametrize(
    "now",
    [
        info("a", version="w"),
        info("a", size=11),
        info("b"),
        info("a", version=""),
        ObjectInfo("a", 10, "v", problem=("denied", "")),
        ObjectInfo("a", 10, "v", excluded="symlink"),
    ],
)
def test_changed(tmp_path: Path, now: ObjectInfo) -> None:
    a_run(tmp_path, [obj(0, info("a")), obj(1, info("z", version=""))])
    book = begin(tmp_path)
    assert book.carry(0, 0, [now], LOOKS, None) == [False]
    assert book.done == 0
    book.close()


def test_no_version_is_never_the_same(tmp_path: Path) -> None:
    a_run(tmp_path, [obj(0, info("a", version=""))])
    book = begin(tmp_path)
    assert book.carry(0, 0, [info("a", version="")], LOOKS, None) == [False]
    book.close()


def test_another_way_of_looking(tmp_path: Path) -> None:
    infos = [info("a"), info("b"), info("c")]
    a_run(
        tmp_path,
        [obj(0, infos[0], look="x"), obj(1, infos[1], look=""), obj(2, infos[2], look="y")],
    )
    book = begin(tmp_path)
    assert book.carry(0, 0, infos, {"x", ""}, None) == [True, False, False]
    assert book.carry(0, 3, infos, set(), None) == [False] * 3
    book.close()


def test_another_base_or_no_cache(tmp_path: Path) -> None:
    a_run(tmp_path, [obj(0, info("a"))])
    book = begin(tmp_path, Target("other", "selection", "/x"))
    assert book.carry(0, 0, [info("a")], LOOKS, None) == [False]
    book.close()
    book = begin(tmp_path, use_cache=False)
    assert book.carry(0, 0, [info("a")], LOOKS, None) == [False]
    book.close()


def test_another_selection_asks(tmp_path: Path) -> None:
    infos = [info("a"), info("b")]
    a_run(tmp_path, [obj(n, found) for n, found in enumerate(infos)])
    asked = []

    def accept(found: ObjectInfo, look: str) -> bool:
        asked.append((found.key, look))
        return found.key == "a"

    book = begin(tmp_path, Target("base", "other", "/data"))
    assert book.carry(0, 0, infos, LOOKS, accept) == [True, False]
    assert asked == [("a", "look"), ("b", "look")]
    assert book.carry(0, 2, infos, LOOKS, None) == [False, False]
    book.close()


_LASTING: set[str] = set(CONTENT_REASONS)


def test_lasting_reasons_are_known() -> None:
    assert _LASTING <= REASONS


@pytest.mark.parametrize("reason", sorted(REASONS))
@pytest.mark.parametrize("where", ["object", "nested", "spread"])
@pytest.mark.parametrize("finished", [True, False])
def test_reasons(tmp_path: Path, reason: Reason, where: str, finished: bool) -> None:
    a = info("a")
    own = "depth" if where != "object" else reason
    book = begin(tmp_path)
    if where == "spread":
        add(book, [nested(0, a, reason)])
        book.commit()
    row = obj(0, a, "partial", own, spread=where == "spread")
    add(book, [row, nested(0, a, reason)] if where == "nested" else [row])
    book.commit()
    if finished:
        book.finish()
    book.close()
    again = begin(tmp_path)
    # an unfinished run is the same logical run; what it did not reach is looked at all the same
    reached = reason != "interrupted" or where == "spread"
    expected = reason in _LASTING if finished else reached
    assert again.carry(0, 0, [a], LOOKS, None) == [expected]
    if expected:
        rows = tables(again, 1, tmp_path / "run")["coverage"]
        assert [r["reason"] for r in rows] == [own] if where == "object" else [own, reason]
        assert rows[0]["state"] == "partial"
    again.close()


def test_excluded_is_decided_afresh(tmp_path: Path) -> None:
    for finish in (False, True):
        a_run(tmp_path, [obj(0, info("a"), "excluded", "rule:*.csv")], finish=finish)
        book = begin(tmp_path)
        assert book.carry(0, 0, [info("a")], LOOKS, None) == [False]
        book.close()


def test_an_unfinished_run_keeps_its_states(tmp_path: Path) -> None:
    infos = [info("a"), info("b"), info("c"), info("d")]
    a_run(tmp_path, [obj(2, infos[2]), obj(3, infos[3])])
    book = begin(tmp_path, run="killed")
    assert book.carry(0, 2, infos[2:3], LOOKS, None) == [True]
    rows = [obj(0, infos[0]), obj(1, infos[1], "error", "crash")]
    add(book, [*rows, obj(3, infos[3], "error", "interrupted")])
    book.commit()
    book.close()
    again = begin(tmp_path)
    before = again.interrupted()
    assert before is not None
    assert (before.id, before.started, before.targets) == ("killed", NOW, ("/data",))
    assert again.carry(0, 0, infos, LOOKS, None) == [True] * 4
    assert states(again, 4, tmp_path / "run") == {
        "a": "scanned", "b": "error", "c": "unchanged", "d": "unchanged",
    }  # fmt: skip
    again.finish()
    assert again.interrupted() is None
    again.close()
    last = begin(tmp_path)
    assert last.interrupted() is None
    assert last.carry(0, 0, infos, LOOKS, None) == [True, False, True, True]
    last.close()


def test_the_newest_generation_decides(tmp_path: Path) -> None:
    other = Target("base", "other", "/data")
    a_run(tmp_path, [obj(0, info("a")), obj(1, info("b"))])
    a_run(tmp_path, [obj(0, info("a"), "error", "denied")], target=other)
    book = begin(tmp_path)
    assert book.carry(0, 0, [info("a"), info("b")], LOOKS, None) == [False, True]
    book.close()


def test_versions_of_one_key(tmp_path: Path) -> None:
    infos = [info("a", version=str(v), version_id=str(v)) for v in range(5)]
    a_run(tmp_path, [obj(n, found) for n, found in enumerate(infos)], [seen(3, name="x")])
    book = begin(tmp_path)
    now = [infos[3], info("a", version="new"), infos[0]]
    assert book.carry(0, 0, now, LOOKS, None) == [True, False, True]
    add(book, [obj(1, now[1])])
    found = tables(book, 3, tmp_path / "run")
    assert [row["store_version"] for row in found["coverage"]] == ["3", "new", "0"]
    assert [row["location"] for row in found["detections"]] == ["x"]
    book.close()


def test_generations_kept(tmp_path: Path) -> None:
    def kept() -> list[tuple[str, str]]:
        with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
            rows = database.execute("SELECT base, selection FROM generations ORDER BY number")
            found = rows.fetchall()
        database.close()
        return found

    for selection in "aabca":
        target = Target("base", selection, "/")
        a_run(tmp_path, [obj(0, info("x"))], target=target)
    assert kept() == [("base", "b"), ("base", "c"), ("base", "a")]
    a_run(tmp_path, [], target=Target("base", "d", "/"))
    a_run(tmp_path, [], target=Target("other", "d", "/"))
    assert kept() == [("base", "c"), ("base", "a"), ("base", "d"), ("other", "d")]
    for _ in range(12):
        a_run(tmp_path, [], finish=False)
    assert len(kept()) == 4 + ledger.UNFINISHED_KEPT
    a_run(tmp_path, [])
    assert kept()[-1] == ("base", "selection")
    assert len(kept()) == 4


def test_several_targets(tmp_path: Path) -> None:
    targets = (TARGET, Target("second", "s", "/second"))
    book = begin(tmp_path, *targets)
    add(book, [obj(1, info("a"))], target=1)
    add(book, [obj(0, info("a"), "error", "denied")], target=0)
    assert list(states(book, 2, tmp_path / "run").values()) == ["scanned"]  # both are /data/a
    book.finish()
    book.close()
    again = begin(tmp_path, *reversed(targets))
    assert again.carry(0, 0, [info("a")], LOOKS, None) == [True]
    assert again.carry(1, 1, [info("a")], LOOKS, None) == [False]
    again.close()


def test_a_big_object_is_taken_over_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.ledger.exporting.WINDOW_ROWS", 8)
    monkeypatch.setattr(ledger, "COMMIT_ROWS", 10)
    infos = [info(f"{n}") for n in range(9)]
    book = begin(tmp_path)
    for i in range(40):
        add(book, [nested(4, infos[4], "malformed", i=i)], [seen(4, i)], [item(4, i)])
        if i % 5 == 0:
            add(book, [obj(i // 5, infos[i // 5])], [seen(i // 5)] if i != 20 else [])
    book.void(4, 1)  # its worker died
    for i in range(30):
        add(book, [nested(4, infos[4], "malformed", attempt=2, i=i)], [seen(4, i, attempt=2)])
    add(book, [obj(4, infos[4], "partial", "malformed", attempt=2, i=30, spread=True)])
    add(book, [obj(8, infos[8])])
    first = tables(book, 9, tmp_path / "1")
    book.finish()
    book.close()
    assert len(first["detections"]) == 7 + 30
    assert len(first["coverage"]) == 9 + 30
    for run in "23":
        again = begin(tmp_path)
        assert all(again.carry(0, 0, infos[:3], LOOKS, None))
        assert all(again.carry(0, 3, infos[3:], LOOKS, None))
        found = tables(again, 9, tmp_path / run)
        for row in first["coverage"]:
            row["state"] = row["state"].replace("scanned", "unchanged")
        assert found == first
        again.finish()
        again.close()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_many_batches_and_chunks(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Whatever way rows were cut into batches and the listing into chunks, each finds its own."""
    folder, order = tmp_path_factory.mktemp("book"), random.Random(seed)
    names = sorted({f"{order.randrange(4)}/{order.randrange(400)}" for _ in range(300)})
    infos = [info(name) for name in names]
    book = begin(folder)
    numbers = list(range(len(infos)))
    for start in range(0, len(numbers), 40):
        part = numbers[start : start + 40]
        order.shuffle(part)
        numbers[start : start + 40] = part
    for n in numbers:
        nests = [nested(n, infos[n], "depth", i=3)] if n % 7 == 0 else []
        add(book, [obj(n, infos[n]), *nests], [seen(n, name=names[n])] if n % 3 == 0 else [])
        if order.random() < 0.05:
            book.commit()
    book.finish() if order.random() < 0.5 else book.commit()
    book.close()
    listing = list(infos)
    for _ in range(order.randrange(5)):
        listing.insert(order.randrange(len(listing)), info(f"new{order.random()}"))
    if order.random() < 0.3:
        order.shuffle(listing)
    again = begin(folder)
    first = 0
    while first < len(listing):
        chunk = listing[first : first + order.randrange(1, 120)]
        carried = again.carry(0, first, chunk, LOOKS, None)
        for n, (found, was) in enumerate(zip(chunk, carried, strict=True), first):
            assert was is not found.key.startswith("new")
            if not was:
                add(again, [obj(n, found)])
        first += len(chunk)
        if order.random() < 0.2:
            again.commit()
    found_rows = tables(again, len(listing), folder / "run")
    expected = [f"/data/{found.key}" for found in listing]
    assert [r["location"] for r in found_rows["coverage"] if r["is_object"]] == expected
    thirds = {name for n, name in enumerate(names) if n % 3 == 0}
    wanted = [found.key for found in listing if found.key in thirds]
    assert [r["location"] for r in found_rows["detections"]] == wanted
    assert len(found_rows["coverage"]) == len(listing) + (len(infos) + 6) // 7
    again.close()


# ---------------------------------------------------------------- damage, locks, deaths


def _filled(folder: Path) -> list[ObjectInfo]:
    infos = [info(f"k{n:04}", version=f"v{n * 7919}") for n in range(150)]
    book = begin(folder)
    for n, found in enumerate(infos):
        add(book, [obj(n, found)], [seen(n, name=f"{n}-{random.Random(n).random()}")])
        if n % 40 == 0:
            book.commit()
    book.void(3, 1)
    add(book, [obj(3, infos[3], attempt=2)])
    book.commit()
    book.finish()
    book.close()
    return infos


def _contents(folder: Path, infos: Sequence[ObjectInfo], out: Path) -> tuple[list[str], Any]:
    book = begin(folder)
    done = book.carry(0, 0, infos, LOOKS, None)
    add(book, [obj(n, infos[n]) for n, known in enumerate(done) if not known])
    found = tables(book, len(infos), out)
    notes = book.notes
    book.close()
    return notes, (done, found)


def test_flipped_bytes(tmp_path: Path) -> None:
    infos = _filled(tmp_path / "good")
    notes, good = _contents(shutil.copytree(tmp_path / "good", tmp_path / "0"), infos, tmp_path)
    assert notes == []
    assert all(good[0])
    whole = (tmp_path / "good" / "ledger.sqlite").read_bytes()
    used = [at for at, byte in enumerate(whole[:-16]) if byte]  # the rest is empty space
    order = random.Random(16)
    aside = 0
    for trial in range(60):
        folder = tmp_path / f"bad{trial}"
        folder.mkdir()
        damaged = bytearray(whole)
        at = order.choice(used)
        damaged[at : at + 16] = bytes(b ^ order.randrange(1, 256) for b in damaged[at : at + 16])
        (folder / "ledger.sqlite").write_bytes(damaged)
        notes, found = _contents(folder, infos, tmp_path / "run")
        if notes:
            aside += 1
            assert "set aside as ledger.sqlite.damaged-" in notes[0]
            kept = [p for p in folder.iterdir() if ".damaged-" in p.name and "-wal" not in p.name]
            assert len(kept) == 1
            assert not any(found[0])
        else:
            assert found == good
    assert aside >= 45


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET finished = 1 - finished",
        "UPDATE runs SET started = 'x'",
        "DELETE FROM runs",
        "DELETE FROM generations",
        "UPDATE generations SET selection = 'other'",
        "DELETE FROM batches WHERE seq = (SELECT max(seq) FROM batches)",
        "DELETE FROM batches WHERE seq = 2",
        "UPDATE batches SET first_n = first_n + 1 WHERE seq = 2",
        "UPDATE batches SET detections = NULL WHERE seq = 2",
        "UPDATE batches SET coverage = (SELECT coverage FROM batches WHERE seq = 3) WHERE seq = 2",
        "INSERT INTO batches SELECT seq + 100, generation, first_n, last_n, first_i, first_key, "
        "last_key, rows, attempts, chain, coverage, detections, items FROM batches WHERE seq = 2",
        "DELETE FROM voided",
        "UPDATE voided SET n = n + 1",
        "DELETE FROM meta",
        "UPDATE meta SET chain = x'00'",
        "PRAGMA user_version = 7",
        "CREATE TRIGGER t AFTER INSERT ON batches BEGIN DELETE FROM batches; END",
        "DROP INDEX batches_by_key",
        "DROP TABLE voided",
    ],
)
def test_edited(tmp_path: Path, statement: str) -> None:
    infos = _filled(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute(statement)
    database.close()
    notes, (done, _) = _contents(tmp_path, infos, tmp_path / "run")
    assert not any(done)
    assert "everything is read afresh" in notes[0]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", bytes(100_000)])
def test_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(content)
    book = begin(tmp_path)
    assert bool(book.notes) is bool(content)
    assert book.carry(0, 0, [info("a")], LOOKS, None) == [False]
    book.close()


def test_another_subject_key(tmp_path: Path) -> None:
    a_run(tmp_path, [obj(0, info("a"))])
    book = begin(tmp_path, key=SubjectKey(b"o" * 32))
    assert "another subject key" in book.notes[0]
    assert book.carry(0, 0, [info("a")], LOOKS, None) == [False]
    book.close()


def test_derived_secrets_differ() -> None:
    assert KEY.derive("a") != KEY.derive("b") != SubjectKey(b"o" * 32).derive("b")
    assert len(KEY.derive("a")) == 32


def test_second_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999 2020-01-01T00:00:00Z\n")  # its process is gone
    book = begin(tmp_path)
    with pytest.raises(UsageError, match=r"another scan \(process \d+, since 2\d{3}-.*\) is"):
        Ledger.open(tmp_path, KEY)
    book.close()
    begin(tmp_path).close()


_HOLDER = """
import sys, time
from pathlib import Path
from scanner.ledger import Ledger
from scanner.subjects import SubjectKey
book = Ledger.open(Path(sys.argv[1]), SubjectKey(b"k" * 32))
print("held", flush=True)
time.sleep(60)
"""


def test_two_processes(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {holder.pid}, since"):
            Ledger.open(tmp_path, KEY)
    finally:
        holder.kill()
        holder.communicate()
    begin(tmp_path).close()


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot write"):
        Ledger.open(tmp_path / "file", KEY)


_WRITER = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from scanner.ledger import Ledger, Rows, Target
from scanner.model import ObjectInfo
from scanner.subjects import SubjectKey
folder, total = Path(sys.argv[1]), int(sys.argv[2])
def seen(n, i):
    name = f"{n}/{i}"
    return (n, 1, i, name, "1" * 32, "biometric.face", None, "content", 1, 0.5, "certain",
            [1.0, 2.0, 3.0, 4.0], "centerface", "1", None, "d", name, name, 0.5)
book = Ledger.open(folder, SubjectKey(b"k" * 32))
started = datetime(2026, 11, 22, tzinfo=UTC)
book.begin("r", started, [Target("base", "selection", "/data")], ["/data"])
infos = [ObjectInfo(f"k{n:05}", 10, "v") for n in range(total)]
print("go", flush=True)
for first in range(0, total, 50):
    done = book.carry(0, first, infos[first : first + 50], {"look"}, None)
    for n, known in enumerate(done, first):
        if known:
            continue
        spread = n % 20 == 0
        if spread:
            book.add(Rows(0, [], [seen(n, 0)], []))
        key = infos[n].key
        row = (n, 1, 0, key, "look", spread, f"/data/{key}", "v", 10, "text/csv", "d", "scanned",
               None, None, 1, 1, True, 0)
        book.add(Rows(0, [row], [seen(n, 1)] if spread else [seen(n, 0), seen(n, 1)], []))
    book.commit()
    print(first, flush=True)
book.finish()
print("end", flush=True)
book.close()
"""


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_any_moment(tmp_path: Path, kills: int) -> None:
    """What was committed is there after SIGKILL, and the run that goes on ends like any other."""
    total, order, committed = 250 * kills, random.Random(9), 0
    infos = [info(f"k{n:05}") for n in range(total)]
    for kill in range(kills + 1):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, tmp_path, str(total)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        if kill < kills:
            time.sleep(order.random() * 0.1)
            writer.send_signal(signal.SIGKILL)
        said = writer.communicate()[0].split()
        committed = max([committed, *(int(word) + 50 for word in said if word.isdigit())])
        check = Ledger.open(tmp_path, KEY)
        assert check.notes == []
        if "end" in said:
            assert check.interrupted() is None
        check.begin("check", NOW, [TARGET], ["/data"])
        assert all(check.carry(0, 0, infos[:committed], LOOKS, None))
        check.close()
        if "end" in said:
            break
    assert "end" in said
    last = begin(tmp_path)
    assert all(last.carry(0, 0, infos, LOOKS, None))
    found = tables(last, total, tmp_path / "run")
    assert len(found["coverage"]) == total
    expected = [f"{n}/{i}" for n in range(total) for i in range(2)]
    assert [row["location"] for row in found["detections"]] == expected
    last.close()


def _until_it_fails(folder: Path) -> tuple[int, str]:
    """(objects that were committed, message)"""
    committed = 0
    try:
        book = Ledger.open(folder, KEY)
    except LedgerFault as fault:
        return 0, str(fault)
    try:
        book.begin("r", NOW, [TARGET], ["/data"])
        while True:
            noise = random.Random(committed).randbytes(2_000).hex()
            add(book, [obj(committed, info(f"k{committed:05}"))], [seen(committed, name=noise)])
            book.commit()
            committed += 1
    except LedgerFault as fault:
        with pytest.raises(LedgerFault):
            book.commit()
        return committed, str(fault)
    finally:
        book.close()


@pytest.mark.parametrize("room", [0, 1_000, 40_000, 70_000, 200_000, 777_777, 3_000_000])
def test_no_room(tmp_path: Path, room: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        if room == 0:  # not even the lock can be written
            with pytest.raises((UsageError, LedgerFault)):
                Ledger.open(tmp_path, KEY)
            return
        committed, said = _until_it_fails(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "continue with `consentry scan --resume`" in said
    book = begin(tmp_path)
    assert book.notes == []
    infos = [info(f"k{n:05}") for n in range(committed + 1)]
    done = book.carry(0, 0, infos, LOOKS, None)
    assert done == [True] * committed + [False]
    assert committed > 0 or room < 300_000
    book.close()


def test_export_without_room(tmp_path: Path) -> None:
    book = begin(tmp_path)
    add(book, [obj(n, info(f"{random.Random(n).random()}")) for n in range(3_000)])
    book.commit()
    book.listed = 3_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        with pytest.raises(LedgerFault, match="--resume"):
            book.export(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    book.export(tmp_path / "run")
    book.close()


def test_all_of_the_file_is_under_digests() -> None:
    """Every column of every table is either a digest or goes into one."""
    database = sqlite3.connect(":memory:")
    database.executescript(ledger_file._SCHEMA)
    columns = {
        table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        for table in ("meta", "runs", "generations", "batches", "voided")
    }
    database.close()
    packed = list(batches.Packed.__dataclass_fields__)
    assert sorted(columns["batches"]) == sorted(["seq", "generation", "chain", *packed])
    run = ledger_file.Run(1, "", "", True, (), 0, b"")
    assert len(columns["runs"]) == len(run.values()) + 1
    generation = ledger_file.Generation(1, 1, 0, "", "", 0, b"")
    assert len(columns["generations"]) == len(generation.values()) + 1


def test_an_object_that_is_listed_twice_loses_nothing(tmp_path: Path) -> None:
    """Rows of an earlier look are taken over for one of the two; the other is looked at again."""
    twice = [info("a"), info("a"), info("b")]
    a_run(tmp_path, [obj(n, f) for n, f in enumerate(twice)], [seen(n) for n in range(3)])
    book = begin(tmp_path)
    done = book.carry(0, 0, [info("A"), *twice], LOOKS, None)
    assert done == [False, True, False, True]
    book.close()

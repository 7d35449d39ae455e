"""Files whose clock may not tell a second change from the first are looked at again."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import pytest

from scanner.engines.ctimes import Ctimes
from scanner.model import StoreSpec
from scanner.stores import open_store

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND


@pytest.mark.parametrize(
    ("changed_ns", "seen_ns", "expected"),
    [
        (NOW + 1, NOW + 40_000_000, False),
        (NOW + 1, NOW + 60_000_000, True),
        (NOW, NOW + SECOND // 2, False),  # ext4 with inodes of 128 bytes: whole seconds
        (NOW, NOW + 2 * SECOND, False),  # FAT: every other second
        (NOW, NOW + 3 * SECOND, True),
    ],
)
def test_coarse_clocks(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changed_ns: int,
    seen_ns: int,
    expected: bool,
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: seen_ns)
    with (tmp_path / "a").open("wb") as file:
        assert Ctimes().tell(f"{changed_ns}-5-7", file.fileno()) is expected


def test_versions_without_a_time() -> None:
    assert Ctimes().tell("", -1)
    assert Ctimes().tell("etag-1", -1)


def test_writes_through_a_memory_map_show_afterwards(tmp_path: Path) -> None:
    """Only the first write to a page is stamped until the page is on disk."""
    path = tmp_path / "a"
    path.write_bytes(bytes(4096))
    store = open_store(StoreSpec(str(tmp_path)))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = 1
        time.sleep(0.1)
        [before] = store.list()
        memory[1] = 1
        [unseen] = store.list()
        if unseen.version != before.version:
            pytest.skip("this file system stamps every write to a memory map")
        fd = os.open(path, os.O_RDONLY)
        assert Ctimes().tell(before.version, fd)
        os.close(fd)
        [written] = store.list()
        memory[2] = 1
        [after] = store.list()
        assert after.version != written.version


def test_where_writing_out_takes_long_files_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    [info] = open_store(StoreSpec(str(tmp_path))).list()
    time.sleep(0.1)
    ctimes = Ctimes()
    ctimes._syncing_seconds = 60
    assert not ctimes.tell(info.version, -1)

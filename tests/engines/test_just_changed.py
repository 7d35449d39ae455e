"""Files whose clock may not tell a second change from the first are looked at again."""

from __future__ import annotations

import time

import pytest

from scanner.engines import local

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND


@pytest.mark.parametrize(
    ("changed_ns", "seen_ns", "expected"),
    [
        (NOW + 1, NOW + 40_000_000, True),
        (NOW + 1, NOW + 60_000_000, False),
        (NOW, NOW + SECOND // 2, True),  # ext4 with inodes of 128 bytes: whole seconds
        (NOW, NOW + 2 * SECOND, True),  # FAT: every other second
        (NOW, NOW + 3 * SECOND, False),
    ],
)
def test_coarse_clocks(
    monkeypatch: pytest.MonkeyPatch, changed_ns: int, seen_ns: int, expected: bool
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: seen_ns)
    assert local._just_changed(f"{changed_ns}-5-7") is expected


def test_versions_without_a_time() -> None:
    assert not local._just_changed("")
    assert not local._just_changed("etag-1")

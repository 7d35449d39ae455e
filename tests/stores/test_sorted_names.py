"""Sorting the names of a folder in compressed runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from scanner.stores.sorted_names import sorted_names

_NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name)


def _entries(names: list[str], fail: bool = False) -> Iterator[os.DirEntry[str]]:
    for name in names:
        yield cast("os.DirEntry[str]", SimpleNamespace(name=name))
    if fail:
        raise OSError(5, "input/output error")


@given(st.lists(_NAMES, unique=True, max_size=60), st.integers(1, 20))
def test_same_names_in_byte_order_whatever_the_run(names: list[bytes], run: int) -> None:
    found, broken = sorted_names(_entries([os.fsdecode(name) for name in names]), run)
    assert [os.fsencode(name) for name in found] == sorted(names)
    assert broken is None


def test_many_runs_of_long_names() -> None:
    names = [f"{'x' * 200}{number * 7919 % 5000:05}" for number in range(5000)]
    found, _ = sorted_names(_entries(names), 700)
    assert list(found) == sorted(names)


def test_names_read_before_an_error_are_kept_and_the_error_is_told() -> None:
    found, broken = sorted_names(_entries(["b", "a", "c"], fail=True), 2)
    assert list(found) == ["a", "b", "c"]
    assert broken is not None
    assert broken.errno == 5

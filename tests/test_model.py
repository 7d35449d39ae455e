"""Locations print their whole path, and names survive printing."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.model import Location, item_id, printable


def test_location_prints_the_whole_path() -> None:
    cell = Location("s3://b/people.parquet").child("row=17/photo").child("in.zip").child("a.jpg")
    assert str(cell) == "s3://b/people.parquet!/row=17/photo!/in.zip!/a.jpg"
    assert cell.root == Location("s3://b/people.parquet")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a.jpg", "a.jpg"),
        (b"\xff\\x", "\\xff\\\\x"),
        ("얼굴".encode(), "얼굴"),
        (b"a\\xffb", "a\\\\xffb"),
    ],
)
def test_printable(raw: bytes, shown: str) -> None:
    assert printable(os.fsdecode(raw)) == shown


def _back(shown: str) -> bytes:
    if not re.search(r"\\x[0-9a-f]{2}", shown):
        return shown.encode()
    parts = re.findall(r"\\\\|\\x[0-9a-f]{2}|[^\\]+|\\", shown)
    return b"".join(
        b"\\"
        if p == "\\\\"
        else bytes([int(p[2:], 16)])
        if re.fullmatch(r"\\x..", p)
        else p.encode()
        for p in parts
    )


@given(st.binary(max_size=40))
def test_printable_is_reversible_and_valid(raw: bytes) -> None:
    shown = printable(raw.decode("utf-8", "surrogateescape"))
    shown.encode("utf-8")
    assert _back(shown) == raw


def test_item_id_depends_on_place_within_the_target_only() -> None:
    here = Location("s3://b/x/a.zip").child("m.jpg")
    there = Location("/data/x/a.zip").child("m.jpg")
    assert item_id("x/a.zip", here) == item_id("x/a.zip", there)
    assert item_id("x/a.zip", here) != item_id("x/a.zip", here.root)

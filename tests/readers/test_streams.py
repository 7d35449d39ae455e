"""Streams between readers: the same bytes, within the limits."""

from __future__ import annotations

import io

import pytest

from scanner.errors import StoreError, Unreadable
from scanner.model import Limits
from scanner.readers.streams import (
    Metered,
    Window,
    as_unreadable,
    chained,
    hold,
    read_upto,
    seekable,
    take_head,
)
from tests.readers.looking import forward

DATA = bytes(range(256)) * 1_000


@pytest.mark.parametrize("n", [0, 1, 65_536, 300_000])
def test_take_head_loses_nothing(n: int) -> None:
    for stream in (io.BytesIO(DATA), forward(DATA)):
        head, rest = take_head(stream, n)
        assert head == DATA[:n]
        assert rest.read() == DATA


def test_read_upto_does_not_stop_at_a_short_read() -> None:
    assert read_upto(forward(DATA), 100_000) == DATA[:100_000]
    assert read_upto(forward(DATA), 1 << 30) == DATA


def test_hold_and_seekable() -> None:
    assert hold(forward(DATA), len(DATA)).read() == DATA
    with pytest.raises(Unreadable) as caught:
        hold(forward(DATA), len(DATA) - 1)
    assert caught.value.reason == "bytes"
    stream = io.BytesIO(DATA)
    assert seekable(stream, 1) is stream
    assert seekable(forward(DATA), 1 << 20).seekable()


def test_metered() -> None:
    metered = Metered(forward(DATA), Limits())
    assert metered.read() == DATA
    assert metered.produced == len(DATA)
    assert not metered.seekable()
    with pytest.raises(Unreadable) as caught:
        Metered(forward(DATA), Limits(), max_bytes=len(DATA) - 1).read()
    assert caught.value.reason == "bytes"
    limits = Limits(ratio_after=1_000, max_ratio=10)
    with pytest.raises(Unreadable) as caught:
        Metered(forward(DATA), limits, consumed=lambda: 100).read()
    assert caught.value.reason == "ratio"
    assert Metered(forward(DATA), limits, consumed=lambda: len(DATA)).read() == DATA


def test_window() -> None:
    window = Window(io.BytesIO(DATA), 100, 1_000)
    assert window.read() == DATA[100:1_100]
    assert window.seek(-10, io.SEEK_END) == 990
    assert window.read(100) == DATA[1_090:1_100]
    assert Window(io.BytesIO(DATA), len(DATA) - 5, 1_000).read() == DATA[-5:]
    assert Window(io.BytesIO(DATA), 5, 1 << 80).read() == DATA[5:]


def test_chained() -> None:
    assert chained(io.BytesIO(b"ab"), forward(DATA)).read() == b"ab" + DATA


def test_foreign_exceptions_keep_their_texts_to_themselves() -> None:
    with pytest.raises(Unreadable) as caught, as_unreadable("thing"):
        raise ValueError("Jane Doe, 800101-2345678")
    assert caught.value.detail == "thing: ValueError"
    assert caught.value.__suppress_context__
    for error, reason in ((MemoryError(), "memory"), (EOFError(), "truncated")):
        with pytest.raises(Unreadable) as caught, as_unreadable("thing"):
            raise error
        assert caught.value.reason == reason
    with pytest.raises(StoreError), as_unreadable("thing"):
        raise StoreError("throttled", "slow down")

"""The framework, and what holds for every reader: nothing but Unreadable ever comes out."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scanner.readers
from scanner.errors import Unreadable
from scanner.model import REASONS, Blob, Limits, Location, Part, Problem, ReadOptions
from scanner.readers import HEAD_BYTES, Reader, all_readers, recognise
from scanner.readers.streams import take_head
from tests.readers.looking import forward
from tests.readers.test_images import drawn, saved
from tests.readers.test_tar import tarred
from tests.readers.test_zip import zipped

SMALL = ReadOptions(
    limits=Limits(
        max_recursion=3,
        max_files=50,
        max_frames=5,
        max_pixels=1_000_000,
        max_file_size=4 << 20,
        max_scan_size=16 << 20,
        ratio_after=1 << 20,
        max_cell_bytes=1 << 20,
    )
)


def _table(kind: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"name": ["a", "b"], "photo": [b"x", None]})
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out)
    else:
        with pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
    return out.getvalue()


_FRAMES = [drawn(), drawn().rotate(90), drawn().rotate(180)]
SEEDS = [
    *(
        saved(drawn(), name)
        for name in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "JPEG2000", "BMP", "ICO", "PPM")
    ),
    saved(_FRAMES[0], "GIF", save_all=True, append_images=_FRAMES[1:]),
    saved(_FRAMES[0], "TIFF", save_all=True, append_images=_FRAMES[1:], compression="tiff_lzw"),
    saved(_FRAMES[0], "MPO", save_all=True, append_images=_FRAMES[1:]),
    saved(drawn(), "JPEG", progressive=True),
    zipped({"a.png": saved(drawn(), "PNG"), "b": b"text " * 100, "d/": b""}),
    tarred([("a.png", saved(drawn(), "PNG")), ("n" * 300, b"text")]),
    gzip.compress(tarred([("a", b"text")]), mtime=0),
    gzip.compress(b"text " * 1_000, mtime=0),
    _table("parquet"),
    _table("arrow"),
    b"name,age\nA,1\nB,2\n",
    b'[{"name": "A", "age": 1}, {"name": "B"}]',
    b'{"name": "A"}\n{"name": "B"}\n',
    b"plain text\nof two lines\n",
]


def _read(reader: Reader, blob: Blob, media_type: str, depth: int = 0) -> Iterator[Part]:
    """Everything, down to a small depth; only Unreadable may end it."""
    parts = reader.read(blob, media_type, SMALL)
    for _ in range(500):
        try:
            part = next(parts)
        except (StopIteration, Unreadable):
            return
        yield part
        if isinstance(part, Blob) and depth < 2:
            try:
                head, stream = take_head(part.stream)
            except Unreadable:
                continue
            known = recognise(head)
            if known is not None:
                yield from _read(known[0], replace(part, stream=stream), known[1], depth + 1)


def _check(data: bytes, seekable: bool) -> None:
    known = recognise(data[:HEAD_BYTES])
    if known is None:
        return
    stream = io.BytesIO(data) if seekable else forward(data)
    for part in _read(known[0], Blob(Location("x"), stream), known[1]):
        if isinstance(part, Problem):
            assert part.reason in REASONS


def test_order_and_names() -> None:
    readers = all_readers()
    assert len({reader.name for reader in readers}) == len(readers)
    assert [r.priority for r in readers] == sorted(r.priority for r in readers)
    assert {"images", "zip", "tar", "compressed", "known"} <= {reader.name for reader in readers}
    assert readers is all_readers()
    for reader in readers:
        assert 10 <= reader.priority <= 90


def test_binary_seeds_go_to_the_right_reader() -> None:
    kinds = [known[0].name if (known := recognise(seed)) else None for seed in SEEDS]
    assert kinds[:14] == ["images"] * 14
    assert kinds[14:18] == ["zip", "tar", "tar", "compressed"]


def test_nothing_recognises_nothing() -> None:
    for reader in all_readers():
        assert reader.sniff(b"") is None


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_seeds_are_whole(seed: int) -> None:
    _check(SEEDS[seed], True)
    _check(SEEDS[seed], False)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=2_000), seekable=st.booleans())
def test_random_bytes(data: bytes, seekable: bool) -> None:
    for reader in all_readers():
        reader.sniff(data)
    _check(data, seekable)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.sampled_from(SEEDS), rest=st.binary(max_size=2_000), keep=st.integers(2, 64))
def test_right_beginning_and_random_rest(seed: bytes, rest: bytes, keep: int) -> None:
    _check(seed[:keep] + rest, True)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.sampled_from(SEEDS),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    seekable=st.booleans(),
)
def test_damaged_files(
    seed: bytes, flips: list[tuple[float, int]], cut: float | None, seekable: bool
) -> None:
    data = bytearray(seed)
    for where, value in flips:
        data[int(where * (len(data) - 1))] = value
    if cut is not None:
        del data[int(cut * len(data)) :]
    _check(bytes(data), seekable)


def test_the_folder_is_walked_once_and_holds_only_ours() -> None:
    for reader in all_readers():
        assert type(reader).__module__.startswith(scanner.readers.__name__ + ".")

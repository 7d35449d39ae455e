"""Arrow IPC files and streams, whole and broken."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pytest

from scanner.readers.arrow import FILE, STREAM
from tests.readers.looking import forward
from tests.readers.tabling import JPEG, blobs, media_type, problems, read, table, tables

DATA = pa.table(
    {
        "id": list(range(3000)),
        "name": pa.array([f"name {i % 7}" for i in range(3000)]).dictionary_encode(),
        "photo": [JPEG if i == 1500 else b"" for i in range(3000)],
    }
)


def written(kind: str, compression: str | None = None, data: pa.Table = DATA) -> bytes:
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(out, data.schema, options=options) as writer:
        writer.write_table(data, max_chunksize=1000)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_whole(kind: str, compression: str | None) -> None:
    data = written(kind, compression)
    assert media_type(data) == (FILE if kind == "file" else STREAM)
    for stream in (io.BytesIO(data), forward(data)):
        parts = read(stream)
        assert not problems(parts)
        assert blobs(parts) == {"x!/row=1500/photo": JPEG}
        found = table(parts)
        assert found["id"] == list(range(3000))
        assert found["name"][8] == "name 1"


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_cut_in_half(kind: str) -> None:
    data = written(kind)
    parts = read(data[: len(data) // 2])
    [(reason, detail)] = problems(parts)
    assert reason == "truncated"
    assert "after 1000 rows" in detail
    assert table(parts)["id"] == list(range(1000))


def test_cut_between_batches() -> None:
    data = written("stream")
    parts = read(data[:-8])  # without the end-of-stream marker
    assert [reason for reason, _ in problems(parts)] == ["truncated"]
    assert len(table(parts)["id"]) == 3000


def test_cut_in_the_schema() -> None:
    assert [r for r, _ in problems(read(written("stream")[:100]))] == ["truncated"]
    assert [r for r, _ in problems(read(b"ARROW1\0\0"))] == ["truncated"]


def test_no_rows() -> None:
    data = written("file", data=pa.table({"passport_no": pa.array([], pa.string())}))
    assert table(read(data)) == {"passport_no": []}


def test_feather_version_1() -> None:
    assert problems(read(b"FEA1" + bytes(40)))[0][0] == "unsupported"


@pytest.mark.parametrize(
    "data", [b"\xff" * 64, b"\xff\xff\xff\xff\x10\0\0\0", b"ARROW2\0\0", b"\xff\xff"]
)
def test_no_arrow(data: bytes) -> None:
    assert media_type(data) not in (FILE, STREAM)


def test_flipped_bytes_never_raise() -> None:
    chance = random.Random(2)
    for kind in ("file", "stream"):
        whole = written(kind, data=DATA.slice(0, 40))
        for _ in range(100):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 3)):
                data[chance.randrange(12, len(data))] = chance.randrange(256)
            if media_type(bytes(data)) in (FILE, STREAM):
                parts = read(bytes(data))
                assert problems(parts) or tables(parts)

"""Parquet files, whole and broken."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.model import ReadOptions, TableBatch
from scanner.readers.parquet import MEDIA_TYPE
from tests.readers.looking import forward
from tests.readers.tabling import JPEG, blobs, media_type, problems, read, table, tables


def parquet(data: dict[str, object], **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(data), out, **options)
    return out.getvalue()


def test_rows_and_images() -> None:
    data = parquet(
        {"id": [7, 8], "image": [{"bytes": JPEG, "path": "a"}, {"bytes": None, "path": "b"}]}
    )
    assert media_type(data) == MEDIA_TYPE
    parts = read(data, ReadOptions(subject_column="id"))
    assert table(parts)["image.path"] == ["a", "b"]
    assert blobs(parts) == {"x!/row=0/image": JPEG}
    assert isinstance(parts[0], TableBatch)
    assert parts[0].subject_keys == ("7", "8")


def test_rows_are_numbered_over_row_groups() -> None:
    data = parquet({"p": [JPEG if i in (0, 25) else b"" for i in range(30)]}, row_group_size=10)
    assert list(blobs(read(data))) == ["x!/row=0/p", "x!/row=25/p"]


def test_no_rows() -> None:
    assert table(read(parquet({"passport_no": pa.array([], pa.string())}))) == {"passport_no": []}


def test_a_stream_that_cannot_seek() -> None:
    data = parquet({"a": list(range(100))})
    assert table(read(forward(data))) == {"a": list(range(100))}


@pytest.mark.parametrize("keep", [4, 11, 100, -1, -4, -100])
def test_cut(keep: int) -> None:
    data = parquet({"a": list(range(1000))})[:keep]
    [(reason, _)] = problems(read(data))
    assert reason == "truncated"


def test_encrypted_footer() -> None:
    assert problems(read(b"PARE" + bytes(100) + b"PARE"))[0][0] == "encrypted"


def test_broken_footer() -> None:
    data = bytearray(parquet({"a": [1]}))
    data[-40:-8] = b"\xff" * 32
    [(reason, detail)] = problems(read(bytes(data)))
    assert reason == "malformed"
    assert detail.startswith("Parquet footer")


def test_a_broken_row_group_costs_only_itself() -> None:
    values = [f"{i:040d}" for i in range(3000)]
    whole = parquet({"a": values}, row_group_size=1000, use_dictionary=False, compression="zstd")
    data = bytearray(whole)
    chunk = pq.read_metadata(io.BytesIO(whole)).row_group(1).column(0)
    start = chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    parts = read(bytes(data))
    [(reason, detail)] = problems(parts)
    assert reason == "malformed"
    assert detail.startswith("row group 1: 1000 of 1000 rows not read")
    assert table(parts)["a"] == values[:1000] + values[2000:]
    assert [p.first_row for p in parts if isinstance(p, TableBatch)] == [0, 2000]


def test_large_rows_come_in_small_batches() -> None:
    data = parquet({"p": [bytes([i]) * (1 << 20) for i in range(80)]}, compression="zstd")
    sizes = [p.batch.nbytes for p in read(data) if isinstance(p, TableBatch)]
    assert len(sizes) > 1
    assert max(sizes) <= 40 << 20


def test_flipped_bytes_never_raise() -> None:
    whole = parquet({"a": list(range(300)), "b": [f"v{i}" for i in range(300)], "c": [[1.0]] * 300})
    chance = random.Random(1)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(4, len(data) - 4)] = chance.randrange(256)
        parts = read(bytes(data))
        assert problems(parts) or tables(parts)

"""Parquet: only what is asked for, nested fields, damage."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.context.manifests.parquet import MANIFEST
from scanner.errors import ConfigError


def _file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    return sink.getvalue()


NESTED = pa.table(
    {
        "person": pa.array([{"id": "a", "age": 7}, None, {"id": None, "age": 9}]),
        "file": ["x", "y", "z"],
        "dotted.name": [1, 2, 3],
    }
)


def test_nested_fields_by_dotted_names() -> None:
    source = MANIFEST.open(io.BytesIO(_file(NESTED)), "m")
    assert source.columns == ("person.id", "person.age", "file", "dotted.name")
    rows = [
        row for batch in source.batches(["dotted.name", "person.id"]) for row in batch.to_pylist()
    ]
    assert rows == [
        {"dotted.name": 1, "person.id": "a"},
        {"dotted.name": 2, "person.id": None},
        {"dotted.name": 3, "person.id": None},
    ]


@pytest.mark.parametrize("cut", [10, 100, 300])
def test_a_file_that_was_cut(cut: int) -> None:
    content = _file(NESTED)
    with pytest.raises(ConfigError, match=r"m: the Parquet file is damaged"):
        list(MANIFEST.open(io.BytesIO(content[:-cut]), "m").batches(["file"]))


def test_pages_that_were_overwritten() -> None:
    content = bytearray(_file(pa.table({"file": [f"{n}.jpg" for n in range(1000)]})))
    content[4:400] = b"\xff" * 396
    with pytest.raises(ConfigError, match=r"m: the Parquet file is damaged"):
        list(MANIFEST.open(io.BytesIO(bytes(content)), "m").batches(["file"]))

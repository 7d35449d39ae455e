"""What all tables have in common: shape, subjects, files in cells."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from scanner.errors import Unreadable
from scanner.model import Blob, Limits, Location, Part, Problem, ReadOptions, Record, TableBatch
from scanner.readers.tables import MAX_BATCH_BYTES, emit, name_columns
from tests.readers.tabling import BASE64, JPEG, blobs, problems, table, tables

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def emitted(data: pa.Table | dict[str, object], options: ReadOptions | None = None) -> list[Part]:
    made = data if isinstance(data, pa.Table) else pa.table(data)
    blob = Blob(Location("x"), io.BytesIO())
    return list(emit(blob, made.to_batches(), options or ReadOptions(), schema=made.schema))


def test_names_are_distinct() -> None:
    assert name_columns(["a", "a", "a#2", "b", "a"]) == ["a", "a#2", "a#2#2", "b", "a#3"]


def test_structs_become_dotted_names() -> None:
    found = table(
        emitted(
            {"id": [1, 2], "person": [{"name": "k", "at": {"x": 1}}, None], "person.name": ["", ""]}
        )
    )
    assert found == {
        "id": [1, 2],
        "person.name": ["k", None],
        "person.at.x": [1, None],
        "person.name#2": ["", ""],
    }


ODD_TYPES = {
    "dictionary": pa.array(["a", None, "a"]).dictionary_encode(),
    "run_end": pa.RunEndEncodedArray.from_arrays(
        pa.array([2, 3], pa.int32()), pa.array(["a", "b"])
    ),
    "string_view": pa.array(["a", None, "b" * 40], pa.string_view()),
    "binary_view": pa.array([b"a", None, b"b" * 40], pa.binary_view()),
    "list_view": pa.array([["a"], None, []], pa.list_view(pa.string())),
    "list_of_dictionary": pa.array(
        [["a"], None, []], pa.list_(pa.dictionary(pa.int8(), pa.string()))
    ),
    "large_list": pa.array([["a"], None, []], pa.large_list(pa.large_string())),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int8())),
    "decimal": pa.array([1, None, 2], pa.decimal128(10, 2)),
    "decimal256": pa.array([1, None, 2], pa.decimal256(60, 2)),
    "time": pa.array([1, None, 2], pa.timestamp("ns", "Asia/Seoul")),
    "duration": pa.array([1, None, 2], pa.duration("us")),
    "interval": pa.array([None, None, None], pa.month_day_nano_interval()),
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "null": pa.nulls(3),
    "fixed": pa.array([b"abcd", None, b"efgh"], pa.binary(4)),
    "fixed_list": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
    "empty_struct": pa.array([{}, None, {}], pa.struct([])),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 3, pa.binary(16))),
    "sparse_union": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
    ),
    "dense_union": pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()),
        pa.array([0, 0, 1], pa.int32()),
        [pa.array([1, 2]), pa.array(["b"])],
    ),
}


@pytest.mark.parametrize("column", ODD_TYPES.values(), ids=ODD_TYPES.keys())
def test_every_type(column: pa.Array) -> None:
    batch = pa.RecordBatch.from_arrays([column], ["c"])
    blob = Blob(Location("x"), io.BytesIO())
    [part] = emit(blob, [batch], ReadOptions(), schema=batch.schema)
    assert isinstance(part, TableBatch)
    part.batch.validate(full=True)
    assert part.batch.num_rows == 3
    assert part.batch.num_columns >= 1
    for kind in part.batch.schema.types:
        assert not pa.types.is_dictionary(kind)
        assert not pa.types.is_run_end_encoded(kind)
        assert kind not in (pa.string_view(), pa.binary_view())
    # and the same schema for a table without rows
    [empty] = emit(blob, [], ReadOptions(), schema=batch.schema)
    assert isinstance(empty, TableBatch)
    assert empty.batch.schema == part.batch.schema


def test_unions_keep_their_values() -> None:
    for name in ("sparse_union", "dense_union"):
        found = table(emitted({"u": ODD_TYPES[name]}))
        values = list(found.values())
        assert [v for v in values[1] if v is not None] == ["b"], name
        assert values[0][0] == 1 and values[0][1] is None


def test_empty_table_names_its_columns() -> None:
    [part] = emitted({"passport_no": pa.array([], pa.string())})
    assert isinstance(part, TableBatch)
    assert part.last and part.batch.num_rows == 0
    assert part.batch.schema.names == ["passport_no"]


def test_batches_are_bounded() -> None:
    found = emitted({"n": list(range(20_000))})
    assert [p.batch.num_rows for p in found if isinstance(p, TableBatch)] == [8192, 8192, 3616]
    assert [p.first_row for p in found if isinstance(p, TableBatch)] == [0, 8192, 16384]
    assert [p.last for p in found if isinstance(p, TableBatch)] == [False, False, True]


def test_a_large_value_in_a_dictionary_is_not_repeated_without_bound() -> None:
    value = b"\x01" * (2 << 20)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array([value]))
    count = 0
    for part in emitted({"c": column}):
        assert isinstance(part, TableBatch)
        assert part.batch.nbytes < MAX_BATCH_BYTES + len(value)
        count += part.batch.num_rows
    assert count == 200


def test_strings_that_are_not_utf8() -> None:
    bad = pa.array([b"ok", b"\xb1\xe8", None]).view(pa.string())
    nested = pa.ListArray.from_arrays([0, 1, 2, 2], bad.slice(0, 2))
    found = table(emitted({"s": bad, "l": nested}))
    assert found == {"s": ["ok", "\\xb1\\xe8", None], "l": [["ok"], ["\\xb1\\xe8"], []]}


def test_broken_structure_is_refused() -> None:
    offsets = pa.py_buffer(np.array([0, 900_000, 5], np.int32).tobytes())
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"hello")])
    with pytest.raises(Unreadable, match="contradicts"):
        emitted(pa.Table.from_arrays([column], ["c"]))


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ([1, 2, None], ("1", "2", None)),
        ([1.0, 2.5, float("nan")], ("1", "2.5", None)),
        ([" a ", "", None], ("a", None, None)),
        ([b"k1", b" ", None], ("k1", None, None)),
    ],
)
def test_subject_keys(values: list[object], keys: tuple[str | None, ...]) -> None:
    data = pa.table({"p": pa.array([{"id": v} for v in values])})
    [part] = emitted(data, ReadOptions(subject_column="p.id"))
    assert isinstance(part, TableBatch)
    assert part.subject_keys == keys


def test_subject_column_that_is_not_there() -> None:
    [part] = emitted({"a": [1]}, ReadOptions(subject_column="b"))
    assert isinstance(part, TableBatch)
    assert part.subject_keys is None


def test_files_in_cells() -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.jpg", JPEG)
    data = pa.table(
        {
            "id": ["k1", "k2", "k3"],
            "image": [
                {"bytes": JPEG, "path": "a"},
                {"bytes": None, "path": "b"},
                {"bytes": b"template", "path": None},
            ],
            "raw": [b"", zipped.getvalue(), None],
            "b64": ["", f"data:image/jpeg;base64,{BASE64}", BASE64],
            "in_bytes": [BASE64.encode(), None, b"x" * 99],
            "photos": [[JPEG, b"", PNG], None, []],
            "deep": pa.array([[], [{"p": [BASE64]}], None]),
            "map": pa.array([[("k", JPEG)], None, []], pa.map_(pa.string(), pa.binary())),
            "octets": pa.array([list(JPEG), [], None], pa.list_(pa.uint8())),
            "html": ["", f'<img src="data:image/jpeg;base64,{BASE64}">', "w " * 200],
            "fixed": pa.array([PNG, bytes(48), None], pa.binary(48)),
            "embedding": pa.array([np.ones(128, np.float32).tobytes()] * 3),
        }
    )
    parts = emitted(data, ReadOptions(subject_column="id"))
    assert isinstance(parts[0], TableBatch)  # the rows first, what is in them after
    assert blobs(parts) == {
        "x!/row=0/image": JPEG,
        "x!/row=1/raw": zipped.getvalue(),
        "x!/row=1/b64": JPEG,
        "x!/row=2/b64": JPEG,
        "x!/row=0/in_bytes": JPEG,
        "x!/row=0/photos[0]": JPEG,
        "x!/row=0/photos[2]": PNG,
        "x!/row=1/deep[0].p[0]": JPEG,
        "x!/row=0/map[0].value": JPEG,
        "x!/row=0/octets": JPEG,
        "x!/row=1/html#0": JPEG,
        "x!/row=0/fixed": PNG,
    }
    records = {str(p.location): p.record for p in parts if isinstance(p, Blob)}
    assert records["x!/row=1/raw"] == Record(1, "k2")
    assert parts[0].batch.column("b64")[2].as_py() == BASE64  # the column stays what it is


def test_files_of_later_batches_and_slices() -> None:
    values = [b""] * 20_000
    values[8_191] = values[8_192] = values[19_999] = JPEG
    lists = [[v] if v else None for v in values]
    sliced = pa.table({"p": values, "l": lists}).slice(1)
    assert set(blobs(emitted(sliced))) == {
        f"x!/row={row}/{c}" for row in (8_190, 8_191, 19_998) for c in ("p", "l[0]")
    }


def test_the_subject_of_the_cell_around_is_kept() -> None:
    batch = pa.RecordBatch.from_pydict({"p": [JPEG]})
    blob = Blob(Location("x"), io.BytesIO(), record=Record(7, "outer"))
    found = list(emit(blob, [batch], ReadOptions(), schema=batch.schema))
    assert [p.record for p in found if isinstance(p, Blob)] == [Record(0, "outer")]


def test_cells_over_the_limit() -> None:
    options = ReadOptions(limits=Limits(max_cell_bytes=300))
    parts = emitted({"b": [JPEG, b"x"], "t": [BASE64, "y"]}, options)
    assert not blobs(parts)
    assert [(str(p.location), p.reason) for p in parts if isinstance(p, Problem)] == [
        ("x!/row=0/b", "bytes"),
        ("x!/row=0/t", "bytes"),
    ]


def test_what_was_read_comes_before_the_failure() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1]})

    def source() -> object:
        yield batch
        yield Problem(Location("x"), "malformed", "one row group")
        yield 5
        yield batch
        raise Unreadable("depth", "too deep")

    parts: list[Part] = []
    with pytest.raises(Unreadable):
        parts.extend(emit(Blob(Location("x"), io.BytesIO()), source(), ReadOptions()))  # type: ignore[arg-type]
    parts = []
    stream = emit(Blob(Location("x"), io.BytesIO()), source(), ReadOptions())  # type: ignore[arg-type]
    with pytest.raises(Unreadable):
        for part in stream:
            parts.append(part)
    assert problems(parts) == [("malformed", "one row group")]
    assert [p.first_row for p in parts if isinstance(p, TableBatch)] == [0, 6]
    assert tables(parts)["x"].num_rows == 2


def test_names_nested_too_deep() -> None:
    column = pa.array([1])
    for _ in range(40):
        column = pa.StructArray.from_arrays([column], ["s"])
    with pytest.raises(Unreadable, match="deeper"):
        emitted({"c": column})

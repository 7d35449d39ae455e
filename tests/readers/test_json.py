"""JSON, JSON Lines, and values one after another."""

from __future__ import annotations

import io
import json
import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model import Blob, Limits, Location, ReadOptions, TableBatch
from scanner.readers import jsonrows
from scanner.readers.json import JSON, LINES, READER, SEQUENCE
from tests.readers.looking import forward
from tests.readers.tabling import BASE64, JPEG, blobs, problems, read, table, tables


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('[{"a": 1}]', JSON),
        ('{"a": 1}', JSON),
        ("[[1, 2], [3, 4]]", JSON),
        ('{"a": 1}\n{"a": 2}\n', LINES),
        ('{"a": 1}\nbroken\n{"a": 2}\n{"a": 3}', LINES),
        ('{"a": 1}{"a": 2}', SEQUENCE),
        ('{\n "a": 1\n}\n{\n "a": 2\n}\n', SEQUENCE),
        ('\x1e{"a": 1}\n\x1e{"a": 2}\n', LINES),
        ('{"a": 1, "b": 2, "c": 3, "d', JSON),
        ("{ foo: 1 }", None),
        ("[section]\nkey=1\n", None),
        ("[1] a footnote\n", None),
        ('"only a string"', None),
        ("123", None),
        ("{\\rtf1 text}", None),
    ],
)
def test_kinds(text: str, kind: str | None) -> None:
    assert READER.sniff(text.encode()) == kind


def test_a_list_of_objects() -> None:
    data = [{"id": 1, "p": {"nat": "KR", "x": None}}, {"id": 2.5, "ok": True}]
    assert table(read(json.dumps(data).encode())) == {
        "id": ["1", "2.5"],
        "p.nat": ["KR", None],
        "p.x": [None, None],
        "ok": [None, "true"],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(encoding: str) -> None:
    data = json.dumps([{"여권번호": "M1", "顔写真": "a"}], ensure_ascii=False).encode(encoding)
    assert table(read(data)) == {"여권번호": ["M1"], "顔写真": ["a"]}


def test_lists() -> None:
    data = [
        {"e": [0.5, 1, math.nan, 1e400], "t": ["a", None], "n": [], "m": [{"f": "x"}, {"f": 1}]}
    ]
    found = table(read(json.dumps(data).encode()))
    assert str(found["e"]) == "[[0.5, 1.0, nan, inf]]"
    assert found["t"] == [["a", None]]
    assert found["m.f"] == [["x", "1"]]


def test_embeddings_are_lists_of_numbers() -> None:
    data = "".join(json.dumps({"id": i, "v": [i / 3] * 128}) + "\n" for i in range(50))
    found = tables(read(data.encode()))["x"]
    assert str(found.schema.field("v").type) == "list<item: double>"


def test_rows_without_names() -> None:
    assert table(read(b"[[0.1, 0.2], [0.3, 0.4]]")) == {"#0": [[0.1, 0.2], [0.3, 0.4]]}
    assert table(read(b'[["a", 1], ["b", 2]]')) == {"#0": ["a", "b"], "#1": ["1", "2"]}


def test_coco() -> None:
    data = {
        "info": {"year": 2020},
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}],
        "data": {"people": [{"passport_no": "M1"}]},
        "tags": ["a", "b"],
    }
    found = {name: t.to_pydict() for name, t in tables(read(json.dumps(data).encode())).items()}
    assert found == {
        "x!/images": {"id": ["1", "2"], "file_name": ["a.jpg", "b.jpg"]},
        "x!/annotations": {"image_id": ["1"], "bbox": [[1.0, 2.0, 3.0, 4.0]]},
        "x!/data.people": {"passport_no": ["M1"]},
        "x": {"info.year": ["2020"], "tags": [["a", "b"]]},
    }


def test_a_map_from_keys_gives_no_column_names() -> None:
    data = {f"person {i}": [0.5, 0.25] for i in range(9)}
    found = table(read(json.dumps(data).encode()))
    assert list(found) == ["#key", "#value"]
    assert found["#key"][8] == "person 8"
    nested = {f"person {i}": {"nationality": "KR", "e": [1.0, 2.0]} for i in range(9)}
    assert list(table(read(json.dumps(nested).encode()))) == [
        "#key",
        "#value.nationality",
        "#value.e",
    ]


def test_settings_stay_one_row() -> None:
    data = {f"option_{i}": i for i in range(20)}
    assert len(table(read(json.dumps(data).encode()))) == 20


def test_pictures_in_values() -> None:
    data = {
        "id": 7,
        "photo": f"data:image/jpeg;base64,{BASE64}",
        "more": [{"b": BASE64}, {"b": ""}, {"b": BASE64}],
        "buffer": {"type": "Buffer", "data": list(JPEG)},
    }
    parts = read(
        (json.dumps(data) + "\n" + json.dumps(data)).encode(), ReadOptions(subject_column="id")
    )
    names = ["photo", "more.b[0]", "more.b[2]", "buffer.data"]
    assert blobs(parts) == {f"x!/row={row}/{name}": JPEG for row in (0, 1) for name in names}


def test_broken_lines() -> None:
    data = b'{"a": 1}\n{"a": 2\n\nnothing\n{"a": 3}\n'
    parts = read(data)
    assert table(parts) == {"a": ["1", "3"]}
    assert problems(parts) == [("malformed", "2 lines are not JSON; first at line 2")]


def test_columns_that_come_late_begin_a_new_table() -> None:
    rows = [{"a": 1}] * 10_000 + [{"a": 2, "passport_no": "M1"}] * 10_000 + [{"a": [1.0]}] * 3
    parts = read("".join(json.dumps(row) + "\n" for row in rows).encode())
    found = tables(parts)
    assert sum(t.num_rows for t in found.values()) == len(rows)
    assert found["x"].schema.names == ["a"]
    later = [name for name, t in found.items() if "passport_no" in t.schema.names]
    assert later[0].startswith("x!/rows=8192+")
    first = {str(p.location): p.first_row for p in reversed(parts) if isinstance(p, TableBatch)}
    assert first[later[0]] == 8192
    assert problems(parts) == []


def test_cut() -> None:
    data = json.dumps([{"a": i} for i in range(100)]).encode()
    parts = read(data[:-20])
    assert [reason for reason, _ in problems(parts)] == ["truncated"]
    assert len(table(parts)["a"]) == 98
    parts = read(json.dumps({"a": 1, "b": [{"c": i} for i in range(9)], "d": 2}).encode()[:-20])
    assert [reason for reason, _ in problems(parts)] == ["truncated"]
    assert set(tables(parts)) == {"x", "x!/b"}


def test_broken_in_the_middle() -> None:
    parts = read(b'[{"a": 1}, {"a": 2}, {a: 3}, {"a": 4}]' + b" " * 100)
    assert table(parts) == {"a": ["1", "2"]}
    assert [reason for reason, _ in problems(parts)] == ["malformed"]
    assert [r for r, _ in problems(read(b'{"a": 1} and more'))] == ["malformed"]


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'[{"a":' * 100_000,
        b'{"a": 1}\n' * 3 + b"[" * 100_000 + b"\n" + b'{"a": 1}\n' * 3,
    ],
)
def test_depth_bombs(data: bytes) -> None:
    assert "depth" in [reason for reason, _ in problems(read(data))]


def test_numbers_and_keys_that_are_odd() -> None:
    digits = "9" * 10_000
    found = table(read(f'{{"n": {digits}, "a": 1, "a": 2, "s": "\\ud800", "f": 1e999}}'.encode()))
    assert found == {"n": [digits], "a": ["1"], "a#2": ["2"], "s": ["\\ud800"], "f": ["inf"]}


def test_one_value_over_the_limit() -> None:
    options = ReadOptions(limits=Limits(max_cell_bytes=100_000))
    data = json.dumps([{"a": 1}, {"a": "x" * 2_000_000}]).encode()
    parts = read(data, options)
    assert [reason for reason, _ in problems(parts)] == ["bytes"]
    assert table(parts) == {"a": ["1"]}
    lines = b'{"a": 1}\n{"a": "' + b"x" * 2_000_000 + b'"}\n{"a": 3}\n'
    parts = read(b'{"a": 0}\n' + lines, options)
    assert [reason for reason, _ in problems(parts)] == ["bytes"]
    assert table(parts) == {"a": ["0", "1", "3"]}


def test_values_across_pieces() -> None:
    rows = [{"id": i, "text": "값" * (i % 50), "n": i * 1.5} for i in range(20_000)]
    found = table(read(forward(json.dumps(rows, ensure_ascii=False).encode())))
    assert found["id"] == [str(i) for i in range(20_000)]
    assert found["n"][-1] == str(19_999 * 1.5)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    if isinstance(value, str):
        return [value]
    return [str(float(value))] if isinstance(value, (int, float)) else []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(st.text(max_size=4), VALUE, max_size=4), min_size=1, max_size=6))
def test_no_value_is_lost(rows: list[dict[str, object]]) -> None:
    def plain(leaf: str) -> str:
        try:
            return str(float({"true": "1", "false": "0"}.get(leaf, leaf)))
        except ValueError:
            return leaf

    wanted = sorted(plain(leaf) for row in rows for leaf in _leaves(row))
    whole = json.dumps([{"first_name": "x"}, *rows])
    lines = "\n".join(json.dumps(row) for row in [{"first_name": "x"}, {"first_name": "x"}, *rows])
    for text, extra in ((whole, 1), (lines, 2)):
        parts = read(text.encode())
        got = [plain(leaf) for t in tables(parts).values() for leaf in _leaves(t.to_pydict())]
        for _ in range(extra):
            got.remove("x")
        assert sorted(got) == wanted


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([JSON, LINES, SEQUENCE]))
def test_any_bytes(data: bytes, kind: str) -> None:
    for stream in (data, b'[{"a": 1},' + data, b'{"a": [{"b": 1}], "c": ' + data):
        READER.sniff(stream)
        found = READER.read(Blob(Location("x"), io.BytesIO(stream)), kind, ReadOptions())
        try:
            list(found)
        except Exception as error:
            assert type(error).__name__ == "Unreadable"


def test_memory_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    row = json.dumps({"id": 1, "e": [0.123456] * 64}) + ","

    monkeypatch.setattr(jsonrows, "_TABLE_CHARS", 1 << 18)

    def peak(rows: int) -> int:
        data = ("[" + row * rows + row[:-1] + "]").encode()
        tracemalloc.start()
        for _ in READER.read(Blob(Location("x"), io.BytesIO(data)), JSON, ReadOptions()):
            pass
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    assert peak(6_000) < 1.3 * peak(2_000)

"""JSON Lines: the fast way and the general way say the same."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.context import cells
from scanner.context.manifests import jsonlines
from scanner.context.manifests.jsonlines import MANIFEST

value = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
    | st.text(max_size=6)
)
row = st.dictionaries(st.sampled_from(["a", "b", "c.d"]), value, max_size=3)


def _texts(content: bytes, *columns: str) -> list[list[str | None]]:
    found: list[list[str | None]] = [[] for _ in columns]
    for batch in MANIFEST.open(io.BytesIO(content), "m").batches(columns):
        for position, column in enumerate(batch.columns):
            found[position] += cells.texts(column).to_pylist()
    return found


@given(
    st.lists(row, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_both_ways_agree(rows: list[dict[str, object]], end: str, ascii_only: bool) -> None:
    content = end.join(json.dumps(entry, ensure_ascii=ascii_only) for entry in rows).encode()
    fast = _texts(content, "a", "b", "c.d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonlines, "_by_arrow", lambda block, names: None)
        assert _texts(content, "a", "b", "c.d") == fast


def test_the_fast_way_is_taken_for_flat_rows() -> None:
    block = b'{"a": "x", "more": [1, {"b": 2}]}\n{"a": null}\n{"a": "2022-12-31"}\n'
    batch = jsonlines._by_arrow(block, ["a", "b"])
    assert batch is not None
    assert batch.to_pylist() == [
        {"a": "x", "b": None},
        {"a": None, "b": None},
        {"a": "2022-12-31", "b": None},
    ]


def test_nan_is_nothing() -> None:
    assert _texts(b'{"a": NaN}\n{"a": "x"}\n', "a") == [[None, "x"]]


def test_names_are_found_beyond_the_first_row() -> None:
    source = MANIFEST.open(io.BytesIO(b'{"a": 1}\n{"b": {"c": {"d": 1}}}\n'), "m")
    assert source.columns == ("a", "b.c.d")

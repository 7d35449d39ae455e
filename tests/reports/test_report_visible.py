"""Every character that acts on a screen is shown as an escape; letters are left alone."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.reports._stream import write_json
from scanner.reports._visible import json_escaped, visible


def test_exactly_the_acting_characters_are_escaped() -> None:
    # a newer Unicode may add some; those that this Python knows must all be there
    acting = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        escaped = visible(char) != char
        if unicodedata.category(char) in acting:
            assert escaped, hex(code)
        elif escaped:
            assert char in "\u3164\uffa0" or unicodedata.category(char) == "Cn", hex(code)


def test_escapes_look_as_people_write_them() -> None:
    assert visible("a\nb\tc\x1b[2J\u202e\U000e0041") == "a\\nb\\tc\\x1b[2J\\u202e\\U000e0041"
    assert visible("얼굴 é ظ 顔 😀") == "얼굴 é ظ 顔 😀"


@settings(deadline=None)
@given(st.text(st.characters(categories=["C", "Z", "L", "P"])))
def test_json_round_trips_every_text(text: str) -> None:
    dumped = json_escaped(json.dumps(text, ensure_ascii=False))
    assert json.loads(dumped) == text
    assert visible(dumped) == dumped
    dumped.encode("utf-8", "strict")


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_streamed_json_means_what_went_in(value: object) -> None:
    out = io.BytesIO()
    write_json(out, {"value": value, "rows": iter([value, value]), "none": iter(())})
    assert json.loads(out.getvalue()) == {"value": value, "rows": [value, value], "none": []}

"""Plain YAML comes through; everything that could surprise is refused with file and line."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import ScannerError
from scanner.yamlsafe import MAX_BYTES, load_yaml, parse_yaml


def test_plain_data_with_yaml_1_2_scalars() -> None:
    text = """
    country: NO
    switch: on
    truth: true
    nothing:
    tilde: ~
    octal: 010
    time: 1:30
    whole: -12
    part: 1.5
    big: 1e3
    day: 2022-12-31
    moment: 2022-12-31T10:00:00Z
    quoted: "2022-12-31"
    list: [a, 1, {b: c}]
    text: |
      two
      lines
    """
    assert parse_yaml(text, "f") == {
        "country": "NO",
        "switch": "on",
        "truth": True,
        "nothing": None,
        "tilde": None,
        "octal": "010",
        "time": "1:30",
        "whole": -12,
        "part": 1.5,
        "big": 1000.0,
        "day": datetime.date(2022, 12, 31),
        "moment": datetime.datetime(2022, 12, 31, 10, tzinfo=datetime.UTC),
        "quoted": "2022-12-31",
        "list": ["a", 1, {"b": "c"}],
        "text": "two\nlines\n",
    }


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: &x 2\n", 2, "anchors"),
        ("a: &x [1]\nb: *x\n", 1, "anchors"),
        ("a: 1\nb: *x\n", 2, "alias"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "tags"),
        ("a: !!str 1\n", 1, "tags"),
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("a:\n  b: 1\n  b: 2\n", 3, "twice"),
        ("1: a\n", 1, "plain text"),
        ("? [a]\n: b\n", 1, "plain text"),
        ("a: 1\n b: 2\n", 2, "not YAML"),
        ("a: [1,\n", 2, "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("a: 2022-02-30\n", 1, "calendar"),
        ("a: 1e999\n", 1, "too large"),
        ("[" * 41 + "]" * 41, 1, "nested"),
        ("a: \x00\n", 1, "not YAML"),
    ],
)
def test_refused_in_one_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScannerError) as caught:
        load_yaml(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_taken(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ScannerError, match="1 MiB"):
        load_yaml(large)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ScannerError, match=r"latin\.yaml:2: not UTF-8"):
        load_yaml(latin)
    with pytest.raises(ScannerError, match="no such file"):
        load_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ScannerError, match="cannot be read"):
        load_yaml(tmp_path)
    whole = tmp_path / "whole.yaml"
    whole.write_bytes(b"#" * MAX_BYTES)
    assert load_yaml(whole) is None
    marked = tmp_path / "bom.yaml"
    marked.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(marked) == {"a": 1}


@given(st.text(alphabet=" \n\t:-[]{}&*!|>'\"%@`#?,abc019.\u00e9\x07", max_size=60))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        parse_yaml(text, "f")
    except ScannerError as error:
        assert "\n" not in str(error)

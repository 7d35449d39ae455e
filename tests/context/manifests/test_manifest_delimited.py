"""Delimited text: encodings, quoting, rows that must not get lost."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.context.manifests.delimited import MANIFEST
from scanner.errors import ConfigError

plain_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8
)


def _rows(content: bytes, *columns: str) -> list[dict[str, str | None]]:
    source = MANIFEST.open(io.BytesIO(content), "m.csv")
    found: list[dict[str, str | None]] = []
    for batch in source.batches(columns):
        found += batch.to_pylist()
    return found


@given(
    st.lists(st.tuples(plain_text, plain_text), max_size=10),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
@settings(max_examples=200, deadline=None)
def test_what_the_csv_module_writes_is_read_back(
    rows: list[tuple[str, str]], delimiter: str, end: str, encoding: str, quoting: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["location", "subject"])
    writer.writerows(rows)
    found = _rows(out.getvalue().encode(encoding), "subject", "location")
    assert found == [{"subject": b or None, "location": a or None} for a, b in rows]


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_as_many_rows_as_the_csv_module_or_an_error(content: bytes) -> None:
    content = b"a,b\n" + content
    try:
        found = len(_rows(content, "a"))
    except ConfigError:
        return
    encoding = MANIFEST.open(io.BytesIO(content), "m.csv").encoding  # type: ignore[attr-defined]
    text = io.StringIO(content.decode(encoding), newline="")
    assert found == sum(1 for row in csv.reader(text) if row) - 1


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n1,"x\n2,y\n3,z\n',
        b'a,b\n1,"x\n2,"y\n3,z\n',
        b'a,b\n1,x"\n2,"y\n3,z\n',
    ],
)
def test_a_quote_that_swallows_rows_is_an_error(content: bytes) -> None:
    with pytest.raises(ConfigError, match=r"m\.csv: .*(quoted value|values, expected)"):
        _rows(content, "a", "b")


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("파일,성명\nㄱ.jpg,김철수\n", "cp949", "김철수"),
        ("파일,성명\n얼굴.jpg,똠방각하\n", "cp949", "똠방각하"),
        ("ファイル,氏名\n顔.jpg,山田太郎\n", "cp932", "山田太郎"),
        ("ファイル,氏名\n顔.jpg,①髙橋\n", "cp932", "①髙橋"),
    ],
)
def test_legacy_encodings_of_whole_files(text: str, encoding: str, expected: str) -> None:
    name = text.split("\n")[0].split(",")[1]
    assert _rows(text.encode(encoding), name) == [{name: expected}]


def test_latin_1_is_not_taken_for_something_else() -> None:
    with pytest.raises(ConfigError, match="encoding is not recognised"):
        _rows("file,name\na.jpg,Bj\xf6rn \xff\n".encode("latin-1"), "name")

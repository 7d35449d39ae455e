"""What is a table, and how its rows are written."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.readers.dialects import Rows, find_dialect


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_dialects(delimiter: str, end: str, quoting: int) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(
        [["name", "passport", "note"], ["Kim", "M1", f'he said "a{delimiter}b"'], ["Lee", "M2", ""]]
    )
    found = find_dialect(out.getvalue(), True)
    assert found is not None
    assert (found.delimiter, found.columns, found.header) == (delimiter, 3, True)


@pytest.mark.parametrize(
    "text",
    [
        "Hello, I am\nfine, thanks\n",
        "Dear Sir,\nI would say, in short, that\nthis is fine, and good.\nYours,\nX",
        "import os, sys\nfrom a import b, c\n\ndef f(a, b):\n    return a, b\n",
        "int main() {\n  foo(a, b);\n  return 0;\n}\n",
        "a = 1;\nb = 2;\nc = f(x);\n",
        "a: 1\nb: 2\nc:\n  - d, e\n",
        "2024-01-01 12:00:00,123 INFO it has begun just now\n"
        "2024-01-01 12:00:01,124 INFO it has ended just now\n",
        '<?xml version="1.0"?>\n<a b="1,2">\n<c d="3,4">\n',
        "BEGIN:VCARD\nN:Kim;Min;;;\nTEL;TYPE=home:1;2;3\nEND:VCARD\n",
        "dn: cn=a,dc=b\ncn: a,b\n",
        "%!PS-Adobe-3.0 EPSF\n1 2 moveto, 3\n4 5 lineto, 6\n",
        "one column\nonly\nwords\n",
        "1\n2\n3\n",
        "",
        "\n\n",
        "red, green, blue",
        "INSERT INTO t VALUES\n(1,'a','b'),\n(2,'c','d'),\n(3,'e','f');\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "body { color: red; }\np { margin: 0; }\n",
    ],
)
def test_no_tables(text: str) -> None:
    assert find_dialect(text, True) is None


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("name,photo\nkim,a.jpg\n", True),
        ("name,photo\n", True),
        ("0.1,0.2,0.3\n0.4,0.5,0.6\n", False),
        ("Kim,M12345678,KR\nLee,M87654321,KR\nPark,M11111111,US\n", False),
        ("id,0,1,2,3\na,.1,.2,.3,.4\n", True),
        ("0,1,2,3\n.1,.2,.3,.4\n.1,.2,.3,.4\n", True),
        ("1,2,3\n4,5,6\n7,8,9\n", False),
        ("kim,KR,M\nlee,KR,F\npark,KR,M\nchoi,KR,F\n", False),
        ("city,2019,2020,2021\nSeoul,1.5,2.5,3.5\n", True),
        ("여권번호\t국적\nM1\tKR\n", True),
        (",name,age\n0,kim,3\n1,lee,4\n", True),
        ("1990-01-01,M,3\n1991-02-02,F,4\n", False),
    ],
)
def test_header(text: str, header: bool) -> None:
    found = find_dialect(text, True)
    assert found is not None
    assert found.header is header


def test_decimal_commas() -> None:
    found = find_dialect("1,5;2,5;x\n3,5;4,5;y\n5,5;6,5;z\n", True)
    assert found is not None
    assert found.delimiter == ";"


def test_what_stands_before_the_rows() -> None:
    found = find_dialect("sep=;\nname;id\nkim;1\n", True)
    assert found is not None
    assert (found.delimiter, found.preamble) == (";", 1)
    found = find_dialect("##a\n##b\n#CHROM\tPOS\n1\t2\n3\t4\n", True)
    assert found is not None
    assert (found.delimiter, found.preamble) == ("\t", 2)


def test_escaped_quotes() -> None:
    found = find_dialect('a,b\n"x \\" y",z\n"\\"","q, r"\n', True)
    assert found is not None
    assert found.escape == "\\"


CELLS = st.text(st.sampled_from('ab,;\t|"\n\r 한é\0'), max_size=8)


@settings(deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 9),
)
def test_rows_are_those_that_were_written(
    rows: list[list[str]], delimiter: str, end: str, quoting: int, step: int
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    if quoting == csv.QUOTE_MINIMAL:  # it leaves a lone CR unquoted, which csv.reader refuses
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    writer.writerows(rows)
    text = out.getvalue()
    whole = [cells for _, cells in Rows(delimiter, 0, 1 << 20).parse(text, True)]
    assert whole == rows
    # and the same when the text comes piece by piece
    parser, buffer, found = Rows(delimiter, 0, 1 << 20), "", []
    for i in range(0, len(text), step):
        buffer += text[i : i + step]
        found += [cells for _, cells in parser.parse(buffer, False)]
        buffer = buffer[parser.consumed :]
    found += [cells for _, cells in parser.parse(buffer, True)]
    assert found == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,"open\nb,c\n', [["a", '"open'], ["b", "c"]]),
        ('5" nails,x\ny,z\n', [['5" nails', "x"], ["y", "z"]]),
        ('"abc"d,x\n', [['"abc"d', "x"]]),
        ('"a",\n', [["a", ""]]),
        ('"","b"', [["", "b"]]),
        ("a,b", [["a", "b"]]),
        (",\n\n,\n", [["", ""], ["", ""]]),
    ],
)
def test_quotes_that_are_none(text: str, rows: list[list[str]]) -> None:
    assert [cells for _, cells in Rows(",", 2, 1 << 20).parse(text, True)] == rows


def test_lines_are_counted_over_line_ends_in_cells() -> None:
    text = 'a,b\n"x\ny",2\n\nc,d\n'
    assert [line for line, _ in Rows(",", 2, 1 << 20).parse(text, True)] == [0, 1, 4]

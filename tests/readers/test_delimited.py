"""CSV, TSV and their kin."""

from __future__ import annotations

import csv
import io
import tracemalloc

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scanner.model import Blob, Limits, Location, ReadOptions, TableBatch
from scanner.readers.charsets import detect
from scanner.readers.delimited import CSV, READER, TSV
from tests.readers.looking import Forward, forward
from tests.readers.tabling import BASE64, JPEG, blobs, media_type, problems, read, table, texts


def test_plain() -> None:
    data = b"name,passport_no\nKim,M1\nLee,M2\n"
    assert media_type(data) == CSV
    parts = read(data, ReadOptions(subject_column="passport_no"))
    assert table(parts) == {"name": ["Kim", "Lee"], "passport_no": ["M1", "M2"]}
    assert isinstance(parts[0], TableBatch)
    assert parts[0].subject_keys == ("M1", "M2")


def test_tabs() -> None:
    data = b"name\tage\nKim\t34\n"
    assert media_type(data) == TSV
    assert table(read(data)) == {"name": ["Kim"], "age": ["34"]}


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("여권번호,얼굴사진,국적", "cp949"),
        ("여권번호,얼굴사진,국적", "utf-8"),
        ("여권번호,얼굴사진,국적", "utf-8-sig"),
        ("여권번호,얼굴사진,국적", "utf-16"),
        ("여권번호,얼굴사진,국적", "utf-16-le"),
        ("여권번호,얼굴사진,국적", "utf-16-be"),
        ("顔写真,国籍,氏名", "cp932"),
        ("顔写真,国籍,氏名", "euc_jp"),
        ("人脸照片,国籍,姓名", "gb18030"),
        ("人臉照片,國籍,姓名", "cp950"),
        ("identité,nationalité,photo", "cp1252"),
        ("лицо,гражданство,имя", "cp1251"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(header: str, encoding: str, end: str) -> None:
    names = header.split(",")
    data = f"{header}{end}a,b,c{end}d,e,{names[0]}{end}".encode(encoding)
    assert media_type(data) == CSV
    found = table(read(data))
    assert found == {names[0]: ["a", "d"], names[1]: ["b", "e"], names[2]: ["c", names[0]]}


def test_header_only() -> None:
    assert table(read(b"passport_no,face_photo\n")) == {"passport_no": [], "face_photo": []}


def test_no_header() -> None:
    rows = "".join(f"{i / 7:.6f},{i / 3:.6f},{i}\n" for i in range(20))
    found = table(read(rows.encode()))
    assert list(found) == ["#0", "#1", "#2"]
    assert found["#2"] == [str(i) for i in range(20)]


def test_names_that_are_not_distinct_or_missing() -> None:
    assert list(table(read(b"name,name,\nx,y,z\n"))) == ["name", "name#2", "#2"]


def test_line_ends_quotes_and_delimiters_in_cells() -> None:
    parts = read(b'a,b\r\n"x\r\ny",2\r\n"q""z","1,5"\r\n')
    assert table(parts) == {"a": ["x\r\ny", 'q"z'], "b": ["2", "1,5"]}


def test_the_last_row_is_cut() -> None:
    parts = read(b"a,b,c\n1,2,3\n4,5,6\n7,8")
    assert table(parts) == {"a": ["1", "4", "7"], "b": ["2", "5", "8"], "c": ["3", "6", None]}


def test_ragged_rows_keep_their_values() -> None:
    parts = read(b"a,b\n1,2\n3\n4,5,6\n7,8\n9,10\n")
    assert table(parts) == {
        "a": ["1", "3", "4", "7", "9"],
        "b": ["2", None, "5", "8", "10"],
        "#2": [None, None, "6", None, None],
    }
    assert problems(parts) == [
        ("malformed", "2 rows with a different number of cells; first at line 3")
    ]


def test_ragged_rows_far_into_the_file() -> None:
    data = b"a,b\n" + b"1,2\n" * 50_000 + b"3,4,M12345678\n" + b"5,6\n" * 50_000
    parts = read(data)
    found = table(parts)
    assert list(found) == ["a", "b"]
    assert len(found["a"]) == 100_001
    assert found["a"][50_000] == "3"
    assert [t.text for t in texts(parts)] == ["M12345678"]
    assert problems(parts) == [
        ("malformed", "1 rows with a different number of cells; first at line 50002")
    ]


def test_preamble_is_text() -> None:
    parts = read(b"##source\n##date\n#CHROM\tPOS\tREF\n1\t2\tA\n1\t3\tC\n")
    assert [t.text for t in texts(parts)] == ["##source\n##date\n"]
    assert list(table(parts)) == ["#CHROM", "POS", "REF"]


def test_nul_bytes() -> None:
    data = b"name,photo,nationality\n" + b"Kim,a.jpg,KR\n" * 40 + b"Le\0e,b.jpg,KR\n"
    assert table(read(data))["name"][-1] == "Le\0e"


def test_a_quotation_that_never_closes() -> None:
    data = b"a,b,c\n" + b"1,2,3\n" * 10 + b'"4,5,6\n' + b"7,8,9\n" * 300_000
    found = table(read(data))
    assert len(found["a"]) == 300_011
    assert found["a"][10] == '"4'


def test_a_cell_larger_than_the_csv_module_takes() -> None:
    big = "x" * 3_000_000
    found = table(read(f'a,b\n1,"{big}"\n2,y\n'.encode()))
    assert found["b"] == [big, "y"]


def test_a_header_longer_than_the_head() -> None:
    names = [f"feature_{i:05d}" for i in range(4_000)]
    data = ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n"
    found = table(read(data.encode()))
    assert list(found) == names
    assert found[names[-1]] == ["1"]


def test_pictures_in_cells() -> None:
    data = f'id,photo\n7,{BASE64}\n8,\n9,"data:image/jpeg;base64,{BASE64}"\n'.encode()
    parts = read(data, ReadOptions(subject_column="id"))
    assert blobs(parts) == {"x!/row=0/photo": JPEG, "x!/row=2/photo": JPEG}


def test_cells_over_the_limit() -> None:
    data = f"id,photo\n7,{BASE64}\n".encode()
    parts = read(data, ReadOptions(limits=Limits(max_cell_bytes=200)))
    assert [reason for reason, _ in problems(parts)] == ["bytes"]


def test_a_stream_in_small_pieces() -> None:
    data = "이름,국적\n".encode() + "김,KR\n".encode() * 50_000
    assert len(table(read(forward(data)))["국적"]) == 50_000


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"), max_size=12)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 5).flatmap(
        lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=12)
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_was_written_comes_back(
    rows: list[list[str]], delimiter: str, end: str, quoting: int, encoding: str
) -> None:
    names = ["passport_no", "nationality", "birth_date", "face_photo", "full_name"][: len(rows[0])]
    # Some ordinary rows first, so that it is a table whatever the cells hold
    ordinary = [[f"v{i}{j}x" for j in range(len(names))] for i in range(12)]
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([names, *ordinary, *rows])
    data = out.getvalue().encode(encoding)
    assume(detect(data) != "cp949")  # accents in pairs may be the UTF-8 reading of Korean
    found = table(read(data))
    assert list(found) == names
    assert [list(row) for row in zip(*found.values(), strict=True)] == [*ordinary, *rows]


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([CSV, TSV]))
def test_any_bytes(data: bytes, kind: str) -> None:
    for stream in (data, b"a,b\n1,2\n3,4\n" + data):
        blob = Blob(Location("x"), io.BytesIO(stream))
        list(READER.read(blob, kind, ReadOptions()))


class Endless(Forward):
    """Rows made as they are asked for: nothing of the file is in memory."""

    def __init__(self, size: int) -> None:
        super().__init__(b"")
        self._left = size
        self._block = b"".join(
            b'%d,"Kim, M",KR,faces/%08d.jpg,%d\n' % (i, i, i % 90) for i in range(10_000, 40_000)
        )
        self._next = b"id,name,nationality,path,age\n"

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._next and self._left > 0:
            self._next = self._block
            self._left -= len(self._block)
        piece = self._next[: len(buffer)]
        self._next = self._next[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


def test_memory_does_not_grow_with_the_file() -> None:
    import pyarrow as pa

    def peak(megabytes: int) -> tuple[int, int]:
        stream = io.BufferedReader(Endless(megabytes << 20), 1 << 20)  # type: ignore[type-var]
        tracemalloc.start()
        arrow, rows = 0, 0
        for part in READER.read(Blob(Location("x"), stream), CSV, ReadOptions()):
            assert isinstance(part, TableBatch)
            rows += part.batch.num_rows
            arrow = max(arrow, pa.total_allocated_bytes())
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return rows, python + arrow

    small_rows, small = peak(12)
    large_rows, large = peak(48)
    assert large_rows > 3 * small_rows
    assert large < 1.25 * small
    assert large < 100 << 20


def test_a_row_that_does_not_end() -> None:
    """A sparse file goes on with zeros: memory stays bounded, and what came before was seen."""
    data = b"id,name\n" + b"1,x\n" * 30_000 + bytes(12_000_000)
    found = read(forward(data), ReadOptions(limits=Limits(max_cell_bytes=500_000)))
    assert len(table(found)["id"]) == 30_000
    assert [reason for reason, _ in problems(found)] == ["bytes"]


def test_a_mark_within_the_text_stays_in_its_cell() -> None:
    """pyarrow's parser takes a byte order mark away from every block that it is given."""
    found = table(read("a,b\n\ufeffx,1\ny,2\nz,3\n".encode()))
    assert found == {"a": ["\ufeffx", "y", "z"], "b": ["1", "2", "3"]}

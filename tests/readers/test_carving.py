"""Files written as text."""

from __future__ import annotations

import base64
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.readers.carving import Carver, carve, decode_value, is_file
from tests.readers.tabling import BASE64, JPEG

URLSAFE = base64.urlsafe_b64encode(JPEG).decode()


def folded(text: str, width: int, between: str) -> str:
    return between.join(text[i : i + width] for i in range(0, len(text), width))


@pytest.mark.parametrize(
    "value",
    [
        BASE64,
        BASE64.rstrip("="),
        URLSAFE,
        folded(BASE64, 76, "\n"),
        folded(BASE64, 64, "\r\n"),
        folded(BASE64, 64, "\\n"),
        f"  {BASE64}\n",
        f"data:image/jpeg;base64,{BASE64}",
        f"DATA:image/jpeg;charset=x;base64,{URLSAFE}",
        "data:image/jpeg;base64," + BASE64.replace("+", "%2B").replace("/", "%2F"),
        "data:image/jpeg," + "".join(f"%{b:02x}" for b in JPEG),
        JPEG.hex(),
        "\\x" + JPEG.hex(),
        "0x" + JPEG.hex().upper(),
        f"X'{JPEG.hex()}'",
    ],
    ids=lambda value: value[:24],
)
def test_values(value: str) -> None:
    assert decode_value(value) == JPEG


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Kim",
        "/9j/",
        "the quick brown fox jumps over the lazy dog and on",
        "d41d8cd98f00b204e9800998ecf8427e" * 4,
        base64.b64encode(bytes(2048)).decode(),
        "data:text/plain;base64," + base64.b64encode(b"only words " * 9).decode(),
        "https://example.org/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgG",
    ],
)
def test_values_that_are_no_files(value: str) -> None:
    assert decode_value(value) is None


@pytest.mark.parametrize(
    "head",
    [
        JPEG[:32],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"FMR\x00 20\x00\x00\x00\x01\x80",
        b"PK\x03\x04" + bytes(20),
        gzip.compress(b"x"),
        bytes(257) + b"ustar\x0000",
        b"PAR1" + bytes(8),
        b"%PDF-1.7\n%",
        b"ARROW1\0\0",
    ],
)
def test_first_bytes_of_files(head: bytes) -> None:
    assert is_file(head)


def test_first_bytes_of_embeddings() -> None:
    assert not is_file(bytes(128))
    assert not is_file(b"BM" + b"\x3f" * 30)


WRITTEN = {
    "ldif": "dn: cn=x\njpegPhoto:: " + folded(BASE64, 76, "\n ") + "\nmail: nobody\n",
    "vcard": "PHOTO;ENCODING=b:" + folded(BASE64, 74, "\r\n ") + "\r\nEND:VCARD\r\n",
    "mime": "Encoding: base64\n\n" + folded(BASE64, 76, "\n") + "\n\n--end\n",
    "xml": "<BDB>\n" + folded(URLSAFE, 64, "\n    ") + "\n</BDB>",
    "html": f'<img src="data:image/jpeg;base64,{BASE64}">',
    "json": f'{{"photo": "{BASE64}"}}',
    "sql": f"VALUES (1, '\\x{JPEG.hex()}');\n",
    "mysql": f"VALUES (1, 0x{JPEG.hex().upper()});\n",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
@pytest.mark.parametrize("step", [1, 7, 100, 10_000_000])
def test_within_text(text: str, step: int) -> None:
    whole = "first line\n" + text + "last line\n"
    carver = Carver(1 << 20)
    found = [item for i in range(0, len(whole), step) for item in carver.feed(whole[i : i + step])]
    found += carver.feed("", last=True)
    assert [data for _, data in found] == [JPEG]
    start = BASE64[:24] if BASE64[:24] in whole else (URLSAFE[:24], JPEG.hex()[:24])[text[0] != "<"]
    lower = whole.lower()
    assert found[0][0] == lower[: lower.index(start.lower())].count("\n")


def test_two_in_one_text() -> None:
    assert list(carve(WRITTEN["ldif"] + WRITTEN["ldif"], 1 << 20)) == [JPEG, JPEG]


def test_longer_than_the_limit_is_told() -> None:
    carver = Carver(100)
    assert not list(carver.feed("a\n" + WRITTEN["ldif"], last=True))
    assert carver.too_long == [2]


@given(st.text(max_size=300), st.integers(1, 50))
@settings(deadline=None)
def test_any_text(text: str, step: int) -> None:
    carver = Carver(1 << 20)
    for i in range(0, len(text), step):
        list(carver.feed(text[i : i + step]))
    list(carver.feed("", last=True))
    decode_value(text)


@given(st.text(st.sampled_from("abc :\n=\"'<"), max_size=120), st.integers(9, 60))
@settings(deadline=None, max_examples=40)
def test_found_wherever_it_stands(around: str, step: int) -> None:
    whole = f'{around}\nphoto: "{BASE64}"\n{around}'
    carver = Carver(1 << 20)
    found = [d for i in range(0, len(whole), step) for _, d in carver.feed(whole[i : i + step])]
    found += [d for _, d in carver.feed("", last=True)]
    assert JPEG in found


@pytest.mark.parametrize(
    "text",
    [
        "/workspace/data/faces/foreign/CHN/a2fe7b720979_F_48.jpg",
        "/wood/export/2026/november/22/batch/0001/portraits/person_0001_front_view.jpg",
        "/wolves/" + "wandering/" * 30 + "home.txt",
    ],
)
def test_a_path_is_no_base64(text: str) -> None:
    """Its first letters may decode to the two-byte mark of a format."""
    assert decode_value(text) is None
    assert list(carve(f'<a href="{text}">{text}</a>\n', 1 << 20)) == []

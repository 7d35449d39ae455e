"""Encodings, by content alone."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.model import Location
from scanner.readers.charsets import Decoded, decode_head, detect

KOREAN = (
    "여권번호", "얼굴사진", "국적", "홍채", "지문", "안면", "성별", "사진", "걸음걸이", "음성",
    "이름,국적,여권번호", "주민등록번호,성별", "얼굴 특징벡터", "외국인등록번호,국적", "나이,성별",
    "성명,생년월일,얼굴사진,체류자격", "직원번호,부서,얼굴이미지", "동의여부", "정맥", "유전자",
)  # fmt: skip
JAPANESE = (
    "顔写真", "国籍", "性別", "指紋", "虹彩", "年齢", "声紋", "掌紋", "マイナンバー", "顔特徴量",
    "氏名,旅券番号,顔写真", "在留カード番号", "名前,性別,年齢", "社員番号,写真ファイル", "歩容",
)  # fmt: skip
CHINESE = (
    "人脸照片", "国籍", "护照号", "指纹", "性别", "年龄", "虹膜", "人脸特征", "民族", "视网膜",
    "声纹", "步态", "基因", "掌纹", "姓名,身份证号,人脸照片", "编号,照片", "人脸的向量",
)  # fmt: skip
TAIWANESE = ("人臉照片", "國籍", "姓名,護照號碼,人臉照片", "指紋", "性別,年齡")
LATIN = ("identité,visage", "contraseña,huella", "Größe,Finger", "impressão_digital", "nationalité")
RUSSIAN = ("лицо", "паспорт,гражданство", "отпечаток", "голос", "фото")
ARABIC = ("وجه", "جواز,الجنسية", "بصمة", "صورة_شخصية")
UNICODE = ("utf-8", "utf-8-sig", "utf-16")

MATRIX = [
    (text, encoding)
    for group, encodings in (
        (KOREAN, ("cp949", "euc_kr")),
        (JAPANESE, ("cp932", "euc_jp", "iso2022_jp")),
        (CHINESE, ("gb18030", "gb2312")),
        (TAIWANESE, ("cp950",)),
        (LATIN, ("cp1252", "latin-1")),
        (RUSSIAN, ("cp1251", "koi8_r")),
        (ARABIC, ("cp1256",)),
    )
    for text in group
    for encoding in (*encodings, *UNICODE)
]


@pytest.mark.parametrize(("text", "encoding"), MATRIX)
def test_short_headers(text: str, encoding: str) -> None:
    assert decode_head(text.encode(encoding)).lstrip("\ufeff") == text  # type: ignore[union-attr]


@pytest.mark.parametrize(("text", "encoding"), MATRIX)
def test_headers_of_tables(text: str, encoding: str) -> None:
    whole = f"id,{text},path\n1,x,a.jpg\n2,y,b.jpg\n"
    assert "".join(Decoded(io.BytesIO(whole.encode(encoding)))).lstrip("\ufeff") == whole


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", ["name,photo\nkim,a\n", "여권번호,국적\nM1,KR\n", "顔写真\t国籍\r\n"]
)
def test_wide_without_a_mark(text: str, encoding: str) -> None:
    assert detect(text.encode(encoding)) == encoding


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256)),
        b"\x00\x01\x02\x03" * 16,
        b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
        b"plain words" + b"\x00" * 9,
        b"",
    ],
)
def test_binary_is_no_text(data: bytes) -> None:
    assert detect(data) is None


def test_encoding_is_decided_where_it_first_shows() -> None:
    text = "id,name\n" + "1,kim\n" * 20_000 + "2,여권번호\n"
    decoded = Decoded(io.BytesIO(text.encode("cp949")))
    assert "".join(decoded) == text
    assert decoded.encoding == "cp949"


def test_a_character_across_chunks() -> None:
    text = "a" + "여권번호\n" * 300_000
    for encoding in ("utf-8", "cp949", "utf-16"):
        assert "".join(Decoded(io.BytesIO(text.encode(encoding)))) == text


def test_what_does_not_decode_is_kept_and_told() -> None:
    data = "국적,이름\n".encode() * 100 + b"\xff\xfe broken\n"
    decoded = Decoded(io.BytesIO(data))
    text = "".join(decoded)
    assert "국적,이름" in text
    assert "\\xff\\xfe broken" in text
    [problem] = decoded.problems(Location("x"))
    assert (problem.reason, problem.detail) == ("malformed", "2 places do not decode as utf-8")


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    detect(data)
    assert isinstance("".join(Decoded(io.BytesIO(data))), str)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=200))
def test_utf8_is_never_mistaken(text: str) -> None:
    # Some ASCII around, as in any table: a handful of bytes alone may be two things
    whole = f"identifier,{text},some words here\n"
    if text.strip() and all(ch < "\u0080" or ch > "\u07ff" for ch in text):
        assert decode_head(whole.encode()) == whole


@pytest.mark.parametrize("seed", range(6))
def test_bright_pixels_are_no_text(seed: int) -> None:
    """One-byte sets read nearly all bytes as letters: a picture would be a clean text."""
    import numpy as np

    wave = np.sin(np.arange(64 * 64) / (7 + seed)) * 60 + 190
    noise = np.random.default_rng(seed).integers(-6, 6, 64 * 64)
    pixels = np.clip(wave + noise, 0, 255).astype("uint8")
    assert detect(pixels.tobytes()) is None
    assert detect(b"\xff" * 5_000) is None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Фамилия;Имя;Отпечаток\r\nИванов;Иван;AAEC\r\n", "cp1251"),
        ("Привет, как дела? Всё хорошо. ", "koi8_r"),
        ("Grüße aus München, wir kommen heute nicht mehr zurück. ", "cp1252"),
        ("مرحبا بالعالم كيف حالك ", "cp1256"),
        ("성명,여권번호,지문\n홍길동,M12345678,AAEC\n", "cp949"),
    ],
)
def test_long_texts_stay_texts(text: str, encoding: str) -> None:
    assert detect((text * 8).encode(encoding)) is not None


def test_one_letter_with_an_accent_is_no_korean() -> None:
    assert detect("a,b\nx,ü\n".encode()) == "utf-8"


def test_a_long_line_before_a_foreign_one_takes_no_time() -> None:
    """The search for lines with foreign characters was quadratic: minutes for one head."""
    sample = b"some words " * 5_400 + b"\nna\xefve caf\xe9\n"
    started = time.monotonic()
    assert detect(sample) is not None
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
@pytest.mark.parametrize("ascii_bytes", [70_000, 200_000, 65_536 + (1 << 20) - 2])
def test_the_first_character_beyond_ascii_may_come_late(encoding: str, ascii_bytes: int) -> None:
    """Far behind the head, and cut by the end of a chunk."""
    text = "plain words, ".ljust(ascii_bytes, "x") + "가 홍길동의 얼굴 사진과 여권번호\n" * 20
    decoded = Decoded(io.BytesIO(text.encode(encoding)))
    assert "".join(decoded) == text
    assert decoded.undecodable == 0


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
@pytest.mark.parametrize("cut", [1, 2])
def test_the_only_character_beyond_ascii_is_cut_by_the_end_of_the_head(
    encoding: str, cut: int
) -> None:
    start = "plain words, ".ljust(65_536 - cut, "x")
    text = start + "홍길동의 얼굴 사진과 여권번호\n" * 20
    raw = text.encode(encoding)
    if encoding == "utf-8" or cut == 1:
        assert decode_head(raw[:65_536]) == start
    assert "".join(Decoded(io.BytesIO(raw))) == text

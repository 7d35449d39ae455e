"""Check digits and the numbers found in plain text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scanner.detectors import checksums
from scanner.detectors.identifiers import DETECTOR
from scanner.model import Detection, Location, Record, Text

HERE = Location("notes.txt")


def found(text: str, first_line: int = 0) -> dict[str, tuple[str, int, str]]:
    """kind -> (certainty, count, place)."""
    return {
        d.kind: (d.certainty, d.count, d.location.name)
        for d in DETECTOR.text(Text(HERE, first_line, text))
    }


def change(number: str, at: int, by: int) -> str:
    return number[:at] + str((int(number[at]) + by) % 10) + number[at + 1 :]


# ---------------------------------------------- arithmetic, against an oracle written otherwise


BIRTHS = st.dates(min_value=date(1930, 1, 1), max_value=date(2019, 12, 31))


@st.composite
def resident_numbers(draw: st.DrawFn) -> str:
    born = draw(BIRTHS)
    century = draw(st.sampled_from("12" if born.year < 2000 else "34"))
    body = f"{born:%y%m%d}{century}{draw(st.integers(0, 99999)):05d}"
    weights = [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]
    check = (11 - sum(a * int(b) for a, b in zip(weights, body, strict=True)) % 11) % 10
    return f"{body[:6]}-{body[6:]}{check}"


@given(resident_numbers())
def test_valid_resident_number_is_found(number: str) -> None:
    assert checksums.rrn(number) == 2
    assert found(f"x {number} y")["identifier.national_id"][0] == "certain"


@given(resident_numbers(), st.integers(0, 12), st.integers(1, 9))
def test_wrong_digit_of_a_resident_number_is_never_certain(number: str, at: int, by: int) -> None:
    bare = change(number.replace("-", ""), at, by)
    weights = [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]
    rest = sum(a * int(b) for a, b in zip(weights, bare, strict=False)) % 11
    # the law's own check digit takes remainders 0 and 10 for one; aliens (5-8) have a second rule
    assume(rest not in (0, 10))
    assume(bare[6] in "1234")
    wrong = f"{bare[:6]}-{bare[6:]}"
    assert found(wrong).get("identifier.national_id", ("",))[0] != "certain"


@given(st.integers(0, 10**16 - 1), st.integers(0, 43), st.integers(1, 9))
def test_mrz_with_a_wrong_digit_is_not_found(seed: int, at: int, by: int) -> None:
    number = f"M{seed % 10**8:08d}"
    line = number + checksums.mrz_digit(number) + "KOR"
    birth, expiry = "900101", "300101"
    line += birth + checksums.mrz_digit(birth) + "F" + expiry + checksums.mrz_digit(expiry)
    optional = f"{seed % 10**7:07d}<<<<<<<"
    line += optional + checksums.mrz_digit(optional)
    line += checksums.mrz_digit(line[:10] + line[13:20] + line[21:43])
    assert [kind for _, kind in checksums.find_mrz(line)] == ["identifier.passport"]
    if line[at].isdigit():
        assert checksums.find_mrz(change(line, at, by)) == []


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (checksums.chinese_id, "11010519491231002X"),
        (checksums.aadhaar, "234123412346"),
        (checksums.dni, "12345678Z"),
        (checksums.codice_fiscale, "RSSMRA85T10A562S"),
        (checksums.nir, "255081416802538"),
        (checksums.my_number, "123456789018"),
        (checksums.cpf, "11144477735"),
    ],
)
def test_published_examples_and_every_wrong_digit(check: Callable[[str], int], good: str) -> None:
    assert check(good) == 2
    missed = [
        (at, by)
        for at, char in enumerate(good)
        for by in range(1, 10)
        if char.isdigit() and check(change(good, at, by)) == 2
    ]
    # remainders 0 and 1 share a check digit in the Japanese number: at most one value per place
    assert len(missed) <= (11 if check is checksums.my_number else 0), missed


@given(st.integers(0, 10**9 - 1))
def test_cpf(number: int) -> None:
    digits = [int(d) for d in f"{number:09d}"]
    for size in (10, 11):
        rest = sum(w * d for w, d in zip(range(size, 1, -1), digits, strict=True)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    text = "".join(map(str, digits))
    assert checksums.cpf(text) == (0 if len(set(text)) == 1 else 2)


@given(st.text(max_size=60))
def test_arithmetic_takes_any_text_its_pattern_lets_through(text: str) -> None:
    checksums.find_mrz(text)
    for check in (checksums.rrn, checksums.cpf, checksums.aadhaar, checksums.my_number):
        check("".join(char for char in text if char in "0123456789- "))


# ---------------------------------------------- machine readable zones (ICAO 9303 specimens)

TD3 = (
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
)
TD2 = ("I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6")
TD1 = (
    "I<UTOD231458907<<<<<<<<<<<<<<<",
    "7408122F1204159UTO<<<<<<<<<<<6",
    "ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
)
MRVA = (
    "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L8988901C4XXX4009078F96121096ZE184226B<<<<<<",
)


@pytest.mark.parametrize("join", ["\n", "\r\n", "", " ", "\\n"])
@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (TD3, "identifier.passport"),
        (MRVA, "identifier.passport"),
        (TD2, "identifier.national_id"),
        (TD1, "identifier.national_id"),
    ],
)
def test_specimens(lines: tuple[str, ...], kind: str, join: str) -> None:
    got = found("first\n" + join.join(lines) + "\nlast\n")
    assert set(got) == {"document.mrz", kind}
    assert got["document.mrz"][:2] == ("certain", 1)


def test_mrz_in_xml() -> None:
    got = found("<MRZ>" + "".join(TD3).replace("<", "&lt;") + "</MRZ>")
    assert set(got) == {"document.mrz", "identifier.passport"}


def test_mrz_place_is_the_line_in_the_file() -> None:
    assert found("a\nb\n" + TD3[1] + "\n", first_line=40)["document.mrz"][2] == "line=42"


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("주민등록번호: 900101-1234568", ("certain", 1, "line=0")),
        ("주민등록번호 9001011234568", ("certain", 1, "line=0")),
        ("a\nb 201015-3456789\n", ("possible", 1, "line=1")),
        ("외국인등록번호: 850505-5123457", ("possible", 1, "line=0")),
        ("id 11010519491231002X", ("certain", 1, "line=0")),
        ("CPF 111.444.777-35", ("certain", 1, "line=0")),
        ("SSN: 123-45-6789", ("certain", 1, "line=0")),
        ("DNI: 12345678Z", ("certain", 1, "line=0")),
    ],
)
def test_numbers_in_text(text: str, expected: tuple[str, int, str]) -> None:
    assert found(text) == {"identifier.national_id": expected}


def test_passport_numbers_need_the_word() -> None:
    assert found("passport no. M12345678") == {"identifier.passport": ("certain", 1, "line=0")}
    assert found("여권번호: M123A4567")["identifier.passport"][0] == "certain"
    assert found("part no. M12345678, lot AB1234567") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "900101",
        "order 901301-1234567",  # month 13
        "1700000000000\n1700000001000\n1700000002000\n",  # milliseconds
        "8801234567893 8801234567909",
        "123-45-6789",
        "2026-11-22 10:57:31,123456 INFO request 550e8400-e29b-41d4-a716-446655440000",
        "0123456789012345678901234567890123456789",
        "tel 010-1234-5678, fax 02-555-1234",
        "P<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<",
        "<<<<<<<<<<0000000<0000000<<<<<<<<<<<<<<<<<<<<<<<<<<<<<0",
    ],
)
def test_ordinary_text_is_silent(text: str) -> None:
    assert found(text) == {}


def test_many_bare_numbers_that_agree() -> None:
    good = "9001011234568"
    assert found(f"{good}\n" * 3)["identifier.national_id"][:2] == ("certain", 3)
    assert found(f"{good}\n" * 2) == {}
    assert found(f"{good}\n" * 3 + "1700000000000\n9001011234567\n") == {}


def test_subject_of_the_record_is_kept_and_no_value_is() -> None:
    text = Text(HERE, 0, "rrn 900101-1234568", Record(4, "kim"))
    (one,) = DETECTOR.text(text)
    assert isinstance(one, Detection)
    assert one.subject_key == "kim"
    assert "900101" not in repr(one)

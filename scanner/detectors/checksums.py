"""The arithmetic of identity numbers: check digits of national numbers and of machine readable
zones.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

# How much a candidate proves: 0 it is not one, 1 the shape and the date agree, 2 the check digit
# agrees too.
Proof = Literal[0, 1, 2]

# ---------------------------------------------------------------- arithmetic, one function per
# number


def _date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return 1800 <= year <= 2100


def rrn(text: str) -> Proof:
    """Korean resident (7th digit 1-4, 9 and 0 for the 1800s) or alien (5-8) registration number.

    Numbers issued from October 2020 have no check digit: an unverified one is proof 1, never 0.
    """
    digits = re.sub(r"\D", "", text)
    if len(digits) != 13:
        return 0
    century = {"9": 1800, "0": 1800, "1": 1900, "2": 1900, "5": 1900, "6": 1900}.get(
        digits[6], 2000
    )
    if not _date(century + int(digits[:2]), int(digits[2:4]), int(digits[4:6])):
        return 0
    if century == 2000 and int(digits[:2]) > 60:  # not born yet
        return 0
    total = sum(
        int(d) * w for d, w in zip(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False)
    )
    check = (11 - total % 11) % 10
    if digits[6] in "5678":  # the alien registration number's own check: 13 instead of 11
        alien = (13 - total % 11) % 10
        return 2 if int(digits[12]) in (check, alien) else 1
    return 2 if int(digits[12]) == check else 1


_CHINESE_PROVINCES = frozenset(
    map(
        str,
        (
            *range(11, 16),
            *range(21, 24),
            *range(31, 38),
            *range(41, 47),
            *range(50, 55),
            *range(61, 66),
            71,
            81,
            82,
            83,
        ),
    )
)


def chinese_id(text: str) -> Proof:
    """Chinese resident identity number: 17 digits and a check character of ISO 7064 mod 11-2."""
    text = text.strip().upper()
    if len(text) != 18 or text[:2] not in _CHINESE_PROVINCES:
        return 0
    if not _date(int(text[6:10]), int(text[10:12]), int(text[12:14])) or text[6:8] not in (
        "19",
        "20",
    ):
        return 0
    total = sum(int(d) * pow(2, 17 - at, 11) for at, d in enumerate(text[:17]))
    return 2 if "10X98765432"[total % 11] == text[17] else 0


_D5 = (  # multiplication in the dihedral group of order 10
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_P8 = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901",
    "2793806415", "7046913258",
)  # fmt: skip


def aadhaar(text: str) -> Proof:
    """Indian Aadhaar: 12 digits, the first 2-9, Verhoeff check."""
    digits = re.sub(r"\D", "", text)
    if len(digits) != 12 or digits[0] in "01":
        return 0
    state = 0
    for at, digit in enumerate(reversed(digits)):
        state = int(_D5[state][int(_P8[at % 8][int(digit)])])
    return 2 if state == 0 else 0


def my_number(text: str) -> Proof:
    """Japanese individual number: 12 digits, mod 11 with weights 2-7, 2-6 from the right."""
    digits = re.sub(r"\D", "", text)
    if len(digits) != 12:
        return 0
    total = sum(
        int(d) * (n + 1 if n <= 6 else n - 5) for n, d in enumerate(reversed(digits[:11]), start=1)
    )
    check = 0 if total % 11 <= 1 else 11 - total % 11
    return 2 if int(digits[11]) == check else 0


def cpf(text: str) -> Proof:
    """Brazilian CPF: 9 digits and two check digits mod 11; eleven equal digits are not one."""
    digits = re.sub(r"\D", "", text)
    if len(digits) != 11 or len(set(digits)) == 1:
        return 0
    for size in (9, 10):
        total = sum(int(d) * (size + 1 - at) for at, d in enumerate(digits[:size]))
        if int(digits[size]) != total * 10 % 11 % 10:
            return 0
    return 2


def dni(text: str) -> Proof:
    """Spanish DNI (8 digits, letter mod 23) or NIE (X, Y or Z first)."""
    bare = re.sub(r"[^0-9A-Z]", "", text.upper())
    if len(bare) != 9:
        return 0
    digits = bare[:8].replace("X", "0").replace("Y", "1").replace("Z", "2")
    if not digits.isdecimal():
        return 0
    return 2 if "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == bare[8] else 0


_FISCALE_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3,
        6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def codice_fiscale(text: str) -> Proof:
    """Italian tax code: 15 characters and a check letter."""
    text = text.upper()
    if len(text) != 16:
        return 0
    total = 0
    for at, char in enumerate(text[:15]):
        total += (
            _FISCALE_ODD[char] if at % 2 == 0 else int(char) if char.isdigit() else ord(char) - 65
        )
    return 2 if chr(65 + total % 26) == text[15] else 0


def curp(text: str) -> Proof:
    """Mexican CURP: 17 characters and a check digit."""
    text = text.upper()
    if len(text) != 18 or not _date(2000 + int(text[4:6]), int(text[6:8]), int(text[8:10])):
        return 0
    letters = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(letters.index(char) * (18 - at) for at, char in enumerate(text[:17]))
    return 2 if (10 - total % 10) % 10 == int(text[17]) else 0


def nir(text: str) -> Proof:
    """French social security number: 13 characters and a key mod 97."""
    bare = re.sub(r"[^0-9AB]", "", text.upper())
    if len(bare) != 15 or bare[0] not in "12" or not bare[3:5].isdecimal():
        return 0
    body = bare[:13].replace("2A", "19").replace("2B", "18")
    if not (body + bare[13:]).isdecimal() or not 1 <= int(bare[3:5]) <= 99:
        return 0
    return 2 if 97 - int(body) % 97 == int(bare[13:]) else 0


def shape_only(_: str) -> Proof:
    return 1


# ---------------------------------------------------------------- machine readable zones (ICAO 9303
# parts 4-7)


def mrz_digit(field_text: str) -> str:
    """The check digit of a field, weights 7-3-1."""
    total = 0
    for at, char in enumerate(field_text):
        value = int(char) if char.isdigit() else 0 if char == "<" else ord(char) - 55
        total += value * (7, 3, 1)[at % 3]
    return str(total % 10)


_DATE6 = r"[0-9<]{6}"
# TD3 and MRV-A line 2; the first line carries no check digit, and is not needed
_TD3 = re.compile(
    rf"(?=([A-Z0-9<]{{9}}[0-9<][A-Z<]{{3}}{_DATE6}[0-9][MFX<]{_DATE6}[0-9<][A-Z0-9<]{{14}}[0-9<][0-9<A-Z]))"
)
_TD2 = re.compile(
    rf"(?=([A-Z0-9<]{{9}}[0-9<][A-Z<]{{3}}{_DATE6}[0-9][MFX<]{_DATE6}[0-9<][A-Z0-9<]{{8}}))"
)
_TD1 = re.compile(
    rf"([ACI][A-Z0-9<][A-Z<]{{3}}[A-Z0-9<]{{9}}[0-9<][A-Z0-9<]{{15}})(?:\s|\\n|\\r|\|){{0,4}}"
    rf"({_DATE6}[0-9][MFX<]{_DATE6}[0-9<][A-Z<]{{3}}[A-Z0-9<]{{11}}[0-9])"
)
MRZ_HINT = r"[0-9<]{6}[0-9][MFX<][0-9<]{6}[0-9<]"
_MRZ_DATES = re.compile(MRZ_HINT)


def _agrees(text: str, check: str) -> bool:
    return mrz_digit(text) == check or (check == "<" and not text.strip("<"))


def find_mrz(text: str) -> list[tuple[int, str]]:
    """(offset, kind of its identifier) of every machine readable zone whose check digits agree.

    The kind is `identifier.passport`, for identity cards `identifier.national_id`. Line breaks may
    be real, written as
    backslash n, or left out; `&lt;` is understood.
    """
    if "<" not in text and "&lt;" not in text:
        return []
    if not _MRZ_DATES.search(text) and "&lt;" not in text:
        return []
    text = text.replace("&lt;", "<")
    found: list[tuple[int, str]] = []
    for match in _TD1.finditer(text):
        one, two = match[1], match[2]
        if (
            _agrees(two[:6], two[6])
            and _agrees(two[8:14], two[14])
            and (_agrees(one[5:14], one[14]) or one[14] == "<")
            and mrz_digit(one[5:] + two[:7] + two[8:15] + two[18:29]) == two[29]
        ):
            card = one[1] != "P"  # IP is a passport card
            found.append(
                (match.start(), "identifier.national_id" if card else "identifier.passport")
            )
    taken = {offset for offset, _ in found}
    for match in _TD3.finditer(text):
        two = match[1]
        if any(start - 4 <= match.start() < start + 96 for start in taken) or not _core(two):
            continue
        passport = _agrees(two[28:42], two[42]) and (
            mrz_digit(two[:10] + two[13:20] + two[21:43]) == two[43]
        )
        before = text[max(0, match.start() - 50) : match.start()]
        visa = re.search(r"V[A-Z<][A-Z<]{3}[A-Z<]{39}\s*(?:\\n)?$", before) is not None
        if passport or visa:
            found.append((match.start(), "identifier.passport"))
            taken.add(match.start())
    for match in _TD2.finditer(text):
        two = match[1]
        if any(start - 4 <= match.start() < start + 96 for start in taken) or not _core(two):
            continue
        if mrz_digit(two[:10] + two[13:20] + two[21:35]) == two[35]:
            before = text[max(0, match.start() - 42) : match.start()].lstrip()
            card = not before.startswith(("P", "V"))
            found.append(
                (match.start(), "identifier.national_id" if card else "identifier.passport")
            )
            taken.add(match.start())
    return found


def _core(two: str) -> bool:
    """Whether number, birth and expiry of a TD2 or TD3 second line agree with their digits."""
    return (
        bool(two[:9].strip("<"))
        and (_agrees(two[:9], two[9]) or two[9] == "<")
        and _agrees(two[13:19], two[19])
        and _agrees(two[21:27], two[27])
    )

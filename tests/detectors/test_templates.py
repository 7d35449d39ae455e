"""Biometric interchange records by their first bytes and their base64 letters."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.detectors.templates import DETECTOR, sniff_template, sniff_template_text
from scanner.model import Location, Text

FINGER, FACE, IRIS = "biometric.fingerprint", "biometric.face", "biometric.iris"
PIV = b"\x03\x0d" + (200).to_bytes(4, "big") + b"\0\0" + b"\x00\x1b"

RECORDS = [
    (b"FMR\0 20\0" + bytes(40), FINGER, "template"),
    (b"FMR\x00030\0" + bytes(40), FINGER, "template"),
    (b"FMR\x00020\0" + bytes(40), FINGER, "template"),
    (b"FIR\x00010\0" + bytes(40), FINGER, "source_image"),
    (b"FAC\x00010\0" + bytes(40), FACE, "source_image"),
    (b"IIR\x00020\0" + bytes(40), IRIS, "source_image"),
    (b"\xff\xa0\xff\xa8" + bytes(40), FINGER, "source_image"),
    (b"\xff\xa0\xff\xa2" + bytes(40), FINGER, "source_image"),
    (PIV + b"\x02\x01" + bytes(76), FINGER, "template"),
    (PIV + b"\x04\x01" + bytes(76), FINGER, "source_image"),
    (PIV + b"\x05\x01" + bytes(76), FACE, "source_image"),
    (b"\x75\x82\x12\x34\x7f\x61" + bytes(40), FACE, "source_image"),
    (b"\x63\x82\x12\x34\x7f\x61" + bytes(40), FINGER, "source_image"),
    (b"\x76\x20\x7f\x61" + bytes(40), IRIS, "source_image"),
]
OTHERS = [
    b"", b"F", b"FMR", b"FMR\0", b"FMRI 20\0", b"FIRE alarm", b"FACE", b"FAC\0\0\0\0\0",
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n", b"\x03\x0d" + bytes(30), PIV + b"\x09\x09", b"u\x82\x12\x34\x7f\x60",
    b"u", b"u\x85aaaaaa",
]  # fmt: skip


@pytest.mark.parametrize(("record", "kind", "representation"), RECORDS)
def test_records(record: bytes, kind: str, representation: str) -> None:
    found = sniff_template(record)
    assert found is not None
    assert found[:2] == (kind, representation)
    assert found[2]


@pytest.mark.parametrize("head", OTHERS)
def test_others(head: bytes) -> None:
    assert sniff_template(head) is None


@pytest.mark.parametrize(("record", "kind", "representation"), RECORDS[:8])
def test_base64_in_cells_and_text(record: bytes, kind: str, representation: str) -> None:
    for letters in (base64.b64encode(record), base64.urlsafe_b64encode(record)):
        found = sniff_template_text(letters.decode())
        assert found is not None
        assert found[0] == kind
        text = Text(Location("a.jsonl"), 10, '{"a": 1}\n{"t": "' + letters.decode() + '"}\n')
        (seen,) = DETECTOR.text(text)
        assert (seen.kind, seen.representation, seen.location.name) == (
            kind,
            representation,
            "line=11",
        )
        assert (seen.basis, seen.certainty, seen.count) == ("format", "certain", 1)


def test_hexadecimal_in_cells() -> None:
    record = b"FMR\0 20\0" + bytes(40)
    for text in (record.hex(), "\\x" + record.hex(), "0x" + record.hex()):
        found = sniff_template_text(text)
        assert found is not None
        assert found[0] == FINGER


@pytest.mark.parametrize(
    "text", ["", "Rk1S", "hello", "RkFDRQ==", "/6D/", "464d5200zz", "aRk1SACAyMAAAAAEIAAAA"]
)
def test_other_text(text: str) -> None:
    assert sniff_template_text(text) is None
    assert list(DETECTOR.text(Text(Location("a"), 0, text))) == []


def test_text_counts_per_kind_and_representation() -> None:
    one = base64.b64encode(b"FMR\0 20\0" + bytes(40)).decode()
    two = base64.b64encode(b"FAC\x00010\0" + bytes(40)).decode()
    found = DETECTOR.text(Text(Location("a"), 0, f"{one}\n{two}\n{one}\n"))
    assert [(d.kind, d.count) for d in found] == [(FINGER, 2), (FACE, 1)]


@given(st.binary(max_size=64))
def test_any_bytes(head: bytes) -> None:
    sniff_template(head)


@given(st.text(max_size=64))
def test_any_text(text: str) -> None:
    sniff_template_text(text)
    sniff_template_text("Rk1SACAy" + text)

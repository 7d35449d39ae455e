"""Biometric interchange records (ISO 19794, CBEFF, eMRTD, WSQ), known by their first bytes or
base64 letters.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from scanner.model import Detection, Representation, Text

HEAD_BYTES = 32  # what `sniff_template` wants to see

_ISO_19794 = {  # magic, then a version such as " 20\0" or "030\0"
    b"FMR\0": ("biometric.fingerprint", "template", "ISO 19794-2 / INCITS 378"),
    b"FIR\0": ("biometric.fingerprint", "source_image", "ISO 19794-4 / INCITS 381"),
    b"FAC\0": ("biometric.face", "source_image", "ISO 19794-5"),
    b"IIR\0": ("biometric.iris", "source_image", "ISO 19794-6"),
}  # fmt: skip
_PIV_TYPES = {  # CBEFF biometric types under owner 001B (INCITS M1)
    b"\x02\x01": ("biometric.fingerprint", "template", "CBEFF PIV fingerprint minutiae"),
    b"\x04\x01": ("biometric.fingerprint", "source_image", "CBEFF PIV fingerprint image"),
    b"\x05\x01": ("biometric.face", "source_image", "CBEFF PIV face image"),
}
_EMRTD = {  # tag of the data group: ICAO 9303-10
    0x75: ("biometric.face", "source_image", "eMRTD DG2"),
    0x63: ("biometric.fingerprint", "source_image", "eMRTD DG3"),
    0x76: ("biometric.iris", "source_image", "eMRTD DG4"),
}
# Versions seen start with a blank or a zero and end in NUL; the length field is not trusted (a
# SourceAFIS file of 384
# bytes says 263).
_VERSION = re.compile(rb"[ 0][0-9]{2}\0", re.S)

# "FMR\0" and a version, in base64 and base64url; WSQ: SOI, then FFA8 (comment) or FFA2 (frame).
_B64 = r"(?:(?:Rk1S|RklS|RkFD|SUlS)A[CD]A[w-z]|[/_]6D[/_](?:q[A-P]|o[g-v]))"
_B64_CELL = re.compile(rf"\s*{_B64}")
_B64_TEXT = re.compile(rf"(?<![A-Za-z0-9+/_-]){_B64}[A-Za-z0-9+/_=-]{{20,}}")
CELL_PREFILTER = rf"^\s*{_B64}"  # RE2: the same, for whole columns
BINARY_PREFIXES = (
    b"FMR\0",
    b"FIR\0",
    b"FAC\0",
    b"IIR\0",
    b"\xff\xa0\xff",
    b"\x03\x0d",
    b"\x75",
    b"\x63",
    b"\x76",
)


def sniff_template(head: bytes) -> tuple[str, Representation, str] | None:
    """(kind, representation, format's name) of a biometric record by its first bytes, or None.

    `head` should hold at least `HEAD_BYTES` bytes; never raises. Signatures: /formats, section 4.
    """
    found: tuple[str, str, str] | None = None
    if head[:4] in _ISO_19794 and _VERSION.match(head, 4):
        found = _ISO_19794[head[:4]]
    elif head[:4] in (b"\xff\xa0\xff\xa8", b"\xff\xa0\xff\xa2"):
        found = ("biometric.fingerprint", "source_image", "WSQ")
    elif head[:2] == b"\x03\x0d" and head[8:10] == b"\x00\x1b":
        found = _PIV_TYPES.get(head[10:12])
    elif head[:1] and head[0] in _EMRTD and _ber_content(head)[:2] == b"\x7f\x61":
        found = _EMRTD[head[0]]
    if found is None:
        return None
    kind, representation, name = found
    return kind, ("template" if representation == "template" else "source_image"), name


def _ber_content(head: bytes) -> bytes:
    """What follows a one-byte tag and its BER length."""
    if len(head) < 2:
        return b""
    if head[1] < 0x80:
        return head[2:]
    octets = head[1] & 0x7F
    return head[2 + octets :] if 1 <= octets <= 4 else b""


def sniff_template_text(text: str) -> tuple[str, Representation, str] | None:
    """The same for a cell that holds the record as base64, base64url or hexadecimal."""
    text = text[:128].strip()
    if _B64_CELL.match(text):
        return sniff_template(decode_head(text))
    if re.match(r"(?:\\x|0x)?(?:46(?:4[dD]52|4952|4143)|494952)00(?:20|30)", text):
        digits = re.sub(r"^(?:\\x|0x)", "", text)
        return sniff_template(bytes.fromhex(digits[:64])) if _is_hex(digits[:64]) else None
    return None


def _is_hex(digits: str) -> bool:
    return len(digits) % 2 == 0 and re.fullmatch(r"[0-9a-fA-F]*", digits) is not None


def decode_head(text: str, letters: int = 88) -> bytes:
    """The first bytes of base64 or base64url text (all with letters=0), b"" if it is not that."""
    part = (text[:letters] if letters else text).replace("-", "+").replace("_", "/").rstrip("=")
    if len(part) % 4 == 1:
        part = part[:-1]
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


@dataclass(frozen=True, slots=True)
class Templates:
    """Base64 biometric records in plain text: LDIF, JSON Lines, XML exports."""

    name: str = "templates"
    version: str = "1"

    def text(self, text: Text) -> Iterator[Detection]:
        """One detection per kind and representation, at the first line that shows it."""
        seen: dict[tuple[str, Representation], tuple[int, int]] = {}
        for match in _B64_TEXT.finditer(text.text):
            found = sniff_template(decode_head(match.group()))
            if found is None:
                continue
            key = (found[0], found[1])
            line = (
                text.first_line + text.text.count("\n", 0, match.start()) if key not in seen else 0
            )
            first, count = seen.get(key, (line, 0))
            seen[key] = (first, count + 1)
        for (kind, representation), (line, count) in seen.items():
            yield Detection(
                location=text.location.child(f"line={line}"),
                kind=kind,
                basis="format",
                confidence=0.95,
                certainty="certain",
                detector=self.name,
                detector_version=self.version,
                representation=representation,
                count=count,
                subject_key=text.record.subject_key if text.record else None,
            )


DETECTOR = Templates()

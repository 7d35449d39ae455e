"""Texts that name their values, as XML, YAML and INI do: biometric names before template-like ones.

Only where both speak: a name that means biometric data by itself, and behind it a value that looks
like a template or a vector. A table of one column is a name with its values below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from scanner.detectors.names import LEXICON_DIGEST, Claim, read_name
from scanner.detectors.shapes import shape_of
from scanner.model import Detection, Text

_HEAD = 65_536  # characters of one value that are looked at
_BEFORE = 512  # characters before a value in which its name ends
_NAME = r"[^\W\d][\w.-]{2,80}"
_VALUE = r"[A-Za-z0-9+/=_-]{12,}|\[\s*-?\d[-+\d.eE, \t]{8,}"
# Values first: they are rarer than names, and a search that begins with one of three marks is fast
_MARKED = re.compile(rf"[:=>]\s*[\"']?(?P<value>{_VALUE})")
_ELEMENT = re.compile(rf"<(?:[\w.-]{{1,80}}:)?(?P<name>{_NAME})(?:\s[^<>]*)?\Z")
_KEY = re.compile(rf"(?<![\w.-])(?P<name>{_NAME})[\"']?[ \t]*\Z")
_COLUMN = re.compile(
    rf"\ufeff?[\"']?(?P<name>{_NAME}(?: {_NAME}){{0,3}})[\"']?\r?\n[\"']?(?P<value>{_VALUE})"
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The text detector; never certain, since a text has no schema."""

    name: str = "keys"
    version: str = field(default=f"1-{LEXICON_DIGEST}")

    def text(self, text: Text) -> Iterator[Detection]:
        """One detection per kind: at its first line, with the number of its values."""
        found: dict[str, tuple[Claim, int, int]] = {}  # kind: claim, line, count
        column = _COLUMN.match(text.text) if text.first_line == 0 else None
        if column is not None:
            claim = _claim(column["name"], column["value"][:_HEAD])
            if claim is not None:
                rows = sum(bool(line.strip()) for line in text.text.splitlines()) - 1
                found[claim.kind] = (claim, 1, rows)
        for match in _MARKED.finditer(text.text):
            before = text.text[max(0, match.start() - _BEFORE) : match.start()]
            name = (_ELEMENT if text.text[match.start()] == ">" else _KEY).search(before)
            claim = _claim(name["name"], match["value"][:_HEAD]) if name is not None else None
            if claim is None:
                continue
            line = text.text.count("\n", 0, match.start())
            _, first, count = found.get(claim.kind, (claim, line, 0))
            found[claim.kind] = (claim, first, count + 1)
        for kind, (claim, line, count) in sorted(found.items()):
            yield Detection(
                location=text.location.child(f"line={text.first_line + line}"),
                kind=kind,
                basis="field_name",
                confidence=0.5,
                certainty="possible",
                detector=self.name,
                detector_version=self.version,
                representation="template" if claim.form == "template" else None,
                count=count,
            )


def _claim(name: str, value: str) -> Claim | None:
    """The biometric claim of a name that speaks alone, if its value does not take it back."""
    for claim in read_name(name).claims:
        if claim.strength == "strong" and claim.kind.startswith("biometric."):
            look = shape_of(pa.array([value]), named=True).look
            return claim if look in ("opaque", "template", "vector") else None
    return None


DETECTOR = Keys()

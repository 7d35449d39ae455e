"""Writes the plain English sentence of a finding from its numbers; never a value of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_KIND_WORDS: Mapping[str, str] = {
    "biometric.face": "face",
    "identifier.national_id": "national id number",
    "identifier.subject_id": "subject key",
    "location.gps": "GPS position",
    "document.mrz": "machine-readable zone",
    "document.id_card": "identity card",
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was counted for one finding."""

    records: int
    subjects: int
    is_upper_bound: bool
    kinds: Mapping[str, int] = field(default_factory=dict)
    consent: Mapping[str, int] = field(default_factory=dict)  # only if the rule asks about consent
    asked: int = 0  # records whose review_when is true
    possible: int = 0  # records that are only possible detections
    unknown: Mapping[str, int] = field(default_factory=dict)  # column → records in which it is null
    measures: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # name → bounds
    facts: Mapping[str, str] = field(default_factory=dict)  # column → the one value seen
    dangling: bool = False  # the records are manifest rows


def sentence(verdict: str, numbers: Numbers) -> str:
    """One sentence, e.g. "12 records (at most 9 people): consent expired 5, withdrawn 3, none
    4."."""
    parts: list[str] = []
    if len(numbers.kinds) > 1 or (numbers.kinds and not numbers.consent):
        parts.append(_counts({_kind(k): n for k, n in numbers.kinds.items()}))
    if numbers.consent:
        parts.append(
            "consent " + _counts({k.replace("_", " "): n for k, n in numbers.consent.items()})
        )
    if numbers.facts:
        parts.append(", ".join(f"{_plain(k)} {v}" for k, v in sorted(numbers.facts.items())))
    if numbers.measures:
        parts.append(", ".join(_bounds(k, *v) for k, v in sorted(numbers.measures.items())))
    if verdict == "review":
        if numbers.asked:
            parts.append("a person must attest")
        if numbers.possible:
            parts.append(f"{numbers.possible:,} of them only possible detections")
        if numbers.unknown:
            names = sorted(numbers.unknown)
            parts.append("not on record: " + ", ".join(_plain(name) for name in names))
    if verdict == "compliant":
        parts.append("nothing found against this rule")
    return f"{_people(numbers)}: {'; '.join(parts) or 'meets the condition of this rule'}."


def _people(numbers: Numbers) -> str:
    noun = "manifest row" if numbers.dangling else "record"
    text = f"{numbers.records:,} {noun}{'' if numbers.records == 1 else 's'}"
    if numbers.dangling:
        return text + " whose object is not there"
    if not numbers.records:
        return text
    who = "person" if numbers.subjects == 1 else "people"
    return f"{text} ({'at most ' if numbers.is_upper_bound else ''}{numbers.subjects:,} {who})"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def _bounds(name: str, low: int, high: int) -> str:
    if low == high:
        return f"{_plain(name)} {low:,}"
    return f"{_plain(name)} between {low:,} and {high:,}"


def _kind(kind: str) -> str:
    return _KIND_WORDS.get(kind) or kind.split(".", 1)[-1].replace("_", " ")


def _plain(name: str) -> str:
    return name.replace("_", " ")

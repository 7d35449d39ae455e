"""Reads the fields of one consent record or receipt; complaints name the record and the field."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scanner.errors import ConfigError
from scanner.model import KINDS
from scanner.moments import DATE_FORMS, END_OF_TIME, parse_moment
from scanner.subjects import canonical
from scanner.vocabulary import spelled

MAX_ROWS_OF_RECORD = 100_000
TOO_MANY_ROWS = "too many purposes, recipients and categories"
SECTIONS = ("header", "record_header", "pii_processing", "processing", "event")
_KINDS_OF_DATA = {
    # W3C DPV-PD, as `vocabulary.spelled` folds it → the kinds that the detectors tell apart.
    "picture": "biometric.face",
    "photo": "biometric.face",
    "photograph": "biometric.face",
    "facialprint": "biometric.face",
    "face": "biometric.face",
    "facialimage": "biometric.face",
    "faceimage": "biometric.face",
    "facephoto": "biometric.face",
    "biometrics": "biometric",
    "biometricdata": "biometric",
    "biometric": "biometric",
    "fingerprint": "biometric.fingerprint",
    "retina": "biometric.retina",
    "iris": "biometric.iris",
    "voice": "biometric.voice",
    "voicebiometric": "biometric.voice",
    "gait": "biometric.gait",
    "dnacode": "biometric.dna",
    "nationality": "attribute.nationality",
    "gender": "attribute.gender",
    "sex": "attribute.gender",
    "age": "attribute.age",
    "ethnicity": "attribute.ethnicity",
    "ethnicorigin": "attribute.ethnicity",
    "race": "attribute.ethnicity",
    "passport": "identifier.passport",
    "passportnumber": "identifier.passport",
    "officialid": "identifier",
    "nationalidentificationnumber": "identifier.national_id",
    "name": "identifier.name",
    "gpscoordinate": "location.gps",
    "location": "location",
}
_FOR_EVER = frozenset({"indefinite", "unlimited", "untilwithdrawn", "none"})
_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One row of the consents registry, before subjects are digested."""

    subject_key: str
    purpose: str
    state: str
    recipient: str | None
    data_category: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    record_id: str
    separate: bool | None
    guardian_verified: bool | None
    notice_ref: str | None
    recorded_at: datetime | None


@dataclass(slots=True)
class Fields:
    """An object of the file, or a part of one, with its place for messages."""

    name: str
    number: int
    entry: Mapping[str, object]
    prefix: str = ""
    outer: Fields | None = None  # where a part's missing fields may be
    left_out: int = 0

    def wrong(self, key: str, what: str) -> ConfigError:
        where = f", {self.prefix}{key}" if self.prefix + key else ""
        return ConfigError(f"{self.name}: record {self.number}{where}: {what}")

    def find(self, key: str) -> object:
        """The field, here, in a section, or in what this is a part of; None if it is nowhere."""
        if self.entry.get(key) is not None:
            return self.entry[key]
        for section in SECTIONS:
            inner = self.entry.get(section)
            if isinstance(inner, Mapping) and inner.get(key) is not None:
                found: object = inner[key]
                return found
        return None if self.outer is None else self.outer.find(key)

    def need(self, key: str) -> object:
        found = self.find(key)
        if found is None or (isinstance(found, str) and not found.strip()):
            raise self.wrong(key, "is required, and is not there")
        return found

    def text(self, key: str) -> str:
        return self.as_text(key, self.need(key))

    def as_text(self, key: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.wrong(key, "expected a text")
        text = str(value).strip()
        if not text:
            raise self.wrong(key, "expected a text, got nothing")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self.wrong(key, "is not text in Unicode")
        return text

    def moment(self, key: str) -> datetime:
        value = self.need(key)
        found: datetime | None = None
        if isinstance(value, int) and not isinstance(value, bool):  # seconds since 1970 (receipts)
            try:
                found = datetime.fromtimestamp(value, UTC)
            except (OverflowError, ValueError, OSError):
                found = None
        elif isinstance(value, str):
            found = parse_moment(value.strip())
        if found is None:
            raise self.wrong(key, f"expected a date such as {DATE_FORMS}")
        return found

    def names(self, key: str, *keys: str) -> list[str]:
        """The texts of a list; of objects in it, the field that is one of `keys`."""
        value = self.need(key)
        found: list[str] = []
        for at, item in enumerate(value if isinstance(value, list) else [value]):
            place = f"{key}[{at}]"
            if isinstance(item, Mapping):
                inner = next((item[k] for k in keys if item.get(k) is not None), None)
                if inner is None:
                    raise self.wrong(f"{place}.{keys[0] if keys else ''}", "is required")
                item = inner
            found.append(self.as_text(place, item))
        return list(dict.fromkeys(found))

    def parts(self, key: str) -> list[Fields]:
        """The objects of a list, each with this record around it."""
        value = self.need(key)
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.wrong(key, "is required, and is empty")
        found = []
        for at, item in enumerate(items):
            if not isinstance(item, Mapping):
                raise self.wrong(f"{key}[{at}]", "expected an object")
            found.append(Fields(self.name, self.number, item, f"{self.prefix}{key}[{at}].", self))
        return found


def subject_of(record: Fields, key: str) -> str:
    text = record.text(key)
    if canonical(text) is None:
        raise record.wrong(key, "says that there is nobody")
    return text


def categories_of(record: Fields, texts: Sequence[str]) -> list[str | None]:
    """Our kinds of data; one that nobody here knows stays as it is, and covers nothing."""
    if not texts:  # a withdrawal of nothing would be no withdrawal
        raise record.wrong("", "names no category of data")
    if "*" in texts:
        return [None]
    return list(dict.fromkeys(map(kind_of, texts)))


def kind_of(text: str) -> str:
    """A category of data, one of our kinds or W3C DPV-PD's, as a kind or the prefix of some."""
    plain = re.sub(r"^(?:pd:|https?://w3id\.org/dpv/(?:[0-9.]+/)?pd#)", "", text, flags=re.I)
    lower = plain.lower()
    if any(kind == lower or kind.startswith(f"{lower}.") for kind in KINDS):
        return lower
    return _KINDS_OF_DATA.get(spelled(plain), text.lower())


def until(record: Fields, key: str, start: datetime) -> datetime | None:
    """The end of a validity of so long, or None where it has none."""
    text = record.text(key)
    if spelled(text) in _FOR_EVER:
        return None
    end = after(start, text) or parse_moment(text, upper=True)
    if end is None:
        raise record.wrong(
            key, "expected a duration such as P1Y6M (ISO 8601), a date, or 'indefinite'"
        )
    if end <= start:
        raise record.wrong(key, "ends before it starts")
    return end


def after(start: datetime, duration: str) -> datetime | None:
    """`start` and an ISO 8601 duration, by the calendar; None if it is not one."""
    match = _DURATION.fullmatch(duration.strip().upper())
    if match is None or not any(match.groups()) or duration.strip().upper().endswith("T"):
        return None
    if any(part and len(part) > 9 for part in match.groups()):
        return END_OF_TIME
    years, months, weeks, days, hours, minutes, seconds = (
        int(part or 0) for part in match.groups()
    )
    total = start.month - 1 + months + 12 * years
    year, month = start.year + total // 12, total % 12 + 1
    try:
        moved = start.replace(
            year=year, month=month, day=min(start.day, monthrange(year, month)[1])
        )
        span = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
        return moved + span
    except (OverflowError, ValueError):  # beyond the year 9999
        return END_OF_TIME


def controllers_of(record: Fields, key: str, *keys: str) -> list[str]:
    found = record.names(key, *keys)
    if not found:
        raise record.wrong(key, "is required, and is empty")
    return found


def flag(record: Fields, key: str) -> bool | None:
    value = record.find(key)
    if value is not None and not isinstance(value, bool):
        raise record.wrong(key, "expected true or false")
    return value

"""Reads dates and moments as people and programs write them, without guessing the order of day and
month."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, timezone

END_OF_TIME = datetime.max.replace(tzinfo=UTC)  # "for ever": 9999-12-31, PostgreSQL's infinity
START_OF_TIME = datetime.min.replace(tzinfo=UTC)

DATE_FORMS = "2022-12-31 or 2022-12-31T18:00:00+09:00"

# Year first only: 01/02/2022 is two different days in two countries.
_DATE = re.compile(
    r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})"
    r"|\. ?(\d{1,2})\. ?(\d{1,2})\.?|(\d{2})(\d{2}))",
    re.A,
)
_MOMENT = re.compile(
    r"(?P<date>.{6,13}?)(?:[Tt]|[ ]+)(?P<hour>\d{2}):?(?P<minute>\d{2})"
    r"(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?",
    re.A,
)


def parse_date(text: str) -> date | None:
    """The day that `text` names, or None: 2022-12-31, 2022/12/31, 2022. 12. 31. or 20221231."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        return date(year, month, day)
    except ValueError:
        return None


def parse_moment(text: str, *, upper: bool = False) -> datetime | None:
    """The moment that `text` names, in UTC, or None if it names none.

    A day alone is its first moment, or with `upper` (the end of a validity, of a retention) the
    first moment after it. A time without a zone is UTC. A leap second, and 24:00, is the next
    moment.
    """
    text = text.strip()
    if text.lower() in ("infinity", "+infinity"):
        return END_OF_TIME
    if text.lower() == "-infinity":
        return START_OF_TIME
    day = parse_date(text)
    if day is not None:
        return start_of(day, upper=upper)
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    day = parse_date(match["date"])
    if day is None:
        return None
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        return None
    zone = _zone(match["zone"])
    if zone is None:
        return None
    micros = int((match["fraction"] or "").ljust(6, "0")[:6])
    try:
        start = datetime.combine(day, time(), zone)
        moment = start + timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros)
    except OverflowError:
        return END_OF_TIME
    return in_utc(moment)


def _zone(text: str | None) -> timezone | None:
    if text is None or text.upper() in ("Z", "UTC", "GMT"):
        return UTC
    minutes = int(text[-2:]) if len(text) > 3 else 0
    hours = int(text[1:3])
    if hours > 15 or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC, or the end of time it lies beyond; without a zone it is UTC already."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return END_OF_TIME if moment.year > 5000 else START_OF_TIME


def start_of(day: date, *, upper: bool = False) -> datetime:
    """The first moment of `day` in UTC; with `upper` the first moment after it."""
    start = datetime.combine(day, time(), UTC)
    if not upper:
        return start
    return start + timedelta(days=1) if day < date.max else END_OF_TIME


def latest_birth(text: str) -> date | None:
    """The latest birth date that `text` allows: 2010 → 2010-12-31, 2010-05 → 2010-05-31.

    The cautious reading for questions about children: nobody is taken for older than the text
    proves.
    """
    text = text.strip()
    if re.fullmatch(r"\d{4}(\.0)?", text, re.A):  # a year with gaps, as pandas writes it
        year = int(text[:4])
        return date(year, 12, 31) if year >= 1800 else None
    if match := re.fullmatch(r"(\d{4})[-/.](\d{1,2})", text, re.A):
        year, month = int(match[1]), int(match[2])
        return (
            date(year, month, monthrange(year, month)[1])
            if year >= 1800 and 1 <= month <= 12
            else None
        )
    day = parse_date(text)
    if day is None:
        moment = parse_moment(text)
        day = moment.date() if moment is not None and moment.year < 9999 else None
    return day if day is not None and day.year >= 1800 else None

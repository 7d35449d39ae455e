"""Casts columns of cells, as files and databases hold them, to the types of our tables.

Casts work on whole columns; Python sees only distinct odd values. A cell that cannot be cast raises
`BadCell` with its position and what was expected there, never with what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from scanner.moments import DATE_FORMS, END_OF_TIME, latest_birth, parse_moment
from scanner.schemas import TIMESTAMP
from scanner.subjects import BLANKS, key_texts

_DAY_US = 86_400_000_000
# The forms that Arrow casts by itself; years from 1000, so that Python can hold all results.
_ISO_DATE = r"^[1-9]\d{3}-\d{2}-\d{2}$"
_ISO_LOCAL = r"^[1-9]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"
_ISO_ZONED = r"^[1-9]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)$"
_NUMBER = r"^[+-]?\d{1,6}(\.\d{1,9})?$"


class BadCell(Exception):
    """A cell that is not what its column holds."""

    def __init__(self, index: int, expected: str) -> None:
        super().__init__(expected)
        self.index = index  # within the array
        self.expected = expected


def plain(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, without dictionary encoding."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values


def texts(values: pa.Array) -> pa.Array:
    """Trimmed texts; blank cells are null; numbers as they are written, 7.0 as 7."""
    values = plain(values)
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    if not pa.types.is_string(values.type):
        if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
            raise BadCell(_first(pc.is_valid(values)), "one plain value")
        values = key_texts(values)
    try:
        trimmed = pc.utf8_trim(values, BLANKS)
    except pa.ArrowInvalid:  # Parquet files may hold "strings" that are not UTF-8
        raise BadCell(_first_undecodable(values), "text in UTF-8") from None
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def distinct(values: pa.Array, read: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """`read`, which looks at one cell at a time, applied to the distinct ones of texts."""
    if not pa.types.is_string(values.type):
        return read(values)
    coded = pc.dictionary_encode(values)
    try:
        return pc.take(read(coded.dictionary), coded.indices)
    except BadCell as bad:
        raise BadCell(pc.index(coded.indices, bad.index).as_py(), bad.expected) from None


def each(values: pa.Array, read: Callable[[str], object | None], kind: pa.DataType) -> pa.Array:
    """`read` applied once to every distinct text; null where the cell is blank or `read` gives
    None."""
    coded = pc.dictionary_encode(texts(values))
    read_once = pa.array([read(text) for text in coded.dictionary.to_pylist()], kind)
    return pc.take(read_once, coded.indices)


def words(values: pa.Array, read: Callable[[str], str | None], expected: str) -> pa.Array:
    """Texts in the one spelling that `read` gives; raises BadCell where it gives None."""
    found = each(values, read, pa.string())
    _all_read(texts(values), found, expected)
    return found


def flags(values: pa.Array, read: Callable[[str], str | None]) -> pa.Array:
    """true/false, of booleans, of the numbers 1 and 0, or of the words that `read` knows."""
    values = plain(values)
    if pa.types.is_boolean(values.type):
        return values
    expected = "true or false"
    return pc.equal(words(values, read, expected), "true")


def moments(values: pa.Array, *, upper: bool) -> pa.Array:
    """Moments in UTC, to the microsecond; cells without a zone are UTC.

    With `upper` a day alone stands for the first moment after it. A timestamp at midnight is taken
    at its word, also where a program may have meant the day: the reading under which less is
    allowed.
    """
    values = plain(values)
    kind = values.type
    if pa.types.is_timestamp(kind):
        try:
            in_us = values.cast(pa.timestamp("us", kind.tz), safe=kind.unit != "ns")
        except pa.ArrowInvalid:  # seconds beyond what microseconds can count
            raise BadCell(_first(pc.is_valid(values)), f"a date such as {DATE_FORMS}") from None
        return _clamped(in_us.cast(TIMESTAMP))
    if pa.types.is_date(kind):
        return _clamped(_days(values.cast(pa.date32()), upper))
    if pa.types.is_boolean(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        raise BadCell(_first(pc.is_valid(values)), f"a date such as {DATE_FORMS}")
    written = texts(values)
    found = pa.nulls(len(written), TIMESTAMP)
    odd = pc.is_valid(written)
    for form in (_ISO_DATE, _ISO_LOCAL, _ISO_ZONED):
        mask = pc.fill_null(pc.match_substring_regex(written, form), False)
        if not pc.any(mask).as_py():
            continue
        chosen = written.filter(mask)
        try:
            if form is _ISO_DATE:
                read = _days(chosen.cast(pa.date32()), upper)
            elif form is _ISO_LOCAL:
                read = chosen.cast(pa.timestamp("us")).cast(TIMESTAMP)
            else:
                read = chosen.cast(TIMESTAMP)
        except pa.ArrowInvalid:
            continue  # one of them is no day of the calendar: one by one below
        found = pc.replace_with_mask(found, mask, read)
        odd = pc.and_not(odd, mask)
    if pc.any(odd).as_py():
        rest = each(written.filter(odd), lambda text: parse_moment(text, upper=upper), TIMESTAMP)
        found = pc.replace_with_mask(found, odd, rest)
    _all_read(written, found, f"a date such as {DATE_FORMS}")
    return _clamped(found)


def _days(days: pa.Array, upper: bool) -> pa.Array:
    numbers = days.cast(pa.int32()).cast(pa.int64())
    if upper:
        numbers = pc.add(numbers, 1)
    return pc.multiply(numbers, _DAY_US).cast(TIMESTAMP)


def _clamped(found: pa.Array) -> pa.Array:
    """Within the years 1 to 9999: "for ever" is written in many ways, and Python cannot hold all of
    them."""
    end = pa.scalar(END_OF_TIME, TIMESTAMP)
    start = pa.scalar(datetime.min.replace(tzinfo=UTC), TIMESTAMP)
    found = pc.if_else(pc.greater(found, end), end, found)
    return pc.if_else(pc.less(found, start), start, found)


def ages(values: pa.Array) -> pa.Array:
    """Ages in years; null for what is no number from 0 to 150: an age that is not known."""
    values = plain(values)
    if pa.types.is_boolean(values.type) or pa.types.is_temporal(values.type):
        return pa.nulls(len(values), pa.float64())
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64(), safe=False)
    else:
        written = texts(values)
        mask = pc.fill_null(pc.match_substring_regex(written, _NUMBER), False)
        kept = pc.if_else(mask, written, pa.scalar(None, pa.string()))
        numbers = pc.utf8_ltrim(kept, "+").cast(pa.float64())
    real = pc.and_(pc.greater_equal(numbers, 0.0), pc.less_equal(numbers, 150.0))  # false for NaN
    return pc.if_else(real, numbers, pa.scalar(None, pa.float64()))


def birth_dates(values: pa.Array) -> pa.Array:
    """Birth dates, the latest that each cell allows (2010 → 2010-12-31); null for what is none."""
    values = plain(values)
    if pa.types.is_date(values.type):
        return _plausible(values.cast(pa.date32()))
    if pa.types.is_timestamp(values.type):
        try:
            days = values.cast(pa.timestamp("us"), safe=False).cast(pa.date32(), safe=False)
        except pa.ArrowInvalid:
            return pa.nulls(len(values), pa.date32())
        return _plausible(days)
    if (
        pa.types.is_boolean(values.type)
        or pa.types.is_time(values.type)
        or pa.types.is_duration(values.type)
    ):
        return pa.nulls(len(values), pa.date32())
    return each(values, latest_birth, pa.date32())


def _plausible(days: pa.Array) -> pa.Array:
    """Days from 1800 to 9999, as `latest_birth` takes them of texts; null for all others."""
    start, end = pa.scalar(date(1800, 1, 1)), pa.scalar(date.max)
    known = pc.and_(pc.greater_equal(days, start), pc.less_equal(days, end))
    return pc.if_else(known, days, pa.scalar(None, pa.date32()))


def _all_read(written: pa.Array, found: pa.Array, expected: str) -> None:
    lost = pc.and_(pc.is_valid(written), pc.is_null(found))
    if pc.any(lost).as_py():
        raise BadCell(_first(lost), expected)


def _first(mask: pa.Array) -> int:
    """Where the first true is; 0 if there is none."""
    return max(cast("int", pc.index(mask, True).as_py()), 0)


def _first_undecodable(values: pa.Array) -> int:
    for index, raw in enumerate(values.cast(pa.binary()).to_pylist()):
        try:
            (raw or b"").decode("utf-8")
        except UnicodeDecodeError:
            return index
    return 0


def looks_like_name(text: str) -> bool:
    """Whether `text` may be quoted as the name of a column: a file without a header starts with
    somebody's data."""
    return 0 < len(text) <= 48 and not re.search(r"[@/\\\n]|\d{5}|\d.*\d.*\d.*\d.*\d", text)

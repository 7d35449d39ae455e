"""Dates and moments as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.moments import END_OF_TIME, latest_birth, parse_date, parse_moment


@given(st.dates())
def test_every_day_is_read_back(day: date) -> None:
    assert parse_date(day.isoformat()) == day
    assert parse_date(day.isoformat().replace("-", "/")) == day
    assert parse_date(f"{day.year:04d}. {day.month}. {day.day}.") == day
    assert parse_date(f"{day.year:04d}{day.month:02d}{day.day:02d}") == day


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),
    st.integers(-15 * 60, 15 * 60),
)
def test_every_moment_is_read_back(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    for upper in (False, True):
        assert parse_moment(moment.isoformat(), upper=upper) == moment.astimezone(UTC)
        assert parse_moment(moment.isoformat(sep=" "), upper=upper) == moment.astimezone(UTC)
        assert parse_moment(local.isoformat(), upper=upper) == local.replace(tzinfo=UTC)


@given(st.dates(max_value=date(9999, 12, 30)))
def test_an_upper_bound_holds_through_its_day(day: date) -> None:
    upper = parse_moment(day.isoformat(), upper=True)
    lower = parse_moment(day.isoformat())
    assert upper is not None
    assert lower is not None
    assert upper - lower == timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-12-31T18:00:00+09:00", datetime(2022, 12, 31, 9, tzinfo=UTC)),
        ("2022-12-31 18:00:00+09", datetime(2022, 12, 31, 9, tzinfo=UTC)),
        ("2022-12-31T18:00Z", datetime(2022, 12, 31, 18, tzinfo=UTC)),
        ("20221231T180000Z", datetime(2022, 12, 31, 18, tzinfo=UTC)),
        ("2022-12-31T24:00", datetime(2023, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2022-12-31 18:00:00.123456789 UTC", datetime(2022, 12, 31, 18, 0, 0, 123456, tzinfo=UTC)),
        (" 2022-12-31 ", datetime(2022, 12, 31, tzinfo=UTC)),
        ("infinity", END_OF_TIME),
        ("9999-12-31T23:00:00-05:00", END_OF_TIME),
    ],
)
def test_forms(text: str, expected: datetime) -> None:
    assert parse_moment(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "31/12/2022",
        "12-31-2022",
        "2022-02-30",
        "2022-13-01",
        "2022-12",
        "2022",
        "1672444800",
        "2022-12-31T25:00",
        "2022-12-31T24:01",
        "2022-12-31T10:60",
        "2022-12-31T10:00:61",
        "2022-12-31T10:00+99",
        "22-12-31",
        "2022-12-31x",
        "２０２２-12-31",
        "0000-01-01",
        "2022-12-31T10:00:00 KST",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_moment(text) is None


@given(st.text(max_size=30))
def test_no_text_breaks_it(text: str) -> None:
    parse_moment(text)
    parse_moment(text, upper=True)
    latest_birth(text)


def test_for_ever_stays_within_what_python_holds() -> None:
    assert parse_moment("9999-12-31", upper=True) == END_OF_TIME


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2010", date(2010, 12, 31)),
        ("2010.0", date(2010, 12, 31)),
        ("2010-02", date(2010, 2, 28)),
        ("2012/02", date(2012, 2, 29)),
        ("2010-05-17", date(2010, 5, 17)),
        ("20100517", date(2010, 5, 17)),
        ("2010-05-17T00:00:00", date(2010, 5, 17)),
        ("100517", None),
        ("1700", None),
        ("2010-13", None),
        ("unknown", None),
    ],
)
def test_the_latest_birth_date_that_a_text_allows(text: str, expected: date | None) -> None:
    assert latest_birth(text) == expected

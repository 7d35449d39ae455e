"""The click type of `--as-of`, for every command that has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click


class Moment(click.ParamType[datetime]):
    """A date or an ISO 8601 time; without a zone it is UTC, a date is its first moment."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        from scanner.moments import DATE_FORMS, END_OF_TIME, START_OF_TIME, parse_moment

        if isinstance(value, datetime):
            return value
        moment = parse_moment(str(value))
        if moment in (None, START_OF_TIME, END_OF_TIME):  # nothing can be judged as of for ever
            self.fail(f"expected a date such as {DATE_FORMS}", param, ctx)
        assert moment is not None
        return moment

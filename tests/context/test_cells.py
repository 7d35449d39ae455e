"""Columns of cells: what no calendar holds."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from scanner.context.cells import birth_dates


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms")])
def test_birth_dates_of_no_living_person_are_null(kind: pa.DataType) -> None:
    """As in texts: from 1800 on; files may hold days that Python has no date for."""
    day = {"date32[day]": 1, "timestamp[s]": 86_400}.get(str(kind), 86_400_000)
    days = [0, 7_300, -65_000, 3_000_000, -800_000, None]
    stored = pa.array([None if n is None else n * day for n in days], pa.int64())
    column = stored.cast(pa.int32()).cast(kind) if day == 1 else stored.cast(kind)
    assert birth_dates(column).to_pylist() == [
        date(1970, 1, 1),
        date(1989, 12, 27),
        None,
        None,
        None,
        None,
    ]

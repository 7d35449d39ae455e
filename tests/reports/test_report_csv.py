"""The CSV report opens in a spreadsheet without running anything."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from scanner.model import SavedRun
from scanner.schemas import FINDINGS

Render = Callable[..., bytes]
Make = Callable[..., SavedRun]
Row = dict[str, object]


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_columns_and_values(usual: SavedRun, render: Render) -> None:
    data = render("csv", usual)
    assert data.split(b"\n")[0].decode() == ",".join(FINDINGS.names)
    assert b"\r" not in data
    first = next(row for row in rows(data) if row["finding_id"].endswith("1"))
    assert first["law_cite"] == "PIPA 17(1), 18(1)"
    assert first["records"] == "1234"
    assert first["subjects_is_upper_bound"] == "false"
    assert first["first_seen"] == "2026-11-19T12:00:00Z"
    assert first["suppressed_by"] == ""
    assert len(rows(data)) == 7


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"]
)
def test_formulas_are_text(
    start: str, make_run: Make, make_finding: Callable[..., Row], render: Render
) -> None:
    name = f"{start}cmd|'/c calc'!A1"
    run = make_run([make_finding(1, "violation", dataset_id=name, sample_locations=[name, name])])
    (row,) = rows(render("csv", run))
    assert row["dataset_id"].startswith("'")
    assert row["sample_locations"].startswith("'")
    assert row["sample_locations"].count(" | ") == 1


def test_one_line_per_finding_whatever_the_names(hostile: SavedRun, render: Render) -> None:
    data = render("csv", hostile)
    assert data.count(b"\n") == hostile.findings.num_rows + 1
    datasets = {row["dataset_id"] for row in rows(data)}
    assert {
        "'=1+1.jpg",
        "two\\nlines.jpg",
        "gpj.\\u202eexe.jpg",
        "\\x1b[2J\\x1b[31mred.jpg",
    } <= datasets


def test_locations_can_be_told_apart(
    make_run: Make, make_finding: Callable[..., Row], render: Render
) -> None:
    run = make_run([make_finding(1, "violation", sample_locations=["a | b", "c"])])
    (row,) = rows(render("csv", run))
    assert row["sample_locations"].split(" | ") == ["a \\x7c b", "c"]

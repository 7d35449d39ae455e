"""The terminal report: fits, is plain, tells everything once, ends in one next step."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from scanner.model import SavedRun
from scanner.reports.table import shortened

Render = Callable[..., bytes]
Make = Callable[..., SavedRun]
Row = dict[str, object]


@pytest.mark.parametrize("width", [40, 80, 131])
@pytest.mark.parametrize("which", ["usual", "hostile", "empty", "interrupted", "large"])
def test_no_line_is_wider_than_the_terminal(
    width: int, which: str, render: Render, request: pytest.FixtureRequest
) -> None:
    text = render("table", request.getfixturevalue(which), width=width).decode()
    lines = text.split("\n")
    assert max(cell_len(line) for line in lines) <= width
    assert all(line == line.rstrip() for line in lines)
    if which == "hostile":  # wide characters fill the line, so the limit was tested
        assert any(cell_len(line) > len(line) and cell_len(line) >= width - 1 for line in lines)


def test_order_and_contents(usual: SavedRun, render: Render) -> None:
    text = render("table", usual).decode()
    marks = [
        "Target    s3://moj-export/faces/",
        "ai-training → acme-vision (KR)",
        "Violations (3)",
        "error     KR-PIPA-17-FACE-NO-BASIS   PIPA 17(1), 18(1)",
        "Face data provided to a third party",
        "· foreign-entrants → acme-vision (transfer T2.01): 1,234 records",
        "1,234 face images go to acme-vision",
        "e.g. s3://moj-export/faces/foreign/000123_01.jpg",
        "error     KR-PIPA-26-UNPUBLISHED",
        "warning   BASE-TEMPLATE-STORED",
        "at most 900 people",
        "For a person to decide (2)",
        "법무부 외국인 얼굴",
        "Passed: 1 check",
        "Suppressed, not counted (1)",
        "privacy-team until 2027-01-31",
        "Not looked at, or not whole",
        "2 × No permission to read it",
        "1,504 objects: 1,200 scanned, 300 unchanged, 1 partial, 1 excluded, 2 error",
        "Do not hand over yet: 3 violations",
        "Next: ",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert len(re.findall("^Next: ", text, re.M)) == 1


def test_show_compliant_names_the_checks(usual: SavedRun, render: Render) -> None:
    assert "EU-GDPR-35-DPIA: citizens" not in render("table", usual).decode()
    assert "EU-GDPR-35-DPIA: citizens" in render("table", usual, show_compliant=True).decode()


def test_colour_only_when_asked_for(
    usual: SavedRun, render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
    assert b"\x1b" not in render("table", usual)
    monkeypatch.setenv("NO_COLOR", "1")  # the command line decides, not this module
    coloured = render("table", usual, colour=True)
    assert b"\x1b[1;31m" in coloured
    # colours change no text, and hostile names add no other escape
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", coloured) == render("table", usual)


def test_cut_lists_say_so(large: SavedRun, render: Render) -> None:
    text = render("table", large).decode()
    assert "Violations (1,000)" in text
    assert "and 950 more findings; -f csv and -f json have them all" in text
    assert len(re.findall("^ {8}· ", text, re.M)) == 100


def test_clean_run_is_a_plain_sentence(empty: SavedRun, render: Render) -> None:
    text = render("table", empty).decode()
    assert "No biometric data found." in text
    assert "812 objects looked at for face images, templates and biometric fields." in text
    assert "Violations" not in text


@pytest.mark.parametrize("cells", [10, 11, 39, 80])
@pytest.mark.parametrize("name", ["s3://bucket/" + "가" * 90 + "/x.jpg", "a" * 200, "short"])
def test_shortened_fits_and_keeps_both_ends(name: str, cells: int) -> None:
    cut = shortened(name, cells)
    assert cell_len(cut) <= cells
    assert cell_len(cut) >= min(cell_len(name), cells - 3)
    if cut != name:
        head, tail = cut.split("…")
        assert head and name.startswith(head) and tail and name.endswith(tail)


def test_what_no_reader_opens_is_told_by_format(
    make_run: Make, make_gap: Callable[..., Row], render: Render
) -> None:
    """A hundred files that cannot be opened are one line of formats, not a riddle."""
    details = ["Python bytecode: no reader for it yet"] * 3
    details += ["PDF: no reader for it yet", "no reader knows these bytes"]
    details += ["PDF: no reader for it yet; 2 problems in all"]
    gaps = [
        make_gap(f"s3://b/{n}", "error", "unsupported", detail=detail)
        for n, detail in enumerate(details)
    ]
    text = render("table", make_run([], gaps)).decode()
    assert "    3 Python bytecode; 2 PDF; 1 unknown format\n" in text

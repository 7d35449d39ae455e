"""The folder of reports: which there are, what they promise, how they refuse."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scanner.errors import UsageError
from scanner.model import SavedRun
from scanner.reports import RenderOptions, all_reports, get_report, report_names

TEXT_REPORTS = ("csv", "html", "json", "sarif", "table")
Render = Callable[..., bytes]


def test_every_module_is_a_report_in_name_order() -> None:
    assert list(all_reports()) == ["csv", "html", "json", "parquet", "sarif", "table"]
    assert report_names() == tuple(all_reports())
    assert all(name == report.name for name, report in all_reports().items())
    assert [r.name for r in all_reports().values() if r.folder] == ["parquet"]
    assert len({report.suffix for report in all_reports().values()}) == 6


def test_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="csv, html, json, parquet, sarif, table"):
        get_report("_words")


def test_listing_the_formats_imports_none_of_them() -> None:
    code = (
        "import sys; from scanner.reports import report_names; assert 'html' in report_names();"
        "assert not {'jinja2', 'rich', 'pyarrow'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", TEXT_REPORTS)
def test_text_reports_refuse_a_folder(name: str, usual: SavedRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one file"):
        get_report(name).render(usual, None, tmp_path, RenderOptions())


def test_parquet_refuses_a_stream(usual: SavedRun) -> None:
    with pytest.raises(UsageError, match="-o DIR"):
        get_report("parquet").render(usual, io.BytesIO(), None, RenderOptions())


@pytest.mark.parametrize("name", TEXT_REPORTS)
@pytest.mark.parametrize("which", ["usual", "hostile", "empty", "interrupted"])
def test_text_reports_are_valid_utf8_and_deterministic(
    name: str, which: str, render: Render, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(which)
    first = render(name, run)
    assert first.decode("utf-8", "strict").endswith("\n")
    assert render(name, run) == first


@pytest.mark.parametrize("name", TEXT_REPORTS)
def test_hostile_names_reach_no_report_raw(name: str, hostile: SavedRun, render: Render) -> None:
    text = render(name, hostile).decode()
    for char in ("\x1b", "\u202e", "\u2028", "\x85", "\udcff", "\0", "\r"):
        assert char not in text
    assert "외국인_여권" in text  # letters of every script stay readable


@pytest.mark.parametrize("name", TEXT_REPORTS)
@pytest.mark.parametrize("which", ["usual", "empty", "interrupted"])
def test_no_report_promises_too_much(
    name: str, which: str, render: Render, request: pytest.FixtureRequest
) -> None:
    text = render(name, request.getfixturevalue(which)).decode().lower()
    for promise in ("anonymous", "anonymised", "compliant with", "is lawful", "is legal"):
        assert promise not in text

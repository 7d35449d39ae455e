"""How a saved run is told: one module per format, each exposing `REPORT`, walked in name order.

A report sees tables only. To add one, write `<name>.py` here with `REPORT = to_stream("<name>",
…)` or `to_folder(…)`, and its test.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import IO

from scanner.errors import UsageError
from scanner.model import SavedRun
from scanner.reports._visible import visible

__all__ = [
    "RenderOptions",
    "Report",
    "all_reports",
    "get_report",
    "report_names",
    "to_folder",
    "to_stream",
    "visible",
]


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What the reader of a report may choose; the limits only cut lists, and every cut says so."""

    width: int = 80  # cells of a terminal line (table)
    colour: bool = False  # ANSI colours (table)
    show_compliant: bool = False  # name every check that passed (table)
    table_findings: int = 50  # of each verdict told in full; json, csv, sarif and parquet have all
    html_findings: int = 500
    html_gaps: int = 200  # locations of things not looked at


Render = Callable[[SavedRun, IO[bytes] | None, Path | None, RenderOptions], None]


@dataclass(frozen=True, slots=True)
class Report:
    """One format. `render(run, stream, folder, options)` writes to the binary stream or the folder.

    The text reports write UTF-8 and leave the stream open. All are deterministic: the same saved
    run gives the same bytes. Errors: UsageError if the place to write to is of the wrong kind or
    the saved run is damaged.
    """

    name: str
    suffix: str  # of a file that holds it; "" if it needs a folder
    folder: bool
    render: Render


def to_stream(
    name: str, suffix: str, write: Callable[[SavedRun, IO[bytes], RenderOptions], None]
) -> Report:
    """A report that is one stream of UTF-8 text."""
    return Report(name, suffix, False, partial(_render_stream, name, write))


def to_folder(name: str, write: Callable[[SavedRun, Path, RenderOptions], None]) -> Report:
    """A report that is a folder of files."""
    return Report(name, "", True, partial(_render_folder, name, write))


def report_names() -> tuple[str, ...]:
    """The formats there are, in name order, without importing any of them."""
    return tuple(
        sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    )


def get_report(name: str) -> Report:
    """The format of this name; UsageError if there is none."""
    if name not in report_names():
        raise UsageError(
            f"format {name!r} is not known; choose one of: {', '.join(report_names())}"
        )
    report = import_module(f"{__name__}.{name}").REPORT
    assert isinstance(report, Report)
    return report


def all_reports() -> Mapping[str, Report]:
    """Every format by name, in name order; imports them all (`get_report` imports one)."""
    return MappingProxyType({name: get_report(name) for name in report_names()})


def _render_stream(
    name: str,
    write: Callable[[SavedRun, IO[bytes], RenderOptions], None],
    run: SavedRun,
    stream: IO[bytes] | None,
    folder: Path | None,
    options: RenderOptions,
) -> None:
    if stream is None or folder is not None:
        raise UsageError(f"the {name} report is one file; give a file name with -o, not a folder")
    write(run, stream, options)


def _render_folder(
    name: str,
    write: Callable[[SavedRun, Path, RenderOptions], None],
    run: SavedRun,
    stream: IO[bytes] | None,
    folder: Path | None,
    options: RenderOptions,
) -> None:
    if folder is None or stream is not None:
        raise UsageError(f"the {name} report is several files; name a folder for them with -o DIR")
    write(run, folder, options)

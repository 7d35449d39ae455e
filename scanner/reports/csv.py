r"""The findings as CSV for spreadsheets: every column of schemas.FINDINGS, in order.

UTF-8 without a byte order mark, `\n` at line ends. Control, bidirectional and other invisible
characters stand as escapes (`\n`, `\x1b`, `\u202e`). A text that a spreadsheet would run as a
formula gets a leading apostrophe (OWASP ASVS 1.2.10, and the full-width forms that spreadsheets of
East Asia also run), also behind a semicolon, where spreadsheets of many countries start a new cell.
`sample_locations` are joined with " | "; a "|" within one stands as `\x7c`.
Times are ISO 8601 in UTC, booleans true or false, an empty cell means unknown.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from datetime import datetime
from typing import IO

from scanner.model import SavedRun
from scanner.reports import RenderOptions, to_stream
from scanner.reports._findings import told_findings
from scanner.reports._stream import iso
from scanner.reports._visible import visible
from scanner.schemas import FINDINGS

_LATER_FORMULA = re.compile(r"(;[\s\"']*)(?=[=+\-@＝＋－＠])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def write(run: SavedRun, out: IO[bytes], options: RenderOptions) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(FINDINGS.names)
        for finding in told_findings(run):
            writer.writerow([_cell(v) for v in dataclasses.astuple(finding)])
    finally:
        text.detach()  # the stream is the caller's to close


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, list):
        return " | ".join(_text(str(item)).replace("|", "\\x7c") for item in value)
    return _text(str(value))


def _text(text: str) -> str:
    shown = _LATER_FORMULA.sub(r"\1'", visible(text))
    return ("'" if text.startswith(_FORMULA) else "") + shown


REPORT = to_stream("csv", ".csv", write)

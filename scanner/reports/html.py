"""One self-contained HTML page for the person who answers for the data: a compliance officer.

The page asks nothing from any network: its content security policy allows the one style sheet and
the one script that stand in it, by their digests. Without JavaScript everything is there to read;
with it the findings can be filtered and sorted. Its parts are `report.html.j2`, `report.css` and
`report.js`, here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import IO

import jinja2
from markupsafe import Markup

from scanner.model import STATES, SavedRun
from scanner.reports import RenderOptions, to_stream
from scanner.reports import _words as words
from scanner.reports._findings import (
    gap_groups,
    gap_rows,
    rules_by_id,
    tally,
    told_findings,
)
from scanner.reports._stream import iso
from scanner.reports._visible import visible
from scanner.schemas import SCHEMA_VERSION

_BAR_WIDTH = 1000  # units of the coverage bar


@dataclass(frozen=True, slots=True)
class _Segment:
    """One state's share of the coverage bar, in its units."""

    state: str
    x: float
    width: float


def write(run: SavedRun, out: IO[bytes], options: RenderOptions) -> None:
    findings = told_findings(run)
    numbers = tally(run, findings)
    counted = [f for f in findings if f.suppressed_by is None]
    open_findings = [f for f in counted if f.verdict in ("violation", "review")]
    shown = open_findings[: options.html_findings]
    passed = [f for f in counted if f.verdict == "compliant"]
    suppressed = [f for f in findings if f.suppressed_by is not None]
    style, script = _part("report.css"), _part("report.js")
    page = _environment().get_template("report.html.j2")
    context = {
        "schema": SCHEMA_VERSION,
        "style": Markup(style),
        "script": Markup(script),
        "policy": "; ".join(
            (
                "default-src 'none'",
                f"style-src 'sha256-{_digest(style)}'",
                f"script-src 'sha256-{_digest(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        "run": run,
        "info": run.info,
        "use": words.declared_use(run.info),
        "answer": words.answer(run, numbers, findings),
        "numbers": numbers,
        "findings": shown,
        "findings_more": len(open_findings) - len(shown),
        "datasets": sorted({f.dataset_id or "" for f in shown}),
        "passed": passed[: options.html_findings],
        "passed_more": len(passed) - options.html_findings,
        "suppressed": suppressed[: options.html_findings],
        "suppressed_more": len(suppressed) - options.html_findings,
        "rules": rules_by_id(run),
        "gap_count": run.coverage_gaps.num_rows,
        "gap_groups": gap_groups(run.coverage_gaps, samples=0),
        "gaps": list(gap_rows(run.coverage_gaps, options.html_gaps)),
        "gaps_more": run.coverage_gaps.num_rows - options.html_gaps,
        "states": STATES,
        "bar": _bar(numbers.coverage, numbers.listed),
        "bar_width": _BAR_WIDTH,
        "detections": sorted(run.detection_counts.items()),
        "words": words,
    }
    for piece in page.generate(context):
        out.write(piece.encode())


def _part(name: str) -> str:
    return (files("scanner.reports") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Every value is made visible before it is escaped, whatever the template forgets.
    environment.finalize = _shown
    environment.filters["day"] = _day
    environment.filters["iso"] = iso
    environment.filters["number"] = words.count
    environment.filters["tied"] = _tied
    environment.tests["web"] = _is_web
    return environment


def _shown(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return "" if value is None else value


def _day(moment: datetime) -> str:
    """A date that no reader can take for another: "22 November 2026, 09:30 UTC"."""
    utc = datetime.fromisoformat(iso(moment))
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def _tied(text: str) -> str:
    """A number and what it counts stay on one line."""
    return re.sub(r"(?<=\d) (?=[a-z])", "\N{NO-BREAK SPACE}", text)


def _is_web(link: str) -> bool:
    return link.startswith(("https://", "http://"))


def _bar(coverage: Mapping[str, int], listed: int) -> list[_Segment]:
    """Shares of the bar; a state that occurs is never too thin to be seen."""
    present = [(state, n) for state, n in coverage.items() if n]
    if not present:
        return []
    least = 8.0
    free = _BAR_WIDTH - least * len(present)
    segments, x = [], 0.0
    for state, n in present:
        width = least + free * n / listed
        segments.append(_Segment(state, round(x, 2), round(width, 2)))
        x += width
    return segments


REPORT = to_stream("html", ".html", write)

"""The run for a person at a terminal: what was found, what was not looked at, and one thing to do.

Fits `options.width` cells, wide characters counted as two; no colour unless asked for; every name
is made visible before it is printed, so that none can move the cursor or turn the reading
direction.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from scanner.model import RuleText, SavedRun
from scanner.reports import RenderOptions, to_stream
from scanner.reports._findings import Finding, gap_groups, tally, told_findings
from scanner.reports._stream import iso
from scanner.reports._visible import visible
from scanner.reports._words import (
    PICTURE_WORDS,
    STATE_WORDS,
    about,
    answer,
    declared_use,
    people,
    picture_groups,
    plural,
    reason_words,
    records,
)

_FORMATS_TOLD = 4  # of what no reader opens, by name
_MIN_WIDTH = 40  # below this no location can be told from another
_STYLES = {
    "error": "bold red",
    "warning": "yellow",
    "note": "cyan",
    "review": "magenta",
    "stop": "bold red",
    "unknown": "bold yellow",
    "ask": "bold magenta",
    "clear": "bold green",
    "head": "bold",
    "quiet": "dim",
}


def write(run: SavedRun, out: IO[bytes], options: RenderOptions) -> None:
    page = _Page(max(options.width, _MIN_WIDTH), options.colour)
    findings = told_findings(run)
    numbers = tally(run, findings)
    verdict = answer(run, numbers, findings)
    info = run.info

    page.field("Run", f"{info.id}, consentry {info.version}")
    for target in info.targets or ("none",):
        page.field("Target", shortened(visible(target), page.width - _FIELD))
    page.field("Use", visible(str(declared_use(info))))
    page.field("Policies", visible(", ".join(info.policies) or "none"))
    page.field("As of", iso(info.as_of))
    for note in info.notes:
        page.field("Note", visible(note))

    counted = [f for f in findings if f.suppressed_by is None]
    rules = {rule.id: rule for rule in run.rules}
    for title, wanted in (("Violations", "violation"), ("For a person to decide", "review")):
        _section(page, title, [f for f in counted if f.verdict == wanted], rules, options)
    passed = [f for f in counted if f.verdict == "compliant"]
    if passed and options.show_compliant:
        page.heading(f"Passed ({len(passed)})")
        for finding in passed:
            page.text(f"{visible(finding.rule_id)}: {visible(about(finding))}", indent=2)
    elif passed:
        page.heading(f"Passed: {plural(len(passed), 'check')}")
    suppressed = [f for f in findings if f.suppressed_by is not None]
    if suppressed:
        page.heading(f"Suppressed, not counted ({len(suppressed)})")
        for finding in suppressed[: options.table_findings]:
            who = f"{finding.rule_id}: {about(finding)}; by {finding.suppressed_by}"
            page.text(visible(who), indent=2)
        _more(page, len(suppressed) - options.table_findings, "suppressed finding")
    if run.coverage_gaps.num_rows:
        page.heading("Not looked at, or not whole")
        for group in gap_groups(run.coverage_gaps, samples=2):
            state = STATE_WORDS.get(group.state, group.state)
            page.text(
                f"{group.count:,} × {visible(reason_words(group.reason))} ({state.lower()})",
                indent=2,
            )
            if group.formats:
                told = [f"{n:,} {name}" for name, n in group.formats[:_FORMATS_TOLD]]
                rest = sum(n for _, n in group.formats[_FORMATS_TOLD:])
                told += [f"{rest:,} others"] if rest else []
                page.text(visible("; ".join(told)), indent=4)
            for name in group.samples:
                page.text(shortened(visible(name), page.width - 4), indent=4, style="quiet")
    _pictures(page, run, options)
    page.line("")
    page.text(_coverage_line(numbers.listed, numbers.coverage))
    page.text(verdict.headline, style=verdict.tone)
    page.text(verdict.detail)
    command = f": {verdict.command}" if verdict.command else ""
    page.text(visible(f"Next: {verdict.next_step}{command}"))
    out.write(page.bytes())


_COUNTS = re.compile(r"[\d,]+ (?:manifest row|record)s?(?: \([^)]*\))?: ")
_FIELD = 10  # cells of the label column


class _Page:
    """Lines no wider than `width` cells."""

    def __init__(self, width: int, colour: bool) -> None:
        self.width = width
        self._buffer = io.StringIO()
        self._console = Console(
            file=self._buffer,
            width=width,
            color_system="standard" if colour else None,
            force_terminal=colour,
            no_color=not colour,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ={},  # the same bytes in every terminal
        )

    def line(self, text: str, style: str = "") -> None:
        self._console.print(Text(visible(text), style=_STYLES.get(style, "")), soft_wrap=True)

    def heading(self, text: str) -> None:
        self.line("")
        self.text(text, style="head")

    def text(self, text: str, indent: int = 0, style: str = "", first: str = "") -> None:
        """A paragraph, wrapped; `first` stands in the indentation of its first line."""
        room = self.width - indent
        # whatever a caller forgets: nothing that acts on a screen goes out
        wrapped = Text(visible(text)).wrap(self._console, room, overflow="fold", no_wrap=False)
        for number, part in enumerate(wrapped):
            lead = visible(first) if number == 0 else ""
            part.rstrip()
            line = Text(lead + " " * (indent - cell_len(lead)))
            line.append(part.plain, style=_STYLES.get(style, ""))
            line.rstrip()
            self._console.print(line, soft_wrap=True)

    def field(self, label: str, text: str) -> None:
        self.text(text, indent=_FIELD, first=label)

    def bytes(self) -> bytes:
        return self._buffer.getvalue().encode()


def shortened(text: str, cells: int) -> str:
    """`text` in at most `cells` cells, cut in the middle: bucket and file name stay."""
    if cell_len(text) <= cells:
        return text
    head, tail = "", ""
    room = cells - 1
    # the end tells two files apart, so it gets the larger part
    for char in reversed(text):
        if cell_len(char + tail) > room * 3 // 5:
            break
        tail = char + tail
    for char in text:
        if cell_len(head + char) > room - cell_len(tail):
            break
        head += char
    return f"{head}…{tail}"


def _section(
    page: _Page,
    title: str,
    findings: list[Finding],
    rules: Mapping[str, RuleText],
    options: RenderOptions,
) -> None:
    """Findings under their rule: what it asks is said once, then where it is not met."""
    if not findings:
        return
    page.heading(f"{title} ({len(findings):,})")
    rule_id = None
    for finding in findings[: options.table_findings]:
        if finding.rule_id != rule_id:
            rule_id = finding.rule_id
            level = finding.level if finding.verdict == "violation" else finding.verdict
            page.line("")
            page.text(
                visible(f"{rule_id}   {finding.law_cite or ''}".rstrip()),
                indent=_FIELD,
                first=f"{visible(level)}",
                style=level,
            )
            if rule_id in rules:
                page.text(visible(rules[rule_id].title), indent=_FIELD)
        where = f"{about(finding)}: {records(finding)}, {people(finding)}"
        page.text(visible(where), indent=_FIELD, first=" " * (_FIELD - 2) + "·")
        # The sentence opens with the same numbers; once is enough on a narrow page.
        reason = finding.reason or "no reason recorded"
        counts = _COUNTS.match(reason)
        why = reason[counts.end() :] if counts else reason
        page.text(visible(why), indent=_FIELD + 2)
        for location in (finding.sample_locations or [])[:1]:
            name = shortened(visible(location), page.width - _FIELD - 7)
            page.text(f"e.g. {name}", indent=_FIELD + 2, style="quiet")
    _more(page, len(findings) - options.table_findings, "finding")


def _pictures(page: _Page, run: SavedRun, options: RenderOptions) -> None:
    """What the pictures hold, a line for each dataset: portraits and crowds are different risks."""
    if not run.pictures:
        return
    page.heading("Pictures by what they hold")
    for counts in run.pictures[: options.table_findings]:
        name = shortened(visible(counts.dataset_id), page.width // 2)
        page.text(f"{name}: {picture_groups(counts)}", indent=2)
    _more(page, len(run.pictures) - options.table_findings, "dataset")
    page.text(PICTURE_WORDS, indent=2, style="quiet")


def _more(page: _Page, number: int, noun: str) -> None:
    if number > 0:
        page.line("")
        page.text(
            f"and {plural(number, f'more {noun}')}; -f csv and -f json have them all", indent=2
        )


def _coverage_line(listed: int, coverage: Mapping[str, int]) -> str:
    return f"{plural(listed, 'object')}: " + ", ".join(f"{n:,} {s}" for s, n in coverage.items())


REPORT = to_stream("table", ".txt", write)

"""Tells how the rows of a delimited text are written, and cuts it into rows and cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

_DELIMITERS = ",\t;|"
_SAMPLE_ROWS = 500
MAX_COLUMNS = 65_536
_NAME_CHARS = 96  # a header cell is not longer than that, in characters

_NUMBER = re.compile(r"\s*[-+]?(?:\d[\d,. ]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?\s*|nan|NaN|-?inf")
_DATE = re.compile(
    r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T]\d{1,2}:\d{2}.*)?|\s*\d{1,2}:\d{2}(?::\d{2}.*)?"
)
_NOT_A_NAME = re.compile(
    r"\d[\d\s.,:/-]*|.*@.*\..*|https?://.*|[A-Za-z0-9+/_-]{64,}={0,2}|.*[{}<>].*|\[.*", re.DOTALL
)
# Texts that have their own shape, whatever their punctuation does
_OTHER = re.compile(
    r"\s*(?:<[?!/a-zA-Z]|%!|#!|BEGIN:|dn:|-----BEGIN |version: |From |\{\\rtf"
    r"|\[[A-Za-z .-]+\]\s*$|---\s*$)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the rows of one text are written."""

    delimiter: str
    columns: int  # cells of an ordinary row
    preamble: int = 0  # lines before the first row
    escape: str = ""  # "\\" where quotes within cells are escaped instead of doubled
    header: bool = True
    cut: bool = False  # not even one row was seen whole: `columns` is too small


# ---------------------------------------------------------------- parsing


class Rows:
    """Cuts text into rows of cells: RFC 4180 and what csv.writer writes.

    A quotation that does not end where a cell can end was none: its line is read as plain text.
    """

    def __init__(self, delimiter: str, columns: int, max_chars: int, escape: str = "") -> None:
        self._delimiter = delimiter
        self._columns = columns
        self._max_chars = max_chars
        self._escape = escape
        self._line_end = re.compile(r"\r\n|\n|\r")
        self._unquoted = re.compile(f"[{re.escape(delimiter)}\r\n]")
        self.consumed = 0  # characters of the last text that belong to whole rows
        self.line = 0  # physical lines in them, of all texts so far

    def parse(self, text: str, final: bool) -> Iterator[tuple[int, list[str]]]:
        """(physical line, cells) of each whole row; `final`: no more text follows.

        Empty lines are no rows.
        """
        at = self.consumed = 0
        size = len(text)
        while at < size:
            end = self._line_end.search(text, at)
            stop = end.start() if end else size
            if end is None and not final:
                return
            if end is not None and end.end() == size and end[0] == "\r" and not final:
                return  # a line feed may follow
            if text.find('"', at, stop) < 0:
                cells, after, lines = text[at:stop].split(self._delimiter), stop, 0
            else:
                quoted = self._quoted_row(text, at, final)
                if quoted is None:
                    return
                cells, after, lines = quoted
                if after == size and not final:
                    return
            at = after
            if end is not None and at < size:
                at += 2 if text.startswith("\r\n", at) else 1
            here = self.line
            self.line += lines + 1
            self.consumed = at  # before the row is given out: whoever takes it may stop there
            if len(cells) > 1 or cells[0]:
                yield here, cells

    def _quoted_row(self, text: str, at: int, final: bool) -> tuple[list[str], int, int] | None:
        """Cells of a row with quotes, where it ends, and line ends within; None: need more."""
        cells: list[str] = []
        size, lines = len(text), 0
        while True:
            if text.startswith('"', at):
                closed = self._close(text, at + 1, final)
                if closed is None:
                    return None
                end, value = closed
                if end >= 0:
                    cells.append(value)
                    lines += value.count("\n") or value.count("\r")
                    at = end
                    if at >= size or text[at] in "\r\n":
                        return cells, at, lines
                    at += 1  # the delimiter
                    if at >= size:
                        return [*cells, ""], at, lines
                    continue
            found = self._unquoted.search(text, at)
            stop = found.start() if found else size
            cells.append(text[at:stop])
            if found is None or found[0] != self._delimiter:
                return cells, stop, lines
            at = stop + 1

    def _close(self, text: str, start: int, final: bool) -> tuple[int, str] | None:
        """Where the quotation ends (behind its quote) and its value; -1 if it is none."""
        at, size = start, len(text)
        escaped = doubled = False
        while True:
            at = text.find('"', at)
            if at < 0:
                if final or self._hopeless(text, start):
                    return -1, ""
                return None
            if self._escape and self._is_escaped(text, start, at):
                escaped = True
                at += 1
                continue
            if at + 1 >= size:
                if not final:
                    return None
                break
            following = text[at + 1]
            if following == '"':
                doubled = True
                at += 2
                continue
            if following == self._delimiter or following in "\r\n":
                break
            # `"abc"d`: it was no quotation
            return -1, ""
        value = text[start:at]
        if doubled:
            value = value.replace('""', '"')
        if escaped:
            value = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        return at + 1, value

    @staticmethod
    def _is_escaped(text: str, start: int, at: int) -> bool:
        n = 0
        while at - 1 - n >= start and text[at - 1 - n] == "\\":
            n += 1
        return n % 2 == 1

    def _hopeless(self, text: str, start: int) -> bool:
        """Whether an open quotation has grown too large, or has swallowed what are plainly rows."""
        size = len(text) - start
        if size > self._max_chars:
            return True
        if size < 1 << 20:
            return False
        lines = text[start : start + (1 << 20)].splitlines()[1:201]
        rows = sum(line.count(self._delimiter) == self._columns - 1 for line in lines)
        return self._columns > 1 and rows * 2 > len(lines) > 0


# ---------------------------------------------------------------- dialect


def find_dialect(text: str, whole: bool) -> Dialect | None:
    """The dialect of a text that is a table; None if it is none, or if in doubt."""
    text = text.lstrip("\ufeff")
    if not text.strip() or _OTHER.match(text):
        return None
    best: tuple[float, Dialect] | None = None
    named = re.match(r"sep=(.)\r?\n", text)  # as Excel writes and wants it
    if named is not None:
        judged = _judge(text[named.end() :], whole, named[1], "")
        return replace(judged[1], preamble=judged[1].preamble + 1) if judged else None
    for delimiter in _DELIMITERS:
        if delimiter not in text:
            continue
        escapes = ("", "\\") if '\\"' in text else ("",)
        for escape in escapes:
            judged = _judge(text, whole, delimiter, escape)
            if judged is not None and (best is None or judged[0] > best[0] + 1e-9):
                best = judged
    return best[1] if best else None


def _judge(text: str, whole: bool, delimiter: str, escape: str) -> tuple[float, Dialect] | None:
    parser = Rows(delimiter, 0, 1 << 30, escape)
    parsed: list[tuple[int, list[str]]] = []
    for row in parser.parse(text, whole):
        parsed.append(row)
        if len(parsed) >= _SAMPLE_ROWS:
            break
    cut = not parsed and not whole
    if cut:  # one row is longer than the head
        parsed = list(Rows(delimiter, 0, 1 << 30, escape).parse(text, True))
        if len(parsed) == 1 and len(parsed[0][1]) < 16:
            return None
    if not parsed:
        return None
    widths = Counter(len(cells) for _, cells in parsed)
    columns, _ = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
    if columns < 2 or columns > MAX_COLUMNS:
        return None
    # What comes before the first ordinary row (titles, "sep=;", "##" comments) is a preamble
    first = next(i for i, (_, cells) in enumerate(parsed) if len(cells) == columns)
    if first and max(len(cells) for _, cells in parsed[:first]) > 1 and first > 2:
        return None
    rows = [cells for _, cells in parsed[first:]]
    regular = [cells for cells in rows if len(cells) == columns]
    share = len(regular) / len(rows)
    if first > max(3, len(rows)) and not all(
        cells[0].startswith("#") for _, cells in parsed[:first]
    ):
        return None
    if share < (0.5 if len(rows) <= 4 else 0.6 if len(rows) <= 12 else 0.8):
        return None
    header = _has_header(regular)
    score = _tableness(regular, header, delimiter, text)
    if score < 0.5:
        return None
    if share < 1.0 and len(rows) <= 8 and score < 0.7:
        return None
    preamble = parsed[first][0]
    # Quotes that were none: there may be a better reading
    stray = sum(cell.startswith('"') for row in regular for cell in row) / len(regular)
    ranking = (
        score + share - 0.1 * stray + min(columns, 12) * 0.01 + (0.05 if delimiter == "\t" else 0.0)
    )
    return ranking, Dialect(delimiter, columns, preamble, escape, header, cut)


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))


def _shape(cell: str) -> str:
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "9", cell)))


def _is_typed(column: tuple[str, ...]) -> bool:
    """Whether the cells are numbers or dates, codes of one shape (M12345678), or a few words."""
    cells = [cell for cell in column if cell]
    if len(cells) * 2 < len(column) or not cells:
        return False
    if sum(map(_is_value, cells)) >= 0.9 * len(cells):
        return True
    if len(cells) > 3 and len(set(cells)) * 2 <= len(cells) and " " not in "".join(cells):
        return True  # a few words, again and again: "KR", "M"
    shape = _shape(cells[0])
    alike = sum(_shape(cell) == shape for cell in cells) >= 0.9 * len(cells)
    return alike and len(cells) > 2 and "9" in shape and " " not in shape


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: by what it holds and how it differs from those below."""
    first, rest = rows[0], [row for row in rows[1:200] if row != rows[0]]
    numbers = [cell for cell in first if _is_value(cell)]
    if numbers:
        digits = [int(cell) for cell in first if re.fullmatch(r"\d{1,5}", cell)]
        steps = [b - a for a, b in pairwise(digits)]
        counted = len(digits) >= 3 and steps.count(1) >= len(steps) - 1
        years = digits and all(1900 <= n <= 2100 for n in digits)
        if not ((counted or years) and len(digits) >= len(first) - 2) or len(first) < 3:
            return False
        same = sum(_is_value(c) and c.isdigit() for row in rest[:5] for c in row)
        return same < sum(map(len, rest[:5])) / 2 or not rest
    if any(len(cell) > _NAME_CHARS or _NOT_A_NAME.fullmatch(cell.strip()) for cell in first):
        return False
    if all(not cell.strip() for cell in first):
        return False
    for i, name in enumerate(first):
        below = [row[i] for row in rest]
        if not below or not name.strip():
            continue
        if below.count(name) * 10 >= len(below) and below.count(name) >= 2:
            return False  # "KR" in the first row, and again and again below
        shape = _shape(name)
        if "9" in shape and len(below) >= 2 and len(name) >= 4:
            alike = sum(_shape(value) == shape for value in below)
            if alike * 10 >= 9 * len(below):
                return False  # "M12345678" above "M87654321"
    return True


def _tableness(rows: list[list[str]], header: bool, delimiter: str, text: str) -> float:
    """0 to 1: how much these rows look like a table, not like prose, code or a log."""
    columns = len(rows[0])
    cells = [cell for row in rows[:100] for cell in row]
    filled = [cell for cell in cells if cell.strip()] or [""]
    spaced = sum(cell.startswith(" ") for row in rows[:100] for cell in row[1:])
    after_space = spaced / max(1, sum(len(row) - 1 for row in rows[:100]))
    values = sum(map(_is_value, filled)) / len(filled)
    wordy = sum(cell.strip().count(" ") >= 5 for cell in filled) / len(filled)
    quoted = f'"{delimiter}"' in text or f'"{delimiter}' in text or f'{delimiter}"' in text
    score = 0.5
    if header:
        names = [cell.strip() for cell in rows[0]]
        namelike = sum(bool(n) and len(n) <= 48 and n.count(" ") <= 3 for n in names) / columns
        clean = not any(re.search(r"[.!?;:(){}=]$|^[({}]|\bimport\b|[=;]", name) for name in names)
        distinct = len(set(names)) == columns
        score += 0.3 * namelike - (0.0 if clean else 0.5) - (0.0 if distinct else 0.1)
    else:
        typed = sum(map(_is_typed, zip(*rows[:100], strict=True)))
        score += 0.4 * min(1.0, 2 * typed / columns) - (0.0 if typed else 0.2)
        if (len(rows) < 2 and columns < 8) or (columns == 2 and wordy > 0.25):
            score -= 0.4  # the latter: a log with "12:00:00,123 words"
    score += 0.2 * values + (0.2 if quoted else 0.0) + (0.15 if delimiter in "\t|;" else 0.0)
    if after_space > 0.8:
        score -= 0.35 if columns < 4 or len(rows) < 3 else 0.1
    elif after_space > 0.3:
        score -= 0.3
    if wordy > 0.25:
        score -= 0.35 if not quoted else 0.1
    if len(rows) < 2:
        score -= 0.1 + (0.25 if any(" " in cell for cell in rows[0]) else 0.0)
    first_column = [row[0].strip() for row in rows[1:100]]
    if first_column and sum(not cell for cell in first_column) > 0.8 * len(first_column):
        score -= 0.4  # indented lines, or "| a | b |"
    last_column = [row[-1].strip() for row in rows[:100]]
    if columns == 2 and len(rows) > 1 and not any(last_column):
        score -= 0.6  # statements ending in ";"
    if (
        len(rows) > 1
        and sum(row[0].lstrip().startswith(("(", "{", "[", "- ", "* ")) for row in rows)
        > len(rows) / 2
    ):
        score -= 0.5
    return score

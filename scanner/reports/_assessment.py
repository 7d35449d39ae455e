r"""The draft of an impact assessment as Markdown, to be filled in, and as HTML, to be read.

Neither form lets a name act: in Markdown, names stand in code spans and everything else is escaped,
so that no renderer makes a link, a heading or HTML of them; in HTML they are escaped, and the
content security policy allows the style sheet of the page and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO

import jinja2
from markupsafe import Markup

from scanner.model import Kept, SavedRun
from scanner.reports._draft import Draft, Name, draft
from scanner.reports._visible import visible
from scanner.reports._words import count
from scanner.reports.html import _digest, _environment, _part

FORMATS = ("markdown", "html")

# What Markdown (CommonMark, GitHub's tables, strikethrough and mathematics) gives a meaning to.
_ACTS = re.compile(r"[\\`*_\[\]|~$#]")
_BEGINS = re.compile(r"(\d{0,9})([-+.)])(?=[\s-]|$)")  # a list, or a line under a heading
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What renderers make links of without being asked: shown as code instead.
_LINKS_ITSELF = re.compile(r"\S*(?:://|www\.|@)\S*")
_BACKTICKS = re.compile("`+")


def write(
    run: SavedRun, kept: Kept, out: IO[bytes], *, form: str, seal: str, sealed_well: bool
) -> int:
    """Write the draft in one of `FORMATS`; returns how many answers are missing in it.

    `seal` says in words what became of the run's seal, `sealed_well` that nothing is wrong with it.
    """
    made = draft(run, kept, seal, sealed_well=sealed_well)
    pieces = {"markdown": _markdown, "html": _html}[form](made)
    for piece in pieces:
        out.write(piece.encode())
    return len(made.blanks)


def _html(made: Draft) -> Iterator[str]:
    style = _part("report.css") + _part("assessment.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    environment = _environment()
    _teach(environment)
    template = environment.get_template("assessment.html.j2")
    return template.generate(draft=made, style=Markup(style), policy=policy)


def _markdown(made: Draft) -> Iterator[str]:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.finalize = _escaped
    _teach(environment)
    return environment.get_template("assessment.md.j2").generate(draft=made)


def _teach(environment: jinja2.Environment) -> None:
    """Tests and filters that both templates use."""
    from scanner.reports import _draft

    for name in ("Text", "Table", "Bullets", "Blank", "Entry"):
        environment.tests[name.lower()] = _is(getattr(_draft, name))
    environment.tests["name"] = _is(Name)
    environment.filters["minute"] = _draft._minute
    environment.filters["number"] = count


def _is(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


def _escaped(value: object) -> object:
    """A value of the Markdown template: names as code, words with nothing in them that acts."""
    if isinstance(value, Markup):  # a macro's own output
        return value
    if isinstance(value, Name):
        return _code(value)
    return _words(value) if isinstance(value, str) else value


def _words(text: str) -> str:
    pieces: list[str] = []
    end = 0
    shown = visible(text).strip()
    begins = _BEGINS.match(shown)
    if begins is not None:
        pieces.append(f"{begins[1]}\\{begins[2]}")
        end = begins.end()
    for match in _LINKS_ITSELF.finditer(shown, end):
        pieces += [_plain(shown[end : match.start()]), _code(match[0])]
        end = match.end()
    return "".join([*pieces, _plain(shown[end:])])


def _plain(text: str) -> str:
    escaped = _ACTS.sub(lambda match: f"\\{match[0]}", text)
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], escaped)


def _code(text: str) -> str:
    """A code span with a fence longer than any in it; in a table, `|` would end the cell."""
    shown = visible(text).replace("|", "\\|") if "|" in text else visible(text)
    longest = max((len(run) for run in _BACKTICKS.findall(shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if not shown.strip() or shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown or ' '}{pad}{fence}"

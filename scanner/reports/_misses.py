"""A page of pictures in which no face was found, for a person to mark those that hold one.

Unlike every report it shows pictures, so it is for this machine only, and says so. Like the HTML
report it asks nothing from any network: its content security policy allows the style and the script
that stand in it, by their digests, and pictures that stand in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup

from scanner.reports.html import _digest, _environment, _part


@dataclass(frozen=True, slots=True)
class Shown:
    """One drawn picture: a JPEG, or why it cannot be shown."""

    number: int  # from 1
    location: str
    jpeg: bytes | None
    why: str = ""

    @property
    def source(self) -> Markup:
        """Letters, digits, `+`, `/` and `=` only."""
        return Markup("data:image/jpeg;base64," + base64.b64encode(self.jpeg or b"").decode())


def page(
    pictures: Iterable[Shown], *, run_id: str, drawn: int, among: int, command: str
) -> Iterator[bytes]:
    """The page in pieces; `command` is what to run with the number of marked pictures behind it."""
    style, script = _part("misses.css"), _part("misses.js")
    context = {
        "style": Markup(style),
        "script": Markup(script),
        "policy": "; ".join(
            (
                "default-src 'none'",
                "img-src data:",
                f"style-src 'sha256-{_digest(style)}'",
                f"script-src 'sha256-{_digest(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        "pictures": pictures,
        "run_id": run_id,
        "drawn": drawn,
        "among": among,
        "command": command,
    }
    for piece in _environment().get_template("misses.html.j2").generate(context):
        yield piece.encode()

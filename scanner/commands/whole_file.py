"""Output files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def write_whole(path: Path, render: Callable[[IO[bytes]], None]) -> None:
    """Written beside its place, then moved there; mode 0600. Raises OSError."""
    temporary: Path | None = None
    try:
        try:
            special = not stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            special = False
        if special:  # /dev/null, a pipe: written to, never replaced
            with path.open("wb") as file:
                render(file)
            return
        place = path.resolve()  # a link stays, and what it leads to is replaced
        temporary = place.with_name(f".consentry-{os.getpid()}.tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            render(file)
        temporary.replace(place)
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

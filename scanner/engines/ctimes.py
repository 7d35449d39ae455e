"""Whether the ctime of a local file will tell its next change.

It does not where that may come within a tick of the file system's clock, nor while a page that some
process writes to through a memory map waits to be written to disk: only the first write to it is
stamped. Such files are read again by the next scan.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

TICK_SECONDS = 0.05  # far above the resolution of a file system's ctime
WHOLE_TICK_SECONDS = 2.05  # but where it has whole seconds only (ext3, HFS+), or two (FAT)
UNWRITTEN_SECONDS = 60  # by then the system has written changed pages to disk (Linux: 30 and 5)
MOST_SYNCING_SECONDS = 10.0


class Ctimes:
    """Answers for one run; writes out files that were changed lately, while that is quick."""

    def __init__(self) -> None:
        self._syncing_seconds = 0.0

    def tell(self, version: str, fd: int) -> bool:
        """For an open file, before it is read; `version` as stores.local gives it."""
        text = version.partition("-")[0]
        if not text.isdigit():
            return True
        changed_ns = int(text)
        age_seconds = abs(time.time_ns() - changed_ns) / 1e9
        if age_seconds < (TICK_SECONDS if changed_ns % 1_000_000_000 else WHOLE_TICK_SECONDS):
            return False
        if age_seconds > UNWRITTEN_SECONDS:
            return True
        if self._syncing_seconds > MOST_SYNCING_SECONDS:
            return False
        started = time.monotonic()
        with suppress(OSError):  # a file system that cannot
            os.fsync(fd)
        self._syncing_seconds += time.monotonic() - started
        return True

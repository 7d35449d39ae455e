"""The command line under a wrong clock: `python -m tests.tools.other_clock SECONDS scan …`.

The parent process is the one that reads the clock; its workers only measure how long things take.
"""

from __future__ import annotations

import datetime as library
import sys
import time

_shift = float(sys.argv.pop(1))
_time, _time_ns = time.time, time.time_ns
_real = library.datetime


class _Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _real)


class _Shifted(library.datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: library.tzinfo | None = None) -> library.datetime:  # type: ignore[override]
        return _real.fromtimestamp(time.time(), tz)


time.time = lambda: _time() + _shift
time.time_ns = lambda: _time_ns() + round(_shift * 1e9)
library.datetime = _Shifted  # type: ignore[misc]

if __name__ == "__main__":
    from scanner.cli import main

    main()

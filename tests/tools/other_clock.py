"""The command line under a wrong clock: `python -m tests.tools.other_clock SECONDS scan …`.

The parent process is the one that reads the clock; its workers only measure how long things take.
The clocks of this program's own modules are replaced: libraries written in C would not survive it.
"""

from __future__ import annotations

import datetime as library
import importlib
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
        return _real.fromtimestamp(_time() + _shift, tz)


time.time = lambda: _time() + _shift
time.time_ns = lambda: _time_ns() + round(_shift * 1e9)
for name in ("cli", "scan", "ledger", "ledger.file", "runs", "seal", "listing", "engines.local"):
    module = importlib.import_module(f"scanner.{name}")
    if hasattr(module, "datetime"):
        module.datetime = _Shifted  # type: ignore[attr-defined]

if __name__ == "__main__":
    from scanner.cli import main

    main()

"""The worker process with the mock decoder before all real readers, for tests only."""

from __future__ import annotations

from functools import cache

import scanner.readers
from scanner.readers import Reader
from tests.tools import mock_decoder

_real = scanner.readers.all_readers


@cache
def _with_mock() -> tuple[Reader, ...]:
    return (mock_decoder.READER, *_real())


scanner.readers.all_readers = _with_mock


def main(*channels: int) -> None:
    """What `scanner.engines.local` starts; the numbers are of the open files it hands over."""
    from scanner.engines.worker import main as real

    real(*channels)

"""A large object of a store, as its worker sees it: bytes that the parent fetches when asked."""

from __future__ import annotations

import socket
from time import monotonic
from typing import cast

from scanner.engines import wire
from scanner.errors import StoreError
from scanner.model import REASONS, Reason
from scanner.stores.stream import ObjectRaw


class RangeStream(ObjectRaw):
    """Random access over a socket on which the parent answers."""

    def __init__(self, sock: socket.socket, size: int, pulse: wire.Pulse) -> None:
        super().__init__(size)
        self._sock = sock
        self._pulse = pulse

    def fetch(self, position: int, count: int) -> bytes:
        self._pulse.wait(True)
        try:
            data, failure = wire.ask_range(self._sock, position, count)
        except (EOFError, OSError):
            raise StoreError("truncated", f"ends at byte {position} of {self._size}") from None
        finally:
            self._pulse.beat(monotonic())
            self._pulse.wait(False)
        if failure is not None:
            reason = failure[0] if failure[0] in REASONS else "truncated"
            raise StoreError(cast("Reason", reason), failure[1])
        return data

    def close(self) -> None:
        if not self.closed:
            self._sock.close()
        super().close()

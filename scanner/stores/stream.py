"""What `open` returns: a buffered stream that remembers why a read of it failed."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from scanner.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 256 << 10  # read at once; also how far a stream seeks back without asking anew


class ObjectRaw(io.RawIOBase):
    """Random access to an object of known size over "some bytes from here on"."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.failure: StoreError | None = None
        self._size = size
        self._position = 0

    @abstractmethod
    def fetch(self, position: int, count: int) -> bytes:
        """1 to `count` bytes from `position` on, which is before the end. Raises StoreError."""

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), CHUNK_BYTES, self._size - self._position)
        if count <= 0:
            return 0
        if (
            self.failure is not None
        ):  # no second chance: the bytes before may have been used already
            raise self.failure
        try:
            data = self.fetch(self._position, count)
        except StoreError as error:
            self.failure = error
            raise
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class ObjectStream(io.BufferedReader):
    """A buffered object; `failure` is what ended a read of it, even if a reader swallowed that."""

    @property
    def failure(self) -> StoreError | None:
        return cast("StoreError | None", getattr(self.raw, "failure", None))


def buffered(raw: io.RawIOBase) -> ObjectStream:
    return ObjectStream(raw, CHUNK_BYTES)

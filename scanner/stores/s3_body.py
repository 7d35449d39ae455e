"""The bytes of one S3 object, pinned to the listed ETag; bodies that break are taken up again."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping
from typing import Any

import urllib3.exceptions
from botocore import exceptions as sdk

from scanner.errors import StoreError
from scanner.model import ObjectInfo, Reason
from scanner.stores.connection import Connection
from scanner.stores.s3_errors import open_problem
from scanner.stores.stream import CHUNK_BYTES, ObjectRaw

BODY_ATTEMPTS = 5  # within PROGRESS_BYTES; the SDK itself does not retry a body that breaks off
PROGRESS_BYTES = 1 << 20
BODY_BACKOFF_SECONDS = 0.2  # doubled each time, give or take a half
FIRST_WINDOW_BYTES = 512 << 10  # asked for after a seek; doubled while reads follow on each other
LAST_WINDOW_BYTES = 64 << 20
VERSION_MARK = "@"  # ObjectInfo.version of a version that is not the current one: etag@versionId
READ_OVER_BYTES = 1 << 20  # a shorter seek forward reads on instead of asking anew

_BROKEN = (
    sdk.ReadTimeoutError,
    sdk.ResponseStreamingError,
    sdk.IncompleteReadError,
    sdk.HTTPClientError,
    urllib3.exceptions.HTTPError,
    OSError,
)


class S3Body(ObjectRaw):
    """A whole body while it is read from the start; after a seek, windows that grow again.

    Only a whole body is checked against the checksum that the store keeps, if it keeps one.
    """

    def __init__(
        self, connection: Connection[Any], named: Mapping[str, str], info: ObjectInfo
    ) -> None:
        super().__init__(info.size)
        self._connection = connection
        self._request = dict(named)
        etag = info.version
        if info.version_id:
            etag = etag.removesuffix(VERSION_MARK + info.version_id)
        if etag:
            self._request["IfMatch"] = f'"{etag}"'
        self._body: Any = None
        self._at = 0  # position of the body's next byte
        self._end = 0  # position where the body ends
        self._window = 0  # bytes asked for last; 0: the whole object
        self._breaks = 0  # bodies that broke off around self._broke_at
        self._broke_at = 0
        # At once, so that an object that is gone, changed or denied says so when it is opened.
        self._ask(0)

    def all(self) -> bytes:
        """The whole object."""
        data = bytearray(self._size)
        with memoryview(data) as view:
            filled = 0
            while filled < self._size:
                filled += self.readinto(view[filled:])
        if not self._size:
            self._verify()
        return bytes(data)

    def fetch(self, position: int, count: int) -> bytes:
        while True:
            try:
                if not self._reach(position):
                    self._ask(position)
                data: bytes = self._body.read(min(count, self._end - position))
                if data:
                    self._at += len(data)
                    self._verify()
                    return data
            except _BROKEN:
                pass
            self._drop()
            if abs(position - self._broke_at) >= PROGRESS_BYTES:
                self._breaks = 0
            self._breaks, self._broke_at = self._breaks + 1, position
            if self._breaks == BODY_ATTEMPTS:
                detail = f"the connection broke {BODY_ATTEMPTS} times near byte {position}"
                raise StoreError("truncated", detail)
            wait = BODY_BACKOFF_SECONDS * 2 ** (self._breaks - 1)
            time.sleep(wait * random.uniform(0.5, 1.5))  # many readers broke off at once

    def _reach(self, position: int) -> bool:
        """Read on to a position a little ahead; False if the body does not come near it."""
        if self._body is None or not self._at <= position < self._end:
            return False
        if position - self._at > READ_OVER_BYTES:
            return False
        while self._at < position:
            skipped = len(self._body.read(min(position - self._at, CHUNK_BYTES)))
            if not skipped:
                return False
            self._at += skipped
        return True

    def _ask(self, position: int) -> None:
        request, end = dict(self._request), self._size
        if position or self._window:
            follows = self._body is not None and position == self._end
            grown = min(2 * self._window, LAST_WINDOW_BYTES) if follows else 0
            self._window = max(grown, FIRST_WINDOW_BYTES)
            end = min(position + self._window, self._size)
            request["Range"] = f"bytes={position}-{end - 1}"
        self._drop()
        try:
            answer = self._connection.ask(lambda s3: s3.get_object(**request))
        except StoreError:
            raise
        except Exception as error:  # servers make the SDK fail in odd ways: RecursionError, …
            raise StoreError(*open_problem(error)) from None
        self._body, self._at, self._end = answer["Body"], position, end
        etag = answer.get("ETag") or self._request.get("IfMatch", "")
        # The listing may have given none; and not every server compares it for us.
        if etag and _plain(self._request.setdefault("IfMatch", etag)) != _plain(etag):
            self._drop()
            raise StoreError("changed", "changed after it was listed")
        sent = answer.get("ContentLength", end - position)
        if sent != end - position:
            self._drop()
            reason: Reason = "truncated" if sent < end - position else "changed"
            raise StoreError(reason, f"the store holds {sent} bytes of {end - position} listed")

    def _verify(self) -> None:
        """At the end of a whole body; only when read beyond it does the SDK compare checksums."""
        if self._window or self._at < self._size:
            return
        try:
            with contextlib.suppress(*_BROKEN):  # all bytes are here already
                self._body.read(1)
        except sdk.FlexibleChecksumError:
            self._drop()
            detail = "the bytes do not match the checksum that the store keeps"
            raise StoreError("integrity", detail) from None

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


def _plain(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')

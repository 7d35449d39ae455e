"""S3, and whatever speaks its protocol, listed by the SDK's own pager."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from datetime import UTC
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import botocore.config
import botocore.session
from botocore import UNSIGNED
from botocore import exceptions as sdk

from scanner.errors import StoreError, UsageError
from scanner.model import Location, ObjectInfo, Reason, StoreSpec
from scanner.stores.s3_body import S3Body
from scanner.stores.s3_errors import is_busy, short, start_error
from scanner.stores.stream import buffered

CONNECT_SECONDS = 5
READ_SECONDS = 60
START_ATTEMPTS = 2  # of the first request: a wrong endpoint is reported within seconds
ATTEMPTS = 8  # of every later request, with the SDK's own backoff (up to 20 s each)
WHOLE_BYTES = 8 << 20  # objects up to this size are fetched with one GET and held in memory

_NEEDS_RESTORE = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class S3Store:
    """Objects of one bucket, all or below a prefix; keys are relative to the target, byte-exact.

    `s3://bucket/a/b` means the objects below `a/b/` or, where there are none, the one object `a/b`.
    The only operations used are ListObjectsV2 and GetObject.
    """

    def __init__(self, spec: StoreSpec, attempts: int = ATTEMPTS) -> None:
        self.spec = spec
        self._bucket, _, self._prefix = spec.url.partition("://")[2].partition("/")
        if "@" in self._bucket:
            raise UsageError(
                "s3://: credentials do not belong in the target; use --profile or the environment"
            )
        if not self._bucket:
            raise UsageError("s3://: no bucket named; write s3://bucket or s3://bucket/prefix")
        self._single = False
        endpoint = "the endpoint"
        try:
            session = botocore.session.Session(profile=spec.profile)
            first = self._client(session, START_ATTEMPTS)
            self._s3 = self._client(session, attempts)
            weakref.finalize(self, self._s3.close)
            endpoint = urlsplit(self._s3.meta.endpoint_url).netloc.rpartition("@")[2]
            try:
                self._find_out(first)
            except sdk.ClientError as error:
                if not is_busy(error):
                    raise
                self._find_out(self._s3)  # with patience
            finally:
                first.close()
        except Exception as error:
            raise start_error(error, f"s3://{self._bucket}", endpoint) from None

    def _client(self, session: Any, attempts: int) -> Any:
        config: dict[str, object] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": attempts},
        }
        if self.spec.anonymous:
            config["signature_version"] = UNSIGNED
        # Given an endpoint, here or in the environment, botocore puts the bucket into the path.
        return session.create_client(
            "s3",
            region_name=self.spec.region,
            endpoint_url=self.spec.endpoint_url,
            config=botocore.config.Config(**config),
        )

    def _find_out(self, client: Any) -> None:
        """One request, or two: may we list it, and is the target one object or many?"""
        prefix = self._prefix

        def first_key(start: str) -> str | None:
            page = client.list_objects_v2(Bucket=self._bucket, Prefix=start, MaxKeys=1)
            return next((item["Key"] for item in page.get("Contents", ())), None)

        if not prefix or prefix.endswith("/"):
            first_key(prefix)
        elif first_key(prefix + "/") is not None or first_key(prefix) != prefix:
            self._prefix = prefix + "/"
        else:  # keys come in byte order: a key is listed before all that begin with it
            self._single = True

    def location(self, key: str) -> Location:
        return Location(f"s3://{self._bucket}/{self._full_key(key)}")

    def _full_key(self, key: str) -> str:
        return self._prefix if self._single else self._prefix + key

    def list(self) -> Iterator[ObjectInfo]:
        count = 0
        cut = len(self._prefix.rpartition("/")[0]) + 1 if self._single else len(self._prefix)
        if self._single and "/" not in self._prefix:
            cut = 0
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket,
                Prefix=self._prefix,
                OptionalObjectAttributes=["RestoreStatus"],
                **({"PaginationConfig": {"MaxItems": 1}} if self._single else {}),
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    if not item["Key"].startswith(self._prefix):
                        raise StoreError("listing", "the store listed keys outside the target")
                    if self._single and item["Key"] != self._prefix:
                        return  # deleted since the start
                    yield _info(item["Key"][cut:], item)
                    count += 1
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(
                "listing", f"the listing broke off after {count} objects ({short(error)})"
            ) from None

    def renewed(self, info: ObjectInfo) -> ObjectInfo | None:
        raise NotImplementedError  # TODO stores helper

    def sign_in_again(self) -> None:
        return None

    def open(self, info: ObjectInfo) -> BinaryIO:
        body = S3Body(self._s3, self._bucket, self._full_key(info.key), info)
        if info.size > WHOLE_BYTES:
            return buffered(body)
        with body:
            return io.BytesIO(body.all())


def _info(key: str, item: dict[str, Any]) -> ObjectInfo:
    tier = item.get("StorageClass", "")
    problem: tuple[Reason, str] | None = None
    if tier in _NEEDS_RESTORE and "RestoreExpiryDate" not in item.get("RestoreStatus", {}):
        problem = ("denied", f"archived in storage class {tier}; must be restored first")
    mtime = item.get("LastModified")
    return ObjectInfo(
        key,
        int(item.get("Size", 0)),
        str(item.get("ETag", "")).strip('"'),
        mtime.astimezone(UTC) if mtime is not None else None,
        problem,
    )

"""S3, and whatever speaks its protocol: the SDK's own listing, reads pinned to the listed ETag."""

from __future__ import annotations

import io
import re
import time
import weakref
from collections.abc import Iterator
from datetime import UTC
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import botocore.config
import botocore.session
import urllib3.exceptions
from botocore import UNSIGNED
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from scanner.errors import ScannerError, StoreError, UsageError
from scanner.model import Location, ObjectInfo, Reason, StoreSpec
from scanner.stores.stream import ObjectRaw, buffered

CONNECT_SECONDS = 5
READ_SECONDS = 60
START_ATTEMPTS = 2  # of the first request: a wrong endpoint is reported within seconds
ATTEMPTS = 8  # of every later request, with the SDK's own backoff (up to 20 s each)
BODY_ATTEMPTS = (
    5  # the SDK does not retry a body that breaks off; we do, without progress at most so often
)
BODY_BACKOFF_SECONDS = 0.2  # doubled each time
WHOLE_BYTES = 8 << 20  # objects up to this size are fetched with one GET and held in memory
FIRST_WINDOW_BYTES = 512 << 10  # asked for after a seek; doubled while reads follow on each other
LAST_WINDOW_BYTES = 64 << 20
READ_OVER_BYTES = 1 << 20  # a seek forward by less than this reads on instead of asking anew

_NEEDS_RESTORE = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_WRONG_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "NotSignedUp"}
)
_EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "TokenRefreshRequired",
        "InvalidToken",
        "RequestExpired",
    }
)
_OTHER_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
    }
)
_THROTTLED = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "503",
    }
)
_BROKEN_BODY = (
    sdk.ReadTimeoutError,
    sdk.ResponseStreamingError,
    sdk.IncompleteReadError,
    sdk.HTTPClientError,
    urllib3.exceptions.HTTPError,
    OSError,
)
_CODE = re.compile(
    r"[A-Za-z0-9.]{1,64}"
)  # error codes are the server's text: printed only if they look so


class S3Store:
    """Objects of one bucket, all or below a prefix; keys are relative to the target and byte-exact.

    `s3://bucket/a/b` means the objects below `a/b/` or, where there are none, the one object `a/b`.
    """

    def __init__(self, spec: StoreSpec, attempts: int = ATTEMPTS) -> None:
        self.spec = spec
        _, _, rest = spec.url.partition("://")
        self._bucket, _, self._prefix = rest.partition("/")
        if "@" in self._bucket:
            raise UsageError(
                "s3://: credentials do not belong in the target; use AWS_PROFILE, --profile or the environment"
            )
        if not self._bucket:
            raise UsageError("s3://: no bucket named; write s3://bucket or s3://bucket/prefix")
        self._shown = f"s3://{self._bucket}/{self._prefix}"
        first = self._client(START_ATTEMPTS)
        self._client_ = self._client(attempts)
        self._single = False
        try:
            try:
                self._find_out(first)
            except sdk.ClientError as error:
                if _code(error) not in _THROTTLED and _status(error) < 500:
                    raise
                self._find_out(self._client_)  # busy, not wrong: with patience
        except Exception as error:
            raise self._start_error(error) from None
        finally:
            first.close()
        weakref.finalize(self, self._client_.close)

    def location(self, key: str) -> Location:
        return Location(f"s3://{self._bucket}/{self._full(key)}")

    def _full(self, key: str) -> str:
        return self._prefix if self._single else self._prefix + key

    # ------------------------------------------------------------ start

    def _client(self, attempts: int) -> Any:
        spec = self.spec
        config: dict[str, object] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": attempts},
        }
        if spec.anonymous:
            config["signature_version"] = UNSIGNED
        try:
            session = botocore.session.Session(profile=spec.profile)
            return session.create_client(
                "s3",
                region_name=spec.region,
                endpoint_url=spec.endpoint_url,
                config=botocore.config.Config(**config),
            )
        except Exception as error:
            raise self._start_error(error) from None

    def _find_out(self, client: Any) -> None:
        """One request, two where the target may be a single object: is it there, may we list it?"""
        prefix = self._prefix
        if not prefix or prefix.endswith("/"):
            client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
            return
        if not _keys(client.list_objects_v2(Bucket=self._bucket, Prefix=prefix + "/", MaxKeys=1)):
            found = _keys(client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1))
            if found == [
                prefix
            ]:  # keys come in byte order: the name itself is before all longer ones
                self._single = True
                return
        self._prefix = prefix + "/"

    def _start_error(self, error: Exception) -> ScannerError:
        """One line for a person; texts of the SDK or the server are never passed on."""
        where = f"s3://{self._bucket}"
        if isinstance(error, ScannerError):
            return error
        if isinstance(error, sdk.ClientError):
            return self._refused(error, where)
        if isinstance(error, sdk.ProfileNotFound):
            return UsageError(
                f"{where}: no profile {self.spec.profile or 'of AWS_PROFILE'} in the AWS files"
            )
        if isinstance(error, (sdk.NoCredentialsError, sdk.NoAuthTokenError)):
            return UsageError(
                f"{where}: no AWS credentials found; sign in, set AWS_PROFILE or --profile, "
                "or use --anonymous for a public bucket"
            )
        if isinstance(error, (sdk.NoRegionError, sdk.InvalidRegionError)):
            return UsageError(f"{where}: no usable region; set --region or AWS_REGION")
        if isinstance(error, sdk.ParamValidationError):
            return UsageError(
                "s3://: not a legal bucket name; write s3://bucket or s3://bucket/prefix"
            )
        if isinstance(error, (sdk.HTTPClientError, sdk.ConnectionError)):
            return UsageError(
                f"{where}: cannot reach {self._endpoint()} ({type(error).__name__}); "
                "check the network, --endpoint-url and --region"
            )
        if isinstance(error, ValueError):  # botocore's "Invalid endpoint"
            return UsageError(f"{where}: the endpoint is not a URL; write http://host:port")
        if isinstance(error, ResponseParserError):
            return UsageError(f"{where}: {self._endpoint()} does not answer like an S3 store")
        return UsageError(
            f"{where}: the AWS SDK gave up ({type(error).__name__}); check the credentials and the AWS files"
        )

    def _refused(self, error: sdk.ClientError, where: str) -> ScannerError:
        code = _code(error)
        if code == "NoSuchBucket":
            return UsageError(f"{where}: no such bucket; check the name and the endpoint")
        if code in _WRONG_CREDENTIALS:
            return UsageError(
                f"{where}: the store does not accept these credentials ({code}); "
                "check AWS_PROFILE, --profile or the keys"
            )
        if code in _EXPIRED:
            return UsageError(f"{where}: the credentials have expired ({code}); sign in again")
        if code in _OTHER_REGION or _status(error) == 301:
            return UsageError(
                f"{where}: the bucket is in another region ({code}); set --region or AWS_REGION"
            )
        if code == "RequestTimeTooSkewed":
            return UsageError(
                f"{where}: this machine's clock differs too much from the store's; set it"
            )
        if _status(error) in {401, 403}:
            return StoreError(
                "denied", f"{where}: no permission to list it ({code}); needs s3:ListBucket"
            )
        if code in _THROTTLED or _status(error) >= 500:
            return StoreError(
                "throttled", f"{where}: the store kept refusing ({code}); try again later"
            )
        return UsageError(
            f"{where}: {self._endpoint()} refused the listing ({code}); check the target"
        )

    def _endpoint(self) -> str:
        try:
            parts = urlsplit(self._client_.meta.endpoint_url)
            return parts.hostname + (f":{parts.port}" if parts.port else "")
        except Exception:  # no client yet, or an endpoint that is no URL
            return "the endpoint"

    # ------------------------------------------------------------ listing

    def list(self) -> Iterator[ObjectInfo]:
        if self._single:
            for item in self._items(self._prefix, single=True):
                yield _info(self._prefix.rpartition("/")[2], item)
            return
        start = len(self._prefix)
        for item in self._items(self._prefix):
            yield _info(item["Key"][start:], item)

    def _items(self, prefix: str, single: bool = False) -> Iterator[dict[str, Any]]:
        count = 0
        try:
            if single:
                found = self._client_.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
                yield from (item for item in found.get("Contents", ()) if item["Key"] == prefix)
                return
            pages = self._client_.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    if not item["Key"].startswith(prefix):
                        raise StoreError(
                            "listing", f"{self._shown}: the store listed keys of elsewhere"
                        )
                    yield item
                    count += 1
        except (sdk.ClientError, sdk.BotoCoreError, ResponseParserError, KeyError) as error:
            what = _code(error) if isinstance(error, sdk.ClientError) else type(error).__name__
            raise StoreError(
                "listing", f"{self._shown}: the listing broke off after {count} objects ({what})"
            ) from None

    # ------------------------------------------------------------ reading

    def open(self, info: ObjectInfo) -> BinaryIO:
        raw = _S3Raw(self._client_, self._bucket, self._full(info.key), info)
        if info.size > WHOLE_BYTES:
            raw.start()
            return buffered(raw)
        with raw:
            raw.start()
            data = bytearray(info.size)
            view = memoryview(data)
            filled = 0
            while filled < info.size:
                filled += raw.readinto(view[filled:])
            raw.finish()
            return io.BytesIO(data)


class _S3Raw(ObjectRaw):
    """One object's bytes: a streaming body from the start, then windows where it is read at random."""

    def __init__(self, client: Any, bucket: str, key: str, info: ObjectInfo) -> None:
        super().__init__(info.size)
        self._client = client
        self._request = {"Bucket": bucket, "Key": key}
        if info.version:
            self._request["IfMatch"] = f'"{info.version}"'
        self._body: Any = None
        self._body_at = 0  # position of the body's next byte
        self._body_end = 0
        self._window = 0  # bytes asked for last; 0: the whole object

    def start(self) -> None:
        """The first request, so that an object that is gone, changed or denied says so when opened."""
        self._ask(0)

    def finish(self) -> None:
        """Read the end of the body: only there does the SDK compare the checksum."""
        if self._body is not None and self._window == 0:
            try:
                self._body.read(1)
            except sdk.FlexibleChecksumError:
                raise self._integrity() from None
            except _BROKEN_BODY:
                pass  # all bytes are here

    def fetch(self, position: int, count: int) -> bytes:
        failures = 0
        while True:
            try:
                if self._body is None or not self._reach(position):
                    self._ask(position)
                    if not self._reach(position):
                        raise StoreError(
                            "truncated", "the store did not send the bytes it was asked for"
                        )
                data: bytes = self._body.read(min(count, self._body_end - position))
                if data:
                    self._body_at += len(data)
                    if self._body_at == self._size:
                        self.finish()
                    return data
            except sdk.FlexibleChecksumError:
                raise self._integrity() from None
            except _BROKEN_BODY:
                pass
            self._drop()
            failures += 1
            if failures == BODY_ATTEMPTS:
                detail = f"the connection broke {failures} times at byte {position} of {self._size}"
                raise StoreError("truncated", detail)
            time.sleep(BODY_BACKOFF_SECONDS * 2 ** (failures - 1))

    def _reach(self, position: int) -> bool:
        """Read on to a position a little ahead of the body; False if it is not that near."""
        if (
            not self._body_at <= position < self._body_end
            or position - self._body_at > READ_OVER_BYTES
        ):
            return False
        while self._body_at < position:
            skipped = len(self._body.read(min(position - self._body_at, 256 << 10)))
            if not skipped:
                raise sdk.IncompleteReadError(actual_bytes=self._body_at, expected_bytes=position)
            self._body_at += skipped
        return True

    def _ask(self, position: int) -> None:
        follows = self._body is not None and position == self._body_end
        whole = position == 0 and self._body is None and self._window == 0
        self._drop()
        request = dict(self._request)
        end = self._size
        if not whole:
            self._window = (
                min(2 * self._window, LAST_WINDOW_BYTES)
                if follows and self._window
                else FIRST_WINDOW_BYTES
            )
            end = min(position + self._window, self._size)
            request["Range"] = f"bytes={position}-{end - 1}"
        try:
            answer = self._client.get_object(**request)
        except sdk.ClientError as error:
            raise StoreError(*_open_problem(error)) from None
        except (sdk.HTTPClientError, sdk.ConnectionError) as error:
            raise StoreError(
                "timeout", f"the store did not answer ({type(error).__name__})"
            ) from None
        except sdk.BotoCoreError as error:
            raise StoreError("denied", f"the AWS SDK gave up ({type(error).__name__})") from None
        self._body = answer["Body"]
        self._body_at = position
        self._body_end = end
        sent = answer.get("ContentLength", end - position)
        if sent != end - position:
            self._drop()
            reason: Reason = "truncated" if sent < end - position else "changed"
            raise StoreError(
                reason, f"the store sent {sent} bytes where {end - position} were listed"
            )

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def _integrity(self) -> StoreError:
        self._drop()
        self.failure = StoreError(
            "integrity", "the bytes do not match the checksum that the store keeps"
        )
        return self.failure

    def close(self) -> None:
        self._drop()
        super().close()


def _info(key: str, item: dict[str, Any]) -> ObjectInfo:
    tier = item.get("StorageClass", "")
    problem: tuple[Reason, str] | None = None
    if tier in _NEEDS_RESTORE and "RestoreExpiryDate" not in item.get("RestoreStatus", {}):
        problem = ("denied", f"archived in storage class {tier}; must be restored first")
    version = str(item.get("ETag", "")).strip('"')
    mtime = item.get("LastModified")
    if mtime is not None:
        mtime = mtime.astimezone(UTC)
    return ObjectInfo(key, int(item.get("Size", 0)), version, mtime, problem)


def _keys(page: dict[str, Any]) -> list[str]:
    return [item["Key"] for item in page.get("Contents", ())]


def _code(error: sdk.ClientError) -> str:
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else f"HTTP {_status(error)}"


def _status(error: sdk.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _open_problem(error: sdk.ClientError) -> tuple[Reason, str]:
    code, status = _code(error), _status(error)
    if code == "InvalidObjectState":
        return "denied", "archived; must be restored first"
    if code in _EXPIRED:
        return "denied", f"the credentials have expired ({code}); sign in again"
    if status == 412 or code == "InvalidRange":
        return "changed", "changed after it was listed"
    if status == 404:
        return "vanished", "listed, but no longer there"
    if code in _THROTTLED or status >= 500:
        return "throttled", f"the store kept refusing ({code})"
    return "denied", f"the store refused it ({code})"

"""S3, and whatever speaks its protocol."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import botocore.config
import botocore.session
from botocore import UNSIGNED
from botocore import exceptions as sdk

from scanner.errors import ScannerError, StoreError, UsageError
from scanner.model import Location, ObjectInfo, Reason, StoreSpec
from scanner.stores.connection import Connection
from scanner.stores.s3_body import VERSION_MARK, S3Body
from scanner.stores.s3_errors import expired, is_busy, open_problem, short, start_error, status
from scanner.stores.stream import buffered

CONNECT_SECONDS = 5
READ_SECONDS = 60
START_ATTEMPTS = 2  # of the first request: a wrong endpoint is reported within seconds
ATTEMPTS = 8  # of every later request, with the SDK's own backoff and jitter (up to 20 s each)
CONNECTIONS = 32  # kept open for the next request, whichever thread asks
WHOLE_BYTES = 8 << 20  # objects up to this size are fetched with one GET and held in memory

_VERSION = "?versionId="  # between key and version id of a version that is not the current one
_NEEDS_RESTORE = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class S3Store:
    """Objects of one bucket, all or below a prefix; keys are relative to the target, byte-exact.

    `s3://bucket/a/b` means the objects below `a/b/` or, where there are none, the one object `a/b`.
    The only operations used are ListObjectsV2 (ListObjectVersions for `all_versions`), GetObject
    and HeadObject. All methods may be called from several threads at once.
    """

    def __init__(self, spec: StoreSpec, attempts: int | None = None) -> None:
        """`attempts` of each request: by default what the SDK's settings say, else ATTEMPTS."""
        self.spec = spec
        self._bucket, self._prefix = bucket_and_prefix(spec.url)
        self._single = False
        endpoint = "the endpoint"
        try:
            session = new_session(spec)
            self._attempts = attempts or session.get_config_variable("max_attempts") or ATTEMPTS
            first = new_client(session, spec, START_ATTEMPTS)
            self._clients = [new_client(session, spec, self._attempts)]
            weakref.finalize(self, _close, self._clients)
            endpoint = endpoint_host(first)
            try:
                self._find_out(first)
            except sdk.ClientError as error:
                if not is_busy(error):
                    raise
                self._find_out(self._clients[0])  # with patience
            finally:
                first.close()
        except Exception as error:
            raise start_error(error, f"s3://{self._bucket}", endpoint) from None
        # Clients of before a renewal stay open for the bodies that come through them.
        self._connection = Connection(self._clients[0], self._connect, expired)

    def _connect(self) -> Any:
        client = new_client(new_session(self.spec), self.spec, self._attempts)
        self._clients.append(client)
        return client

    def _find_out(self, client: Any) -> None:
        """One request, or two: may we list it, and is the target one object or many?"""
        prefix = self._prefix
        if not prefix or prefix.endswith("/"):
            self._first_key(client, prefix)
        elif (
            self._first_key(client, prefix + "/") is not None
            or self._first_key(client, prefix) != prefix
        ):
            self._prefix = prefix + "/"
        else:  # keys come in byte order: a key is listed before all that begin with it
            self._single = True

    def _first_key(self, client: Any, prefix: str) -> str | None:
        if self.spec.all_versions:
            page = client.list_object_versions(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        else:
            page = client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        names = ("Contents", "Versions", "DeleteMarkers")
        return next((item["Key"] for name in names for item in page.get(name, ())), None)

    @property
    def prefix(self) -> str:
        """What the keys in the bucket begin with: "", "…/", or the one object's key."""
        return self._prefix

    @property
    def single(self) -> bool:
        """Whether the target is one object."""
        return self._single

    def location(self, key: str) -> Location:
        return Location(f"s3://{self._bucket}/{self._full_key(key)}")

    def _full_key(self, key: str) -> str:
        if self._single:  # the key of another version than the current one ends in its id
            return self._prefix + key[len(self._prefix.rpartition("/")[2]) :]
        return self._prefix + key

    def _named(self, info: ObjectInfo) -> dict[str, str]:
        """The parameters that name an object, or one version of it, in a request."""
        key = self._full_key(info.key)
        if not info.version_id:
            return {"Bucket": self._bucket, "Key": key}
        key = key.removesuffix(_VERSION + info.version_id)
        return {"Bucket": self._bucket, "Key": key, "VersionId": info.version_id}

    # ------------------------------------------------------------ listing

    def list(self) -> Iterator[ObjectInfo]:
        count = 0
        cut = self._prefix.rfind("/") + 1 if self._single else len(self._prefix)
        try:
            for item in self._listed():
                if not item["Key"].startswith(self._prefix):
                    raise StoreError("listing", "the store listed keys outside the target")
                if self._single and item["Key"] != self._prefix:
                    return  # deleted since the start
                yield _listed_info(item["Key"][cut:], item)
                count += 1
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(
                "listing", f"the listing broke off after {count} objects ({short(error)})"
            ) from None

    def _listed(self) -> Iterator[dict[str, Any]]:
        """The rows of all pages; a page that fails is asked for again from where it begins."""
        request: dict[str, Any] = {
            "Bucket": self._bucket,
            "Prefix": self._prefix,
            "OptionalObjectAttributes": ["RestoreStatus"],
        }
        if self._single and not self.spec.all_versions:
            request["MaxKeys"] = 1
        while True:
            if self.spec.all_versions:
                page = self._call("list_object_versions", request)
                yield from page.get("Versions", ())
                names = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
            else:
                page = self._call("list_objects_v2", request)
                yield from page.get("Contents", ())
                names = {"ContinuationToken": "NextContinuationToken"}
            if not page.get("IsTruncated"):
                return
            onward = {ours: page[theirs] for ours, theirs in names.items() if page.get(theirs)}
            if not onward or onward == {name: request.get(name) for name in onward}:
                raise StoreError("listing", "the store does not say how its listing goes on")
            for name in names:
                request.pop(name, None)
            request |= onward

    # ------------------------------------------------------------ reading

    def open(self, info: ObjectInfo) -> BinaryIO:
        body = S3Body(self._connection, self._named(info), info)
        if info.size > WHOLE_BYTES:
            return buffered(body)
        with body:
            return io.BytesIO(body.all())

    def renewed(self, info: ObjectInfo) -> ObjectInfo | None:
        try:
            found = self._head(self._named(info))
        except StoreError:
            raise
        except Exception as error:
            reason, detail = open_problem(error)
            gone = isinstance(error, sdk.ClientError) and status(error) == 405  # a delete marker
            if gone or reason == "vanished":
                return None
            raise StoreError(reason, detail) from None
        return _info(info.key, found, found.get("ContentLength", 0), info.version_id)

    def _head(self, named: Mapping[str, str]) -> dict[str, Any]:
        try:
            return self._call("head_object", named)
        except sdk.ClientError as error:
            if status(error) not in {400, 401, 403}:
                raise
        # Answers to HEAD have no body: whether it was the credentials, a listing tells.
        self._connection.ask(lambda s3: self._first_key(s3, self._prefix))
        return self._call("head_object", named)

    def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._connection.ask(lambda s3: getattr(s3, operation)(**request))
        return answer

    def sign_in_again(self) -> None:
        self._connection.sign_in_again()
        try:
            self._connection.ask(lambda s3: self._first_key(s3, self._prefix))
        except ScannerError:
            raise
        except Exception as error:
            raise start_error(error, f"s3://{self._bucket}", "the endpoint") from None


# ---------------------------------------------------------------- clients


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """Raises UsageError."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    if "@" in bucket:
        raise UsageError(
            "s3://: credentials do not belong in the target; use --profile or the environment"
        )
    if not bucket:
        raise UsageError("s3://: no bucket named; write s3://bucket or s3://bucket/prefix")
    return bucket, prefix


def new_session(spec: StoreSpec) -> Any:
    """Credentials as files, environment and sign-in caches have them now."""
    return botocore.session.Session(profile=spec.profile)


def new_client(session: Any, spec: StoreSpec, attempts: int) -> Any:
    """Not for several threads at once; the client is."""
    config: dict[str, object] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "max_pool_connections": CONNECTIONS,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
    }
    if spec.anonymous:
        config["signature_version"] = UNSIGNED
    # Given an endpoint, here or in the environment, botocore puts the bucket into the path.
    return session.create_client(
        "s3",
        region_name=spec.region,
        endpoint_url=spec.endpoint_url,
        config=botocore.config.Config(**config),
    )


def endpoint_host(client: Any) -> str:
    """host:port, as it may be printed."""
    return str(urlsplit(client.meta.endpoint_url).netloc).rpartition("@")[2]


def _close(clients: list[Any]) -> None:
    for client in clients:
        with suppress(Exception):
            client.close()


# ---------------------------------------------------------------- rows


def _listed_info(key: str, item: dict[str, Any]) -> ObjectInfo:
    """Of one version among all: the current one keeps its key, unless that could be another's."""
    version_id = str(item.get("VersionId", ""))
    if item.get("IsLatest", True) and not (version_id and _VERSION in key):
        version_id = ""
    if version_id:
        key += _VERSION + version_id
    return _info(key, item, item.get("Size", 0), version_id)


def _info(key: str, item: Mapping[str, Any], size: int, version_id: str) -> ObjectInfo:
    """From a row of a listing or the answer to HeadObject."""
    mtime = item.get("LastModified")
    version = str(item.get("ETag", "")).strip('"')
    if version_id:
        version += VERSION_MARK + version_id
    return ObjectInfo(
        key,
        int(size),
        version,
        mtime.astimezone(UTC) if mtime is not None else None,
        archived(item),
        version_id=version_id,
    )


def archived(item: Mapping[str, Any]) -> tuple[Reason, str] | None:
    """The problem of an object that must be restored before it can be read."""
    tier = item.get("StorageClass", "")
    restored = "RestoreExpiryDate" in item.get("RestoreStatus", {})
    if tier not in _NEEDS_RESTORE or restored or "expiry-date" in item.get("Restore", ""):
        return None
    return "denied", f"archived in storage class {tier}; must be restored first"

"""Any other place that an installed fsspec driver can list: Google Cloud Storage, Azure, FTP, SFTP, HTTP, …"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

import fsspec
from fsspec.registry import known_implementations

from scanner.errors import MissingExtra, ScannerError, StoreError, UsageError
from scanner.model import Location, ObjectInfo, Reason, StoreSpec
from scanner.stores import public_url
from scanner.stores.stream import ObjectRaw, buffered

_EXTRAS = {
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
}
# Drivers that wrap another store, make one up, or run code of another kind: no places where data is kept.
_NOT_PLACES = frozenset(
    {
        "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir", "filecache",
        "generic", "libarchive", "memory", "pyscript", "reference", "simplecache", "tar", "zip",
    }
)  # fmt: skip
_VERSION_FIELDS = (
    "etag",
    "ETag",
    "generation",
    "md5Hash",
    "content_md5",
    "Content-MD5",
    "version_id",
    "checksum",
)
_MTIME_FIELDS = (
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "modify",
    "modified",
    "created",
)
_HTTP = frozenset({"http", "https"})


class RemoteStore:
    """Objects below an fsspec URL, listed folder by folder; keys are relative to the target."""

    def __init__(self, spec: StoreSpec, scheme: str) -> None:
        self.spec = spec
        self._scheme = scheme
        self._shown = public_url(spec.url)
        _check_driver(scheme)
        try:
            self._fs, self._top = fsspec.core.url_to_fs(spec.url, **_options(spec, scheme))
            self._single = not self._is_folder()
        except Exception as error:
            raise _start_error(error, self._shown) from None
        if not self._single:
            self._top = self._top.rstrip("/")

    def location(self, key: str) -> Location:
        shown = self._shown.rstrip("/")
        return Location(shown if self._single else f"{shown}/{key}")

    def _is_folder(self) -> bool:
        if (
            self._scheme in _HTTP
        ):  # a web server says "file" of everything; its folders end in a slash
            if self.spec.url.endswith("/"):
                self._fs.ls(self._top, detail=True)
                return True
            self._fs.info(self._top)
            return False
        try:
            return bool(self._fs.info(self._top)["type"] == "directory")
        except FileNotFoundError:
            # A bucket, or a prefix that some drivers know only by what is below it.
            if self._fs.ls(self._top, detail=True):
                return True
            raise

    # ------------------------------------------------------------ listing

    def list(self) -> Iterator[ObjectInfo]:
        if self._single:
            name = self._shown.rstrip("/").rpartition("/")[2]
            try:
                yield _info(name, self._fs.info(self._top))
            except Exception as error:
                raise StoreError("listing", f"{self._shown}: {type(error).__name__}") from None
            return
        waiting: list[tuple[str, str]] = [
            (self._top, "")
        ]  # (driver's name, key prefix), deepest last
        seen = {self._top}
        while waiting:
            folder, prefix = waiting.pop()
            try:
                entries = self._fs.ls(
                    folder + "/" if self._scheme in _HTTP else folder, detail=True
                )
                if not entries:
                    self._confirm_empty(folder)
            except (PermissionError, FileNotFoundError) as error:
                yield ObjectInfo(prefix or "./", 0, problem=_problem(error))
                continue
            except Exception as error:
                raise StoreError(
                    "listing", f"{self._shown}: the listing broke off ({type(error).__name__})"
                ) from None
            folders = []
            for entry in sorted(entries, key=_name):
                name, is_folder = _name(entry), entry.get("type") == "directory"
                if name.rstrip("/") == folder and (is_folder or not entry.get("size")):
                    continue  # the folder itself, or its zero-byte marker
                if self._scheme in _HTTP and "?" in name:
                    # Links to other views of the same page (column sorting); queries may hold secrets.
                    if name.partition("?")[0].rstrip("/") != folder:
                        key = prefix + name.partition("?")[0][len(folder) + 1 :]
                        yield ObjectInfo(
                            key, 0, problem=("unsupported", "a link with a query string")
                        )
                    continue
                if not name.startswith(folder + "/"):
                    raise StoreError(
                        "listing", f"{self._shown}: the driver listed names of elsewhere"
                    )
                key = prefix + name[len(folder) + 1 :]
                if not is_folder:
                    yield self._entry_info(key, entry)
                elif name.rstrip("/") in seen or name.endswith("//"):
                    detail = (
                        "the driver cannot tell this folder from another; use a folder without '//'"
                    )
                    yield ObjectInfo(key.rstrip("/") + "/", 0, problem=("listing", detail))
                else:
                    seen.add(name.rstrip("/"))
                    folders.append((name.rstrip("/"), key.rstrip("/") + "/"))
            waiting.extend(reversed(folders))

    def _entry_info(self, key: str, entry: dict[str, Any]) -> ObjectInfo:
        if entry.get("type") not in {"file", None}:
            return ObjectInfo(key, 0, problem=("unsupported", "not a regular file"))
        if entry.get("size") is None:  # web servers list names only
            try:
                entry = self._fs.info(entry["name"])
            except Exception as error:
                return ObjectInfo(key, 0, problem=_problem(error))
        return _info(key, entry)

    def _confirm_empty(self, folder: str) -> None:
        """fsspec's FTP driver lists a folder that it may not enter as empty; ask again."""
        if self._scheme == "ftp":
            from ftplib import error_perm

            try:
                self._fs.ftp.cwd(folder or "/")
                self._fs.ftp.cwd("/")
            except error_perm:
                raise PermissionError from None

    # ------------------------------------------------------------ reading

    def open(self, info: ObjectInfo) -> BinaryIO:
        name = self._top if self._single else f"{self._top}/{info.key}"
        try:
            now = _info(info.key, self._fs.info(name))
            if (now.version, now.size) != (info.version, info.size):
                raise StoreError("changed", "changed after it was listed")
            stream = self._fs.open(name, "rb")
        except ScannerError:
            raise
        except Exception as error:
            raise StoreError(*_problem(error)) from None
        if not stream.seekable():
            stream.close()
            raise StoreError("unsupported", "the server cannot send parts of it")
        return buffered(_RemoteRaw(stream, info.size))


class _RemoteRaw(ObjectRaw):
    """An fsspec file whose errors are ours."""

    def __init__(self, stream: Any, size: int) -> None:
        super().__init__(size)
        self._stream = stream

    def fetch(self, position: int, count: int) -> bytes:
        try:
            if self._stream.tell() != position:
                self._stream.seek(position)
            data: bytes = self._stream.read(count)
        except Exception as error:
            raise StoreError(*_problem(error)) from None
        if not data:
            raise StoreError("truncated", f"ends at byte {position} of {self._size}")
        return data

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _check_driver(scheme: str) -> None:
    if scheme in _NOT_PLACES:
        raise UsageError(
            f"{scheme}:// is not a place where data is kept; give the URL of the store itself"
        )
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        if scheme in _EXTRAS:
            raise MissingExtra(f"{scheme}://", _EXTRAS[scheme]) from None
        advice = str(known_implementations.get(scheme, {}).get("err", "see fsspec's documentation"))
        raise UsageError(f"{scheme}:// needs a driver that is not installed: {advice}") from None
    except ValueError:
        known = sorted({*known_implementations, "file", "s3"} - _NOT_PLACES)
        raise UsageError(
            f"{scheme}:// is unknown; known are: {', '.join(f'{name}://' for name in known)}"
        ) from None


def _options(spec: StoreSpec, scheme: str) -> dict[str, object]:
    # No cache of listings: it would hold every name, and show a worker what is no longer there.
    options: dict[str, object] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in {"gs", "gcs"}:
        if spec.anonymous:
            options["token"] = "anon"
        if spec.endpoint_url:
            options["endpoint_url"] = spec.endpoint_url
    elif scheme in _EXTRAS and spec.anonymous:
        options["anon"] = True
    return options


def _start_error(error: Exception, shown: str) -> ScannerError:
    if isinstance(error, ScannerError):
        return error
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return UsageError(f"{shown}: nothing there; check the target")
    if isinstance(error, PermissionError):
        return StoreError("denied", f"{shown}: no permission to list it")
    return UsageError(
        f"{shown}: cannot be reached ({type(error).__name__}); check the address and the credentials"
    )


def _problem(error: Exception) -> tuple[Reason, str]:
    status = getattr(error, "status", getattr(error, "code", None))
    if isinstance(error, FileNotFoundError) or status == 404:
        return "vanished", "listed, but no longer there"
    if isinstance(error, PermissionError) or status in {401, 403}:
        return "denied", "no permission to read it"
    if status in {429, 503}:
        return "throttled", "the store kept refusing"
    if isinstance(error, (TimeoutError, ConnectionError, EOFError)):
        return "timeout", f"the connection failed ({type(error).__name__})"
    return "denied", f"the driver gave up ({type(error).__name__})"


def _info(key: str, entry: dict[str, Any]) -> ObjectInfo:
    size = entry.get("size")
    mtime = next((entry[name] for name in _MTIME_FIELDS if entry.get(name)), None)
    if size is None:
        return ObjectInfo(key, 0, problem=("unsupported", "the server does not tell its size"))
    version = next((str(entry[name]).strip('"') for name in _VERSION_FIELDS if entry.get(name)), "")
    if not version and mtime is not None:
        version = f"{mtime}-{size}"
    return ObjectInfo(key, int(size), version, _moment(mtime))


def _moment(value: object) -> datetime | None:
    """Drivers give datetimes, ISO 8601, seconds, or FTP's YYYYMMDDHHMMSS; None if it is none of these."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, (int, float)):
            moment = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str) and value[:14].isdigit() and len(value) >= 14:
            moment = datetime.strptime(value[:14], "%Y%m%d%H%M%S")
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"])

"""Any other place that an installed fsspec driver can list: Google, Azure, FTP, SFTP, HTTP, …"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.registry import known_implementations

from scanner.errors import CredentialsExpired, MissingExtra, ScannerError, StoreError, UsageError
from scanner.model import WEAK_VERSION, Location, ObjectInfo, Reason, StoreSpec
from scanner.stores import public_url
from scanner.stores.connection import Connection
from scanner.stores.stream import ObjectRaw, buffered

_EXTRAS = {
    "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http",
    "az": "azure", "abfs": "azure", "abfss": "azure", "adl": "azure",
}  # fmt: skip
# Drivers that wrap another store or make one up: no places where data is kept.
_NOT_PLACES = frozenset(
    {
        "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir",
        "filecache", "generic", "libarchive", "memory", "pyscript", "reference", "simplecache",
        "tar", "zip",
    }
)  # fmt: skip
# What drivers call the same things.
_VERSIONS = ("etag", "ETag", "generation", "md5Hash", "content_md5", "version_id", "checksum")
_MTIMES = ("mtime", "LastModified", "last_modified", "updated", "modify", "modified", "created")
_HTTP = frozenset({"http", "https"})
_CLOUDS = frozenset(_EXTRAS) - _HTTP  # they have credentials, which may expire

T = TypeVar("T")


class RemoteStore:
    """Objects below an fsspec URL, listed folder by folder; keys are relative to the target.

    Drivers that are not asynchronous within (FTP) have one line to the server: they get one request
    at a time, whichever thread asks.
    """

    def __init__(self, spec: StoreSpec, scheme: str) -> None:
        self.spec = spec
        self._scheme = scheme
        self._shown = public_url(spec.url).rstrip("/")
        _check_driver(scheme)
        try:
            fs, self._top = self._made()
            self._single = not self._is_folder(fs)
        except Exception as error:
            raise _start_error(error, self._shown) from None
        if not self._single:
            self._top = self._top.rstrip("/")
        self._connection: Connection[Any] = Connection(
            fs, lambda: self._made()[0], _expired if scheme in _CLOUDS else lambda error: None
        )
        self._turn = nullcontext() if getattr(fs, "async_impl", False) else threading.RLock()

    def _made(self) -> tuple[Any, str]:
        fs, top = fsspec.core.url_to_fs(self.spec.url, **_options(self.spec, self._scheme))
        return fs, str(top)

    def ask(self, request: Callable[[Any], T]) -> T:
        """What a request to the driver returns or raises. Raises CredentialsExpired."""
        with self._turn:
            return self._connection.ask(request)

    def location(self, key: str) -> Location:
        return Location(self._shown if self._single else f"{self._shown}/{key}")

    def _is_folder(self, fs: Any) -> bool:
        if self._scheme in _HTTP:  # "file" is said of everything; folders end in a slash
            if self.spec.url.endswith("/"):
                fs.ls(self._top, detail=True)
                return True
            fs.info(self._top)
            return False
        try:
            return bool(fs.info(self._top)["type"] == "directory")
        except FileNotFoundError:
            if fs.ls(self._top, detail=True):  # a prefix known only by what is below it
                return True
            raise

    # ------------------------------------------------------------ listing

    def list(self) -> Iterator[ObjectInfo]:
        if self._single:
            try:
                entry = self.ask(lambda fs: fs.info(self._top))
            except CredentialsExpired:
                raise
            except Exception as error:
                detail = f"the object is gone ({type(error).__name__})"
                raise StoreError("listing", detail) from None
            yield _info(self._shown.rpartition("/")[2], entry)
            return
        waiting = [(self._top, "")]  # folders to list: driver's name, key prefix; next one last
        seen = {self._top}
        while waiting:
            folder, prefix = waiting.pop()
            try:
                entries = self._entries(folder)
            except CredentialsExpired:
                raise
            except Exception as error:
                problem = _known_problem(error)
                if problem is None:
                    detail = f"the listing broke off ({type(error).__name__})"
                    raise StoreError("listing", detail) from None
                yield ObjectInfo(prefix, 0, problem=problem)
                continue
            inner = []
            for entry in entries:
                name, is_folder = str(entry["name"]), entry.get("type") == "directory"
                if name == folder or (name == folder + "/" and not entry.get("size")):
                    if is_folder and name != folder:
                        # Drivers cut trailing slashes: what is in "a//" cannot be listed.
                        detail = "the driver cannot list names with '//'"
                        yield ObjectInfo(prefix + "/", 0, problem=("listing", detail))
                    continue  # the folder itself, or its zero-byte marker
                if not name.startswith(folder + "/"):
                    raise StoreError("listing", "the driver listed names outside the target")
                key = prefix + name[len(folder) + 1 :]
                if self._scheme in _HTTP and "?" in key:
                    key = key.partition("?")[0]  # queries may hold secrets
                    if key != prefix:  # else another view of the page itself, such as sorted
                        detail = "a link with a query string"
                        yield ObjectInfo(key, 0, problem=("unsupported", detail))
                elif not is_folder:
                    yield self._entry_info(key, entry)
                elif name.rstrip("/") not in seen:
                    seen.add(name.rstrip("/"))
                    inner.append((name.rstrip("/"), key.rstrip("/") + "/"))
            waiting.extend(reversed(inner))

    def _entries(self, folder: str) -> Sequence[dict[str, Any]]:
        """The entries of one folder, sorted. Raises whatever the driver raises."""
        found: list[dict[str, Any]] = self.ask(lambda fs: self._listed(fs, folder))
        return sorted(found, key=lambda entry: str(entry["name"]))

    def _listed(self, fs: Any, folder: str) -> Any:
        found = fs.ls(folder + "/" if self._scheme in _HTTP else folder, detail=True)
        if not found and self._scheme == "ftp":
            # fsspec lists a folder that it may not enter as empty; entering it tells.
            from ftplib import error_perm

            try:
                fs.ftp.cwd(folder or "/")
                fs.ftp.cwd("/")
            except error_perm:
                raise PermissionError from None
        return found

    def _entry_info(self, key: str, entry: dict[str, Any]) -> ObjectInfo:
        if entry.get("type") not in {"file", None}:
            return ObjectInfo(key, 0, problem=("unsupported", "not a regular file"))
        if entry.get("size") is None:  # web servers list names only
            try:
                entry = self.ask(lambda fs: fs.info(entry["name"]))
            except CredentialsExpired:
                raise
            except Exception as error:
                return ObjectInfo(key, 0, problem=_problem(error))
        return _info(key, entry)

    # ------------------------------------------------------------ reading

    def open(self, info: ObjectInfo) -> BinaryIO:
        name = self._name(info.key)

        def opened(fs: Any) -> tuple[Any, Any]:
            now = _info(info.key, fs.info(name))
            if (now.version, now.size) != (info.version, info.size):
                raise StoreError("changed", "changed after it was listed")
            return fs, fs.open(name, "rb")

        try:
            fs, stream = self.ask(opened)
        except ScannerError:
            raise
        except Exception as error:
            raise StoreError(*_problem(error)) from None
        if not stream.seekable():
            stream.close()
            raise StoreError("unsupported", "the server cannot send parts of a file")
        return buffered(_RemoteFile(self, fs, stream, opened, info.size))

    def renewed(self, info: ObjectInfo) -> ObjectInfo | None:
        try:
            entry = self.ask(lambda fs: fs.info(self._name(info.key)))
        except ScannerError:
            raise
        except Exception as error:
            reason, detail = _problem(error)
            if reason == "vanished":
                return None
            raise StoreError(reason, detail) from None
        return self._entry_info(info.key, entry)

    def sign_in_again(self) -> None:
        self._connection.sign_in_again()
        try:
            self.ask(lambda fs: fs.info(self._top))
        except ScannerError:
            raise
        except Exception as error:
            raise _start_error(error, self._shown) from None

    def _name(self, key: str) -> str:
        return self._top if self._single else f"{self._top}/{key}"


class _RemoteFile(ObjectRaw):
    """An fsspec file whose errors are ours, opened anew where the driver had to be."""

    def __init__(
        self,
        store: RemoteStore,
        fs: Any,
        stream: Any,
        opened: Callable[[Any], tuple[Any, Any]],
        size: int,
    ) -> None:
        super().__init__(size)
        self._store = store
        self._fs = fs
        self._stream = stream
        self._opened = opened

    def fetch(self, position: int, count: int) -> bytes:
        try:
            data = self._store.ask(lambda fs: self._read(fs, position, count))
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(*_problem(error)) from None
        if not data:
            raise StoreError("truncated", f"ends at byte {position} of {self._size}")
        return data

    def _read(self, fs: Any, position: int, count: int) -> bytes:
        if fs is not self._fs:
            self._stream.close()
            self._fs, self._stream = self._opened(fs)
        if self._stream.tell() != position:
            self._stream.seek(position)
        data: bytes = self._stream.read(count)
        return data

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _check_driver(scheme: str) -> None:
    if scheme in _NOT_PLACES:
        raise UsageError(f"{scheme}:// is no place where data is kept; give the store's own URL")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        if scheme in _EXTRAS:
            raise MissingExtra(f"{scheme}://", _EXTRAS[scheme]) from None
        advice = str(known_implementations.get(scheme, {}).get("err", "see fsspec's pages"))
        raise UsageError(f"{scheme}:// needs a driver that is not installed: {advice}") from None
    except ValueError:
        known = sorted({*known_implementations, "file", "s3"} - _NOT_PLACES)
        known_text = ", ".join(known)
        raise UsageError(f"{scheme}:// is not a known kind of store; known: {known_text}") from None


def _options(spec: StoreSpec, scheme: str) -> dict[str, object]:
    # No cached listings: they would hold every name, and show a worker what is no longer there.
    options: dict[str, object] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in {"gs", "gcs"}:
        if spec.anonymous:
            options["token"] = "anon"
        if spec.endpoint_url:
            options["endpoint_url"] = spec.endpoint_url
    elif scheme in _HTTP and importlib.util.find_spec("aiohttp"):  # which fsspec's driver uses
        options["client_kwargs"] = {"trace_configs": [_no_redirects()]}
    elif scheme in _CLOUDS and spec.anonymous:
        options["anon"] = True
    return options


def _no_redirects() -> Any:
    """A server may not send us on to another one: that could be anything this machine reaches."""
    import aiohttp

    async def refuse(session: Any, context: Any, params: Any) -> None:
        there = params.response.headers.get("Location", "")
        asked = params.url
        if asked.join(type(asked)(there)).origin() != asked.origin():
            raise StoreError("denied", "the server redirects to another one")

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(refuse)
    return tracing


def _start_error(error: Exception, shown: str) -> ScannerError:
    problem = _known_problem(error)
    if isinstance(error, ScannerError):
        return error
    if problem is not None and problem[0] == "vanished":
        return UsageError(f"{shown}: nothing there; check the target")
    if problem is not None and problem[0] == "denied":
        return StoreError("denied", f"{shown}: no permission to list it")
    return UsageError(
        f"{shown}: cannot be reached ({type(error).__name__}); check address and credentials"
    )


def _status(error: Exception) -> int | None:
    """The HTTP status of a failed request, by whatever name the driver gives it."""
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
            return int(value)
    return None


def _expired(error: Exception) -> str | None:
    """Of the clouds: 401, or a sign-in that could not be renewed; 403 is about the one object."""
    if _status(error) == 401:
        return "HTTP 401"
    name = type(error).__name__
    if name == "RefreshError" or (name == "ClientAuthenticationError" and _status(error) is None):
        return name
    return None


def _known_problem(error: Exception) -> tuple[Reason, str] | None:
    status = _status(error)
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) or status == 404:
        return "vanished", "listed, but no longer there"
    if isinstance(error, PermissionError) or status in {401, 403}:
        return "denied", "no permission to read it"
    return None


def _problem(error: Exception) -> tuple[Reason, str]:
    if (known := _known_problem(error)) is not None:
        return known
    if _status(error) in {429, 503}:
        return "throttled", "the store kept refusing"
    if isinstance(error, (TimeoutError, ConnectionError, EOFError)):
        return "timeout", f"the connection failed ({type(error).__name__})"
    return "denied", f"the driver gave up ({type(error).__name__})"


def _info(key: str, entry: dict[str, Any]) -> ObjectInfo:
    size = entry.get("size")
    if size is None:
        return ObjectInfo(key, 0, problem=("unsupported", "the server does not tell its size"))
    mtime = next((entry[name] for name in _MTIMES if entry.get(name)), None)
    version = next((str(entry[name]).strip('"') for name in _VERSIONS if entry.get(name)), "")
    if not version and mtime is not None:
        version = f"{WEAK_VERSION}{mtime}-{size}"
    return ObjectInfo(key, int(size), version, _moment(mtime))


def _moment(value: object) -> datetime | None:
    """Drivers give datetimes, ISO 8601, seconds, FTP's YYYYMMDDHHMMSS; None if none of these."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, (int, float)):
            moment = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str) and len(value) >= 14 and value[:14].isdigit():
            moment = datetime.strptime(value[:14] + "+0000", "%Y%m%d%H%M%S%z")
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value)
        else:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None

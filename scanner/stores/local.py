"""Folders and single files of this machine."""

from __future__ import annotations

import errno
import heapq
import io
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from scanner.errors import StoreError, UsageError
from scanner.model import Location, ObjectInfo, Reason, StoreSpec
from scanner.stores.stream import buffered

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: should a FIFO have taken the file's place, opening it must not wait for a writer.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_SORTED_RUN = 1 << 16  # names; of a bigger folder, sorted runs of so many are held compressed
_OPEN_FOLDERS = 32  # file descriptors held while walking; folders nested deeper are opened again


class LocalStore:
    """A folder or file; every path is opened component by component, so that no link leads out of the target."""

    def __init__(self, spec: StoreSpec) -> None:
        self.spec = spec
        self._target = _path(spec.url)
        try:
            found = os.stat(self._target)
            if stat.S_ISDIR(found.st_mode):
                os.close(os.open(self._target, _FOLDER))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"{self._target}: no such file or folder") from None
        except PermissionError:
            raise StoreError("denied", f"{self._target}: no permission to read it") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self._target}: cannot be opened ({_errno_name(error)})") from None
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{self._target}: neither a file nor a folder")
        self._is_file = stat.S_ISREG(found.st_mode)
        self._real = os.path.realpath(self._target)

    def location(self, key: str) -> Location:
        return Location(self._target if self._is_file else _join(self._target, key))

    # ------------------------------------------------------------ listing

    def list(self) -> Iterator[ObjectInfo]:
        if self._is_file:
            try:
                yield _info(os.path.basename(self._real_name()), os.stat(self._target))
            except OSError as error:
                raise StoreError("listing", f"{self._target}: {_errno_name(error)}") from None
            return
        yield from self._walk()

    def _walk(self) -> Iterator[ObjectInfo]:
        skipped = {os.path.realpath(folder) for folder in self.spec.skip}
        skipped_ids = {_identity(os.stat(folder)) for folder in skipped if os.path.isdir(folder)}
        entered: set[tuple[int, int]] = (
            set()
        )  # only needed, and only filled, when links are followed
        stack: list[_Folder] = []
        try:
            own = os.stat(self._target)
            if _identity(own) in skipped_ids or self._real in skipped:
                yield ObjectInfo("./", 0, excluded="own-output")
                return
            if self.spec.follow_symlinks:
                entered.add(_identity(own))
            try:
                top = _Folder("", os.open(self._target, _FOLDER))
                stack.append(top)
                top.read()
            except OSError as error:
                raise StoreError("listing", f"{self._target}: {_errno_name(error)}") from None
            if top.broken is not None:
                yield ObjectInfo("./", 0, problem=_listing_problem(top.broken))
            while stack:
                folder = stack[-1]
                name = next(folder.names, None)
                if name is None:
                    stack.pop().close()
                    continue
                key = folder.prefix + name
                try:
                    if folder.fd < 0:
                        folder.fd = self._descend(folder.prefix.split("/")[:-1])
                    found = os.lstat(name, dir_fd=folder.fd)
                except OSError as error:
                    yield ObjectInfo(key, 0, problem=_open_problem(error))
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield _info(key, found)
                    continue
                if stat.S_ISLNK(found.st_mode):
                    target = self._link(key, name, folder.fd)
                    if isinstance(target, ObjectInfo):
                        yield target
                        continue
                    found = target
                    if stat.S_ISREG(found.st_mode):
                        yield _info(key, found)
                        continue
                if not stat.S_ISDIR(found.st_mode):
                    yield ObjectInfo(
                        key, 0, mtime=_mtime(found), problem=("unsupported", "not a regular file")
                    )
                    continue
                identity = _identity(found)
                if identity in skipped_ids or _join(self._real, key) in skipped:
                    yield ObjectInfo(key + "/", 0, excluded="own-output")
                    continue
                if self.spec.follow_symlinks:
                    if identity in entered:  # reached under another name already, or a loop
                        yield ObjectInfo(key + "/", 0, excluded="symlink")
                        continue
                    entered.add(identity)
                inner = _Folder(key + "/")
                try:
                    inner.fd = os.open(name, _FOLDER | self._nofollow, dir_fd=folder.fd)
                    stack.append(inner)
                    inner.read()
                except OSError as error:
                    if stack[-1] is inner:
                        stack.pop().close()
                    yield ObjectInfo(key + "/", 0, problem=_open_problem(error))
                    continue
                if inner.broken is not None:
                    yield ObjectInfo(key + "/", 0, problem=_listing_problem(inner.broken))
                if len(stack) > _OPEN_FOLDERS:
                    folder.close()
        finally:
            for folder in stack:
                folder.close()

    def _link(self, key: str, name: str, folder: int) -> os.stat_result | ObjectInfo:
        """What a symbolic link leads to, if it is to be followed; else its row in the listing."""
        try:
            found = os.stat(name, dir_fd=folder)
        except FileNotFoundError:
            return ObjectInfo(key, 0, problem=("link", "a symbolic link that leads nowhere"))
        except OSError as error:
            if error.errno == errno.ELOOP:
                return ObjectInfo(key, 0, problem=("link", "a symbolic link in a loop of links"))
            return ObjectInfo(key, 0, problem=_open_problem(error))
        real = os.path.realpath(_join(self._real, key))
        if real == self._real or real.startswith(_join(self._real, "")):
            return ObjectInfo(key, 0, excluded="symlink")  # scanned under its own name
        if self.spec.follow_symlinks:
            return found
        detail = "a symbolic link that leads out of the target; use --follow-symlinks to look"
        return ObjectInfo(key, 0, problem=("link", detail))

    # ------------------------------------------------------------ reading

    def open(self, info: ObjectInfo) -> BinaryIO:
        fd = -1
        try:
            if self._is_file:
                fd = os.open(self._target, _FILE)
            else:
                *folders, name = info.key.split("/")
                folder = self._descend(folders)
                try:
                    fd = os.open(name, _FILE | self._nofollow, dir_fd=folder)
                finally:
                    os.close(folder)
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise StoreError("changed", "no longer the regular file that was listed")
            if info.version and _version(found) != info.version:
                raise StoreError("changed", "changed after it was listed")
            return buffered(_LocalRaw(fd, _version(found)))
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError):
                raise StoreError(*_open_problem(error)) from None
            if isinstance(error, ValueError):  # a NUL in the key: no listing of ours gave it
                raise StoreError("vanished", "no such file") from None
            raise

    def _descend(self, folders: list[str]) -> int:
        """A descriptor of a folder below the target, reached without crossing a link. Raises OSError."""
        fd = os.open(self._target, _FOLDER)
        for name in folders:
            outer = fd
            try:
                fd = os.open(name, _FOLDER | self._nofollow, dir_fd=outer)
            finally:
                os.close(outer)
        return fd

    @property
    def _nofollow(self) -> int:
        return 0 if self.spec.follow_symlinks else os.O_NOFOLLOW

    def _real_name(self) -> str:
        return self._target.rstrip("/")


class _LocalRaw(io.FileIO):
    """A file that is checked after each read to be still the version that was opened."""

    def __init__(self, fd: int, version: str) -> None:
        super().__init__(fd, "rb")
        self.failure: StoreError | None = None
        self._version = version

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            count = super().readinto(buffer)
        except OSError as error:
            raise self._fail(
                "truncated", f"the file system failed ({_errno_name(error)})"
            ) from None
        self._check()
        return count or 0

    def readall(self) -> bytes:
        try:
            data = super().readall()
        except OSError as error:
            raise self._fail(
                "truncated", f"the file system failed ({_errno_name(error)})"
            ) from None
        self._check()
        return data

    def _check(self) -> None:
        if _version(os.fstat(self.fileno())) != self._version:
            raise self._fail("changed", "changed while it was being read")

    def _fail(self, reason: Reason, detail: str) -> StoreError:
        self.failure = StoreError(reason, detail)
        return self.failure


@dataclass(slots=True)
class _Folder:
    """A folder being walked: its names in byte order, its descriptor (-1: closed for now)."""

    prefix: str  # key prefix of its entries: "" or "a/b/"
    fd: int = -1
    names: Iterator[str] = iter(())
    broken: OSError | None = None  # reading the names broke off

    def read(self) -> None:
        """Read all names, sorted. Of a huge folder, only compressed runs of them are held."""
        runs: list[bytes] = []
        names: list[bytes] = []
        with os.scandir(self.fd) as entries:
            try:
                for entry in entries:
                    names.append(os.fsencode(entry.name))
                    if len(names) == _SORTED_RUN:
                        names.sort()
                        runs.append(zlib.compress(b"\0".join(names), 1))
                        names.clear()
            except OSError as error:
                self.broken = error
        names.sort()
        merged = heapq.merge(names, *map(_unpacked, runs)) if runs else iter(names)
        self.names = map(os.fsdecode, merged)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _unpacked(run: bytes) -> Iterator[bytes]:
    unzip = zlib.decompressobj()
    rest = b""
    for start in range(0, len(run), 1024):
        *whole, rest = (rest + unzip.decompress(run[start : start + 1024])).split(b"\0")
        yield from whole
    yield rest


def _path(url: str) -> str:
    if not url:
        raise UsageError("the target is empty; give a folder, a file or a URL")
    if "://" not in url:
        return url
    parts = urlsplit(url)
    if parts.scheme.lower() not in {"file", "local"}:
        return url
    if parts.netloc not in {"", "localhost"}:
        raise UsageError(
            f"file://{parts.hostname}/…: only files of this machine; write file:///path"
        )
    return unquote(parts.path, errors="surrogateescape") or "/"


def _join(folder: str, key: str) -> str:
    return folder + key if folder.endswith("/") else f"{folder}/{key}"


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, _version(found), _mtime(found))


def _version(found: os.stat_result) -> str:
    return f"{found.st_ctime_ns}-{found.st_size}-{found.st_ino}"


def _mtime(found: os.stat_result) -> datetime | None:
    try:
        return datetime.fromtimestamp(found.st_mtime, UTC)
    except (
        ValueError,
        OverflowError,
        OSError,
    ):  # before year 1 or after 9999: file systems allow it
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _errno_name(error: Exception) -> str:
    code = getattr(error, "errno", None)
    return errno.errorcode.get(code, str(code)) if code else type(error).__name__


def _listing_problem(error: OSError) -> tuple[Reason, str]:
    return "listing", f"the folder could not be listed to its end ({_errno_name(error)})"


def _open_problem(error: OSError) -> tuple[Reason, str]:
    match error.errno:
        case errno.ENOENT | errno.ESTALE:
            return "vanished", "listed, but no longer there"
        case errno.EACCES | errno.EPERM:
            return "denied", "no permission to read it"
        case errno.ELOOP | errno.ENOTDIR | errno.ENXIO:
            return "changed", "replaced after it was listed"
        case _:
            return "denied", f"the file system refused it ({_errno_name(error)})"

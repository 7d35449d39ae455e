"""Folders and single files of this machine."""

# ruff: noqa: PTH112, PTH116, PTH119
# pathlib knows no folder descriptors and rewrites names ("./a"); here they stay as they are.

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from scanner.errors import StoreError, UsageError
from scanner.model import Location, ObjectInfo, Reason, StoreSpec
from scanner.stores.sorted_names import sorted_names
from scanner.stores.stream import buffered

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: should a FIFO have taken the file's place, opening it must not wait for a writer.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_FOLDERS = 32  # descriptors held while walking; folders above the deepest 32 are opened again


class LocalStore:
    """A folder or one file.

    Paths are opened component by component, never across a link: a folder that is swapped for a
    link between listing and opening does not lead out of the target.
    """

    def __init__(self, spec: StoreSpec) -> None:
        self.spec = spec
        self._target = local_path(spec.url)
        self._nofollow = 0 if spec.follow_symlinks else os.O_NOFOLLOW
        try:
            found = os.stat(self._target)
            if stat.S_ISDIR(found.st_mode):
                os.close(os.open(self._target, _FOLDER))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"{self._target}: no such file or folder") from None
        except PermissionError:
            raise StoreError("denied", f"{self._target}: no permission to read it") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self._target}: cannot be opened ({_short(error)})") from None
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
                yield _info(os.path.basename(self._target), os.stat(self._target))
            except OSError as error:
                raise StoreError("listing", f"the file is gone ({_short(error)})") from None
        else:
            yield from _Walk(self).objects()

    def link(self, key: str, name: str, folder: int) -> os.stat_result | ObjectInfo:
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
            fd = self._open_file(info.key)
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise StoreError("changed", "no longer the regular file that was listed")
            if info.version and _version(found) != info.version:
                raise StoreError("changed", "changed after it was listed")
            return buffered(LocalFile(fd, _version(found)))
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
            if isinstance(error, OSError):
                raise StoreError(*_open_problem(error)) from None
            if isinstance(error, ValueError):  # a NUL in the key: no listing of ours gave it
                raise StoreError("vanished", "no such file") from None
            raise

    def renewed(self, info: ObjectInfo) -> ObjectInfo | None:
        fd = -1
        try:
            fd = self._open_file(info.key)
            found = os.fstat(fd)
        except OSError as error:
            reason, detail = _open_problem(error)
            if reason == "vanished":
                return None
            raise StoreError(reason, detail) from None
        except ValueError:
            return None
        finally:
            if fd >= 0:
                os.close(fd)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError("changed", "no longer the regular file that was listed")
        return _info(info.key, found)

    def sign_in_again(self) -> None:
        """Nothing to do: files ask for no credentials."""

    def _open_file(self, key: str) -> int:
        if self._is_file:
            return os.open(self._target, _FILE)
        *folders, name = key.split("/")
        if not {".", "..", ""}.isdisjoint(folders) or name in {".", "..", ""}:
            raise FileNotFoundError(errno.ENOENT, "no such key")
        folder = self.descend(folders)
        try:
            return os.open(name, _FILE | self._nofollow, dir_fd=folder)
        finally:
            os.close(folder)

    def descend(self, folders: Sequence[str]) -> int:
        """A new descriptor of a folder below the target. Raises OSError."""
        fd = os.open(self._target, _FOLDER)
        for name in folders:
            outer = fd
            try:
                fd = self.enter(name, outer)
            finally:
                os.close(outer)
        return fd

    def enter(self, name: str, folder: int) -> int:
        """A new descriptor of a folder within a folder. Raises OSError."""
        return os.open(name, _FOLDER | self._nofollow, dir_fd=folder)


class _Folder:
    """A folder being walked."""

    __slots__ = ("broken", "fd", "names", "prefix")

    def __init__(self, prefix: str, fd: int) -> None:
        """Takes the descriptor over, also when this raises OSError."""
        self.prefix = prefix  # of the keys of its entries: "" or "a/b/"
        self.fd = fd  # -1: closed for now
        try:
            with os.scandir(fd) as entries:
                self.names, self.broken = sorted_names(entries)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _Walk:
    """One listing of a folder: depth first, each folder in byte order of its names."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._real = os.path.realpath(store.location("").name)
        self._skip = {os.path.realpath(folder) for folder in store.spec.skip}
        self._skip_ids = {_identity(os.stat(path)) for path in self._skip if os.path.isdir(path)}
        self._entered: set[tuple[int, int]] = set()  # filled only if links are followed
        self._stack: list[_Folder] = []

    def objects(self) -> Iterator[ObjectInfo]:
        try:
            try:
                fd = self._store.descend(())
                row = self._push("", fd, os.fstat(fd))
            except OSError as error:
                raise StoreError("listing", f"cannot list the target ({_short(error)})") from None
            if row is not None:
                yield row
            while self._stack:
                folder = self._stack[-1]
                name = next(folder.names, None)
                if name is None:
                    self._stack.pop().close()
                    continue
                row = self._entry(folder, name)
                if row is not None:
                    yield row
        finally:
            for folder in self._stack:
                folder.close()

    def _entry(self, folder: _Folder, name: str) -> ObjectInfo | None:
        """The row of one name; None for a folder that is now being walked."""
        key = folder.prefix + name
        try:
            if folder.fd < 0:
                folder.fd = self._store.descend(folder.prefix.split("/")[:-1])
            found = os.lstat(name, dir_fd=folder.fd)
        except OSError as error:
            return ObjectInfo(key, 0, problem=_open_problem(error))
        if stat.S_ISLNK(found.st_mode):
            target = self._store.link(key, name, folder.fd)
            if isinstance(target, ObjectInfo):
                return target
            found = target
        if stat.S_ISREG(found.st_mode):
            return _info(key, found)
        if not stat.S_ISDIR(found.st_mode):
            return ObjectInfo(key, 0, "", _mtime(found), ("unsupported", "not a regular file"))
        try:
            row = self._push(key + "/", self._store.enter(name, folder.fd), found)
        except OSError as error:
            return ObjectInfo(key + "/", 0, problem=_open_problem(error))
        if len(self._stack) > _OPEN_FOLDERS:
            self._stack[-1 - _OPEN_FOLDERS].close()
        return row

    def _push(self, prefix: str, fd: int, found: os.stat_result) -> ObjectInfo | None:
        """Go into a folder; its row, if there is something to say about it. Raises OSError."""
        identity = _identity(found)
        real = _join(self._real, prefix).rstrip("/") or "/"
        excluded = None
        if identity in self._skip_ids or real in self._skip:
            excluded = "own-output"
        elif identity in self._entered:  # reached under another name already, or a loop
            excluded = "symlink"
        if excluded is not None:
            os.close(fd)
            return ObjectInfo(prefix, 0, excluded=excluded)
        if self._store.spec.follow_symlinks:
            self._entered.add(identity)
        folder = _Folder(prefix, fd)
        self._stack.append(folder)
        if folder.broken is None:
            return None
        detail = f"the folder could not be listed to its end ({_short(folder.broken)})"
        return ObjectInfo(prefix, 0, problem=("listing", detail))


class LocalFile(io.FileIO):
    """A file that is checked after each read to be still the version that was opened."""

    def __init__(self, fd: int, version: str) -> None:
        super().__init__(fd, "rb")
        self.failure: StoreError | None = None
        self._version = version

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            count = super().readinto(buffer)
        except OSError as error:
            raise self._fail("truncated", f"read error ({_short(error)})") from None
        self._check()
        return count or 0

    def readall(self) -> bytes:
        try:
            data = super().readall()
        except OSError as error:
            raise self._fail("truncated", f"read error ({_short(error)})") from None
        self._check()
        return data

    def _check(self) -> None:
        if _version(os.fstat(self.fileno())) != self._version:
            raise self._fail("changed", "changed while it was being read")

    def _fail(self, reason: Reason, detail: str) -> StoreError:
        self.failure = StoreError(reason, detail)
        return self.failure


def local_path(url: str) -> str:
    if not url:
        raise UsageError("the target is empty; give a folder, a file or a URL")
    if "://" not in url:
        return url
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise UsageError("file:// reaches only files of this machine; write file:///path")
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
    except (ValueError, OverflowError, OSError):  # before year 1, after 9999: disks allow it
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _short(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, str(number)) if number else type(error).__name__


def _open_problem(error: OSError) -> tuple[Reason, str]:
    match error.errno:
        case errno.ENOENT | errno.ESTALE:
            return "vanished", "listed, but no longer there"
        case errno.EACCES | errno.EPERM:
            return "denied", "no permission to read it"
        case errno.ELOOP | errno.ENOTDIR | errno.ENXIO:
            return "changed", "replaced after it was listed"
        case _:
            return "denied", f"the file system refused it ({_short(error)})"

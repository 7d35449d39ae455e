"""Opens the file behind a manifest or a registry as batches of columns; its format is told by its
content."""

from __future__ import annotations

import importlib
import io
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from scanner.context.cells import looks_like_name
from scanner.errors import ConfigError, ScannerError
from scanner.vocabulary import suggestion

HEAD_BYTES = 64 << 10

OpenUrl = Callable[[str], BinaryIO]


class Source(Protocol):
    """A table that can be read once, in order."""

    @property
    def name(self) -> str:
        """What messages call it: a path, a URL without its password."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns; where rows name their own, those of the first rows."""
        ...

    @property
    def open_ended(self) -> bool:
        """Whether later rows may have columns that `columns` does not name (JSON Lines)."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The asked columns, in the order asked, of all rows; types as the file has them. Raises
        ConfigError."""
        ...


Open = Callable[[BinaryIO, str], Source]  # a seekable stream at 0, what messages call it
Recognise = Callable[[bytes], Open | None]  # by the first HEAD_BYTES


@dataclass(frozen=True, slots=True)
class ManifestFormat:
    """One file format; every module in `manifests/` exposes one as MANIFEST."""

    name: str
    recognises: Callable[[bytes], bool]  # by the first HEAD_BYTES
    open: Open


_LOGIN = re.compile(r"(?<=://)[^/]*@")
_CONTAINER = re.compile(r"(?:abfss?|wasbs?|az)://[^/:]*@")  # no login: the container of an account


def public_name(where: str) -> str:
    """A path or a URL as messages and tables call it: without user, password and signature."""
    if _CONTAINER.match(where):
        return where
    signed = where.startswith(("http://", "https://"))
    bare = re.split(r"[?#]", where, maxsplit=1)[0] if signed else where
    return _LOGIN.sub("", bare, count=1)


@contextmanager
def open_source(
    where: str, open_url: OpenUrl | None = None, recognise: Recognise | None = None
) -> Iterator[Source]:
    """The table in the file `where`: an absolute path, or a URL that `open_url` opens.

    `recognise` is asked before the formats of `manifests/`. Raises ConfigError.
    """
    name = public_name(where)
    stream = _open(where, name, open_url)
    try:
        with stream:
            head = stream.read(HEAD_BYTES)
            if not head.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"):
                raise ConfigError(f"{name}: is empty; a table without rows still has a header line")
            special = None if recognise is None else recognise(head)
            found = next((known.open for known in formats() if known.recognises(head)), None)
            if special or found:
                if not stream.seekable():
                    stream = cast("BinaryIO", io.BytesIO(head + stream.read()))
                stream.seek(0)
                yield (special or cast("Open", found))(stream, name)
                return
            kind = (
                " (compressed; unpack it first)"
                if head[:2] in (b"\x1f\x8b", b"PK", b"BZ", b"(\xb5", b"\xfd7")
                else ""
            )
            raise ConfigError(f"{name}: not a CSV, JSON Lines or Parquet file{kind}")
    except OSError as error:
        raise ConfigError(
            f"{name}: cannot be read ({error.strerror or type(error).__name__})"
        ) from None
    except ScannerError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{name}: {error}") from None


def _open(where: str, name: str, open_url: OpenUrl | None) -> BinaryIO:
    if "://" in where:
        if open_url is None:
            raise ConfigError(
                f"{name}: only local files can be read here; copy it, and give its path"
            )
        try:
            return open_url(where)
        except ScannerError as error:
            raise ConfigError(f"{name}: {error}") from None
        except Exception as error:  # of a store's driver; its text may hold anything
            raise ConfigError(f"{name}: cannot be opened ({type(error).__name__})") from None
    path = Path(where)
    try:
        if path.is_dir():
            raise ConfigError(f"{name}: is a folder, expected a file")
        return path.open("rb")
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"{name}: cannot be opened ({reason})") from None


def formats() -> list[ManifestFormat]:
    """All formats, in the order of their names."""
    from scanner.context import manifests

    found = []
    for module in sorted(pkgutil.iter_modules(manifests.__path__), key=lambda entry: entry.name):
        loaded = importlib.import_module(f"{manifests.__name__}.{module.name}")
        if hasattr(loaded, "MANIFEST"):
            found.append(cast("ManifestFormat", loaded.MANIFEST))
    return found


def missing_column(source: Source, column: str, purpose: str) -> ConfigError:
    """`source` has no `column`; `purpose` says what needs it ("required", "the manifest's
    location")."""
    names = [name for name in source.columns if looks_like_name(name)]
    if len(names) < len(source.columns):
        there = "its first line does not look like a line of column names"
    else:
        there = f"it has {', '.join(names[:40])}{' …' if len(names) > 40 else ''}"
        there += suggestion(column, names)
    return ConfigError(f"{source.name}: no column {column!r} ({purpose}); {there}")

"""The models that a user has added: a folder of files, each pinned by its SHA-256 in an index.

Nothing here is downloaded. A file is read whole and compared with its pin every time it is loaded;
one that differs is refused, never used with a warning.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from scanner.errors import ModelMissing, UsageError

ENVIRONMENT = "CONSENTRY_MODELS"
INDEX_FILE = "models.json"
INDEX_VERSION = 1
MAX_MODEL_BYTES = 512 << 20  # the largest face detectors are a third of that
MAX_INDEX_BYTES = 1 << 20
MAX_LICENCE_CHARACTERS = 200
NO_LICENCE = "not stated"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]|[a-z0-9]")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class AddedModel:
    """One model of the index."""

    name: str  # what the user calls it; its file is <name>.onnx
    kind: str  # one of onnx_files.KINDS
    sha256: str  # 64 hex digits: the pin
    size: int  # bytes
    licence: str
    added: str  # ISO 8601, UTC

    @property
    def version(self) -> str:
        """What tells its answers from those of another file."""
        return f"{self.kind}-{self.sha256[:12]}"


def models_folder() -> Path:
    """`$CONSENTRY_MODELS`, else `consentry/models` in the user's data folder of this platform."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).absolute()
    if sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or "")
        if not data.is_absolute():  # the specification says to ignore a relative one
            data = Path.home() / ".local" / "share"
    return data / "consentry" / "models"


def added_models(folder: Path | None = None) -> tuple[AddedModel, ...]:
    """Every model of the index, in name order; () where none was ever added.

    Raises ModelMissing if there is an index that cannot be used.
    """
    path = (folder or models_folder()) / INDEX_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MAX_INDEX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise ModelMissing(f"{path}: cannot be read ({_why(error)})") from None
    try:
        if len(text) > MAX_INDEX_BYTES:
            raise ValueError
        tree = json.loads(text)
        if tree["version"] != INDEX_VERSION:
            raise ValueError
        models = [AddedModel(**entry) for entry in tree["models"]]
        for model in models:
            _check(model)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ModelMissing(
            f"{path}: is not an index of added models; delete that folder and add them again with "
            "`consentry models add`"
        ) from None
    return tuple(sorted(models, key=lambda model: model.name))


def pinned_bytes(model: AddedModel, folder: Path | None = None) -> bytes:
    """The file of a model, proved to be the one that was added.

    Raises ModelMissing if it is not there, or is not that file byte for byte.
    """
    path = (folder or models_folder()) / _file(model.name)
    again = f"add the file again, or `consentry models remove {model.name}`"
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise ModelMissing(f"{path}: the added model is not there; {again}") from None
    except OSError as error:
        raise ModelMissing(f"{path}: the added model cannot be read ({_why(error)})") from None
    except UsageError as error:
        raise ModelMissing(f"{error}; {again}") from None
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise ModelMissing(
            f"{path}: is not the file that was added (SHA-256 {model.sha256[:12]}…); {again}"
        )
    return data


def add(
    data: bytes, *, name: str, kind: str, licence: str, now: datetime, folder: Path | None = None
) -> AddedModel:
    """Copy `data` into the folder (made 0700, files 0600) and pin it there.

    The same file under the same name is taken again, and its licence with it. Raises UsageError for
    a name that cannot be used or names another file, ModelMissing if nothing can be written.
    """
    place = folder or models_folder()
    model = AddedModel(
        name=name,
        kind=kind,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        licence=" ".join(licence.split()) or NO_LICENCE,
        added=now.isoformat(timespec="seconds"),
    )
    try:
        _check(model)
    except ValueError as error:
        raise UsageError(str(error)) from None
    others = [other for other in added_models(place) if other.name != name]
    before = next((other for other in added_models(place) if other.name == name), None)
    if before is not None and before.sha256 != model.sha256:
        raise UsageError(
            f"a model {name!r} with another SHA-256 ({before.sha256[:12]}…) was added before; "
            f"take another --name, or `consentry models remove {name}` first"
        )
    if before is not None:
        model = replace(model, added=before.added)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place / _file(name), data)
        _write_index(place, (*others, model))
    except OSError as error:
        raise ModelMissing(f"{place}: the model cannot be kept there ({_why(error)})") from None
    return model


def remove(name: str, folder: Path | None = None) -> None:
    """Forget a model and delete its file. Raises UsageError if there is none of that name."""
    place = folder or models_folder()
    models = added_models(place)
    if name not in {model.name for model in models}:
        raise UsageError(f"no model {name!r} was added; `consentry models list` shows all")
    try:
        _write_index(place, tuple(model for model in models if model.name != name))
        (place / _file(name)).unlink(missing_ok=True)
    except OSError as error:
        raise ModelMissing(f"{place}: cannot be written ({_why(error)})") from None


def read_file(path: Path) -> bytes:
    """A regular file of at most MAX_MODEL_BYTES. Raises OSError, or UsageError if it is none."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path}: is not a regular file; name an ONNX file")
        if found.st_size > MAX_MODEL_BYTES:
            raise UsageError(
                f"{path}: has {found.st_size >> 20} MiB; models of up to {MAX_MODEL_BYTES >> 20} "
                "MiB are taken"
            )
        return file.read(MAX_MODEL_BYTES)


def _check(model: AddedModel) -> None:
    """Raises ValueError if a field is not what it says it is; the index may have been edited."""
    texts = (model.name, model.kind, model.sha256, model.licence, model.added)
    if not all(isinstance(text, str) for text in texts) or type(model.size) is not int:
        raise ValueError("a field of the wrong type")
    if not _NAME.fullmatch(model.name):
        raise ValueError(
            f"--name: expected small letters, digits, '-', '_' and '.', got {model.name[:80]!r}"
        )
    if len(model.licence) > MAX_LICENCE_CHARACTERS or not model.licence.isprintable():
        raise ValueError(f"--licence: expected one line of up to {MAX_LICENCE_CHARACTERS} letters")
    if not _DIGEST.fullmatch(model.sha256):
        raise ValueError("not a SHA-256")
    datetime.fromisoformat(model.added)


def _file(name: str) -> str:
    return f"{name}.onnx"


def _write_index(place: Path, models: tuple[AddedModel, ...]) -> None:
    entries = [asdict(model) for model in sorted(models, key=lambda model: model.name)]
    tree = {"version": INDEX_VERSION, "models": entries}
    _write(place / INDEX_FILE, json.dumps(tree, indent=2).encode("utf-8") + b"\n")


def _write(path: Path, data: bytes) -> None:
    """The whole file or none, readable by its owner only."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__

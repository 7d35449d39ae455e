"""Turns subject keys into keyed digests, the only form in which a person leaves this program.

The digest is HMAC-SHA256 (RFC 2104), cut to 128 bits, under a key that each installation makes for
itself: whoever holds a report, but not the key, cannot test whether a given passport number is in
it.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from scanner.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

KEY_BYTES = 32
MAX_KEY_BYTES = 4096
DIGEST_BYTES = 16
ENVIRONMENT = "CONSENTRY_KEY_FILE"

# What is cut off both ends of a key. A list of our own, so that every input is trimmed alike.
BLANKS = " \t\r\n\v\f\x00\u00a0\u3000\ufeff"
# What exports write where there is no subject. Taken for a key, it would give everybody without a
# key the consents of one imaginary person.
_MISSING = frozenset({"", "nan", "none", "null", "<na>", "n/a", "nat", "\\n"})
_WHOLE = "-?[0-9]+"
_WHOLE_FLOAT = re.compile(rf"{_WHOLE}\.0")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> _Hash: ...


def _sha256() -> Callable[[bytes], _Hash]:
    # OpenSSL's contexts cost twice as much to copy as CPython's own, which matters for keys this
    # short.
    for name in ("_sha2", "_sha256"):
        with suppress(ImportError, AttributeError):
            return cast("Callable[[bytes], _Hash]", importlib.import_module(name).sha256)
    return cast("Callable[[bytes], _Hash]", hashlib.sha256)


def canonical(subject: str) -> str | None:
    """The key as it is digested: trimmed, `123.0` as `123`; None where it says that there is none.

    A column of whole numbers with gaps is written by pandas as floats, so `123.0` and `123` are one
    subject. Otherwise keys are compared byte for byte: neither case nor Unicode form is changed.
    """
    text = subject.strip(BLANKS)
    if len(text) <= 4 and text.lower() in _MISSING:
        return None
    if text.endswith(".0") and _WHOLE_FLOAT.fullmatch(text):
        return text[:-2]
    return text


class SubjectKey:
    """The installation's secret, and the digests made with it."""

    __slots__ = ("_inner", "_outer", "_secret")

    def __init__(self, secret: bytes) -> None:
        if not KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
            raise ConfigError(
                f"a subject key has {KEY_BYTES} to {MAX_KEY_BYTES} bytes, this one {len(secret)}"
            )
        self._secret = bytes(secret)
        sha256 = _sha256()
        block = self._secret if len(secret) <= 64 else hashlib.sha256(secret).digest()
        block = block.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    @classmethod
    def load(cls, path: Path | None = None) -> SubjectKey:
        """Read the key file, or make it on first use.

        Without `path`: `$CONSENTRY_KEY_FILE`, else `consentry/subject.key` in `$XDG_CONFIG_HOME` or
        `~/.config`. Raises ConfigError if the file can be read by others, is too short, or cannot
        be made.
        """
        file = path if path is not None else default_file()
        try:
            return cls(_read(file))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unusable(file, "read", error) from None
        try:
            _make(file)
            return cls(_read(file))
        except OSError as error:
            raise _unusable(file, "made", error) from None

    def digest(self, subject: str | None) -> str | None:
        """32 hex digits, or None where `subject` says that there is none (blank, `null`, `NaN`
        …)."""
        text = None if subject is None else canonical(subject)
        if text is None:
            return None
        return self._raw(text.encode("utf-8", "surrogateescape")).hex()

    def derive(self, label: str) -> bytes:
        """A secret of 32 bytes for another use of the installation's key.

        No canonical subject starts with a NUL, so no digest of a subject is a part of one.
        """
        return hmac.digest(self._secret, b"\0" + label.encode(), "sha256")

    def derived(self, purpose: str) -> SubjectKey:
        """A key of its own for another purpose, from which this one cannot be told (RFC 5869, one
        block of HKDF-Expand).
        """
        message = purpose.encode() + b"\x01"
        return SubjectKey(hmac.digest(self._secret, message, "sha256"))

    def exact_digest(self, text: str) -> str:
        """32 hex digits of a text as it is: nothing is trimmed, and no text says that there is
        none.
        """
        return self._raw(text.encode("utf-8", "surrogateescape")).hex()

    def _raw(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:DIGEST_BYTES]

    def digest_array(self, subjects: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The same digests for a column of any type a key may have; repeated keys are digested
        once.

        Returns a string array of equal length, null where there is no subject. Raises ConfigError
        for floating point keys too large to be exact, which would merge people, and for types that
        are no keys (lists, structs).
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(subjects, pa.ChunkedArray):
            subjects = subjects.combine_chunks()
            if isinstance(subjects, pa.ChunkedArray):  # more than fits one array
                return pa.concat_arrays([self.digest_array(chunk) for chunk in subjects.chunks])
        if pa.types.is_dictionary(subjects.type):
            texts = key_texts(subjects.dictionary)
        else:
            subjects = pc.dictionary_encode(key_texts(subjects), null_encoding="mask")
            texts = subjects.dictionary
        digests = self._digest_unique(_canonical_array(texts))
        return pc.take(digests, subjects.indices)

    def _digest_unique(self, keys: pa.Array) -> pa.Array:
        """`keys`: binary, in canonical form."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        inner_copy, outer_copy = self._inner.copy, self._outer.copy
        raw: list[bytes] = []
        keep = raw.append
        # written out, not a call per key: this loop sees every person of a registry
        for message in keys.drop_null().to_pylist():
            inner = inner_copy()
            inner.update(message)
            outer = outer_copy()
            outer.update(inner.digest())
            keep(outer.digest())
        whole = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 32)
        hexes = pa.py_buffer(whole[:, :DIGEST_BYTES].tobytes().hex().encode("ascii"))
        width = 2 * DIGEST_BYTES
        starts = pa.array(np.arange(0, width * len(raw) + 1, width, dtype=np.int32))
        found = pa.StringArray.from_buffers(len(raw), starts.buffers()[1], hexes)
        if not keys.null_count:
            return found
        if not raw:
            return pa.nulls(len(keys), pa.string())
        return pc.replace_with_mask(pa.nulls(len(keys), pa.string()), pc.is_valid(keys), found)

    def __repr__(self) -> str:
        return "SubjectKey(…)"

    def __reduce__(self) -> tuple[type[SubjectKey], tuple[bytes]]:
        return SubjectKey, (self._secret,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubjectKey) and secrets.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self._secret)


def _canonical_array(texts: pa.Array) -> pa.Array:
    """`canonical` for a whole column; binary, as UTF-8."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        trimmed = pc.utf8_trim(texts, BLANKS)
        missing = pc.is_in(pc.utf8_lower(trimmed), value_set=pa.array(sorted(_MISSING), texts.type))
        whole = pc.replace_substring_regex(trimmed, f"^({_WHOLE})\\.0$", r"\1")
        return pc.if_else(missing, pa.scalar(None, pa.binary()), whole.cast(pa.binary()))
    except pa.ArrowInvalid:  # Parquet files may hold "strings" that are not UTF-8
        found: list[bytes | None] = []
        for raw in texts.cast(pa.binary()).to_pylist():
            key = None if raw is None else canonical(raw.decode("utf-8", "surrogateescape"))
            found.append(None if key is None else key.encode("utf-8", "surrogateescape"))
        return pa.array(found, pa.binary())


def key_texts(values: pa.Array) -> pa.Array:
    """Keys of any plain Arrow type as the texts that stand for them: 7 of the number 7 or 7.0.

    Raises ConfigError for types that cannot be keys, and for floats too large to be exact.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            texts = [None if v is None else _uuid_text(v) for v in values.storage.to_pylist()]
            return pa.array(texts, pa.string())
        values, kind = values.storage, values.storage.type
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        exact = {16: 2**11, 32: 2**24, 64: 2**53}[kind.bit_width]
        largest = pc.max(pc.abs(values.filter(pc.is_finite(values)))).as_py()
        if largest is not None and largest >= exact:
            raise ConfigError(
                "holds floating point numbers too large to be exact; store them as text or integers"
            )
        # NaN is how pandas writes that there is none
        floats = [None if v is None or v != v else str(v + 0.0) for v in values.to_pylist()]
        return pc.replace_substring_regex(pa.array(floats, pa.string()), r"\.0$", "")
    if pa.types.is_nested(kind):
        raise ConfigError("holds lists or structures; name a column of texts or numbers")
    if pa.types.is_fixed_size_binary(kind):
        values, kind = values.cast(pa.binary()), pa.binary()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        # taken for UTF-8 without a check: whoever reads it copes with what is not
        return values.cast(pa.binary()).view(pa.string())
    return values if pa.types.is_string(kind) else values.cast(pa.string())


def _uuid_text(value: bytes) -> str:
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# ---------------------------------------------------------------- the key file


def default_file() -> Path:
    """Where the key is, if nothing says otherwise."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME")
    if home and Path(home).is_absolute():  # the XDG specification: relative ones are ignored
        return Path(home) / "consentry" / "subject.key"
    try:
        return Path.home() / ".config" / "consentry" / "subject.key"
    except RuntimeError:
        raise ConfigError(
            f"no home folder to keep the subject key in; set {ENVIRONMENT} to a file"
        ) from None


def _unusable(file: Path, what: str, error: OSError) -> ConfigError:
    reason = error.strerror or type(error).__name__
    return ConfigError(
        f"{file}: the subject key cannot be {what} ({reason}); set {ENVIRONMENT} to another file"
    )


def _read(file: Path) -> bytes:
    descriptor = os.open(
        file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    )  # a FIFO must not make us wait
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(
                f"{file}: the subject key is not a regular file; set {ENVIRONMENT} to another file"
            )
        if status.st_mode & 0o077:
            raise ConfigError(
                f"{file}: other users may open the subject key (mode "
                f"{stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {file}"
            )
        secret = stream.read(MAX_KEY_BYTES + 1)
    if not KEY_BYTES <= len(secret) <= MAX_KEY_BYTES:
        size = f"more than {MAX_KEY_BYTES}" if len(secret) > MAX_KEY_BYTES else str(len(secret))
        raise ConfigError(
            f"{file}: the subject key has {size} bytes, expected {KEY_BYTES} to {MAX_KEY_BYTES}; "
            "restore it, or remove it to have a new one made (digests then change)"
        )
    return secret


def _make(file: Path) -> None:
    """Write a new key where there is none; the first of several runs starting together wins."""
    file.parent.parent.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    # Linked into place when complete: another run never reads half a key, and never overwrites one.
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()

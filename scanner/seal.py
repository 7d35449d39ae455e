"""Seals a finished run: what its files were, signed where there is a key, so that a change shows.

`seal.json` is the last file of a run's folder: a DSSE envelope (payload type
`application/vnd.in-toto+json`) around an in-toto Statement v1 whose subjects are the run's files
with their SHA-256, and whose predicate tells run, exit code, rows, sizes and the digest of the seal
of the run before it in the same output folder. So the seals form a chain: a run that was removed
from its middle, or sealed again, is noticed.

Without a signature whoever can write to the folder can also seal it again, and nobody can tell the
newest run of a chain from one that once had a successor: keep seals, or the key, elsewhere.

Specifications: DSSE v1.0.2 (envelope and PAE), in-toto attestation framework v1 (Statement),
RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

from scanner import schemas
from scanner.errors import ConfigError, LedgerFault, UsageError
from scanner.model import printable
from scanner.reports import visible

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SEAL = "seal.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://consentry.example/attestation/run/v1"

INTACT, WRONG, UNKNOWN = 0, 1, 3  # exit codes of `consentry verify`

_MAX_SEAL_BYTES = 1 << 20  # a seal has about 200 bytes a file, and a run about ten files
_MAX_KEY_FILE_BYTES = 16 << 10
_RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSIGNED = (
    "not signed: whoever can write to the folder could have changed the run and sealed it again"
)


@dataclass(frozen=True, slots=True)
class Examination:
    """What `verify` found, one line each, for a person."""

    run_id: str  # "" where the seal does not tell
    wrong: tuple[str, ...]  # what is not as it was sealed
    untold: tuple[str, ...]  # what cannot be told
    remarks: tuple[str, ...]  # what a reader should know although nothing is wrong

    @property
    def code(self) -> int:
        """The exit code: 1 if anything is wrong, 3 if anything cannot be told, else 0."""
        if self.wrong:
            return WRONG
        return UNKNOWN if self.untold else INTACT


def state(found: Examination) -> str:
    """What an examination comes to, in a few words for a document that is made of the run."""
    first = (*found.wrong, *found.untold)[:1]
    more = len(found.wrong) + len(found.untold) - len(first)
    why = "".join(first) + (f", and {more} more" if more else "")
    if found.wrong:
        return f"NOT as it was sealed: {why}"
    if found.untold:
        return why
    signed = next((line for line in found.remarks if line.startswith("signed by key")), None)
    return f"as it was sealed; {signed or 'not signed'}"


# ---------------------------------------------------------------- sealing


def seal(folder: Path, key: Ed25519PrivateKey | None, *, at: datetime) -> None:
    """Write `seal.json` over every file that is in a run's folder, whole or not at all.

    `at` is the time of sealing. Every file is flushed to disk before the seal is. Raises UsageError
    if the folder is no saved run, LedgerFault if the seal cannot be written.
    """
    try:
        record = json.loads((folder / "run.json").read_bytes())
        run_id, exit_code = record["run"]["id"], record["exit_code"]
        complete, schema = record["complete"], record["schema"]
        files: dict[str, _File] = {}
        rows: dict[str, int] = {}
        for name, path in sorted(_entries(folder), key=lambda entry: entry[0]):
            if path is None:
                raise UsageError(f"{folder}: {_shown(name)} is not a regular file; remove it")
            if name == SEAL:
                continue
            with _open(path) as file:
                os.fsync(file.fileno())
                files[name] = _measure(file)
            if name.endswith(".parquet"):
                rows[name] = _rows(path)
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": file.sha256}} for name, file in files.items()
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "run": run_id,
                "schema": schema,
                "exitCode": exit_code,
                "complete": complete,
                "rows": rows,
                "bytes": {name: file.size for name, file in files.items()},
                "previous": _previous(folder),
                "sealed": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            },
        }
        payload = _canonical(statement)
        signatures = []
        if key is not None:
            signature = key.sign(_pae(payload))
            signatures.append(
                {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}
            )
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": signatures,
        }
        _write(folder / SEAL, _canonical(envelope))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LedgerFault(
            f"{folder}: the run is saved but cannot be sealed ({reason}); `consentry verify` will "
            "say that it is not sealed"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{folder}: not a saved run, or damaged ({type(error).__name__}); nothing was sealed"
        ) from error


def is_sealed(folder: Path) -> bool:
    return os.path.lexists(folder / SEAL)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for folder in sorted({p.parent for p in path.parent.rglob("*")} | {path.parent}):
            _flush_folder(folder)  # the names of what is sealed, before the seal's own
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _previous(folder: Path) -> dict[str, object] | None:
    """The seal of the newest sealed run before this one: run ids begin with the time of start."""
    for name in sorted((n for n in _siblings(folder) if n < folder.name), reverse=True):
        try:
            with _open(folder.parent / name / SEAL) as file:
                digest = _measure(file).sha256
        except OSError:
            continue  # not sealed, or not readable: the chain goes on from the one before it
        return {"run": name, "sha256": digest}
    return None


def _siblings(folder: Path) -> list[str]:
    """Names of the folders beside a run's that can be runs."""
    try:
        with os.scandir(folder.parent) as entries:
            found = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [name for name in found if _RUN_ID.fullmatch(name) and name != folder.name]


# ---------------------------------------------------------------- verifying


def verify(folder: Path, public_key: Ed25519PublicKey | None) -> Examination:
    """Compare a run's folder with its seal; never raises for what it finds there.

    Raises UsageError only if the folder holds neither a run nor a seal.
    """
    try:
        with _open(folder / SEAL) as file:
            raw = file.read(_MAX_SEAL_BYTES + 1)
    except FileNotFoundError:
        if not os.path.lexists(folder / "run.json"):
            raise UsageError(
                f"{folder}: neither a saved run nor a seal is there; `ls .consentry/runs` shows "
                "the runs that were saved"
            ) from None
        return Examination("", (), ("not sealed: the scan died before its end, or the seal was "
                                    "removed",), ())  # fmt: skip
    except _NotRegular:
        return Examination("", (f"{SEAL}: is not a regular file (not followed)",), (), ())
    except OSError as error:
        return Examination("", (), (f"{SEAL}: cannot be read ({_reason(error)})",), ())
    if len(raw) > _MAX_SEAL_BYTES:
        return Examination(
            "", (f"{SEAL}: larger than any seal ({_MAX_SEAL_BYTES:,} bytes)",), (), ()
        )
    try:
        envelope = _Envelope.parse(raw)
        sealed = _Sealed.parse(envelope.payload)
    except (ValueError, KeyError, TypeError, RecursionError):
        return Examination("", (f"{SEAL}: malformed; this is no seal of a run",), (), ())

    wrong: list[str] = []
    untold: list[str] = []
    remarks: list[str] = []
    signed_wrong, signed_untold, signed_remarks = _signature(envelope, public_key)
    for line, is_wrong in _compare(folder, sealed):
        (wrong if is_wrong else untold).append(line)
    if folder.parent.name == "runs":
        if folder.name != sealed.run_id:
            wrong.append(
                f"the folder is called {_shown(folder.name)}, but what is sealed in it is run "
                f"{sealed.run_id}"
            )
        broken, gone = _chain(folder, sealed)
        wrong += broken
        remarks += gone
    return Examination(
        sealed.run_id,
        (*wrong, *signed_wrong),
        (*untold, *signed_untold),
        (f"{len(sealed.files)} files, sealed {visible(sealed.at)}", *signed_remarks, *remarks),
    )


def _compare(folder: Path, sealed: _Sealed) -> Iterator[tuple[str, bool]]:
    """Each difference as a line, and whether it is one (else it only cannot be told)."""
    found = dict(_entries(folder))
    found.pop(SEAL, None)
    for name, was in sealed.files.items():
        shown = visible(name)
        if name not in found:
            yield f"{shown}: missing", True
            continue
        path = found.pop(name)
        if path is None:
            yield f"{shown}: is not a regular file (not followed)", True
            continue
        try:
            with _open(path) as file:
                now = _measure(file)
        except OSError as error:
            yield f"{shown}: cannot be read ({_reason(error)})", False
            continue
        rows = _count(path) if name in sealed.rows else None
        if now.sha256 != was.sha256:
            yield f"{shown}: {_difference(was, now, sealed.rows.get(name), rows)}", True
        elif name in sealed.rows and rows != sealed.rows[name]:
            yield f"{shown}: has {rows} rows, but {sealed.rows[name]} were sealed", True
    for name, path in sorted(found.items()):
        what = "added" if path is not None else "added, and not a regular file (not followed)"
        yield f"{_shown(name)}: {what}", True


def _difference(was: _File, now: _File, rows_were: int | None, rows: int | None) -> str:
    if rows_were is None:
        what = "truncated or edited" if now.size < was.size else "edited"
        return f"{what} ({now.size:,} bytes, sealed with {was.size:,})"
    if rows is None:
        what = "truncated" if now.size < was.size else "edited"
        return f"{what} (no longer a whole table)"
    if rows == rows_were:
        return f"edited or reordered (still {rows:,} rows)"
    return f"edited ({rows:,} rows, sealed with {rows_were:,})"


def _signature(
    envelope: _Envelope, public_key: Ed25519PublicKey | None
) -> tuple[list[str], list[str], list[str]]:
    """What is wrong with the signatures, what cannot be told, and what is good."""
    from cryptography.exceptions import InvalidSignature

    named = [visible(keyid) for keyid, _ in envelope.signatures]
    if public_key is None:
        if not named:
            return [], [], [_UNSIGNED]
        text = f"signed by key {', '.join(named)}: not checked; give --public-key FILE"
        return [], [text], []
    wanted = key_id(public_key)
    if not named:
        return [f"{_UNSIGNED} (expected a signature by key {wanted})"], [], []
    for _, signature in envelope.signatures:
        with suppress(InvalidSignature):
            public_key.verify(signature, _pae(envelope.payload))
            return [], [], [f"signed by key {wanted}: good"]
    if wanted in named:
        return [f"the signature by key {wanted} does not match what is sealed"], [], []
    return [f"signed by another key: {', '.join(named)}, not {wanted}"], [], []


def _chain(folder: Path, sealed: _Sealed) -> tuple[list[str], list[str]]:
    """Follow the seals back: what is broken, and what is not here any more."""
    siblings = sorted(_siblings(folder))
    here = sealed
    while here.previous is not None:
        before, digest = here.previous
        if before >= here.run_id:
            return [f"the seal of run {here.run_id} names a later run as the one before it"], []
        try:
            with _open(folder.parent / before / SEAL) as file:
                raw = file.read(_MAX_SEAL_BYTES + 1)
        except OSError:
            older = any(n < before and is_sealed(folder.parent / n) for n in siblings)
            line = f"run {before}, sealed before run {here.run_id}, is not there any more"
            if older:
                return [line], []
            return [], [f"{line}; nor is any older one"]
        if hashlib.sha256(raw).hexdigest() != digest:
            return [f"run {before} was sealed again after run {here.run_id} was"], []
        try:
            here = _Sealed.parse(_Envelope.parse(raw).payload)
        except (ValueError, KeyError, TypeError, RecursionError):
            return [f"the seal of run {before} is malformed"], []
        if here.run_id != before:
            return [f"the seal of run {before} is that of run {here.run_id}"], []
    return [], []


# ---------------------------------------------------------------- envelope and statement


@dataclass(frozen=True, slots=True)
class _File:
    sha256: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class _Envelope:
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]  # keyid, signature

    @classmethod
    def parse(cls, raw: bytes) -> _Envelope:
        """Raises ValueError, KeyError, TypeError or RecursionError: it is no envelope of ours."""
        envelope = _object(_parsed(raw))
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError
        signatures = []
        for entry in _list(envelope["signatures"]):
            one = _object(entry)
            signatures.append((_text(one.get("keyid", "")), _base64(_text(one["sig"]))))
        return cls(_base64(_text(envelope["payload"])), tuple(signatures))


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What a seal says."""

    run_id: str
    files: Mapping[str, _File]
    rows: Mapping[str, int]
    previous: tuple[str, str] | None  # run id, SHA-256 of its seal.json
    at: str

    @classmethod
    def parse(cls, payload: bytes) -> _Sealed:
        """Raises ValueError, KeyError, TypeError or RecursionError: it is no statement of ours."""
        statement = _object(_parsed(payload))
        if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError
        predicate = _object(statement["predicate"])
        if predicate["schema"] != schemas.SCHEMA_VERSION:
            raise ValueError
        sizes = {name: _whole(n) for name, n in _object(predicate["bytes"]).items()}
        files: dict[str, _File] = {}
        for entry in _list(statement["subject"]):
            subject = _object(entry)
            name = _text(subject["name"])
            if not name or name == SEAL or name in files:
                raise ValueError
            digest = _text(_object(subject["digest"])["sha256"])
            files[name] = _File(_matching(_SHA256, digest), sizes[name])
        rows = {name: _whole(n) for name, n in _object(predicate["rows"]).items()}
        if set(sizes) != set(files) or not set(rows) <= set(files):
            raise ValueError
        previous = None
        if predicate["previous"] is not None:
            before = _object(predicate["previous"])
            previous = (
                _matching(_RUN_ID, _text(before["run"])),
                _matching(_SHA256, _text(before["sha256"])),
            )
        run_id = _matching(_RUN_ID, _text(predicate["run"]))
        return cls(run_id, files, rows, previous, _text(predicate["sealed"]))


def _canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8: one value, one spelling."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _parsed(raw: bytes) -> object:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):  # two readers would see two different seals
            raise ValueError
        return found

    return cast(object, json.loads(raw.decode("utf-8"), object_pairs_hook=once))


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError
    return text


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError from error


# ---------------------------------------------------------------- files


class _NotRegular(OSError):
    """A link, a pipe or a device where a file should be."""


def _open(path: Path) -> BufferedReader:
    """Open a regular file for reading; a link is not followed, a pipe does not make us wait."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _NotRegular("not a regular file")
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _NotRegular("not a regular file")
    return file


def _entries(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path | None]]:
    """Every file below a folder by its name in it; None for what is neither file nor folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + printable(entry.name)
            if entry.is_dir(follow_symlinks=False):
                try:
                    yield from _entries(Path(entry.path), f"{name}/")
                except OSError:
                    yield f"{name}/", None  # cannot be listed: whatever is sealed in it is missing
            else:
                yield name, Path(entry.path) if entry.is_file(follow_symlinks=False) else None


def _measure(file: BufferedReader) -> _File:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _File(digest, file.tell())


def _rows(path: Path) -> int:
    """Rows of a Parquet file, by its footer."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def _count(path: Path) -> int | None:
    import pyarrow as pa

    try:
        return _rows(path)
    except (pa.ArrowException, OSError, ValueError):
        return None


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _shown(name: str) -> str:
    return visible(printable(name))


# ---------------------------------------------------------------- keys


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key's DER form (SubjectPublicKeyInfo), hexadecimal."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def load_private_key(file: Path) -> Ed25519PrivateKey:
    """The signing key in a PEM file (PKCS#8), as `openssl genpkey -algorithm ed25519` writes it.

    Raises ConfigError if others can read the file, or if it holds no unencrypted Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content, mode = _key_file(file, "signing key")
    if mode & 0o077:
        raise ConfigError(
            f"{file}: other users may open the signing key (mode {stat.S_IMODE(mode):04o}); run: "
            f"chmod 600 {file}"
        )
    make = f"make one: openssl genpkey -algorithm ed25519 -out {file}"
    if b"-----BEGIN PUBLIC KEY-----" in content:
        raise ConfigError(f"{file}: this is a public key; name the private one ({make})")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigError(
            f"{file}: the signing key is encrypted; remove its password "
            "(openssl pkey -in FILE -out PLAIN) and keep it where only you can read it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{file}: not a PEM private key (PKCS#8); {make}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{file}: not an Ed25519 key; {make}")
    return key


def load_public_key(file: Path) -> Ed25519PublicKey:
    """The key in a PEM file, as `openssl pkey -pubout` writes it; ConfigError if it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content, _ = _key_file(file, "public key")
    make = "openssl pkey -in PRIVATE -pubout -out PUBLIC writes one"
    if b"PRIVATE KEY-----" in content:
        raise ConfigError(f"{file}: this is a private key; keep it to yourself. {make}")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{file}: not a PEM public key; {make}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{file}: not an Ed25519 key; {make}")
    return key


def _key_file(file: Path, what: str) -> tuple[bytes, int]:
    """Content and mode of a key file."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{file}: the {what} is not a regular file")
            content = stream.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: the {what} cannot be read ({_reason(error)})") from None
    if len(content) > _MAX_KEY_FILE_BYTES:
        raise ConfigError(f"{file}: too large for a {what}")
    return content, mode

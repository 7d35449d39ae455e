"""Stage 1, where bytes are: list the objects of a target, open one of them.

    local.py    folders and single files
    s3.py       S3 and whatever speaks its protocol (s3_body.py: one object; s3_errors.py: why not;
                s3_rights.py: what we may do there)
    remote.py   any other fsspec URL
    connection.py  the client behind a store, made anew once when its credentials expire
    rights.py   what somebody may do in a store, for `consentry doctor`
    stream.py   what `open` returns: a buffered stream that keeps its failure

Strictly read-only: no store is asked for anything but listings and reads.
"""  # fmt: skip

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from scanner.errors import UsageError
from scanner.model import Location, ObjectInfo, StoreSpec

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_CHAINED = re.compile(r"^(\w+)::")
_CONTAINER_BEFORE_AT = frozenset({"abfs", "abfss", "az", "adl"})  # abfs://container@account/…
_QUERY_MAY_BE_SECRET = _CONTAINER_BEFORE_AT | {"http", "https"}  # tokens, SAS signatures


class Store(Protocol):
    """A place that holds objects. Several threads may open, renew and list at once."""

    spec: StoreSpec

    def list(self) -> Iterator[ObjectInfo]:
        """Every object under the target, in an order that is the same each time; memory stays flat.

        The key "" is the target itself: a marker object, or a folder that could not be listed.
        Raises StoreError("listing", …) where it breaks off: what it would have named is unknown;
        CredentialsExpired, as `open` and `renewed` do, when the store has ceased to know us.
        """

    def open(self, info: ObjectInfo) -> BinaryIO:
        """The object's bytes: buffered, seekable, read-only; the very version that was listed.

        Raises StoreError(reason, detail), here or while reading. A reader may swallow the latter:
        `getattr(stream, "failure", None)` is then still that StoreError.
        """

    def renewed(self, info: ObjectInfo) -> ObjectInfo | None:
        """The object as it is now, None if it is gone: for one that changed after it was listed.

        Raises StoreError(reason, detail).
        """

    def sign_in_again(self) -> None:
        """Read the credentials anew, once, after CredentialsExpired. Raises ScannerError."""

    def location(self, key: str) -> Location:
        """The top-level Location of a key of this target, free of credentials."""


def open_store(spec: StoreSpec) -> Store:
    """The store of a target, checked: it exists and can be reached.

    Raises UsageError (the target or its options are wrong), MissingExtra (its driver is not
    installed) or StoreError (it is there, but not for us).
    """
    found = _SCHEME.match(spec.url)
    scheme = found[1].lower() if found else "file"
    if chained := _CHAINED.match(spec.url):
        raise UsageError(f"{chained[1]}::… chained URLs are not supported; give a plain URL")
    if spec.all_versions and scheme not in {"s3", "s3a", "s3n"}:
        raise UsageError(
            f"{public_url(spec.url)}: --all-versions is for s3:// targets; others keep no versions "
            "that can be listed"
        )
    if scheme in {"file", "local"}:
        from scanner.stores.local import LocalStore

        return LocalStore(spec)
    if scheme in {"s3", "s3a", "s3n"}:
        from scanner.stores.s3 import S3Store

        return S3Store(spec)
    from scanner.stores.remote import RemoteStore

    return RemoteStore(spec, scheme)


def public_url(url: str) -> str:
    """A target as it may be printed: without user names, passwords, tokens and signatures."""
    found = _SCHEME.match(url)
    if found is None:
        return url
    scheme, rest = found[1].lower(), url[found.end() :]
    if scheme in _QUERY_MAY_BE_SECRET:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    if "@" in host:
        user, _, host = host.rpartition("@")
        if scheme in _CONTAINER_BEFORE_AT and ":" not in user:
            host = f"{user}@{host}"
    return f"{found[1]}://{host}{slash}{path}"

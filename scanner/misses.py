"""Which pictures of a saved run a person should look at to estimate how many faces were missed.

The draw is among the objects that are pictures, were looked at whole, and in which no face was
seen. Pictures inside archives, documents and tables have no row of their own and are not drawn:
what is estimated holds for picture files.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner.binomial import CONFIDENCE, upper_bound
from scanner.errors import StoreError, Unreadable
from scanner.model import ObjectInfo, printable
from scanner.sampling import percent, with_faces
from scanner.schemas import LOOKED_AT
from scanner.stores import Store

_COLUMNS = ["location", "store_version", "size_bytes", "media_type", "state", "is_object"]
_ESCAPED = re.compile(r"\\\\|\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture in which no face was found."""

    location: str  # as the run's tables print it
    version: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of the pictures in which no face was found."""

    pictures: tuple[Drawn, ...]  # in the order of the run's tables
    among: int
    with_faces: int  # pictures in which one was found


def draw(run: Path, size: int, seed: int) -> Sample:
    """At most `size` pictures of the saved run in the folder `run`; the same for the same seed."""
    found = {location for location, _ in with_faces(run / "detections.parquet", seen_only=True)}
    empty: list[Drawn] = []
    pictures = 0
    with pq.ParquetFile(run / "coverage.parquet") as file:
        for batch in file.iter_batches(columns=_COLUMNS, use_threads=False):
            image = pc.starts_with(pc.fill_null(batch.column("media_type"), ""), "image/")
            whole = pc.is_in(batch.column("state"), value_set=LOOKED_AT)
            rows = batch.filter(pc.and_(pc.and_(image, whole), batch.column("is_object")))
            pictures += len(rows)
            empty += [
                Drawn(row["location"], row["store_version"] or "", row["size_bytes"] or 0)
                for row in rows.select(_COLUMNS[:3]).to_pylist()
                if row["location"] not in found
            ]
    chosen = sorted(random.Random(seed).sample(range(len(empty)), min(size, len(empty))))
    return Sample(tuple(empty[n] for n in chosen), len(empty), pictures - len(empty))


def bound_lines(missed: int, drawn: int, among: int, with_faces: int) -> list[str]:
    """What `missed` pictures with a face among `drawn` prove of all `among`, in sentences.

    `with_faces`: pictures in which a face was found, from which the recall follows.
    """
    share = upper_bound(missed, drawn)
    # what was looked at is known; of the rest all may hold faces
    most = min(floor(share * among), missed + among - drawn)
    lines = [
        f"{drawn:,} of {among:,} pictures without a found face were looked at; {missed:,} hold "
        f"a face ({percent(missed / drawn) if drawn else 'unknown'}).",
        f"With {CONFIDENCE:.0%} confidence (exact, Clopper-Pearson, one-sided) at most "
        f"{percent(share, up=True)} of them do: {most:,} pictures at most.",
    ]
    if with_faces:
        recall = with_faces / (with_faces + most)
        lines.append(
            f"Faces were found in {with_faces:,} pictures, so at least {_down(recall)} of the "
            "pictures with faces were recognised as such, if none was found in error."
        )
    return lines


def _down(share: float) -> str:
    return f"{floor(share * 1000) / 10:g}%"


class Opener:
    """Reads drawn pictures from the stores of the run's targets."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = [(store.location("").name, store) for store in stores]

    def read(self, picture: Drawn, most: int) -> bytes:
        """The very bytes that were scanned.

        Raises Unreadable if they are not there, have changed, or are more than `most`.
        """
        if picture.size > most:
            raise Unreadable("bytes", f"more than {most >> 20} MiB")
        name = unprinted(picture.location)
        for prefix, store in self._stores:
            if not name.startswith(prefix):
                continue
            for key in (name.rpartition("/")[2], name[len(prefix) :]):  # a target may be one file
                if str(store.location(key)) == picture.location:
                    return _read(store, ObjectInfo(key, picture.size, picture.version), most)
        raise Unreadable("vanished", "in none of the run's targets")


def _read(store: Store, info: ObjectInfo, most: int) -> bytes:
    try:
        with store.open(info) as stream:
            data = stream.read(most + 1)
            failure = getattr(stream, "failure", None)
    except StoreError as error:
        raise Unreadable(error.reason, error.detail) from None
    except OSError as error:
        raise Unreadable("truncated", f"reading failed ({type(error).__name__})") from None
    if isinstance(failure, StoreError):
        raise Unreadable(failure.reason, failure.detail)
    if len(data) > most:
        raise Unreadable("bytes", f"more than {most >> 20} MiB")
    return data


def unprinted(text: str) -> str:
    """The name that `printable` printed so."""
    if "\\" not in text or printable(text) == text:
        return text
    raw = _ESCAPED.sub(
        lambda found: "\\" if found[1] is None else chr(0xDC00 + int(found[1], 16)), text
    )
    try:  # bytes that were not UTF-8 became surrogates, those that were stayed letters
        return raw.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeError:
        return text

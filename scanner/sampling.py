"""Looking at a drawn share of the objects only, and stating what that proves.

Whether an object is drawn is decided by a keyed digest of its key: the same in every run with the
same subject key, whatever else is in the store, and not to be told by who names the objects. What
is drawn at 1 % is also drawn at 2 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner import schemas
from scanner.binomial import CONFIDENCE, upper_bound
from scanner.model import printable
from scanner.policy import finding_id
from scanner.subjects import SubjectKey

FACE = "biometric.face"
SAMPLED = "sampled"  # the coverage reason of what was not drawn
NOT_DRAWN = "not drawn for the sample, so not looked at"

_PURPOSE = "sample"
_BITS = 64
_NOT_WHOLE = pa.array(["partial", "error"])
_SENTENCE = (
    "Only a sample was looked at. What was seen of it meets this rule; whether the rest does is "
    "not known."
)
_REMEDY = "Scan without --sample."


class Draw:
    """Which objects belong to the sample, and how many did."""

    def __init__(self, share: float, key: SubjectKey) -> None:
        """`share`: 0 < share < 1."""
        self.share = share
        self._below = math.ceil(share * (1 << _BITS))
        self._key = key.derived(_PURPOSE)
        self.listed = 0  # objects asked about
        self.drawn = 0  # of them drawn
        self.left_out = 0  # not drawn, and not known from an earlier run either

    def takes(self, printed: str) -> bool:
        """Whether the object is drawn whose key prints like this."""
        digest = self._key.exact_digest(printed)
        return int(digest[: _BITS // 4], 16) < self._below

    def count(self, key: str) -> bool:
        """The same for the byte-exact key of a listing; each is to be counted once."""
        taken = self.takes(printable(key))
        self.listed += 1
        self.drawn += taken
        return taken


def bound_note(draw: Draw, folder: Path) -> str:
    """One sentence on the share of objects that hold faces, from the tables of a whole run.

    What was drawn and could not be looked at (whole) counts as if it held one.
    """
    faces = _with_faces(folder / "detections.parquet", draw)
    unclear = _not_whole(folder / "coverage.parquet") - faces
    found = min(len(faces), draw.drawn)
    hits = min(found + len(unclear), draw.drawn)
    share = upper_bound(hits, draw.drawn)
    most = min(math.floor(share * draw.listed), hits + draw.listed - draw.drawn)
    counted = f", {len(unclear):,} could not be looked at whole and count as such" * bool(unclear)
    return (
        f"--sample {percent(draw.share)}: {draw.drawn:,} of {draw.listed:,} objects were drawn, "
        f"{found:,} of these hold faces{counted}; with {CONFIDENCE:.0%} confidence (exact, "
        f"one-sided) at most {percent(share, up=True)} of all objects do, {most:,} at most"
    )


def never_compliant(
    findings: pa.Table, previous: Mapping[str, datetime], as_of: datetime
) -> pa.Table:
    """Findings of a sampled run: what would be `compliant` is a `review`, as most was not seen.

    Where a rule asks for a review of the same use already, that one stands for both. `previous`
    tells when a finding was first seen.
    """
    about = ("rule_id", "dataset_id", "transfer_id", "purpose", "recipient")
    rows = findings.to_pylist()
    reviewed = {tuple(row[n] for n in about) for row in rows if row["verdict"] == "review"}
    kept = []
    for row in rows:
        if row["verdict"] != "compliant":
            kept.append(row)
        elif tuple(row[n] for n in about) not in reviewed:
            finding = finding_id(
                row["rule_id"], "review", row["dataset_id"], row["transfer_id"], row["purpose"],
                row["recipient"],
            )  # fmt: skip
            kept.append(
                {
                    **row,
                    "finding_id": finding,
                    "verdict": "review",
                    # of no record that was seen, so none is named
                    "records": 0,
                    "subjects": 0,
                    "subjects_is_upper_bound": False,
                    "sample_locations": [],
                    "reason": _SENTENCE,
                    "remedy": _REMEDY,
                    "first_seen": previous.get(finding, as_of),
                }
            )
    return pa.Table.from_pylist(kept, schema=schemas.FINDINGS)


def percent(share: float, *, up: bool = False) -> str:
    """A share as a percentage of three significant digits; `up`: never less than it is."""
    if share <= 0 or share >= 1:
        return f"{min(max(share, 0), 1):.0%}"
    value = share * 100
    digits = max(0, 2 - math.floor(math.log10(value)))
    if up:
        value = math.ceil(value * 10**digits - 1e-9) / 10**digits
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def with_faces(detections: Path, *, seen_only: bool = False) -> set[tuple[str, str]]:
    """Printable location and key of every object that holds a face, as far as is known.

    `seen_only`: seen in its pixels, not told by names or columns.
    """
    found: set[tuple[str, str]] = set()
    columns = ["kind", "basis", "location", "object_key"]
    with pq.ParquetFile(detections) as file:
        for batch in file.iter_batches(columns=columns, use_threads=False):
            which = pc.equal(batch.column("kind"), FACE)
            if seen_only:
                which = pc.and_(which, pc.equal(batch.column("basis"), "content"))
            rows = batch.filter(which)
            places = rows.column("location").to_pylist()
            keys = rows.column("object_key").to_pylist()
            found.update(
                (object_location(place, key), key) for place, key in zip(places, keys, strict=True)
            )
    return found


def object_location(location: str, key: str) -> str:
    """The part of an item's location that is its object: it ends with the object's key."""
    at = location.find(key)
    while at >= 0:
        end = at + len(key)
        if end == len(location) or location.startswith("!/", end):
            return location[:end]
        at = location.find(key, at + 1)
    return location.partition("!/")[0]


def _with_faces(detections: Path, draw: Draw) -> set[str]:
    return {location for location, key in with_faces(detections) if draw.takes(key)}


def _not_whole(coverage: Path) -> set[str]:
    """Locations of objects that were to be looked at and were not, or not whole.

    Also such as were not drawn but known from an earlier run: a wider bound, never one too narrow.
    """
    found: set[str] = set()
    with pq.ParquetFile(coverage) as file:
        for batch in file.iter_batches(
            columns=["location", "state", "reason", "is_object"], use_threads=False
        ):
            state = pc.is_in(batch.column("state"), value_set=_NOT_WHOLE)
            other = pc.not_equal(pc.fill_null(batch.column("reason"), ""), SAMPLED)
            which = pc.and_(pc.and_(state, other), batch.column("is_object"))
            found.update(batch.column("location").filter(which).to_pylist())
    return found

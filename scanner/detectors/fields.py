"""Tables: what the column names claim, confirmed or taken back by what the cells look like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scanner.detectors import vectors
from scanner.detectors.cells import Verdict, agrees, merge, speaking
from scanner.detectors.names import LEXICON_DIGEST, Claim, Reading, contradicted, read_name
from scanner.detectors.shapes import Shape, plain, shape_of
from scanner.model import Basis, Certainty, Detection, Location, Representation, TableBatch

_CONFIDENCE: dict[Certainty, float] = {"certain": 0.9, "possible": 0.5}
_WIDE = 16  # so many numbered number columns with one stem are one vector: emb_0 … emb_127
_NUMBERED = re.compile(r"(.*?)[_.\-\[ ]?(\d{1,4})\]?", re.DOTALL)
_AUDIO_WORDS = frozenset({"audio", "speech", "recording", "utterance", "wav", "wave", "voice"})

# Kinds that say whose a picture or a vector is, and kinds that make a table one about persons.
_IDENTITY = frozenset(
    {"identifier.subject_id", "identifier.passport", "identifier.national_id", "identifier.name"}
)


@dataclass(slots=True)
class _Sum:
    """One column and kind over all batches without subject keys."""

    basis: Basis
    certainty: Certainty
    representation: Representation | None
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Table:
    """What the names of all columns say together; the same for every batch."""

    names: tuple[str, ...]
    readings: tuple[Reading, ...]
    beside: tuple[frozenset[str], ...]  # per column, the words of the other columns
    groups: dict[int, tuple[int, ...]]  # first column of a wide vector -> its columns
    grouped: frozenset[int]


def _layout(schema: pa.Schema) -> _Table:
    names = tuple(str(name) for name in schema.names)
    groups: dict[str, list[tuple[int, int]]] = {}
    for at, name in enumerate(names):
        match = _NUMBERED.fullmatch(name)
        if match is not None:
            groups.setdefault(match[1], []).append((int(match[2]), at))
    wide: dict[int, tuple[int, ...]] = {}
    for members in groups.values():
        numbers = sorted(number for number, _ in members)
        if len(numbers) >= _WIDE and numbers[-1] - numbers[0] == len(numbers) - 1:
            columns = tuple(at for _, at in members)
            wide[columns[0]] = columns
    grouped = frozenset(at for columns in wide.values() for at in columns)
    # thousands of numbered columns (genes, pixels, features) are read once, by their stem
    readings = tuple(
        read_name(_stem(name)) if at in grouped else read_name(name)
        for at, name in enumerate(names)
    )
    counts: dict[str, int] = {}
    for reading in readings:
        for word in reading.words:
            counts[word] = counts.get(word, 0) + 1
    everyone = frozenset(counts)
    beside = tuple(
        everyone - {word for word in reading.words if counts[word] == 1} for reading in readings
    )
    return _Table(names, readings, beside, wide, grouped)


def _stem(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else name


class FieldScan:
    """The look at one table; holds counts and no values."""

    def __init__(self, name: str, version: str) -> None:
        self._name, self._version = name, version
        self._table: _Table | None = None
        self._location: Location | None = None
        self._sums: dict[tuple[str, str], _Sum] = {}

    def batch(self, batch: TableBatch) -> Iterator[Detection]:
        """Detections of single rows: of pictures, and of everything where the dataset names its
        subject column; the others wait for `finish`.
        """
        self._location = batch.location
        if self._table is None:
            self._table = _layout(batch.batch.schema)
        if not batch.batch.num_rows:
            return
        for column, verdicts in self._judge(batch.batch, self._table):
            for verdict in verdicts:
                # Pictures in cells are items of their own, which the face detector looks at, too:
                # a picture that both find is one record.
                if batch.subject_keys is None and verdict.representation != "source_image":
                    self._add(column, verdict)
                    continue
                for row in np.flatnonzero(verdict.rows):
                    yield self._detection(
                        batch.location.child(f"row={batch.first_row + int(row)}/{column}"),
                        verdict.kind,
                        verdict,
                        1,
                        batch.subject_keys[int(row)] if batch.subject_keys else None,
                    )

    def finish(self) -> Iterator[Detection]:
        """One detection per column and kind, for all batches together."""
        if self._location is None:
            return
        for (column, kind), total in self._sums.items():
            yield self._detection(
                self._location.child(f"column={column}"), kind, total, total.count, None
            )

    def _detection(
        self, location: Location, kind: str, what: Verdict | _Sum, count: int, key: str | None
    ) -> Detection:
        return Detection(
            location=location,
            kind=kind,
            basis=what.basis,
            confidence=_CONFIDENCE[what.certainty],
            certainty=what.certainty,
            detector=self._name,
            detector_version=self._version,
            representation=what.representation,
            count=count,
            subject_key=key,
        )

    def _add(self, column: str, verdict: Verdict) -> None:
        count = int(verdict.rows.sum())
        total = self._sums.setdefault(
            (column, verdict.kind), _Sum(verdict.basis, verdict.certainty, verdict.representation)
        )
        total.count += count
        if verdict.certainty == "certain":
            total.certainty = "certain"
        if total.representation is None:
            total.representation = verdict.representation
        if verdict.basis == "field_name":
            total.basis = "field_name"

    # ------------------------------------------------------------ judging one batch

    def _judge(self, batch: pa.RecordBatch, table: _Table) -> Iterator[tuple[str, list[Verdict]]]:
        shapes: dict[int, Shape] = {}
        columns: dict[int, pa.Array] = {}
        for at in range(len(table.names)):
            if at in table.grouped and at not in table.groups:
                continue
            columns[at] = plain(batch.column(at))
            claims = table.readings[at].claims
            shape = shape_of(columns[at], named=any(c.strength != "identity" for c in claims))
            if at in table.groups and shape.look == "number":
                shape = Shape("vector", shape.filled, dim=len(table.groups[at]))
            shapes[at] = shape
        said: dict[int, tuple[Claim, ...]] = {
            at: tuple(
                claim
                for claim in table.readings[at].claims
                if (
                    not contradicted(claim, table.readings[at], table.beside[at])
                    and shapes[at].look not in ("empty", "path")
                )
                or (claim.strength == "strong" and claim.kind in _IDENTITY)
            )
            for at in shapes
        }
        for at, shape in shapes.items():
            found: dict[str, Verdict] = {}
            if shape.look != "empty":
                for claim in said[at]:
                    verdict = _decide(claim, shape, _Around(at, table, said, shapes))
                    if verdict is not None:
                        found.setdefault(claim.kind, verdict)
                _add_audio(found, at, table, said, shape)
                _add_gps(found, at, table, said, shape)
            for verdict in speaking(columns[at], shape, frozenset(c.kind for c in said[at])):
                found[verdict.kind] = merge(found.get(verdict.kind), verdict)
            if found:
                yield table.names[at], list(found.values())


@dataclass(frozen=True, slots=True)
class _Around:
    """The other columns of the table, as one column sees them."""

    at: int
    table: _Table
    said: dict[int, tuple[Claim, ...]]
    shapes: dict[int, Shape]

    def personal(self, kind: str, *, firmly: bool) -> bool:
        """Whether another column speaks of a person; `firmly`: with a name that speaks alone."""
        for at, claims in self.said.items():
            if at == self.at:
                continue
            for claim in claims:
                if claim.kind == kind or claim.kind == "location.gps":
                    continue
                if claim.strength == "strong":
                    return True
                shown = self.shapes[at].look in ("number", "text")
                demographic = claim.kind.startswith("attribute.") and shown
                if claim.strength == "related" and (demographic or not firmly):
                    return True
                if (
                    not firmly
                    and claim.strength in ("values", "identity")
                    and claim.form != "template"
                ):
                    return True
        return False

    def pictured(self) -> bool:
        """Whether another column holds pictures, or says where they are."""
        return any(
            at != self.at and ("image" in self.table.readings[at].tags or shape.look == "image")
            for at, shape in self.shapes.items()
        )

    def identified(self) -> bool:
        """Whether another column says who it is."""
        return any(
            at != self.at
            and any(
                claim.kind in _IDENTITY
                and (claim.strength == "strong" or "person" in self.table.readings[at].tags)
                for claim in claims
            )
            for at, claims in self.said.items()
        )


_TEXTUAL = frozenset(
    {
        "text",
        "caption",
        "sentence",
        "query",
        "question",
        "answer",
        "document",
        "product",
        "title",
        "paragraph",
        "chunk",
        "url",
        "token",
        "content",
    }
)


def _decide(claim: Claim, shape: Shape, around: _Around) -> Verdict | None:
    """Whether a claim stands, given the values and the other columns; None if it does not."""
    if claim.kind.startswith("biometric."):
        return _biometric(claim, shape, around)
    if claim.kind == "document.id_card":
        if shape.look in ("image", "opaque"):
            sure: Certainty = "certain" if shape.look == "image" else "possible"
            return Verdict(claim.kind, "field_name", sure, "source_image", shape.filled)
        return None
    if shape.look in ("flag", "image", "audio", "template", "vector", "path"):
        flagged = claim.kind == "attribute.gender" and shape.look == "flag"
        if not flagged:
            return None
    if claim.strength == "related":
        firmly = claim.kind in ("identifier.name", "identifier.subject_id")
        near = around.personal(claim.kind, firmly=firmly)
        if claim.kind == "identifier.subject_id":
            near = near or ("person" in around.table.readings[around.at].tags and around.pictured())
        elif claim.kind.startswith("attribute."):
            near = near or around.pictured()
        if not near and claim.kind != "attribute.ethnicity":
            return None
        if claim.kind == "attribute.ethnicity" and not near and shape.look == "number":
            return None
    agreed = agrees(claim.kind, shape)
    if agreed is False or (claim.strength == "values" and agreed is not True):
        return None
    certainty: Certainty = "possible"
    if agreed and (claim.strength == "strong" or around.personal(claim.kind, firmly=True)):
        certainty = "certain"
    return Verdict(claim.kind, "field_name", certainty, None, shape.filled)


def _biometric(claim: Claim, shape: Shape, around: _Around) -> Verdict | None:
    look = shape.look
    representation: Representation | None
    certainty: Certainty
    if look in ("path", "digest", "flag", "number", "empty"):
        return None  # a manifest, a checksum, a statement about it: not the thing itself
    if claim.kind == "biometric.signature" and claim.strength == "values" and look != "image":
        return None  # bytes called a signature are cryptography, most often
    if look == "vector":
        if claim.form == "image" or not vectors.MIN_DIM <= shape.dim <= vectors.MAX_DIM:
            return None
        if claim.strength == "identity":
            return _generic_vector(claim, shape, around)
        modal = claim.strength == "strong"
        representation, certainty = "template", "certain" if modal else "possible"
    elif look == "template":
        return None  # `speaking` says which kind it is
    elif look == "image":
        if claim.form in ("template", "audio"):
            return None
        if claim.strength == "identity" and not around.identified():
            return None
        representation = "source_image"
        certainty = "certain" if claim.strength == "strong" else "possible"
    elif look == "audio":
        if claim.kind != "biometric.voice":
            return None
        representation, certainty = None, "possible"
    elif look == "opaque":
        if claim.strength == "identity" or claim.form in ("image", "audio"):
            return None
        representation = "template" if claim.form == "template" else None
        certainty = "certain" if claim.strength == "strong" else "possible"
    else:  # text, or nested values: only a name that speaks alone counts, and never for certain
        if claim.strength == "related":
            if not around.personal(claim.kind, firmly=True):
                return None
        elif claim.strength != "strong" or claim.form == "image":
            return None
        representation = "template" if claim.form == "template" else None
        certainty = "possible"
    return Verdict(claim.kind, "field_name", certainty, representation, shape.filled)


def _generic_vector(claim: Claim, shape: Shape, around: _Around) -> Verdict | None:
    """`embedding`, `features`: at most possible, and only beside an identity or a picture."""
    words = around.table.beside[around.at]
    kind = claim.kind
    spoken = "speaker" in words or bool(words & _AUDIO_WORDS)
    if spoken and shape.dim in vectors.VOICE_DIMS:
        kind = "biometric.voice"
    elif shape.dim not in vectors.FACE_DIMS or not (
        around.identified() or (around.pictured() and not words & _TEXTUAL)
    ):
        own = "person" in around.table.readings[around.at].tags
        if not (own and shape.dim in vectors.FACE_DIMS):
            return None
    return Verdict(kind, "field_value", "possible", "template", shape.filled)


def _add_audio(
    found: dict[str, Verdict],
    at: int,
    table: _Table,
    said: dict[int, tuple[Claim, ...]],
    shape: Shape,
) -> None:
    """A recording beside a column that says who speaks is a voice, whatever its own name."""
    if shape.look != "audio" or "biometric.voice" in found:
        return
    who = any(
        claim.kind in _IDENTITY or claim.kind.startswith("attribute.")
        for other, claims in said.items()
        if other != at
        for claim in claims
        if claim.strength == "strong" or "speaker" in table.readings[other].words
    )
    if who:
        found["biometric.voice"] = Verdict(
            "biometric.voice", "field_value", "possible", None, shape.filled
        )


def _add_gps(
    found: dict[str, Verdict],
    at: int,
    table: _Table,
    said: dict[int, tuple[Claim, ...]],
    shape: Shape,
) -> None:
    """A latitude with its longitude, where the table is about persons or their pictures: said
    once, at the latitude.
    """
    own = table.readings[at]
    if "lat" not in own.tags or len(own.words) > 4 or shape.look not in ("number", "text"):
        return
    if shape.look == "number" and not (shape.low >= -90 and shape.high <= 90):
        return
    if not any("lon" in reading.tags for reading in table.readings):
        return
    about_persons = any(
        claim.kind in _IDENTITY or claim.kind.startswith("biometric.")
        for other, claims in said.items()
        if other != at
        for claim in claims
        if claim.strength == "strong"
    )
    if about_persons:
        found["location.gps"] = Verdict(
            "location.gps", "field_name", "possible", None, shape.filled
        )


@dataclass(frozen=True, slots=True)
class Fields:
    """The table detector; each `table()` is a fresh look at one table."""

    name: str = "fields"
    version: str = field(default=f"1-{LEXICON_DIGEST}")

    def table(self) -> FieldScan:
        return FieldScan(self.name, self.version)


DETECTOR = Fields()

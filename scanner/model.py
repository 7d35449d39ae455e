"""Every type that passes between stages; read this first.

    stores ──ObjectInfo, stream──► readers ──Blob, Picture, TableBatch, Text, Problem──► detectors
    ──Detection──► ledger (Parquet) ──► policy (with Context) ──► findings ──► reports (SavedRun)

All types are frozen: a stage yields new values, it never edits the ones it was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, get_args

from scanner.purposes import Purposes

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

# ---------------------------------------------------------------- closed vocabularies

State = Literal["scanned", "unchanged", "partial", "excluded", "error"]
Verdict = Literal["violation", "review", "compliant", "not_applicable"]
Level = Literal["error", "warning", "note"]
Certainty = Literal["certain", "possible"]
Basis = Literal["content", "format", "field_name", "field_value", "metadata"]
Representation = Literal["source_image", "template", "derived_attribute"]

Reason = Literal[
    "denied",  # no permission, wrong credentials
    "vanished",  # listed, but gone when opened
    "changed",  # changed while it was being read
    "throttled",  # the store asked to slow down until we gave up
    "truncated",  # ends before its own structure says it should
    "malformed",  # not what its first bytes say it is
    "integrity",  # a checksum does not match
    "timeout",
    "memory",
    "crash",  # the decoder took its process down
    "encrypted",
    "overlap",  # archive members share bytes
    "ambiguous",  # two readers would see two different contents
    "depth",  # nested deeper than the limit
    "ratio",  # expands more than the limit
    "members",  # more members, rows, frames than the limit
    "bytes",  # more bytes than the limit
    "pixels",  # more pixels than the limit
    "unsupported",  # a format, or a kind of file, that no reader opens
    "link",  # a symbolic link that leads out of the target, or nowhere
    "listing",  # the listing itself failed; what it would have named is unknown
    "sampled",  # looked at a sample only, on request
    "interrupted",  # the run was stopped before this object
    "model",  # the detector failed on it
]
REASONS: frozenset[str] = frozenset(
    get_args(Reason)
)  # excluded objects carry "rule:<pattern>" instead
# Trouble that the same bytes give again; any other is worth another look
CONTENT_REASONS: frozenset[Reason] = frozenset(
    {
        "encrypted", "overlap", "ambiguous", "depth", "ratio", "members", "bytes", "pixels",
        "unsupported", "malformed",
    }
)  # fmt: skip
STATES: tuple[State, ...] = get_args(State)
UNKNOWN_BYTES = (
    "no reader knows these bytes"  # the detail of `unsupported` where no format is named
)

KINDS: frozenset[str] = frozenset(
    {
        "biometric.face", "biometric.fingerprint", "biometric.palm", "biometric.vein",
        "biometric.iris", "biometric.retina", "biometric.voice", "biometric.gait", "biometric.dna",
        "biometric.signature", "biometric.keystroke", "identifier.passport",
        "identifier.national_id", "identifier.subject_id", "identifier.name",
        "attribute.nationality", "attribute.gender", "attribute.age", "attribute.ethnicity",
        "location.gps", "document.mrz", "document.id_card",
    }
)  # fmt: skip

# ---------------------------------------------------------------- where things are

_LOOKS_ESCAPED = re.compile(r"\\x[0-9a-f]{2}")


def printable(name: str) -> str:
    r"""A key as valid Unicode, reversibly: bytes that are not UTF-8 (surrogates here) print as
    `\xNN`.

    Where a name holds such bytes, or text that looks like one, its backslashes are doubled.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raw = name.replace("\\", "\\\\").encode("utf-8", "surrogateescape")
        return raw.decode("utf-8", "backslashreplace")
    return name.replace("\\", "\\\\") if _LOOKS_ESCAPED.search(name) else name


@dataclass(frozen=True, slots=True)
class Location:
    """A name inside a parent; prints `s3://b/faces.tar!/000123.jpg` or
    `people.parquet!/row=17/photo`.
    """

    name: str
    parent: Location | None = None

    def child(self, name: str) -> Location:
        return Location(name, self)

    @property
    def root(self) -> Location:
        here = self
        while here.parent is not None:
            here = here.parent
        return here

    def __str__(self) -> str:
        own = printable(self.name)
        return own if self.parent is None else f"{self.parent}!/{own}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be looked at, or not whole; always ends as a coverage row, never
    only in a log.
    """

    location: Location
    reason: Reason
    detail: str  # what kind of trouble; never content of the item


WEAK_VERSION = "time:"  # begins a version that is but a time and a size


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One key in a store, as its listing gave it."""

    key: str  # byte-exact, relative to the target; undecodable bytes of local names as surrogates
    size: int  # bytes
    version: str = ""  # version id or etag; local: "<ctime_ns>-<size>-<inode>"
    mtime: datetime | None = None
    problem: tuple[Reason, str] | None = (
        None  # listed, but already known to be unreadable: (reason, detail)
    )
    excluded: str | None = None  # listed, but not to be opened: the rule's name, e.g. "symlink"
    version_id: str = ""  # of an object version that is not the current one (`--all-versions`)


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A target as the user wrote it, with its options; small and picklable, opened anew in every
    worker.
    """

    url: str  # "s3://bucket/prefix", "/data/faces", "gs://bucket"
    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False
    follow_symlinks: bool = False
    all_versions: bool = False  # S3: also the versions that are not the current ones
    skip: tuple[
        str, ...
    ] = ()  # absolute local folders that belong to this program (its own output)


# ---------------------------------------------------------------- what readers yield


@dataclass(frozen=True, slots=True)
class Limits:
    """Ceilings on one object, enforced on bytes produced, and always reported when they are met.

    The names are ClamAV's where it has the same limit (MaxRecursion, MaxFiles, MaxFileSize,
    MaxScanSize, MaxScanTime).
    """

    max_recursion: int = 10  # containers within containers
    max_files: int = 1_000_000  # of one container
    max_frames: int = 1_000  # of one animation or multi-page image
    max_pixels: int = 178_956_970  # of one image (Pillow's own error threshold)
    max_file_size: int = 1 << 30  # a member that has to be held in memory
    max_scan_size: int = 1 << 40  # bytes produced from one object, all levels together
    max_ratio: int = (
        1_000  # bytes produced / bytes read, once more than `ratio_after` were produced
    )
    ratio_after: int = 64 << 20
    max_cell_bytes: int = 256 << 20  # one table cell or one text line
    max_scan_time: int = 6 * 3600  # seconds for one object
    max_stall_time: int = 120  # seconds without a sign of life
    max_memory: int = 4 << 30  # bytes that a worker may hold beyond what it starts with


@dataclass(frozen=True, slots=True)
class Record:
    """The table row that a thing came from."""

    row: int  # 0-based, data rows only
    subject_key: str | None = None  # raw; leaves the worker only as a keyed digest


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes to be looked at, wherever they are: an object, an archive member, a table cell."""

    location: Location
    stream: (
        BinaryIO  # at offset 0; may not be seekable (ask `stream.seekable()`); closed by its maker
    )
    size: int | None = None  # bytes, if known without reading
    record: Record | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded frame, EXIF orientation applied, possibly at reduced size."""

    location: Location  # of the image for a single frame, else child("frame=<n>")
    pixels: NDArray[np.uint8]  # (h, w, 3) RGB
    width: int  # of the upright full-size picture, pixels
    height: int
    record: Record | None = None
    # Decodes it again at ReadOptions.look_px, while the reader waits; None: `pixels` are at that
    sharper: Callable[[], NDArray[np.uint8]] | None = None
    digest: bytes | None = None  # of the file, if this is all there is to be seen in it


@dataclass(frozen=True, slots=True, eq=False)
class ImageMetadata:
    """What an image file says beside its pixels; once per file."""

    location: Location
    exif_gps: Mapping[int, object]  # the GPS IFD, {} if none
    xmp: bytes  # the packet(s), b"" if none
    record: Record | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TableBatch:
    """Some consecutive rows of one table; `location` and the schema are the same for all batches of
    a table.

    Column names are the file's own; nested structs are flattened to dotted names ("person.photo").
    The types are what the file gives: CSV cells are all strings. Images in cells come as Blobs of
    their own, beside.
    """

    location: Location
    first_row: int  # 0-based number of the first row of this batch
    batch: pa.RecordBatch
    last: bool = False  # no further batch of this table follows
    subject_keys: tuple[str | None, ...] | None = (
        None  # per row, where the dataset names a subject column
    )


@dataclass(frozen=True, slots=True)
class Text:
    """Consecutive lines of a plain-text item, decoded."""

    location: Location
    first_line: int  # 0-based
    text: str
    record: Record | None = None
    last: bool = False


Part = Blob | Picture | ImageMetadata | TableBatch | Text | Problem


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader needs to know beside the bytes."""

    limits: Limits = field(default_factory=Limits)
    subject_column: str | None = None  # of tables, from the dataset's declaration
    look_px: int = (
        640  # detectors see pictures at most about this long: JPEGs may be decoded reduced to >= it
    )
    first_px: int | None = None  # they may even come at this, with a way to get a sharper one


# ---------------------------------------------------------------- what detectors yield


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector saw in an item; never holds pixels, templates, names or values."""

    location: Location
    kind: str  # one of KINDS
    basis: Basis
    confidence: float  # 0..1
    certainty: Certainty
    detector: str
    detector_version: str
    representation: Representation | None = None
    count: int = 1  # records of this item that it stands for (rows of a column)
    box: tuple[float, float, float, float] | None = (
        None  # x, y, w, h in pixels of the upright image
    )
    subject_key: str | None = None  # raw, from the row; leaves the worker only as a keyed digest
    share: float | None = None  # 0..1, of its picture that lies in `box`


def item_id(key: str, location: Location) -> str:
    """128-bit id of an item within its target: the same wherever the target is stored."""
    names: list[str] = []
    here: Location | None = location
    while here is not None and here.parent is not None:
        names.append(here.name)
        here = here.parent
    path = "\0".join([key, *reversed(names)])
    return hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


# ---------------------------------------------------------------- what is claimed


UNASSIGNED = "unassigned"  # the dataset of everything that no include pattern matches


@dataclass(frozen=True, slots=True)
class ManifestSpec:
    """A list of what a dataset should hold: one row per object, with its subject."""

    path: str  # absolute local path or URL
    location: str  # column: object key, relative to the target or to the manifest, or a full URL
    subject: str | None = None  # column: subject key
    age: str | None = None  # column; if None, found by name
    birth_date: str | None = None
    birth_year: str | None = None
    jurisdiction: str | None = None  # column (jurisdiction_from)


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A named set of items with one declared context (design section 8)."""

    id: str
    include: tuple[str, ...] = ("**",)
    manifest: ManifestSpec | None = None
    subject_from: str | None = (
        None  # regular expression on the location within the target, group "subject"
    )
    subject_column: str | None = (
        None  # column of tables in the dataset that names the row's subject
    )
    controller: str | None = None
    jurisdiction: str | None = None
    jurisdiction_from: str | None = None
    collected_for: str | None = None
    legal_basis: str | None = None
    source: str = "unknown"
    representation: Representation | None = None
    retention_until: datetime | None = None  # first moment past retention (UTC)
    subject_key_quality: str = "none"  # exact | hashed | none


@dataclass(frozen=True, slots=True)
class RegistrySpec:
    """Where a registry is and how its columns are called there."""

    name: str  # parties | consents | transfers | evidence
    path: str | None = None  # absolute local path
    url: str | None = field(default=None, repr=False)  # postgresql://…; may hold a password
    table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # our name -> theirs


@dataclass(frozen=True, slots=True)
class DeclaredUse:
    """The use that the run asks about."""

    purpose: str | None = None
    recipient: str | None = None
    to: str | None = None  # country


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """All that is claimed about the data: Arrow tables with the schemas of `schemas.py`, subjects
    as digests. Consents may lie on disk: only their `num_rows`, `schema` and `to_reader()` are
    used.
    """

    datasets: pa.Table
    manifest_rows: pa.Table
    consents: pa.Table
    transfers: pa.Table
    parties: pa.Table
    evidence: pa.Table
    declared_use: DeclaredUse = field(default_factory=DeclaredUse)
    child_age: int = 14
    purposes: Purposes = field(default_factory=Purposes)
    notes: tuple[str, ...] = ()  # what a reader of the report must know about the registries


# ---------------------------------------------------------------- what is decided


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a report needs to say about a rule, in plain words."""

    id: str
    version: str
    pack: str
    title: str
    level: Level
    law_cite: str  # "PIPA 17(1), 18(1)"
    citation: str  # verified | secondary | unverified
    duty: str  # the law in plain words
    remedy: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Who, when, what: the `run` object of the JSON report."""

    id: str
    version: str
    started: datetime
    finished: datetime
    as_of: datetime
    targets: tuple[str, ...]
    policies: tuple[str, ...]
    settings: Mapping[str, object]
    notes: tuple[
        str, ...
    ] = ()  # what a reader of the report must know (e.g. the declared use was not judged)
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class PictureCounts:
    """Pictures of one dataset by what they hold, each counted once (`pictures.py`)."""

    dataset_id: str
    no_face: int
    portraits: int  # one face, a tenth of the picture or more
    some_faces: int
    crowds: int  # more than ten faces
    documents: int  # an identity document, or a zone of one, is (possibly) to be seen


@dataclass(frozen=True, slots=True, eq=False)
class SavedRun:
    """A finished run on disk: run.json and the Parquet files of `schemas.py`."""

    folder: Path
    info: RunInfo
    exit_code: int
    complete: bool
    rules: tuple[RuleText, ...]
    findings: pa.Table
    coverage_counts: Mapping[str, int]  # objects by state
    coverage_gaps: pa.Table  # coverage rows that are neither scanned nor unchanged
    detection_counts: Mapping[str, int]  # records by kind
    pictures: tuple[PictureCounts, ...] = ()  # by dataset; () also: of an older version

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a saved run keeps of what it rests on, beside its findings: tables of `schemas.py`.

    None: not kept (a run of an older version). Names of parties are those of organisations only.
    """

    datasets: pa.Table | None = None
    transfers: pa.Table | None = None
    parties: pa.Table | None = None
    evidence: pa.Table | None = None
    holdings: pa.Table | None = None
    facts: pa.Table | None = None

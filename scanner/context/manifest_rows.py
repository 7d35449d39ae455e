"""Turns the rows of manifests into claims about objects: which one, whose, from where, how old."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scanner.context import cells
from scanner.context.cells import BadCell
from scanner.context.sources import OpenUrl, Source, missing_column, open_source, public_name
from scanner.countries import country
from scanner.errors import ConfigError
from scanner.model import DatasetSpec, ManifestSpec, printable
from scanner.schemas import MANIFEST_ROWS
from scanner.subjects import SubjectKey

# Column names taken for an age or a birth date where the configuration names none (compared without
# case, spaces, hyphens and underscores).
AGE_NAMES = frozenset(
    {
        "age", "ageyears", "ageinyears", "subjectage", "personage", "나이", "연령", "만나이",
        "年齢", "年龄", "年齡", "edad", "âge", "alter", "idade", "età", "возраст", "العمر",
    }
)  # fmt: skip
BIRTH_DATE_NAMES = frozenset(
    {
        "birthdate", "dateofbirth", "dob", "birthday", "생년월일", "生年月日", "出生日期",
        "fechadenacimiento", "fechanacimiento", "datedenaissance", "geburtsdatum",
        "datadenascimento", "датарождения", "تاريخالميلاد",
    }
)  # fmt: skip
BIRTH_YEAR_NAMES = frozenset(
    {
        "birthyear", "yearofbirth", "yob", "출생연도", "출생년도", "생년", "生年", "出生年份",
        "出生年", "añodenacimiento", "annéedenaissance", "geburtsjahr", "anodenascimento",
        "годрождения",
        "سنةالميلاد",
    }
)  # fmt: skip

_LOOKS_ESCAPED = r"\\x[0-9a-f]{2}"  # as model.printable


def read_manifest(
    dataset: DatasetSpec, key: SubjectKey, targets: Sequence[str], open_url: OpenUrl | None = None
) -> pa.Table:
    """All rows of the dataset's manifest, with the schema MANIFEST_ROWS; `row` counts from 0.

    A row whose location is blank has no candidates; two rows with one location stay two (two people
    in one picture). Raises ConfigError if the manifest or a column that the configuration names is
    not there, or if it has no rows: a manifest that lists nothing would call every object unlisted.
    """
    spec = dataset.manifest
    if spec is None:
        return MANIFEST_ROWS.empty_table()
    places = _Places(spec.path, targets)
    name = public_name(spec.path)
    batches: list[pa.RecordBatch] = []
    rows = 0
    with open_source(spec.path, open_url) as source:
        names = _columns(spec, source)
        wanted = list(names.values())
        for raw in source.batches(wanted):
            values = dict(zip(names, raw.columns, strict=True))
            size = raw.num_rows
            try:
                candidates = places.candidates(_locations(values["location"]))
            except BadCell as bad:
                row = rows + bad.index + 1
                raise ConfigError(
                    f"{name}: row {row}, column {spec.location!r}: expected {bad.expected}"
                ) from None
            try:
                subjects = (
                    key.digest_array(values["subject"])
                    if "subject" in values
                    else pa.nulls(size, pa.string())
                )
            except ConfigError as error:
                raise ConfigError(f"{name}: column {spec.subject!r}: {error}") from None
            batches.append(
                pa.RecordBatch.from_arrays(
                    [
                        pa.repeat(pa.scalar(dataset.id), size),
                        pa.array(np.arange(rows, rows + size)),
                        pa.repeat(pa.scalar(printable(name)), size),
                        candidates,
                        subjects,
                        _countries(values.get("jurisdiction"), size),
                        _ages(values.get("age"), size),
                        _births(values.get("birth_date"), values.get("birth_year"), size),
                    ],
                    schema=MANIFEST_ROWS,
                )
            )
            rows += size
    if not rows:
        raise ConfigError(f"{name}: the manifest of dataset {dataset.id!r} has no rows")
    return pa.Table.from_batches(batches, MANIFEST_ROWS)


def _columns(spec: ManifestSpec, source: Source) -> dict[str, str]:
    """Our names → the manifest's, of the columns that are there."""
    named = {
        "location": spec.location,
        "subject": spec.subject,
        "jurisdiction": spec.jurisdiction,
        "age": spec.age,
        "birth_date": spec.birth_date,
        "birth_year": spec.birth_year,
    }
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    for ours, theirs in columns.items():
        if theirs not in source.columns and not (source.open_ended and ours != "location"):
            key = "jurisdiction_from" if ours == "jurisdiction" else f"manifest.{ours}"
            raise missing_column(source, theirs, f"named by {key}")
    for ours, usual in (
        ("age", AGE_NAMES),
        ("birth_date", BIRTH_DATE_NAMES),
        ("birth_year", BIRTH_YEAR_NAMES),
    ):
        if ours in columns:
            continue
        found = [
            name for name in source.columns if re.sub(r"[\s_-]+", "", name).casefold() in usual
        ]
        if len(found) == 1:  # of two ages, either may be the wrong one
            columns[ours] = found[0]
    return columns


def _locations(values: pa.Array) -> pa.Array:
    """Keys as written: nothing is trimmed, for a key may end in a space; blank ones are null."""
    values = cells.plain(values)
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        decoded = [
            None if v is None else printable(v.decode("utf-8", "surrogateescape"))
            for v in values.to_pylist()
        ]
        values = pa.array(decoded, pa.string())
    elif not pa.types.is_string(values.type):
        values = cells.texts(values)
    blank = pc.equal(pc.utf8_trim_whitespace(values), "")
    return pc.if_else(blank, pa.scalar(None, pa.string()), values)


def _countries(values: pa.Array | None, size: int) -> pa.Array:
    if values is None:
        return pa.nulls(size, pa.string())
    try:
        return cells.each(cells.plain(values), country, pa.string())
    except BadCell:
        return pa.nulls(size, pa.string())


def _ages(values: pa.Array | None, size: int) -> pa.Array:
    try:
        return pa.nulls(size, pa.float64()) if values is None else cells.ages(values)
    except BadCell:
        return pa.nulls(size, pa.float64())


def _births(dates: pa.Array | None, years: pa.Array | None, size: int) -> pa.Array:
    """From the date, else from the year; the latest day that they allow."""
    found = pa.nulls(size, pa.date32())
    for values in (dates, years):
        if values is not None:
            try:
                found = pc.coalesce(found, cells.birth_dates(values))
            except BadCell:
                continue
    return found


# ---------------------------------------------------------------- which object a row means


class _Places:
    """Where the manifest lies in relation to the targets."""

    def __init__(self, manifest: str, targets: Sequence[str]) -> None:
        self._prefixes = list(
            dict.fromkeys(pair for target in targets for pair in _prefixes(target))
        )
        self._folders: list[str] = []
        for target in targets:
            folder = _inside(manifest, target)
            if folder is not None and folder not in self._folders:
                self._folders.append(folder)

    def candidates(self, locations: pa.Array) -> pa.Array:
        """list<string>: item keys in their printable form, best first.

        The location as it is; relative to the manifest's own folder, where that lies in a target;
        and what remains of a URL or an absolute path under a target.
        """
        plain = _without_dot(locations)
        found = [plain]
        found += [
            pc.binary_join_element_wise(folder, plain, "/") for folder in self._folders if folder
        ]
        for prefix, instead in self._prefixes:
            under = pc.starts_with(locations, prefix)
            rest = pc.utf8_slice_codeunits(locations, len(prefix))
            if instead:  # the target itself may be one object, whose key is its name
                rest = pc.binary_join_element_wise(instead, rest, "")
                inside = pc.or_(
                    pc.equal(locations, prefix), pc.starts_with(locations, prefix + "!/")
                )
                under = pc.and_(under, inside)
            found.append(pc.if_else(under, rest, pa.scalar(None, pa.string())))
        columns = [variant for column in found for variant in _as_printed(column)]
        return _lists(columns)


def _without_dot(locations: pa.Array) -> pa.Array:
    return pc.if_else(
        pc.starts_with(locations, "./"), pc.utf8_slice_codeunits(locations, 2), locations
    )


def _as_printed(column: pa.Array) -> Iterator[pa.Array]:
    """Keys are compared as they are printed. Nearly all print as they are; the others may be
    written either way."""
    odd = pc.fill_null(pc.match_substring_regex(column, _LOOKS_ESCAPED), False)
    if pc.any(odd).as_py():
        printed = pa.array(
            [printable(text) for text in column.filter(odd).to_pylist()], pa.string()
        )
        yield pc.replace_with_mask(column, odd, printed)
        yield pc.if_else(odd, column, pa.scalar(None, pa.string()))
    else:
        yield column


def _lists(columns: list[pa.Array]) -> pa.Array:
    """Per row, the values of all columns that are not null, in the order of the columns."""
    size = len(columns[0])
    stacked = pa.concat_arrays(columns)
    order = np.arange(size * len(columns)).reshape(len(columns), size).T.ravel()
    flat = pc.take(stacked, pa.array(order))
    valid = np.asarray(pc.is_valid(flat).to_numpy(zero_copy_only=False), dtype=bool)
    offsets = np.concatenate([[0], np.cumsum(valid.reshape(size, len(columns)).sum(axis=1))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat.drop_null())


def _prefixes(target: str) -> list[tuple[str, str]]:
    """What full locations under `target` start with, and what their keys start with instead.

    Of URLs the URL as it is written, of local targets the path, with and without links resolved,
    and its file: URL.
    """
    if "://" in target and not target.startswith("file://"):
        written = [target.rstrip("/")]
    else:
        path = Path(_local(target))
        paths = dict.fromkeys([os.path.normpath(path.absolute()), os.path.realpath(path)])
        written = [
            prefix + ("" if path == "/" else path) for prefix in ("", "file://") for path in paths
        ]
    pairs = [(start + "/", "") for start in written]
    return [
        *pairs,
        *((start, start.rpartition("/")[2]) for start in written if not start.endswith("/")),
    ]


def _inside(manifest: str, target: str) -> str | None:
    """The manifest's folder relative to the target ("" for the target itself), None if it lies
    elsewhere."""
    if "://" in target and not target.startswith("file://"):
        prefix = target if target.endswith("/") else target + "/"
        folder = manifest.rpartition("/")[0] + "/"
        return folder[len(prefix) :].rstrip("/") if folder.startswith(prefix) else None
    if "://" in manifest and not manifest.startswith("file://"):
        return None
    folder = os.path.realpath(Path(_local(manifest)).parent)
    top = os.path.realpath(_local(target))
    if folder == top:
        return ""
    top = top if top.endswith("/") else top + "/"
    return folder[len(top) :] if folder.startswith(top) else None


def _local(path: str) -> str:
    return unquote(urlsplit(path).path) if path.startswith("file://") else path

"""Reads the registries: parties, consents, transfers, evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from scanner.chains import check_chains, hops
from scanner.context import cells
from scanner.context.cells import BadCell
from scanner.context.consent_fields import kind_of
from scanner.context.consent_records import ConsentRecords, recognise
from scanner.context.postgres import open_table
from scanner.context.sources import OpenUrl, Source, missing_column, open_source
from scanner.context.spool import collected
from scanner.countries import country
from scanner.errors import ConfigError
from scanner.model import RegistrySpec
from scanner.schemas import CONSENTS, EVIDENCE, PARTIES, TRANSFERS
from scanner.subjects import SubjectKey
from scanner.vocabulary import (
    BOOLEANS,
    LEGAL_BASES,
    MODES,
    PARTY_TYPES,
    REGISTRY_COLUMNS,
    ROLES,
    STATES,
    WITHIN_PURPOSE,
    choices,
    legal_basis,
    word,
)

Read = Callable[[pa.Array], pa.Array]


def _words(known: Mapping[str, str]) -> Read:
    return partial(
        cells.words, read=lambda text: word(text, known), expected=f"one of {choices(known)}"
    )


def _lower(values: pa.Array) -> pa.Array:
    return pc.utf8_lower(cells.texts(values))


def _category(values: pa.Array) -> pa.Array:
    """ "face" and "pd:Picture" are `biometric.face`: a withdrawal of it has to be seen."""
    coded = cells.texts(values).dictionary_encode()
    kinds = [None if text is None else kind_of(text) for text in coded.dictionary.to_pylist()]
    return pa.array(kinds, pa.string()).take(coded.indices)


def _evidence_kind(values: pa.Array) -> pa.Array:
    """In the form that rules ask for: `has_evidence('PIA_SUBMITTED')`."""
    return pc.replace_substring_regex(pc.utf8_upper(cells.texts(values)), r"[\s-]+", "_")


def _basis(values: pa.Array) -> pa.Array:
    expected = f"one of {choices(LEGAL_BASES)}, statute:<cite>"
    found = cells.words(values, read=legal_basis, expected=expected)
    return pc.if_else(pc.equal(found, "none"), pa.scalar(None, pa.string()), found)


_from: Read = partial(cells.moments, upper=False)
_until: Read = partial(cells.moments, upper=True)
_flag: Read = partial(cells.flags, read=lambda text: word(text, BOOLEANS))
_country: Read = partial(cells.words, read=country, expected="a country code such as KR")

# How cells are read; all others are text.
_READERS: Mapping[str, Mapping[str, Read]] = {
    "parties": {"type": _words(PARTY_TYPES), "country": _country},
    "consents": {
        "data_category": _category,
        "state": _words(STATES),
        "valid_from": _from,
        "valid_until": _until,
        "separate": _flag,
        "guardian_verified": _flag,
        "recorded_at": _from,
    },
    "transfers": {
        "role_of_recipient": _words(ROLES),
        "mode": _words(MODES),
        "legal_basis": _basis,
        "within_original_purpose": _words(WITHIN_PURPOSE),
        "published_from": _from,
        "from_country": _country,
        "to_country": _country,
        "started_at": _from,
        "ended_at": _until,
        "destroyed_at": _from,
    },
    "evidence": {
        "kind": _evidence_kind,
        "attested_at": _from,
        "valid_until": _until,
        "sha256": _lower,
    },
}
_SCHEMAS: Mapping[str, pa.Schema] = {
    "parties": PARTIES,
    "consents": CONSENTS,
    "transfers": TRANSFERS,
    "evidence": EVIDENCE,
}
_UNIQUE = {"parties": "party_id", "transfers": "transfer_id", "evidence": "evidence_id"}


def empty(name: str) -> pa.Table:
    """The registry that nobody keeps: its columns, no rows."""
    return _SCHEMAS[name].empty_table()


def read_registry(
    spec: RegistrySpec,
    key: SubjectKey,
    open_url: OpenUrl | None = None,
    notes: list[str] | None = None,
    spool: Path | None = None,
) -> pa.Table:
    """The registry as a table of its schema; subjects are digested batch by batch.

    What a reader of the report must know about it is added to `notes`. A registry of consents that
    is too long for memory is kept in the folder `spool` (see `spool.Spooled`).

    Raises ConfigError naming file, row (1 is the first below the header) and column, never a value;
    and MissingExtra for a database without its driver. Nothing is returned of a registry that
    cannot be read whole.
    """
    where: AbstractContextManager[Source]
    if spec.url is not None:
        where = open_table(spec.url, spec.table or "")
    else:
        standard = recognise if spec.name == "consents" and not spec.columns else None
        where = open_source(spec.path or "", open_url, standard)
    with where as source:
        batches = _batches(spec, source, key)
        schema = _SCHEMAS[spec.name]
        if spec.name == "consents":
            table = collected(batches, schema, source.name, spool)
        else:
            table = pa.Table.from_batches(list(batches), schema)
        if isinstance(source, ConsentRecords) and source.left_out and notes is not None:
            notes.append(
                f"{source.name}: {source.left_out} purposes of receipts with implicit consent: "
                "not taken for consents"
            )
        if spec.name in _UNIQUE:
            _check_unique(source.name, table, _UNIQUE[spec.name])
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    ours: str
    theirs: str
    required: bool
    read: Read


def _batches(spec: RegistrySpec, source: Source, key: SubjectKey) -> Iterator[pa.RecordBatch]:
    columns = _columns(spec, source)
    schema = _SCHEMAS[spec.name]
    theirs = [column.theirs for column in columns]
    first_row = 1
    for raw in source.batches(theirs):
        found: dict[str, pa.Array] = {}
        for position, column in enumerate(columns):
            is_subject = column.ours == "subject_key"
            try:
                here = raw.column(position)
                values = key.digest_array(here) if is_subject else column.read(here)
            except BadCell as bad:
                raise _bad(
                    source, first_row + bad.index, column.theirs, f"expected {bad.expected}"
                ) from None
            except ConfigError as error:
                raise ConfigError(f"{source.name}: column {column.theirs!r}: {error}") from None
            if column.required and values.null_count:
                row = first_row + pc.index(pc.is_null(values), True).as_py()
                raise _bad(source, row, column.theirs, "is required, and empty here")
            found["subject_digest" if is_subject else column.ours] = values
        arrays = [
            found[field.name].cast(field.type)
            if field.name in found
            else pa.nulls(raw.num_rows, field.type)
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        first_row += raw.num_rows


def _columns(spec: RegistrySpec, source: Source) -> list[_Column]:
    required, optional = REGISTRY_COLUMNS[spec.name]
    columns: list[_Column] = []
    for ours in (*required, *optional):
        theirs = spec.columns.get(ours, ours)
        needed = ours in required
        if theirs not in source.columns:
            if needed or (ours in spec.columns and not source.open_ended):
                why = "required" if needed else f"named in the configuration for {ours}"
                if ours != theirs and needed:
                    why = f"required, for {ours}"
                raise missing_column(source, theirs, why)
            if not source.open_ended:
                continue
        columns.append(_Column(ours, theirs, needed, _reader(spec.name, ours)))
    return columns


def _reader(registry: str, column: str) -> Read:
    read = _READERS[registry].get(column)
    return cells.texts if read is None else partial(cells.distinct, read=read)


def _bad(source: Source, row: int, column: str, what: str) -> ConfigError:
    return ConfigError(f"{source.name}: row {row}, column {column!r}: {what}")


def _check_unique(name: str, table: pa.Table, column: str) -> None:
    counts = pc.value_counts(table.column(column).combine_chunks())
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        mask = pc.equal(table.column(column), twice[0])
        rows = pc.indices_nonzero(mask).to_pylist()
        raise ConfigError(
            f"{name}: rows {rows[0] + 1} and {rows[1] + 1} have the same {column!r}; "
            "each must be unique"
        )


def check_transfers(name: str, transfers: pa.Table, controllers: Mapping[str, str | None]) -> None:
    """Raises ConfigError if a transfer names a dataset that is not a key of `controllers`, and for
    chains with a circle or a missing link (see `scanner.chains`).
    """
    _check_datasets(name, transfers, frozenset(controllers))
    check_chains(name, hops(transfers), controllers)


def _check_datasets(name: str, transfers: pa.Table, declared: frozenset[str]) -> None:
    """Raises ConfigError if a transfer names a dataset that the configuration does not."""
    known = pc.is_in(
        transfers.column("dataset_id"), value_set=pa.array(sorted(declared), pa.string())
    )
    row = pc.index(known, False).as_py()
    if row >= 0:
        raise ConfigError(
            f"{name}: row {row + 1}, column 'dataset_id': names a dataset that is not declared; "
            f"declared are {', '.join(sorted(declared))}"
        )

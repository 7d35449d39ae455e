"""Stage 4: what is claimed about the data, by the configuration, by manifests and by registries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from scanner.context.assign import NOT_INCLUDED, Assigner, Globs, Selector
from scanner.context.manifest_rows import read_manifest
from scanner.context.own_purposes import read_purposes
from scanner.context.registries import check_transfers, empty, read_registry
from scanner.context.sources import OpenUrl, public_name
from scanner.model import UNASSIGNED, Context, DatasetSpec, DeclaredUse, RegistrySpec
from scanner.schemas import DATASETS, MANIFEST_ROWS
from scanner.subjects import SubjectKey

__all__ = ["NOT_INCLUDED", "UNASSIGNED", "Assigner", "Globs", "Selector", "load_context"]


def load_context(
    datasets: Sequence[DatasetSpec],
    registries: Sequence[RegistrySpec],
    *,
    declared_use: DeclaredUse,
    child_age: int,
    key: SubjectKey,
    targets: Sequence[str] = (),
    open_url: OpenUrl | None = None,
    purposes: str | None = None,
    spool: Path | None = None,
) -> Context:
    """Everything that is claimed, as tables of `scanner.schemas`.

    `purposes` is the file of the organisation's own purposes. `targets` are the run's, as given,
    for manifests that name objects by full path or URL; `open_url` opens manifests and registries
    that are not local files, as seekable binary streams; `spool` is a folder with room for what is
    too long for memory.
    Raises ConfigError if any of them is not there or cannot be read whole: nothing is judged on
    half a registry.
    """
    tables = {name: empty(name) for name in ("parties", "consents", "transfers", "evidence")}
    notes: list[str] = []
    for spec in registries:
        tables[spec.name] = read_registry(spec, key, open_url, notes, spool)
        if spec.name == "transfers":
            controllers = {UNASSIGNED: None, **{spec.id: spec.controller for spec in datasets}}
            name = public_name(spec.path) if spec.path else f"table {spec.table}"
            check_transfers(name, tables["transfers"], controllers)
    rows = [
        read_manifest(dataset, key, targets, open_url)
        for dataset in datasets
        if dataset.manifest is not None
    ]
    return Context(
        datasets=_dataset_table(datasets),
        manifest_rows=pa.concat_tables(rows) if rows else MANIFEST_ROWS.empty_table(),
        consents=tables["consents"],
        transfers=tables["transfers"],
        parties=tables["parties"],
        evidence=tables["evidence"],
        declared_use=declared_use,
        child_age=child_age,
        purposes=read_purposes(purposes),
        notes=tuple(notes),
    )


def _dataset_table(datasets: Sequence[DatasetSpec]) -> pa.Table:
    columns = {
        "dataset_id": [spec.id for spec in datasets],
        "controller": [spec.controller for spec in datasets],
        "jurisdiction": [spec.jurisdiction for spec in datasets],
        "collected_for": [spec.collected_for for spec in datasets],
        "legal_basis": [spec.legal_basis for spec in datasets],
        "source": [spec.source for spec in datasets],
        "representation": [spec.representation for spec in datasets],
        "retention_until": [spec.retention_until for spec in datasets],
        "subject_key_quality": [spec.subject_key_quality for spec in datasets],
        "has_manifest": [spec.manifest is not None for spec in datasets],
    }
    return pa.table(columns, DATASETS)

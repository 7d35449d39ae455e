"""The claims of a small world, from rows; a registry without rows is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from scanner import schemas
from scanner.model import Context

_SCHEMAS: Mapping[str, pa.Schema] = {
    "datasets": schemas.DATASETS,
    "manifest_rows": schemas.MANIFEST_ROWS,
    "consents": schemas.CONSENTS,
    "transfers": schemas.TRANSFERS,
    "parties": schemas.PARTIES,
    "evidence": schemas.EVIDENCE,
}


def context_of(tables: Mapping[str, Sequence[Mapping[str, object]]], **more: Any) -> Context:
    """`tables` by the names that Context gives them; `more` are its other fields."""
    assert tables.keys() - {"coverage"} <= _SCHEMAS.keys()
    registries = {
        name: pa.Table.from_pylist([dict(row) for row in tables.get(name, ())], schema=schema)
        for name, schema in _SCHEMAS.items()
    }
    return Context(**registries, **more)

"""Judges detections in their context by rule packs (stage 5).

`load_packs` reads packs, `judge` applies them; importing this package imports neither duckdb nor
sqlglot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scanner.policy.cases import CaseResult, test_packs, validate
    from scanner.policy.choosing import choose, named
    from scanner.policy.explaining import explain, overview
    from scanner.policy.grounds import explain_finding
    from scanner.policy.judging import Judgement, finding_id, judge
    from scanner.policy.packs import (
        Law,
        Measure,
        Pack,
        Rule,
        builtin_pack_names,
        builtin_packs_folder,
        load_packs,
    )

_HOMES = {
    "choose": "choosing",
    "named": "choosing",
    "CaseResult": "cases",
    "test_packs": "cases",
    "validate": "cases",
    "explain": "explaining",
    "explain_finding": "grounds",
    "Judgement": "judging",
    "finding_id": "judging",
    "judge": "judging",
    "Law": "packs",
    "Measure": "packs",
    "Pack": "packs",
    "Rule": "packs",
    "builtin_pack_names": "packs",
    "builtin_packs_folder": "packs",
    "load_packs": "packs",
    "overview": "explaining",
}

__all__ = [
    "CaseResult",
    "Judgement",
    "Law",
    "Measure",
    "Pack",
    "Rule",
    "builtin_pack_names",
    "builtin_packs_folder",
    "choose",
    "explain",
    "explain_finding",
    "finding_id",
    "judge",
    "load_packs",
    "named",
    "overview",
    "test_packs",
    "validate",
]


def __getattr__(name: str) -> object:
    """Import the module of a name when it is first asked for."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

"""The JSON report is the object that the documentation promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scanner.model import STATES, SavedRun
from scanner.schemas import COVERAGE, FINDINGS

Render = Callable[..., bytes]
Make = Callable[..., SavedRun]


def load(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    assert isinstance(value, dict)
    return value


def test_shape(usual: SavedRun, render: Render) -> None:
    report = load(render("json", usual))
    assert list(report) == [
        *("schema", "run", "summary", "findings", "coverage", "detections", "pictures", "rules"),
    ]
    assert report["schema"] == "consentry/1"
    assert list(report["run"]) == [
        *("id", "version", "started", "finished", "as_of", "targets", "policies", "settings"),
        *("notes", "interrupted"),
    ]
    assert report["run"]["as_of"] == "2026-11-22T12:00:00Z"
    assert report["summary"] == {
        "verdicts": {"violation": 3, "review": 2, "compliant": 1},
        "levels": {"error": 2, "warning": 1, "note": 0},
        "suppressed": 1,
        "coverage": {"scanned": 1200, "unchanged": 300, "partial": 1, "excluded": 1, "error": 2},
        "complete": False,
        "exit_code": 4,
    }
    assert [list(row) for row in report["findings"]] == [FINDINGS.names] * 7
    assert report["coverage"]["counts"] == report["summary"]["coverage"]
    assert [list(row) for row in report["coverage"]["rows"]] == [COVERAGE.names] * 5
    assert report["detections"]["biometric.face"] == 1234
    assert {rule["id"] for rule in report["rules"]} >= {r["rule_id"] for r in report["findings"]}


def test_findings_keep_every_value_and_the_worst_comes_first(
    usual: SavedRun, render: Render
) -> None:
    rows = load(render("json", usual))["findings"]
    assert [row["verdict"] for row in rows] == ["violation"] * 4 + ["review"] * 2 + ["compliant"]
    first = next(row for row in rows if row["finding_id"].endswith("1"))
    source = next(row for row in usual.findings.to_pylist() if row["finding_id"].endswith("1"))
    assert first["first_seen"] == "2026-11-19T12:00:00Z"
    for name in set(FINDINGS.names) - {"first_seen", "evaluated_at"}:
        assert first[name] == source[name]


def test_hostile_names_round_trip(hostile: SavedRun, render: Render) -> None:
    report = load(render("json", hostile))
    names = set(hostile.info.targets)
    assert set(report["run"]["targets"]) == names
    assert {row["dataset_id"] for row in report["findings"]} == names
    assert {row["detail"] for row in report["coverage"]["rows"]} == {*names, None}
    assert report["run"]["settings"]["surrogate"] == "\udcff"


def test_rows_are_lines(large: SavedRun, render: Render) -> None:
    lines = render("json", large).decode().splitlines()
    assert sum('"finding_id"' in line for line in lines) == 2000
    assert sum('"location"' in line for line in lines) == 5000


def test_empty_run_has_every_key(empty: SavedRun, render: Render) -> None:
    report = load(render("json", empty))
    assert report["findings"] == [] and report["coverage"]["rows"] == []
    assert set(report["summary"]["coverage"]) == set(STATES)
    assert report["summary"]["complete"] is True


def test_interrupted_is_said(interrupted: SavedRun, render: Render) -> None:
    report = load(render("json", interrupted))
    assert report["run"]["interrupted"] is True
    assert report["summary"]["complete"] is False
    assert report["summary"]["exit_code"] == 130

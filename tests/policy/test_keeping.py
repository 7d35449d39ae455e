"""What a judgement keeps: the facts behind each finding, and what was counted of each dataset."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scanner import schemas
from scanner.model import DeclaredUse
from scanner.policy import Judgement, judge, load_packs
from tests.policy.contexts import context_of

AS_OF = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)
Rows = list[dict[str, object]]


def detection(item: str, subject: str | None, **more: object) -> dict[str, object]:
    return {
        "location": f"s3://b/{item}", "item_id": item, "item_key": item, "object_key": item,
        "kind": "biometric.face", "representation": "source_image", "basis": "content", "count": 1,
        "confidence": 0.9, "certainty": "certain", "subject_digest": subject, "dataset_id": "d",
        **more,
    }  # fmt: skip


def kept(
    folder: Path,
    detections: Rows,
    tables: dict[str, Rows],
    *,
    packs: tuple[str, ...] = ("baseline",),
    keep: bool = True,
) -> Judgement:
    for name, rows, schema in (
        ("detections", detections, schemas.DETECTIONS),
        ("coverage", [], schemas.COVERAGE),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    return judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=context_of(tables, declared_use=DeclaredUse("train", "acme", None)),
        packs=load_packs(packs, folder),
        as_of=AS_OF,
        workdir=folder / "work",
        previous={},
        keep=keep,
    )


def facts_of(judgement: Judgement, rule: str, verdict: str) -> list[tuple[Any, ...]]:
    [finding] = [
        row["finding_id"]
        for row in judgement.findings.to_pylist()
        if (row["rule_id"], row["verdict"]) == (rule, verdict)
    ]
    assert judgement.facts is not None
    return [
        (row["part"], row["name"], row["value"], row["low"], row["high"])
        for row in judgement.facts.to_pylist()
        if row["finding_id"] == finding
    ]


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    got = kept(tmp_path, [detection("a.jpg", "p1")], {}, keep=False)
    assert (got.facts, got.holdings) == (None, None)


def test_facts_are_those_that_decided(tmp_path: Path) -> None:
    detections = [detection(f"{n}.jpg", f"p{n}") for n in range(4)] + [detection("x.jpg", None)]
    consents: Rows = [
        {"subject_digest": "p0", "purpose": "train", "recipient": "acme", "state": "given"},
        {"subject_digest": "p1", "purpose": "train", "recipient": "acme", "state": "withdrawn"},
    ]
    got = kept(tmp_path, detections, {"consents": consents})
    assert got.facts is not None and got.facts.schema == schemas.FACTS
    violation = facts_of(got, "BASE-CONSENT-MISSING", "violation")
    assert ("column", "kind", "biometric.face", None, None) in violation
    assert ("column", "legal_basis", None, None, None) in violation  # nothing is on record
    assert ("differs", "consent_status", None, None, None) in violation
    assert ("consent", "no consent on record", None, 2, 2) in violation
    assert ("consent", "consent withdrawn", None, 1, 1) in violation
    assert not [fact for fact in violation if fact[0] == "asked"]
    review = facts_of(got, "BASE-CONSENT-MISSING", "review")
    assert ("column", "consent_status", "subject_unknown", None, None) in review
    assert ("asked", "", None, None, None) in review


def test_measures_keep_their_bounds_and_evidence_its_name(tmp_path: Path) -> None:
    detections = [detection(f"{n}.bin", f"p{n}", representation="template") for n in range(3)] + [
        detection("x.bin", None, representation="template", certainty="possible")
    ]
    tables: dict[str, Rows] = {
        "datasets": [{"dataset_id": "d", "jurisdiction": "KR", "controller": "moj",
                      "subject_key_quality": "exact"}],
        "parties": [{"party_id": "moj", "type": "public_body", "country": "KR"}],
        "evidence": [
            {"evidence_id": "E-1", "kind": "PIA_SUBMITTED", "about": "d", "attested_by": "dpo"},
        ],
    }  # fmt: skip
    got = kept(tmp_path, detections, tables, packs=("kr-pipa",))
    facts = facts_of(got, "KR-PIPA-33-PIA", "compliant")
    assert ("measure", "people", None, 3, 4) in facts
    assert ("measure", "sensitive_people", None, 3, 4) in facts
    assert ("evidence", "PIA_SUBMITTED", "true", None, None) in facts
    assert ("evidence", "FILES_LINKED", "false", None, None) in facts
    assert ("proof", "PIA_SUBMITTED", "E-1 by dpo", None, None) in facts


def test_no_age_and_no_key_of_a_person_is_kept(tmp_path: Path) -> None:
    tables: dict[str, Rows] = {
        "datasets": [{"dataset_id": "d", "jurisdiction": "KR", "legal_basis": "consent",
                      "has_manifest": True}],
        "manifest_rows": [{"dataset_id": "d", "row": 0, "manifest": "m.csv",
                           "candidates": ["a.jpg"], "subject_digest": "p1", "age": 9.0}],
    }  # fmt: skip
    got = kept(tmp_path, [detection("a.jpg", "p1")], tables, packs=("baseline", "kr-pipa"))
    assert got.facts is not None
    rows = got.facts.to_pylist()
    assert ("withheld", "subject_age") in {(r["part"], r["name"]) for r in rows}
    assert not [r for r in rows if r["part"] == "column" and r["name"] == "subject_age"]
    assert not [r for r in rows if r["value"] in ("p1", "9")]


def holdings_of(judgement: Judgement) -> dict[tuple[Any, Any, Any], dict[str, Any]]:
    assert judgement.holdings is not None
    assert judgement.holdings.schema == schemas.HOLDINGS
    return {
        (row["dataset_id"], row["kind"], row["representation"]): row
        for row in judgement.holdings.to_pylist()
    }


def test_holdings_count_people_once_and_say_who_is_unknown(tmp_path: Path) -> None:
    detections = [
        detection("1.jpg", "p1"),
        detection("2.jpg", "p1"),  # the same person again
        detection("3.jpg", "p2", certainty="possible"),
        detection("4.jpg", None),
        detection("4.jpg", None),  # a second face in the same picture: one record
        detection("4.jpg", None),
        detection("t.csv!/age", None, kind="attribute.age", basis="field_name", count=40,
                  representation=None),
        detection("5.jpg", "p1", dataset_id="e"),
    ]  # fmt: skip
    tables: dict[str, Rows] = {
        "datasets": [
            {"dataset_id": "d", "jurisdiction": "KR", "subject_key_quality": "exact"},
            {"dataset_id": "e", "subject_key_quality": "none"},
            {"dataset_id": "empty"},
        ]
    }
    found = holdings_of(kept(tmp_path, detections, tables))
    assert set(found) == {
        ("d", None, None), ("d", "biometric.face", "source_image"), ("d", "attribute.age", None),
        ("e", None, None), ("e", "biometric.face", "source_image"), (None, None, None),
    }  # fmt: skip
    faces = found["d", "biometric.face", "source_image"]
    names = ("items", "records", "possible_records", "people", "unknown_records")
    assert [faces[n] for n in names] == [4, 4, 1, 2, 1]
    assert [found["d", "attribute.age", None][n] for n in names] == [1, 40, 0, 0, 40]
    whole = found["d", None, None]
    assert [whole[n] for n in names] == [5, 44, 1, 2, 41]
    assert (whole["more_faces"], whole["subject_key_quality"]) == (2, "exact")
    assert whole["jurisdictions"] == ["KR"]
    assert found["e", None, None]["jurisdictions"] == [None]
    assert found["e", None, None]["subject_key_quality"] == "none"
    assert [found[None, None, None][n] for n in names] == [6, 45, 1, 2, 41]  # p1 counted once


def test_holdings_of_plain_detections_are_the_same(tmp_path: Path) -> None:
    """One row per file, in order: the judge counts these in another way."""
    detections = [detection(f"{n:03}.jpg", f"p{n // 2}") for n in range(10)]
    detections += [detection("900.jpg", None, certainty="possible")]
    found = holdings_of(kept(tmp_path, detections, {"datasets": [{"dataset_id": "d"}]}))
    whole = found["d", None, None]
    assert (whole["records"], whole["possible_records"], whole["people"]) == (11, 1, 5)
    assert (whole["unknown_records"], whole["more_faces"]) == (1, 0)
    assert found[None, None, None]["people"] == 5

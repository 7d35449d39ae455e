"""Evidence that settles a question, evidence that has expired, and what chains leave open."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import schemas
from scanner.model import DeclaredUse
from scanner.policy import Judgement, judge, load_packs
from scanner.policy.proofs import Proofs
from scanner.purposes import Purposes
from tests.policy.contexts import context_of

AS_OF = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)
RULE = """
id: OWN-{name}
version: "1"
title: t
law: {{instrument: own, cites: ["1"], citation: own_policy, duty: d}}
level: error
scope: {scope}
applies_when: {applies}
{conditions}
remedy: r
"""
ATTESTED = "review_when: not has_evidence('ATTESTATION')\nwhere: {where}"
Rows = list[dict[str, object]]


def pack(folder: Path, scope: str = "exposure", where: str = "purpose is null") -> Path:
    rules = {
        "ATTESTED": ("purpose is not null", ATTESTED.format(where=where)),
        "PLAIN": ("purpose is not null", "where: recipient is null"),
    }
    place = folder / "pack"
    place.mkdir()
    (place / "pack.yaml").write_text('name: pack\nversion: "1"\ntitle: t\ndescription: d\n')
    for name, (applies, conditions) in rules.items():
        (place / f"OWN-{name}.yaml").write_text(
            RULE.format(name=name, scope=scope, applies=applies, conditions=conditions)
        )
    return place


def judged(
    folder: Path,
    evidence: Rows,
    transfers: Rows,
    scope: str = "exposure",
    consents: Rows = (),  # type: ignore[assignment]
    purposes: Purposes | None = None,
) -> Judgement:
    found = {
        "location": "s3://b/1.jpg", "item_id": "1", "item_key": "1.jpg", "object_key": "1.jpg",
        "kind": "biometric.face", "representation": "source_image", "basis": "content", "count": 1,
        "confidence": 0.9, "certainty": "certain", "subject_digest": "p", "dataset_id": "d",
    }  # fmt: skip
    for name, rows, schema in (
        ("detections", [found], schemas.DETECTIONS),
        ("coverage", [], schemas.COVERAGE),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    return judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=context_of(
            {
                "datasets": [{"dataset_id": "d", "controller": "moj"}],
                "consents": consents,
                "transfers": transfers,
                "evidence": evidence,
            },
            declared_use=DeclaredUse("train", "acme"),
            purposes=purposes or Purposes(),
        ),
        packs=load_packs([str(pack(folder, scope)), *(["baseline"] if consents else [])], folder),
        as_of=AS_OF,
        workdir=folder / "work",
        previous={},
    )


def said(judgement: Judgement, rule: str) -> dict[str | None, tuple[str, str]]:
    """By transfer: the verdict and its sentence."""
    return {
        row["transfer_id"]: (row["verdict"], row["reason"])
        for row in judgement.findings.to_pylist()
        if row["rule_id"] == rule
    }


def proof(number: int, until: datetime.datetime | None, **more: object) -> dict[str, object]:
    return {
        "evidence_id": f"E-{number}", "kind": "ATTESTATION", "about": "d", "attested_by": "dpo",
        "attested_at": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), "valid_until": until,
        **more,
    }  # fmt: skip


LATER = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize("scope", ["exposure", "transfer"])
def test_evidence_settles_a_review_and_is_named(tmp_path: Path, scope: str) -> None:
    got = judged(tmp_path, [proof(17, LATER)], [], scope)
    verdict, reason = said(got, "OWN-ATTESTED")[None]
    assert verdict == "compliant"
    assert (
        "because of evidence ATTESTATION on record (E-17 by dpo, 2024-01-01, until 2024-12-31)"
        in reason
    )
    assert not got.notes


@pytest.mark.parametrize("scope", ["exposure", "transfer"])
def test_expired_evidence_turns_back_into_review_loudly(tmp_path: Path, scope: str) -> None:
    got = judged(tmp_path, [proof(17, AS_OF)], [], scope)
    verdict, reason = said(got, "OWN-ATTESTED")[None]
    assert verdict == "review"
    assert "evidence ATTESTATION E-17 expired: it was valid until 2024-05-31" in reason
    (note,) = got.notes
    assert note == (
        "Evidence E-17 (ATTESTATION about d) was valid until 2024-05-31: what it settled is open "
        "again."
    )


def test_the_last_moment_of_evidence(tmp_path: Path) -> None:
    got = judged(tmp_path, [proof(1, AS_OF + datetime.timedelta(microseconds=1))], [])
    assert said(got, "OWN-ATTESTED")[None][0] == "compliant"


def test_newer_evidence_takes_the_place_of_expired(tmp_path: Path) -> None:
    got = judged(tmp_path, [proof(1, AS_OF), proof(2, None)], [])
    verdict, reason = said(got, "OWN-ATTESTED")[None]
    assert verdict == "compliant"
    assert "E-2" in reason
    assert "E-1" not in reason
    assert not got.notes


def test_other_evidence_settles_nothing(tmp_path: Path) -> None:
    others = [
        proof(1, LATER, about="another"),
        proof(2, LATER, kind="DPIA"),
        proof(3, LATER, attested_at=LATER),
    ]
    got = judged(tmp_path, others, [])
    verdict, reason = said(got, "OWN-ATTESTED")[None]
    assert verdict == "review"
    assert "E-" not in reason
    assert not got.notes


def test_evidence_that_decided_nothing_is_not_the_cause(tmp_path: Path) -> None:
    read = Proofs.read(
        pa.Table.from_pylist([proof(1, LATER)], schema=schemas.EVIDENCE), ["ATTESTATION"], AS_OF
    )
    assert [p.evidence_id for p in read.of("ATTESTATION", ["d", None])] == ["E-1"]
    assert read.of("DPIA", ["d"]) == []
    got = judged(tmp_path, [proof(1, LATER)], [])
    assert "because" not in said(got, "OWN-PLAIN")[None][1]


def hop(number: int, exporter: str, importer: str, **more: object) -> dict[str, object]:
    return {
        "transfer_id": f"T{number}", "dataset_id": "d", "exporter_id": exporter,
        "importer_id": importer, "role_of_recipient": "third_party", "purpose": "train", **more,
    }  # fmt: skip


@pytest.mark.parametrize("scope", ["exposure", "transfer"])
def test_an_onward_transfer_is_at_best_what_the_one_before_it_permits(
    tmp_path: Path, scope: str
) -> None:
    transfers = [
        hop(1, "moj", "labs", onward_to="acme;other"),
        hop(2, "labs", "acme"),
        hop(3, "labs", "stranger"),
        hop(4, "labs", "other", purpose="advertising"),
        hop(5, "acme", "end"),
        hop(6, "stranger", "end"),
    ]
    found = said(judged(tmp_path, [], transfers, scope), "OWN-PLAIN")
    assert {transfer: verdict for transfer, (verdict, _) in found.items()} == {
        "T1": "compliant", "T2": "compliant", "T3": "review", "T4": "review", "T5": "review",
        "T6": "review",
    }  # fmt: skip
    assert "the transfer before does not permit this recipient" in found["T3"][1]
    assert "the transfer before was for another purpose" in found["T4"][1]
    assert "nobody recorded whether the transfer before permits it" in found["T5"][1]
    assert "was itself not permitted" in found["T6"][1]


def test_what_a_rule_forbids_stays_a_violation(tmp_path: Path) -> None:
    transfers = [hop(1, "moj", "labs"), hop(2, "labs", "acme")]
    transfers[1]["importer_id"] = None
    found = said(judged(tmp_path, [], transfers), "OWN-PLAIN")
    assert (found["T1"][0], found["T2"][0]) == ("compliant", "violation")


def test_purposes_that_no_taxonomy_knows_are_named_in_a_note(tmp_path: Path) -> None:
    consents: Rows = [
        {"subject_digest": "p", "purpose": purpose, "state": "given", "recipient": "acme"}
        for purpose in ("marketing", "dpv:Marketing", "own", "a@b.example", "M12345678", "Train")
    ]
    own = Purposes.of({"own": ["dpv:Marketing"]}, "own.yaml")
    (note,) = judged(tmp_path, [], [], consents=consents, purposes=own).notes
    assert note.startswith("No taxonomy knows these purposes, so they were compared by equality")
    assert "alone: Train, marketing, train and 2 more." in note


def test_no_note_where_no_hierarchy_could_matter(tmp_path: Path) -> None:
    consents: Rows = [
        {"subject_digest": "p", "purpose": "TRAIN", "state": "given", "recipient": "acme"}
    ]
    assert judged(tmp_path, [], [], consents=consents).notes == ()


def test_judging_compares_purposes_along_the_hierarchy(tmp_path: Path) -> None:
    consents: Rows = [
        {"subject_digest": "p", "purpose": "dpv:ResearchAndDevelopment", "state": "given",
         "recipient": "acme"}
    ]  # fmt: skip
    own = Purposes.of({"train": ["dpv:ResearchAndDevelopment"]}, "own.yaml")
    for name, purposes, verdict in (("with", own, "compliant"), ("without", None, "violation")):
        (tmp_path / name).mkdir()
        got = judged(tmp_path / name, [], [], consents=consents, purposes=purposes)
        assert said(got, "BASE-CONSENT-MISSING")[None][0] == verdict

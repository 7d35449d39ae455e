"""`policies explain --finding`: a verdict and the facts that led to it, as the run kept them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scanner.model import RuleText
from scanner.policy import explain_finding

RULE = RuleText(
    id="KR-PIPA-33-PIA", version="1", pack="kr-pipa", title="A file without an assessment",
    level="error", law_cite="PIPA 33(1)", citation="secondary", duty="It is assessed.",
    remedy="Assess it.", link="https://law.example/33",
)  # fmt: skip
FINDING: dict[str, Any] = {
    "finding_id": "a" * 32,
    "rule_id": RULE.id,
    "rule_version": "1",
    "pack": "kr-pipa",
    "law_cite": RULE.law_cite,
    "verdict": "review",
    "level": "error",
    "dataset_id": "faces",
    "transfer_id": "T1",
    "purpose": "ai-training",
    "recipient": "acme",
    "jurisdiction": "KR",
    "records": 50_000,
    "subjects": 49_999,
    "subjects_is_upper_bound": True,
    "sample_locations": ["s3://b/one.jpg"],
    "reason": "50,000 records (at most 49,999 people): a person must decide.",
    "remedy": "Assess it, now.",
    "first_seen": datetime(2026, 11, 1, tzinfo=UTC),
    "evaluated_at": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    "suppressed_by": None,
}


def fact(part: str, name: str = "", value: str | None = None, low: int | None = None,
         high: int | None = None) -> dict[str, Any]:  # fmt: skip
    both = low if high is None else high
    return {"part": part, "name": name, "value": value, "low": low, "high": both}


def told(*facts: dict[str, Any], **more: Any) -> str:
    return " ".join(explain_finding(FINDING | more, RULE, facts, None).split())


def test_a_finding_and_its_law() -> None:
    text = told(fact("asked"))
    for part in (
        "A file without an assessment",
        "Verdict review",
        "Because 50,000 records (at most 49,999 people): a person must decide.",
        "About dataset faces, transfer T1, to acme, for ai-training, people in KR",
        "People at most 49,999: of some records nobody knows who they show",
        "Judged as of 2026-11-22 09:30 UTC; first seen 2026-11-01 00:00 UTC",
        "Rule KR-PIPA-33-PIA (version 1, pack kr-pipa)",
        "Law PIPA 33(1) (read in a secondary source only)",
        "Duty It is assessed.",
        "Link https://law.example/33",
        "To do Assess it, now.",
        "- the rule leaves this to a person (its `review_when` is so)",
        "For example s3://b/one.jpg",
    ):
        assert part in text, part


def test_every_part_of_the_facts_is_told() -> None:
    text = told(
        fact("column", "legal_basis"),
        fact("column", "statutory_basis", "false"),
        fact("column", "to_country", "SG"),
        fact("withheld", "subject_age"),
        fact("differs", "separate_consent"),
        fact("unknown", "transfer_role"),
        fact("kind", "biometric.face", low=7),
        fact("consent", "consent withdrawn", low=12_000),
        fact("measure", "people", low=49_999, high=50_001),
        fact("evidence", "PIA_SUBMITTED", "true"),
        fact("proof", "PIA_SUBMITTED", "E-17 by dpo, 2024-03-01"),
        fact("evidence", "DPIA", None),
        fact("evidence", "FILES_LINKED", "false"),
        fact("lapsed", "", "evidence DPIA E-3 expired: it was valid until 2025-01-01"),
        fact("possible", "certainty", low=3),
        fact("upstream", "upstream", "role"),
        fact("younger_than", "subject_age", low=14),
    )
    for part in (
        "legal_basis not on record (the legal basis)",
        "statutory_basis false (the legal basis on record is no statute)",
        "to_country SG (the country the data goes to)",
        "subject_age told of nobody",
        "Not the same for all of these records, or not known of all separate_consent",
        "Not on record, and it matters transfer_role the recipient's role",
        "7 biometric.face",
        "12,000 consent withdrawn",
        "people between 49,999 and 50,001",
        "PIA_SUBMITTED on record: E-17 by dpo, 2024-03-01",
        "DPIA on record, but not whether it is about this data",
        "FILES_LINKED not on record",
        "evidence DPIA E-3 expired: it was valid until 2025-01-01",
        "- 3 of the records are only possible detections, not certain",
        "- passed on, and a processor hands on to sub-processors only",
        "- the people are younger than 14",
        "- what the rule asks for is not on record, and unknown is never compliant",
        "- a number that the rule asks for is known between two bounds only",
    ):
        assert part in text, part


def test_how_it_was_decided_depends_on_the_verdict() -> None:
    column = fact("column", "kind", "biometric.face")
    assert "- what the rule forbids is so, and the detections are certain" in told(
        column, verdict="violation"
    )
    compliant = told(column, fact("settled"), verdict="compliant")
    assert "- nothing of what the rule forbids is so" in compliant
    assert "- without the evidence below it would not be compliant" in compliant
    assert "To do" not in compliant
    assert "- it could not be told whether the rule applies" in told(column)
    # what differs is told once
    assert told(fact("differs", "purpose"), fact("unknown", "purpose")).count("purpose ") == 1


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (None, "This run kept no facts of its findings: an older version made it."),
        ([], "it was not judged but follows from a sample"),
    ],
)
def test_without_facts_nothing_is_invented(facts: list[Any] | None, said: str) -> None:
    text = " ".join(explain_finding(FINDING, RULE, facts, None).split())
    assert said in text
    assert "What led to it" not in text


def test_lines_fit_a_terminal_and_unknown_numbers_are_unknown() -> None:
    bare = dict.fromkeys(FINDING) | {"finding_id": "b", "rule_id": "R", "verdict": "review"}
    text = explain_finding(bare, None, [fact("column", "kind", "x" * 30)], None)
    assert "Records    unknown" in text and "People     unknown" in text
    assert "None" not in text
    assert "Rule       R (version unknown, pack unknown)" in text
    long = explain_finding(FINDING, RULE, [fact("column", "purpose", "word " * 40)], None)
    assert max(map(len, long.splitlines())) <= 80

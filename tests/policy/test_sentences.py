"""Sentences of findings: plain words, counts first, what decided before the rest."""

from __future__ import annotations

import datetime

import pytest

from scanner.policy.columns import COLUMNS, CONSENT_STATUSES
from scanner.policy.sentences import MISSING, Numbers, consent_words, sentence


def test_every_column_and_every_status_has_words() -> None:
    assert set(MISSING) == set(COLUMNS)
    words = {consent_words(status, None, False) for status in (*CONSENT_STATUSES, None)}
    assert len(words) == len(CONSENT_STATUSES) + 1
    for text in (*words, *MISSING.values()):
        assert "_" not in text
    assert consent_words("given", True, True) == "separate consent given"
    assert consent_words("given", False, True) == "consent given, but not separately"
    assert consent_words("given", None, True) == "consent given"
    assert consent_words("expired", False, True) == "consent expired"


@pytest.mark.parametrize(
    ("verdict", "numbers", "expected"),
    [
        (
            "violation",
            Numbers(
                11, 11, False,
                consent={
                    "no consent on record": 3, "consent expired": 2, "consent withdrawn": 1,
                    "consent for another purpose": 2, "consent for another recipient": 1,
                    "consent refused": 1, "consent for another kind of data": 1,
                },
                facts={"legal_basis": "consent"},
            ),
            "11 records (11 people): no consent on record 3, consent expired 2, consent for "
            "another purpose 2, consent for another kind of data 1, consent for another recipient "
            "1, consent refused 1, consent withdrawn 1.",
        ),
        (
            "violation",
            Numbers(1, 1, False, age_limit=14, facts={"guardian_verified": False}),
            "1 record (1 person): under 14; no verified guardian on record.",
        ),
        (
            "review",
            Numbers(1_234, 1_234, True, unknown=["subject_age", "is_minor", "subject_key"]),
            "1,234 records (at most 1,234 people): not on record: the person's age, whose data it "
            "is.",
        ),
        (
            "review",
            Numbers(
                5, 5, False, asked=True, consent={"no consent on record": 5},
                facts={
                    "purpose": "ai-training", "collected_for": "border-control",
                    "within_original_purpose": "unattested",
                },
            ),
            "5 records (5 people): nobody has attested that this lies within the original purpose; "
            "collected for border-control, used for ai-training; no consent on record 5; a person "
            "must decide.",
        ),
        (
            "compliant",
            Numbers(
                5, 5, False, consent={"no consent on record": 5},
                facts={
                    "purpose": "Border-control", "collected_for": "border-control",
                    "within_original_purpose": "unattested",
                },
            ),
            "5 records (5 people): collected and used for Border-control; nothing found against "
            "this rule.",
        ),
        (
            "violation",
            Numbers(3, 2, False, facts={"retention_until": datetime.date(2021, 12, 31)}),
            "3 records (2 people): retention ended on 2021-12-31.",
        ),
        (
            "review",
            Numbers(4, 4, False, possible=1, unknown=["published_from", "transfer_role"],
                    facts={"published_ref": None}),
            "4 records (4 people): not on record: the recipient's role; the recipient was not made "
            "public; 1 of them only possible detections.",
        ),
        (
            "review",
            Numbers(4, 4, False, measures={"people": (0, 4)}, evidence={"PIA_SUBMITTED": None}),
            "4 records (4 people): not on record: whether the PIA_SUBMITTED on record is about "
            "this data; people between 0 and 4.",
        ),
        (
            "violation",
            Numbers(4, 4, False, measures={"subjects": (4, 4)}, evidence={"DPIA": False}),
            "4 records (4 people): people 4; no evidence DPIA on record.",
        ),
        (
            "violation",
            Numbers(2, 2, False, dangling=True),
            "2 manifest rows (2 people): no object is there.",
        ),
        ("compliant", Numbers(0, 0, False), "0 records: nothing found against this rule."),
        (
            "violation",
            Numbers(5, 5, False, kinds={"biometric.face": 2, "identifier.national_id": 3}),
            "5 records (5 people): this is what the rule forbids. Found: national id number 3, "
            "face 2.",
        ),
    ],
)  # fmt: skip
def test_sentences(verdict: str, numbers: Numbers, expected: str) -> None:
    assert sentence(verdict, numbers) == expected

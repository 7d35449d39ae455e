"""Conditions in plain English, and the texts of `policies explain` and `policies list`."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.policy import builtin_pack_names, explain, load_packs, overview
from scanner.policy.columns import COLUMNS
from scanner.policy.expressions import Node, parse
from scanner.policy.wording import outline, to_words


def node(text: str) -> Node:
    return parse(text, "here", COLUMNS).node


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "kind = 'biometric.face' and (purpose is null or not linked)",
            "what was detected is “biometric.face” and (the purpose of the use is not on record or "
            "no faces are kept together with nationality, gender, age or ethnicity)",
        ),
        ("has_evidence('DPIA')", "DPIA is on record"),
        ("not has_evidence('DPIA')", "there is no DPIA on record"),
        ("separate_consent is false", "no separate consent covers it"),
        ("transfer_role in ('third_party', 'processor')",
         "the recipient's role is “third party” or “processor”"),
        ("transfer_role not in ('processor')", "the recipient's role is none of “processor”"),
        ("coalesce(legal_basis, '') = 'consent'", "the legal basis is “consent”"),
        (
            "coalesce(controller_type, 'company') = 'company'",
            "the controller's type (where not on record: “company”) is “company”",
        ),
        ("date(event_time) < date '2023-09-15'",
         "the day of the start of the use is less than 2023-09-15"),
        ("subject_age >= 14000", "the person's age is at least 14,000"),
        ("recipient is distinct from controller", "the recipient is another than the controller"),
    ],
)  # fmt: skip
def test_words(text: str, words: str) -> None:
    assert to_words(node(text)) == words


def test_an_outline_has_a_heading_over_every_group() -> None:
    text = (
        "linked and not (has_unique_identifier and statutory_basis and separate_consent) "
        "and (purpose is null or recipient is null)"
    )
    assert list(outline(node(text))) == [
        (0, "all of this is so:"),
        (1, "faces are kept together with nationality, gender, age or ethnicity"),
        (1, "not all of this is so:"),
        (2, "passport or national id numbers are in the dataset"),
        (2, "the legal basis on record is a statute"),
        (2, "a separate consent covers it"),
        (1, "at least one of this is so:"),
        (2, "the purpose of the use is not on record"),
        (2, "the recipient is not on record"),
    ]


def test_no_line_is_wider_than_a_terminal() -> None:
    for pack in load_packs(builtin_pack_names(), Path()):
        for text in (overview(pack), *(explain(rule) for rule in pack.rules)):
            assert text.endswith("\n")
            assert max(map(len, text.splitlines())) <= 80
        for rule in pack.rules:
            plain = explain(rule).split("It applies")[1].split("What it looks at")[0]
            for kind in sorted(rule.kinds_of_evidence(), key=len, reverse=True):
                plain = plain.replace(kind, "")
            assert "_" not in plain, rule.id

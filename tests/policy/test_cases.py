"""Cases of packs: the shipped ones pass, and a case can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.errors import PolicyError
from scanner.policy import load_packs
from scanner.policy.cases import test_packs as run_cases
from scanner.policy.cases import validate

RULE = """
id: OUR-RULE
version: "1"
title: A title
law: {instrument: PIPA, cites: ["17(1)"], citation: verified, duty: A duty.}
level: error
scope: exposure
where: consent_status <> 'given'
remedy: Do something.
"""


def failures(base: Path, cases: str, rule: str = RULE) -> list[str]:
    folder = base / "ours"
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    (folder / "pack.yaml").write_text("name: ours\ntitle: a\nversion: '1'\ndescription: b\n")
    (folder / "OUR-RULE.yaml").write_text(rule)
    (folder / "cases" / "OUR-RULE.yaml").write_text(cases)
    packs = load_packs(["./ours"], base)
    return [f"{result.case}: {result.detail}" for result in run_cases(packs) if not result.passed]


GOOD = """
rule: OUR-RULE
facts: {transfer: {importer_id: r, purpose: p}}
cases:
  - {name: fails, expect: {violation: 1}}
  - {name: passes, consent: {purpose: p, recipient: r}, expect: {compliant: 1}}
"""


def test_cases_pass_and_fail(tmp_path: Path) -> None:
    assert failures(tmp_path, GOOD) == []
    assert failures(tmp_path, GOOD.replace("{violation: 1}", "{violation: 2}")) == [
        "fails: expected violation 2, got violation 1"
    ]
    assert failures(tmp_path, GOOD.replace("{violation: 1}", "not_applicable")) == [
        "(enough cases): no case of cases/OUR-RULE.yaml expects violation",
        "fails: expected not applicable, got violation 1",
    ]
    review = RULE.replace("where:", "review_when: subject_key is null\nwhere:")
    assert failures(tmp_path, GOOD, review) == [
        "(enough cases): no case of cases/OUR-RULE.yaml expects review"
    ]
    assert [r.passed for r in validate(load_packs(["./ours"], tmp_path))] == [False]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rule: OUR-RULE", "rule: OTHER", "rule: must be"),
        ("facts:", "fact:", "no others"),
        ("{violation: 1}", "{violated: 1}", "expect: must be"),
        ("{violation: 1}", "{violation: true}", "expect: must be"),
        ("{violation: 1}", "{}", "expect: must be"),
        ("name: passes", "name: fails", "there twice"),
        ("importer_id", "importer", "unknown column 'importer'"),
        ("consent: {", "consens: {", "unknown key 'consens'"),
        ("consent: {", "consents: {", "must be a list"),
        ("purpose: p, recipient: r}, expect", "purpose: 1, recipient: r}, expect", "wrong type"),
    ],
)
def test_a_wrong_case_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(PolicyError) as caught:
        failures(tmp_path, GOOD.replace(old, new))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_case_file_of_no_rule(tmp_path: Path) -> None:
    failures(tmp_path, GOOD)
    (tmp_path / "ours" / "cases" / "NO-RULE.yaml").write_text("rule: NO-RULE\ncases: []\n")
    with pytest.raises(PolicyError, match="a rule of this pack"):
        run_cases(load_packs(["./ours"], tmp_path))

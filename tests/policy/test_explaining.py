"""`policies explain RULE`: everything that an officer needs to know of a rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.policy import explain, load_packs
from scanner.policy.columns import BUILT_IN_MEASURES, COLUMNS
from scanner.policy.explaining import COMES_FROM
from scanner.policy.packs import Rule

PACK = "name: own\ntitle: Own rules\nversion: '1'\ndescription: Ours.\n"
RULE = """
id: OWN-RULE
version: "3"
title: A rule of ours
law:
  instrument: PIPA
  cites: ["33(1)"]
  citation: secondary
  link: https://law.example/33
  duty: Somebody has to look.
  {dates}
level: warning
scope: dataset
applies_when: jurisdiction = 'KR'
measures:
  people: {{count_distinct: subject_key}}
having: people >= 3
where: controller_type = 'public_body' and not has_evidence('PIA_SUBMITTED')
remedy: Look.
"""
CASES = """
rule: OWN-RULE
facts: {dataset: {jurisdiction: KR}}
cases:
  - name: a few
    detection: {repeat: 2}
    expect: {compliant: 2}
  - name: elsewhere
    dataset: {jurisdiction: DE}
    expect: not_applicable
"""


def own_rule(folder: Path, dates: str = "", cases: str | None = CASES) -> Rule:
    pack = folder / "own"
    (pack / "cases").mkdir(parents=True)
    (pack / "pack.yaml").write_text(PACK, encoding="utf-8")
    (pack / "OWN-RULE.yaml").write_text(RULE.format(dates=dates), encoding="utf-8")
    if cases is not None:
        (pack / "cases" / "OWN-RULE.yaml").write_text(cases, encoding="utf-8")
    [loaded] = load_packs(["./own"], folder)
    return loaded.rules[0]


def test_it_tells_all_that_there_is(tmp_path: Path) -> None:
    text = explain(own_rule(tmp_path, "in_force_from: 2023-09-15"))
    plain = " ".join(text.split())
    for part in (
        "A rule of ours",
        "PIPA 33(1) (read in a secondary source only)",  # the citation and how sure
        "Duty Somebody has to look.",
        "https://law.example/33",
        "In force from 2023-09-15, by the day of the event (UTC)",
        "It is a violation if all of this is so:",  # the sentence
        "the controller's type is “public body”",
        "(controller_type = 'public_body')",  # the SQL
        "(people >= 3)",
    ):
        assert part in plain, part
    needs = text.split("What it needs, and where that comes from\n")[1].split("\n\n")[0]
    told = {line[:27].strip(): line[27:] for line in needs.splitlines()}
    assert told == {
        "the scan": "subject_key",
        "the declared datasets": "controller_type, jurisdiction, subject_key",
        "the manifest": "jurisdiction, subject_key",
        "registry parties": "controller_type",
        "registry evidence": "PIA_SUBMITTED",
    }
    cases = text.split("Its cases")[1].splitlines()[1:]
    assert cases == ["  - a few: compliant 2", "  - elsewhere: not applicable"]


def test_what_it_lacks_is_said(tmp_path: Path) -> None:
    text = explain(own_rule(tmp_path, cases=None))
    assert "In force   on every day: this rule names no day" in text
    assert "It has no cases: nothing shows that it does what it says." in text


@pytest.mark.parametrize("cases", ["rule: [", "rule: OTHER\ncases: []\n", "- 1\n"])
def test_broken_cases_do_not_hide_the_rule(tmp_path: Path, cases: str) -> None:
    text = explain(own_rule(tmp_path, cases=cases))
    assert "Its cases cannot be read; `consentry policies validate` tells why." in text
    assert "A rule of ours" in text


def test_it_is_known_where_every_column_comes_from() -> None:
    assert set(COMES_FROM) == set(COLUMNS) | set(BUILT_IN_MEASURES)

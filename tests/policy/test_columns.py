"""The columns of datasets that are worked out from those of its people."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.policy import load_packs
from scanner.policy import test_packs as run_cases

RULE = """
id: OUR-RULE
title: A title
law: {instrument: organisation policy}
level: error
scope: dataset
applies_when: jurisdiction_country = 'DE'
where: not has_evidence('DPIA')
"""
CASES = """
rule: OUR-RULE
cases:
  - {name: passes, dataset: {jurisdiction: DE}, evidence: [{kind: DPIA}], expect: {compliant: 1}}
  - {name: a country, dataset: {jurisdiction: DE}, expect: {violation: 1}}
  - {name: a region of it, dataset: {jurisdiction: DE-BY}, expect: {violation: 1}}
  - {name: another country, dataset: {jurisdiction: DK}, expect: not_applicable}
  - {name: nobody says, expect: {review: 1}}
  - name: two regions of one country
    manifest: [{key: i1, subject: s1, jurisdiction: DE-BY}, {key: i2, subject: b, jurisdiction: DE}]
    detections: [{subject: null}, {item: i2, subject: null}]
    expect: {violation: 2}
  - name: two countries
    manifest: [{key: i1, subject: s1, jurisdiction: DE-BY}, {key: i2, subject: b, jurisdiction: DK}]
    detections: [{subject: null}, {item: i2, subject: null}]
    expect: {review: 2}  # two countries
  - name: one country, and somebody of whom nobody says
    manifest: [{key: i1, subject: s1, jurisdiction: DE-BY}, {key: i2, subject: s2}]
    detections: [{subject: null}, {item: i2, subject: null}]
    expect: {review: 2}  # nobody says
  - name: nothing of it was detected
    dataset: {jurisdiction: DE-BY}
    detections: []
    expect: not_applicable
"""
TWO_COUNTRIES = "expect: {review: 2}  # two countries"
NOBODY_SAYS = "expect: {review: 2}  # nobody says"


@pytest.mark.parametrize("scope", ["dataset", "exposure"])
def test_the_country_of_a_jurisdiction(tmp_path: Path, scope: str) -> None:
    folder = tmp_path / "our-rules"
    (folder / "cases").mkdir(parents=True)
    (folder / "pack.yaml").write_text("name: our-rules\n")
    (folder / "OUR-RULE.yaml").write_text(RULE.replace("scope: dataset", f"scope: {scope}"))
    cases = CASES
    if scope == "exposure":  # decided for each person, not for all together
        cases = cases.replace(TWO_COUNTRIES, "expect: {violation: 1}  # two countries")
        cases = cases.replace(NOBODY_SAYS, "expect: {violation: 1, review: 1}")
    (folder / "cases" / "OUR-RULE.yaml").write_text(cases)
    results = run_cases(load_packs(["./our-rules"], tmp_path))
    assert [(r.case, r.detail) for r in results if not r.passed] == []
    assert len(results) > 9

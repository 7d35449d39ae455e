"""Packs: the shipped ones load whole, and whatever is wrong in a pack is one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scanner.errors import PolicyError
from scanner.policy import builtin_pack_names, explain, load_packs, overview, validate
from scanner.policy import test_packs as run_cases
from scanner.policy.cases import read_cases

PACKS = (
    "au-privacy", "baseline", "br-lgpd", "ca-qc", "cn-pipl", "eu-ai-act", "eu-gdpr", "hk-pdpo",
    "in-dpdp", "jp-appi", "kr-pipa", "kr-pipc-ai-risk-model", "sg-pdpa", "uk-gdpr", "us-ca-cpra",
    "us-co", "us-il-bipa", "us-tx-cubi", "us-wa",
)  # fmt: skip

RULE = """
id: OUR-RULE
version: "1"
title: A title
law: {instrument: PIPA, cites: ["17(1)"], citation: verified, duty: A duty.}
level: error
scope: exposure
applies_when: kind = 'biometric.face'
where: consent_status <> 'given'
remedy: Do something.
"""
CASES = """
rule: OUR-RULE
cases:
  - {name: fails, expect: {violation: 1}}
  - {name: passes, consent: {purpose: p, recipient: r}, transfer: {importer_id: r, purpose: p},
     expect: {compliant: 1}}
"""


def write_pack(
    base: Path, rule: str = RULE, cases: str | None = CASES, name: str = "our-rules"
) -> Path:
    folder = base / name
    (folder / "cases").mkdir(parents=True)
    (folder / "pack.yaml").write_text(
        f"name: {name}\ntitle: Ours\nversion: '1'\ndescription: Our own rules.\n"
    )
    (folder / "OUR-RULE.yaml").write_text(rule)
    if cases is not None:
        (folder / "cases" / "OUR-RULE.yaml").write_text(cases)
    return folder


def refused(base: Path, *names: str) -> str:
    with pytest.raises(PolicyError) as caught:
        load_packs(names or ("./our-rules",), base)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shipped_packs(tmp_path: Path) -> None:
    assert builtin_pack_names() == PACKS
    packs = {pack.name: pack for pack in load_packs(builtin_pack_names(), tmp_path)}
    baseline, korea = packs["baseline"], packs["kr-pipa"]
    assert [len(baseline.rules), len(korea.rules)] == [9, 27]
    assert [r.detail for r in validate(list(packs.values())) if not r.passed] == []
    assert {rule.law.citation for rule in baseline.rules} == {"own_policy"}
    unread = {rule.id for rule in korea.rules if rule.law.citation == "unverified"}
    assert unread == {"KR-PIPA-20-INDIRECT-SOURCE"}
    dated = {rule.id for rule in korea.rules if rule.law.in_force_from is not None}
    assert dated == {
        "KR-PIPA-22-2-CHILD", "KR-PIPA-25-2-MOBILE-CAMERA", "KR-PIPA-26-6-SUB-PROCESSOR",
        "KR-PIPA-28-2-IDENTIFYING", "KR-PIPA-28-4-KEY-AND-RECORD", "KR-PIPA-28-5-RE-IDENTIFICATION",
        "KR-PIPA-28-8-CROSS-BORDER", "KR-PIPA-28-12-AI-DECISION", "KR-PIPA-28-12-AI-SAFEGUARDS",
        "KR-PIPA-28-12-AI-POLICY-ENTRY", "KR-PIPA-28-12-AI-START",
    }  # fmt: skip
    for rule in packs["kr-pipc-ai-risk-model"].rules:  # voluntary: it asks, and never accuses
        assert (rule.level, rule.where, rule.having) == ("note", None, None)
    for rule in packs["in-dpdp"].rules:  # most of it from memory
        assert (rule.level, rule.law.citation) == ("warning", "unverified")
    for rule in (rule for pack in packs.values() for rule in pack.rules):
        if rule.law.citation != "own_policy":
            assert rule.law.link, rule.id
    assert load_packs(["baseline", "baseline"], tmp_path) == (baseline,)


def test_a_rule_explains_itself(tmp_path: Path) -> None:
    rules = [rule for pack in load_packs(builtin_pack_names(), tmp_path) for rule in pack.rules]
    for rule in rules:
        text = explain(rule)
        plain = " ".join(text.split())
        assert rule.law.duty in plain
        assert rule.remedy in plain
        assert "None" not in text
    pia = next(rule for rule in rules if rule.id == "KR-PIPA-33-PIA")
    assert "sensitive people is at least 50,000" in explain(pia)
    assert "there is no PIA_SUBMITTED on record" in explain(pia)


@pytest.mark.parametrize("name", builtin_pack_names())
def test_the_mode_of_a_rule_follows_from_what_it_asks(name: str) -> None:
    (pack,) = load_packs([name], Path())
    violated = {c.rule_id for c in read_cases(pack) if "violation" in c.expect}
    for rule in pack.rules:
        assert (rule.mode == "attestation") == (rule.id not in violated), rule.id
        if rule.mode != "attestation":
            assert (rule.mode == "record") == (rule.scope == "exposure"), rule.id
        (line,) = [x for x in overview(pack).splitlines() if x.startswith(f"  {rule.id} ")]
        assert line.split()[-1] == rule.mode
        assert f"\nMode       {rule.mode} (" in explain(rule)


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, scanner.policy; "
        "sys.exit(bool({'duckdb', 'sqlglot', 'pyarrow', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_selection(tmp_path: Path) -> None:
    assert "no rule pack is selected" in refused_empty(tmp_path)
    assert "did you mean 'kr-pipa'? Built in: au-privacy, " in refused(tmp_path, "kr-pippa")
    assert "pack.yaml is missing" in refused(tmp_path, "./nowhere")
    write_pack(tmp_path)
    (pack,) = load_packs(["./our-rules"], tmp_path)
    assert [rule.text().law_cite for rule in pack.rules] == ["PIPA 17(1)"]
    write_pack(tmp_path / "again", name="others")
    assert "id: OUR-RULE is also in" in refused(tmp_path, "./our-rules", "./again/others")


def refused_empty(base: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load_packs([], base)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("level: error", "levl: error", "unknown key 'levl'; did you mean 'level'?"),
        ("level: error", "level: fatal", "level: must be one of error, warning, note"),
        ("scope: exposure", "scope: file", "scope: must be one of"),
        ("citation: verified", "citation: sure", "citation: must be one of"),
        ('cites: ["17(1)"], ', "", "cites: must list"),
        ("cites: ", "site: a, cites: ", "unknown key 'site'"),
        ("duty: A duty.", "duty: [a]", "duty: must be text"),
        ("duty: A duty.", "duty: A duty., link: 'http://x'", "https://"),
        ("duty: A duty.", "duty: A duty., in_force_from: soon", "must be a day"),
        (
            "duty: A duty.",
            "duty: A duty., in_force_from: 2024-01-02, in_force_until: 2024-01-01",
            "before",
        ),
        ("law: {", "was: {", "unknown key 'was'"),
        ("id: OUR-RULE", "id: OTHER-RULE", "must be the file's name"),
        ("remedy: Do something.", "remedy: 3", "remedy: must be text"),
        ("where: consent", "where: jurisdiction = 'Atlantis' and consent", "a country is written"),
        ("where: consent", "where: to_country = 'US-IL' and consent", "a country is written"),
        ("where: consent", "where: controller_type = 'ngo' and consent", "never 'ngo' (company"),
        ('version: "1"', "version: [1]", "version: must be text"),
        ("where: consent", "where: x.consent", "a column has no table"),
        ("consent_status <>", "consent_state <>", "where: there is no column 'consent_state'"),
        ("where: consent_status <> 'given'", "", "nothing is judged"),
        ("where: ", "having: records > 1\nwhere: ", "having: goes with scope"),
        ("where: ", "measures: {n: {sum: count}}\nwhere: ", "measures: go with scope"),
        ("kind = 'biometric.face'", "records > 1", "no column 'records'"),
        ("title: A title", "title: A title\ntitle: B", "twice"),
        ("title: A title", "title: !!str A", "tags"),
        ("title: A title", "title: &a A", "anchors"),
    ],
)
def test_a_wrong_rule_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in RULE
    folder = write_pack(tmp_path, RULE.replace(old, new))
    message = refused(tmp_path)
    assert says in message
    assert message.startswith(str(folder / "OUR-RULE.yaml"))


DATASET_RULE = RULE.replace("scope: exposure", "scope: dataset").replace(
    "applies_when: kind = 'biometric.face'\nwhere: consent_status <> 'given'",
    "measures: {people: {count_distinct: subject_key}}\nhaving: people > 5",
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("people > 5", "people < 5", "only be compared by >= or >"),
        ("people > 5", "not people > 5", "only be compared"),
        ("people > 5", "people > records", "only be compared"),
        ("people > 5", "peple > 5", "did you mean 'people'?"),
        ("people > 5", "records > 5", "'people' is not used"),
        ("people > 5", "people > 5 and consent_status = 'given'", "no column 'consent_status'"),
        ("people > 5", "people > 5 and transfer_id is null", "no column 'transfer_id'"),
        ("count_distinct: subject_key", "count_distinct: kind", "must be {count_distinct"),
        ("count_distinct: subject_key", "average: count", "unknown key"),
        ("{people:", "{kind:", "must be a new name"),
        ("subject_key}", "subject_key, where: is_minor}", "no column 'is_minor'"),
        ("having:", "review_when: people > 5\nhaving:", "no column 'people'"),
    ],
)
def test_a_wrong_measure_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in DATASET_RULE
    write_pack(tmp_path, DATASET_RULE.replace(old, new))
    assert says in refused(tmp_path)


def test_a_pack_that_is_not_whole(tmp_path: Path) -> None:
    folder = write_pack(tmp_path)
    (folder / "OUR-RULE.yaml").unlink()
    assert "no rules" in refused(tmp_path)
    (folder / "stray.yml").write_text("a: 1")
    assert "end in .yaml" in refused(tmp_path)
    (folder / "pack.yaml").write_text("name: Our Rules")
    assert "name: must be of a-z" in refused(tmp_path)
    (folder / "pack.yaml").write_text("nam: other")
    assert "did you mean 'name'?" in refused(tmp_path)
    for places in ("[Korea]", "[kr]", "[US-ILLINOIS]", "[XX]"):
        (folder / "pack.yaml").write_text(f"regions: {places}")
        assert "is no place; write KR, US-IL, or" in refused(tmp_path)
    (folder / "pack.yaml").write_text("regions: KR")
    assert "regions: must be a list of texts" in refused(tmp_path)


def test_what_a_rule_and_a_pack_may_leave_out(tmp_path: Path) -> None:
    bare = RULE.replace('version: "1"\n', "").replace("remedy: Do something.\n", "")
    bare = bare.replace(", citation: verified, duty: A duty.", "")
    folder = write_pack(tmp_path, bare, cases=None)
    (folder / "pack.yaml").write_text("")
    (pack,) = load_packs(["./our-rules"], tmp_path)
    assert (pack.name, pack.title, pack.version) == ("our-rules", "our-rules", "unversioned")
    (rule,) = pack.rules
    text = rule.text()
    assert (text.version, text.citation, text.duty, text.remedy) == (
        "unversioned", "unverified", "", "",
    )  # fmt: skip
    assert "not told in plain words" in explain(rule)
    assert "from memory, not checked" in explain(rule)
    wrong = {result.case: result.detail for result in validate([pack]) if not result.passed}
    assert "expects compliant or violation" in wrong["(enough cases)"]
    assert "unverified may warn, but not be an error" in wrong["(citation)"]
    (folder / "pack.yaml").write_text("version: 3")
    own = bare.replace("PIPA", "Organisation policy").replace(', cites: ["17(1)"]', "")
    (folder / "OUR-RULE.yaml").write_text(own)
    (pack,) = load_packs(["./our-rules"], tmp_path)
    assert [(r.version, r.law.citation) for r in pack.rules] == [("3", "own_policy")]
    assert [r.case for r in validate([pack]) if not r.passed] == ["(enough cases)"]


# The two examples of docs/design.md and the law notes, word for word: hence the long lines.
DESIGN_RULE = """\
id: KR-PIPA-17-FACE-NO-BASIS
title: Face data provided to a third party with neither consent nor a statutory basis
law: {instrument: PIPA, cites: ["17(1)", "18(1)"], in_force_from: 2023-09-15}
level: error
scope: exposure            # exposure | transfer | dataset (dataset and transfer scopes may use measures)
applies_when: jurisdiction = 'KR' and transfer_role = 'third_party'
where: kind = 'biometric.face' and consent_status <> 'given' and not statutory_basis
review_when: transfer_role is null or within_original_purpose = 'unattested'
remedy: Obtain separate consent naming the recipient, or record the statutory basis and who attested to it.
"""  # noqa: E501
DESIGN_CASES = """\
rule: KR-PIPA-17-FACE-NO-BASIS
facts:
  dataset: {controller: moj, jurisdiction: KR}
  transfer:
    {importer_id: acme, role_of_recipient: third_party, purpose: train, started_at: 2024-05-01,
     within_original_purpose: attested_true}
cases:
  - {name: neither, expect: {violation: 1}}
  - {name: consent, consent: {purpose: train, recipient: acme}, expect: {compliant: 1}}
  - {name: a statute, transfer: {legal_basis: "statute:Act 3"}, expect: {compliant: 1}}
  - {name: the role is not on record, transfer: {role_of_recipient: null}, expect: {review: 1}}
  - {name: before its day, transfer: {started_at: 2023-09-14}, expect: not_applicable}
"""
LAW_RULE = """\
id: KR-PIPA-33-PIA
title: Public body's personal information file over the impact-assessment threshold without a submitted assessment
law: {instrument: PIPA, cites: ["33(1)", "Decree 35"], citation: verified}
scope: dataset
applies_when: controller_type = 'public'
measures:
  subjects:  {count_distinct: subject_key}
  sensitive: {count_distinct: subject_key, where: "representation = 'template' or has_unique_identifier"}
review_when: subject_key_quality = 'none'        # then only a bound is known: subjects <= records
having: subjects >= 1000000 or sensitive >= 50000 or (linked and subjects >= 500000)
where: not has_evidence('PIA_SUBMITTED')
level: error
"""  # noqa: E501
LAW_CASES = """\
rule: KR-PIPA-33-PIA
facts:
  dataset: {controller: moj}
  parties: {moj: {type: public_body}}
  detection: {representation: template, repeat: 50000}
cases:
  - {name: at the threshold, expect: {violation: 50000}}
  - {name: below it, detection: {repeat: 49999}, expect: {compliant: 49999}}
  - {name: two images each, detection: {per_subject: 2}, expect: {compliant: 50000}}
  - {name: no key, dataset: {subject_key_quality: none}, expect: {review: 50000}}
  - {name: submitted, evidence: [{kind: PIA_SUBMITTED, about: ds}], expect: {compliant: 50000}}
  - {name: a company, parties: {moj: {type: company}}, expect: not_applicable}
"""


@pytest.mark.parametrize(
    ("rule_id", "rule", "cases"),
    [
        ("KR-PIPA-17-FACE-NO-BASIS", DESIGN_RULE, DESIGN_CASES),
        ("KR-PIPA-33-PIA", LAW_RULE, LAW_CASES),
    ],
)
def test_the_example_rules_of_the_design_work_as_they_are_written(
    tmp_path: Path, rule_id: str, rule: str, cases: str
) -> None:
    folder = tmp_path / "ours"
    (folder / "cases").mkdir(parents=True)
    (folder / "pack.yaml").write_text("name: ours\n")
    (folder / f"{rule_id}.yaml").write_text(rule)
    (folder / "cases" / f"{rule_id}.yaml").write_text(cases)
    packs = load_packs(["baseline", "./ours"], tmp_path)
    results = run_cases(packs[1:])
    assert [result.detail for result in results if not result.passed] == []
    assert len(results) > 5

"""Tells the grounds of one finding: the very facts that led to its verdict."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import cast

from scanner.model import RuleText
from scanner.policy.columns import BUILT_IN_MEASURES
from scanner.policy.explaining import CITATION_WORDS, labelled, wrapped
from scanner.policy.packs import Rule
from scanner.policy.sentences import MISSING, upstream_words
from scanner.policy.wording import fact_words

Row = Mapping[str, object]
_WIDTH = 27  # characters of a column of names
_NOT_ON_RECORD = "not on record"


def explain_finding(
    finding: Row, rule: RuleText | None, facts: Sequence[Row] | None, now: Rule | None
) -> str:
    """Lines of plain text about a row of schemas.FINDINGS, none wider than 80 but for words that
    are.

    `rule`: its text as the run kept it; `facts`: its rows of schemas.FACTS, None where the run kept
    none; `now`: the rule as it is in the packs today, if it is there.
    """
    lines = wrapped(rule.title if rule is not None else str(finding["rule_id"]))
    lines.append("")
    verdict = str(finding["verdict"])
    level = f", {finding['level']}" if verdict == "violation" else ""
    lines += labelled("Verdict", verdict + level)
    if finding["suppressed_by"]:
        lines += labelled("Suppressed", f"by {finding['suppressed_by']}; it is not counted")
    lines += labelled("Because", str(finding["reason"] or "no reason is recorded"))
    lines += labelled("About", _about(finding))
    lines += labelled("Records", _number(finding["records"]))
    lines += labelled("People", _people(finding))
    lines += labelled("Judged", f"as of {_moment(finding['evaluated_at'])}; first seen "
                                f"{_moment(finding['first_seen'])}")  # fmt: skip
    lines += labelled("Finding", str(finding["finding_id"]))
    lines.append("")
    lines += _law(finding, rule, now)
    lines.append("")
    if facts is None:
        lines += wrapped(
            "This run kept no facts of its findings: an older version made it. Scan again to have "
            "them."
        )
    elif not facts:
        lines += wrapped(
            "No facts of this finding are kept: it was not judged but follows from a sample, of "
            "which nothing is ever compliant."
        )
    else:
        lines += _facts(verdict, facts)
    samples = cast("list[str]", finding["sample_locations"] or [])
    if samples:
        lines += ["", "For example"]
        for place in samples:
            lines.append(f"  {place}")  # a name is not wrapped, so that it can be copied
    return "\n".join(lines) + "\n"


def _about(finding: Row) -> str:
    text = f"dataset {finding['dataset_id'] or 'unknown'}"
    if finding["transfer_id"]:
        text += f", transfer {finding['transfer_id']}"
    text += f", to {finding['recipient']}" if finding["recipient"] else ""
    text += f", for {finding['purpose']}" if finding["purpose"] else ""
    return text + (f", people in {finding['jurisdiction']}" if finding["jurisdiction"] else "")


def _people(finding: Row) -> str:
    if finding["subjects"] is None:
        return "unknown"
    if finding["subjects_is_upper_bound"]:
        return f"at most {_number(finding['subjects'])}: of some records nobody knows who they show"
    return f"{_number(finding['subjects'])}, exact"


def _law(finding: Row, rule: RuleText | None, now: Rule | None) -> list[str]:
    version = finding["rule_version"]
    made = f"version {version or 'unknown'}, pack {finding['pack'] or 'unknown'}"
    lines = labelled("Rule", f"{finding['rule_id']} ({made})")
    if rule is None:
        lines += labelled("Law", str(finding["law_cite"] or "none named"))
        lines += labelled("To do", str(finding["remedy"] or "none is named by this rule"))
        return lines
    sure = CITATION_WORDS.get(rule.citation, rule.citation)
    lines += labelled("Law", f"{rule.law_cite} ({sure})")
    lines += labelled("Duty", rule.duty or "not told in plain words by this rule")
    if rule.link:
        lines += labelled("Link", rule.link)
    if finding["verdict"] != "compliant":
        remedy = finding["remedy"] or rule.remedy or "none is named by this rule"
        lines += labelled("To do", str(remedy))
    if now is None:
        lines += labelled("Today", "no pack at hand has this rule, so its conditions cannot be "
                                   "shown; name the pack with --pack")  # fmt: skip
    elif now.version != version:
        lines += labelled("Today", f"the rule has changed since: it is now version {now.version}")
    return lines


def _facts(verdict: str, facts: Sequence[Row]) -> list[str]:
    of: dict[str, list[Row]] = {}
    for fact in facts:
        of.setdefault(str(fact["part"]), []).append(fact)
    lines = ["What led to it", *_how(verdict, of)]
    if "column" in of or "withheld" in of:
        lines += ["", "The same for all of these records"]
        for fact in of.get("column", []):
            value = _NOT_ON_RECORD if fact["value"] is None else str(fact["value"])
            lines += _fact(fact, value)
        for fact in of.get("withheld", []):
            lines += _fact(fact, "told of nobody")
    missing = {fact["name"] for fact in of.get("unknown", [])}
    differ = [fact for fact in of.get("differs", []) if fact["name"] not in missing]
    if differ:
        lines += ["", "Not the same for all of these records, or not known of all"]
        for fact in differ:
            lines += _fact(fact, "")
    if "unknown" in of:
        lines += ["", "Not on record, and it matters"]
        for fact in of["unknown"]:
            name = str(fact["name"])
            lines += labelled(f"  {name}", MISSING.get(name, ""), _WIDTH)
    for part, heading in (
        ("kind", "What was detected, in records"),
        ("consent", "Consent of these people to this use, in records"),
    ):
        if part in of:
            lines += ["", heading]
            ordered = sorted(of[part], key=lambda f: (-cast("int", f["low"] or 0), str(f["name"])))
            lines += [line for f in ordered for line in _counted(f)]
    if "measure" in of:
        lines += ["", "Numbers that the rule asks for"]
        for fact in of["measure"]:
            low, high = _number(fact["low"]), _number(fact["high"])
            bounds = low if low == high else f"between {low} and {high}"
            known = BUILT_IN_MEASURES.get(str(fact["name"]))
            meaning = f" ({known.meaning})" if known is not None else ""
            lines += labelled(f"  {fact['name']}", bounds + meaning, _WIDTH)
    if "evidence" in of or "lapsed" in of:
        lines += ["", "Evidence"]
        lines += _evidence(of)
    return lines


def _how(verdict: str, of: Mapping[str, Sequence[Row]]) -> list[str]:
    """Which of the rule's conditions decided."""
    said = []
    if verdict == "violation":
        said.append("what the rule forbids is so, and the detections are certain")
    if verdict == "compliant":
        said.append("nothing of what the rule forbids is so")
    if "settled" in of:
        said.append("without the evidence below it would not be compliant")
    if "asked" in of:
        said.append("the rule leaves this to a person (its `review_when` is so)")
    if verdict == "review":
        if "unknown" in of:
            said.append("what the rule asks for is not on record, and unknown is never compliant")
        if any(row["low"] != row["high"] for row in of.get("measure", [])):
            said.append("a number that the rule asks for is known between two bounds only")
        said += [
            f"{_number(row['low'])} of the records are only possible detections, not certain"
            for row in of.get("possible", [])
        ]
    said += [f"passed on, and {upstream_words(str(row['value'] or ''))}"
             for row in of.get("upstream", [])]  # fmt: skip
    said += [f"the people are younger than {row['low']}" for row in of.get("younger_than", [])]
    if not said:
        said.append("it could not be told whether the rule applies, or what it asks for")
    return [line for text in said for line in wrapped(f"- {text}", indent=2, hang=2)]


def _fact(fact: Row, value: str) -> list[str]:
    name = str(fact["name"])
    meaning = fact_words(name, str(fact["value"]))
    text = f"{value} ({meaning})" if value and meaning else value or meaning
    return labelled(f"  {name}", text, _WIDTH)


def _counted(fact: Row) -> list[str]:
    return wrapped(f"{_number(fact['low'])} {fact['name']}", indent=2, hang=2)


def _evidence(of: Mapping[str, Sequence[Row]]) -> list[str]:
    words = {"true": "on record", "false": _NOT_ON_RECORD}
    unclear = "on record, but not whether it is about this data"
    proofs: dict[str, list[str]] = {}
    for fact in of.get("proof", []):
        proofs.setdefault(str(fact["name"]), []).append(str(fact["value"]))
    lines = []
    for fact in of.get("evidence", []):
        kind = str(fact["name"])
        which = f": {'; '.join(proofs[kind])}" if kind in proofs else ""
        text = words.get(str(fact["value"]), unclear) + which
        lines += labelled(f"  {kind}", text, max(_WIDTH, len(kind) + 4))
    for fact in of.get("lapsed", []):
        lines += wrapped(str(fact["value"]), indent=2, hang=2)
    return lines


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown"


def _moment(value: object) -> str:
    if not isinstance(value, datetime.datetime):
        return "unknown"
    return f"{value.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"

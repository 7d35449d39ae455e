"""SARIF 2.1.0 for dashboards: a violation is `fail`, a review `review`, a passed check `pass`.

Only `fail` has a level (section 3.27.10 of the standard); the finding id is the partial
fingerprint, so that a dashboard follows a finding over runs. What was not looked at becomes tool
notifications: a run with gaps says `executionSuccessful: false`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import IO
from urllib.parse import quote

from scanner.model import RuleText, SavedRun
from scanner.reports import RenderOptions, to_stream
from scanner.reports._findings import (
    Finding,
    gap_rows,
    rules_by_id,
    tally,
    told_findings,
)
from scanner.reports._stream import iso, write_json
from scanner.reports._visible import visible
from scanner.reports._words import answer, reason_remedy, reason_words

_MAX_NOTIFICATIONS = 1_000
_KINDS = {"violation": "fail", "review": "review", "compliant": "pass"}
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_GAP_LEVELS = {"error": "error", "partial": "warning", "excluded": "note"}
_FINGERPRINT = "consentryFindingId/v1"
# Viewers make a link of [text](target) in any message (section 3.11.6), and {0} is a placeholder
# (3.11.5): what a name brings along must be neither.
_LINK = re.compile(r"\](?=\()")
_PLACEHOLDER = re.compile(r"\{(\d+)\}")

_Json = dict[str, object]


def write(run: SavedRun, out: IO[bytes], options: RenderOptions) -> None:
    findings = told_findings(run)
    texts = rules_by_id(run)
    rule_ids = sorted(set(texts) | {finding.rule_id for finding in findings})
    laws = _Laws([rule.law_cite for rule in run.rules] + [f.law_cite for f in findings])
    driver: _Json = {
        "name": "consentry",
        "version": run.info.version,
        "semanticVersion": run.info.version,
        "shortDescription": {
            "text": "Checks face images and biometric fields against consent and transfer policies."
        },
        "rules": [_rule(rule_id, texts.get(rule_id), laws) for rule_id in rule_ids],
    }
    if laws.names:
        driver["supportedTaxonomies"] = [laws.component(name) for name in laws.names]
    number_of = {rule_id: number for number, rule_id in enumerate(rule_ids)}
    described: _Json = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"consentry/{run.info.id}"},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(run, findings)],
    }
    if laws.names:
        described["taxonomies"] = laws.taxonomies()
    described["results"] = (_result(f, number_of[f.rule_id], run, laws) for f in findings)
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    write_json(out, {"$schema": schema, "version": "2.1.0", "runs": [described]})


# ---------------------------------------------------------------- rules and laws


def cites(law_cite: str | None) -> tuple[str, tuple[str, ...]] | None:
    """The instrument and its provisions: "PIPA 17(1), 18(1)" is ("PIPA", ("17(1)", "18(1)")).

    The instrument is what stands before the first word with a digit; a policy without provisions
    ("organisation policy") is its own provision.
    """
    parts = [part.strip() for part in (law_cite or "").split(",") if part.strip()]
    if not parts:
        return None
    words = parts[0].split()
    first = next((i for i, word in enumerate(words) if re.search(r"\d", word)), len(words))
    name = " ".join(words[:first])
    provisions = [" ".join(words[first:]), *parts[1:]]
    if not name or not provisions[0]:
        return parts[0], tuple(dict.fromkeys([parts[0], *parts[1:]]))
    return name, tuple(dict.fromkeys(provisions))


class _Laws:
    """The laws cited in a run: one SARIF taxonomy each, one taxon per provision."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        provisions: dict[str, set[str]] = {}
        for text in texts:
            if cited := cites(text):
                provisions.setdefault(cited[0], set()).update(cited[1])
        self._provisions = {name: sorted(provisions[name]) for name in sorted(provisions)}
        self.names = tuple(self._provisions)

    def component(self, name: str) -> _Json:
        return {"name": visible(name), "index": self.names.index(name)}

    def taxonomies(self) -> list[_Json]:
        return [
            {
                "name": visible(name),
                "isComprehensive": False,
                "shortDescription": {"text": _message(f"Provisions of {name} cited by the rules")},
                "taxa": [{"id": visible(p), "name": visible(p)} for p in provisions],
            }
            for name, provisions in self._provisions.items()
        ]

    def references(self, law_cite: str | None) -> list[_Json]:
        cited = cites(law_cite)
        if cited is None:
            return []
        name, provisions = cited
        return [
            {
                "id": visible(provision),
                "index": self._provisions[name].index(provision),
                "toolComponent": self.component(name),
            }
            for provision in provisions
        ]


def _message(text: str) -> str:
    """Text of a message: no character that acts, no link, no placeholder."""
    return _PLACEHOLDER.sub(r"{{\1}}", _LINK.sub(r"]\\", visible(text)))


def _rule(rule_id: str, text: RuleText | None, laws: _Laws) -> _Json:
    if text is None:  # a finding of a rule that the run kept no text of
        return {"id": visible(rule_id)}
    rule: _Json = {
        "id": visible(rule_id),
        "shortDescription": {"text": _message(text.title) or _message(rule_id)},
        "fullDescription": {"text": _message(text.duty or text.title) or _message(rule_id)},
        "help": {"text": _message(text.remedy) or "No remedy is recorded for this rule."},
        "defaultConfiguration": {"level": text.level},
        "properties": {
            "version": text.version,
            "pack": text.pack,
            "law_cite": text.law_cite,
            "citation": text.citation,
            "tags": ["privacy", "biometrics", visible(text.pack)],
        },
    }
    if re.match(r"https?://[!-~]+$", text.link):
        rule["helpUri"] = text.link
    if references := laws.references(text.law_cite):
        rule["relationships"] = [{"target": r, "kinds": ["relevant"]} for r in references]
    return rule


# ---------------------------------------------------------------- results


def _result(finding: Finding, rule_index: int, run: SavedRun, laws: _Laws) -> _Json:
    kind = _KINDS.get(finding.verdict, "notApplicable")
    result: _Json = {
        "ruleId": visible(finding.rule_id),
        "ruleIndex": rule_index,
        "kind": kind,
        "level": finding.level if kind == "fail" else "none",
        "message": {"text": _message(finding.reason or "No reason is recorded.")},
        "partialFingerprints": {_FINGERPRINT: finding.finding_id},
        "occurrenceCount": max(1, finding.records or 0),
    }
    places = finding.sample_locations or [_target_name(target) for target in run.info.targets[:1]]
    if places:
        result["locations"] = [_location(place) for place in places]
    if taxa := laws.references(finding.law_cite):
        result["taxa"] = taxa
    if finding.suppressed_by is not None:
        why = _message(finding.suppressed_by)
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    seen: _Json = {}
    if finding.first_seen is not None:
        seen["firstDetectionTimeUtc"] = iso(finding.first_seen)
    if finding.evaluated_at is not None:
        seen["lastDetectionTimeUtc"] = iso(finding.evaluated_at)
    if seen:
        result["provenance"] = seen
    result["properties"] = {
        name: getattr(finding, name)
        for name in (
            "finding_id",
            "verdict",
            "level",
            "rule_version",
            "pack",
            "law_cite",
            "dataset_id",
            "transfer_id",
            "purpose",
            "recipient",
            "jurisdiction",
            "records",
            "subjects",
            "subjects_is_upper_bound",
            "remedy",
        )
        if getattr(finding, name) is not None
    }
    return result


def _location(place: str) -> _Json:
    # Dashboards want a line; items have none, so it is the first. The message is the name as
    # people know it.
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": uri(place)},
            "region": {"startLine": 1},
        },
        "message": {"text": _message(place)},
    }


def uri(location: str) -> str:
    """A location as a URI reference; decoding its percent signs gives the location back.

    `s3://bucket/key` keeps its scheme, `/folder/x` becomes `file:///folder/x`, anything else is
    relative. A `!/` of a nested item stays. Segments "." and ".." are encoded, so that nobody
    resolves them.
    """
    if scheme := _SCHEME.match(location):
        authority, slash, path = location[scheme.end() :].partition("/")
        return scheme[0].lower() + _quoted(authority, "@:") + slash + _path(path, ":")
    if location.startswith("/"):
        return "file://" + _path(location, ":")
    return _path(location, "")


def _path(path: str, also_safe: str) -> str:
    dots = {".": "%2E", "..": "%2E%2E"}
    return "/".join(
        dots.get(segment) or _quoted(segment, "!$&'()*+,;=@" + also_safe)
        for segment in path.split("/")
    )


def _quoted(text: str, safe: str) -> str:
    # names of local files may hold bytes that are not UTF-8, as surrogates: they become those bytes
    return quote(text, safe=safe, errors="surrogateescape")


def _target_name(target: str) -> str:
    return target if _SCHEME.match(target) else posixpath.normpath(target)


# ---------------------------------------------------------------- the run itself


def _invocation(run: SavedRun, findings: list[Finding]) -> _Json:
    info = run.info
    verdict = answer(run, tally(run, findings), findings)
    return {
        "executionSuccessful": run.complete and not info.interrupted,
        "exitCode": run.exit_code,
        "exitCodeDescription": visible(verdict.headline),
        "startTimeUtc": iso(info.started),
        "endTimeUtc": iso(info.finished),
        "toolExecutionNotifications": list(_notifications(run)),
        "properties": {
            "run_id": info.id,
            "as_of": iso(info.as_of),
            "targets": [visible(target) for target in info.targets],
            "policies": [visible(policy) for policy in info.policies],
            "complete": run.complete,
            "coverage": dict(run.coverage_counts),
        },
    }


def _notifications(run: SavedRun) -> Iterator[_Json]:
    if run.info.interrupted:
        yield _notification("run/interrupted", "error", "The run was stopped before its end.")
    for note in run.info.notes:
        yield _notification("run/note", "note", note)
    for row in gap_rows(run.coverage_gaps, _MAX_NOTIFICATIONS):
        reason = row["reason"]
        code = None if reason is None else str(reason)
        text = f"{reason_words(code)}: {reason_remedy(code)}."
        kind = "rule" if code is not None and code.startswith("rule:") else (code or "unknown")
        level = _GAP_LEVELS.get(str(row["state"]), "error")
        notification = _notification(f"coverage/{visible(kind)}", level, text)
        if row["location"] is not None:
            notification["locations"] = [_location(str(row["location"]))]
        if row["detail"]:
            notification["properties"] = {"detail": visible(str(row["detail"]))}
        yield notification
    more = run.coverage_gaps.num_rows - _MAX_NOTIFICATIONS
    if more > 0:
        text = f"{more:,} more places were not looked at, or not whole; coverage.parquet lists all."
        yield _notification("coverage/more", "warning", text)


def _notification(code: str, level: str, text: str) -> _Json:
    return {"descriptor": {"id": code}, "level": level, "message": {"text": _message(text)}}


REPORT = to_stream("sarif", ".sarif", write)

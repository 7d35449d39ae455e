"""SARIF 2.1.0 for code-scanning dashboards: a violation is `fail`, a review `review`, a passed check `pass`.

Only `fail` has a level (section 3.27.10 of the standard); the finding id is the partial fingerprint, so
that a dashboard follows a finding over runs. What was not looked at becomes tool notifications: a run
with gaps says `executionSuccessful: false`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
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

_Json = dict[str, object]


def write(run: SavedRun, out: IO[bytes], options: RenderOptions) -> None:
    findings = told_findings(run)
    texts = rules_by_id(run)
    rule_ids = sorted(set(texts) | {finding.rule_id for finding in findings})
    laws = _Laws([texts[r].law_cite if r in texts else "" for r in rule_ids], findings)
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
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": _One(described),
    }
    write_json(out, document)

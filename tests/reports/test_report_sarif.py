"""The SARIF report is valid by the standard's schema and says what its text asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema  # type: ignore[import-untyped]
import pytest

from scanner.model import SavedRun
from scanner.reports.sarif import cites, uri

SCHEMA = Path(__file__).with_name("sarif-schema-2.1.0.json")
# RFC 3986: what may stand in a URI reference, percent signs only in front of two hexadecimal digits
URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
RUNS = ["usual", "hostile", "empty", "interrupted", "large"]

Render = Callable[..., bytes]
Make = Callable[..., SavedRun]
Row = dict[str, object]


def load(data: bytes) -> Any:
    (run,) = json.loads(data)["runs"]
    return run


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    cls = jsonschema.validators.validator_for(schema)
    cls.check_schema(schema)
    return cls(schema, format_checker=cls.FORMAT_CHECKER)


@pytest.mark.parametrize("which", RUNS[:-1])
def test_valid(which: str, validator: Any, render: Render, request: pytest.FixtureRequest) -> None:
    document = json.loads(render("sarif", request.getfixturevalue(which)))
    errors = [error.message for error in validator.iter_errors(document)]
    assert errors == []


def test_the_validator_sees_errors(validator: Any, usual: SavedRun, render: Render) -> None:
    document = json.loads(render("sarif", usual))
    document["runs"][0]["results"][0]["occurrenceCount"] = 0
    document["runs"][0]["results"][1]["kind"] = "violation"
    assert len(list(validator.iter_errors(document))) == 2


@pytest.mark.parametrize("which", RUNS)
def test_indices_levels_and_uris(
    which: str, render: Render, request: pytest.FixtureRequest
) -> None:
    run = load(render("sarif", request.getfixturevalue(which)))
    driver = run["tool"]["driver"]
    assert driver["name"] == "consentry"
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    for result in run["results"]:
        # section 3.27.10: a level other than "none" only with kind "fail"
        assert (result["level"] == "none") == (result["kind"] != "fail")
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["occurrenceCount"] >= 1
        assert result["locations"]
        for taxon in result.get("taxa", []):
            taxonomy = run["taxonomies"][taxon["toolComponent"]["index"]]
            assert taxonomy["name"] == taxon["toolComponent"]["name"]
            assert taxonomy["taxa"][taxon["index"]]["id"] == taxon["id"]
    notifications = run["invocations"][0]["toolExecutionNotifications"]
    for holder in [*run["results"], *notifications]:
        for location in holder.get("locations", []):
            assert URI.fullmatch(location["physicalLocation"]["artifactLocation"]["uri"])
    for rule in driver["rules"]:
        assert rule.get("helpUri", "https://").startswith("https://")


def test_kinds_counts_and_fingerprints(usual: SavedRun, render: Render) -> None:
    run = load(render("sarif", usual))
    kinds = [(r["kind"], r["level"], "suppressions" in r) for r in run["results"]]
    assert kinds == [
        ("fail", "error", True),
        ("fail", "error", False),
        ("fail", "error", False),
        ("fail", "warning", False),
        ("review", "none", False),
        ("review", "none", False),
        ("pass", "none", False),
    ]
    first = run["results"][1]
    assert first["partialFingerprints"] == {"consentryFindingId/v1": f"{1:032x}"}
    assert first["occurrenceCount"] == 1234
    assert run["results"][0]["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "privacy-team until 2027-01-31: test people",
        }
    ]
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["automationDetails"]["id"] == "consentry/20261122-120000-7f3a"


def test_rules_carry_the_law(usual: SavedRun, render: Render) -> None:
    run = load(render("sarif", usual))
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    rule = rules["KR-PIPA-17-FACE-NO-BASIS"]
    assert rule["fullDescription"]["text"].startswith("Personal information may be provided")
    assert rule["help"]["text"].startswith("Obtain separate consent")
    assert rule["defaultConfiguration"] == {"level": "error"}
    assert rule["properties"]["citation"] == "verified"
    assert [r["target"]["id"] for r in rule["relationships"]] == ["17(1)", "18(1)"]
    assert "helpUri" not in rules["EU-GDPR-35-DPIA"]  # its link is a script
    taxonomies = {t["name"]: [x["id"] for x in t["taxa"]] for t in run["taxonomies"]}
    assert taxonomies == {
        "GDPR": ["35(3)(b)"],
        "PIPA": ["17(1)", "18(1)", "26(2)"],
        "organisation policy": ["organisation policy"],
    }


def test_a_finding_without_a_place_stands_at_the_target(usual: SavedRun, render: Render) -> None:
    run = load(render("sarif", usual))
    result = next(r for r in run["results"] if r["ruleId"] == "KR-PIPA-26-UNPUBLISHED")
    (location,) = result["locations"]
    uri_there = location["physicalLocation"]["artifactLocation"]["uri"]
    assert uri_there == "s3://moj-export/faces/"


def test_invocation_tells_of_gaps(usual: SavedRun, empty: SavedRun, render: Render) -> None:
    (invocation,) = load(render("sarif", usual))["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["exitCode"] == 4
    told = [(n["descriptor"]["id"], n["level"]) for n in invocation["toolExecutionNotifications"]]
    assert told == [
        ("run/note", "note"),
        ("coverage/denied", "error"),
        ("coverage/denied", "error"),
        ("coverage/unsupported", "warning"),
        ("coverage/encrypted", "warning"),
        ("coverage/rule", "note"),
    ]
    (invocation,) = load(render("sarif", empty))["invocations"]
    assert invocation["executionSuccessful"] is True
    assert invocation["toolExecutionNotifications"] == []


def test_many_gaps_are_cut_and_counted(large: SavedRun, render: Render) -> None:
    (invocation,) = load(render("sarif", large))["invocations"]
    notifications = invocation["toolExecutionNotifications"]
    assert len(notifications) == 1001
    assert notifications[-1]["message"]["text"].startswith("4,000 more places")


def test_interrupted_is_an_error(interrupted: SavedRun, render: Render) -> None:
    (invocation,) = load(render("sarif", interrupted))["invocations"]
    assert invocation["executionSuccessful"] is False
    first = invocation["toolExecutionNotifications"][0]
    assert (first["descriptor"]["id"], first["level"]) == ("run/interrupted", "error")


def test_finding_of_an_unknown_rule(
    make_run: Make, make_finding: Callable[..., Row], render: Render, validator: Any
) -> None:
    run = make_run([make_finding(1, "violation", law_cite=None)], rules=())
    data = render("sarif", run)
    assert not list(validator.iter_errors(json.loads(data)))
    assert load(data)["tool"]["driver"]["rules"] == [{"id": "KR-PIPA-17-FACE-NO-BASIS"}]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://b/faces.tar!/000123.jpg", "s3://b/faces.tar!/000123.jpg"),
        ("/data/얼굴 1.jpg", "file:///data/%EC%96%BC%EA%B5%B4%201.jpg"),
        ("people.parquet!/row=17/photo", "people.parquet!/row=17/photo"),
        ("a:b/c.jpg", "a%3Ab/c.jpg"),
        ("s3://b/50%/x?y#z[1]", "s3://b/50%25/x%3Fy%23z%5B1%5D"),
        ("s3://b/../x/./y//z", "s3://b/%2E%2E/x/%2E/y//z"),
        ("/data/\udcff.jpg", "file:///data/%FF.jpg"),
    ],
)
def test_uris(location: str, expected: str) -> None:
    assert uri(location) == expected
    assert URI.fullmatch(expected)
    decoded = unquote(expected, errors="surrogateescape")
    assert decoded.removeprefix("file://" if location.startswith("/") else "") == location
    assert urlsplit(expected).query == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PIPA 17(1), 18(1)", ("PIPA", ("17(1)", "18(1)"))),
        ("PIPA 33(1), Decree 35", ("PIPA", ("33(1)", "Decree 35"))),
        ("AI Act 5(1)(e)", ("AI Act", ("5(1)(e)",))),
        ("GDPR 9, 9", ("GDPR", ("9",))),
        ("organisation policy", ("organisation policy", ("organisation policy",))),
        ("17(1)", ("17(1)", ("17(1)",))),
        (" , ", None),
        (None, None),
    ],
)
def test_cites(text: str | None, expected: tuple[str, tuple[str, ...]] | None) -> None:
    assert cites(text) == expected

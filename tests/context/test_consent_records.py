"""Consent records of ISO/IEC TS 27560 and receipts of Kantara 1.1 become rows of the registry."""

from __future__ import annotations

import copy
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scanner.context import load_context
from scanner.context.json_objects import read_objects
from scanner.context.registries import read_registry
from scanner.errors import ConfigError
from scanner.model import DeclaredUse, RegistrySpec
from scanner.policy.consent_check import Question, check_consent
from scanner.purposes import Purposes
from scanner.subjects import SubjectKey

KEY = SubjectKey(b"k" * 32)
RECORD: dict[str, Any] = {
    "schema_version": "ISO/IEC TS 27560:2023",
    "record_id": "R-1",
    "pii_principal_id": "P7711001",
    "pii_processing": {
        "privacy_notice": "https://example.org/notice/3",
        "language": "en",
        "jurisdiction": "KR",
        "storage_locations": ["KR"],
        "retention_period": "P5Y",
        "withdrawal_method": "https://example.org/withdraw",
        "pii_controllers": [{"party_id": "moj", "party_name": "a ministry"}],
        "purposes": [
            {
                "purpose": "dpv:ResearchAndDevelopment",
                "lawful_basis": "eu-gdpr:A9-2-a",
                "pii_information": [{"pii_type": "pd:FacialPrint"}, {"pii_type": "pd:Age"}],
                "recipient_third_parties": ["acme"],
            }
        ],
    },
    "event": {
        "event_type": "dpv:ExplicitlyExpressedConsent",
        "event_state": "dpv:ConsentGiven",
        "event_time": "2024-02-29T09:00:00+09:00",
        "validity_duration": "P1Y",
        "entity_id": "P7711001",
    },
}
RECEIPT: dict[str, Any] = {
    "version": "KI-CR-v1.1.0",
    "jurisdiction": "KR",
    "consentTimestamp": 1704067200,
    "collectionMethod": "web form",
    "consentReceiptID": "CR-1",
    "piiPrincipalId": "P7711001",
    "piiControllers": [{"piiController": "moj", "contact": "x", "email": "x", "phone": "x"}],
    "policyUrl": "https://example.org/policy",
    "sensitive": True,
    "spiCat": ["Biometric"],
    "services": [
        {
            "service": "border",
            "purposes": [
                {
                    "purpose": "border-control",
                    "consentType": "EXPLICIT",
                    "purposeCategory": ["Core Function"],
                    "piiCategory": ["Biometric"],
                    "primaryPurpose": True,
                    "termination": "2025-12-31",
                    "thirdPartyDisclosure": False,
                }
            ],
        }
    ],
}


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def changed(base: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with the field at the path set; with None removed."""
    entry = copy.deepcopy(base)
    here: Any = entry
    *steps, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for step in steps:
        here = here[step]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return entry


def read(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    path = tmp_path / "consents.json"
    path.write_text(text, encoding="utf-8")
    rows: list[dict[str, Any]] = read_registry(
        RegistrySpec("consents", path=str(path)), KEY
    ).to_pylist()
    return rows


def said(tmp_path: Path, *entries: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, json.dumps(entries))
    text = str(caught.value)
    assert "\n" not in text
    assert "P7711001" not in text
    return text


def test_a_record_is_a_row_for_each_recipient_and_kind(tmp_path: Path) -> None:
    rows = read(tmp_path, json.dumps(RECORD, indent=2))
    assert {(r["recipient"], r["data_category"]) for r in rows} == {
        ("moj", "biometric.face"),
        ("moj", "attribute.age"),
        ("acme", "biometric.face"),
        ("acme", "attribute.age"),
    }
    assert len(rows) == 4
    for row in rows:
        assert row["subject_digest"] == KEY.digest("P7711001")
        assert row["purpose"] == "dpv:ResearchAndDevelopment"
        assert (row["state"], row["record_id"]) == ("given", "R-1")
        assert row["valid_from"] == row["recorded_at"] == moment(2024, 2, 29)
        assert row["valid_until"] == moment(2025, 2, 28)
        assert row["separate"] is None
        assert row["guardian_verified"] is None
        assert row["notice_ref"] == "https://example.org/notice/3"


def test_arrays_and_lines_say_the_same(tmp_path: Path) -> None:
    records = [changed(RECORD, "record_id", f"R-{n}") for n in range(3)]
    as_array = read(tmp_path, "\ufeff" + json.dumps(records, indent=1))
    assert as_array == read(tmp_path, "\n".join(map(json.dumps, records)))
    assert [r["record_id"] for r in as_array] == [f"R-{n}" for n in range(3) for _ in range(4)]


def test_a_flat_record(tmp_path: Path) -> None:
    flat = {**RECORD, **RECORD["pii_processing"], **RECORD["event"]}
    del flat["pii_processing"], flat["event"]
    flat["purposes"] = ["training", "research"]
    flat |= {"pii_type": ["*"], "recipient_third_parties": [], "separate_consent_for": ["training"]}
    rows = read(tmp_path, json.dumps([flat]))
    assert [(r["purpose"], r["recipient"], r["data_category"], r["separate"]) for r in rows] == [
        ("training", "moj", None, True),
        ("research", "moj", None, False),
    ]


def event(state: str, day: str, **more: str) -> dict[str, str]:
    return {"event_state": state, "event_time": day, "entity_id": "x", **more}


def ends(rows: list[dict[str, Any]]) -> list[tuple[str, datetime | None, datetime | None]]:
    """Record, start and end of the rows about faces at acme."""
    return [
        (r["record_id"], r["valid_from"], r["valid_until"])
        for r in rows
        if (r["recipient"], r["data_category"]) == ("acme", "biometric.face")
    ]


def test_the_life_of_a_record(tmp_path: Path) -> None:
    entry = changed(RECORD, "event", None)
    entry["events"] = [
        event("dpv:ConsentRequested", "2024-01-01"),
        event("dpv:ConsentGiven", "2024-02-01", validity_duration="indefinite"),
        event("https://w3id.org/dpv#RenewedConsentGiven", "2024-03-01", validity_duration="P10D"),
        event("dpv:ConsentWithdrawn", "2024-04-01"),
        event("dpv:ConsentExpired", "2024-05-01"),
    ]
    rows = [r for r in read(tmp_path, json.dumps(entry)) if r["recipient"] == "acme"][::2]
    assert [(r["state"], r["valid_from"], r["valid_until"], r["recorded_at"]) for r in rows] == [
        ("given", moment(2024, 2, 1), moment(2024, 5, 1), moment(2024, 2, 1)),
        ("renewed", moment(2024, 3, 1), moment(2024, 3, 11), moment(2024, 3, 1)),
        ("withdrawn", moment(2024, 4, 1), None, moment(2024, 4, 1)),
    ]


def test_an_expiry_ends_what_was_given_before_it(tmp_path: Path) -> None:
    entry = changed(RECORD, "event", None)
    entry["events"] = [
        event("dpv:ConsentGiven", "2024-01-01", validity_duration="indefinite"),
        event("dpv:ConsentExpired", "2024-06-01"),
        event("dpv:RenewedConsentGiven", "2024-07-01", validity_duration="P1Y"),
        event("dpv:ConsentExpired", "2026-01-01"),
        event("dpv:RenewedConsentGiven", "2026-01-01", validity_duration="P1Y"),
    ]
    assert ends(read(tmp_path, json.dumps(entry))) == [
        ("R-1", moment(2024, 1, 1), moment(2024, 6, 1)),
        ("R-1", moment(2024, 7, 1), moment(2025, 7, 1)),
        ("R-1", moment(2026, 1, 1), moment(2026, 1, 1)),
    ]


def test_a_record_in_several_objects(tmp_path: Path) -> None:
    given = changed(RECORD, "event.validity_duration", "indefinite")
    expired = changed(RECORD, "event", event("dpv:ConsentExpired", "2024-06-01"))
    other = changed(given, "record_id", "R-2")
    someone = changed(given, "pii_principal_id", "P-2")
    bare = (None, datetime.min.replace(tzinfo=UTC))
    rows = read(tmp_path, "\n".join(map(json.dumps, (given, other, expired, someone))))
    start = moment(2024, 2, 29)
    assert ends(rows) == [
        ("R-1", start, moment(2024, 6, 1)),
        ("R-2", start, None),
        ("R-1", *bare),
        ("R-1", start, None),
    ]
    again = {**changed(RECORD, "event", None), "events": [
        event("dpv:ConsentGiven", "2024-01-01", validity_duration="indefinite"),
        event("dpv:ConsentExpired", "2024-06-01"),
    ]}  # fmt: skip
    assert ends(read(tmp_path, json.dumps([again, given])))[1] == ("R-1", start, moment(2024, 6, 1))
    early = changed(RECORD, "event", event("dpv:ConsentExpired", "2024-01-01"))
    first, *_ = ends(read(tmp_path, json.dumps([given, early, expired])))
    assert first == ("R-1", start, moment(2024, 6, 1))


def test_an_expiry_ends_no_consent_of_another_record(tmp_path: Path) -> None:
    runs = changed(RECORD, "event.validity_duration", "indefinite")
    old = changed(changed(RECORD, "record_id", "R-2"), "event", None)
    expired = event("dpv:ConsentExpired", "2025-01-01")
    lone = {**old, "events": [expired]}
    whole = {**old, "events": [event("dpv:ConsentGiven", "2023-01-01",
                                     validity_duration="P3Y"), expired]}  # fmt: skip

    def status(*entries: object, day: int) -> str | None:
        path = tmp_path / "consents.json"
        path.write_text(json.dumps(entries))
        table = read_registry(RegistrySpec("consents", path=str(path)), KEY)
        purpose, digest = "dpv:ResearchAndDevelopment", KEY.digest("P7711001")
        question = Question(
            digest, purpose, "acme", "moj", ("biometric.face",), moment(day, 6, 1)
        )  # fmt: skip
        (decision,) = check_consent(table, Purposes(), question)
        return decision.status

    for ended in (lone, whole):
        assert status(runs, ended, day=2026) == status(ended, runs, day=2026) == "given"
    assert status(whole, day=2024) == "given"
    assert status(whole, day=2025) == "expired"
    assert status(lone, day=2024) == status(lone, day=2026) == "expired"


@pytest.mark.parametrize(
    ("duration", "end"),
    [
        ("P1M", (2024, 3, 29)),
        ("P1Y6M", (2025, 8, 29)),
        ("P2W", (2024, 3, 14)),
        ("PT36H", (2024, 3, 1, 12)),
        ("P9999999999Y", (9999, 12, 31, 23, 59, 59, 999999)),
        ("2024-12-31", (2025, 1, 1)),
    ],
)
def test_durations(tmp_path: Path, duration: str, end: tuple[int, ...]) -> None:
    rows = read(tmp_path, json.dumps(changed(RECORD, "event.validity_duration", duration)))
    assert {r["valid_until"] for r in rows} == {moment(*end)}


@pytest.mark.parametrize(
    "path",
    [
        "schema_version", "record_id", "pii_principal_id", "pii_processing.privacy_notice",
        "pii_processing.language", "pii_processing.jurisdiction", "pii_processing.purposes",
        "pii_processing.storage_locations", "pii_processing.retention_period",
        "pii_processing.withdrawal_method", "pii_processing.pii_controllers",
        "pii_processing.purposes.0.recipient_third_parties", "pii_processing.purposes.0.purpose",
        "event.event_state", "event.event_time", "event.validity_duration", "event.entity_id",
    ],
)  # fmt: skip
def test_what_is_missing_is_named(tmp_path: Path, path: str) -> None:
    text = said(tmp_path, RECORD, changed(RECORD, path, None))
    assert "record 2, " in text
    assert f"{path.rpartition('.')[2]}: is required" in text
    assert "consents.json" in text


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("event.event_state", "dpv:ConsentUnknown", "event_state: is no known state"),
        ("event.event_state", "maybe", "event_state: is no known state"),
        ("event.event_time", "2024-02-30", "event_time: expected a date"),
        ("event.event_time", "01/02/2024", "event_time: expected a date"),
        ("event.event_time", 10**15, "event_time: expected a date"),
        ("event.validity_duration", "P", "validity_duration: expected a duration"),
        ("event.validity_duration", "a year", "validity_duration: expected a duration"),
        ("event.validity_duration", "2024-01-01", "validity_duration: ends before it starts"),
        ("pii_principal_id", "NaN", "pii_principal_id: says that there is nobody"),
        ("pii_principal_id", ["x"], "pii_principal_id: expected a text"),
        ("pii_processing.purposes", [], "purposes: is required, and is empty"),
        ("pii_processing.pii_controllers", [], "pii_controllers: is required, and is empty"),
        ("pii_processing.purposes.0.pii_information", [{}], "pii_information[0].pii_type"),
        ("pii_processing.purposes.0.pii_information", [], "names no category of data"),
        ("pii_principal_id", "\ud800", "is not text in Unicode"),
        ("event.guardian_verified", "yes", "guardian_verified: expected true or false"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, path: str, value: object, expected: str) -> None:
    text = said(tmp_path, RECORD, RECORD, changed(RECORD, path, value))
    assert "record 3, " in text
    assert expected in text


def test_a_receipt(tmp_path: Path) -> None:
    (row,) = read(tmp_path, json.dumps(RECEIPT))
    assert row == {
        "subject_digest": KEY.digest("P7711001"),
        "purpose": "border-control",
        "recipient": "moj",
        "data_category": "biometric",
        "state": "given",
        "valid_from": moment(2024, 1, 1),
        "valid_until": moment(2026, 1, 1),
        "record_id": "CR-1",
        "separate": None,
        "guardian_verified": None,
        "notice_ref": "https://example.org/policy",
        "recorded_at": moment(2024, 1, 1),
    }


def test_third_parties_of_a_receipt(tmp_path: Path) -> None:
    place = "services.0.purposes.0"
    open_ended = changed(RECEIPT, f"{place}.termination", "when the account is closed")
    shared = changed(open_ended, f"{place}.thirdPartyDisclosure", True)
    assert "purposes[0].thirdPartyName: is required" in said(tmp_path, shared)
    rows = read(tmp_path, json.dumps(changed(shared, f"{place}.thirdPartyName", "acme")))
    assert [(r["recipient"], r["valid_until"]) for r in rows] == [("moj", None), ("acme", None)]


def test_implied_consent_is_none_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    implied = changed(RECEIPT, "services.0.purposes.0.consentType", "IMPLICIT")
    path.write_text(json.dumps(implied) + "\n" + json.dumps(RECEIPT))
    context = load_context(
        (),
        (RegistrySpec("consents", path=str(path)),),
        declared_use=DeclaredUse(),
        child_age=14,
        key=KEY,
    )
    assert context.consents.num_rows == 1
    (note,) = context.notes
    assert "1 purposes of receipts with implicit consent" in note


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("consentTimestamp", "yesterday", "consentTimestamp: expected a date"),
        ("consentTimestamp", None, "consentTimestamp: is required"),
        ("piiControllers", None, "piiControllers: is required"),
        ("sensitive", None, "sensitive: is required"),
        ("services", [], "services: is required"),
        ("services.0.purposes.0.consentType", "MAYBE", "purposes[0].consentType: expected"),
        ("services.0.purposes.0.piiCategory", None, "purposes[0].piiCategory: is required"),
        ("services.0.purposes.0.termination", "2001-01-01", "termination: ends before"),
        ("services.0.purposes.0", "x", "purposes[0]: expected an object"),
    ],
)
def test_wrong_receipts(tmp_path: Path, path: str, value: object, expected: str) -> None:
    text = said(tmp_path, RECEIPT, changed(RECEIPT, path, value))
    assert "record 2, " in text
    assert expected in text


def test_records_and_receipts_in_one_file(tmp_path: Path) -> None:
    assert "record 2, schema_version: is required" in said(tmp_path, RECORD, RECEIPT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1}, {"a": 1, "a": 2}]', "record 2: a name is there twice"),
        ('[{"a": 1}', "ends within the array, after record 1"),
        ('[{"a": 1},]', "a comma, and no record after it"),
        ('[{"a": 1} {"a": 1}]', "record 1: expected a comma"),
        ('[{"a": 1}] {"a": 1}', "more after the end"),
        ('{"a": 1}\n[]', "record 2: expected a JSON object"),
        ('{"a": 1}\n{"a": ', "record 2: not a whole JSON object"),
        ('{"a": NaN}', "record 1: not a whole JSON object"),
        ('{"a": ' + "[" * 100_000, "record 1: not a whole JSON object"),
    ],
)
def test_broken_files(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(read_objects(io.BytesIO(text.encode()), "f.json"))
    assert expected in str(caught.value)


def test_not_utf8() -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        list(read_objects(io.BytesIO(b'{"a": "\xff"}'), "f.json"))


def test_objects_larger_than_what_is_read_at_once() -> None:
    big = {"text": "é" * 3_000_000}
    stream = io.BytesIO(json.dumps([big, {"n": 1}], ensure_ascii=False).encode())
    assert [entry for _, entry in read_objects(stream, "f")] == [big, {"n": 1}]

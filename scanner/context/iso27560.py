"""Consent records of ISO/IEC TS 27560 as rows of the consents registry.

One record is several rows: one for each event, purpose, recipient and category. Recipients are the
controllers that the record names and its third parties. It may hold its fields at the top, or in
the sections that the standard describes (`header`, `pii_processing`, `event` or `events`, purposes
as objects). Fields of our own that it may have: `separate_consent_for` (list of purposes, `*` for
all) and `guardian_verified`.

That a consent expired ends the consents of its own record, never one of another record. A record
may come as several objects, so `expiries` are found first, and `ended` is asked of every row. An
object that tells of an expiry and of no consent is a consent that never held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from scanner.context.consent_fields import (
    MAX_ROWS_OF_RECORD,
    TOO_MANY_ROWS,
    ConsentRow,
    Fields,
    categories_of,
    controllers_of,
    flag,
    subject_of,
    until,
)
from scanner.errors import ConfigError
from scanner.moments import START_OF_TIME
from scanner.purposes import folded
from scanner.vocabulary import STATES, spelled, word

# States of a record's life that are neither a consent nor its end.
_BEFORE = frozenset({"consentrequested", "consentrequestdeferred"})
_EXPIRED = frozenset({"consentexpired", "expired"})
_GIVEN = ("given", "renewed")
_INVALIDATED = frozenset({"consentinvalidated", "invalidated"})
# What every record has (ISO/IEC TS 27560, 6.3), beside purposes and events.
_REQUIRED = ("schema_version", "privacy_notice", "language")
# These may stand with each purpose, or once for all of them.
_OF_PURPOSE = ("jurisdiction", "storage_locations", "retention_period", "withdrawal_method")


def rows_of_record(record: Fields) -> list[ConsentRow]:
    for key in _REQUIRED:
        record.need(key)
    subject, record_id = subject_of(record, "pii_principal_id"), record.text("record_id")
    notice = record.need("privacy_notice")
    notice_ref = record.as_text("privacy_notice", notice) if isinstance(notice, str) else None
    rows: list[ConsentRow] = []
    events = [(event, state) for event in _events(record) if (state := _state(event))]
    alone = not any(state in _GIVEN for _, state in events)
    for event, state in events:
        time = event.moment("event_time")
        event.text("entity_id")
        start: datetime | None = time
        recorded: datetime | None = time
        end: datetime | None = None
        if state == "expired" and not alone:
            continue
        if state == "expired":  # since when, nobody says; older than any other, and never in force
            state, start, recorded, end = "given", None, None, START_OF_TIME
        elif state in _GIVEN:
            end = until(event, "validity_duration", time)
        for part, purpose in _purposes(record):
            for key in _OF_PURPOSE:
                part.need(key)
            recipients = controllers_of(part, "pii_controllers", "party_id", "@id", "id")
            third = part.names("recipient_third_parties", "party_id", "@id", "id")
            recipients += third
            if state in ("withdrawn", "refused") and not third:
                recipients = ["*"]  # taken back from the controller, and from whoever has it by it
            categories = categories_of(part, _types(part))
            if len(rows) + len(recipients) * len(categories) > MAX_ROWS_OF_RECORD:
                raise record.wrong("", TOO_MANY_ROWS)
            rows += [
                ConsentRow(
                    subject, purpose, state, recipient, category, start, end, record_id,
                    _separate(part, purpose), flag(event, "guardian_verified"),
                    notice_ref, recorded,
                )
                for recipient in dict.fromkeys(recipients)
                for category in categories
            ]  # fmt: skip
    return rows


def ended(row: ConsentRow, expired: Sequence[datetime]) -> ConsentRow:
    """The row, ending when it says or, if that is earlier, at the first of these moments after it
    was given; one at the same instant counts, too: the stricter reading.
    """
    if row.state not in _GIVEN or row.recorded_at is None:
        return row
    ends = [time for time in (*expired, row.valid_until) if time and time >= row.recorded_at]
    return replace(row, valid_until=min(ends, default=None))


def expiries(record: Fields) -> list[tuple[str, str, datetime]]:
    """When consents of the record expired: person, record, moment.

    What is wrong with the object is told when its rows are made.
    """
    try:
        events = [event for event in _events(record) if _state(event) == "expired"]
        return [
            (record.text("pii_principal_id"), record.text("record_id"), event.moment("event_time"))
            for event in events
        ]
    except ConfigError:
        return []


def _events(record: Fields) -> list[Fields]:
    for key in ("events", "consent_events"):
        if record.find(key) is not None:
            return record.parts(key)
    return [record]


def _state(event: Fields) -> str | None:
    """given, renewed, refused, withdrawn or expired; None where there is no decision yet."""
    text = event.text("event_state")
    name = spelled(text)
    if name in _BEFORE:
        return None
    if name in _EXPIRED:
        return "expired"
    if name in _INVALIDATED:  # it never was one; that it is taken back says so from now on
        return "withdrawn"
    found = word(text, STATES)
    if found is None:
        raise event.wrong(
            "event_state", "is no known state; expected dpv:ConsentGiven, dpv:ConsentWithdrawn, "
            "dpv:ConsentRefused, dpv:RenewedConsentGiven, dpv:ConsentExpired …"
        )  # fmt: skip
    return found


def _purposes(record: Fields) -> list[tuple[Fields, str]]:
    value = record.need("purposes")
    items = value if isinstance(value, list) else [value]
    if not items:
        raise record.wrong("purposes", "is required, and is empty")
    found = []
    for at, item in enumerate(items):
        if isinstance(item, Mapping):
            prefix = f"{record.prefix}purposes[{at}]."
            part = Fields(record.name, record.number, item, prefix, record)
            found.append((part, part.text("purpose")))
        else:
            found.append((record, record.as_text(f"purposes[{at}]", item)))
    return found


def _types(part: Fields) -> list[str]:
    if part.find("pii_information") is not None:
        return part.names("pii_information", "pii_type")
    return part.names("pii_type")


def _separate(part: Fields, purpose: str) -> bool | None:
    if part.find("separate_consent_for") is None:
        return None
    named = part.names("separate_consent_for", "purpose")
    return "*" in named or folded(purpose) in {folded(name) for name in named}

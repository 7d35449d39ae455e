"""Explains one consent decision, record by record, by the same SQL that judging uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import duckdb
import pyarrow as pa

from scanner.errors import ScannerError
from scanner.policy import consents
from scanner.purposes import Purposes

Why = Literal[
    "given", "withdrawn", "refused", "expired", "not_yet_valid", "superseded", "not_yet_recorded",
    "other_category", "other_purpose", "narrower_purpose", "part_of_purpose", "other_recipient",
    "purpose_not_asked", "recipient_not_asked", "controller_not_known",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """May the data of a kind of one person be used for a purpose, by a recipient, at a moment?"""

    subject_digest: str | None  # None: a key that says that there is nobody
    purpose: str | None
    recipient: str | None
    controller: str | None  # a consent without a recipient is for the controller itself
    kinds: tuple[str, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Considered:
    """One record of the person, and whether it counts for the question."""

    record_id: str | None
    state: str  # given | refused | withdrawn
    purpose: str
    recipient: str | None
    category: str | None
    recorded_at: datetime | None
    valid_from: datetime | None
    valid_until: datetime | None  # first moment at which it is no longer valid
    separate: bool | None
    guardian: bool
    why: Why
    decides: bool
    covers: bool  # its purpose is broader than the one asked for
    taken_back: bool  # a newer withdrawal or refusal covers it


@dataclass(frozen=True, slots=True)
class Decision:
    """What holds for one kind of data."""

    kind: str
    status: str | None  # as of an exposure (`columns.CONSENT_STATUSES`); None: cannot be told
    separate: bool | None
    guardian: bool | None
    records: tuple[Considered, ...]  # the newest first


def check_consent(
    registry: pa.Table | pa.RecordBatchReader, purposes: Purposes, question: Question
) -> tuple[Decision, ...]:
    """One decision for each of the question's kinds. `registry` has the schema CONSENTS, and is
    read once. Raises ScannerError.
    """
    if question.subject_digest is None:
        return tuple(Decision(k, "subject_unknown", None, None, ()) for k in question.kinds)
    try:
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            con.execute("SET enable_external_access = false")
            con.execute("SET enable_progress_bar = false")
            return _decided(con, registry, purposes, question)
    except duckdb.Error as error:  # its text may hold values
        raise ScannerError(
            f"the consents could not be compared ({type(error).__name__}); check that there is "
            "memory for the registry"
        ) from None


def _decided(
    con: duckdb.DuckDBPyConnection,
    registry: pa.Table | pa.RecordBatchReader,
    purposes: Purposes,
    question: Question,
) -> tuple[Decision, ...]:
    con.execute(
        "CREATE TEMP TABLE subject AS SELECT 1 AS subject_no, ? AS digest",
        [question.subject_digest],
    )
    con.execute(
        "CREATE TEMP TABLE record AS "
        "SELECT 1 AS dataset_no, 1 AS subject_no, unnest(?::VARCHAR[]) AS kind",
        [list(question.kinds)],
    )
    con.execute(
        "CREATE TEMP TABLE use AS SELECT 1 AS dataset_no, 1 AS ask_no, ?::VARCHAR AS purpose, "
        "?::VARCHAR AS recipient, ?::VARCHAR AS controller, ?::TIMESTAMPTZ AS event_time",
        [question.purpose, question.recipient, question.controller, question.as_of],
    )
    consents.build(con, registry, purposes, keep_ids=True)
    found = {
        row[0]: row[1:]
        for row in con.execute(
            "SELECT kind, status, separate_consent, guardian_verified FROM consent_of"
        ).fetchall()
    }
    rows = consents.records(con)
    decisions = []
    for kind in question.kinds:
        status, separate, guardian = found.get(kind, ("none", False, False))
        about = tuple(_considered(row, purposes, question) for row in rows if row["kind"] == kind)
        decisions.append(Decision(kind, status, separate, guardian, about))
    return tuple(decisions)


def _considered(row: dict[str, object], purposes: Purposes, question: Question) -> Considered:
    written = str(row["purpose"])
    winner, sure, part = (
        cast("int | None", row[name]) for name in ("winner", "sure_winner", "part_winner")
    )
    deciding = {winner, sure} - {None}
    if part is not None and winner is not None and part > (sure or winner):
        deciding.add(part)
    return Considered(
        record_id=cast("str | None", row["record_id"]),
        state=("given", "refused", "withdrawn")[cast("int", row["strict"])],
        purpose=written,
        recipient=cast("str | None", row["recipient"]),
        category=cast("str | None", row["category"]),
        recorded_at=cast("datetime | None", row["recorded_at"]),
        valid_from=cast("datetime | None", row["valid_from"]),
        valid_until=cast("datetime | None", row["valid_until"]),
        separate=cast("bool | None", row["separate"]),
        guardian=bool(row["guardian"]),
        why=_why(row, written, purposes, question),
        decides=row["consent_no"] in deciding,
        covers=question.purpose is not None
        and purposes.covers(written, question.purpose)
        and not purposes.covers(question.purpose, written),
        taken_back=bool(row["is_back"]),
    )


def _why(row: dict[str, object], written: str, purposes: Purposes, question: Question) -> Why:
    """The first thing that stands between a record and the question, or what the record says."""
    if not row["k"]:
        return "other_category"
    if not row["p_maybe"]:
        if row["part"]:
            return "part_of_purpose"
        narrower = question.purpose is not None and purposes.covers(question.purpose, written)
        return "narrower_purpose" if narrower else "other_purpose"
    if not row["r_maybe"]:
        return "other_recipient"
    strict, as_of = cast("int", row["strict"]), question.as_of
    recorded, end = (cast("datetime | None", row[name]) for name in ("recorded_at", "valid_until"))
    if not row["known"]:
        in_advance = not strict and (recorded is None or recorded <= as_of)
        return "not_yet_valid" if in_advance else "not_yet_recorded"
    if row["winner"] != row["consent_no"] and row["sure_winner"] != row["consent_no"]:
        return "superseded"
    if strict:
        return "withdrawn" if strict == 2 else "refused"
    if end is not None and end <= as_of:
        return "expired"
    if not row["p"]:
        return "purpose_not_asked"
    if row["r"]:
        return "given"
    return "recipient_not_asked" if question.recipient is None else "controller_not_known"


def given(decisions: Sequence[Decision]) -> bool | None:
    """Whether consent is given for every kind; None: it cannot be told."""
    if any(d.status not in (None, "given", "subject_unknown") for d in decisions):
        return False
    return True if all(d.status == "given" for d in decisions) else None

"""The consent decision agrees with a slow, obvious reference on very many random histories.

Each history is one person's records, asked about in one use; all are decided as one registry.
"""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pytest

from scanner import schemas
from scanner.policy import consents
from scanner.purposes import Purposes

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
CONTROLLER = "moj"
KINDS = ("biometric.face", "attribute.age")
OWN = {"ai-training": ["dpv:ResearchAndDevelopment"], "Face-AI": ["ai-training", "face-matching"]}

# purpose, as it is written in a record → every purpose of a use that it covers, and those that are
# only a part of it
RD, ACADEMIC, AI, FACE_AI, MATCHING, BORDER = (
    "dpv:ResearchAndDevelopment", "dpv:AcademicResearch", "ai-training", "face-ai",
    "face-matching", "border",
)  # fmt: skip
SAME = {
    "dpv:ResearchAndDevelopment": RD,
    "https://w3id.org/dpv/2.0#ResearchAndDevelopment": RD,
    "dpv:academicresearch": ACADEMIC,
    "AI-Training": AI,
    "face-ai": FACE_AI,
    "face-matching": MATCHING,
    "Border": BORDER,
    "ResearchAndDevelopment": "no dpv term",
}
NARROWER = {RD: {ACADEMIC, AI, FACE_AI}, AI: {FACE_AI}, MATCHING: {FACE_AI}}
USES = [
    (purpose, recipient, day)
    for purpose in (RD, ACADEMIC, AI, FACE_AI, MATCHING, BORDER)
    for recipient in ("acme", CONTROLLER)
    for day in (0, 3, 6)
]


@dataclass(frozen=True, slots=True)
class Record:
    purpose: str
    recipient: str | None
    category: str | None
    state: str
    recorded: int | None
    start: int | None
    end: int | None
    separate: bool | None
    guardian: bool


def history(chance: random.Random, asked: str) -> list[Record]:
    """Most records are about the purpose that is asked about, or one near it."""
    near = [
        written
        for written, name in SAME.items()
        if name == asked or name in NARROWER.get(asked, ()) or asked in NARROWER.get(name, ())
    ]
    return [
        Record(
            purpose=chance.choice([*SAME, "*"] if chance.random() < 0.4 else near),
            recipient=chance.choice(["acme", "acme", "*", "*", "other", None, CONTROLLER]),
            category=chance.choice(["biometric", "biometric.face", "biometric.fac", "*", None]),
            state=chance.choice(["given", "given", "given", "renewed", "refused", "withdrawn"]),
            recorded=chance.choice([None, 0, 1, 2, 3, 4, 5, 6, 7]),
            start=chance.choice([None, None, 0, 1, 2, 3, 4, 5, 6, 7]),
            end=chance.choice([None, None, 1, 2, 3, 4, 6, 7, 8]),
            separate=chance.choice([True, False, None]),
            guardian=chance.random() < 0.3,
        )
        for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 3, 4, 5, 6]))
    ]


def consented(r: Record) -> bool:
    return r.state in ("given", "renewed")


def known_from(r: Record) -> int | None:
    return r.start if r.recorded is None else r.recorded


def newness(r: Record) -> tuple[float, ...]:
    """Of two records, the one with the larger counts."""
    undated = float("-inf") if consented(r) else float("inf")
    known = known_from(r)
    return (
        undated if known is None else known,
        undated if r.start is None else r.start,
        {"withdrawn": 2, "refused": 1}.get(r.state, 0),
        float("-inf") if r.end is None else -r.end,
        {True: 0, None: 1, False: 2}[r.separate],
        0 if r.guardian else 1,
    )


def is_about(r: Record, purpose: str) -> bool:
    if r.purpose == "*":
        return not consented(r)
    return SAME[r.purpose] == purpose or purpose in NARROWER.get(SAME[r.purpose], ())


def is_for(r: Record, recipient: str) -> bool:
    if r.recipient is None and not consented(r):  # who names nobody means everybody
        return True
    return r.recipient in ("*", recipient) or (r.recipient is None and recipient == CONTROLLER)


def is_of(r: Record, kind: str) -> bool:
    return r.category in (None, "*", kind) or kind.startswith(f"{r.category}.")


def takes_back(w: Record, r: Record) -> bool:
    """Whether the withdrawal or refusal `w` covers all of the consent `r`, and is newer."""
    if w.purpose != "*":
        mine, theirs = SAME[w.purpose], SAME.get(r.purpose, "*")
        if mine != theirs and theirs not in NARROWER.get(mine, ()):
            return False
    kinds = w.category in (None, "*", r.category) or (
        r.category is not None and r.category.startswith(f"{w.category}.")
    )
    return w.recipient in (r.recipient, "*", None) and kinds and newness(w) > newness(r)


def decide(
    records: list[Record], purpose: str, recipient: str, day: int, kind: str
) -> tuple[str | None, bool | None, bool | None]:
    """Status, separate, by a guardian."""

    def known(r: Record) -> bool:
        since = known_from(r)
        return since is None or since <= day

    def begun(r: Record) -> bool:
        """Who signs today for next month says nothing about today; who takes back, does."""
        return not consented(r) or r.start is None or r.start <= day

    def matches(r: Record) -> bool:
        return is_about(r, purpose) and is_for(r, recipient) and is_of(r, kind)

    def holds(r: Record) -> bool:
        if not consented(r) or not known(r) or (r.start is not None and r.start > day):
            return False
        if r.end is not None and r.end <= day:
            return False
        return not any(not consented(w) and known(w) and takes_back(w, r) for w in records)

    candidates = [r for r in records if matches(r) and known(r) and begun(r)]
    if candidates:
        newest = max(candidates, key=newness)
        if not consented(newest):
            return newest.state, False, False
        if newest.end is not None and newest.end <= day:
            return "expired", False, False
        for r in records:
            part = SAME.get(r.purpose) in NARROWER.get(purpose, ())
            if (
                part
                and not consented(r)
                and known(r)
                and is_for(r, recipient)
                and is_of(r, kind)
                and newness(r) > newness(newest)
            ):  # whether the use includes what was taken back is not on record
                good = [c for c in candidates if holds(c)]
                separate = any(c.separate is not False for c in good)
                guardian = any(c.guardian for c in good)
                return None, None if separate else False, None if guardian else False
        return "given", newest.separate, newest.guardian
    if any(matches(r) and consented(r) for r in records):
        return "not_yet_valid", False, False
    others = [r for r in records if holds(r)]
    near = [r for r in others if is_about(r, purpose)]
    if any(is_for(r, recipient) for r in near):
        return "category_mismatch", False, False
    if near:
        return "recipient_mismatch", False, False
    return "purpose_mismatch" if others else "none", False, False


def day_of(number: int | None) -> datetime.datetime | None:
    return None if number is None else START + datetime.timedelta(days=number)


def registry(histories: list[list[Record]]) -> pa.Table:
    rows = [(f"s{person}", r) for person, records in enumerate(histories) for r in records]
    columns = {
        "subject_digest": [person for person, _ in rows],
        "purpose": [r.purpose for _, r in rows],
        "recipient": [r.recipient for _, r in rows],
        "data_category": [r.category for _, r in rows],
        "state": [r.state for _, r in rows],
        "valid_from": [day_of(r.start) for _, r in rows],
        "valid_until": [day_of(r.end) for _, r in rows],
        "record_id": [None] * len(rows),
        "separate": [r.separate for _, r in rows],
        "guardian_verified": [r.guardian for _, r in rows],
        "notice_ref": [None] * len(rows),
        "recorded_at": [day_of(r.recorded) for _, r in rows],
    }
    return pa.table(columns, schemas.CONSENTS)


def decided(histories: list[list[Record]]) -> dict[tuple[int, str], tuple[object, ...]]:
    """What the program says of every person and kind; the use is that of the person's dataset."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            "CREATE TABLE subject AS SELECT i AS subject_no, 's' || i AS digest "
            f"FROM range({len(histories)}) t(i)"
        )
        con.execute(
            f"CREATE TABLE record AS SELECT subject_no % {len(USES)} AS dataset_no, subject_no, "
            f"kind FROM subject, (SELECT unnest({list(KINDS)}) AS kind)"
        )
        con.execute(
            "CREATE TABLE use (dataset_no INT, ask_no INT, purpose VARCHAR, recipient VARCHAR, "
            "controller VARCHAR, event_time TIMESTAMPTZ)"
        )
        con.executemany(
            "INSERT INTO use VALUES (?, ?, ?, ?, ?, ?)",
            [
                [n, n, purpose, recipient, CONTROLLER, day_of(day)]
                for n, (purpose, recipient, day) in enumerate(USES)
            ],
        )
        consents.build(con, registry(histories).to_reader(), Purposes.of(OWN, "own"))
        rows = con.execute(
            "SELECT subject_no, kind, status, separate_consent, guardian_verified FROM consent_of"
        ).fetchall()
    return {(row[0], row[1]): row[2:] for row in rows}


def disagreements(count: int, seed: int) -> tuple[list[object], dict[object, int]]:
    chance = random.Random(seed)
    histories = [history(chance, USES[person % len(USES)][0]) for person in range(count)]
    got = decided(histories)
    wrong: list[object] = []
    seen: dict[object, int] = {}
    for person, records in enumerate(histories):
        purpose, recipient, day = USES[person % len(USES)]
        for kind in KINDS:
            expected = decide(records, purpose, recipient, day, kind)
            found = got.get((person, kind), ("none", False, False))
            seen[expected[0]] = seen.get(expected[0], 0) + 1
            if found != expected:
                wrong.append((records, purpose, recipient, day, kind, found, expected))
    return wrong, seen


def check(count: int, seed: int) -> None:
    wrong, seen = disagreements(count, seed)
    assert not wrong, (len(wrong), wrong[0])
    statuses = {
        "given", "expired", "not_yet_valid", "withdrawn", "refused", "purpose_mismatch",
        "recipient_mismatch", "category_mismatch", "none", None,
    }  # fmt: skip
    assert set(seen) == statuses
    assert min(seen.values()) > count // 1000, seen  # every status is really met


def test_ten_thousand_histories() -> None:
    check(10_000, seed=27560)


@pytest.mark.slow
def test_a_hundred_thousand_histories() -> None:
    check(100_000, seed=1)

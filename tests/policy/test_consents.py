"""Consent status: the SQL agrees with a slow and obvious reference on random histories."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner import schemas
from scanner.policy import consents

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
CONTROLLER = "moj"


def day(number: int | None) -> datetime.datetime | None:
    return None if number is None else START + datetime.timedelta(days=number)


@dataclass(frozen=True)
class Consent:
    purpose: str
    recipient: str | None
    category: str | None
    state: str
    recorded: int | None
    start: int | None
    end: int | None
    separate: bool | None


@dataclass(frozen=True)
class Use:
    purpose: str | None
    recipient: str | None
    controller: str | None
    moment: int


PURPOSES = ["train", "Train", "border", "*"]
CONSENTS = st.builds(
    Consent,
    purpose=st.sampled_from(PURPOSES),
    recipient=st.sampled_from(["acme", "other", "*", None, CONTROLLER]),
    category=st.sampled_from(
        ["biometric", "biometric.face", "biometric.fac", "attribute", "*", None]
    ),
    state=st.sampled_from(["given", "given", "renewed", "refused", "withdrawn"]),
    recorded=st.one_of(st.none(), st.integers(0, 6)),
    start=st.one_of(st.none(), st.integers(0, 6)),
    end=st.one_of(st.none(), st.integers(1, 8)),
    separate=st.sampled_from([True, False, None]),
)
USES = st.builds(
    Use,
    purpose=st.sampled_from(["train", "border", None]),
    recipient=st.sampled_from(["acme", CONTROLLER, None]),
    controller=st.sampled_from([CONTROLLER, CONTROLLER, None]),
    moment=st.integers(0, 7),
)


def is_given(consent: Consent) -> bool:
    return consent.state in ("given", "renewed")


def known_from(consent: Consent) -> int | None:
    return consent.recorded if consent.recorded is not None else consent.start


def rank(consent: Consent) -> tuple[float, float, int, float, int]:
    """Newest first; at the same instant the stricter wins."""
    undated = float("-inf") if is_given(consent) else float("inf")
    known = known_from(consent)
    return (
        undated if known is None else known,
        undated if consent.start is None else consent.start,
        {"withdrawn": 2, "refused": 1}.get(consent.state, 0),
        float("-inf") if consent.end is None else -consent.end,
        {True: 0, None: 1, False: 2}[consent.separate],
    )


def meant(c: Consent) -> str | None:
    """Who takes a consent back without naming anybody takes it back from everybody."""
    return "*" if c.recipient is None and not is_given(c) else c.recipient


def same_recipient(consent: str | None, use: Use) -> bool:
    """A consent that names nobody is for the controller."""
    return consent == "*" or (use.controller if consent is None else consent) == use.recipient


def covers(category: str | None, kind: str) -> bool:
    return category in (None, "*", kind) or kind.startswith(f"{category}.")


def in_force(c: Consent, moment: int) -> bool:
    started = c.start is None or c.start <= moment
    return is_given(c) and started and (c.end is None or moment < c.end)


def settled(history: list[Consent], use: Use, kind: str) -> tuple[str, bool | None]:
    """The status of a use whose purpose, recipient and controller are on record."""

    def purpose(c: Consent) -> bool:
        return not is_given(c) if c.purpose == "*" else c.purpose.lower() == use.purpose

    def matches(c: Consent) -> bool:
        return purpose(c) and same_recipient(meant(c), use) and covers(c.category, kind)

    def known(c: Consent) -> bool:
        since = known_from(c)
        return since is None or since <= use.moment

    def in_time(c: Consent) -> bool:
        """A consent for a time to come changes nothing about the one that runs until then."""
        return not is_given(c) or c.start is None or c.start <= use.moment

    candidates = [c for c in history if matches(c) and known(c) and in_time(c)]
    if candidates:
        winner = max(candidates, key=rank)
        if winner.state in ("withdrawn", "refused"):
            return winner.state, False
        if winner.end is not None and winner.end <= use.moment:
            return "expired", False
        return "given", winner.separate
    if any(is_given(c) for c in history if matches(c)):
        return "not_yet_valid", False

    def holds(c: Consent) -> bool:
        return (
            known(c)
            and in_force(c, use.moment)
            and not any(
                not is_given(w)
                and known(w)
                and rank(w) > rank(c)
                and w.purpose.lower() in (c.purpose.lower(), "*")
                and meant(w) in (c.recipient, "*")
                and (
                    w.category in (None, "*", c.category)
                    or (c.category is not None and c.category.startswith(f"{w.category}."))
                )
                for w in history
            )
        )

    best = "none"
    order = ["none", "purpose_mismatch", "recipient_mismatch", "category_mismatch"]
    for c in filter(holds, history):
        if c.purpose.lower() != use.purpose:
            why = "purpose_mismatch"
        elif not same_recipient(meant(c), use):
            why = "recipient_mismatch"
        else:
            why = "category_mismatch"
        best = max(best, why, key=order.index)
    return best, False


def completions(use: Use) -> list[Use]:
    """Every use that this one may turn out to be; one of the names is in no consent at all."""
    purposes = ["train", "border", "never heard of"]
    parties = ["acme", "other", CONTROLLER, "nobody"]
    return [
        Use(purpose, recipient, controller, use.moment)
        for purpose in (purposes if use.purpose is None else [use.purpose])
        for recipient in (parties if use.recipient is None else [use.recipient])
        for controller in (parties if use.controller is None else [use.controller])
    ]


KINDS = ["biometric.face", "attribute.age"]


def told(
    histories: list[list[Consent]], uses: list[Use]
) -> dict[tuple[int, int, str], tuple[str | None, bool | None]]:
    """What the SQL says of every person, use and kind: the status, and whether it is separate."""
    table = pa.Table.from_pylist(
        [
            {
                "subject_digest": f"s{number}",
                "purpose": c.purpose,
                "recipient": c.recipient,
                "data_category": c.category,
                "state": c.state,
                "recorded_at": day(c.recorded),
                "valid_from": day(c.start),
                "valid_until": day(c.end),
                "separate": c.separate,
            }
            for number, history in enumerate(histories)
            for c in history
        ],
        schema=schemas.CONSENTS,
    )
    with duckdb.connect() as con:
        con.execute("SET threads = 1")  # tiny tables: threads only wait for each other
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            "CREATE TABLE subject AS SELECT i AS subject_no, 's' || i AS digest "
            f"FROM range({len(histories)}) t(i)"
        )
        con.execute(
            "CREATE TABLE record AS SELECT 1 AS dataset_no, subject_no, kind FROM subject, "
            f"(SELECT unnest({KINDS}) AS kind)"
        )
        con.execute(
            "CREATE TABLE use (dataset_no INT, ask_no INT, purpose VARCHAR, "
            "recipient VARCHAR, controller VARCHAR, event_time TIMESTAMPTZ)"
        )
        con.executemany(
            "INSERT INTO use VALUES (1, ?, ?, ?, ?, ?)",
            [
                [n, use.purpose, use.recipient, use.controller, day(use.moment)]
                for n, use in enumerate(uses)
            ],
        )
        consents.build(con, table)
        rows = con.execute("SELECT * FROM consent_of").fetchall()
    return {(row[0], row[2], row[1]): (row[3], row[4]) for row in rows}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(CONSENTS, max_size=5), min_size=4, max_size=25),
    st.lists(USES, min_size=1, max_size=4, unique=True),
)
def test_sql_agrees_with_the_reference(histories: list[list[Consent]], uses: list[Use]) -> None:
    got = told(histories, uses)
    for subject, history in enumerate(histories):
        for ask, use in enumerate(uses):
            for kind in KINDS:
                seen = got.get((subject, ask, kind), ("none", False))
                if None not in (use.purpose, use.recipient, use.controller):
                    assert seen == settled(history, use, kind), (history, use)
                    continue
                # what is not on record may be anything: only what then holds is certain
                possible = [settled(history, whole, kind) for whole in completions(use)]
                given = [status == "given" for status, _ in possible]
                if any(given) and not all(given):
                    assert seen[0] is None, (history, use)
                else:  # a status that cannot be told is on the safe side of both
                    assert (seen[0] == "given") <= all(given), (history, use)
                    assert seen[0] in ("given", None) or not any(given), (history, use)
                if any(separate is not False for _, separate in possible):
                    assert seen[1] is not False, (history, use)


def consent(recipient: str | None, recorded: int, **more: object) -> Consent:
    fields: dict[str, Any] = {
        "purpose": "train", "recipient": recipient, "category": None, "state": "given",
        "recorded": recorded, "start": recorded, "end": None, "separate": True,
    }  # fmt: skip
    return Consent(**(fields | more))


ACME = Use("train", "acme", CONTROLLER, 5)
NOBODY = Use("train", "acme", None, 5)  # who the controller is was not recorded


@pytest.mark.parametrize(
    ("history", "use", "status"),
    [
        # signed in advance: nothing changes until it begins
        ([consent("acme", 0), consent("acme", 2, start=7)], ACME, "given"),
        ([consent("acme", 0, end=4), consent("acme", 2, start=7)], ACME, "expired"),
        ([consent("acme", 0, end=4), consent("acme", 2, start=5)], ACME, "given"),
        ([consent("acme", 2, start=7)], ACME, "not_yet_valid"),
        ([consent("acme", 6)], ACME, "not_yet_valid"),
        ([consent("acme", 0), consent("acme", 2, start=7, state="withdrawn")], ACME, "withdrawn"),
        # a consent that names nobody is for the controller, whoever that is
        ([consent(None, 0)], ACME, "recipient_mismatch"),
        ([consent(None, 0)], NOBODY, None),
        ([consent(None, 0, end=4)], NOBODY, "expired"),
        ([consent("other", 0)], NOBODY, "recipient_mismatch"),
        ([consent("acme", 0), consent(None, 1)], NOBODY, "given"),
        ([consent("acme", 0), consent(None, 1, end=4)], NOBODY, None),
        ([consent(None, 0), consent("acme", 1, state="withdrawn")], NOBODY, "withdrawn"),
        ([consent("acme", 0, state="withdrawn"), consent(None, 1)], NOBODY, None),
    ],
)
def test_examples(history: list[Consent], use: Use, status: str | None) -> None:
    got = told([history], [use])
    assert got.get((0, 0, "biometric.face"), ("none", False))[0] == status


def test_whichever_consent_decides_it_may_not_be_separate() -> None:
    history = [consent("acme", 0), consent(None, 1, separate=False)]
    assert told([history], [NOBODY])[0, 0, "biometric.face"] == ("given", None)

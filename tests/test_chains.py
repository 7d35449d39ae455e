"""Chains of transfers: what is inherited, and circles and missing links with their path."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from scanner.chains import Hop, Inherited, check_chains, inherited
from scanner.errors import ConfigError
from scanner.purposes import Purposes

CONTROLLERS = {"d": "moj", "free": None}
FIRST = Hop(
    "T1", "d", "moj", "labs", "processor", "dpv:ResearchAndDevelopment", "acme; other",
    datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC),
)  # fmt: skip
SECOND = Hop(
    "T2", "d", "labs", "acme", "sub_processor", "dpv:AcademicResearch", None,
    datetime(2024, 6, 1, tzinfo=UTC),
)  # fmt: skip


def of(*hops: Hop, transfer: str = "T2") -> Inherited:
    return inherited(hops, CONTROLLERS, Purposes())[hops[0].dataset_id, transfer]


def first(**changes: object) -> Hop:
    return dataclasses.replace(FIRST, **changes)  # type: ignore[arg-type]


def second(**changes: object) -> Hop:
    return dataclasses.replace(SECOND, **changes)  # type: ignore[arg-type]


def test_what_the_controller_itself_exports() -> None:
    assert of(FIRST, SECOND, transfer="T1") == Inherited("origin")
    assert of(first(exporter=None), SECOND, transfer="T1") == Inherited("origin")


def test_a_narrower_purpose_and_a_named_recipient_are_permitted() -> None:
    assert of(FIRST, SECOND) == Inherited("permitted", "", "T1")
    assert of(SECOND, FIRST) == Inherited("permitted", "", "T1")
    assert of(first(onward_to="*"), SECOND) == Inherited("permitted", "", "T1")


@pytest.mark.parametrize(
    ("up", "hop", "state", "why"),
    [
        (FIRST, second(purpose="dpv:Marketing"), "not_permitted", "purpose"),
        (first(purpose="dpv:AcademicResearch"), second(purpose="dpv:ResearchAndDevelopment"),
         "not_permitted", "purpose"),
        (FIRST, second(importer="elsewhere"), "not_permitted", "recipient"),
        (first(onward_to="*"), second(role="third_party"), "not_permitted", "role"),
        (first(onward_to="*"), second(role=None), "unknown", "unrecorded"),
        (FIRST, second(started_at=datetime(2023, 12, 31, tzinfo=UTC)), "not_permitted", "time"),
        (FIRST, second(started_at=datetime(2025, 1, 1, tzinfo=UTC)), "not_permitted", "time"),
        (first(destroyed_at=datetime(2024, 2, 1, tzinfo=UTC)), SECOND, "not_permitted", "time"),
        (first(onward_to=None), SECOND, "unknown", "unrecorded"),
        (first(purpose=None), SECOND, "unknown", "unrecorded"),
        (FIRST, second(purpose=None), "unknown", "unrecorded"),
    ],
)  # fmt: skip
def test_what_is_not_permitted(up: Hop, hop: Hop, state: str, why: str) -> None:
    assert of(up, hop) == Inherited(state, why, "T1")  # type: ignore[arg-type]


def test_a_processor_hands_to_anybody_whom_its_transfer_names() -> None:
    assert of(FIRST, second(role="third_party")).state == "permitted"
    assert of(first(role="third_party", onward_to="*"), second(role="third_party")).state == (
        "permitted"
    )


def test_the_last_moments_of_a_transfer() -> None:
    edge = datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert of(FIRST, second(started_at=edge)).state == "permitted"
    assert of(FIRST, second(started_at=FIRST.started_at)).state == "permitted"
    assert of(FIRST, second(started_at=None)).state == "unknown"  # the first has ended
    assert of(first(ended_at=None), second(started_at=None)).state == "permitted"


def test_what_was_not_permitted_is_not_permitted_further_on() -> None:
    hop = second(purpose="dpv:Marketing", onward_to="*")
    last = Hop("T3", "d", "acme", "end", "sub_processor", "dpv:Marketing", None, SECOND.started_at)
    assert of(FIRST, hop, last, transfer="T3") == Inherited("not_permitted", "upstream", "T2")
    assert of(last, hop, first(purpose=None), transfer="T3").why == "upstream"


def test_one_of_several_ways_is_enough() -> None:
    other = first(transfer_id="T0", purpose="dpv:Marketing")
    assert of(other, FIRST, SECOND) == Inherited("permitted", "", "T1")


def test_other_datasets_do_not_count() -> None:
    assert inherited([dataclasses.replace(FIRST, dataset_id="e"), SECOND], CONTROLLERS, Purposes())[
        "d", "T2"
    ] == Inherited("unknown", "unrecorded")


def test_circles_are_errors_with_their_path() -> None:
    back = Hop("T3", "d", "acme", "labs")
    with pytest.raises(ConfigError) as caught:
        check_chains("transfers.csv", [FIRST, SECOND, back], CONTROLLERS)
    assert "transfers.csv: dataset d: transfers in a circle: labs → acme → labs" in str(
        caught.value
    )
    with pytest.raises(ConfigError, match="moj → labs → moj"):
        check_chains("t", [FIRST, Hop("T2", "d", "labs", "moj")], CONTROLLERS)
    with pytest.raises(ConfigError, match="moj → labs → moj"):
        check_chains("t", [first(exporter=None), Hop("T2", "d", "labs", "moj")], CONTROLLERS)
    with pytest.raises(ConfigError, match="a → a"):
        check_chains("t", [Hop("T", "free", "a", "a")], CONTROLLERS)
    # judged without having been checked, a circle permits nothing
    assert of(FIRST, SECOND, back).state == "unknown"


def test_missing_links_are_errors_with_their_path() -> None:
    with pytest.raises(ConfigError) as caught:
        check_chains("transfers.csv", [FIRST, second(exporter="nobody")], CONTROLLERS)
    assert "a link is missing: moj → ? → nobody → acme (transfer T2)" in str(caught.value)


def test_what_is_whole() -> None:
    check_chains("t", [FIRST, SECOND], CONTROLLERS)
    check_chains("t", [Hop("T", "free", "anybody", "labs")], CONTROLLERS)
    diamond = [
        Hop("1", "d", None, "a"), Hop("2", "d", None, "b"), Hop("3", "d", "a", "c"),
        Hop("4", "d", "b", "c"), Hop("5", "d", "c", "e"),
    ]  # fmt: skip
    check_chains("t", diamond, CONTROLLERS)
    long = [Hop(str(n), "d", f"p{n}" if n else None, f"p{n + 1}") for n in range(5000)]
    check_chains("t", long, CONTROLLERS)

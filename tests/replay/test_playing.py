"""The incident replayed: each world gives what its side said, by the real rules, and no more."""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from scanner.commands.replay import replay
from scanner.errors import UsageError
from scanner.policy import load_packs
from scanner.replay import drawing
from scanner.replay.playing import Outcome, before, blocking, play
from scanner.replay.worlds import (
    Fact,
    World,
    incident_names,
    load_incident,
    load_world,
    transfer_ids,
    world_names,
)

NAME = "kr-immigration-2019"
TODAY = datetime.date(2026, 11, 22)
RECORDS = 100_000  # more than 50,000 of them with a passport number: the threshold of Decree 35
FIRMS = tuple(f"T2.{n:02}" for n in range(1, 25))


@cache
def outcome(name: str, **changed: str) -> Outcome:
    incident = load_incident(NAME)
    world = load_world(incident, name, TODAY)
    facts: dict[str, Fact] = dict(world.facts)
    for key, value in changed.items():
        name_of = key.replace("__", ".")
        facts[name_of] = replace(facts[name_of], value=value)
    with tempfile.TemporaryDirectory() as folder:
        drawing.draw(incident, RECORDS, 1, Path(folder))
        packs = load_packs(["kr-pipa"], Path(folder))
        return play(incident, replace(world, facts=facts), packs, Path(folder))


def violations(of: Outcome) -> dict[str, tuple[str, ...]]:
    return {row.cite: row.transfers for row in of.of("violation")}


def test_the_regulator_found_one_breach_only() -> None:
    """Not "sharing without consent": 24 processors that were not made public, PIPA 26(2)."""
    assert violations(outcome("pipc-2022")) == {"PIPA 26(2)": FIRMS}
    asked = {row.cite: row for row in outcome("pipc-2022").of("review")}
    assert asked["PIPA 17(1), 15(1)"].transfers == ("T1",)
    assert asked["PIPA 18(1), 18(2)"].transfers == ("T1",)
    assert "PIPA 33(1), Decree 35" in asked
    assert "PIPA 24(1), 24-2(1), Decree 19" in asked


def test_the_ngos_claimed_provision_without_basis_on_every_path() -> None:
    got = outcome("claims-2021")
    assert violations(got) == {
        "PIPA 17(1), 15(1)": ("T1", *FIRMS),
        "PIPA 18(1), 18(2)": ("T1", *FIRMS),
    }
    assert {row.records for row in got.of("violation")} == {RECORDS}  # once per path
    assert "KR-PIPA-26-2-UNPUBLISHED-PROCESSOR" in got.silent


def test_today_the_purpose_is_nobodys_word() -> None:
    got = outcome("today")
    assert violations(got) == {"PIPA 26(2)": FIRMS}
    (purpose,) = [row for row in got.of("review") if row.cite == "PIPA 18(1), 18(2)"]
    assert len(purpose.transfers) == 25


def test_articles_of_later_years_say_nothing_of_2019() -> None:
    for world in ("claims-2021", "pipc-2022"):
        silent = set(outcome(world).silent)
        assert {"KR-PIPA-22-2-CHILD", "KR-PIPA-28-8-CROSS-BORDER"} <= silent
        assert "KR-PIPA-28-12-AI-DECISION" in silent


def test_the_facts_decide_and_not_the_name_of_the_world() -> None:
    published = outcome("pipc-2022", firms__published_ref="https://www.moj.go.kr/")
    # made public, but since when is not on record: no violation any more, and no pass
    assert "PIPA 26(2)" not in violations(published)
    assert "PIPA 17(1), 15(1)" in violations(
        outcome("pipc-2022", firms__role_of_recipient="third_party", evidence__DECISION="unknown",
                dataset__legal_basis="contract", firms__within_original_purpose="attested_false")
    )  # fmt: skip


def test_what_was_open_before_the_first_record_moved(tmp_path: Path) -> None:
    incident = load_incident(NAME)
    packs = load_packs(["kr-pipa"], tmp_path)
    items, others = blocking(before(incident, packs, tmp_path / "before"))
    assert [item.items for item in items] == [24, 1, 1]
    assert all(row.verdict != "compliant" for row in others)
    assert {row.transfers for row in others if row.cite == "PIPA 26(2)"} == {("T1",)}


def test_worlds_state_the_same_facts() -> None:
    incident = load_incident(NAME)
    assert incident_names() == (NAME,)
    assert world_names(NAME) == ("claims-2021", "pipc-2022", "today")
    worlds = [load_world(incident, name, TODAY) for name in (*world_names(NAME), "before")]
    assert len({tuple(world.facts) for world in worlds}) == 1
    for world in worlds:
        for fact in world.facts.values():
            assert fact.by
            assert fact.source
            assert datetime.date.fromisoformat(fact.date) <= world.as_of.date()
    assert len(transfer_ids(incident)) == 25
    assert incident.records == 177_600_000
    for call in (lambda: load_incident("other"), lambda: load_world(incident, "../x", TODAY)):
        with pytest.raises(UsageError, match="there"):
            call()


def test_the_draw_is_seeded_and_in_proportion(tmp_path: Path) -> None:
    incident = load_incident(NAME)
    assert drawing.scaled(incident, 1776) == {
        "citizens": 576, "foreign-training": 1000, "foreign-verification": 200,
    }  # fmt: skip
    assert sum(drawing.scaled(incident, 1).values()) == 1
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        drawn = drawing.draw(incident, 1776, seed, tmp_path / name)
        tables.append(pq.read_table(tmp_path / name / "detections.parquet"))
        assert [d.people for d in drawn] == [230, 250, 50]
        assert all(sum(d.nationalities.values()) == d.people for d in drawn)
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])
    photos = tables[0].filter(tables[0]["subject_digest"].is_valid())
    assert photos.num_rows == 1776
    # as many of them as a fair draw meets: n (1 - (1 - 1/n)^m)
    people = len(photos["subject_digest"].unique())
    expected = sum(n * (1 - (1 - 1 / n) ** m) for n, m in ((230, 576), (250, 1000), (50, 200)))
    assert abs(people - expected) < 25
    assert {len(digest) for digest in photos["subject_digest"].to_pylist()} == {32}
    locations = tables[0]["location"].to_pylist()
    assert locations == sorted(locations)


def test_the_command_tells_it_within_80_columns() -> None:
    got = CliRunner().invoke(replay, [NAME, "--records", "1_776", "--world", "claims-2021"])
    assert got.exit_code == 0, got.output
    lines = got.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "  24 + 1 + 1 = 26 blocking items" in lines
    text = " ".join(got.output.split())
    assert "177,600,000" in text
    assert "seed 2019" in text
    assert "claims-2021 third_party [NGOs, press; constitutional complaint" in text
    assert "pipc-2022 processor [PIPC; decision 2022-007-046; 2022-04-27]" in text


@pytest.mark.parametrize(
    "arguments",
    [["--records", "0"], ["--records", "many"], ["--memory-limit", "4"], ["--seed", "-1"]],
)
def test_what_cannot_be_replayed(arguments: list[str]) -> None:
    got = CliRunner().invoke(replay, [NAME, *arguments])
    assert got.exit_code == 2
    assert "Traceback" not in got.output


def test_evidence_of_a_world_is_no_later_than_the_world() -> None:
    world: World = load_world(load_incident(NAME), "pipc-2022", TODAY)
    assert world.as_of.date() == datetime.date(2022, 4, 27)
    assert world.started.date() == datetime.date(2019, 4, 1)

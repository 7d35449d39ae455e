"""Counting by cohorts: the same findings as when every person and record is looked at alone."""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import schemas
from scanner.model import DeclaredUse
from scanner.policy import histories, judge, load_packs, records, tallies
from tests.policy.contexts import context_of

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
Rows = list[dict[str, object]]


def day(number: int | None) -> datetime.datetime | None:
    return None if number is None else START + datetime.timedelta(days=number)


def each_for_itself(con: duckdb.DuckDBPyConnection, consents: pa.Table) -> None:
    """What `histories.build` does, without its point: a class for every person."""
    con.register("arrow_registry", consents)
    con.execute("CREATE TEMP VIEW registry AS SELECT * FROM arrow_registry")
    con.execute("""
        CREATE TEMP TABLE history AS
        SELECT digest, row_number() OVER ()::UBIGINT AS class
        FROM (SELECT DISTINCT subject_digest AS digest FROM registry)""")


def world(dice: random.Random, plain: bool) -> tuple[Rows, Mapping[str, Rows]]:
    people = [f"p{n}" for n in range(dice.randint(1, 9))]
    kinds = ["biometric.face", "biometric.iris", "identifier.passport", "attribute.age"]
    detections: Rows = []
    for n in range(dice.randint(1, 40)):
        item = n if plain else dice.randint(0, 12)
        dataset = dice.choice("abc") if plain else "abc"[item % 3]
        detections.append(
            {
                "location": f"/t/{item:04}.jpg", "item_id": f"{item:04}", "dataset_id": dataset,
                "item_key": f"{item:04}.jpg", "object_key": f"{item:04}.jpg",
                "kind": dice.choice(kinds), "basis": dice.choice(["content", "metadata"]),
                "representation": dice.choice(["source_image", "template", None]),
                "count": dice.choice([1, 1, 1, 3, None]), "confidence": 0.5,
                "certainty": dice.choice(["certain", "certain", "possible", None]),
                "subject_digest": dice.choice([*people, *people, None]),
            }
        )  # fmt: skip
    if not plain:
        dice.shuffle(detections)
    purposes = ["ai-training", "border-control", "AI-training", "*"]
    some_day = [None, *range(9)]
    tables: dict[str, Rows] = {
        "consents": [
            {
                "subject_digest": dice.choice([*people, "stranger"]),
                "purpose": dice.choice(purposes),
                "recipient": dice.choice(["firm", "moj", "*", None]),
                "data_category": dice.choice(["biometric", "biometric.face", "*", None]),
                "state": dice.choice(["given", "given", "renewed", "withdrawn", "refused"]),
                "valid_from": day(dice.choice(some_day)), "valid_until": day(dice.choice(some_day)),
                "recorded_at": day(dice.choice(some_day)), "record_id": str(dice.random()),
                "separate": dice.choice([True, False, None]),
                "guardian_verified": dice.choice([True, False, None]),
            }
            for _ in range(dice.randint(0, 25))
        ],
        "datasets": [
            {
                "dataset_id": name, "controller": "moj", "jurisdiction": dice.choice(["KR", None]),
                "collected_for": "border-control", "source": "direct", "has_manifest": False,
                "legal_basis": dice.choice(["consent", "statute:Immigration Act 3", None]),
                "representation": dice.choice(["template", None]),
                "subject_key_quality": dice.choice(["exact", "none"]),
                "retention_until": day(dice.choice(some_day)),
            }
            for name in "abc"
        ],
        "transfers": [
            {
                "transfer_id": f"t{n}", "dataset_id": dice.choice("ab"), "exporter_id": "moj",
                "importer_id": dice.choice(["firm", "moj"]),
                "role_of_recipient": dice.choice(["processor", "third_party", None]),
                "purpose": dice.choice(["ai-training", "border-control", None]),
                "within_original_purpose": dice.choice(["attested_true", "attested_false", None]),
                "started_at": day(dice.choice(some_day)),
            }
            for n in range(dice.randint(0, 4))
        ],
        "parties": [
            {"party_id": "moj", "type": "public_body", "country": "KR"},
            {"party_id": "firm", "type": "company", "country": dice.choice(["KR", "US"])},
        ],
    }  # fmt: skip
    return detections, tables


def findings(folder: Path, detections: Rows, tables: Mapping[str, Rows]) -> tuple[Rows, Rows]:
    folder.mkdir()
    seen = pa.Table.from_pylist(detections, schema=schemas.DETECTIONS)
    pq.write_table(seen, folder / "detections.parquet", row_group_size=7)
    pq.write_table(schemas.COVERAGE.empty_table(), folder / "coverage.parquet")
    got = judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=context_of(
            tables, declared_use=DeclaredUse(purpose="ai-training", recipient="firm")
        ),
        packs=load_packs(["baseline", "kr-pipa"], folder),
        as_of=START + datetime.timedelta(days=4),
        workdir=folder / "work",
        previous={},
    )
    return got.findings.to_pylist(), pq.read_table(got.affected).to_pylist()


@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 40))]
)
def test_cohorts_and_single_people_agree(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    plain = seed % 3 > 0
    detections, tables = world(dice, plain)
    fast = findings(tmp_path / "fast", detections, tables)
    with monkeypatch.context() as patched:
        patched.setattr(tallies, "ROWS_AT_ONCE", 5)
        assert findings(tmp_path / "shares", detections, tables) == fast
    monkeypatch.setattr(histories, "build", each_for_itself)
    assert findings(tmp_path / "people", detections, tables) == fast
    monkeypatch.setattr(records, "_plain", lambda con: False)
    assert findings(tmp_path / "records", detections, tables) == fast
    assert fast[0]


def registry(rows: Rows) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("CREATE TABLE setting AS SELECT TIMESTAMPTZ '2024-01-05 00:00:00+00' AS as_of")
    con.execute("CREATE TABLE use AS SELECT TIMESTAMPTZ '2024-01-03 00:00:00+00' AS event_time")
    histories.build(con, pa.Table.from_pylist(rows, schema=schemas.CONSENTS))
    return con


def classes(rows: Rows) -> dict[str, int]:
    return dict(registry(rows).execute("SELECT digest, class FROM history").fetchall())


def consent(who: str, start: int | None, state: str = "given") -> dict[str, object]:
    return {"subject_digest": who, "purpose": "x", "state": state, "valid_from": day(start)}


def test_days_between_the_moments_asked_about_are_one() -> None:
    got = classes([consent(f"p{n}", n) for n in range(7)] + [consent("never", None)])
    # before the 3rd; the 3rd; the 4th; the 5th; after it; no day
    assert got["p0"] == got["p1"] != got["p2"]
    assert got["p5"] == got["p6"]
    assert len(set(got.values())) == 6
    assert 0 not in got.values()


def test_the_order_of_several_records_matters() -> None:
    got = classes(
        [
            *[consent("first", 0), consent("first", 1, "withdrawn")],
            *[consent("same", -5), consent("same", -1, "withdrawn")],
            *[consent("back", 1), consent("back", 0, "withdrawn")],
            *[consent("tie", 0), consent("tie", 0, "withdrawn")],
            *[consent("twice", 0), consent("twice", 0)],
            consent("once", 0),
        ]
    )
    assert got["first"] == got["same"]
    assert len(set(got.values())) == 5


def test_a_record_without_a_person_is_nobodys() -> None:
    assert classes([{"purpose": "x", "state": "given"}, consent("p", 1)]).keys() == {"p"}


def test_what_can_be_read_only_once_is_kept() -> None:
    class Once:
        def __init__(self) -> None:
            table = pa.Table.from_pylist([consent("p", 1)], schema=schemas.CONSENTS)
            self.readers = [table.to_reader()]

        def to_reader(self) -> pa.RecordBatchReader:
            return self.readers.pop()

    con = duckdb.connect()
    con.execute("CREATE TABLE setting AS SELECT TIMESTAMPTZ '2024-01-05 00:00:00+00' AS as_of")
    con.execute("CREATE TABLE use AS SELECT as_of AS event_time FROM setting")
    histories.build(con, Once())
    assert con.execute("SELECT count(*) FROM registry").fetchall() == [(1,)]
    assert con.execute("SELECT count(*) FROM history").fetchall() == [(1,)]

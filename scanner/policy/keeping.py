"""Keeps what findings rest on: the facts of each verdict, and what was counted of each dataset."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from scanner import schemas

if TYPE_CHECKING:
    import duckdb

    from scanner.policy.sentences import Numbers, Value
    from scanner.policy.tallies import Tallies, Tally


def facts(told: Iterable[tuple[str, Numbers]]) -> pa.Table:
    """schemas.FACTS of the findings (id, numbers), in their order; see there what a part says."""
    rows = [
        {"finding_id": finding, **dict(zip(_FIELDS, fact, strict=True))}
        for finding, numbers in told
        for fact in _facts(numbers)
    ]
    return pa.Table.from_pylist(rows, schema=schemas.FACTS)


_WITHHELD = frozenset({"subject_key", "subject_age"})  # of one person, where there is one record
_FIELDS = ("part", "name", "value", "low", "high")
_Fact = tuple[str, str, str | None, int | None, int | None]


def _facts(numbers: Numbers) -> Iterable[_Fact]:
    for name, value in numbers.facts.items():
        if name in _WITHHELD:
            yield "withheld", name, None, None, None
        else:
            yield "column", name, _text(value), None, None
    for name in numbers.differs:
        yield "differs", name, None, None, None
    for name in numbers.unknown:
        yield "unknown", name, None, None, None
    for words, records in numbers.consent.items():
        yield "consent", words, None, records, records
    for kind, records in numbers.kinds.items():
        yield "kind", kind, None, records, records
    for name, (low, high) in numbers.measures.items():
        yield "measure", name, None, low, high
    for kind, there in sorted(numbers.evidence.items()):
        yield "evidence", kind, _text(there), None, None
    for kind, which in numbers.proof.items():
        for proof in which:
            yield "proof", kind, proof, None, None
    for sentence in numbers.lapsed:
        yield "lapsed", "", sentence, None, None
    if numbers.age_limit is not None:
        yield "younger_than", "subject_age", None, numbers.age_limit, numbers.age_limit
    if numbers.possible:
        yield "possible", "certainty", None, numbers.possible, numbers.possible
    if numbers.upstream is not None:
        yield "upstream", "upstream", numbers.upstream, None, None
    if numbers.asked:
        yield "asked", "", None, None, None
    if numbers.settled:
        yield "settled", "", None, None, None


def _text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


# ---------------------------------------------------------------- datasets


def holdings(con: duckdb.DuckDBPyConnection, tallies: Tallies) -> pa.Table:
    """schemas.HOLDINGS: what was counted of every dataset in which anything was detected.

    `con` holds the tables of `exposures.build`. A row without a kind is a dataset as a whole, the
    one without a dataset everything: people and items in several rows are counted once there.
    """
    con.execute("""
        CREATE TEMP TABLE held_kind AS
        SELECT row_number() OVER (ORDER BY dataset_no, kind, representation) AS group_no, *
        FROM (SELECT DISTINCT dataset_no, kind, representation FROM profile)""")
    kinds = con.execute("SELECT * FROM held_kind ORDER BY group_no").fetchall()
    of_kinds = tallies.of_profiles("""
        SELECT k.group_no, p.profile_no FROM held_kind k
        JOIN profile p ON p.dataset_no = k.dataset_no AND p.kind = k.kind
                      AND p.representation IS NOT DISTINCT FROM k.representation""")
    of_datasets = tallies.of_profiles("SELECT dataset_no AS group_no, profile_no FROM profile")
    of_all = tallies.of_profiles("SELECT 0 AS group_no, profile_no FROM profile")
    whole = {
        row[0]: row[1:]
        for row in con.execute("""
            SELECT dataset_no, dataset_id, subject_key_quality, controller_type,
                   controller_country, linked, has_unique_identifier
            FROM dataset ORDER BY dataset_id""").fetchall()
    }
    places = dict(
        con.execute("""
            SELECT dataset_no, list(DISTINCT jurisdiction ORDER BY jurisdiction NULLS LAST)
            FROM profile GROUP BY dataset_no""").fetchall()
    )
    more_faces = {} if tallies.plain else _more_faces(con)
    rows: list[Mapping[str, object]] = []
    for dataset_no, (dataset, quality, type_, country, linked, unique) in whole.items():
        if dataset_no not in of_datasets:
            continue
        rows.append(
            _counts(of_datasets[dataset_no])
            | {
                "dataset_id": dataset,
                "subject_key_quality": quality,
                "jurisdictions": places.get(dataset_no),
                "controller_type": type_,
                "controller_country": country,
                "linked": linked,
                "has_unique_identifier": unique,
                "more_faces": more_faces.get(dataset, 0),
            }
        )
        rows += [
            _counts(of_kinds[group])
            | {"dataset_id": dataset, "kind": kind, "representation": representation}
            for group, number, kind, representation in kinds
            if number == dataset_no
        ]
    if 0 in of_all:
        rows.append(_counts(of_all[0]) | {"more_faces": sum(more_faces.values())})
    return pa.Table.from_pylist(
        [{**dict.fromkeys(schemas.HOLDINGS.names), **row} for row in rows], schema=schemas.HOLDINGS
    )


def _counts(tally: Tally) -> dict[str, object]:
    return {
        "items": tally.items,
        "records": tally.records,
        "possible_records": tally.possible,
        "people": tally.people,
        "unknown_records": tally.unknown,
    }


def _more_faces(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """By dataset: faces seen in pictures beyond the first one of each."""
    return dict(
        con.execute("""
            SELECT dataset_id, sum(faces - 1)::BIGINT FROM (
                SELECT dataset_id, item_id, sum(coalesce("count", 1)) AS faces FROM detection
                WHERE kind = 'biometric.face' AND basis = 'content' AND item_id IS NOT NULL
                GROUP BY dataset_id, item_id HAVING sum(coalesce("count", 1)) > 1)
            GROUP BY dataset_id""").fetchall()
    )

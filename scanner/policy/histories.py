"""Sorts people into classes of equal consent histories, so that consent is decided once per class.

Whether a consent holds depends on what a person's own records say, on the order of their moments,
and on which of them lie before the moments that are asked about; on nothing else. Two people whose
records agree in all of that have the same status for every use. A nation's registry has millions of
people and a few hundred such histories: `consents` then looks at one person of each.

This holds as long as `consents` compares moments only with one another and with the `event_time` of
uses and the `as_of` of the run. Every column of the registry but `record_id` tells histories apart.

Made here: `history` (digest, class), one row per person in the registry. `class` 0 is for people
who are not in it: where `history` is joined, its absence means 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import duckdb
import pyarrow as pa

from scanner.errors import ScannerError
from scanner.policy.expressions import quoted

NO_HISTORY = 0
_LEFT_OUT = ("subject_digest", "record_id")


class _Readable(Protocol):
    def to_reader(self) -> pa.RecordBatchReader: ...


def build(con: duckdb.DuckDBPyConnection, consents: object) -> None:
    """Create `history` and `registry` (the consent records) from `consents`.

    `consents` is an Arrow table, the path of a Parquet file (both are read in place), or has
    `to_reader()`, which is read once and kept in the database. Needs `use` and `setting`.
    """
    if isinstance(consents, Path):
        con.execute(
            f"CREATE TEMP VIEW registry AS SELECT * FROM read_parquet({quoted(str(consents))})"
        )
    elif isinstance(consents, pa.Table):
        con.register("arrow_registry", consents)
        con.execute("CREATE TEMP VIEW registry AS SELECT * FROM arrow_registry")
    else:
        con.register("arrow_registry", cast("_Readable", consents).to_reader())
        con.execute("CREATE TEMP TABLE registry AS SELECT * FROM arrow_registry")
        con.unregister("arrow_registry")
    columns = con.execute("DESCRIBE registry").fetchall()
    moments = [name for name, type_, *_ in columns if type_ == "TIMESTAMP WITH TIME ZONE"]
    told = [name for name, *_ in columns if name not in (*_LEFT_OUT, *moments)]
    asked = [
        moment
        for (moment,) in con.execute(
            "SELECT moment::VARCHAR FROM (SELECT event_time AS moment FROM use "
            "WHERE event_time IS NOT NULL UNION SELECT as_of FROM setting) ORDER BY moment"
        ).fetchall()
    ]
    values = [
        *told,
        *(_place(name, asked) for name in moments),
        # the order of the moments of one record
        *(
            f"CASE WHEN {a} < {b} THEN 1 WHEN {a} = {b} THEN 2 WHEN {a} > {b} THEN 3 END"
            for at, a in enumerate(moments)
            for b in moments[at + 1 :]
        ),
    ]
    salt, differ, on_record = _salt(con, values)
    # a column that is the same in all records costs time and tells nothing
    code = f"(hash({', '.join([str(salt), *(values[at] for at in differ)])}) >> 1)"
    at_places = range(len(told), len(told) + len(moments))
    moments = [moment for at, moment in zip(at_places, moments, strict=True) if at in on_record]
    con.execute(f"""
        CREATE TEMP TABLE registered_person AS
        SELECT subject_digest AS digest,
               CASE WHEN count(*) = 1 THEN any_value({code}) END AS class
        FROM registry WHERE subject_digest IS NOT NULL GROUP BY subject_digest""")
    _several(con, code, moments)
    con.execute("""
        CREATE TEMP VIEW history AS
        SELECT digest, class FROM registered_person WHERE class IS NOT NULL
        UNION ALL SELECT digest, class FROM several JOIN sequence USING (sequence)""")


def _place(name: str, asked: list[str]) -> str:
    """SQL for where a moment lies among `asked`, which is in order: odd numbers are equal to one.

    A balanced tree of comparisons: as few as can be for every row.
    """

    def tree(low: int, high: int) -> str:
        if low == high:
            return str(2 * low)
        middle = (low + high) // 2
        at = f"TIMESTAMPTZ '{asked[middle]}'"
        return (
            f"CASE WHEN {name} < {at} THEN {tree(low, middle)} WHEN {name} = {at} "
            f"THEN {2 * middle + 1} ELSE {tree(middle + 1, high)} END"
        )

    return f"CASE WHEN {name} IS NOT NULL THEN {tree(0, len(asked))} END"


def _salt(
    con: duckdb.DuckDBPyConnection, values: list[str]
) -> tuple[int, list[int], frozenset[int]]:
    """A number with which no two different records have the same hash, so that 63 bits can stand
    for what a record says; which of `values` differ among the records (the hash is of these), and
    which are on record at all."""
    names = [f"v{at}" for at in range(len(values))]
    columns = ", ".join(f"{value} AS v{at}" for at, value in enumerate(values))
    con.execute(f"CREATE TEMP TABLE said AS SELECT DISTINCT {columns} FROM registry")
    tests = ", ".join(f"count(DISTINCT {name}), count({name})" for name in names)
    rows, *found = con.execute(f"SELECT count(*), {tests} FROM said").fetchall()[0]
    told = found[1::2]
    differ = [
        at
        for at, different in enumerate(found[::2])
        if different > 1 or (different == 1 and told[at] < rows)
    ]
    listed = "".join(f", v{at}" for at in differ)
    for salt in range(64):
        same, none = con.execute(f"""
            SELECT count(*) - count(DISTINCT h), count(*) FILTER (h = {NO_HISTORY})
            FROM (SELECT hash({salt}{listed}) >> 1 AS h FROM said)""").fetchone() or (0, 0)
        if not same and not none:
            con.execute("DROP TABLE said")
            return salt, differ, frozenset(at for at, count in enumerate(told) if count)
    raise ScannerError("the consent registry cannot be indexed; report this as a defect")


def _several(con: duckdb.DuckDBPyConnection, code: str, moments: list[str]) -> None:
    """Give a class to people with several records: what these say, and in which order.

    Makes `several` (digest, sequence) and `sequence` (sequence, class).
    """
    # the place of a moment among all of the person's: equal ones share the first of their places
    all_moments = " || ".join(f"list({name})" for name in moments) or "[]"
    ranks = "".join(f", list_position(moments, fact.{name})" for name in moments)
    kept = "".join(f", {name} := {name}" for name in moments)
    con.execute(f"""
        CREATE TEMP TABLE several AS
        WITH mine AS (
            SELECT subject_digest AS digest, list(struct_pack(code := {code}{kept})) AS facts,
                   list_sort({all_moments}) AS moments
            FROM registry
            SEMI JOIN (SELECT digest FROM registered_person WHERE class IS NULL) p
                ON p.digest = registry.subject_digest
            GROUP BY subject_digest)
        SELECT digest,
               list_sort(list_transform(facts, lambda fact: [fact.code{ranks}])) AS sequence
        FROM mine""")
    con.execute("""
        CREATE TEMP TABLE sequence AS
        SELECT sequence, (9223372036854775808 + row_number() OVER ())::UBIGINT AS class
        FROM (SELECT DISTINCT sequence FROM several)""")

"""Judges exposures, transfers and datasets by rules, one set-based query per rule.

Verdicts are three-valued. Of an exposure, the first of these that fits:

1. the event lies outside the days in which the rule is in force → not applicable
2. `applies_when` is false → not applicable
3. `review_when` is true → review
4. `applies_when` is unknown (null) → review
5. `where` is true → violation, but review if the detection is only `possible`
6. `where` or `review_when` is unknown → review
7. otherwise → compliant

Of a dataset or of a transfer (one row each; a declared use with a recipient is a transfer to come)
the same, with `having and where` as the condition. A measure is known between two bounds: the lower
one counts certain detections, known people and conditions that are true, the upper one also
possible detections, every record without a key (or all records, where the keys of the dataset do
not tell people apart) and conditions that are unknown. Met at both bounds → violation, at neither →
compliant, at one → review. A dataset in which nothing personal was detected gives no row, except
for its dangling rows.

`records` of a finding is the sum over its items of the largest count seen in the item; `subjects`
the exact number of distinct people plus, as an upper bound, the records whose person is not known.
`in_force_from` and `in_force_until` are whole days, both included, in UTC.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa

from scanner import schemas
from scanner.errors import PolicyError, ScannerError
from scanner.model import Context, RuleText
from scanner.policy import consents, exposures
from scanner.policy.columns import BUILT_IN_MEASURES, COLUMNS
from scanner.policy.expressions import Expression, Value, quoted, to_sql
from scanner.policy.packs import Pack, Rule
from scanner.policy.sentences import Numbers, sentence

# how a verdict came about
_COMPLIANT, _VIOLATION, _ASKED, _SCOPE_UNKNOWN, _POSSIBLE, _UNKNOWN, _BOUNDS = range(1, 8)
_VERDICT_SQL = "CASE branch WHEN 1 THEN 'compliant' WHEN 2 THEN 'violation' ELSE 'review' END"
_AGE_NAMES = frozenset({"subject_age", "is_minor"})
_FACTS = ("transfer_role", "within_original_purpose", "recipient_country", "to_country", "source")
MAX_SAMPLES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What was decided: findings, every affected item, the rules' texts, and notes for the
    reader."""

    findings: pa.Table  # schemas.FINDINGS
    affected: Path  # Parquet, schemas.AFFECTED
    rules: tuple[RuleText, ...]
    notes: tuple[str, ...]


def judge(
    *,
    detections: Path,
    items: Path | None,
    coverage: Path,
    context: Context,
    packs: Sequence[Pack],
    as_of: datetime,
    workdir: Path,
    previous: Mapping[str, datetime],
    memory_limit: str | None = None,
) -> Judgement:
    """Judge what was detected in its context by every rule of `packs`.

    `detections`, `items`, `coverage` are Parquet files (scanner.schemas); `as_of` is an aware time;
    `previous` gives the first_seen of findings of earlier runs by finding_id; `memory_limit` such
    as "4GB" (beyond it, work goes to `workdir`). Writes `workdir/affected.parquet`.

    Raises `PolicyError` when there is no rule at all, `ScannerError` when an input cannot be read.
    """
    rules = [rule for pack in packs for rule in pack.rules]
    if not rules:
        raise PolicyError("no rule is selected, so nothing can be judged; name a rule pack")
    workdir.mkdir(parents=True, exist_ok=True)
    database = workdir / "judging.duckdb"
    database.unlink(missing_ok=True)
    inputs = [detections, coverage, *([items] if items is not None else [])]
    try:
        con = _open(database, inputs, workdir, memory_limit)
        try:
            exposures.build(
                con,
                detections=detections,
                items=items,
                coverage=coverage,
                context=context,
                as_of=as_of,
            )
            if any(rule.names() & exposures.CONSENT_NAMES for rule in rules):
                consents.build(con, context.consents)
            bench = _Bench(con, context.child_age, as_of, previous)
            for rule in sorted(rules, key=lambda rule: rule.id):
                bench.judge(rule)
            affected = workdir / "affected.parquet"
            bench.write_affected(affected)
            notes = _notes(con, context)
        finally:
            con.close()
    except duckdb.Error as error:
        # its text may hold values of the data
        raise ScannerError(
            f"judging failed ({type(error).__name__}); check that {workdir} has room and that the "
            "detections of this run are whole"
        ) from None
    finally:
        database.unlink(missing_ok=True)
    return Judgement(
        findings=bench.findings(),
        affected=affected,
        rules=tuple(rule.text() for rule in rules),
        notes=notes,
    )


def _open(
    database: Path, inputs: Sequence[Path], workdir: Path, memory_limit: str | None
) -> duckdb.DuckDBPyConnection:
    """A database that can read the inputs, write into `workdir`, and reach nothing else."""
    con = duckdb.connect(
        str(database),
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        },
    )
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"SET threads = {max(1, min(os.cpu_count() or 1, 16))}")
    con.execute("SET enable_progress_bar = false")
    con.execute("SET python_enable_replacements = false")
    con.execute("SET preserve_insertion_order = false")
    con.execute(f"SET temp_directory = {quoted(str(workdir / 'spill'))}")
    if memory_limit is not None:
        con.execute(f"SET memory_limit = {quoted(memory_limit)}")
    con.execute(f"SET allowed_directories = [{quoted(str(workdir))}]")
    con.execute(f"SET allowed_paths = [{', '.join(quoted(str(path)) for path in inputs)}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def _notes(con: duckdb.DuckDBPyConnection, context: Context) -> tuple[str, ...]:
    declared = context.declared_use
    if declared.purpose is None and declared.recipient is None:
        return ()
    rows = con.execute(
        "SELECT dataset_id, count(*) FROM use WHERE transfer_id IS NOT NULL AND has_detections "
        "GROUP BY dataset_id ORDER BY dataset_id"
    ).fetchall()
    return tuple(
        f"Dataset {dataset} has {count} transfer{'s' if count > 1 else ''} on record: these were "
        "judged, not the declared use."
        for dataset, count in rows
    )


def _sql(expression: Expression | None, missing: bool, names: Mapping[str, str]) -> str:
    return to_sql(expression.node if expression is not None else Value(missing), names)


def _branch(rule: Rule, low: str, high: str, certain: str, event_time: str) -> str:
    """SQL for how the verdict comes about (0: not applicable); see the module's docstring."""
    in_force = "TRUE"
    if rule.law.in_force_from is not None:
        in_force = f"{event_time}::DATE >= DATE '{rule.law.in_force_from}'"
    if rule.law.in_force_until is not None:
        in_force += f" AND {event_time}::DATE <= DATE '{rule.law.in_force_until}'"
    applies = _sql(rule.applies_when, True, {})
    review = _sql(rule.review_when, False, {})
    return f"""CASE
        WHEN NOT ({in_force}) THEN 0
        WHEN ({applies}) IS FALSE THEN 0
        WHEN ({review}) IS TRUE THEN {_ASKED}
        WHEN ({applies}) IS NULL THEN {_SCOPE_UNKNOWN}
        WHEN ({low}) IS TRUE AND {certain} THEN {_VIOLATION}
        WHEN ({low}) IS TRUE THEN {_POSSIBLE}
        WHEN ({high}) IS TRUE AND ({low}) IS FALSE THEN {_BOUNDS}
        WHEN ({high}) IS NULL OR ({low}) IS NULL OR ({review}) IS NULL THEN {_UNKNOWN}
        ELSE {_COMPLIANT} END"""


class _Bench:
    """Takes one rule after the other over the prepared tables, and keeps what was found."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        child_age: int,
        as_of: datetime,
        previous: Mapping[str, datetime],
    ) -> None:
        self.con = con
        self.child_age = child_age
        self.as_of = as_of
        self.previous = previous
        self.rows: list[dict[str, object]] = []
        self.of_datasets: dict[bool, dict[int, tuple[int, int, int, int, list[object]]]] = {}
        self.measured: dict[tuple[str, str, str], str] = {}  # (how, key, condition) -> its table
        con.execute(
            "CREATE TEMP TABLE affected (finding_no BIGINT, item_no BIGINT, subject_no BIGINT)"
        )
        con.execute(
            "CREATE TEMP TABLE affected_row (finding_no BIGINT, location VARCHAR, digest VARCHAR)"
        )
        self.keys: dict[int, tuple[str, str | None, str | None, str | None]] = {
            row[0]: row[1:]
            for row in con.execute(
                "SELECT DISTINCT key_no, dataset_id, transfer_id, purpose, recipient FROM use"
            ).fetchall()
        }

    # ------------------------------------------------------------ rules

    def judge(self, rule: Rule) -> None:
        if rule.scope == "exposure":
            self.exposures(rule)
        else:
            self.groups(rule)

    def exposures(self, rule: Rule) -> None:
        names = rule.names()
        where = _sql(rule.where, False, {})
        branch = _branch(rule, where, where, "is_certain", "event_time")
        asks_consent = bool(names & exposures.CONSENT_NAMES)
        nullable = sorted(names & set(COLUMNS))
        unknown = ", ".join(f"{name} IS NULL AS null_{name}" for name in nullable)
        facts = [name for name in _FACTS if name in names]
        columns = ", ".join(
            ["key_no", "item_no", "subject_no", "count", "kind", "jurisdiction", "is_certain"]
            + (["consent_status"] if asks_consent else [])
            + facts
        )
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE hit AS
            SELECT *, {_VERDICT_SQL} AS verdict FROM (
                SELECT {columns}{", " if unknown else ""}{unknown}, {branch} AS branch
                FROM ({exposures.view(names, self.child_age)}))
            WHERE branch > 0""")
        kinds = self._breakdown("kind")
        statuses = self._breakdown("consent_status") if asks_consent else {}
        seen = {name: self._single(name) for name in facts}
        nulls = self._nulls(nullable)
        affected: list[tuple[object, ...]] = []
        for (
            key,
            verdict,
            records,
            unknown_people,
            people,
            samples,
            place,
            asked,
            possible,
        ) in self._totals():
            at = (key, verdict)
            numbers = Numbers(
                records=records,
                subjects=people + unknown_people,
                is_upper_bound=unknown_people > 0,
                kinds=kinds.get(at, {}),
                consent=statuses.get(at, {}),
                asked=asked,
                possible=possible,
                unknown=nulls.get(at, {}),
                facts={n: seen[n][at] for n in facts if at in seen[n]},
            )
            dataset, *use = self.keys[key]
            number = self.add(rule, verdict, dataset, use, place, numbers, samples)
            if verdict != "compliant":
                affected.append((number, key, verdict))
        if affected:
            number_of, key_of, verdict_of = zip(*affected, strict=True)
            chosen = {"finding_no": number_of, "key_no": key_of, "verdict": verdict_of}
            self._small_table("chosen", chosen)
            self.con.execute(
                "INSERT INTO affected SELECT DISTINCT finding_no, item_no, subject_no "
                "FROM hit JOIN chosen USING (key_no, verdict)"
            )

    def _small_table(self, name: str, rows: Mapping[str, Sequence[object]]) -> None:
        self.con.register(f"arrow_{name}", pa.table({k: list(v) for k, v in rows.items()}))
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM arrow_{name}")
        self.con.unregister(f"arrow_{name}")

    def _totals(self) -> Iterator[tuple[int, str, int, int, int, list[int], str | None, int, int]]:
        yield from self.con.execute(f"""
            WITH by_item AS (
                SELECT key_no, verdict, item_no, max(count) AS n,
                       coalesce(max(count) FILTER (subject_no IS NULL), 0) AS unknown,
                       coalesce(max(count) FILTER (branch = {_ASKED}), 0) AS asked,
                       coalesce(max(count) FILTER (NOT is_certain), 0) AS possible,
                FROM hit GROUP BY ALL),
            item_sums AS (
                SELECT key_no, verdict, sum(n)::BIGINT AS records, sum(unknown)::BIGINT AS unknown,
                       min(item_no, {MAX_SAMPLES}) AS samples, sum(asked)::BIGINT AS asked,
                       sum(possible)::BIGINT AS possible
                FROM by_item GROUP BY ALL),
            people AS (
                SELECT key_no, verdict, count(DISTINCT subject_no) AS people,
                       CASE WHEN count(jurisdiction) = count(*)
                             AND min(jurisdiction) = max(jurisdiction) THEN min(jurisdiction) END
                           AS jurisdiction
                FROM hit GROUP BY ALL)
            SELECT key_no, verdict, records, unknown, people, samples, jurisdiction, asked, possible
            FROM item_sums JOIN people USING (key_no, verdict)
            ORDER BY key_no, verdict""").fetchall()

    def _breakdown(self, column: str) -> dict[tuple[int, str], dict[str, int]]:
        rows = self.con.execute(f"""
            SELECT key_no, verdict, value, sum(n)::BIGINT FROM (
                SELECT key_no, verdict, {column} AS value, item_no, max(count) AS n
                FROM hit GROUP BY ALL)
            GROUP BY ALL ORDER BY ALL""").fetchall()
        found: dict[tuple[int, str], dict[str, int]] = {}
        for key, verdict, value, count in rows:
            found.setdefault((key, verdict), {})[str(value)] = count
        return found

    def _single(self, column: str) -> dict[tuple[int, str], str]:
        rows = self.con.execute(
            f"SELECT key_no, verdict, min({column}) FROM hit GROUP BY ALL "
            f"HAVING min({column}) = max({column}) AND count({column}) = count(*)"
        ).fetchall()
        return {(key, verdict): value for key, verdict, value in rows}

    def _nulls(self, columns: Sequence[str]) -> dict[tuple[int, str], dict[str, int]]:
        if not columns:
            return {}
        counts = ", ".join(f"count(*) FILTER (null_{name})" for name in columns)
        rows = self.con.execute(
            f"SELECT key_no, verdict, {counts} FROM hit "
            f"WHERE branch IN ({_SCOPE_UNKNOWN}, {_UNKNOWN}) GROUP BY ALL"
        ).fetchall()
        return {
            (key, verdict): {n: c for n, c in zip(columns, values, strict=True) if c}
            for key, verdict, *values in rows
        }

    # ------------------------------------------------------------ datasets and transfers

    def groups(self, rule: Rule) -> None:
        names = rule.names()
        about_rows = "dangling_rows" in names
        of_transfers = rule.scope == "transfer"
        measured = [name for name in BUILT_IN_MEASURES if name in names or name == "records"]
        declared = {measure.name: measure for measure in rule.measures}
        joins: list[str] = []
        low: dict[str, str] = {}
        high: dict[str, str] = {}
        for index, name in enumerate([n for n in measured if n not in declared] + [*declared]):
            table, key = self._measure(rule, name)
            joins.append(f"LEFT JOIN {table} m{index} ON m{index}.{key} = g.{key}")
            low[name] = f"coalesce(m{index}.low, 0)"
            high[name] = f"coalesce(m{index}.high, 0)"
        conditions = [e for e in (rule.having, rule.where) if e is not None]
        at_low = " AND ".join(to_sql(e.node, low) for e in conditions) or "FALSE"
        at_high = " AND ".join(to_sql(e.node, high) for e in conditions) or "FALSE"
        certain = "TRUE" if about_rows else f"{low['records']} > 0"
        event_time = "g.event_time" if of_transfers else "g.as_of"
        branch = _branch(rule, at_low, at_high, certain, event_time)
        group = (
            "SELECT * FROM use WHERE transfer_id IS NOT NULL OR recipient IS NOT NULL"
            if of_transfers
            else "SELECT *, 0 AS key_no FROM dataset"
        )
        nullable = sorted((names & set(COLUMNS)) - exposures.CONSENT_NAMES)
        nullable = [n for n in nullable if COLUMNS[n].level in ("dataset", "use")]
        facts = [name for name in _FACTS if name in names]
        shown = [n for n in [*measured, *declared] if n in names and n not in ("records",)]
        extra = ", ".join(
            [f"g.{n} IS NULL" for n in nullable]
            + [f"g.{n}" for n in facts]
            + [f"({low[n]})::BIGINT, ({high[n]})::BIGINT" for n in shown]
        )
        rows = self.con.execute(f"""
            SELECT * FROM (
                SELECT g.dataset_no, g.key_no, g.dataset_id, g.jurisdiction, {branch} AS branch,
                       {extra or "NULL"}
                FROM ({group}) g {" ".join(joins)}
                WHERE g.has_detections {f"OR ({high['dangling_rows']}) > 0" if about_rows else ""})
            WHERE branch > 0 ORDER BY dataset_no, key_no""").fetchall()
        affected: list[tuple[object, ...]] = []
        of_dataset = self._of_datasets(about_rows)
        nothing: tuple[int, int, int, int, list[object]] = (0, 0, 0, 0, [])
        for dataset_no, key, dataset, place, how, *rest in rows:
            nulls, rest = rest[: len(nullable)], rest[len(nullable) :]
            values, bounds = rest[: len(facts)], rest[len(facts) :]
            verdict = {_COMPLIANT: "compliant", _VIOLATION: "violation"}.get(how, "review")
            records, unknown, people, possible, samples = of_dataset.get(dataset_no, nothing)
            unclear = how in (_SCOPE_UNKNOWN, _UNKNOWN)
            numbers = Numbers(
                records=records,
                subjects=people + unknown,
                is_upper_bound=unknown > 0,
                asked=records if how == _ASKED else 0,
                possible=possible if how in (_POSSIBLE, _BOUNDS) else 0,
                unknown={n: records for n, v in zip(nullable, nulls, strict=True) if v and unclear},
                measures={
                    n: (bounds[2 * i], bounds[2 * i + 1])
                    for i, n in enumerate(shown)
                    if not about_rows
                },
                facts={n: v for n, v in zip(facts, values, strict=True) if v is not None},
                dangling=about_rows,
            )
            use = self.keys[key][1:] if of_transfers else (None, None, None)
            number = self.add(rule, verdict, dataset, use, place, numbers, samples)
            if verdict != "compliant":
                affected.append((number, dataset_no))
        if affected:
            number_of, dataset_of = zip(*affected, strict=True)
            self._small_table("chosen", {"finding_no": number_of, "dataset_no": dataset_of})
            self.con.execute(
                "INSERT INTO affected_row SELECT finding_no, location, subject_digest "
                "FROM dangling JOIN chosen USING (dataset_no)"
                if about_rows
                else "INSERT INTO affected SELECT DISTINCT finding_no, item_no, subject_no "
                "FROM record JOIN chosen USING (dataset_no)"
            )

    def _measure(self, rule: Rule, name: str) -> tuple[str, str]:
        """Make the table (key, low, high) of one measure; returns its name and its key's column.

        Rules that measure the same share the table.
        """
        table = f"measure_{len(self.measured)}"
        if name == "dangling_rows" and all(m.name != name for m in rule.measures):
            self.con.execute(
                f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT dataset_no, count(*) AS low, "
                "count(*) AS high FROM dangling GROUP BY dataset_no"
            )
            return table, "dataset_no"
        measure = next((m for m in rule.measures if m.name == name), None)
        condition, how = "TRUE", "sum"
        if measure is not None:
            condition = _sql(measure.where, True, {})
            how = measure.how
        elif name == "subjects":
            how = "count_distinct"
        elif name == "unmanifested_records":
            condition = "NOT in_manifest"
        used = measure.where.names() if measure is not None and measure.where else frozenset()
        evidence = bool(measure and measure.where and measure.where.evidence_kinds())
        per_use = rule.scope == "transfer" and (
            evidence
            or any(COLUMNS[n].level in ("use", "record_use") or n in _AGE_NAMES for n in used)
        )
        key = "use_no" if per_use else "dataset_no"
        special = name if measure is None else ""
        known = self.measured.setdefault((f"{how} {special}", key, condition), table)
        if known != table:
            return known, key
        if per_use:
            source = exposures.view(used, self.child_age)
        else:
            source = (
                "SELECT r.* EXCLUDE (jurisdiction), d.* EXCLUDE (dataset_no, jurisdiction), "
                "s.digest AS subject_key, "
                "CASE WHEN r.is_certain THEN 'certain' ELSE 'possible' END AS certainty, "
                "d.jurisdiction FROM record r JOIN dataset d ON d.dataset_no = r.dataset_no "
                "LEFT JOIN subject s ON s.subject_no = r.subject_no"
            )
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE counted AS
            SELECT {key}, item_no, subject_no, count, is_certain,
                   subject_key_quality = 'none' AS keyless, ({condition}) AS fits
            FROM ({source}) WHERE ({condition}) IS NOT FALSE""")
        if name == "possible_records" and measure is None:
            low = high = "coalesce(sum(n_all) FILTER (NOT sure), 0)::BIGINT"
        elif how == "count":
            low = "count(*) FILTER (n_sure IS NOT NULL)"
            high = "count(*)"
        else:
            low = "coalesce(sum(n_sure), 0)::BIGINT"
            high = "sum(n_all)::BIGINT"
        unknown = "coalesce(sum(n_unknown), 0)::BIGINT"
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE sums AS
            SELECT {key}, {low} AS low, {high} AS high, {unknown} AS unknown FROM (
                SELECT {key}, item_no, max(count) FILTER (is_certain AND fits) AS n_sure,
                       max(count) AS n_all, bool_or(is_certain) AS sure,
                       max(count) FILTER (subject_no IS NULL OR keyless) AS n_unknown
                FROM counted GROUP BY ALL)
            GROUP BY ALL""")
        if how != "count_distinct":
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM sums")
            return table, key
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE {table} AS
            SELECT {key}, coalesce(low, 0) AS low, coalesce(high, 0) + unknown AS high
            FROM (SELECT {key}, unknown FROM sums) LEFT JOIN (
                SELECT {key},
                       count(DISTINCT subject_no) FILTER (is_certain AND fits) AS low,
                       count(DISTINCT subject_no) AS high
                FROM counted WHERE NOT keyless GROUP BY ALL) USING ({key})""")
        return table, key

    def _of_datasets(self, about_rows: bool) -> dict[int, tuple[int, int, int, int, list[object]]]:
        """By dataset: records, records of unknown people, people, possible records, samples.

        Samples are item numbers, or the locations of dangling rows.
        """
        if about_rows not in self.of_datasets:
            query = (
                f"""SELECT dataset_no, count(*), count(*) FILTER (subject_digest IS NULL),
                           count(DISTINCT subject_digest), 0, min(location, {MAX_SAMPLES})
                    FROM dangling GROUP BY dataset_no"""
                if about_rows
                else f"""
                    SELECT dataset_no, records, unknown, people, possible, samples FROM (
                        SELECT dataset_no, sum(n)::BIGINT AS records,
                               sum(unknown)::BIGINT AS unknown,
                               coalesce(sum(n) FILTER (NOT sure), 0)::BIGINT AS possible,
                               min(item_no, {MAX_SAMPLES}) AS samples
                        FROM (SELECT dataset_no, item_no, max(count) AS n,
                                     bool_or(is_certain) AS sure,
                                     coalesce(max(count) FILTER (subject_no IS NULL), 0) AS unknown
                              FROM record GROUP BY ALL)
                        GROUP BY dataset_no)
                    JOIN (SELECT dataset_no, count(DISTINCT subject_no) AS people
                          FROM record GROUP BY dataset_no) USING (dataset_no)"""
            )
            self.of_datasets[about_rows] = {
                row[0]: row[1:] for row in self.con.execute(query).fetchall()
            }
        return self.of_datasets[about_rows]

    # ------------------------------------------------------------ findings

    def add(
        self,
        rule: Rule,
        verdict: str,
        dataset: str,
        use: Sequence[str | None],
        jurisdiction: str | None,
        numbers: Numbers,
        samples: Sequence[object],
    ) -> int:
        """Keep one finding; returns its number. Samples are item numbers or locations."""
        transfer, purpose, recipient = use
        finding = finding_id(rule.id, verdict, dataset, transfer, purpose, recipient)
        self.rows.append(
            {
                "finding_id": finding,
                "rule_id": rule.id,
                "rule_version": rule.version,
                "pack": rule.pack,
                "law_cite": rule.law.cite,
                "verdict": verdict,
                "level": rule.level,
                "dataset_id": dataset,
                "transfer_id": transfer,
                "purpose": purpose,
                "recipient": recipient,
                "jurisdiction": jurisdiction,
                "records": numbers.records,
                "subjects": numbers.subjects,
                "subjects_is_upper_bound": numbers.is_upper_bound,
                "sample_locations": list(samples),
                "reason": sentence(verdict, numbers),
                "remedy": rule.remedy,
                "first_seen": self.previous.get(finding, self.as_of),
                "evaluated_at": self.as_of,
                "suppressed_by": None,
            }
        )
        return len(self.rows) - 1

    def findings(self) -> pa.Table:
        def order(row: dict[str, object]) -> tuple[str, ...]:
            names = ("rule_id", "dataset_id", "transfer_id", "purpose", "recipient", "verdict")
            return tuple(str(row[name] or "") for name in names)

        return pa.Table.from_pylist(sorted(self.rows, key=order), schema=schemas.FINDINGS)

    def write_affected(self, path: Path) -> None:
        """Write every affected item, and put the names of items into the findings' samples."""
        names: dict[object, object] = {}
        wanted = {
            n
            for row in self.rows
            for n in cast("list[object]", row["sample_locations"])
            if isinstance(n, int)
        }
        if wanted:
            self._small_table("sampled", {"item_no": sorted(wanted)})
            names = dict(
                self.con.execute(
                    "SELECT item_no, any_value(location) FROM record SEMI JOIN sampled "
                    "USING (item_no) GROUP BY item_no"
                ).fetchall()
            )
        for row in self.rows:
            samples = cast("list[object]", row["sample_locations"])
            row["sample_locations"] = [names.get(n, n) for n in samples]
        numbers = list(range(len(self.rows) or 1))  # one row keeps the columns' types
        ids = [str(row["finding_id"]) for row in self.rows] or [""]
        place = {n: i for i, n in enumerate(sorted(numbers, key=lambda n: ids[n]))}
        self._small_table(
            "finding",
            {"finding_no": numbers, "finding_id": ids, "place": [place[n] for n in numbers]},
        )
        self.con.execute(f"""
            COPY (
                WITH item AS (
                    SELECT item_no, any_value(location) AS location, any_value(item_id) AS item_id
                    FROM record GROUP BY item_no),
                sorted AS (  -- item numbers follow the locations: sorting them is far cheaper
                    SELECT place, item_no, subject_no, NULL AS location, NULL AS digest
                    FROM affected JOIN finding USING (finding_no)
                    UNION ALL
                    SELECT place, NULL, NULL, location, digest
                    FROM affected_row JOIN finding USING (finding_no))
                -- nullif: columns that cannot be null would be written with another schema
                SELECT nullif(f.finding_id, '') AS finding_id,
                       coalesce(i.location, x.location) AS location, i.item_id,
                       coalesce(s.digest, x.digest) AS subject_digest
                FROM sorted x
                JOIN finding f ON f.place = x.place
                LEFT JOIN item i ON i.item_no = x.item_no
                LEFT JOIN subject s ON s.subject_no = x.subject_no
                ORDER BY x.place, x.item_no, x.location, s.digest
            ) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)""")


def finding_id(
    rule_id: str,
    verdict: str,
    dataset_id: str,
    transfer_id: str | None,
    purpose: str | None,
    recipient: str | None,
) -> str:
    """128 bits of SHA-256, hexadecimal: the same in every run and for every store."""
    parts = json.dumps([rule_id, verdict, dataset_id, transfer_id, purpose, recipient])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]

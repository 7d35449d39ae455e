"""Gives the verdicts of one rule after the other over the prepared tables.

Verdicts are three-valued. Of an exposure, the first of these that fits:

1. the event lies outside the days in which the rule is in force → not applicable
2. `applies_when` is false → not applicable
3. `review_when` is true → review
4. `applies_when` is unknown (null) → review
5. `where` is true → violation, but review if the detection is only `possible`
6. `where` or `review_when` is unknown → review
7. the use is an onward transfer, the transfers before it do not permit it (or nobody recorded
   whether they do, see `scanner.chains`), and the rule asks what allows the use → review
8. otherwise → compliant

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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from scanner.policy import exposures
from scanner.policy.columns import BUILT_IN_MEASURES, COLUMNS
from scanner.policy.expressions import (
    Call,
    Compare,
    Evidence,
    Expression,
    Is,
    Name,
    Node,
    Value,
    children,
    to_sql,
    walk,
)
from scanner.policy.packs import Rule
from scanner.policy.sentences import Numbers, consent_words
from scanner.policy.sentences import Value as Fact
from scanner.policy.tallies import MAX_SAMPLES, Tallies, Tally

# how a verdict came about
_COMPLIANT, _VIOLATION, _ASKED, _SCOPE_UNKNOWN, _POSSIBLE, _UNKNOWN, _BOUNDS, _UPSTREAM = range(
    1, 9
)
_VERDICTS = {1: "compliant", 2: "violation", 3: "review"}
_NOTHING = Tally(0, 0, 0, 0, 0, 0, (), {})


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding to be: what a rule says of one use or dataset."""

    verdict: str
    dataset_id: str
    transfer_id: str | None
    purpose: str | None
    recipient: str | None
    jurisdiction: str | None
    numbers: Numbers
    samples: Sequence[int | str]  # item numbers, or locations of dangling rows
    set_no: int | None  # the records, as numbered by `Tallies`; None: dangling rows
    dataset_no: int


class Bench:
    """Takes one rule after the other over the prepared tables."""

    def __init__(self, con: duckdb.DuckDBPyConnection, tallies: Tallies, child_age: int) -> None:
        self.con = con
        self.tallies = tallies
        self.child_age = child_age
        self.keys: dict[int, tuple[str, str | None, str | None, str | None, int]] = {
            row[0]: row[1:]
            for row in con.execute(
                "SELECT DISTINCT key_no, dataset_id, transfer_id, purpose, recipient, dataset_no "
                "FROM use"
            ).fetchall()
        }
        self.states: dict[int, tuple[str | None, bool | None]] = {
            -1: ("subject_unknown", None),
            **{
                row[0]: row[1:]
                for row in con.execute(
                    "SELECT state_no, status, separate_consent FROM consent_state"
                ).fetchall()
            },
        }
        self.keyless = {
            row[0]
            for row in con.execute(
                "SELECT dataset_no FROM dataset WHERE subject_key_quality = 'none'"
            ).fetchall()
        }
        self.datasets: dict[int, Tally] | None = None
        self.measured: dict[tuple[object, ...], tuple[str, str]] = {}

    def verdicts(self, rule: Rule) -> Iterator[Verdict]:
        """Every verdict but `not_applicable`."""
        if rule.scope == "exposure":
            yield from self._exposures(rule)
        else:
            yield from self._groups(rule)

    # ------------------------------------------------------------ exposures

    def _exposures(self, rule: Rule) -> Iterator[Verdict]:
        where = _sql(rule.where, False)
        branch = _branch(rule, where, where, "is_certain", "event_time", of_use=True)
        settled = "FALSE"
        if rule.kinds_of_evidence():
            bare = _sql(rule.where, False, _NO_EVIDENCE)
            without = _branch(
                rule, bare, bare, "is_certain", "event_time", of_use=True, evidence=_NO_EVIDENCE
            )
            settled = f"({without}) > {_COMPLIANT}"
        told = _Told.of(rule, sorted(rule.names() & set(COLUMNS)))
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE hit AS
            SELECT *, key_no * 4 + CASE branch WHEN {_COMPLIANT} THEN 1 WHEN {_VIOLATION} THEN 2
                                   ELSE 3 END AS group_no
            FROM (SELECT *, {branch} AS branch, {settled} AS settled
                  FROM ({exposures.view(self.tallies.wide, self.child_age)}))
            WHERE branch > 0""")
        cells = "SELECT DISTINCT group_no, ask_no, profile_no, state_no FROM hit"
        tallies = self.tallies.of_cells(cells)
        asks_separate = "separate_consent" in rule.names()
        asks_consent = asks_separate or "consent_status" in rule.names()
        rows = self.con.execute(f"""
            SELECT group_no, {_single("jurisdiction")}, bool_or(branch = {_ASKED}),
                   bool_or(branch = {_POSSIBLE}),
                   min(upstream_why) FILTER (branch = {_UPSTREAM}),
                   bool_or(settled AND branch = {_COMPLIANT}), {told.sql(asks_consent)}
            FROM hit GROUP BY group_no ORDER BY group_no""").fetchall()
        states = self.tallies.states(cells) if asks_consent else {}
        for group, jurisdiction, asked, possible, upstream, by_evidence, *seen in rows:
            tally = tallies[group]
            verdict = _VERDICTS[group % 4]
            dataset, transfer, purpose, recipient, dataset_no = self.keys[group // 4]
            consent: dict[str, int] = {}
            for state, count in states.get(group, {}).items():
                words = consent_words(*self.states[state], asks_separate)
                consent[words] = consent.get(words, 0) + count
            numbers = told.numbers(
                seen,
                tally,
                consent=consent,
                age_limit=_age_limit(rule, self.child_age) if verdict == "violation" else None,
                kinds=tally.kinds,
                asked=asked,
                possible=tally.possible if possible else 0,
                upstream=upstream,
                settled=by_evidence,
            )
            yield Verdict(
                verdict, dataset, transfer, purpose, recipient, jurisdiction, numbers,
                tally.samples, tally.set_no, dataset_no,
            )  # fmt: skip

    # ------------------------------------------------------------ datasets and transfers

    def _groups(self, rule: Rule) -> Iterator[Verdict]:
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
        event_time = "event_time" if of_transfers else "as_of"
        branch = _branch(rule, at_low, at_high, certain, event_time, of_use=of_transfers)
        settled = "FALSE"
        if rule.kinds_of_evidence():
            bare_low, bare_high = (
                " AND ".join(to_sql(e.node, bound, _NO_EVIDENCE) for e in conditions) or "FALSE"
                for bound in (low, high)
            )
            without = _branch(
                rule,
                bare_low,
                bare_high,
                certain,
                event_time,
                of_use=of_transfers,
                evidence=_NO_EVIDENCE,
            )
            settled = f"({without}) > {_COMPLIANT}"
        group = (
            "SELECT *, use_no AS group_no FROM use "
            "WHERE transfer_id IS NOT NULL OR recipient IS NOT NULL"
            if of_transfers
            else "SELECT *, 0 AS key_no, dataset_no AS group_no FROM dataset"
        )
        levels = ("dataset", "use")
        told = _Told.of(rule, sorted(n for n in names & set(COLUMNS) if COLUMNS[n].level in levels))
        shown = [n for n in [*measured, *declared] if n in names and n != "records"]
        bounds = ", ".join(f"({low[n]})::BIGINT, ({high[n]})::BIGINT" for n in shown)
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE hit AS
            SELECT * FROM (
                SELECT g.*, {branch} AS branch, {settled} AS settled, [{bounds}]::BIGINT[] AS bounds
                FROM ({group}) g {" ".join(joins)}
                WHERE g.has_detections {f"OR ({high['dangling_rows']}) > 0" if about_rows else ""})
            WHERE branch > 0""")
        rows = self.con.execute(f"""
            SELECT any_value(dataset_no), any_value(key_no), any_value(dataset_id),
                   any_value(jurisdiction), any_value(branch), any_value(bounds),
                   {"any_value(upstream_why)" if of_transfers else "NULL"}, any_value(settled),
                   {told.sql(False)}
            FROM hit GROUP BY group_no ORDER BY any_value(dataset_no), any_value(key_no)
        """).fetchall()
        dangling = self._dangling() if about_rows else {}
        for dataset_no, key, dataset, place, how, found, upstream, by_evidence, *seen in rows:
            samples: Sequence[int | str]
            if about_rows:
                records, unknown, people, samples = dangling.get(dataset_no, (0, 0, 0, ()))
                tally = Tally(0, records, records, unknown, people, 0, (), {})
            else:
                tally = self._of_datasets().get(dataset_no, _NOTHING)
                samples = tally.samples
            numbers = told.numbers(
                seen,
                tally,
                asked=how == _ASKED,
                possible=tally.possible if how in (_POSSIBLE, _BOUNDS) else 0,
                upstream=upstream if how == _UPSTREAM else None,
                settled=by_evidence and how == _COMPLIANT,
                measures={
                    n: (found[2 * i], found[2 * i + 1])
                    for i, n in enumerate(shown)
                    if not about_rows
                },
                dangling=about_rows,
            )
            _, transfer, purpose, recipient, _ = (
                self.keys[key] if of_transfers else ("", None, None, None, 0)
            )
            yield Verdict(
                _VERDICTS[how if how < _ASKED else 3], dataset, transfer, purpose, recipient,
                place, numbers, samples, None if about_rows else tally.set_no, dataset_no,
            )  # fmt: skip

    def _measure(self, rule: Rule, name: str) -> tuple[str, str]:
        """Make the table (key, low, high) of one measure; returns its name and its key's column.

        Rules that measure the same share the table.
        """
        measure = next((m for m in rule.measures if m.name == name), None)
        condition, how = "TRUE", "sum"
        if measure is not None:
            condition, how = _sql(measure.where, True), measure.how
        elif name == "subjects":
            how = "count_distinct"
        elif name in ("dangling_rows", "possible_records"):
            how = name
        elif name == "unmanifested_records":
            condition = "NOT in_manifest"
        used = measure.where.names() if measure is not None and measure.where else frozenset()
        evidence = bool(measure and measure.where and measure.where.evidence_kinds())
        per_use = rule.scope == "transfer" and (evidence or any(n not in _OF_DATASET for n in used))
        key = "use_no" if per_use else "dataset_no"
        if (how, key, condition) in self.measured:
            return self.measured[how, key, condition]
        table = f"measure_{len(self.measured)}"
        self.measured[how, key, condition] = table, key
        if how == "dangling_rows":
            bounds = {n: (row[0], row[0]) for n, row in self._dangling().items()}
        else:
            bounds = self._bounds(how, condition, per_use)
        numbers = {
            key: pa.array(bounds, pa.int64()),
            "low": pa.array([low for low, _ in bounds.values()], pa.int64()),
            "high": pa.array([high for _, high in bounds.values()], pa.int64()),
        }
        self.con.register("arrow_measure", pa.table(numbers))
        self.con.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM arrow_measure")
        self.con.unregister("arrow_measure")
        return table, key

    def _bounds(self, how: str, condition: str, per_use: bool) -> dict[int, tuple[int, int]]:
        """By dataset or by use: between which numbers a measure lies."""
        if per_use:
            view = exposures.view(self.tallies.wide, self.child_age)
            key, cell, count = "use_no", "ask_no, profile_no, state_no", self.tallies.of_cells
        else:
            view = exposures.profile_view(self.tallies.wide)
            key, cell, count = "dataset_no", "profile_no", self.tallies.of_profiles
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE counted AS
            SELECT {key} AS group_no, dataset_no, {cell}, is_certain AND ({condition}) AS sure
            FROM ({view}) WHERE ({condition}) IS NOT FALSE""")
        all_of = count(f"SELECT group_no, {cell} FROM counted")
        sure_of = count(f"SELECT group_no, {cell} FROM counted WHERE sure")
        dataset_of = dict(
            self.con.execute("SELECT DISTINCT group_no, dataset_no FROM counted").fetchall()
        )
        found: dict[int, tuple[int, int]] = {}
        for group, most in all_of.items():
            least = sure_of.get(group, _NOTHING)
            if how == "possible_records":
                found[group] = (most.possible, most.possible)
            elif how == "count":
                found[group] = (least.items, most.items)
            elif how == "sum":
                found[group] = (least.records, most.records)
            elif dataset_of[group] in self.keyless:
                found[group] = (0, most.records)
            else:
                found[group] = (least.people, most.people + most.unknown)
        return found

    def _of_datasets(self) -> dict[int, Tally]:
        if self.datasets is None:
            self.datasets = self.tallies.of_profiles(
                "SELECT dataset_no AS group_no, profile_no FROM profile"
            )
        return self.datasets

    def _dangling(self) -> dict[int, tuple[int, int, int, list[str]]]:
        """By dataset: dangling rows, those of unknown people, known people, locations."""
        rows = self.con.execute(f"""
            SELECT dataset_no, count(*), count(*) FILTER (subject_digest IS NULL),
                   count(DISTINCT subject_digest), min(location, {MAX_SAMPLES})
            FROM dangling GROUP BY dataset_no""").fetchall()
        return {row[0]: row[1:] for row in rows}


_OF_DATASET = frozenset(
    {name for name, column in COLUMNS.items() if column.level in ("dataset", "record")}
    - {"subject_age", "is_minor"}
)


# What a use is allowed by: rules that read one of these ask whether it may take place.
_PERMISSION = frozenset(
    {
        "purpose", "new_purpose", "recipient", "transfer_role", "legal_basis", "statutory_basis",
        "within_original_purpose", "consent_status", "separate_consent", "agreement_ref",
    }
)  # fmt: skip


_NO_EVIDENCE = "no_evidence"  # the column that says what there would be without evidence: nothing


def _sql(expression: Expression | None, missing: bool, evidence: str = "evidence") -> str:
    node = expression.node if expression is not None else Value(missing)
    return to_sql(node, evidence=evidence)


def _branch(
    rule: Rule,
    low: str,
    high: str,
    certain: str,
    event_time: str,
    *,
    of_use: bool,
    evidence: str = "evidence",
) -> str:
    """SQL for how the verdict comes about (0: not applicable); see the module's docstring."""
    beyond = "FALSE"
    if of_use and rule.names() & _PERMISSION:
        beyond = "upstream IN ('not_permitted', 'unknown')"
    in_force = "TRUE"
    if rule.law.in_force_from is not None:
        in_force = f"{event_time}::DATE >= DATE '{rule.law.in_force_from}'"
    if rule.law.in_force_until is not None:
        in_force += f" AND {event_time}::DATE <= DATE '{rule.law.in_force_until}'"
    applies = _sql(rule.applies_when, True, evidence)
    review = _sql(rule.review_when, False, evidence)
    return f"""CASE
        WHEN NOT ({in_force}) THEN 0
        WHEN ({applies}) IS FALSE THEN 0
        WHEN ({review}) IS TRUE THEN {_ASKED}
        WHEN ({applies}) IS NULL THEN {_SCOPE_UNKNOWN}
        WHEN ({low}) IS TRUE AND {certain} THEN {_VIOLATION}
        WHEN ({low}) IS TRUE THEN {_POSSIBLE}
        WHEN ({high}) IS TRUE AND ({low}) IS FALSE THEN {_BOUNDS}
        WHEN ({high}) IS NULL OR ({low}) IS NULL OR ({review}) IS NULL THEN {_UNKNOWN}
        WHEN {beyond} THEN {_UPSTREAM}
        ELSE {_COMPLIANT} END"""


# ------------------------------------------------------------ what the sentence tells


@dataclass(frozen=True, slots=True)
class _Told:
    """The columns and evidence of a rule that its sentences may speak of."""

    facts: tuple[str, ...]
    matters: Mapping[str, str]  # column → SQL: its being unknown makes a condition unknown
    tested: frozenset[str]  # columns of which a condition asks whether they are on record
    evidence: tuple[str, ...]
    whole: bool  # of datasets and transfers, the absence of evidence is told too

    @classmethod
    def of(cls, rule: Rule, names: Sequence[str]) -> _Told:
        conditions = [e.node for e in rule.expressions().values()]
        if "new_purpose" in names:
            names = sorted({*names, "purpose", "collected_for"})
        unsaid = {"subject_key", "confidence"}
        if rule.scope == "exposure":
            unsaid.add("controller_type")  # decides nothing alone
        missing: dict[str, set[str]] = {}
        for node in conditions:
            for name, test in _unguarded(node):
                missing.setdefault(name, set()).add(test)
        return cls(
            facts=tuple(n for n in names if n not in unsaid),
            matters={n: " OR ".join(sorted(missing[n])) for n in names if n in missing},
            tested=frozenset(
                node.part.name
                for condition in conditions
                for node in walk(condition)
                if isinstance(node, Is) and isinstance(node.part, Name)
            ),
            evidence=tuple(sorted(rule.kinds_of_evidence())),
            whole=rule.scope != "exposure",
        )

    def sql(self, asks_consent: bool) -> str:
        """The columns of `hit`, grouped, that `numbers` takes."""
        unclear = f"branch IN ({_SCOPE_UNKNOWN}, {_UNKNOWN})"
        person = {"separate_consent", "guardian_verified"}  # unknown where the person is
        parts: list[str] = []
        for name in self.facts:
            parts += [_single(_day(name)), f"count({name}) = 0"]
        for name, test in self.matters.items():
            missing = f"({test}) AND {unclear}"
            if name in person:
                missing += " AND NOT nobody"
            parts.append(f"bool_or({missing})")
        parts.append(
            f"bool_or(nobody AND {unclear})"
            if not asks_consent and person & set(self.matters)
            else "false"
        )
        for kind in self.evidence:
            there = to_sql(Evidence(kind))
            parts += [_single(there), f"bool_or({there} IS NULL)"]
        return ", ".join(parts)

    def numbers(
        self,
        seen: Sequence[Fact],
        tally: Tally,
        *,
        consent: Mapping[str, int] | None = None,
        age_limit: int | None = None,
        kinds: Mapping[str, int] | None = None,
        asked: bool = False,
        possible: int = 0,
        upstream: str | None = None,
        settled: bool = False,
        measures: Mapping[str, tuple[int, int]] | None = None,
        dangling: bool = False,
    ) -> Numbers:
        values = iter(seen)
        facts: dict[str, Fact] = {}
        differs: list[str] = []
        for name in self.facts:
            value, absent = next(values), next(values)
            if value is not None or absent:
                facts[name] = value
            else:
                differs.append(name)
        unknown = [name for name in self.matters if next(values)]
        for name in self.matters:
            if facts.get(name, "") is None and (name in unknown or name not in self.tested):
                del facts[name]
        if next(values):
            unknown.append("subject_key")
        evidence: dict[str, bool | None] = {}
        for kind in self.evidence:
            there, unclear = next(values), next(values)
            if unclear:
                evidence[kind] = None
            elif there or (there is not None and self.whole):
                evidence[kind] = bool(there)
        return Numbers(
            records=tally.records,
            subjects=tally.people + tally.unknown,
            is_upper_bound=tally.unknown > 0,
            kinds=kinds or {},
            consent=consent or {},
            age_limit=age_limit,
            facts=facts,
            measures=measures or {},
            evidence=evidence,
            differs=differs,
            unknown=unknown,
            asked=asked,
            possible=possible,
            upstream=upstream,
            settled=settled,
            dangling=dangling,
        )


def _day(name: str) -> str:
    """SQL for a column as it is told; a moment past which something ends, as the last day."""
    if COLUMNS[name].type != "time":
        return name
    past = name in ("retention_until", "ended_at")
    return f"({name} - INTERVAL 1 MICROSECOND)::DATE" if past else f"{name}::DATE"


def _single(value: str) -> str:
    """SQL for the value on which all rows of a group agree, else null."""
    return (
        f"CASE WHEN count({value}) = count(*) AND min({value}) = max({value}) THEN min({value}) END"
    )


def _unguarded(node: Node) -> Iterator[tuple[str, str]]:
    """Columns whose being null can make the condition null, with SQL that tells when.

    Not those in `is null`, nor in a coalesce that ends in a value.
    """
    match node:
        case Is():
            return
        case Name("new_purpose"):  # of two others
            for name in ("purpose", "collected_for"):
                yield name, f"{name} IS NULL"
        case Name(name):
            yield name, f"{name} IS NULL"
        case Call("coalesce", arguments):
            last = arguments[-1]
            if not (isinstance(last, Value) and last.value is not None):
                for name, _ in (found for part in arguments for found in _unguarded(part)):
                    yield name, f"{to_sql(node)} IS NULL"
        case _:
            for child in children(node):
                yield from _unguarded(child)


def _age_limit(rule: Rule, child_age: int) -> int | None:
    """The age under which the people are of whom `where` is true, if it asks for one."""
    if rule.where is None:
        return None
    for node in walk(rule.where.node):
        match node:
            case Name("is_minor"):
                return child_age
            case Compare("<", Name("subject_age"), Value(int(limit))):
                return limit
    return None

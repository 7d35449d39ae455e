"""Judges detections in their context by rules: from the files of a run to findings.

How a verdict comes about is told in `verdicts`, how consents are matched in `consents`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from scanner import schemas
from scanner.errors import LedgerFault, PolicyError, ScannerError
from scanner.model import Context, RuleText
from scanner.policy import exposures, keeping
from scanner.policy.expressions import quoted
from scanner.policy.packs import Pack, Rule
from scanner.policy.proofs import Proofs
from scanner.policy.sentences import Numbers, sentence
from scanner.policy.tallies import Tallies
from scanner.policy.verdicts import Bench, Verdict
from scanner.purposes import EVERY, folded


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What was decided: findings, every affected item, the rules' texts, and notes for the
    reader."""

    findings: pa.Table  # schemas.FINDINGS
    affected: Path  # Parquet, schemas.AFFECTED: the records of violations and reviews
    rules: tuple[RuleText, ...]
    notes: tuple[str, ...]
    facts: pa.Table | None = None  # schemas.FACTS of the findings; these two only if asked for
    holdings: pa.Table | None = None  # schemas.HOLDINGS


MEMORY_LIMIT = "3GB"  # of the database; Arrow, Python and the code come on top
_SHOWN = re.compile(r"(?!.*\d{5})[^\s@]{1,60}")  # a term, and nobody's data in the wrong column
_TERMS_NAMED = 10
_DATABASE = "judging.duckdb"
_SPILL = "spill"


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
    memory_limit: str = MEMORY_LIMIT,
    list_affected: bool = True,
    keep: bool = False,
) -> Judgement:
    """Judge what was detected in its context by every rule of `packs`.

    `detections`, `items`, `coverage` are Parquet files (scanner.schemas); `as_of` is an aware time;
    `previous` gives the first_seen of findings of earlier runs by finding_id; `memory_limit` such
    as "4GB" (beyond it, work goes to `workdir`). Writes `workdir/affected.parquet`: without rows if
    not `list_affected`, which is for replays and measurements of what no one will ever remedy.
    `keep`: tell also the facts behind the findings, and what was counted of each dataset.

    Raises `PolicyError` when there is no rule at all, `ScannerError` when an input cannot be read.
    """
    rules = [rule for pack in packs for rule in pack.rules]
    if not rules:
        raise PolicyError("no rule is selected, so nothing can be judged; name a rule pack")
    workdir.mkdir(parents=True, exist_ok=True)
    database = workdir / _DATABASE
    _clear(workdir)
    inputs = [detections, coverage, *([items] if items is not None else [])]
    if isinstance(context.consents, Path):  # a prepared registry, too large to be held
        inputs.append(context.consents)
    try:
        con = _open(database, inputs, workdir, memory_limit)
        try:
            names = frozenset().union(*(rule.names() for rule in rules))
            plain = exposures.build(
                con,
                detections=detections,
                items=items,
                coverage=coverage,
                context=context,
                as_of=as_of,
                names=names,
            )
            tallies = Tallies.build(
                con,
                detections,
                context,
                names=names,
                plain=plain,
                with_consent=bool(names & exposures.CONSENT_NAMES),
            )
            bench = Bench(con, tallies, context.child_age)
            decided = [
                (rule, given)
                for rule in sorted(rules, key=lambda rule: rule.id)
                for given in bench.verdicts(rule)
            ]
            places = tallies.locations(
                sorted({n for _, given in decided for n in given.samples if isinstance(n, int)})
            )
            asked = {kind for rule in rules for kind in rule.kinds_of_evidence()}
            proofs = Proofs.read(context.evidence, asked, as_of)
            proved = [_with_proofs(rule, given, proofs) for rule, given in decided]
            rows = [
                _row(rule, given, numbers, places, previous, as_of)
                for (rule, given), numbers in zip(decided, proved, strict=True)
            ]
            affected = workdir / "affected.parquet"
            open_questions = [
                (str(row["finding_id"]), given)
                for row, (_, given) in zip(rows, decided, strict=True)
                if given.verdict != "compliant" and list_affected
            ]
            _write_affected(affected, con, tallies, open_questions)
            notes = (*context.notes, *_notes(con, context), *_purpose_notes(con, context))
            notes += tuple(proofs.notes(_named(con)))
            told = zip((str(row["finding_id"]) for row in rows), proved, strict=True)
            facts = keeping.facts(told) if keep else None
            holdings = keeping.holdings(con, tallies) if keep else None
        finally:
            con.close()
    except duckdb.IOException:
        raise LedgerFault(
            f"{workdir}: judging could not write its files; free space and continue with "
            "`consentry scan --resume`"
        ) from None
    except duckdb.Error as error:
        # its text may hold values of the data
        raise ScannerError(
            f"judging failed ({type(error).__name__}); check that {workdir} has room and that the "
            "detections of this run are whole"
        ) from None
    finally:
        _clear(workdir)
    return Judgement(
        findings=_findings(rows),
        affected=affected,
        rules=tuple(rule.text() for rule in rules),
        notes=notes,
        facts=facts,
        holdings=holdings,
    )


def _clear(workdir: Path) -> None:
    """Remove the database and whatever it had put beside itself: all of it is personal data."""
    for name in (_DATABASE, f"{_DATABASE}.wal", f"{_DATABASE}.tmp", _SPILL):
        leftover = workdir / name
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _open(
    database: Path, inputs: Sequence[Path], workdir: Path, memory_limit: str
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
    con.execute(f"SET temp_directory = {quoted(str(workdir / _SPILL))}")
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


def _named(con: duckdb.DuckDBPyConnection) -> list[str]:
    """What evidence can be about: the datasets and transfers in which something was found."""
    rows = con.execute(
        "SELECT dataset_id FROM dataset WHERE has_detections UNION "
        "SELECT transfer_id FROM use WHERE has_detections AND transfer_id IS NOT NULL"
    ).fetchall()
    return [name for (name,) in rows]


def _purpose_notes(con: duckdb.DuckDBPyConnection, context: Context) -> tuple[str, ...]:
    """Which purposes were compared by equality alone, where consents were compared at all."""
    there = con.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'purpose_name'"
    ).fetchone()
    if there is None or not there[0]:
        return ()
    texts = [
        text
        for (text,) in con.execute("SELECT written FROM purpose_name ORDER BY written").fetchall()
        if text != EVERY and not context.purposes.knows(text)
    ]
    if len({folded(text) for text in texts}) < 2:
        return ()  # one purpose, or none: nothing that a hierarchy could change
    shown = [text for text in texts if _SHOWN.fullmatch(text)][:_TERMS_NAMED]
    more = f" and {len(texts) - len(shown)} more" if len(texts) > len(shown) else ""
    return (
        f"No taxonomy knows these purposes, so they were compared by equality alone: "
        f"{', '.join(shown)}{more}. `purposes:` in consentry.yaml can say what is broader.",
    )


def _with_proofs(rule: Rule, given: Verdict, proofs: Proofs) -> Numbers:
    """The numbers of a verdict, with the very evidence that its rule asks for."""
    about = (given.dataset_id, given.transfer_id)
    kinds = sorted(rule.kinds_of_evidence())
    return replace(
        given.numbers,
        proof={kind: [proof.words() for proof in proofs.of(kind, about)] for kind in kinds},
        lapsed=[
            f"evidence {kind} {proof.evidence_id} expired: it was valid until {proof.last_day}"
            for kind in kinds
            for proof in proofs.expired(kind, about)
        ],
    )


def _row(
    rule: Rule,
    given: Verdict,
    numbers: Numbers,
    places: Mapping[int, str],
    previous: Mapping[str, datetime],
    as_of: datetime,
) -> dict[str, object]:
    """One row of the findings."""
    finding = finding_id(
        rule.id,
        given.verdict,
        given.dataset_id,
        given.transfer_id,
        given.purpose,
        given.recipient,
    )
    return {
        "finding_id": finding,
        "rule_id": rule.id,
        "rule_version": rule.version,
        "pack": rule.pack,
        "law_cite": rule.law.cite,
        "verdict": given.verdict,
        "level": rule.level,
        "dataset_id": given.dataset_id,
        "transfer_id": given.transfer_id,
        "purpose": given.purpose,
        "recipient": given.recipient,
        "jurisdiction": given.jurisdiction,
        "records": given.numbers.records,
        "subjects": given.numbers.subjects,
        "subjects_is_upper_bound": given.numbers.is_upper_bound,
        "sample_locations": [places[n] if isinstance(n, int) else n for n in given.samples],
        "reason": sentence(given.verdict, numbers),
        "remedy": rule.remedy,
        "first_seen": previous.get(finding, as_of),
        "evaluated_at": as_of,
        "suppressed_by": None,
    }


def _findings(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    def order(row: Mapping[str, object]) -> tuple[str, ...]:
        names = ("rule_id", "dataset_id", "transfer_id", "purpose", "recipient", "verdict")
        return tuple(str(row[name] or "") for name in names)

    return pa.Table.from_pylist(sorted(rows, key=order), schema=schemas.FINDINGS)


def _write_affected(
    path: Path,
    con: duckdb.DuckDBPyConnection,
    tallies: Tallies,
    open_questions: Sequence[tuple[str, Verdict]],
) -> None:
    """Write what each finding (id, verdict) is about, and what somebody has to deal with."""
    ordered = sorted(open_questions, key=lambda pair: pair[0])
    sets = sorted({given.set_no for _, given in ordered if given.set_no is not None})
    with pq.ParquetWriter(
        path,
        schemas.AFFECTED,
        compression="zstd",
        use_dictionary=["finding_id"],
        write_statistics=["finding_id"],
    ) as writer:

        def put(finding: str, rows: pa.Table) -> None:
            ids = pa.repeat(pa.scalar(finding, pa.string()), rows.num_rows)
            table = rows.add_column(0, "finding_id", ids)
            writer.write_table(table.select(schemas.AFFECTED.names).cast(schemas.AFFECTED))

        for piece in tallies.affected(sets):
            for finding, given in ordered:
                if given.set_no in piece:
                    put(finding, piece[given.set_no])
        for finding, given in ordered:
            if given.set_no is None:
                rows = con.sql(
                    "SELECT location, NULL::VARCHAR AS item_id, subject_digest FROM dangling "
                    f"WHERE dataset_no = {int(given.dataset_no)} ORDER BY location, subject_digest"
                )
                put(finding, rows.to_arrow_table())


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

"""Judges the drawn records of an incident in one world, and the plan before anything moved."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanner.policy import Pack, judge
from scanner.policy.judging import MEMORY_LIMIT
from scanner.replay import drawing
from scanner.replay.worlds import BEFORE, Incident, World, context, load_world


@dataclass(frozen=True, slots=True)
class Row:
    """What one rule says with one verdict, over all datasets and transfers."""

    rule_id: str
    title: str
    cite: str
    scope: str
    level: str
    verdict: str
    transfers: tuple[str, ...]  # empty: the rule is about the datasets themselves
    datasets: tuple[str, ...]
    records: int  # on each path: the largest sum over the datasets of one transfer
    reason: str  # of the first finding
    remedy: str


@dataclass(frozen=True, slots=True)
class Outcome:
    world: World
    rows: tuple[Row, ...]
    silent: tuple[str, ...]  # rules that say nothing: not applicable in this world

    def of(self, verdict: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.verdict == verdict)


def play(
    incident: Incident,
    world: World,
    packs: Sequence[Pack],
    folder: Path,
    memory_limit: str = MEMORY_LIMIT,
) -> Outcome:
    """Judge the detections that lie in `folder` by the real rules, with the facts of `world`."""
    judgement = judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=context(incident, world),
        packs=packs,
        as_of=world.as_of,
        workdir=folder / "work",
        previous={},
        memory_limit=memory_limit,
        list_affected=False,  # nobody will ever remedy drawn records
    )
    rules = {rule.id: rule for pack in packs for rule in pack.rules}
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    for finding in judgement.findings.to_pylist():
        found.setdefault((finding["rule_id"], finding["verdict"]), []).append(finding)
    rows = []
    for (rule_id, verdict), findings in found.items():
        paths: dict[object, int] = {}
        for finding in findings:
            path = finding["transfer_id"]
            paths[path] = paths.get(path, 0) + int(str(finding["records"]))
        rule = rules[rule_id]
        rows.append(
            Row(
                rule_id=rule_id,
                title=rule.title,
                cite=rule.law.cite,
                scope=rule.scope,
                level=rule.level,
                verdict=verdict,
                transfers=tuple(sorted(str(path) for path in paths if path is not None)),
                datasets=tuple(sorted({str(finding["dataset_id"]) for finding in findings})),
                records=max(paths.values()),
                reason=str(findings[0]["reason"]),
                remedy=rule.remedy,
            )
        )
    rows.sort(key=lambda row: (row.rule_id, row.verdict))
    return Outcome(world, tuple(rows), tuple(sorted(set(rules) - {row.rule_id for row in rows})))


def before(incident: Incident, packs: Sequence[Pack], folder: Path) -> Outcome:
    """The prevention view: the declared inventory, judged before the first record moved."""
    folder.mkdir()
    drawing.declare(incident, folder)
    return play(incident, load_world(incident, BEFORE, datetime.date.min), packs, folder)


@dataclass(frozen=True, slots=True)
class Blocking:
    """What had to be settled first: no legal conclusion is needed to see that it is open."""

    what: str
    items: int
    rule_ids: tuple[str, ...]


# Which open questions of the plan are a missing entry in a register, and how they are counted.
_REGISTERS = (
    ("publication of the processor (a transfer without published_ref)", "26-2", True),
    ("impact assessment on record (evidence PIA_SUBMITTED)", "33", False),
    ("attestation that the use lies within the purpose", "18", False),
)


def blocking(outcome: Outcome) -> tuple[tuple[Blocking, ...], tuple[Row, ...]]:
    """The entries that were missing before the first record moved, and the other open questions.

    A missing publication counts once for each transfer that is known to need it; the assessment and
    the attestation are one act each.
    """
    found: list[Blocking] = []
    counted: set[tuple[str, str]] = set()
    for what, article, per_transfer in _REGISTERS:
        rows = [
            row
            for row in outcome.rows
            if row.rule_id.startswith(f"KR-PIPA-{article}-") and row.verdict != "compliant"
        ]
        if per_transfer:  # a role that nobody has told is a question of its own
            rows = [row for row in rows if row.verdict == "violation"]
        counted |= {(row.rule_id, row.verdict) for row in rows}
        items = sum(len(row.transfers) for row in rows) if per_transfer else min(1, len(rows))
        found.append(Blocking(what, items, tuple(sorted({row.rule_id for row in rows}))))
    others = tuple(
        row
        for row in outcome.rows
        if row.verdict != "compliant" and (row.rule_id, row.verdict) not in counted
    )
    return tuple(found), others

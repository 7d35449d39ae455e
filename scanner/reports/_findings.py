"""The findings and gaps of a run in the order in which every report tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from scanner.model import STATES, UNKNOWN_BYTES, RuleText, SavedRun
from scanner.schemas import FINDINGS

_VERDICTS = ("violation", "review", "compliant", "not_applicable")
_LEVELS = ("error", "warning", "note")
_STATE_ORDER = ("error", "partial", "excluded")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of schemas.FINDINGS; the fields are the columns, in their order."""

    finding_id: str
    rule_id: str
    rule_version: str | None
    pack: str | None
    law_cite: str | None
    verdict: str
    level: str
    dataset_id: str | None
    transfer_id: str | None
    purpose: str | None
    recipient: str | None
    jurisdiction: str | None
    records: int | None
    subjects: int | None
    subjects_is_upper_bound: bool | None
    sample_locations: list[str] | None
    reason: str | None
    remedy: str | None
    first_seen: datetime | None
    evaluated_at: datetime | None
    suppressed_by: str | None


@dataclass(frozen=True, slots=True)
class Tally:
    """The numbers of a run. Suppressed findings are in `suppressed` and nowhere else."""

    verdicts: Mapping[str, int]
    levels: Mapping[str, int]  # violations by level
    suppressed: int
    coverage: Mapping[str, int]  # objects by state, all five states
    listed: int  # objects
    not_whole: int  # objects in state partial or error

    @property
    def violations(self) -> int:
        return self.verdicts["violation"]

    @property
    def reviews(self) -> int:
        return self.verdicts["review"]

    @property
    def passed(self) -> int:
        return self.verdicts["compliant"]


@dataclass(frozen=True, slots=True)
class GapGroup:
    """Everything not looked at (whole) for one and the same cause."""

    state: str
    reason: str
    count: int
    samples: tuple[str, ...]
    formats: tuple[tuple[str, int], ...] = ()  # of what no reader opens, the most frequent first


def told_findings(run: SavedRun) -> list[Finding]:
    """All findings, worst first: by verdict, level, rule, dataset, transfer, id."""
    found = [Finding(**row) for row in run.findings.select(FINDINGS.names).to_pylist()]
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[int, int, str, str, str, str]:
    verdict = _VERDICTS.index(finding.verdict) if finding.verdict in _VERDICTS else len(_VERDICTS)
    level = _LEVELS.index(finding.level) if finding.level in _LEVELS else len(_LEVELS)
    return (
        verdict,
        level,
        finding.rule_id,
        finding.dataset_id or "",
        finding.transfer_id or "",
        finding.finding_id,
    )


def tally(run: SavedRun, findings: list[Finding]) -> Tally:
    counted = [f for f in findings if f.suppressed_by is None]
    verdicts = Counter(f.verdict for f in counted)
    levels = Counter(f.level for f in counted if f.verdict == "violation")
    coverage: dict[str, int] = {state: int(run.coverage_counts.get(state, 0)) for state in STATES}
    return Tally(
        verdicts={v: verdicts[v] for v in _VERDICTS[:3]},
        levels={level: levels[level] for level in _LEVELS},
        suppressed=len(findings) - len(counted),
        coverage=coverage,
        listed=sum(coverage.values()),
        not_whole=coverage["partial"] + coverage["error"],
    )


def rules_by_id(run: SavedRun) -> dict[str, RuleText]:
    return {rule.id: rule for rule in run.rules}


def gap_order(gaps: pa.Table) -> pa.Array:
    """Row numbers of the gaps: errors, then partial, then excluded; within a state by location.

    Only indices: eight bytes a row, so that a gap table of millions is not copied.
    """
    rank = pc.index_in(gaps["state"], value_set=pa.array(_STATE_ORDER))
    keyed = gaps.append_column("rank", rank.cast(pa.int64()))
    keys = [(name, "ascending") for name in ("rank", "location", "reason", "detail")]
    return pc.sort_indices(keyed, sort_keys=keys)


def gap_rows(gaps: pa.Table, limit: int | None = None) -> Iterator[dict[str, object]]:
    """The gaps as rows, in order, a thousand at a time."""
    order = gap_order(gaps)
    end = len(order) if limit is None else min(limit, len(order))
    for start in range(0, end, 1000):
        yield from gaps.take(order.slice(start, min(1000, end - start))).to_pylist()


def gap_groups(gaps: pa.Table, samples: int) -> list[GapGroup]:
    """Gaps by state and reason with their counts and the first few locations."""
    counts = gaps.group_by(["state", "reason"]).aggregate([([], "count_all")]).to_pylist()
    groups = []
    for row in counts:
        state, reason = row["state"], row["reason"]
        same_reason = (
            pc.is_null(gaps["reason"]) if reason is None else pc.equal(gaps["reason"], reason)
        )
        # fill_null: a comparison with null is null, and a filter would drop the row without a word
        same = pc.and_(pc.equal(gaps["state"], state), pc.fill_null(same_reason, False))
        members = gaps.filter(same)
        names = members["location"].unique().sort().slice(0, samples).to_pylist()
        formats = _formats(members) if reason == "unsupported" else ()
        groups.append(GapGroup(state, reason or "unknown", row["count_all"], tuple(names), formats))
    order = {state: i for i, state in enumerate(_STATE_ORDER)}
    return sorted(groups, key=lambda g: (order.get(g.state, 9), -g.count, g.reason))


def _formats(gaps: pa.Table) -> tuple[tuple[str, int], ...]:
    """What kinds of files they are: the detail up to its colon ("PDF: no reader for it yet")."""
    counts: Counter[str] = Counter()
    for entry in gaps["detail"].value_counts().to_pylist():
        detail = (entry["values"] or "unknown").split(";")[0]
        name = "unknown format" if detail == UNKNOWN_BYTES else detail.split(":")[0]
        counts[name] += entry["counts"]
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

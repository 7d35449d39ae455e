"""Names the evidence that settles a question, and what of it has expired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Proof:
    """One piece of evidence about a dataset, a transfer or a party."""

    evidence_id: str
    kind: str
    about: str
    attested_by: str | None
    attested_on: date | None
    last_day: date | None  # on which it still holds, in UTC

    def words(self) -> str:
        """Which one it is: `E-17 by dpo, 2024-03-01, until 2025-02-28`."""
        parts = [self.evidence_id + (f" by {self.attested_by}" if self.attested_by else "")]
        if self.attested_on:
            parts.append(f"{self.attested_on}")
        if self.last_day:
            parts.append(f"until {self.last_day}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Proofs:
    """The registry of evidence, as of the moment of a run."""

    valid: dict[tuple[str, str], list[Proof]] = field(default_factory=dict)  # by about, kind
    lapsed: dict[tuple[str, str], list[Proof]] = field(default_factory=dict)

    @classmethod
    def read(cls, evidence: pa.Table, kinds: Iterable[str], as_of: datetime) -> Proofs:
        """The evidence of these kinds; what is dated later than `as_of` is not there yet."""
        wanted = frozenset(kinds)
        found = cls()
        if not wanted:
            return found
        for row in evidence.to_pylist():
            kind = (row["kind"] or "").strip().upper()
            start, end = row["attested_at"], row["valid_until"]
            if kind not in wanted or row["about"] is None or (start and start > as_of):
                continue
            proof = Proof(
                row["evidence_id"], kind, row["about"], row["attested_by"],
                start.date() if start else None,
                (end - timedelta(microseconds=1)).date() if end else None,
            )  # fmt: skip
            place = found.lapsed if end and end <= as_of else found.valid
            place.setdefault((proof.about, kind), []).append(proof)
        for proofs in (*found.valid.values(), *found.lapsed.values()):
            proofs.sort(key=lambda proof: (proof.last_day or date.max, proof.evidence_id))
        return found

    def of(self, kind: str, about: Sequence[str | None]) -> list[Proof]:
        """What is valid."""
        return [p for name in about if name for p in self.valid.get((name, kind), ())]

    def expired(self, kind: str, about: Sequence[str | None]) -> list[Proof]:
        """What is no longer, where nothing of the kind is valid."""
        if self.of(kind, about):
            return []
        return [p for name in about if name for p in self.lapsed.get((name, kind), ())]

    def notes(self, about: Iterable[str | None]) -> list[str]:
        """A sentence for each piece that has expired, and that nothing has taken the place of."""
        there = {name for name in about if name}
        return [
            f"Evidence {proof.evidence_id} ({kind} about {name}) was valid until {proof.last_day}: "
            "what it settled is open again."
            for (name, kind), proofs in sorted(self.lapsed.items())
            if name in there and (name, kind) not in self.valid
            for proof in proofs[-1:]
        ]

"""The four buckets of drawn faces that come with the program, and what is planted in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from scanner.errors import UsageError
from scanner.model import SavedRun

_ABOUT = {
    "immigration-export": "border-control photos on their way to a ministry and to companies",
    "training-shards": "scraped faces, packed for training",
    "hr-badges": "badge photos, face templates and people who have left",
    "landscapes": "no face and no biometric field: must stay silent",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """One finding that the generator planted, as worked out by hand."""

    rule_id: str
    verdict: str
    dataset_id: str
    transfer_id: str | None
    records: int


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    about: str
    folder: Path
    planted: tuple[Planted, ...]


def _fixtures() -> Path:
    here = Path(__file__).parent
    for folder in (here / "_demo", here.parent / "fixtures"):  # installed wheel; checkout
        if (folder / "planted.json").is_file():
            return folder
    raise UsageError("the demo buckets are not there; install consentry again")


def demo_buckets() -> tuple[Bucket, ...]:
    root = _fixtures()
    planted = json.loads((root / "planted.json").read_text(encoding="utf-8"))
    return tuple(
        Bucket(
            name,
            about,
            root / "buckets" / name,
            tuple(
                Planted(p["rule_id"], p["verdict"], p["dataset_id"], p["transfer_id"], p["records"])
                for p in planted
                if p["bucket"] == name
            ),
        )
        for name, about in _ABOUT.items()
    )


def compare(bucket: Bucket, run: SavedRun) -> tuple[int, list[str]]:
    """How many planted findings the run has, and every difference in words."""
    found = {
        Planted(f["rule_id"], f["verdict"], f["dataset_id"], f["transfer_id"], f["records"])
        for f in run.findings.to_pylist()
        if f["verdict"] in ("violation", "review")
    }
    planted = set(bucket.planted)
    lines = [f"{bucket.name}: planted, but not found: {_words(p)}" for p in planted - found]
    lines += [f"{bucket.name}: found, but not planted: {_words(p)}" for p in found - planted]
    if not run.complete:
        lines.append(f"{bucket.name}: not everything could be looked at")
    return len(planted & found), sorted(lines)


def _words(p: Planted) -> str:
    where = p.dataset_id + (f", {p.transfer_id}" if p.transfer_id else "")
    return f"{p.rule_id} {p.verdict} ({where}; {p.records} records)"

"""Reads an incident and its worlds (who asserts what) and makes registries of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from scanner import schemas
from scanner.errors import UsageError
from scanner.model import Context
from scanner.yamlsafe import load_yaml

BEFORE = "before"  # the world of the prevention view
MINISTRY, FIRMS = "T1", "T2"  # the two legs of every path
_COLLECTED_FOR, _USED_FOR = "border-control", "ai-training"


@dataclass(frozen=True, slots=True)
class Part:
    """One dataset of the incident, at full scale."""

    id: str
    records: int
    about: str


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column beside the photos: a detection of `kind` in every row."""

    name: str
    kind: str
    certainty: str


@dataclass(frozen=True, slots=True)
class Incident:
    name: str
    title: str
    parts: tuple[Part, ...]  # in the order of their ids
    columns: tuple[TableColumn, ...]
    parties: tuple[Mapping[str, str], ...]
    firms: int
    started: datetime.date
    images_per_person: Mapping[str, float]
    nationality_mix: Mapping[str, Mapping[str, float]]
    child_share: float
    left_out: tuple[str, ...]

    @property
    def records(self) -> int:
        return sum(part.records for part in self.parts)


@dataclass(frozen=True, slots=True)
class Fact:
    """What somebody asserts. A value of None: it is not on record."""

    name: str
    value: str | None
    by: str
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class World:
    name: str
    title: str
    as_of: datetime.datetime
    started: datetime.datetime
    facts: Mapping[str, Fact]

    def value(self, name: str) -> str | None:
        return self.facts[name].value


def _folder() -> Path:
    return Path(__file__).parent


def incident_names() -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in _folder().glob("*/incident.yaml")))


def world_names(incident: str) -> tuple[str, ...]:
    names = sorted(path.stem for path in (_folder() / incident).glob("*.yaml"))
    return tuple(name for name in names if name not in ("incident", BEFORE))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path.stem}: no such incident or world")
    return cast("dict[str, Any]", load_yaml(path))


def load_incident(name: str) -> Incident:
    if name not in incident_names():
        known = ", ".join(incident_names())
        raise UsageError(f"no incident is called that; there is: {known}")
    raw = _read(_folder() / name / "incident.yaml")
    synthetic = raw["synthetic"]
    parts = sorted((Part(**row) for row in raw["datasets"]), key=lambda part: part.id)
    return Incident(
        name=name,
        title=raw["title"],
        parts=tuple(parts),
        columns=tuple(TableColumn(**row) for row in raw["columns"]),
        parties=tuple(raw["parties"]),
        firms=raw["firms"],
        started=_date(raw["started"]),
        images_per_person=synthetic["images_per_person"],
        nationality_mix=synthetic["nationality_mix"],
        child_share=synthetic["child_share"],
        left_out=tuple(" ".join(text.split()) for text in raw["left_out"]),
    )


def load_world(incident: Incident, name: str, today: datetime.date) -> World:
    """`today` is the day of the world that starts today."""
    if name != BEFORE and name not in world_names(incident.name):
        known = ", ".join(world_names(incident.name))
        raise UsageError(f"no world is called that; there are: {known}")
    raw = _read(_folder() / incident.name / f"{name}.yaml")

    def day(value: object) -> datetime.date:
        return today if value == "today" else _date(value)

    as_of = day(raw["as_of"])
    return World(
        name=name,
        title=raw["title"],
        # the whole day has passed: what is dated on it is known
        as_of=_moment(as_of) + datetime.timedelta(days=1, microseconds=-1),
        started=_moment(day(raw.get("started", incident.started))),
        facts={
            key: Fact(key, row["value"], row["by"], row["source"], str(day(row["date"])))
            for key, row in raw["facts"].items()
        },
    )


def _date(value: object) -> datetime.date:
    return value if isinstance(value, datetime.date) else datetime.date.fromisoformat(str(value))


def _moment(day: datetime.date) -> datetime.datetime:
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)


def transfer_ids(incident: Incident) -> tuple[str, ...]:
    """T1 to the other ministry, T2.01 … to the firms."""
    return (MINISTRY, *(f"{FIRMS}.{n:02}" for n in range(1, incident.firms + 1)))


def context(incident: Incident, world: World) -> Context:
    """The registries of a world. Consents: none is on record in any of them."""

    def table(schema: pa.Schema, rows: Sequence[Mapping[str, object]]) -> pa.Table:
        return pa.Table.from_pylist(list(rows), schema=schema)

    datasets = [
        {
            "dataset_id": part.id, "controller": "moj", "jurisdiction": "KR", "source": "direct",
            "collected_for": _COLLECTED_FOR, "legal_basis": world.value("dataset.legal_basis"),
            "representation": "source_image", "subject_key_quality": "exact",
            "has_manifest": False,
        }
        for part in incident.parts
    ]  # fmt: skip
    transfers: list[dict[str, object]] = []
    for transfer in transfer_ids(incident):
        leg = "ministry" if transfer == MINISTRY else "firms"
        told = {
            name.partition(".")[2]: fact.value
            for name, fact in world.facts.items()
            if name.startswith(f"{leg}.")
        }
        importer = "msit" if leg == "ministry" else f"firm-{transfer[-2:]}"
        transfers += [
            {
                "transfer_id": transfer, "dataset_id": part.id, "exporter_id": "moj",
                "importer_id": importer, "purpose": _USED_FOR, "from_country": "KR",
                "to_country": "KR", "started_at": world.started, **told,
            }
            for part in incident.parts
        ]  # fmt: skip
    parties = [
        {"party_id": p["id"], "name": p["name"], "type": p["type"], "country": p["country"]}
        for p in incident.parties
    ]
    parties += [
        {"party_id": f"firm-{n:02}", "name": f"company {n:02}", "type": "company", "country": "KR"}
        for n in range(1, incident.firms + 1)
    ]
    return Context(
        datasets=table(schemas.DATASETS, datasets),
        manifest_rows=schemas.MANIFEST_ROWS.empty_table(),
        consents=schemas.CONSENTS.empty_table(),
        transfers=table(schemas.TRANSFERS, transfers),
        parties=table(schemas.PARTIES, parties),
        evidence=table(schemas.EVIDENCE, _evidence(incident, world)),
    )


def _evidence(incident: Incident, world: World) -> list[dict[str, object]]:
    """`evidence.KIND: firms` is about every transfer to a firm, `datasets` about the datasets.

    `unknown`: no source says whether it is there. Of that the registry has a word, too: evidence
    about the controller as a whole, which leaves open to which file it belongs.
    """
    about = {
        "firms": [t for t in transfer_ids(incident) if t != MINISTRY],
        "datasets": [part.id for part in incident.parts],
        "unknown": ["moj"],
    }
    rows: list[dict[str, object]] = []
    for name, fact in world.facts.items():
        table, _, kind = name.partition(".")
        if table != "evidence" or fact.value is None:
            continue
        rows += [
            {
                "evidence_id": f"{kind}-{thing}", "kind": kind, "about": thing,
                "ref": fact.source, "attested_by": fact.by,
                "attested_at": _moment(datetime.date.fromisoformat(fact.date)),
            }
            for thing in about[fact.value]
        ]  # fmt: skip
    return rows

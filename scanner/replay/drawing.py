"""Draws the records of an incident, seeded, and writes them as a run's detections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner import schemas
from scanner.replay.worlds import Incident

BATCH = 1_000_000
_STORE = "replay://"
_HEX = np.array([f"{n:02x}".encode() for n in range(256)], dtype="S2").view(np.uint16)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn of one dataset."""

    dataset_id: str
    records: int
    people: int  # among whom the records were drawn; some may have none
    children: int  # of these people, under 14
    nationalities: Mapping[str, int]


def scaled(incident: Incident, records: int) -> dict[str, int]:
    """The records of each dataset when there are `records` in all: largest remainders."""
    exact = {part.id: part.records * records / incident.records for part in incident.parts}
    found = {name: int(share) for name, share in exact.items()}
    missing = records - sum(found.values())
    for name in sorted(exact, key=lambda n: found[n] - exact[n])[:missing]:
        found[name] += 1
    return found


def draw(incident: Incident, records: int, seed: int, folder: Path) -> tuple[Drawn, ...]:
    """Write `detections.parquet` and `coverage.parquet` into `folder`: one row for each photo, in
    the order of their names, then one for each column beside them."""
    drawn: list[Drawn] = []
    sizes = scaled(incident, records)
    with pq.ParquetWriter(
        folder / "detections.parquet", schemas.DETECTIONS, compression="zstd"
    ) as out:
        for number, part in enumerate(incident.parts):
            size = sizes[part.id]
            people = max(1, round(size / incident.images_per_person[part.id]))
            for start in range(0, size, BATCH):
                out.write_table(
                    _photos(part.id, number, start, min(BATCH, size - start), people, seed)
                )
            if size:
                out.write_table(_columns(incident, part.id, size))
            drawn.append(_people(incident, part.id, number, size, people, seed))
    _no_coverage(folder)
    return tuple(drawn)


def declare(incident: Incident, folder: Path) -> None:
    """Write the inventory as it is declared: so many records, none of which anybody looked at."""
    with pq.ParquetWriter(folder / "detections.parquet", schemas.DETECTIONS) as out:
        for part in incident.parts:
            rows = [_row(part.id, "photos", "biometric.face", "certain", part.records)]
            out.write_table(pa.Table.from_pylist(rows, schema=schemas.DETECTIONS))
            out.write_table(_columns(incident, part.id, part.records))
    _no_coverage(folder)


def _no_coverage(folder: Path) -> None:
    pq.write_table(schemas.COVERAGE.empty_table(), folder / "coverage.parquet")


def mixed(numbers: np.ndarray, seed: int, salt: int) -> np.ndarray:
    """64 random bits for every number (splitmix64, Steele et al. 2014)."""
    mask = (1 << 64) - 1
    key = np.uint64(((seed * 1_000_003 + salt) * 0x9E3779B97F4A7C15) & mask)
    bits = numbers.astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + key
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))


def _person_of(records: np.ndarray, part: int, people: int, seed: int) -> np.ndarray:
    """People are of one dataset only: who is in several, no source says."""
    return mixed(records, seed, part * 8 + 1) % np.uint64(people)


def _digests(people: np.ndarray, part: int, seed: int) -> pa.Array:
    """32 hex digits for every person: no real key is behind them."""
    halves = np.stack(
        [mixed(people, seed, part * 8 + 2), mixed(people, seed, part * 8 + 3)], axis=1
    )
    text = _HEX[halves.view(np.uint8).reshape(-1)]
    offsets = np.arange(len(people) + 1, dtype=np.int32) * 32
    return pa.Array.from_buffers(
        pa.string(), len(people), [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    )


def _photos(name: str, part: int, start: int, size: int, people: int, seed: int) -> pa.Table:
    numbers = np.arange(start, start + size, dtype=np.int64)
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 9, "0")
    key = pc.binary_join_element_wise(f"{name}/", digits, ".jpg", "")
    same: Mapping[str, object] = {
        "kind": "biometric.face", "representation": "source_image", "basis": "content",
        "count": 1, "confidence": 1.0, "certainty": "certain", "detector": "replay",
        "detector_version": "1", "dataset_id": name,
    }  # fmt: skip
    columns: dict[str, pa.Array] = {
        "location": pc.binary_join_element_wise(_STORE, key, ""),
        "item_id": digits,
        "subject_digest": _digests(_person_of(numbers, part, people, seed), part, seed),
        "object_key": key,
        "item_key": key,
    }
    return pa.table(
        [
            columns[field.name]
            if field.name in columns
            else pa.repeat(pa.scalar(same[field.name], field.type), size)
            if field.name in same
            else pa.nulls(size, field.type)
            for field in schemas.DETECTIONS
        ],
        schema=schemas.DETECTIONS,
    )


def _row(dataset: str, name: str, kind: str, certainty: str, count: int) -> dict[str, object]:
    key = f"{dataset}/table.parquet!/{name}"
    return {
        "location": _STORE + key, "item_id": name, "kind": kind, "count": count,
        "representation": "source_image" if kind == "biometric.face" else None,
        "basis": "field_name", "certainty": certainty, "detector": "replay",
        "detector_version": "1", "dataset_id": dataset, "item_key": key,
        "object_key": key.partition("!/")[0],
    }  # fmt: skip


def _columns(incident: Incident, dataset: str, count: int) -> pa.Table:
    rows: Sequence[dict[str, object]] = [
        _row(dataset, column.name, column.kind, column.certainty, count)
        for column in incident.columns
    ]
    return pa.Table.from_pylist(list(rows), schema=schemas.DETECTIONS)


def _people(incident: Incident, name: str, part: int, size: int, people: int, seed: int) -> Drawn:
    """Nationalities and ages are the people's own: drawn once for each."""
    mix = incident.nationality_mix[name]
    edges = np.cumsum(list(mix.values()))
    counts = np.zeros(len(mix), dtype=np.int64)
    children = 0
    for start, number in _blocks(people):
        who = np.arange(start, start + number)
        drawn = np.searchsorted(edges, _unit(who, seed, part * 8 + 4), side="right")
        counts += np.bincount(np.minimum(drawn, len(mix) - 1), minlength=len(mix))
        children += int((_unit(who, seed, part * 8 + 5) < incident.child_share).sum())
    return Drawn(name, size, people, children, dict(zip(mix, counts.tolist(), strict=True)))


def _blocks(total: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, BATCH):
        yield start, min(BATCH, total - start)


def _unit(who: np.ndarray, seed: int, salt: int) -> np.ndarray:
    """Evenly between 0 and 1."""
    return (mixed(who, seed, salt) >> np.uint64(11)).astype(np.float64) / (1 << 53)

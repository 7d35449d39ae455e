"""What the pictures of a run hold, by dataset: nobody, a portrait, some, a crowd, a document.

A collection of portraits and a photo of a crowd are different risks, and a scan of a passport is a
third. Counted are pictures, each in one group; possible faces and documents count as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scanner.model import PictureCounts

PORTRAIT_SHARE = 0.1  # of the picture, at least, is the one face of a portrait
CROWD = 10  # more faces than that in one picture

_DOCUMENT, _CROWD, _PORTRAIT, _SOME = range(4)
_GROUPS = 4
_COLUMNS = ["dataset_id", "item_id", "kind", "box", "share"]


def picture_counts(folder: Path) -> tuple[PictureCounts, ...]:
    """By dataset, from coverage.parquet and detections.parquet of a run, in the order of their ids.

    Memory does not grow with the run: rows of one picture follow each other. Raises OSError,
    pa.ArrowException.
    """
    pictures = _judged(folder / "coverage.parquet")
    groups: dict[str, NDArray[np.int64]] = {}
    for dataset, group in _grouped(folder / "detections.parquet"):
        counts = groups.setdefault(dataset, np.zeros(_GROUPS, np.int64))
        counts += group
    found = []
    for dataset in sorted({*groups, *(name for name, n in pictures.items() if n)}):
        counts = groups.get(dataset, np.zeros(_GROUPS, np.int64))
        found.append(
            PictureCounts(
                dataset_id=dataset,
                # where only a thumbnail could be judged, the picture itself was not
                no_face=max(0, pictures.get(dataset, 0) - int(counts.sum())),
                portraits=int(counts[_PORTRAIT]),
                some_faces=int(counts[_SOME]),
                crowds=int(counts[_CROWD]),
                documents=int(counts[_DOCUMENT]),
            )
        )
    return tuple(found)


def _judged(path: Path) -> dict[str, int]:
    """Pictures whose pixels were judged, by dataset."""
    found: dict[str, int] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["dataset_id", "pictures"], use_threads=False):
            rows = pa.Table.from_batches([batch])
            for row in rows.group_by("dataset_id").aggregate([("pictures", "sum")]).to_pylist():
                name = row["dataset_id"] or ""
                found[name] = found.get(name, 0) + (row["pictures_sum"] or 0)
    return found


def _grouped(path: Path) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Pictures of each group, for some pictures of one dataset at a time."""
    open_rows: pa.Table | None = None  # of a picture that may have more rows in the next batch
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=_COLUMNS, use_threads=False):
            rows = _seen(pa.Table.from_batches([batch]))
            if open_rows is not None:
                rows = pa.concat_tables([open_rows, rows]).combine_chunks()
            if not rows.num_rows:
                continue
            starts = _starts(rows)
            open_rows = rows.slice(int(starts[-1]))
            if len(starts) > 1:
                yield from _count(rows.slice(0, int(starts[-1])), starts[:-1])
    if open_rows is not None:
        yield from _count(open_rows, np.zeros(1, np.int64))


def _seen(rows: pa.Table) -> pa.Table:
    """Faces and documents that were seen in pixels: they have a box."""
    kind = rows.column("kind")
    wanted = pc.or_(pc.equal(kind, "biometric.face"), pc.starts_with(kind, "document."))
    rows = rows.filter(pc.and_(wanted, pc.is_valid(rows.column("box"))))
    return pa.table(
        {
            "dataset_id": pc.fill_null(rows.column("dataset_id"), ""),
            "item_id": rows.column("item_id"),
            "face": pc.equal(rows.column("kind"), "biometric.face"),
            "share": pc.cast(rows.column("share"), pa.float64()),
        }
    ).combine_chunks()


def _starts(rows: pa.Table) -> NDArray[np.int64]:
    """The first row of each picture."""
    item = rows.column("item_id")
    new = pc.not_equal(item.slice(1), item.slice(0, rows.num_rows - 1)).to_numpy()
    return np.concatenate([[0], np.flatnonzero(new) + 1]).astype(np.int64)


def _count(rows: pa.Table, starts: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    face = rows.column("face").to_numpy()
    share = pc.fill_null(rows.column("share"), -1.0).to_numpy()  # null: in a second view of it
    own = np.add.reduceat((face & (share >= 0)).astype(np.int64), starts)
    largest = np.maximum.reduceat(np.where(face, share, -1.0), starts)
    group = np.full(len(starts), _SOME)
    group[(own == 1) & (largest >= PORTRAIT_SHARE)] = _PORTRAIT
    group[own > CROWD] = _CROWD
    group[np.logical_or.reduceat(~face, starts)] = _DOCUMENT
    datasets = rows.column("dataset_id").take(pa.array(starts)).combine_chunks()
    codes = datasets.dictionary_encode()
    numbers = codes.indices.to_numpy()
    for number, name in enumerate(codes.dictionary.to_pylist()):
        yield name, np.bincount(group[numbers == number], minlength=_GROUPS).astype(np.int64)

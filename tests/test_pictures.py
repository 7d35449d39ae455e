"""Pictures by what they hold: every picture once, whatever the batches it is told in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import schemas
from scanner.model import PictureCounts
from scanner.pictures import CROWD, PORTRAIT_SHARE, picture_counts
from scanner.reports._words import PICTURE_WORDS

BOX = [1.0, 2.0, 3.0, 4.0]
Row = dict[str, object]


def face(item: str, share: float | None = 0.01, dataset: str | None = "a", **more: object) -> Row:
    row: Row = {"item_id": item, "kind": "biometric.face", "box": BOX, "share": share}
    return row | {"dataset_id": dataset} | more


def held(
    folder: Path, detections: list[Row], looked_at: dict[str, int], rows: int = 1_000
) -> tuple[PictureCounts, ...]:
    """Counts of a run with these detections; `looked_at`: pictures by dataset."""
    empty = dict.fromkeys(schemas.COVERAGE.names)
    coverage = [empty | {"dataset_id": name, "pictures": n} for name, n in looked_at.items()]
    coverage.append(empty | {"dataset_id": "a", "pictures": None})  # not looked at
    seen = [dict.fromkeys(schemas.DETECTIONS.names) | row for row in detections]
    pq.write_table(pa.Table.from_pylist(coverage, schemas.COVERAGE), folder / "coverage.parquet")
    pq.write_table(
        pa.Table.from_pylist(seen, schemas.DETECTIONS),
        folder / "detections.parquet",
        row_group_size=rows,
    )
    return picture_counts(folder)


PICTURES = [
    face("1", PORTRAIT_SHARE),
    face("2", PORTRAIT_SHARE - 0.01),  # one small face
    face("3", 0.2), face("3", 0.2),
    *(face("4", 0.001) for _ in range(CROWD)),
    *(face("5", 0.001) for _ in range(CROWD + 1)),
    face("6", 0.12), face("6", 0.3, kind="document.mrz"),
    face("7", 0.5), face("7", None),  # and the same in its thumbnail
    face("8", None),  # seen in the thumbnail only
    face("9", 0.3, "b"),
    face("10", 0.3, None),
    face("t", None, box=None, basis="field_name"),  # a column of a table, not a picture
    face("u", None, box=None, kind="document.mrz"),  # a zone in a text
]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 1_000])
def test_each_picture_is_counted_once(tmp_path: Path, rows: int) -> None:
    got = held(tmp_path, PICTURES, {"a": 20, "b": 1, "c": 4}, rows)
    assert got == (
        PictureCounts("", 0, 1, 0, 0, 0),
        PictureCounts("a", no_face=12, portraits=2, some_faces=4, crowds=1, documents=1),
        PictureCounts("b", 0, 1, 0, 0, 0),
        PictureCounts("c", 4, 0, 0, 0, 0),
    )


def test_the_bounds_are_those_that_reports_tell() -> None:
    assert (PORTRAIT_SHARE, CROWD) == (0.1, 10)
    assert "a tenth" in PICTURE_WORDS and "more than ten" in PICTURE_WORDS


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert held(tmp_path, [], {"a": 0}) == ()


def test_a_column_that_older_runs_lack_is_null() -> None:
    old = pa.table({"location": ["x"], "item_id": ["y"]})
    schema = pa.schema([("location", pa.string()), ("share", pa.float32())])
    assert schemas.whole(old, schema).to_pylist() == [{"location": "x", "share": None}]
    with pytest.raises(KeyError):
        schemas.whole(old, pa.schema([("kind", pa.string())]))

"""The Parquet report: sorted, labelled, private, whole, and bounded in memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.errors import UsageError
from scanner.model import SavedRun
from scanner.reports import RenderOptions, get_report
from scanner.reports import parquet as module
from scanner.schemas import AFFECTED, COVERAGE, DETECTIONS, FINDINGS

SCHEMAS = {
    "findings": FINDINGS,
    "affected": AFFECTED,
    "coverage": COVERAGE,
    "detections": DETECTIONS,
}
Make = Callable[..., SavedRun]


def export(run: SavedRun, folder: Path) -> Path:
    get_report("parquet").render(run, None, folder, RenderOptions())
    return folder


@pytest.mark.parametrize("which", ["usual", "hostile", "empty", "interrupted"])
def test_four_labelled_files_and_nothing_else(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = export(request.getfixturevalue(which), tmp_path / "new" / "out")
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{n}.parquet" for n in SCHEMAS)
    for name, schema in SCHEMAS.items():
        table = pq.read_table(folder / f"{name}.parquet")
        assert table.schema.equals(schema)
        assert table.schema.metadata[b"schema"] == b"consentry/1"
        assert (folder / f"{name}.parquet").stat().st_mode & 0o777 == 0o600


def test_rows_are_those_of_the_run_in_order(usual: SavedRun, tmp_path: Path) -> None:
    folder = export(usual, tmp_path / "out")
    coverage = pq.read_table(folder / "coverage.parquet")["location"].to_pylist()
    assert coverage == sorted(pq.read_table(usual.file("coverage"))["location"].to_pylist())
    findings = pq.read_table(folder / "findings.parquet")["finding_id"].to_pylist()
    assert findings == sorted(usual.findings["finding_id"].to_pylist())
    affected = pq.read_table(folder / "affected.parquet").to_pylist()
    assert affected == sorted(affected, key=lambda row: (row["finding_id"], row["location"]))


def affected_rows(number: int) -> list[dict[str, object]]:
    """Many findings, repeated locations, nulls, letters outside ASCII."""
    return [
        {
            "finding_id": f"f{n % 7}",
            "location": None if n % 31 == 0 else f"가/{n % 501:05}.jpg" if n % 2 else f"z{n % 97}",
            "item_id": f"{n:032x}",
            "subject_digest": None if n % 3 else f"s{n % 11}",
        }
        for n in range(number)
    ]


@pytest.mark.parametrize("order", ["sorted", "shuffled", "reversed"])
def test_bytes_do_not_depend_on_the_order_or_on_the_memory(
    order: str, usual: SavedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = affected_rows(20_000)
    table = pa.Table.from_pylist(rows, AFFECTED)
    keys = [(name, "ascending") for name in AFFECTED.names]
    expected = table.sort_by(keys)
    pq.write_table(expected, usual.file("affected"))
    one_pass = (export(usual, tmp_path / "one") / "affected.parquet").read_bytes()

    if order == "shuffled":
        random.Random(7).shuffle(rows)
    else:
        rows = expected.to_pylist()[:: 1 if order == "sorted" else -1]
    pq.write_table(pa.Table.from_pylist(rows, AFFECTED), usual.file("affected"), row_group_size=999)
    spilled: list[Path] = []
    spill = module._spill

    def counted(table: pa.Table, path: Path) -> Path:
        spilled.append(path)
        return spill(table, path)

    monkeypatch.setattr(module, "_spill", counted)
    monkeypatch.setattr(module, "_READ_ROWS", 500)
    monkeypatch.setattr(module, "_RUN_BYTES", 100_000)
    monkeypatch.setattr(module, "_MERGE_ROWS", 64)
    merged = (export(usual, tmp_path / "two") / "affected.parquet").read_bytes()
    assert len(spilled) > 5 if order != "sorted" else not spilled
    assert merged == one_pass
    assert pq.read_table(tmp_path / "two" / "affected.parquet").to_pylist() == expected.to_pylist()


def test_row_groups_have_a_fixed_size(
    usual: SavedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROW_GROUP", 1000)
    pq.write_table(pa.Table.from_pylist(affected_rows(2_500), AFFECTED), usual.file("affected"))
    file = pq.ParquetFile(export(usual, tmp_path / "out") / "affected.parquet")
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert groups == [1000, 1000, 500]


def test_old_export_is_replaced_whole(usual: SavedRun, empty: SavedRun, tmp_path: Path) -> None:
    export(usual, tmp_path / "out")
    folder = export(empty, tmp_path / "out")
    assert pq.read_table(folder / "findings.parquet").num_rows == 0


def test_missing_and_damaged_files_are_one_line(usual: SavedRun, tmp_path: Path) -> None:
    usual.file("coverage").write_bytes(b"PAR1 secret-value PAR1")
    with pytest.raises(UsageError, match="cannot be read as a table of this run") as caught:
        export(usual, tmp_path / "out")
    assert "secret-value" not in str(caught.value) and "\n" not in str(caught.value)
    usual.file("coverage").unlink()
    with pytest.raises(UsageError, match="has lost this file; scan again"):
        export(usual, tmp_path / "out")
    # what could not be written whole is not there, and nothing temporary is left
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "affected.parquet",
        "findings.parquet",
    ]


def test_wrong_columns_are_one_line(usual: SavedRun, tmp_path: Path) -> None:
    pq.write_table(pa.table({"location": ["a"]}), usual.file("affected"))
    with pytest.raises(UsageError, match="cannot be read as a table of this run"):
        export(usual, tmp_path / "out")


def test_places_that_cannot_be_written_to(usual: SavedRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the saved run itself"):
        export(usual, usual.folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made a folder"):
        export(usual, tmp_path / "file")

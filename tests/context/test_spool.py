"""A long registry on disk: as in memory, and without a name."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import schemas
from scanner.context import spool
from scanner.context.spool import Spooled, collected
from scanner.errors import ConfigError
from scanner.model import Context, DeclaredUse
from scanner.policy import judge, load_packs

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


def batches(count: int) -> list[pa.RecordBatch]:
    return [
        pa.RecordBatch.from_arrays([pa.array([n]), pa.array([str(n)])], schema=SCHEMA)
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_rows_stay_in_memory(tmp_path: Path, count: int) -> None:
    table = collected(batches(count), SCHEMA, "r", tmp_path, limit=5)
    assert isinstance(table, pa.Table)
    assert table.num_rows == count


def test_many_rows_go_to_disk_in_their_order(tmp_path: Path) -> None:
    table = collected(batches(6), SCHEMA, "r", tmp_path, limit=5)
    assert isinstance(table, Spooled)
    assert (table.num_rows, table.schema) == (6, SCHEMA)
    first, second = table.to_reader(), table.to_reader()
    first.read_next_batch()  # neither moves the other
    assert second.read_all() == pa.Table.from_batches(batches(6))
    assert first.read_all().num_rows == 5
    assert list(tmp_path.iterdir()) == []
    del table
    assert list(tmp_path.iterdir()) == []


def test_a_reader_outlives_its_table(tmp_path: Path) -> None:
    reader = collected(batches(6), SCHEMA, "r", tmp_path, limit=0).to_reader()
    assert reader.read_all().num_rows == 6


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"r: cannot be kept in .*No such file"):
        collected(batches(2), SCHEMA, "r", tmp_path / "gone", limit=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.Spooled, "append", full)
    with pytest.raises(ConfigError, match=r"No space left on device\); free space there"):
        collected(batches(2), SCHEMA, "r", tmp_path, limit=1)


def test_judging_reads_it_as_a_table(tmp_path: Path) -> None:
    found = []
    for limit in (10, 100):
        rows = [
            {"subject_digest": f"p{n}", "purpose": "train", "recipient": "acme", "state": state}
            for n, state in enumerate(["given", "withdrawn", "refused"] * 10)
        ]
        table = pa.Table.from_pylist(rows, schema=schemas.CONSENTS)
        consents = collected(table.to_batches(5), schemas.CONSENTS, "r", tmp_path, limit=limit)
        assert isinstance(consents, Spooled) == (limit == 10)
        found.append(judged(tmp_path / str(limit), consents))
    assert found[0] == found[1]
    assert {row["verdict"]: row["records"] for row in found[0]} == {
        "compliant": 10, "violation": 22,
    }  # fmt: skip


def judged(folder: Path, consents: object) -> list[dict[str, object]]:
    folder.mkdir()
    detections = [
        {
            "location": f"s3://b/{n:02}", "item_id": f"{n}", "item_key": f"{n:02}",
            "object_key": f"{n:02}", "kind": "biometric.face", "basis": "content", "count": 1,
            "confidence": 0.9, "certainty": "certain", "subject_digest": f"p{n}",
            "dataset_id": "d",
        }
        for n in range(32)
    ]  # fmt: skip
    for name, rows, schema in (
        ("detections", detections, schemas.DETECTIONS),
        ("coverage", [], schemas.COVERAGE),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    judgement = judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=Context(
            datasets=schemas.DATASETS.empty_table(),
            manifest_rows=schemas.MANIFEST_ROWS.empty_table(),
            consents=consents,
            transfers=schemas.TRANSFERS.empty_table(),
            parties=schemas.PARTIES.empty_table(),
            evidence=schemas.EVIDENCE.empty_table(),
            declared_use=DeclaredUse("train", "acme"),
        ),
        packs=load_packs(["baseline"], folder),
        as_of=datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC),
        workdir=folder / "work",
        previous={},
    )
    rows = judgement.findings.to_pylist()
    return [row for row in rows if row["rule_id"] == "BASE-CONSENT-MISSING"]

"""The ledger counts every object once, and refuses to close when one is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scanner import ledger, runs, schemas
from scanner.errors import ScannerError, UsageError
from scanner.model import RunInfo

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _row(name: str, state: str, reason: str | None = None, *, is_object: bool = True) -> ledger.Row:
    return (name, "v", 1, "text/csv", "d", state, reason, None, 1, 1, is_object)


_NESTED = _row("a!/x", "error", "depth", is_object=False)


def _info(book: ledger.Ledger) -> RunInfo:
    return RunInfo(book.id, "0", NOW, NOW, NOW, ("t",), ("baseline",), {}, ("a note",))


def test_invariant(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, NOW)
    book.add(
        [
            _row("a", "scanned"),
            _row("b", "error", "denied"),
            _row("b!/x", "error", "depth", is_object=False),
        ]
    )
    book.listed = 3
    with pytest.raises(ScannerError, match="3 objects listed but 2"):
        book.close()


def test_unknown_state_is_refused(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, NOW)
    book.add([_row("a", "fine")])
    book.listed = 1
    with pytest.raises(ScannerError):
        book.close()


def test_save_and_load(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path, NOW)
    book.add(
        [_row("b", "error", "denied"), _row("a", "partial", "depth"), _NESTED],
        [("a", "1" * 32, "biometric.face", None, "content", 2, 0.9, "certain", [1.0, 2.0, 3.0, 4.0],
          "centerface", "1", None, "d", "a", "a")],
    )  # fmt: skip
    for number in range(ledger.FLUSH_ROWS + 5):
        book.add([_row(f"n{number}", "scanned")])
    book.listed = ledger.FLUSH_ROWS + 7
    book.close()
    findings = schemas.FINDINGS.empty_table()
    saved = runs.save(
        book.folder, _info(book), exit_code=3, complete=False, rules=(), findings=findings
    )
    assert saved.coverage_counts["scanned"] == ledger.FLUSH_ROWS + 5
    assert saved.coverage_gaps.column("location").to_pylist() == ["a", "a!/x", "b"]
    assert saved.detection_counts == {"biometric.face": 2}
    assert saved.info == _info(book)
    assert pq.read_schema(saved.file("coverage")).names == schemas.COVERAGE.names
    assert runs.saved(tmp_path) == [book.folder]


@pytest.mark.parametrize("content", [None, "", "{}", '{"run": 3}', "[1"])
def test_damaged_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="not a saved run"):
        runs.load(tmp_path)


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot write"):
        ledger.Ledger(tmp_path / "file", NOW)

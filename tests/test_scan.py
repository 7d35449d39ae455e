"""The listing of several targets: one that breaks off costs itself, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from scanner import scan as scan_module
from scanner.config import Settings
from scanner.errors import StoreError
from scanner.model import ObjectInfo, StoreSpec
from scanner.scan import INCOMPLETE, scan
from scanner.stores import Store, open_store
from scanner.subjects import SubjectKey


class _Breaking:
    """A folder whose listing breaks off after its first object."""

    def __init__(self, inner: Store) -> None:
        self.spec = inner.spec
        self.location = inner.location
        self._inner = inner

    def list(self) -> Iterator[ObjectInfo]:
        yield next(iter(self._inner.list()))
        raise StoreError("listing", "page 2 failed")

    def open(self, info: ObjectInfo) -> BinaryIO:
        return self._inner.open(info)

    def renewed(self, info: ObjectInfo) -> ObjectInfo | None:
        return self._inner.renewed(info)

    def sign_in_again(self) -> None:
        self._inner.sign_in_again()


def test_the_other_targets_are_listed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.txt").write_text("x\n", encoding="utf-8")

    def opened(spec: StoreSpec) -> Store:
        store = open_store(spec)
        return _Breaking(store) if spec.url.endswith("second") else store

    monkeypatch.setattr(scan_module, "open_store", opened)
    settings = Settings(
        targets=tuple(str(tmp_path / name) for name in ("first", "second", "third")),
        output_directory=tmp_path / "out",
        jobs=1,
    )
    now = datetime(2026, 11, 22, tzinfo=UTC)
    run = scan(settings, started=now, clock=lambda: now, key=SubjectKey(bytes(32)))
    assert run.coverage_counts == {
        "scanned": 7, "unchanged": 0, "partial": 0, "excluded": 0, "error": 1,
    }  # fmt: skip
    [row] = run.coverage_gaps.to_pylist()
    assert (row["location"], row["reason"]) == (f"{tmp_path}/second/", "listing")
    assert (run.complete, run.exit_code) == (False, INCOMPLETE)
    notes = [note for note in run.info.notes if str(tmp_path) in note]
    assert notes == [f"{tmp_path}/second: the listing broke off: page 2 failed"]

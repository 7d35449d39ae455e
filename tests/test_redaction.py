"""`--redact-paths`: no name of an object is left in any report, and one name has one pseudonym."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner import schemas
from scanner.errors import UsageError
from scanner.model import Kept, SavedRun
from scanner.redaction import redacted, redacted_kept
from scanner.reports import RenderOptions, all_reports
from scanner.subjects import SubjectKey
from tests.saving import make_run

KEY = SubjectKey(b"k" * 32)
CANARY = "kimminji"
NAMES = (
    f"s3://bucket-{CANARY}/faces/{CANARY}.JPG",
    f"s3://bucket-{CANARY}/faces/{CANARY}.tar.gz!/in/{CANARY}.png",
    f"s3://bucket-{CANARY}/faces/{CANARY} two words.zip!/a.zip!/row=17/{CANARY}",
    f"s3://bucket-{CANARY}/faces/x.{CANARY}",
)
_PATH = re.compile(r"path:[0-9a-f]{32}(\.[a-z0-9]+)*(!/member:[0-9a-f]{32}(\.[a-z0-9]+)*)*")


@pytest.fixture
def run(tmp_path: Path) -> SavedRun:
    target = f"s3://bucket-{CANARY}/faces"
    return make_run(
        tmp_path,
        names=NAMES,
        gaps=[f"{NAMES[1]}!/x", f"/data/{CANARY}.jpg"],
        targets=(target, f"./my {CANARY} photos"),
        policies=("baseline", f"./{CANARY}/rules"),
        notes=(
            f"{target}: the listing broke off: HTTP 503",
            f"./my {CANARY} photos: there is nothing to scan",
            f"see /home/{CANARY}/x, {CANARY}.csv and C:\\{CANARY}\\y (or ~/{CANARY}).",
        ),
        settings={
            "config": f"{CANARY}.yaml",
            "include": [f"{CANARY}/**"],
            "exclude": ["*.tmp", f"old-{CANARY}.*"],
            "purpose": "ai-training",
        },
    )


def reports(run: SavedRun, folder: Path) -> dict[str, bytes]:
    """Every format as bytes; Parquet as the text of its rows."""
    told = {}
    options = RenderOptions(width=400, show_compliant=True)
    for name, report in all_reports().items():
        if report.folder:
            report.render(run, None, folder, options)
            rows = {p.name: pq.read_table(p).to_pylist() for p in sorted(folder.iterdir())}
            told[name] = repr(rows).encode()
        else:
            out = io.BytesIO()
            report.render(run, out, None, options)
            told[name] = out.getvalue()
    return told


def test_no_name_is_left_in_any_format(run: SavedRun, tmp_path: Path) -> None:
    for name, text in reports(run, tmp_path / "plain").items():
        assert CANARY.encode() in text, name  # else this test would show nothing
    with redacted(run, KEY) as view:
        told = reports(view, tmp_path / "out")
    for name, text in told.items():
        assert CANARY.encode() not in text, name
        assert b"bucket-" not in text, name
        assert b"path:" in text or b"path%3A" in text or name == "csv", name
        assert f"{0:032x}".encode() not in text, name  # an item's id is a digest of its name


def test_the_saved_run_keeps_the_names(run: SavedRun, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in run.folder.iterdir()}
    with redacted(run, KEY) as view:
        scratch = view.folder
        assert scratch != run.folder
        assert scratch.stat().st_mode & 0o777 == 0o700
    assert not scratch.exists()
    assert {p.name: p.read_bytes() for p in run.folder.iterdir()} == before


def test_nesting_and_extension_stay(run: SavedRun) -> None:
    with redacted(run, KEY, files=False) as view:
        (finding,) = view.findings.to_pylist()
        samples = finding["sample_locations"]
    assert all(_PATH.fullmatch(name) for name in samples), samples
    plain = [re.sub("[0-9a-f]{32}", "…", name) for name in samples]
    assert plain == [
        "path:….jpg",
        "path:….tar.gz!/member:….png",
        "path:….zip!/member:….zip!/member:…",
    ]


def test_one_name_has_one_pseudonym_everywhere(run: SavedRun, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", 1, names=[NAMES[0], "b"])
    with redacted(run, KEY) as view, redacted(other, KEY) as second:
        (finding,) = view.findings.to_pylist()
        name = finding["sample_locations"][0]
        for table in ("coverage", "affected", "detections"):
            assert pq.read_table(view.file(table))["location"][0].as_py() == name
            assert pq.read_table(second.file(table))["location"][0].as_py() == name
        assert name.startswith("path:")
        everything = pq.read_table(view.file("detections")).to_pylist()
        assert len({row["location"] for row in everything}) == len(NAMES)
        assert everything[0]["object_key"] == everything[0]["item_key"] == name
        target, second_target = view.info.targets
        assert view.info.notes[0] == f"{target}: the listing broke off: HTTP 503"
        assert view.info.notes[1] == f"{second_target}: there is nothing to scan"
    with redacted(run, SubjectKey(b"o" * 32), files=False) as foreign:
        assert foreign.findings["sample_locations"][0][0].as_py() != name


def test_what_is_no_name_stays(run: SavedRun) -> None:
    with redacted(run, KEY, files=False) as view:
        (finding,) = view.findings.to_pylist()
        assert finding["reason"] == "4 records: no consent on record"
        assert view.info.settings["exclude"][0] == "*.tmp"  # type: ignore[index]
        assert view.info.settings["purpose"] == "ai-training"
        assert view.info.policies[0] == "baseline"
        assert view.rules == run.rules
        assert view.coverage_counts == run.coverage_counts
        assert view.coverage_gaps["reason"].to_pylist() == ["denied", "denied"]


@pytest.mark.parametrize(
    ("reason", "stays"),
    [("denied", True), ("rule:symlink", True), ("rule:*.tmp", True), ("rule:**/*.jpg", True),
     ("rule:kim/**", False), ("rule:kim*.jpg", False)],
)  # fmt: skip
def test_rules_that_name_somebody(tmp_path: Path, reason: str, stays: bool) -> None:
    run = make_run(tmp_path, gaps=["x"])
    gaps = run.coverage_gaps.set_column(6, run.coverage_gaps.schema.field(6), [[reason]])
    assert gaps.schema.names[6] == "reason"
    import dataclasses

    with redacted(dataclasses.replace(run, coverage_gaps=gaps), KEY, files=False) as view:
        (told,) = view.coverage_gaps["reason"].to_pylist()
    assert (told == reason) == stays
    assert told.split(":")[0] == reason.split(":")[0]


def test_a_pseudonym_is_no_subject_digest() -> None:
    derived = KEY.derived("consentry path pseudonyms 1")
    assert derived.exact_digest("kim") != KEY.digest("kim")
    assert derived != KEY.derived("something else")
    # nothing is trimmed, and no text says that there is none
    assert len({derived.exact_digest(t) for t in ("", " ", "null", "7", "7.0", "\udcff")}) == 6


def test_a_run_that_lost_a_file_is_one_line(run: SavedRun) -> None:
    run.file("affected").unlink()
    with pytest.raises(UsageError, match="lost this file"), redacted(run, KEY):
        pass
    run.file("affected").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be copied without its names"), redacted(run, KEY):
        pass


def test_what_a_run_keeps_names_no_object(run: SavedRun) -> None:
    place = f"s3://bucket-{CANARY}/faces/{CANARY}.JPG"
    rows: dict[str, dict[str, object]] = {
        "datasets": {"dataset_id": "d", "legal_basis": f"see {place}", "collected_for": "x"},
        "transfers": {"transfer_id": "T", "agreement_ref": place, "published_ref": f"{place}."},
        "evidence": {"evidence_id": "E", "ref": f"/home/{CANARY}/dpia.pdf", "about": "d"},
        "facts": {"finding_id": "f", "part": "proof", "value": f"E by ~/{CANARY}/x"},
    }
    kept = Kept(
        **{
            name: pa.Table.from_pylist([row], getattr(schemas, name.upper()))
            for name, row in rows.items()
        }
    )
    view = redacted_kept(run, kept, KEY)
    for name in rows:
        told = getattr(view, name).to_pylist()
        assert CANARY not in str(told) and "path:" in str(told), name
    assert view.parties is None
    assert view.datasets is not None
    assert view.datasets["collected_for"].to_pylist() == ["x"]

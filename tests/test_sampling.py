"""Sampled runs: what is drawn, what is stated, and that a later scan is not misled by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from scanner import schemas
from scanner.binomial import upper_bound
from scanner.config import Overrides, Settings, load_settings
from scanner.errors import ConfigError
from scanner.model import SavedRun, printable
from scanner.policy import finding_id
from scanner.sampling import Draw, bound_note, never_compliant, object_location, percent
from scanner.scan import BOTH, INCOMPLETE, scan
from scanner.subjects import SubjectKey

KEY = SubjectKey(bytes(range(32)))
NOW = datetime(2026, 11, 22, tzinfo=UTC)
OBJECTS = 60


def draw(share: float = 0.25, key: SubjectKey = KEY) -> Draw:
    return Draw(share, key)


NAMES = [f"d/{n:04}.txt" for n in range(20_000)]


def test_the_share_is_about_what_was_asked_for() -> None:
    """Within five standard deviations, for a key that was not chosen."""
    for share in (0.01, 0.25, 0.9):
        taken = sum(map(draw(share).takes, NAMES))
        assert abs(taken - share * len(NAMES)) < 5 * (len(NAMES) * share * (1 - share)) ** 0.5


def test_the_draw_is_the_same_in_every_run_and_another_with_another_key() -> None:
    here = list(map(draw().takes, NAMES[:500]))
    assert here == list(map(draw().takes, NAMES[:500]))
    assert here != list(map(draw(key=SubjectKey(bytes(32))).takes, NAMES[:500]))


def test_a_smaller_sample_lies_in_a_larger_one() -> None:
    small, large = draw(0.05), draw(0.2)
    assert all(large.takes(name) for name in NAMES[:3000] if small.takes(name))


def test_a_name_that_is_not_utf8_is_drawn_as_it_is_printed() -> None:
    names = [f"a{n}\udcff" for n in range(200)]
    sample = draw()
    assert {sample.count(name) for name in names} == {True, False}
    assert all(sample.count(name) == sample.takes(printable(name)) for name in names)


@pytest.mark.parametrize(
    ("text", "share"),
    [("1%", 0.01), ("0.5 %", 0.005), ("0.01", 0.01), ("50%", 0.5), ("100%", None), (" 2% ", 0.02)],
)
def test_shares_as_they_are_written(text: str, share: float | None) -> None:
    found = load_settings(None, Overrides(sample=text)).sample
    assert found == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("text", ["", "1", "0", "0%", "-1%", "101%", "nan", "inf%", "%", "all"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match="--sample: expected a share"):
        load_settings(None, Overrides(sample=text))


def test_the_share_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "consentry.yaml"
    for text, share in (("1%", 0.01), ("0.2", 0.2), ("'0.2'", 0.2), ("100%", None)):
        file.write_text(f"version: 1\nsample: {text}\n", encoding="utf-8")
        assert load_settings(file).sample == share
    file.write_text("version: 1\nsample: 1%\n", encoding="utf-8")
    assert load_settings(file, Overrides(sample="100%")).sample is None
    for text in ("1", "[1%]", "true", "x"):
        file.write_text(f"version: 1\nsample: {text}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="sample: expected"):
            load_settings(file)


# ---------------------------------------------------------------- whole runs


@pytest.fixture
def target(tmp_path: Path, face_jpeg: bytes) -> Path:
    """Sixty objects; every tenth one shows a face."""
    folder = tmp_path / "target"
    folder.mkdir()
    for n in range(OBJECTS):
        if n % 10:
            (folder / f"{n:02}.txt").write_text(f"line {n}\n", encoding="utf-8")
        else:
            (folder / f"{n:02}.jpg").write_bytes(face_jpeg)
    return folder


Scan = Callable[..., SavedRun]


@pytest.fixture
def run(target: Path, tmp_path: Path) -> Scan:
    started = iter(NOW + timedelta(minutes=n) for n in range(100))

    def once(sample: float | None = None, **options: object) -> SavedRun:
        stop = options.pop("stop", lambda: False)
        assert callable(stop)
        settings = Settings(
            targets=(str(target),),
            output_directory=tmp_path / "out",
            jobs=1,
            sample=sample,
            **options,  # type: ignore[arg-type]
        )
        return scan(settings, started=next(started), clock=lambda: NOW, key=KEY, stop=stop)

    return once


def coverage(run: SavedRun) -> dict[str, tuple[str, str | None]]:
    rows = pq.read_table(run.folder / "coverage.parquet").to_pylist()
    return {Path(r["location"]).name: (r["state"], r["reason"]) for r in rows if r["is_object"]}


def test_what_is_not_drawn_is_partial_and_the_bound_is_stated(run: Scan, target: Path) -> None:
    found = run(0.3)
    names = sorted(path.name for path in target.iterdir())
    drawn = {name for name in names if draw(0.3).takes(name)}
    assert 0 < len(drawn) < OBJECTS
    assert coverage(found) == {
        name: ("scanned", None) if name in drawn else ("partial", "sampled") for name in names
    }
    assert (found.complete, found.exit_code) in ((False, INCOMPLETE), (False, BOTH))
    faces = sum(name.endswith(".jpg") for name in drawn)
    [note] = [note for note in found.info.notes if note.startswith("--sample")]
    bound = upper_bound(faces, len(drawn))
    assert note.startswith(
        f"--sample 30%: {len(drawn)} of 60 objects were drawn, {faces} of these hold faces; "
    )
    assert percent(bound, up=True) in note
    assert note.endswith(f"{int(bound * 60)} at most")
    assert "compliant" not in found.findings.column("verdict").to_pylist()
    assert found.info.settings["sample"] == 0.3

    # the same sample is drawn again, whatever else is new
    (target / "new.txt").write_text("x\n", encoding="utf-8")
    again = coverage(run(0.3))
    assert again.pop("new.txt") in (("scanned", None), ("partial", "sampled"))
    assert {name for name, (state, _) in again.items() if state == "unchanged"} == drawn

    # a full scan looks at the rest, and sees what is there
    full = run()
    assert full.complete
    assert not [note for note in full.info.notes if "--sample" in note]
    states = coverage(full)
    assert {name: states[name] for name in names} == {
        name: ("unchanged" if name in drawn else "scanned", None) for name in names
    }
    faces_seen = pq.read_table(full.folder / "detections.parquet", columns=["kind", "object_key"])
    of_faces = faces_seen.filter(pc.field("kind") == "biometric.face").column("object_key")
    assert set(of_faces.to_pylist()) == {name for name in names if name.endswith(".jpg")}


def test_a_full_scan_after_an_interrupted_sample_looks_at_the_rest(run: Scan) -> None:
    """What an interrupted run settled is taken over as it stands, but not what it left out."""
    asked = iter([False] * 3)
    stopped = run(0.3, stop=lambda: next(asked, True))
    assert stopped.info.interrupted
    assert not [note for note in stopped.info.notes if note.startswith("--sample")]
    full = run()
    assert full.complete
    assert len(coverage(full)) == OBJECTS
    assert "partial" not in {state for state, _ in coverage(full).values()}

    # and a sample after that throws nothing away
    again = run(0.1)
    assert set(coverage(again).values()) == {("unchanged", None)}
    assert again.complete
    assert not [note for note in again.info.notes if note.startswith("--sample")]


def test_a_clean_sample_is_incomplete_and_is_not_drawn_from_what_is_excluded(run: Scan) -> None:
    found = run(0.5, exclude=("*.jpg",))
    assert f" of {OBJECTS - OBJECTS // 10} objects were drawn, 0 of these" in found.info.notes[-1]
    states = [state for state, _ in coverage(found).values()]
    assert states.count("excluded") == OBJECTS // 10
    assert found.exit_code == INCOMPLETE


# ---------------------------------------------------------------- findings and bounds


def finding(verdict: str, rule: str = "R", **more: object) -> dict[str, object]:
    row = dict.fromkeys(schemas.FINDINGS.names) | {
        "rule_id": rule, "verdict": verdict, "dataset_id": "d", "records": 3, "subjects": 2,
        "sample_locations": ["a"], "finding_id": finding_id(rule, verdict, "d", None, None, None),
    }  # fmt: skip
    return row | more


def test_compliant_becomes_review() -> None:
    table = pa.Table.from_pylist(
        [
            finding("compliant"),
            finding("compliant", "S"),
            finding("review", "S"),
            finding("violation"),
        ],
        schema=schemas.FINDINGS,
    )
    first = finding_id("R", "review", "d", None, None, None)
    before = NOW - timedelta(days=3)
    rows = never_compliant(table, {first: before}, NOW).to_pylist()
    assert [(r["rule_id"], r["verdict"], r["records"]) for r in rows] == [
        ("R", "review", 0),
        ("S", "review", 3),
        ("R", "violation", 3),
    ]
    assert rows[0]["finding_id"] == first
    assert (rows[0]["first_seen"], rows[0]["sample_locations"]) == (before, [])
    assert "sample" in rows[0]["reason"]


def _tables(folder: Path, faces: list[str], broken: list[str]) -> None:
    seen = [
        dict.fromkeys(schemas.DETECTIONS.names)
        | {"kind": "biometric.face", "location": f"/t/{key}!/x", "object_key": key}
        for key in faces
        for _ in range(3)
    ]
    rows = [
        dict.fromkeys(schemas.COVERAGE.names)
        | {"location": f"/t/{key}", "state": "error", "reason": "malformed", "is_object": True}
        for key in broken
    ] + [
        dict.fromkeys(schemas.COVERAGE.names)
        | {"location": "/t/other", "state": "partial", "reason": "sampled", "is_object": True}
    ]
    pq.write_table(
        pa.Table.from_pylist(seen, schema=schemas.DETECTIONS), folder / "detections.parquet"
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.COVERAGE), folder / "coverage.parquet")


def test_what_could_not_be_looked_at_counts_as_a_face(tmp_path: Path) -> None:
    sample = draw(0.5)
    drawn = [name for name in NAMES[:200] if sample.count(name)]
    others = [name for name in NAMES[:200] if name not in drawn]
    _tables(
        tmp_path, [*drawn[:4], *others[:5]], drawn[3:6]
    )  # one of them shows a face all the same
    note = bound_note(sample, tmp_path)
    assert f"{len(drawn)} of 200 objects were drawn, 4 of these hold faces, 2 could not" in note
    assert percent(upper_bound(6, len(drawn)), up=True) in note


def test_the_number_is_never_more_than_there_can_be(tmp_path: Path) -> None:
    sample = draw(0.9)
    drawn = sum(sample.count(name) for name in NAMES[:20])
    _tables(tmp_path, [], [])
    assert bound_note(sample, tmp_path).endswith(f" do, {20 - drawn} at most")


def test_where_an_object_ends_in_a_location() -> None:
    assert object_location("/t/a.jpg", "a.jpg") == "/t/a.jpg"
    assert object_location("/t/a.zip!/a.zip", "a.zip") == "/t/a.zip"
    assert object_location("/t/a/a!/x", "a") == "/t/a/a"
    assert object_location("s3://b/p/x!/y", "p/x") == "s3://b/p/x"
    assert object_location("/one.jpg!/exif-thumbnail", "one.jpg") == "/one.jpg"


@pytest.mark.parametrize(
    ("share", "up", "text"),
    [(0.01, False, "1%"), (0.005, False, "0.5%"), (0.1234567, True, "12.4%"), (1.0, True, "100%"),
     (0.0, True, "0%"), (0.000012345, True, "0.00124%"), (0.3, False, "30%")],
)  # fmt: skip
def test_percentages(share: float, up: bool, text: str) -> None:
    assert percent(share, up=up) == text

"""Saved runs as a scan would leave them: realistic, hostile, empty, interrupted and large."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.model import Location, PictureCounts, RuleText, RunInfo, SavedRun, item_id
from scanner.reports import RenderOptions, get_report
from scanner.schemas import AFFECTED, COVERAGE, DETECTIONS, FINDINGS

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
Row = dict[str, object]

# Names that anybody could give to a file.
HOSTILE = (
    "=1+1.jpg",
    "<script>alert(1)</script>.jpg",
    "\x1b[2J\x1b[31mred.jpg",
    "two\nlines.jpg",
    "gpj.\u202eexe.jpg",
    "얼굴 사진/외국인_여권.jpg",
    "e\u0301 & 'quotes\" \\x41.jpg",
    "\u2028separator\u0085next.jpg",
    "../../etc/passwd",
    "{{ 7*7 }}{% raw %}.jpg",
    "k" * 290 + "/last.jpg",
    "가" * 300 + ".jpg",
)

RULES = (
    RuleText(
        id="KR-PIPA-17-FACE-NO-BASIS",
        version="1",
        pack="kr-pipa",
        title="Face data provided to a third party with neither consent nor a statutory basis",
        level="error",
        law_cite="PIPA 17(1), 18(1)",
        citation="verified",
        duty="Personal information may be provided to a third party only with the consent of "
        "the person, or where the law allows it.",
        remedy="Obtain separate consent naming the recipient, or record the statutory basis.",
        link="https://www.law.go.kr/LSW/lsInfoP.do?lsId=011357",
    ),
    RuleText(
        id="KR-PIPA-26-UNPUBLISHED",
        version="2",
        pack="kr-pipa",
        title="Outsourced processing that is not published",
        level="error",
        law_cite="PIPA 26(2)",
        citation="verified",
        duty="Who outsources the processing of personal information must publish who does it.",
        remedy="Publish the processor and its task on the website, and record where.",
    ),
    RuleText(
        id="BASE-CONSENT-MISSING",
        version="1",
        pack="baseline",
        title="Biometric data without a valid consent",
        level="error",
        law_cite="organisation policy",
        citation="verified",
        duty="Biometric data is used only where a consent for purpose and recipient is on record.",
        remedy="Drop the listed records, or record the missing consents.",
    ),
    RuleText(
        id="BASE-TEMPLATE-STORED",
        version="1",
        pack="baseline",
        title="A template or embedding is stored, not a photo",
        level="warning",
        law_cite="organisation policy",
        citation="verified",
        duty="Templates recognise a person; they need a stated reason.",
        remedy="Delete the column, or state why it is needed.",
    ),
    RuleText(
        id="EU-GDPR-35-DPIA",
        version="1",
        pack="eu-gdpr",
        title="Large-scale biometric processing without an impact assessment on record",
        level="warning",
        law_cite="GDPR 35(3)(b)",
        citation="secondary",
        duty="Large-scale processing of special categories needs an impact assessment first.",
        remedy="Record the assessment (kind DPIA) and who signed it.",
        link="javascript:alert(1)",
    ),
)


def finding(number: int, rule: RuleText, verdict: str, **more: object) -> Row:
    row: Row = {
        "finding_id": f"{number:032x}",
        "rule_id": rule.id,
        "rule_version": rule.version,
        "pack": rule.pack,
        "law_cite": rule.law_cite,
        "verdict": verdict,
        "level": rule.level,
        "dataset_id": "foreign-entrants",
        "transfer_id": "T2.01",
        "purpose": "ai-training",
        "recipient": "acme-vision",
        "jurisdiction": "KR",
        "records": 1234,
        "subjects": 57,
        "subjects_is_upper_bound": False,
        "sample_locations": ["s3://moj-export/faces/foreign/000123_01.jpg"],
        "reason": "1,234 face images go to acme-vision; for 57 people no consent names it.",
        "remedy": rule.remedy,
        "first_seen": NOON - timedelta(days=3),
        "evaluated_at": NOON,
        "suppressed_by": None,
    }
    return row | more


def gap(location: str, state: str, reason: str | None, **more: object) -> Row:
    row: Row = dict.fromkeys(COVERAGE.names)
    row |= {"location": location, "state": state, "reason": reason, "is_object": True}
    return row | {"dataset_id": "unassigned", "items_seen": 0} | more


def saved(
    folder: Path,
    findings: Sequence[Row],
    gaps: Sequence[Row] = (),
    counts: Mapping[str, int] | None = None,
    detections: Mapping[str, int] | None = None,
    exit_code: int = 0,
    complete: bool = True,
    rules: Sequence[RuleText] = RULES,
    pictures: Sequence[PictureCounts] = (),
    **info: object,
) -> SavedRun:
    """A saved run with all its files, as scan() leaves them (coverage unsorted)."""
    folder.mkdir(parents=True, exist_ok=True)
    run_info: dict[str, object] = {
        "id": "20261122-120000-7f3a",
        "version": "0.1.0",
        "started": NOON - timedelta(minutes=4),
        "finished": NOON,
        "as_of": NOON,
        "targets": ("s3://moj-export/faces/",),
        "policies": ("baseline", "kr-pipa"),
        "settings": {"purpose": "ai-training", "recipient": "acme-vision", "to": "KR"},
    }
    table = pa.Table.from_pylist(list(findings), FINDINGS)
    gap_table = pa.Table.from_pylist(list(gaps), COVERAGE)
    seen = [gap(f"s3://moj-export/faces/{n:04}.jpg", "scanned", None) for n in (3, 1, 2)]
    places = [
        (str(row["finding_id"]), str(place))
        for row in findings
        if isinstance(row["sample_locations"], list)
        for place in row["sample_locations"]
    ]
    affected = [
        {"finding_id": f, "location": p, "item_id": item_id(p, Location(p)), "subject_digest": None}
        for f, p in reversed(places)
    ]
    detected = [
        dict.fromkeys(DETECTIONS.names)
        | {
            "location": str(row["location"]),
            "kind": "biometric.face",
            "confidence": 0.9,
            "count": 1,
        }
        for row in seen
    ]
    for name, rows, schema in (
        ("findings", list(findings), FINDINGS),
        ("affected", affected, AFFECTED),
        ("coverage", [*seen, *gaps], COVERAGE),
        ("detections", detected, DETECTIONS),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")
    return SavedRun(
        folder=folder,
        info=RunInfo(**(run_info | info)),  # type: ignore[arg-type]
        exit_code=exit_code,
        complete=complete,
        rules=tuple(rules),
        findings=table,
        coverage_counts=counts if counts is not None else {"scanned": 3},
        coverage_gaps=gap_table,
        detection_counts=detections if detections is not None else {"biometric.face": 1234},
        pictures=tuple(pictures),
    )


def usual_findings() -> list[Row]:
    face, unpublished, consent, template, dpia = RULES
    return [
        finding(6, dpia, "compliant", dataset_id="citizens", transfer_id=None, recipient=None),
        finding(1, face, "violation"),
        finding(
            2,
            unpublished,
            "violation",
            records=24,
            subjects=None,
            sample_locations=[],
            reason="24 transfers to processors are not published anywhere that is on record.",
        ),
        finding(
            3,
            template,
            "violation",
            transfer_id=None,
            recipient=None,
            subjects=900,
            subjects_is_upper_bound=True,
            sample_locations=["s3://moj-export/faces/people.parquet!/row=17/embedding"],
            reason="A column of 512 numbers a row looks like face templates.",
        ),
        finding(
            4,
            consent,
            "review",
            records=3,
            subjects=None,
            reason="For 3 images nobody knows who they show, so no consent can be looked up.",
        ),
        finding(
            5,
            dpia,
            "review",
            jurisdiction="EU",
            dataset_id="법무부 외국인 얼굴",
            reason="Whether this is large-scale is for a person to say; the law gives no number.",
        ),
        finding(
            7, consent, "violation", suppressed_by="privacy-team until 2027-01-31: test people"
        ),
    ]


def usual_gaps() -> list[Row]:
    return [
        gap(
            "s3://moj-export/faces/locked.zip", "partial", "encrypted", items_seen=4, items_total=9
        ),
        gap("s3://moj-export/faces/secret/0001.jpg", "error", "denied", detail="GetObject: 403"),
        gap("s3://moj-export/faces/secret/0002.jpg", "error", "denied", detail="GetObject: 403"),
        gap("s3://moj-export/faces/notes.tmp", "excluded", "rule:*.tmp"),
        gap("s3://moj-export/faces/a.zip!/b.7z", "partial", "unsupported", is_object=False),
    ]


@pytest.fixture
def usual(tmp_path: Path) -> SavedRun:
    """Three violations, two reviews, one passed check, one suppressed finding, five gaps."""
    return saved(
        tmp_path / "usual",
        usual_findings(),
        usual_gaps(),
        counts={"scanned": 1200, "unchanged": 300, "partial": 1, "excluded": 1, "error": 2},
        detections={"biometric.face": 1234, "attribute.nationality": 900, "document.id_card": 3},
        exit_code=4,
        complete=False,
        pictures=(
            PictureCounts("citizens", 0, 1, 0, 0, 0),
            PictureCounts("법무부 외국인 얼굴", 12, 1_180, 40, 3, 2),
        ),
        notes=(
            "The consent registry holds 12 rows with an unknown state; they were read as refused.",
        ),
    )


@pytest.fixture
def hostile(tmp_path: Path) -> SavedRun:
    """Every hostile name in every place that a name can reach."""
    rows = [
        finding(
            number,
            RULES[number % len(RULES)],
            "violation" if number % 2 else "review",
            dataset_id=name,
            transfer_id=name,
            recipient=name,
            purpose=name,
            reason=f"About {name}",
            remedy=name,
            suppressed_by=name if number % 5 == 4 else None,
            sample_locations=[f"s3://moj-export/{name}", f"/data/{name}!/{name}"],
        )
        for number, name in enumerate(HOSTILE)
    ]
    gaps = [gap(f"s3://moj-export/{name}", "error", "denied", detail=name) for name in HOSTILE]
    gaps += [gap(f"/x/{name}", "excluded", f"rule:{name}") for name in HOSTILE]
    return saved(
        tmp_path / "hostile",
        rows,
        gaps,
        counts={"scanned": 5, "excluded": len(HOSTILE), "error": len(HOSTILE)},
        exit_code=4,
        complete=False,
        pictures=[PictureCounts(name, 1, 2, 3, 4, 5) for name in HOSTILE],
        targets=HOSTILE,
        notes=HOSTILE,
        settings={"purpose": HOSTILE[2], "recipient": HOSTILE[1], "surrogate": "\udcff"},
    )


@pytest.fixture
def empty(tmp_path: Path) -> SavedRun:
    """Everything looked at, nothing found."""
    return saved(tmp_path / "empty", [], counts={"scanned": 812}, detections={})


@pytest.fixture
def interrupted(tmp_path: Path) -> SavedRun:
    return saved(
        tmp_path / "interrupted",
        [],
        [gap("s3://moj-export/faces/0009.jpg", "error", "interrupted")],
        counts={"scanned": 8, "error": 1},
        detections={"biometric.face": 8},
        exit_code=130,
        complete=False,
        interrupted=True,
    )


@pytest.fixture
def large(tmp_path: Path) -> SavedRun:
    """2,000 findings and 5,000 gaps."""
    rows = [
        finding(
            number,
            RULES[number % len(RULES)],
            ("violation", "review", "compliant", "violation")[number % 4],
            dataset_id=f"set-{number % 37:02}",
            transfer_id=f"T{number}",
        )
        for number in range(2000)
    ]
    gaps = [gap(f"s3://moj-export/{n:05}.jpg", "error", "denied") for n in range(5000)]
    return saved(
        tmp_path / "large",
        rows,
        gaps,
        counts={"scanned": 1_000_000, "error": 5000},
        exit_code=4,
        complete=False,
    )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., SavedRun]:
    """`saved` in a fresh folder: `make_run(findings, gaps, counts=…)`."""

    def make(findings: Sequence[Row] = (), gaps: Sequence[Row] = (), **more: object) -> SavedRun:
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        return saved(folder, findings, gaps, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_finding() -> Callable[..., Row]:
    """A findings row of the first rule: `make_finding(1, "violation", records=3)`."""
    return lambda number, verdict, **more: finding(number, RULES[0], verdict, **more)


@pytest.fixture
def make_gap() -> Callable[..., Row]:
    return gap


@pytest.fixture
def render() -> Callable[..., bytes]:
    """The bytes of a text report: `render("json", run, width=100)`."""

    def rendered(name: str, run: SavedRun, **options: object) -> bytes:
        out = io.BytesIO()
        get_report(name).render(run, out, None, RenderOptions(**options))  # type: ignore[arg-type]
        assert not out.closed
        return out.getvalue()

    return rendered

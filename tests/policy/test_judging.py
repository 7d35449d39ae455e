"""Judging real tables: findings, affected items, ids, samples, and nothing that leaks."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner import schemas
from scanner.errors import PolicyError, ScannerError
from scanner.model import DeclaredUse
from scanner.policy import Judgement, Pack, Rule, finding_id, judge, load_packs
from scanner.policy.judging import _open
from scanner.policy.verdicts import Bench
from scanner.purposes import Purposes
from tests.policy.contexts import context_of

AS_OF = datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC)
Rows = list[dict[str, object]]


def detection(item: str, subject: str | None = None, **more: object) -> dict[str, object]:
    return {
        "location": f"s3://b/{item}",
        "item_id": item,
        "item_key": item,
        "object_key": item.split("!/")[0],
        "kind": "biometric.face",
        "representation": "source_image",
        "basis": "content",
        "count": 1,
        "confidence": 0.9,
        "certainty": "certain",
        "subject_digest": subject,
        "dataset_id": "d",
        **more,
    }


def run(
    folder: Path,
    detections: Rows,
    *,
    packs: tuple[Pack, ...] | None = None,
    declared: DeclaredUse | None = None,
    previous: Mapping[str, datetime.datetime] | None = None,
    tables: Mapping[str, Rows] | None = None,
    purposes: Purposes | None = None,
) -> Judgement:
    rows_of = tables or {}
    folder.mkdir(exist_ok=True)
    for name, rows, schema in (
        ("detections", detections, schemas.DETECTIONS),
        ("coverage", rows_of.get("coverage", []), schemas.COVERAGE),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    context = context_of(
        rows_of, declared_use=declared or DeclaredUse(), purposes=purposes or Purposes()
    )
    return judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=context,
        packs=packs if packs is not None else load_packs(["baseline"], folder),
        as_of=AS_OF,
        workdir=folder / "work",
        previous=previous or {},
    )


def row_of(judgement: Judgement, rule: str, verdict: str) -> dict[str, object]:
    (row,) = [
        row
        for row in judgement.findings.to_pylist()
        if row["rule_id"] == rule and row["verdict"] == verdict
    ]
    return dict(row)


CONSENTS: Rows = [
    {"subject_digest": f"p{n}", "purpose": "train", "recipient": "acme", "state": state}
    for n, state in enumerate(["given", "given", "withdrawn", "withdrawn", "refused"])
]
USE = DeclaredUse(purpose="train", recipient="acme")


def test_a_finding_in_full(tmp_path: Path) -> None:
    detections = [detection(f"{n}.jpg", f"p{n}") for n in range(9)]
    detections += [detection("9.jpg", None), detection("2.jpg", "p2", kind="attribute.age")]
    earlier = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    id_ = finding_id("BASE-CONSENT-MISSING", "violation", "d", None, "train", "acme")
    tables: dict[str, Rows] = {
        "consents": CONSENTS,
        "datasets": [{"dataset_id": "d", "jurisdiction": "kr"}],
    }
    got = run(tmp_path, detections, declared=USE, previous={id_: earlier}, tables=tables)
    assert got.findings.schema == schemas.FINDINGS
    row = row_of(got, "BASE-CONSENT-MISSING", "violation")
    assert row == row | {
        "finding_id": id_,
        "law_cite": "organisation policy",
        "level": "error",
        "dataset_id": "d",
        "transfer_id": None,
        "purpose": "train",
        "recipient": "acme",
        "jurisdiction": "KR",
        "records": 7,
        "subjects": 7,
        "subjects_is_upper_bound": False,
        "sample_locations": [f"s3://b/{n}.jpg" for n in range(2, 7)],
        "reason": "7 records (7 people): no consent on record 4, consent withdrawn 2, consent "
        "refused 1; no legal basis on record.",
        "first_seen": earlier,
        "evaluated_at": AS_OF,
        "suppressed_by": None,
    }
    review = row_of(got, "BASE-CONSENT-MISSING", "review")
    assert (review["records"], review["subjects"]) == (1, 1)
    assert review["subjects_is_upper_bound"] is True
    assert "at most 1 person" in str(review["reason"])
    assert review["first_seen"] == AS_OF
    passed = row_of(got, "BASE-CONSENT-MISSING", "compliant")
    assert passed["records"] == 2
    affected = pq.read_table(got.affected)
    assert affected.schema.equals(schemas.AFFECTED)
    mine = [r for r in affected.to_pylist() if r["finding_id"] == id_]
    assert [(r["location"], r["item_id"], r["subject_digest"]) for r in mine] == [
        (f"s3://b/{n}.jpg", f"{n}.jpg", f"p{n}") for n in range(2, 9)
    ]
    assert passed["finding_id"] not in affected["finding_id"].to_pylist()


def test_the_same_twice_and_in_any_order(tmp_path: Path) -> None:
    detections = [detection(f"{n % 7}.jpg", f"p{n % 5}", confidence=n / 50) for n in range(40)]
    one = run(tmp_path / "a", detections, declared=USE, tables={"consents": CONSENTS})
    two = run(tmp_path / "b", detections[::-1], declared=USE, tables={"consents": CONSENTS[::-1]})
    assert one.findings.equals(two.findings)
    assert pq.read_table(one.affected).equals(pq.read_table(two.affected))
    order = [
        tuple(row[c] or "" for c in ("rule_id", "dataset_id", "transfer_id", "verdict"))
        for row in one.findings.to_pylist()
    ]
    assert order == sorted(order)


def test_one_item_of_several_kinds_and_people_counts_once(tmp_path: Path) -> None:
    detections = [
        detection("a.jpg", "p1"),
        detection("a.jpg", "p2"),
        detection("a.jpg", "p1", kind="biometric.iris"),
        detection("t.csv!/face", None, count=10),
        detection("t.csv!/face", None, count=12),
    ]
    row = row_of(run(tmp_path, detections), "BASE-USE-UNDECLARED", "review")
    assert (row["records"], row["subjects"], row["subjects_is_upper_bound"]) == (13, 14, True)


def test_transfers_are_judged_one_by_one_instead_of_the_declared_use(tmp_path: Path) -> None:
    transfers: Rows = [
        {"transfer_id": t, "dataset_id": "d", "importer_id": "acme", "purpose": "train"}
        for t in ("t1", "t2")
    ]
    got = run(
        tmp_path, [detection("a", "p1")], declared=DeclaredUse(purpose="other", recipient="x"),
        tables={"transfers": transfers, "consents": CONSENTS},
    )  # fmt: skip
    rows = [r for r in got.findings.to_pylist() if r["rule_id"] == "BASE-CONSENT-MISSING"]
    assert [(r["transfer_id"], r["verdict"]) for r in rows] == [
        ("t1", "compliant"),
        ("t2", "compliant"),
    ]
    (note,) = got.notes
    assert note.startswith("Dataset d has 2 transfers on record")
    nothing = run(tmp_path, [detection("a", "p1")], declared=USE)
    assert nothing.notes == ()


def test_dangling_rows_are_affected_rows(tmp_path: Path) -> None:
    rows: Rows = [
        {"dataset_id": "d", "row": n, "manifest": "/m/list.csv", "candidates": [f"{n}.jpg"],
         "subject_digest": f"p{n}"}
        for n in range(9)
    ]  # fmt: skip
    datasets: Rows = [{"dataset_id": "d", "has_manifest": True}]
    got = run(tmp_path, [detection("0.jpg")], tables={"manifest_rows": rows, "datasets": datasets})
    row = row_of(got, "BASE-MANIFEST-DANGLING", "violation")
    assert (row["records"], row["subjects"]) == (8, 8)
    assert row["sample_locations"] == [f"/m/list.csv!/row={n}" for n in range(1, 6)]
    assert row["reason"] == "8 manifest rows (8 people): no object is there."
    affected = pq.read_table(got.affected).to_pylist()
    mine = [r for r in affected if r["finding_id"] == row["finding_id"]]
    assert {(r["location"], r["item_id"], r["subject_digest"]) for r in mine} == {
        (f"/m/list.csv!/row={n}", None, f"p{n}") for n in range(1, 9)
    }


def test_nothing_detected_gives_no_finding(tmp_path: Path) -> None:
    packs = load_packs(["baseline", "kr-pipa"], tmp_path)
    got = run(tmp_path, [], packs=packs, tables={"datasets": [{"dataset_id": "d"}]})
    assert got.findings.num_rows == 0
    assert pq.read_table(got.affected).schema.equals(schemas.AFFECTED)
    assert len(got.rules) == sum(len(pack.rules) for pack in packs)
    gps = run(tmp_path, [detection("a", kind="location.gps", representation=None)], packs=packs)
    assert {r["rule_id"] for r in gps.findings.to_pylist()} <= {"KR-PIPA-28-8-CROSS-BORDER"}


def test_no_rules_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no rule is selected"):
        run(tmp_path, [], packs=())


def test_a_broken_input_is_one_line_without_its_content(tmp_path: Path) -> None:
    run(tmp_path, [])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 secret of a person PAR1")
    with pytest.raises(ScannerError) as caught:
        judge(
            detections=tmp_path / "broken.parquet",
            items=None,
            coverage=tmp_path / "coverage.parquet",
            context=context_of({}),
            packs=load_packs(["baseline"], tmp_path),
            as_of=AS_OF,
            workdir=tmp_path / "work",
            previous={},
        )
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "work").iterdir()) == [tmp_path / "work" / "affected.parquet"]


def test_nothing_is_left_behind_when_judging_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[BaseException] = []

    def fail(bench: Bench, rule: Rule) -> None:
        names = {path.name for path in (tmp_path / "work").iterdir()}
        assert any(name.startswith("judging.duckdb") for name in names)
        (tmp_path / "work" / "spill").mkdir(exist_ok=True)
        (tmp_path / "work" / "spill" / "part.tmp").write_bytes(b"a person")
        raise errors.pop()

    monkeypatch.setattr(Bench, "verdicts", fail)
    for error, raised in (
        (duckdb.OutOfMemoryException("a person"), ScannerError),
        (MemoryError(), MemoryError),
    ):
        errors.append(error)
        with pytest.raises(raised) as caught:
            run(tmp_path, [detection("a", "p1")])
        assert "a person" not in str(caught.value)
        assert list((tmp_path / "work").iterdir()) == []


SHAPES = st.lists(
    st.tuples(
        st.integers(0, 4),  # item
        st.sampled_from(["p0", "p1", "p2", None]),
        st.sampled_from(["biometric.face", "biometric.iris", "attribute.age"]),
        st.integers(1, 3),  # count
        st.sampled_from(["certain", "certain", "possible"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(SHAPES)
def test_counts_agree_with_counting_by_hand(
    shapes: list[tuple[int, str | None, str, int, str]],
) -> None:
    """Records are the largest counts of the items, people are distinct, over both transfers."""
    detections = [
        detection(f"{item}.jpg", person, kind=kind, count=count, certainty=certainty)
        for item, person, kind, count, certainty in shapes
    ]
    transfers: Rows = [
        {"transfer_id": t, "dataset_id": "d", "importer_id": who, "purpose": "train"}
        for t, who in (("t1", "acme"), ("t2", "other"))
    ]
    consents: Rows = [
        {"subject_digest": "p0", "purpose": "train", "recipient": "acme", "state": "given"},
        {"subject_digest": "p1", "purpose": "train", "recipient": "*", "state": "given"},
    ]
    given_by = {"t1": {"p0", "p1"}, "t2": {"p1"}}
    expected: dict[tuple[str, str], tuple[int, int, set[str]]] = {}
    for transfer, people in given_by.items():
        # a record is an item × person × kind: the largest count, certain if any detection is
        records: dict[tuple[int, str | None, str], tuple[int, bool]] = {}
        for item, person, kind, count, certainty in shapes:
            if kind.startswith("biometric."):
                most, sure = records.get((item, person, kind), (0, False))
                sure = sure or certainty == "certain"
                records[item, person, kind] = (max(most, count), sure)
        by_verdict: dict[str, list[tuple[int, str | None, int]]] = {}
        for (item, person, _), (count, sure) in records.items():
            verdict = "compliant" if person in people else "violation" if sure else "review"
            if person is None:
                verdict = "review"
            by_verdict.setdefault(verdict, []).append((item, person, count))
        for verdict, rows in by_verdict.items():
            items = {item for item, _, _ in rows}
            total = sum(max(n for i, _, n in rows if i == item) for item in items)
            nobody = [(i, n) for i, person, n in rows if person is None]
            unknown = sum(max(n for i, n in nobody if i == item) for item in {i for i, _ in nobody})
            known = {person for _, person, _ in rows if person is not None}
            listed = {f"s3://b/{item}.jpg {person}" for item, person, _ in rows}
            expected[transfer, verdict] = (total, unknown + len(known), listed)
    with tempfile.TemporaryDirectory() as folder:
        got = run(Path(folder), detections, tables={"transfers": transfers, "consents": consents})
        affected = pq.read_table(got.affected).to_pylist()
    seen = {
        (r["transfer_id"], r["verdict"]): (
            r["records"],
            r["subjects"],
            {
                f"{a['location']} {a['subject_digest']}"
                for a in affected
                if a["finding_id"] == r["finding_id"]
            }
            if r["verdict"] != "compliant"
            else expected[r["transfer_id"], "compliant"][2],
        )
        for r in got.findings.to_pylist()
        if r["rule_id"] == "BASE-CONSENT-MISSING"
    }
    assert seen == expected


@pytest.mark.parametrize(
    ("collected", "purpose", "verdict"),
    [
        ("border-control", "Border-Control", "compliant"),
        ("border-control", "face-matching", "compliant"),  # narrower, by our own terms
        ("dpv:EnforceSecurity", "face-matching", "compliant"),
        ("face-matching", "border-control", "review"),  # broader
        ("border-control", "ai-training", "review"),  # no taxonomy knows it
    ],
)
def test_a_narrower_purpose_is_no_other(
    tmp_path: Path, collected: str, purpose: str, verdict: str
) -> None:
    own = {"border-control": ["dpv:EnforceSecurity"], "face-matching": ["border-control"]}
    got = run(
        tmp_path,
        [detection("0.jpg", "p0")],
        declared=DeclaredUse(purpose=purpose, recipient="acme"),
        tables={"datasets": [{"dataset_id": "d", "collected_for": collected}]},
        purposes=Purposes.of(own, "own.yaml"),
    )
    row = row_of(got, "BASE-PURPOSE-DRIFT", verdict)
    narrower = ", which is a part of that" if purpose == "face-matching" else ""
    if purpose != "Border-Control":
        assert f"collected for {collected}, used for {purpose}{narrower};" in str(row["reason"])
    assert ("nobody has attested" in str(row["reason"])) == (verdict == "review")


def test_an_unknown_purpose_of_collection_is_named(tmp_path: Path) -> None:
    row = row_of(
        run(tmp_path, [detection("0.jpg", "p0")], declared=USE), "BASE-PURPOSE-DRIFT", "review"
    )
    assert "not on record: what the data was collected for;" in str(row["reason"])


def test_the_database_reaches_nothing_but_its_inputs(tmp_path: Path) -> None:
    allowed, other, work = tmp_path / "in.parquet", tmp_path / "other.parquet", tmp_path / "w"
    work.mkdir()
    for path in (allowed, other):
        pq.write_table(pa.table({"a": [1]}), path)
    con = _open(work / "x.duckdb", [allowed], work, "1GB")
    assert con.execute(f"SELECT a FROM read_parquet('{allowed}')").fetchall() == [(1,)]
    for sql in (
        f"SELECT * FROM read_parquet('{other}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        "SELECT * FROM read_csv('/etc/hostname')",
        f"ATTACH '{tmp_path / 'y.duckdb'}'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET threads = 1",
    ):
        with pytest.raises(duckdb.Error):
            con.execute(sql)
    local_name = pa.table({"a": [1]})
    with pytest.raises(duckdb.Error):
        con.execute("SELECT * FROM local_name")
    assert local_name.num_rows == 1
    con.close()

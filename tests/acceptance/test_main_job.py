"""The main job end to end: from bytes in a folder or bucket to an exit code."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import BUCKETS, CHECKOUT, Run

NAMES = ("immigration-export", "training-shards", "hr-badges", "landscapes")


def _facts(report: dict) -> tuple[list[tuple], dict]:  # type: ignore[type-arg]
    """What must be the same wherever the bucket is: findings and coverage, locations apart."""
    keys = (
        "finding_id",
        "rule_id",
        "verdict",
        "dataset_id",
        "transfer_id",
        "records",
        "subjects",
        "reason",
    )
    findings = sorted(tuple(str(f[k]) for k in keys) for f in report["findings"])
    return findings, report["coverage"]["counts"]


@pytest.mark.parametrize("bucket", NAMES)
def test_every_planted_finding_and_no_other(consentry: Run, bucket: str) -> None:
    result = consentry("scan", BUCKETS / bucket, "-f", "json")
    report = result.json
    planted = {
        (p["rule_id"], p["verdict"], p["dataset_id"], p["transfer_id"], p["records"])
        for p in json.loads((CHECKOUT / "fixtures/planted.json").read_text(encoding="utf-8"))
        if p["bucket"] == bucket
    }
    found = {
        (f["rule_id"], f["verdict"], f["dataset_id"], f["transfer_id"], f["records"])
        for f in report["findings"]
        if f["verdict"] in ("violation", "review")
    }
    assert found == planted
    assert report["summary"]["complete"] is True
    assert result.code == (0 if bucket == "landscapes" else 1)
    assert sum(report["coverage"]["counts"].values()) == sum(
        1 for p in (BUCKETS / bucket).rglob("*") if p.is_file()
    )


def test_landscapes_have_no_detection(consentry: Run) -> None:
    assert consentry("scan", BUCKETS / "landscapes", "-f", "json").json["detections"] == {}


def test_output_file_and_exit_code_as_the_contract_has_it(consentry: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = consentry("scan", BUCKETS / "immigration-export", "-f", "json", "-o", out)
    assert result.code == 1
    assert json.loads(out.read_text(encoding="utf-8"))["summary"]["exit_code"] == 1


def test_empty_folder_is_incomplete(consentry: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert consentry("scan", tmp_path / "empty").code == 3


def test_missing_config(consentry: Run, tmp_path: Path) -> None:
    result = consentry("scan", tmp_path, "--config", "nosuch.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "nosuch.yaml" in result.err


def test_violations_and_an_unreadable_file(
    consentry: Run, tmp_path: Path, face_jpeg: bytes
) -> None:
    bucket = tmp_path / "bucket"
    shutil.copytree(BUCKETS / "immigration-export", bucket)
    (bucket / "broken.parquet").write_bytes(b"PAR1" + b"\0" * 50)
    result = consentry("scan", bucket, "-f", "json")
    assert result.code == 4
    rows = result.json["coverage"]["rows"]
    assert [r["state"] for r in rows] == ["error"]
    assert rows[0]["location"].endswith("broken.parquet")


def test_face_in_jpeg_in_zip_in_tar_gz_in_parquet_cell(
    consentry: Run, tmp_path: Path, face_jpeg: bytes
) -> None:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("in/face.jpg", face_jpeg)
    with tarfile.open(fileobj=tarred, mode="w:gz") as tape:
        info = tarfile.TarInfo("shard/inner.zip")
        info.size = len(zipped.getvalue())
        tape.addfile(info, io.BytesIO(zipped.getvalue()))
    table = pa.table({"id": ["a", "b"], "payload": [None, tarred.getvalue()]})
    target = tmp_path / "t"
    target.mkdir()
    pq.write_table(table, target / "people.parquet")
    folder = tmp_path / "reports"
    result = consentry("scan", target, "-f", "parquet", "-o", folder)
    assert result.code == 0  # nothing declared: review, not violation
    faces = [
        r
        for r in pq.read_table(folder / "detections.parquet").to_pylist()
        if r["kind"] == "biometric.face"
    ]
    path = "people.parquet!/row=1/payload!/shard/inner.zip!/in/face.jpg"
    assert [r["location"] for r in faces] == [f"{target}/{path}"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """moto's server on loopback, and a client to fill it with."""
    from botocore.session import Session
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = Session().create_client("s3", endpoint_url=endpoint, region_name="us-east-1")
    try:
        yield endpoint, client
    finally:
        client.close()
        server.stop()


@pytest.mark.parametrize("bucket", NAMES)
def test_same_findings_from_s3(consentry: Run, s3, bucket: str) -> None:  # type: ignore[no-untyped-def]
    endpoint, client = s3
    name = f"consentry-{bucket}"  # moto keeps its buckets while the process lives
    client.create_bucket(Bucket=name)
    root = BUCKETS / bucket
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        client.put_object(
            Bucket=name,
            Key=f"a/{path.relative_to(root).as_posix()}",
            Body=path.read_bytes(),
        )
    env = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    options = ("--config", root / "consentry.yaml", "--as-of", "2026-11-22", "-f", "json")
    remote = consentry("scan", f"s3://{name}/a", "--endpoint-url", endpoint, *options, env=env)
    local = consentry("scan", root, *options)
    assert _facts(remote.json) == _facts(local.json)
    assert remote.code == local.code


def test_nothing_is_written_to_the_target(consentry: Run, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    shutil.copytree(BUCKETS / "hr-badges", bucket)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in bucket.rglob("*")}
    consentry("scan", bucket)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in bucket.rglob("*")} == before


def test_one_and_two_workers_agree(consentry: Run) -> None:
    options = ("scan", BUCKETS / "hr-badges", "--as-of", "2026-11-22", "-f", "csv")
    one, two = consentry(*options, "--jobs", "1"), consentry(*options, "--jobs", "2")
    drop = ("first_seen", "evaluated_at")
    assert _without(one.out, drop) == _without(two.out, drop)


def _without(text: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    import csv

    return [
        {k: v for k, v in row.items() if k not in columns}
        for row in csv.DictReader(io.StringIO(text))
    ]


def test_demo(consentry: Run) -> None:
    result = consentry(
        "demo", env={"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    )
    assert result.code == 0, result.out
    assert "differences: 0" in result.out
    pages = [
        Path(line.strip())
        for line in result.out.partition("Reports for reading")[2].splitlines()
        if line.strip().endswith(".html")
    ]
    assert len(pages) == len(NAMES)


def test_saved_run_is_rendered_again(consentry: Run, tmp_path: Path) -> None:
    first = consentry("scan", BUCKETS / "hr-badges", "-f", "json")
    again = consentry("report", "last", "-f", "json")
    assert again.code == 0
    assert again.json["findings"] == first.json["findings"]
    assert consentry("report", "nosuch").code == 2


def test_run_folder_is_private(consentry: Run, tmp_path: Path) -> None:
    consentry("scan", BUCKETS / "hr-badges", "-f", "table")
    files = [p for p in (tmp_path / "work/.consentry").rglob("*") if p.is_file()]
    assert files
    assert {oct(p.stat().st_mode & 0o777) for p in files} == {"0o600"}
    key = tmp_path / "home/.config/consentry/subject.key"
    assert oct(key.stat().st_mode & 0o777) == "0o600"


def test_no_subject_key_in_any_output(consentry: Run, tmp_path: Path, face_jpeg: bytes) -> None:
    target = tmp_path / "t"
    target.mkdir()
    canary = "subject-canary-4711"
    (target / "a.jpg").write_bytes(face_jpeg)
    (tmp_path / "m.csv").write_text(f"file_name,person\na.jpg,{canary}\n", encoding="utf-8")
    (tmp_path / "c.csv").write_text(
        f"subject_key,purpose,recipient,state\n{canary},other,x,given\n", encoding="utf-8"
    )
    (tmp_path / "consentry.yaml").write_text(
        "version: 1\n"
        "declared_use: {purpose: ai-training, recipient: acme}\n"
        "datasets:\n"
        "  - id: d\n"
        "    include: ['**']\n"
        "    manifest: {path: m.csv, location: file_name, subject: person}\n"
        "    legal_basis: consent\n"
        "registries: {consents: c.csv}\n",
        encoding="utf-8",
    )
    result = consentry(
        "scan", target, "--config", tmp_path / "consentry.yaml", "-f", "json", "-o", tmp_path /
        "r.json", "-f", "parquet", "-o", tmp_path / "r", "-f", "html", "-o", tmp_path / "r.html",
        "-f", "sarif", "-o", tmp_path / "r.sarif", "-f", "table",
    )  # fmt: skip
    assert result.code == 1
    assert canary not in result.out + result.err
    saved = [*tmp_path.glob("r*"), *(tmp_path / "work").rglob("*")]
    files = [
        p for top in saved for p in ([top] if top.is_file() else top.rglob("*")) if p.is_file()
    ]
    assert len(files) > 8
    for path in files:
        if path.suffix == ".parquet":
            assert canary not in str(pq.read_table(path).to_pydict()), path
        else:
            assert canary.encode() not in path.read_bytes(), path
    statuses = {f["reason"] for f in json.loads((tmp_path / "r.json").read_text())["findings"]}
    assert any("another purpose" in reason or "purpose" in reason for reason in statuses)


def test_interrupted_run_is_saved(tmp_path: Path, face_jpeg: bytes) -> None:
    import signal
    import subprocess
    import sys
    import time

    target = tmp_path / "t"
    target.mkdir()
    for number in range(2_000):
        (target / f"{number:04}.jpg").write_bytes(face_jpeg)
    work = tmp_path / "work"
    work.mkdir()
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PYTHONPATH": str(CHECKOUT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "scanner", "scan", str(target), "-f", "json", "-o", "out.json"],
        cwd=work, env=env, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    report = json.loads((work / "out.json").read_text(encoding="utf-8"))
    assert report["summary"]["complete"] is False
    assert report["run"]["interrupted"] is True
    counts = report["coverage"]["counts"]
    assert counts["error"] > 0
    assert {r["reason"] for r in report["coverage"]["rows"]} == {"interrupted"}
    assert sum(counts.values()) == 2_000

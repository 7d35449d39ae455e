"""Stores that fail, against the whole command: a real S3 server (moto) behind a proxy with faults.

Tests 5 to 15 of the forty; several faults on different keys of one bucket share one scan.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.conftest import CHECKOUT, Result, Run
from tests.tools.fault_proxy import (
    Asked,
    FaultProxy,
    Forward,
    Reply,
    flipped,
    meanwhile,
    moto,
    refuse,
    reset,
    slow,
    truncated,
    write_credentials,
    writing,
)

GOOD = [f"good/{number}.csv" for number in range(4)]


@dataclass(frozen=True)
class Scan:
    """A finished scan, with what the proxy saw of it."""

    result: Result
    folder: Path
    rows: dict[str, dict[str, Any]]  # coverage of objects, by key
    log: list[Asked]
    first_etags: dict[str, str]

    def got(self, key: str) -> list[int]:
        """Statuses of the GETs of a key."""
        return [asked.status for asked in self.log if (asked.operation, asked.key) == ("GET", key)]

    def is_incomplete(self) -> bool:
        saved = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return saved["complete"] is False and self.result.code in {3, 4}


def people(count: int, seed: int = 0) -> bytes:
    """A table with one face template per row."""
    rows = [f"{n},\"[{', '.join(f'{(n + seed + i) % 97 / 97:.6f}' for i in range(128))}]\""
            for n in range(count)]  # fmt: skip
    return ("person_id,face_embedding\n" + "\n".join(rows) + "\n").encode()


def big_zip(count: int) -> bytes:
    """9 MiB: a plain picture, and a table of `count` people behind it."""
    picture = io.BytesIO()
    Image.new("RGB", (1800, 1750), (90, 120, 90)).save(picture, "BMP")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("wall.bmp", picture.getvalue())
        file.writestr("people.csv", people(count))
    return archive.getvalue()


# ---------------------------------------------------------------- the server, the client, the scan


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(scope="module")
def writer(server: str) -> Iterator[Any]:
    with writing(server) as client:
        yield client


@pytest.fixture
def proxy(server: str) -> Iterator[FaultProxy]:
    with FaultProxy(server) as made:
        yield made


def signed(folder: Path, access_key: str = "OLD") -> dict[str, str]:
    """The environment of somebody whose credentials are in a file, as a sign-in tool writes it."""
    write_credentials(folder, access_key)
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "3",  # so that a store that is busy for ever is given up soon
        "NO_PROXY": "127.0.0.1",
    }


def run_of(output: Path) -> Path:
    """The newest run saved there."""
    return max((output / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def coverage(folder: Path, bucket: str) -> dict[str, dict[str, Any]]:
    """Rows of objects by key; every object has one."""
    rows = pq.read_table(folder / "coverage.parquet").to_pylist()
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["is_object"]:
            key = row["location"].removeprefix(f"s3://{bucket}/")
            assert key not in found, "an object with two rows"
            found[key] = row
    return found


@pytest.fixture(scope="module")
def faulty(server: str, writer: Any, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """One scan of a bucket in which almost every object has trouble of its own."""
    home = tmp_path_factory.mktemp("faulty")
    writer.create_bucket(Bucket="faulty")
    keys = ["busy-twice.csv", "busy.csv", "cut-once.csv", "cut.csv", "flipped.csv",
            "overwritten.csv", "deleted.csv", "forbidden.csv", "reset.csv", "slow.csv",
            *GOOD]  # fmt: skip
    etags = {
        key: writer.put_object(Bucket="faulty", Key=key, Body=people(2))["ETag"] for key in keys
    }
    writer.put_object(Bucket="faulty", Key="big.zip", Body=big_zip(3))
    writer.put_object(Bucket="faulty", Key="cold.csv", Body=people(2), StorageClass="DEEP_ARCHIVE")
    with FaultProxy(server) as proxy:
        proxy.add(refuse(503, "SlowDown"), key="busy-twice.csv", times=2)
        proxy.add(refuse(503, "SlowDown"), key="busy.csv")
        proxy.add(truncated(700), key="cut-once.csv", times=1)
        proxy.add(truncated(10), key="cut.csv")
        proxy.add(flipped(900), key="flipped.csv")
        proxy.add(
            meanwhile(lambda: writer.put_object(Bucket="faulty", Key="overwritten.csv",
                                                Body=people(7))),
            key="overwritten.csv", times=1,
        )  # fmt: skip
        proxy.add(
            meanwhile(lambda: writer.put_object(Bucket="faulty", Key="big.zip", Body=big_zip(5))),
            key="big.zip", first=2, times=1,
        )  # fmt: skip
        proxy.add(
            meanwhile(lambda: writer.delete_object(Bucket="faulty", Key="deleted.csv")),
            key="deleted.csv", times=1,
        )  # fmt: skip
        proxy.add(refuse(403, "AccessDenied"), key="forbidden.csv")
        proxy.add(reset(), key="reset.csv", times=1)
        proxy.add(slow(200, 0.02), key="slow.csv")
        done = subprocess.run(
            [sys.executable, "-m", "scanner", "scan", "s3://faulty", "-f", "json",
             "--endpoint-url", proxy.endpoint, "--output-directory", str(home / "out")],
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(CHECKOUT),
                 **signed(home)},
            cwd=home, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        log = list(proxy.log)
    assert "Traceback" not in done.stderr
    folder = run_of(home / "out")
    return Scan(
        Result(done.returncode, done.stdout, done.stderr),
        folder,
        coverage(folder, "faulty"),
        log,
        etags,
    )


def records(scan: Scan, name: str) -> int:
    """Face templates found in an object."""
    rows = pq.read_table(scan.folder / "detections.parquet").to_pylist()
    kinds = [
        row["count"]
        for row in rows
        if row["location"].startswith(f"s3://faulty/{name}") and row["representation"] == "template"
    ]
    return sum(kinds)


# ---------------------------------------------------------------- the tests, by number


def _scripted(proxy: FaultProxy, count: int, page: int) -> None:
    """A bucket of `count` keys, some archived, some forbidden, the rest two bytes long."""
    names = [f"{number:06}.txt" for number in range(count)]

    def listing(asked: Asked, forward: Forward) -> Reply:
        start = int(asked.query.get("continuation-token", ["0"])[0])
        size = int(asked.query.get("max-keys", [str(page)])[0])
        end = min(start + size, count)
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
        rows = "".join(
            f"<Contents><Key>{names[n]}</Key><ETag>&quot;e&quot;</ETag><Size>2</Size>"
            f"<StorageClass>{'GLACIER' if n % 50 == 0 else 'STANDARD'}</StorageClass></Contents>"
            for n in range(start, end)
        )
        text = (
            f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"
            f"{rows}</ListBucketResult>"
        )
        return Reply(200, {"Content-Type": "application/xml"}, text.encode())

    def content(asked: Asked, forward: Forward) -> Reply:
        if int(asked.key[:6]) % 97 == 0:
            return refuse(403, "AccessDenied")(asked, forward)
        return Reply(200, {"ETag": '"e"'}, b"x\n")

    proxy.add(listing, operation="LIST")
    proxy.add(content)


def _ledger_sum(consentry: Run, proxy: FaultProxy, tmp_path: Path, count: int) -> None:
    _scripted(proxy, count, page=1000)
    result = consentry(
        "scan", "s3://many", "--endpoint-url", proxy.endpoint, "--exclude", "*7.txt",
        "--output-directory", tmp_path / "out", "-f", "json",
        env=signed(tmp_path), timeout=1800,
    )  # fmt: skip
    rows = coverage(run_of(tmp_path / "out"), "many")
    assert len(rows) == count
    expected = {
        f"{n:06}.txt": "error" if n % 50 == 0 else
                       "excluded" if n % 10 == 7 else
                       "error" if n % 97 == 0 else "scanned"
        for n in range(count)
    }  # fmt: skip
    assert {key: row["state"] for key, row in rows.items()} == expected
    counts = result.json["coverage"]["counts"]
    assert sum(counts.values()) == count
    assert {state: n for state, n in counts.items() if n} == dict(Counter(expected.values()))
    assert result.code in {3, 4}


def test_05_the_ledger_sums_up_to_the_listing(
    consentry: Run, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Ledger sum equals listing on a 100 k-key bucket (here 2,000 keys)."""
    _ledger_sum(consentry, proxy, tmp_path, 2_000)


@pytest.mark.slow
def test_05_the_ledger_sums_up_to_the_listing_of_100_000_keys(
    consentry: Run, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Ledger sum equals listing on a 100 k-key bucket."""
    _ledger_sum(consentry, proxy, tmp_path, 100_000)


def test_06_busy_twice_then_served(faulty: Scan) -> None:
    """503 ×2 then OK → no error row."""
    assert faulty.rows["busy-twice.csv"]["state"] == "scanned"
    assert faulty.got("busy-twice.csv") == [503, 503, 200]
    assert records(faulty, "busy-twice.csv") == 2


def test_07_busy_for_ever(faulty: Scan) -> None:
    """503 forever on one key → `error:throttled`, exit 3, others scanned."""
    row = faulty.rows["busy.csv"]
    assert (row["state"], row["reason"]) == ("error", "throttled")
    assert faulty.got("busy.csv") == [503] * 6  # and once more, with patience, at the end
    assert faulty.is_incomplete()
    assert {faulty.rows[key]["state"] for key in GOOD} == {"scanned"}
    assert [records(faulty, key) for key in GOOD] == [2] * 4


def test_08_bodies_that_break_off(faulty: Scan) -> None:
    """Truncated body once → recovered; always → `error:truncated`."""
    assert faulty.rows["cut-once.csv"]["state"] == "scanned"
    assert faulty.got("cut-once.csv") == [200, 206]
    assert records(faulty, "cut-once.csv") == 2
    row = faulty.rows["cut.csv"]
    assert (row["state"], row["reason"]) == ("error", "truncated")
    assert records(faulty, "cut.csv") == 0
    assert faulty.is_incomplete()


def test_08_slow_bodies_and_reset_connections_are_only_slow(faulty: Scan) -> None:
    """A connection that is reset and a body that trickles cost time, not objects."""
    for key in ("slow.csv", "reset.csv"):
        assert faulty.rows[key]["state"] == "scanned"
        assert records(faulty, key) == 2


def test_09_a_flipped_byte(faulty: Scan) -> None:
    """Flipped byte → `error:integrity`."""
    row = faulty.rows["flipped.csv"]
    assert (row["state"], row["reason"]) == ("error", "integrity")
    assert records(faulty, "flipped.csv") == 0


def test_10_overwritten_between_list_and_get(faulty: Scan, writer: Any) -> None:
    """Overwritten between list and get → new version scanned, old recorded."""
    row = faulty.rows["overwritten.csv"]
    now = writer.head_object(Bucket="faulty", Key="overwritten.csv")["ETag"].strip('"')
    before = faulty.first_etags["overwritten.csv"].strip('"')
    assert row["state"] == "scanned"
    assert row["store_version"] == now != before
    assert row["detail"] == f"replaced after it was listed (was {before})"
    assert records(faulty, "overwritten.csv") == 7


def test_11_overwritten_between_two_ranges(faulty: Scan) -> None:
    """Overwritten between two ranges → no mixed read."""
    row = faulty.rows["big.zip"]
    assert row["state"] == "scanned"  # looked at again, whole
    assert 412 in faulty.got("big.zip")
    assert records(faulty, "big.zip") == 5  # neither the three of before, nor both
    gets = [asked for asked in faulty.log if (asked.operation, asked.key) == ("GET", "big.zip")]
    assert all("if-match" in asked.headers for asked in gets)


def test_12_deleted_mid_scan(faulty: Scan) -> None:
    """Deleted mid-scan → `error:vanished`."""
    row = faulty.rows["deleted.csv"]
    assert (row["state"], row["reason"]) == ("error", "vanished")


def test_13_one_key_is_forbidden(faulty: Scan) -> None:
    """One 403 key → `error:denied`, exit 3."""
    row = faulty.rows["forbidden.csv"]
    assert (row["state"], row["reason"]) == ("error", "denied")
    assert faulty.got("forbidden.csv") == [403]  # asking again would not help
    assert faulty.is_incomplete()


def test_13_an_archived_object_is_named_as_such(faulty: Scan) -> None:
    """Objects in archive tiers are named as such, without being asked for."""
    row = faulty.rows["cold.csv"]
    assert (row["state"], row["reason"]) == ("error", "denied")
    assert "DEEP_ARCHIVE" in row["detail"]
    assert faulty.got("cold.csv") == []


def findings(folder: Path) -> list[tuple[object, ...]]:
    rows = pq.read_table(folder / "findings.parquet").to_pylist()
    return sorted(
        (row["finding_id"], row["verdict"], row["records"], row["subjects"], row["reason"])
        for row in rows
    )


def test_14_the_token_expires_and_the_run_goes_on_later(
    consentry: Run, proxy: FaultProxy, server: str, writer: Any, tmp_path: Path
) -> None:
    """Token expires at key 500 → pauses, resumes, no duplicates."""
    writer.create_bucket(Bucket="expiring")
    for number in range(600):
        body = people(1, number) if number % 20 == 0 else f"line {number}\n".encode()
        writer.put_object(Bucket="expiring", Key=f"{number:03}.csv", Body=body)
    env = signed(tmp_path)
    common = ("scan", "s3://expiring", "--endpoint-url", proxy.endpoint, "-f", "json")
    undisturbed = consentry(*common, "--output-directory", tmp_path / "other", env=env)
    assert undisturbed.json["coverage"]["counts"]["scanned"] == 600

    proxy.clear()
    proxy.add(
        refuse(400, "ExpiredToken"), operation="*",
        when=lambda asked: asked.access_key == "OLD" and proxy.count("GET", status=200) >= 500,
    )  # fmt: skip
    output = tmp_path / "out"
    paused = consentry(*common, "--output-directory", output, env=env)
    assert paused.code in {3, 4}
    lines = [line for line in paused.err.splitlines() if "--resume" in line]
    assert len(lines) == 1
    assert "s3://expiring" in lines[0]
    assert "expired" in lines[0]
    rows = coverage(run_of(output), "expiring")
    errors = [row for row in rows.values() if row["state"] == "error"]
    assert [(row["reason"], row["location"]) for row in errors] == [
        ("interrupted", "s3://expiring/")
    ]
    assert paused.json["summary"]["complete"] is False
    refused = proxy.count("*", status=400)
    assert refused <= 20  # what was under way, never one for each of the other objects

    signed(tmp_path, "NEW")
    resumed = consentry(
        "scan", "--resume", "--endpoint-url", proxy.endpoint, "-f", "json",
        "--output-directory", output, env=env,
    )  # fmt: skip
    assert resumed.code == undisturbed.code
    assert resumed.json["summary"]["complete"] is True
    counts = resumed.json["coverage"]["counts"]
    assert sum(counts.values()) == 600
    assert counts["scanned"] + counts["unchanged"] == 600
    looked = Counter(
        asked.key for asked in proxy.log if (asked.operation, asked.status) == ("GET", 200)
    )
    assert len(looked) == 600
    assert set(looked.values()) == {1}, "an object was fetched twice"
    assert findings(run_of(output)) == findings(run_of(tmp_path / "other"))


def test_14_a_token_that_is_renewed_in_time_is_no_event(
    consentry: Run, proxy: FaultProxy, writer: Any, tmp_path: Path
) -> None:
    """Refresh once: where a sign-in tool has written new credentials, the run just goes on."""
    writer.create_bucket(Bucket="renewed")
    for number in range(60):  # more than are asked for at once
        writer.put_object(Bucket="renewed", Key=f"{number}.csv", Body=b"line\n")
    env = signed(tmp_path)

    def expire(asked: Asked, forward: Forward) -> Reply:
        signed(tmp_path, "NEW")
        return refuse(400, "ExpiredToken")(asked, forward)

    proxy.add(
        expire, operation="*",
        when=lambda asked: asked.access_key == "OLD" and proxy.count("GET", status=200) >= 5,
    )  # fmt: skip
    result = consentry(
        "scan", "s3://renewed", "--endpoint-url", proxy.endpoint, "-f", "json", env=env
    )
    assert result.code == 0
    assert result.json["coverage"]["counts"]["scanned"] == 60
    assert proxy.count("*", status=400) >= 1


def test_15_a_page_of_the_listing_fails(
    consentry: Run,
    proxy: FaultProxy,
    writer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Listing page fails midway → exit 3, never "complete"."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "4")
    writer.create_bucket(Bucket="paged")
    for number in range(10):
        writer.put_object(Bucket="paged", Key=f"{number}.csv", Body=b"line\n")
    pages = [4]  # the last page that can be had

    def later(asked: Asked) -> bool:
        listed = sum(other.status == 200 and "continuation-token" in other.query
                     for other in proxy.log)  # fmt: skip
        return "continuation-token" in asked.query and listed >= pages[0]

    pages[0] = 1
    proxy.add(refuse(500, "InternalError"), operation="LIST", when=later)
    output = tmp_path / "out"
    result = consentry(
        "scan", "s3://paged", "--endpoint-url", proxy.endpoint, "-f", "json",
        "--output-directory", output, env=signed(tmp_path),
    )  # fmt: skip
    assert result.code == 3
    assert result.json["summary"]["complete"] is False
    saved = json.loads((run_of(output) / "run.json").read_text(encoding="utf-8"))
    assert saved["complete"] is False
    rows = coverage(run_of(output), "paged")
    states = Counter(row["state"] for row in rows.values())
    assert states == {"scanned": 8, "error": 1}
    (broken,) = [row for row in rows.values() if row["state"] == "error"]
    assert (broken["reason"], broken["location"]) == ("listing", "s3://paged/")


# ---------------------------------------------------------------- least privilege, doctor


def test_only_list_head_and_get_are_ever_sent(faulty: Scan) -> None:
    """A recorded test shows that only LIST, HEAD and GET are ever sent."""
    assert {asked.operation for asked in faulty.log} == {"LIST", "HEAD", "GET"}
    assert {asked.method for asked in faulty.log} == {"HEAD", "GET"}
    allowed = {
        "LIST": {"list-type", "prefix", "max-keys", "encoding-type", "continuation-token"},
        "HEAD": set(),
        "GET": set(),
    }
    for asked in faulty.log:
        assert set(asked.query) <= allowed[asked.operation], asked
        assert asked.bucket == "faulty"
        assert (asked.operation == "LIST") == (asked.key == "")


def test_doctor_tells_what_the_credentials_allow(
    consentry: Run, proxy: FaultProxy, writer: Any, tmp_path: Path
) -> None:
    """`consentry doctor` prints what the credentials allow, warns when they can write, and prints
    the minimal read-only policy.
    """
    writer.create_bucket(Bucket="examined")
    writer.put_object(Bucket="examined", Key="faces/1.csv", Body=b"1\n")
    writer.put_object(Bucket="examined", Key="faces/2.csv", Body=b"2\n", StorageClass="GLACIER")
    env = signed(tmp_path)
    args = ("doctor", "s3://examined/faces", "--endpoint-url", proxy.endpoint)
    asked = consentry(*args, env=env)
    assert (asked.code, asked.err) == (0, "")
    assert re.search(r"^  list +yes", asked.out, re.M)
    assert re.search(r"^  read +yes", asked.out, re.M)
    assert re.search(r"^  write +not known", asked.out, re.M)
    assert "GLACIER" in asked.out
    assert max(map(len, asked.out.splitlines())) <= 80
    policy = json.loads(asked.out[asked.out.index("\n{") : asked.out.rindex("}") + 1])
    assert policy["Statement"][-1]["Effect"] == "Deny"
    assert {line.method for line in proxy.log} == {"GET"}

    proxy.add(refuse(404, "NoSuchUpload"), operation="PUT")
    can_write = consentry(*args, "--probe-write", env=env)
    assert can_write.code == 1
    assert "warning: you can write there" in can_write.out
    proxy.clear()
    proxy.add(refuse(403, "AccessDenied"), operation="P*")
    cannot = consentry(*args, "--probe-write", env=env)
    assert cannot.code == 0
    assert re.search(r"^  write +no ", cannot.out, re.M)
    proxy.add(refuse(403, "AccessDenied"), key="faces/*")
    assert consentry(*args, env=env).code == 3
    wrong = consentry("doctor", "s3://no-such-bucket-here", *args[2:], env=env)
    assert wrong.code == 2
    assert "no such bucket" in wrong.err
    listed = writer.list_object_versions(Bucket="examined")["Versions"]
    assert [row["Key"] for row in listed] == ["faces/1.csv", "faces/2.csv"]
    assert "Uploads" not in writer.list_multipart_uploads(Bucket="examined")

"""What judging by all Korean rules costs, against the work that cannot be avoided, written in SQL.

    python -m benchmarks.judge [--millions 1 10 177.6] [--consents 50] [--folder DIR]

Makes detections of drawn people (seeded; one face in each file, on average three files a person,
in three datasets of the proportions of the Korean incident) and a consent registry (millions of
records; one in ten is a later withdrawal or renewal), both as Parquet. Then, each in a process of
its own on the same files, with the same threads and memory limit:

floor     one join of the exposures with the best consent of each person, and one exact
          count(DISTINCT subject) per dataset
judge     `scanner.policy.judge` with every rule of kr-pipa: consent to the transfer's purpose and
          recipient, exact counts, samples; without listing every affected record
affected  (with --affected) the same, and every affected record written for remediation

Prints seconds, their ratio (promise: at most 2, aim 1.5) and the process's peak memory (promise:
under 6 GB, aim 4 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from scanner import schemas
from scanner.model import Context
from scanner.policy import judge, load_packs

ROOT = Path(__file__).parents[1]
PROMISE = 2.0
SHARES = {"foreign-training": 100.0, "foreign-verification": 20.0, "citizens": 57.6}
WHEN = datetime(2020, 6, 1, tzinfo=UTC)
PER_PERSON = 3


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--millions", type=float, nargs="+", default=[1.0, 10.0, 177.6])
    options.add_argument("--consents", type=float, default=50.0, help="millions of records")
    options.add_argument("--folder", type=Path, help="where to make the files")
    options.add_argument("--memory-limit", default="3GB", help="of the database")
    options.add_argument("--affected", action="store_true")
    options.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.step:
        name, folder = given.step
        print(json.dumps(STEPS[name](Path(folder), given.memory_limit)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as top:
        folder = Path(top)
        make_consents(folder, round(given.consents * 1e6), given.memory_limit)
        print(f"{os.cpu_count()} cores, database limit {given.memory_limit}, "
              f"{given.consents:g} M consent records")  # fmt: skip
        for millions in given.millions:
            make_detections(folder, round(millions * 1e6), given.memory_limit)
            floor = run("floor", folder, given.memory_limit)
            parts = " + ".join(f"{part:.1f}" for part in floor["parts"])
            line(millions, "floor", floor, f"({parts})")
            for step in ("judge", *(["affected"] if given.affected else [])):
                done = run(step, folder, given.memory_limit)
                ratio = done["seconds"] / floor["seconds"]
                line(millions, step, done, f"ratio {ratio:.2f} (promise {PROMISE})")


def line(millions: float, name: str, done: dict[str, Any], more: str) -> None:
    print(f"{millions:6g} M  {name:8} {done['seconds']:7.1f} s  peak {done['peak'] / 1e9:4.1f} GB"
          f"  {more}", flush=True)  # fmt: skip


def run(step: str, folder: Path, limit: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.judge", "--step", step, str(folder)]
    done = subprocess.run(
        [*command, "--memory-limit", limit], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return cast("dict[str, Any]", json.loads(done.stdout))


def database(folder: Path, limit: str) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(str(folder / "floor.duckdb"))
    con.execute(f"SET memory_limit = '{limit}'")
    con.execute(f"SET threads = {os.cpu_count() or 1}")
    con.execute(f"SET temp_directory = '{folder / 'spill'}'")
    return con


def make_consents(folder: Path, count: int, limit: str) -> None:
    """One in ten records is the second one of a person: a withdrawal or a renewal."""
    people = max(1, count * 9 // 10)
    duckdb.connect(config={"memory_limit": limit}).execute(f"""
        COPY (SELECT md5('p' || range % {people}) AS subject_digest, 'ai-training' AS purpose,
                     CASE WHEN hash(range, 1) % 3 = 0 THEN '*' ELSE 'firm-01' END AS recipient,
                     'biometric' AS data_category,
                     CASE WHEN range < {people} THEN 'given' WHEN range % 2 = 0 THEN 'withdrawn'
                          ELSE 'renewed' END AS state,
                     TIMESTAMPTZ '2019-01-01 00:00:00+00' + to_seconds(
                         (hash(range, 2) % 40000000)::BIGINT + CASE WHEN range < {people} THEN 0
                         ELSE 40000000 END) AS valid_from,
                     CASE WHEN hash(range, 3) % 5 = 0 THEN TIMESTAMPTZ '2020-01-01 00:00:00+00'
                          + to_seconds((hash(range, 4) % 40000000)::BIGINT) END AS valid_until,
                     'r' || range AS record_id, hash(range, 5) % 2 = 0 AS separate,
                     false AS guardian_verified, NULL::VARCHAR AS notice_ref,
                     NULL::TIMESTAMPTZ AS recorded_at
              FROM range({count})) TO '{folder / "consents.parquet"}' (COMPRESSION zstd)""")


def make_detections(folder: Path, count: int, limit: str) -> None:
    """Files are in the order of their names, as every run writes them."""
    people = max(1, count // PER_PERSON)
    total = sum(SHARES.values())
    # "citizens" < "foreign-…": in the order of the locations
    names = sorted(SHARES)
    upto, cases = 0.0, ""
    for name in names:
        upto += SHARES[name] / total * count
        cases += f" WHEN range < {round(upto)} THEN '{name}'"
    key = "dataset_id || '/' || printf('%05d', i // 10000) || '/' || printf('%09d', i) || '.jpg'"
    duckdb.connect(config={"memory_limit": limit}).execute(f"""
        COPY (SELECT 's3://export/' || {key} AS location, printf('%09d', i) AS item_id,
                     'biometric.face' AS kind, 'source_image' AS representation,
                     'content' AS basis, 1::BIGINT AS count, 0.98::FLOAT AS confidence,
                     'certain' AS certainty, NULL::FLOAT[] AS box, 'drawn' AS detector,
                     '1' AS detector_version, md5('p' || hash(i, 6) % {people}) AS subject_digest,
                     dataset_id, NULL::VARCHAR AS object_key, NULL::VARCHAR AS item_key
              FROM (SELECT range AS i, CASE {cases} ELSE '{names[-1]}' END AS dataset_id
                    FROM range({count})))
        TO '{folder / "detections.parquet"}' (COMPRESSION zstd)""")
    pq.write_table(schemas.COVERAGE.empty_table(), folder / "coverage.parquet")


def measured(started: float, **more: object) -> dict[str, object]:
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: KiB
    return {"seconds": seconds, "peak": peak, **more}


def floor(folder: Path, limit: str) -> dict[str, object]:
    """By hand: of each person's matching records known at that moment, the newest."""
    con = database(folder, limit)
    started = time.perf_counter()
    con.execute(f"""
        WITH best AS (
            SELECT subject_digest, arg_max(state, valid_from) AS state,
                   arg_max(valid_until, valid_from) AS valid_until
            FROM read_parquet('{folder / "consents.parquet"}')
            WHERE purpose = 'ai-training' AND recipient IN ('firm-01', '*')
              AND valid_from <= TIMESTAMPTZ '{WHEN}'
            GROUP BY subject_digest)
        SELECT d.dataset_id, b.state, b.valid_until > TIMESTAMPTZ '{WHEN}' AS holds, count(*)
        FROM read_parquet('{folder / "detections.parquet"}') d
        LEFT JOIN best b ON b.subject_digest = d.subject_digest
        GROUP BY ALL""").fetchall()
    joined = time.perf_counter() - started
    con.execute(f"""
        SELECT dataset_id, count(DISTINCT subject_digest)
        FROM read_parquet('{folder / "detections.parquet"}') GROUP BY dataset_id""").fetchall()
    seconds = time.perf_counter() - started
    result = measured(started, parts=[joined, seconds - joined])
    con.close()
    shutil.rmtree(folder / "spill", ignore_errors=True)
    (folder / "floor.duckdb").unlink()
    return result


def judged(folder: Path, limit: str, list_affected: bool = False) -> dict[str, object]:
    def table(schema: pa.Schema, rows: list[dict[str, object]]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=schema)

    datasets: list[dict[str, object]] = [
        {
            "dataset_id": name, "controller": "moj", "jurisdiction": "KR", "source": "direct",
            "collected_for": "border-control", "legal_basis": "consent",
            "subject_key_quality": "exact",
        }
        for name in SHARES
    ]  # fmt: skip
    transfers: list[dict[str, object]] = [
        {
            "transfer_id": f"to-firm-{name}", "dataset_id": name, "exporter_id": "moj",
            "importer_id": "firm-01", "role_of_recipient": "third_party", "purpose": "ai-training",
            "started_at": WHEN,
        }
        for name in SHARES
    ]  # fmt: skip
    parties: list[dict[str, object]] = [
        {"party_id": "moj", "type": "public_body", "country": "KR"},
        {"party_id": "firm-01", "type": "company", "country": "KR"},
    ]
    context = Context(
        datasets=table(schemas.DATASETS, datasets),
        manifest_rows=schemas.MANIFEST_ROWS.empty_table(),
        consents=cast("pa.Table", folder / "consents.parquet"),  # read from disk, never held
        transfers=table(schemas.TRANSFERS, transfers),
        parties=table(schemas.PARTIES, parties),
        evidence=schemas.EVIDENCE.empty_table(),
    )
    packs = load_packs(["kr-pipa"], ROOT)
    started = time.perf_counter()
    judgement = judge(
        detections=folder / "detections.parquet",
        items=None,
        coverage=folder / "coverage.parquet",
        context=context,
        packs=packs,
        as_of=datetime(2022, 4, 27, tzinfo=UTC),
        workdir=folder / "work",
        previous={},
        memory_limit=limit,
        list_affected=list_affected,
    )
    return measured(
        started, rules=sum(len(p.rules) for p in packs), findings=judgement.findings.num_rows
    )


def affected(folder: Path, limit: str) -> dict[str, object]:
    return judged(folder, limit, list_affected=True)


STEPS = {"floor": floor, "judge": judged, "affected": affected}

if __name__ == "__main__":
    main()

"""What it costs to join consents from a real PostgreSQL server, in rows per second and in memory.

    python -m benchmarks.postgres [--records 2000000] [--people 1000000] [--folder DIR]

Starts a server of its own (Debian's `postgresql` package, or any `initdb` and `postgres` in PATH),
fills a table of consents, then in fresh processes: copies the table out as text and throws it away
(the floor), reads it as a registry, and joins it with the people of a run. Prints seconds, rows per
second, the peak of resident memory of each, and the ratio to the floor. The promise: memory does
not grow with the number of records.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEY = b"k" * 32
_TABLE = """
    CREATE TABLE consents AS
    SELECT 'K' || (n % ({records} / 2)) AS subject_key,
           (ARRAY['ai-training', 'border-control', 'dpv:ResearchAndDevelopment'])[n % 3 + 1]
               AS purpose,
           (ARRAY['given', 'given', 'given', 'withdrawn'])[n % 4 + 1] AS state,
           (ARRAY['acme', '*'])[n % 2 + 1] AS recipient, 'biometric' AS data_category,
           DATE '2019-01-01' + (n % 700) AS valid_from,
           DATE '2027-01-01' + (n % 700) AS valid_until,
           'R' || n AS record_id, n % 5 = 0 AS separate,
           TIMESTAMPTZ '2019-01-01' + (n % 700) * INTERVAL '1 day' AS recorded_at
    FROM generate_series(0, {records} - 1) n"""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--records", type=int, default=2_000_000)
    options.add_argument("--people", type=int, default=1_000_000)
    options.add_argument("--folder", type=Path, help="where to keep the server's data")
    options.add_argument("--part", choices=("floor", "read", "join"), help=argparse.SUPPRESS)
    options.add_argument("--url", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.part is not None:
        print(json.dumps(_measured(given)))
        return
    with server(given.folder) as url:
        started = time.perf_counter()
        _run(url, _TABLE.format(records=given.records), "ANALYZE consents")
        print(f"{given.records:,} records made in {time.perf_counter() - started:.0f} s")
        floor = 0.0
        for part in ("floor", "read", "join"):
            arguments = [f"--records={given.records}", f"--people={given.people}"]
            command = [sys.executable, "-m", "benchmarks.postgres", f"--part={part}"]
            done = subprocess.run(
                [*command, f"--url={url}", *arguments],
                check=True, capture_output=True, text=True, cwd=ROOT,
            )  # fmt: skip
            found = json.loads(done.stdout)
            floor = floor or found["seconds"]
            print(
                f"{part:6} {found['seconds']:7.1f} s {given.records / found['seconds']:>11,.0f} "
                f"rows/s  peak {found['peak_mb']:6,.0f} MB  (before {found['before_mb']:,.0f})  "
                f"{found['seconds'] / floor:5.2f} × floor  {found.get('note', '')}",
                flush=True,
            )


def _measured(given: argparse.Namespace) -> dict[str, object]:
    """One part, in this process: seconds, and the peak of resident memory in MB."""
    note = ""
    if given.part == "floor":
        import pyarrow  # noqa: F401 - what every process here has loaded
        from adbc_driver_postgresql import dbapi

        before, started = _peak(), time.perf_counter()
        with dbapi.connect(given.url) as connection, connection.cursor() as cursor:
            names = "subject_key purpose state recipient data_category valid_from valid_until"
            names += " record_id separate recorded_at"
            asked = ", ".join(f"{name}::text" for name in names.split())
            cursor.execute(f"SELECT {asked} FROM consents")
            rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    else:
        from scanner.context.registries import read_registry
        from scanner.model import RegistrySpec
        from scanner.subjects import SubjectKey

        if given.part == "join":
            import duckdb  # noqa: F401 - loaded before the clock starts
        before, started = _peak(), time.perf_counter()
        spec = RegistrySpec("consents", url=given.url, table="consents")
        with tempfile.TemporaryDirectory() as folder:
            table = read_registry(spec, SubjectKey(KEY), spool=Path(folder))
            rows = table.num_rows
            if given.part == "join":
                note = _join(table, given.people, Path(folder))
    seconds = time.perf_counter() - started
    assert rows == given.records, rows
    return {"seconds": seconds, "peak_mb": _peak(), "before_mb": before, "note": note}


def _join(table: Any, people: int, folder: Path) -> str:
    """As judging does: the people of a run, their consents, one use."""
    import duckdb
    import pyarrow as pa

    from scanner.policy import consents
    from scanner.subjects import SubjectKey

    con = duckdb.connect(str(folder / "judging.duckdb"))
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"SET temp_directory = '{folder / 'spill'}'")
    con.execute("SET memory_limit = '1GB'")
    con.execute("SET preserve_insertion_order = false")
    con.execute("CREATE TEMP TABLE digests (subject_no BIGINT, digest VARCHAR)")
    key = SubjectKey(KEY)
    for start in range(0, people, 100_000):
        numbers = range(start, min(start + 100_000, people))
        digests = key.digest_array(pa.array([f"K{n}" for n in numbers]))
        con.register("piece", pa.table({"subject_no": list(numbers), "digest": digests}))
        con.execute("INSERT INTO digests SELECT * FROM piece")
        con.unregister("piece")
    con.execute("CREATE TEMP VIEW subject AS SELECT * FROM digests")
    con.execute(
        "CREATE TEMP TABLE record AS SELECT 1 AS dataset_no, subject_no, 'biometric.face' AS kind "
        "FROM subject"
    )
    con.execute(
        "CREATE TEMP TABLE use AS SELECT 1 AS dataset_no, 1 AS ask_no, 'ai-training' AS purpose, "
        "'acme' AS recipient, 'moj' AS controller, TIMESTAMPTZ '2026-01-01' AS event_time"
    )
    consents.build(con, table.to_reader())
    (decided,) = con.execute("SELECT count(*) FROM consent_of").fetchone() or (0,)
    con.close()
    return f"{decided:,} people decided"


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---------------------------------------------------------------- a server


def _binaries() -> Path:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    if found is None:
        sys.exit("no PostgreSQL server is installed")
    return Path(found).parent


@contextmanager
def server(folder: Path | None = None) -> Iterator[str]:
    """A PostgreSQL server with its own data, on the loopback interface; its URL."""
    binaries = _binaries()
    # the server refuses to run as root
    account: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    top = Path(tempfile.mkdtemp(prefix="pg", dir=folder))
    if account:
        shutil.chown(top, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    initdb = [str(binaries / "initdb"), "-D", str(top / "data"), "-U", "reader", "-A", "trust"]
    subprocess.run(
        [*initdb, "-E", "UTF8", "--locale=C", "--no-sync"], check=True, **account, **quiet
    )
    settings = (
        "listen_addresses=127.0.0.1",
        "shared_buffers=128MB",
        "max_wal_size=4GB",
        "wal_level=minimal",
        "max_wal_senders=0",
        "max_parallel_workers_per_gather=0",
    )
    command = [str(binaries / "postgres"), "-D", str(top / "data"), "-p", str(port)]
    command += ["-k", str(top), "-F"]
    for setting in settings:
        command += ["-c", setting]
    process = subprocess.Popen(command, **account, **quiet)
    url = f"postgresql://reader@127.0.0.1:{port}/postgres"
    try:
        for _ in range(200):
            try:
                _run(url, "SELECT 1")
                break
            except Exception:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(top, ignore_errors=True)


def _run(url: str, *statements: str) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


if __name__ == "__main__":
    main()

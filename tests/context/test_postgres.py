"""Registries in PostgreSQL, against a real server where one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scanner.context import registries
from scanner.context.registries import read_registry
from scanner.context.spool import Spooled, collected
from scanner.errors import ConfigError, MissingExtra
from scanner.model import RegistrySpec
from scanner.subjects import SubjectKey

KEY = SubjectKey(b"k" * 32)
PASSWORD = "s3cretpw"
BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    pytest.importorskip("adbc_driver_postgresql")
    if BIN is None or not (BIN / "initdb").exists():
        pytest.skip("no PostgreSQL server is installed")
    # the server refuses to run as root
    account: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if account:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", _port()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    secret = folder / "pw"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    subprocess.run(
        [
            BIN / "initdb",
            "-D",
            data,
            "-U",
            "reader",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ],
        check=True,
        **account,
        **quiet,
    )
    server = subprocess.Popen(
        [
            BIN / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            str(folder),
            "-F",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "shared_buffers=16MB",
        ],
        **account,
        **quiet,
    )
    address = f"postgresql://reader:{PASSWORD}@127.0.0.1:{port}/postgres"
    try:
        for _ in range(200):
            try:
                _run(address, "SELECT 1")
                break
            except Exception:
                time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _run(url: str, *statements: str) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_typed_table(url: str) -> None:
    _run(
        url,
        'CREATE SCHEMA "Privacy Office"',
        "CREATE TYPE state AS ENUM ('given', 'withdrawn')",
        """CREATE TABLE "Privacy Office"."con""sents" (
            "Person ID" uuid, purpose text, state state, valid_from date, valid_until date,
            recorded_at timestamptz, separate boolean, guardian_verified integer,
            record_id numeric, other json)""",
        """INSERT INTO "Privacy Office"."con""sents" VALUES
            ('00010203-0405-0607-0809-0a0b0c0d0e0f', 'ai-training', 'given', '2021-01-01',
             '2022-12-31', '2021-01-01 09:00:00.5+09', true, 0, 17, '{}'),
            ('10010203-0405-0607-0809-0a0b0c0d0e0f', '얼굴', 'withdrawn', NULL,
             'infinity', NULL, NULL, 1, NULL, NULL)""",
    )
    found = read_registry(
        RegistrySpec(
            "consents",
            url=url,
            table='Privacy Office.con"sents',
            columns={"subject_key": "Person ID"},
        ),
        KEY,
    )
    first, second = found.to_pylist()
    assert first == {
        "subject_digest": KEY.digest("00010203-0405-0607-0809-0a0b0c0d0e0f"),
        "purpose": "ai-training",
        "recipient": None,
        "data_category": None,
        "state": "given",
        "valid_from": datetime(2021, 1, 1, tzinfo=UTC),
        "valid_until": datetime(2023, 1, 1, tzinfo=UTC),
        "record_id": "17",
        "separate": True,
        "guardian_verified": False,
        "notice_ref": None,
        "recorded_at": datetime(2021, 1, 1, 0, 0, 0, 500000, tzinfo=UTC),
    }
    assert (second["purpose"], second["state"], second["separate"]) == ("얼굴", "withdrawn", None)
    assert second["valid_until"] == datetime.max.replace(tzinfo=UTC)


def test_an_empty_table_and_many_rows(url: str) -> None:
    _run(
        url,
        "CREATE TABLE nobody (party_id text)",
        "CREATE TABLE many AS SELECT 'P' || n AS party_id FROM generate_series(1, 200000) n",
    )
    assert read_registry(RegistrySpec("parties", url=url, table="nobody"), KEY).num_rows == 0
    assert (
        read_registry(RegistrySpec("parties", url=url, table="public.many"), KEY).num_rows == 200000
    )


def _said(spec: RegistrySpec) -> str:
    with pytest.raises(ConfigError) as caught:
        read_registry(spec, KEY)
    said = str(caught.value)
    assert PASSWORD not in said
    assert "S3CRET" not in said
    assert "\n" not in said
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return said


def test_what_is_wrong_is_said_without_password_or_values(url: str) -> None:
    _run(
        url,
        "CREATE TABLE bad (party_id text, type text)",
        "INSERT INTO bad VALUES ('a', 'company'), ('b', 'S3CRET')",
    )
    assert "row 2, column 'type': expected one of" in _said(
        RegistrySpec("parties", url=url, table="bad")
    )
    assert "table nothing: the table cannot be read" in _said(
        RegistrySpec("parties", url=url, table="nothing")
    )
    assert "no column 'evidence_id'" in _said(RegistrySpec("evidence", url=url, table="bad"))
    assert "'schema.name'" in _said(RegistrySpec("parties", url=url, table="a.b.c"))
    injected = RegistrySpec("parties", url=url, table='bad"; DROP TABLE bad; --')
    assert "cannot be read" in _said(injected)
    assert "row 2" in _said(RegistrySpec("parties", url=url, table="bad"))
    wrong = url.replace(PASSWORD, PASSWORD + "x")
    assert "cannot be connected to" in _said(RegistrySpec("parties", url=wrong, table="bad"))


def test_a_connection_that_breaks_half_way_gives_nothing(url: str) -> None:
    # the 50,001st row ends the session that reads it
    _run(
        url,
        """CREATE FUNCTION doom(n bigint) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
           BEGIN IF n > 50000 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
           RETURN 'P' || n; END $$""",
        "CREATE VIEW doomed AS SELECT doom(n) AS party_id FROM generate_series(1, 100000) n",
    )
    assert "reading the table failed" in _said(RegistrySpec("parties", url=url, table="doomed"))


def test_nobody_listens() -> None:
    pytest.importorskip("adbc_driver_postgresql")
    address = f"postgresql://reader:{PASSWORD}@127.0.0.1:{_port()}/db"
    said = _said(RegistrySpec("parties", url=address, table="t"))
    assert said.startswith("postgresql://127.0.0.1:")
    assert "cannot be connected to" in said


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(MissingExtra, match=r"consentry\[postgres\]"):
        read_registry(RegistrySpec("parties", url="postgresql://h/d", table="t"), KEY)


def test_a_long_registry_is_kept_on_disk_and_is_the_same(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(
        url,
        "CREATE TABLE long AS SELECT 'K' || n AS subject_key, 'p' || n % 3 AS purpose, "
        "'given' AS state, DATE '2020-01-01' + n % 900 AS valid_from "
        "FROM generate_series(1, 60000) n",
    )
    spec = RegistrySpec("consents", url=url, table="long")
    whole = read_registry(spec, KEY, spool=tmp_path)
    assert isinstance(whole, pa.Table)
    monkeypatch.setattr(registries, "collected", partial(collected, limit=1000))
    kept = read_registry(spec, KEY, spool=tmp_path)
    assert isinstance(kept, Spooled)
    assert kept.num_rows == 60000
    for _ in range(2):  # any number of times
        assert kept.to_reader().read_all().equals(whole)
    assert list(tmp_path.iterdir()) == []  # nothing with a name: nothing can stay behind


def test_a_server_that_goes_away_midway(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader waits for rows when the server is told to stop at once: nothing is evaluated."""
    _run(
        url,
        "CREATE FUNCTION slowly(n bigint) RETURNS text LANGUAGE plpgsql VOLATILE AS $$ "
        "BEGIN IF n > 40000 THEN PERFORM pg_sleep(0.05); END IF; RETURN 'K' || n; END $$",
        "CREATE VIEW slow AS SELECT slowly(n) AS subject_key, 'p' AS purpose, 'given' AS state "
        "FROM generate_series(1, 80000) n",
    )
    from adbc_driver_postgresql import dbapi

    monkeypatch.setattr(registries, "collected", partial(collected, limit=1000))
    said: list[str] = []
    reader = threading.Thread(
        target=lambda: said.append(_said(RegistrySpec("consents", url=url, table="slow")))
    )
    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        reader.start()
        for _ in range(200):  # the reader's own session is at it
            time.sleep(0.05)
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND query LIKE '%slow%' AND state = 'active' "
                "AND now() - query_start > INTERVAL '0.5 seconds'"
            )
            if cursor.fetchall():
                break
    reader.join(30)
    (text,) = said
    assert "table slow: reading the table failed" in text

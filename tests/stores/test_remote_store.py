"""Places behind fsspec drivers: a real FTP server on loopback, and drivers that misbehave."""

from __future__ import annotations

import gc
import importlib.util
import io
import random
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scanner.errors import CredentialsExpired, StoreError, UsageError
from scanner.model import ObjectInfo, StoreSpec
from scanner.stores import Store, open_store
from scanner.stores.remote import RemoteStore, _moment

BIG = random.Random(1).randbytes(2_000_000)


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[str]:
    """The URL, with password, of an FTP server that serves tmp_path."""
    if importlib.util.find_spec("pyftpdlib") is None:
        pytest.skip("pyftpdlib is not installed (it is in the dev extra)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        [*command, "-u", "ann", "-P", "hunter2", "-d", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"ftp://ann:hunter2@127.0.0.1:{port}"
    server.kill()
    server.wait()
    with warnings.catch_warnings():  # fsspec's FTP driver leaves closing to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def read(store: Store, info: ObjectInfo) -> bytes:
    with store.open(info) as stream:
        return stream.read()


def test_an_ftp_server(ftp: str, tmp_path: Path) -> None:
    for name, data in (("big", BIG), ("d/sp ace.jpg", b"1"), ("d/얼굴/x", b"22"), ("z", b"")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    store = open_store(StoreSpec(ftp + "/"))
    found = {info.key: info for info in store.list()}
    assert list(found) == ["big", "z", "d/sp ace.jpg", "d/얼굴/x"]
    assert [info.size for info in found.values()] == [2_000_000, 0, 1, 2]
    assert read(store, found["d/얼굴/x"]) == b"22"
    assert read(store, found["z"]) == b""
    assert read(store, found["big"]) == BIG
    with store.open(found["big"]) as stream:
        for start in (1_999_990, 5, 1_000_000):
            stream.seek(start)
            assert stream.read(50_000) == BIG[start : start + 50_000]
    shown = [str(store.location(key)) for key in found]
    assert "hunter2" not in " ".join(shown)
    assert "ann" not in " ".join(shown)
    assert shown[2].endswith("/d/sp ace.jpg")

    inner = open_store(StoreSpec(ftp + "/d"))
    assert [info.key for info in inner.list()] == ["sp ace.jpg", "얼굴/x"]
    single = open_store(StoreSpec(ftp + "/d/sp ace.jpg"))
    (info,) = single.list()
    assert (info.key, read(single, info)) == ("sp ace.jpg", b"1")

    with ThreadPoolExecutor(4) as pool:  # one line to the server, many threads
        several = list(pool.map(lambda n: read(store, found[("big", "d/얼굴/x")[n % 2]]), range(8)))
    assert several == [BIG, b"22"] * 4

    assert store.renewed(found["big"]) == found["big"]
    (tmp_path / "big").write_bytes(b"other")
    (tmp_path / "z").unlink()
    now = store.renewed(found["big"])
    assert now is not None
    assert (now.key, now.size, read(store, now)) == ("big", 5, b"other")
    assert store.renewed(found["z"]) is None
    for key, reason in (("big", "changed"), ("z", "vanished")):
        with pytest.raises(StoreError) as caught:
            store.open(found[key])
        assert caught.value.reason == reason
    for wrong in (ftp + "/missing", ftp.replace("hunter2", "hunter3") + "/"):
        with pytest.raises(UsageError) as refused:
            open_store(StoreSpec(wrong))
        assert "hunter" not in str(refused.value)


# ---------------------------------------------------------------- drivers that misbehave


class Driver:
    """Enough of fsspec's interface; a folder's entries may be an exception."""

    def __init__(self, folders: dict[str, Any]) -> None:
        self.folders = folders

    def info(self, path: str) -> dict[str, Any]:
        if path in self.folders:
            return {"name": path, "type": "directory", "size": 0}
        for entries in self.folders.values():
            for entry in entries if isinstance(entries, list) else ():
                if entry["name"] == path:
                    return dict(entry)
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool) -> list[dict[str, Any]]:
        entries = self.folders[path]
        if isinstance(entries, Exception):
            raise entries
        return list(entries)


def entry(name: str, size: int | None = 1, kind: str = "file", **more: object) -> dict[str, Any]:
    return {"name": name, "size": size, "type": kind, **more}


def over(monkeypatch: pytest.MonkeyPatch, folders: dict[str, Any]) -> RemoteStore:
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url, **options: (Driver(folders), "b"))
    monkeypatch.setattr("scanner.stores.remote._check_driver", lambda scheme: None)
    return RemoteStore(StoreSpec("gs://b"), "gs")


def test_folders_that_may_not_be_listed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {
        "b": [
            entry("b/x"),
            entry("b/shut", kind="directory"),
            entry("b/gone", kind="directory"),
            entry("b/odd", kind="other"),
            entry("b/sizeless", None),
        ],
        "b/shut": PermissionError("secret text"),
        "b/gone": FileNotFoundError("secret text"),
    }
    found = {info.key: info.problem for info in over(monkeypatch, folders).list()}
    assert {key: problem and problem[0] for key, problem in found.items()} == {
        "x": None, "odd": "unsupported", "sizeless": "unsupported",
        "shut/": "denied", "gone/": "vanished",
    }  # fmt: skip


@pytest.mark.parametrize("broken", [OSError("secret"), ValueError("secret"), EOFError()])
def test_a_listing_that_breaks_off(monkeypatch: pytest.MonkeyPatch, broken: Exception) -> None:
    folders = {"b": [entry("b/x"), entry("b/d", kind="directory")], "b/d": broken}
    rows = over(monkeypatch, folders).list()
    assert next(rows).key == "x"
    with pytest.raises(StoreError) as caught:
        next(rows)
    assert caught.value.reason == "listing"
    assert "secret" not in str(caught.value)


def test_listings_that_repeat_themselves_end(monkeypatch: pytest.MonkeyPatch) -> None:
    marker, itself = entry("b/d/", 0), entry("b/d", 0, kind="directory")
    folders = {
        "b": [entry("b/d", kind="directory"), entry("b", kind="directory")],
        "b/d": [marker, itself, entry("b/d/", 0, kind="directory"), entry("b/d/x")],
    }
    found = list(over(monkeypatch, folders).list())
    assert [(info.key, info.problem and info.problem[0]) for info in found] == [
        ("d//", "listing"),  # what is in "d//" cannot be listed by such a driver
        ("d/x", None),
    ]
    with pytest.raises(StoreError, match="outside the target"):
        list(over(monkeypatch, {"b": [entry("elsewhere/x")]}).list())


# ---------------------------------------------------------------- credentials that expire


class Cloud:
    """Drivers made one after the other; those below `good` are told 401."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.good = 1
        self.made = 0
        monkeypatch.setattr("fsspec.core.url_to_fs", lambda url, **options: (self.driver(), "b"))
        monkeypatch.setattr("scanner.stores.remote._check_driver", lambda scheme: None)

    def driver(self) -> Any:
        cloud, listed = self, Driver({"b": [entry("b/x", 3, etag="e")]})
        cloud.made += 1
        number = cloud.made

        class Refused(Exception):
            code = 401

        def check() -> None:
            if number < cloud.good:
                raise Refused("secret text")

        class Signed:
            def info(self, path: str) -> dict[str, Any]:
                check()
                return listed.info(path)

            def ls(self, path: str, detail: bool) -> list[dict[str, Any]]:
                check()
                return listed.ls(path, detail)

            def open(self, path: str, mode: str) -> Any:
                check()

                class File(io.BytesIO):
                    def read(self, count: int | None = -1) -> bytes:
                        check()
                        return super().read(count)

                return File(b"abc")

        return Signed()


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_cloud_credentials_are_renewed_once(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    cloud = Cloud(monkeypatch)
    store = RemoteStore(StoreSpec(f"{scheme}://b"), scheme)
    (info,) = store.list()
    early = store.open(info)
    cloud.good = 2
    assert early.read() == b"abc"  # opened by the old driver, read by the new one
    assert read(store, info) == b"abc"
    late = store.open(info)
    cloud.good = 9
    for again in (late.read, store.list().__next__, lambda: store.open(info)):
        with pytest.raises(CredentialsExpired) as caught:
            again()
        assert "secret" not in str(caught.value)
    assert isinstance(getattr(late, "failure", None), CredentialsExpired)
    assert cloud.made == 3
    with pytest.raises(CredentialsExpired):
        store.sign_in_again()
    cloud.good = 5
    store.sign_in_again()
    assert [read(store, row) for row in store.list()] == [b"abc"]
    assert cloud.made == 5
    early.close()
    late.close()


def test_a_page_that_wants_a_password_is_only_that_page(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch)
    store = RemoteStore(StoreSpec("https://host/"), "https")
    cloud.good = 9
    with pytest.raises(StoreError) as caught:
        store.open(ObjectInfo("x", 3, "e"))
    assert caught.value.reason == "denied"
    assert not isinstance(caught.value, CredentialsExpired)
    assert cloud.made == 1


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("20260102030405.123", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1767323045, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("yesterday", None),
        (1e300, None),
        ("99999999999999", None),
        (None, None),
    ],
)
def test_times_of_drivers(value: object, moment: datetime | None) -> None:
    assert _moment(value) == moment

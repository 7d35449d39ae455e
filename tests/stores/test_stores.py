"""Which store a target belongs to, and how targets are printed."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from scanner.errors import MissingExtra, ScannerError, UsageError
from scanner.model import StoreSpec
from scanner.stores import open_store, public_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/data/a b", "/data/a b"),
        ("s3://bucket/pre?x#y", "s3://bucket/pre?x#y"),
        ("ftp://ann:pw@host:21/x@y", "ftp://host:21/x@y"),
        ("sftp://ann@host/x", "sftp://host/x"),
        ("https://u:p@host/x/?token=abc", "https://host/x/"),
        ("https://host?token=abc", "https://host"),
        ("abfs://container@account.example/x?sig=abc", "abfs://container@account.example/x"),
        ("abfs://ann:pw@account.example/x", "abfs://account.example/x"),
    ],
)
def test_public_url_has_no_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("", UsageError, "target is empty"),
        ("gs://bucket", MissingExtra, r"consentry\[gcs\]"),
        ("az://container", MissingExtra, r"consentry\[azure\]"),
        ("oci://bucket", UsageError, "ocifs"),
        ("nope://x", UsageError, "not a known kind of store; known: .*s3"),
        ("memory://x", UsageError, "no place where data is kept"),
        ("simplecache::s3://bucket", UsageError, "chained"),
        ("file://elsewhere/x", UsageError, "this machine"),
        ("s3://", UsageError, "no bucket named"),
        ("s3://key:secret@bucket/x", UsageError, "credentials do not belong"),
    ],
)
def test_wrong_targets_say_what_to_do(url: str, kind: type[ScannerError], text: str) -> None:
    driver = {"gs": "gcsfs", "az": "adlfs"}.get(url[:2])
    if driver is not None and importlib.util.find_spec(driver) is not None:
        pytest.skip(f"{driver} is installed")
    with pytest.raises(kind, match=text) as caught:
        open_store(StoreSpec(url))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "x").write_bytes(b"1")
    store = open_store(StoreSpec(f"file://{tmp_path}/a%20b"))
    assert [(info.key, str(store.location(info.key))) for info in store.list()] == [
        ("x", f"{tmp_path}/a b/x")
    ]


def test_a_worker_makes_the_store_from_the_pickled_spec(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    spec = pickle.loads(pickle.dumps(StoreSpec(str(tmp_path))))
    listed = list(open_store(StoreSpec(str(tmp_path))).list())
    with open_store(spec).open(listed[0]) as stream:
        assert stream.read() == b"1"


def test_the_package_is_light_to_import() -> None:
    check = (
        "import sys, scanner.stores; "
        "sys.exit(bool({'botocore', 'fsspec', 'urllib3'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

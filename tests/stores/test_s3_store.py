"""Buckets on a loopback S3 server (moto): odd keys, targets, versions, big objects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import botocore.loaders
import botocore.session
import pytest
from moto.server import ThreadedMotoServer

from scanner.errors import StoreError, UsageError
from scanner.model import ObjectInfo, StoreSpec
from scanner.stores import Store, open_store
from scanner.stores.s3 import WHOLE_BYTES

LOADER = botocore.loaders.create_loader()  # shared: reading the models of the SDK takes long
ODD_KEYS = [
    "a//b", "../x", "/lead", "./y", "folder/", "sp ace.jpg", "per%20cent+plus", "얼굴.jpg",
    "e\u0301", "q?x=1#f",
    "a/b/../c", "tab\there", "back\\slash", "amp&<>\"'.txt", "x" * 1000, "~tilde*(!)'",
]  # fmt: skip


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client that may write; the store finds keys and endpoint in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-so-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr("botocore.session.create_loader", lambda path=None: LOADER)
    client = botocore.session.Session().create_client("s3", region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    name = f"b{abs(hash(request.node.name)):x}"
    client.create_bucket(Bucket=name)
    return name


def put(client: Any, bucket: str, *keys: str) -> None:
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=f"<{key}>".encode())


def read(store: Store, info: ObjectInfo) -> bytes:
    with store.open(info) as stream:
        return stream.read()


def test_odd_keys_are_listed_and_opened_byte_for_byte(client: Any, bucket: str) -> None:
    put(client, bucket, *ODD_KEYS)
    store = open_store(StoreSpec(f"s3://{bucket}"))
    found = list(store.list())
    assert [info.key for info in found] == sorted(ODD_KEYS, key=str.encode)
    for info in found:
        assert read(store, info) == f"<{info.key}>".encode()
        assert store.location(info.key).name == f"s3://{bucket}/{info.key}"


TARGETS = {
    "": {"faces/1", "faces/2", "faces/in/3", "faces.tar", "faces.tar.gz", "both", "both/1"},
    "/": {"faces/1", "faces/2", "faces/in/3", "faces.tar", "faces.tar.gz", "both", "both/1"},
    "/faces": {"1", "2", "in/3"},
    "/faces/": {"1", "2", "in/3"},
    "/faces/in": {"3"},
    "/faces/in/3": {"3"},
    "/faces.tar": {"faces.tar"},
    "/both": {"1"},
    "/fac": set(),
    "/missing/": set(),
}


def test_what_a_target_means(client: Any, bucket: str) -> None:
    put(client, bucket, *TARGETS[""])
    for target, expected in TARGETS.items():
        store = open_store(StoreSpec(f"s3://{bucket}{target}"))
        found = list(store.list())
        assert {info.key for info in found} == expected, target
        for info in found:
            key = store.location(info.key).name.removeprefix(f"s3://{bucket}/")
            assert read(store, info) == f"<{key}>".encode()


def test_the_marker_of_the_target_itself_is_listed(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="pre/", Body=b"")
    put(client, bucket, "pre/x")
    store = open_store(StoreSpec(f"s3://{bucket}/pre/"))
    marker, inner = store.list()
    assert (marker.key, marker.size, read(store, marker)) == ("", 0, b"")
    assert (inner.key, store.location("").name) == ("x", f"s3://{bucket}/pre/")


def test_more_than_a_page(client: Any, bucket: str) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(1100):
        backend.put_object(bucket, f"{number:05}", b"x")
    found = list(open_store(StoreSpec(f"s3://{bucket}")).list())
    assert [info.key for info in found] == [f"{number:05}" for number in range(1100)]


def test_archived_objects_are_told(client: Any, bucket: str) -> None:
    for tier in ("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA"):
        client.put_object(Bucket=bucket, Key=tier, Body=b"x", StorageClass=tier)
    found = {info.key: info.problem for info in open_store(StoreSpec(f"s3://{bucket}")).list()}
    for tier in ("GLACIER", "DEEP_ARCHIVE"):
        problem = found[tier]
        assert problem is not None
        assert problem[0] == "denied"
        assert tier in problem[1]
        assert "restored first" in problem[1]
    assert found["GLACIER_IR"] is None
    assert found["STANDARD_IA"] is None


def test_changed_and_vanished_after_the_listing(client: Any, bucket: str) -> None:
    put(client, bucket, "x")
    store = open_store(StoreSpec(f"s3://{bucket}"))
    (info,) = store.list()
    client.put_object(Bucket=bucket, Key="x", Body=b"[x]")
    with pytest.raises(StoreError) as caught:
        store.open(info)
    assert caught.value.reason == "changed"
    (again,) = store.list()
    assert again.version != info.version
    assert again.mtime is not None
    assert read(store, again) == b"[x]"
    client.delete_object(Bucket=bucket, Key="x")
    with pytest.raises(StoreError) as caught:
        store.open(again)
    assert caught.value.reason == "vanished"


def test_random_access_to_a_big_object(client: Any, bucket: str) -> None:
    data = random.Random(1).randbytes(WHOLE_BYTES + 1_000_000)
    client.put_object(Bucket=bucket, Key="big", Body=data)
    store = open_store(StoreSpec(f"s3://{bucket}/big"))
    (info,) = store.list()
    assert read(store, info) == data
    draw = random.Random(2)
    with store.open(info) as stream:
        for _ in range(15):
            start, count = draw.randrange(len(data) + 10), draw.randrange(900_000)
            stream.seek(start)
            assert stream.read(count) == data[start : start + count]
        stream.seek(-4, 2)
        assert stream.read() == data[-4:]
        assert stream.read() == b""
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)


def test_changed_while_being_read(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="big", Body=bytes(WHOLE_BYTES + 1))
    store = open_store(StoreSpec(f"s3://{bucket}"))
    (info,) = store.list()
    with store.open(info) as stream:
        assert stream.read(4) == bytes(4)
        client.put_object(Bucket=bucket, Key="big", Body=b"\1" * (WHOLE_BYTES + 1))
        stream.seek(WHOLE_BYTES - 9)
        with pytest.raises(StoreError) as caught:
            stream.read(1)
        assert caught.value.reason == "changed"
        assert getattr(stream, "failure", None) is caught.value
        stream.seek(0)  # what was read before and what would come now are two objects
        with pytest.raises(StoreError):
            stream.read(WHOLE_BYTES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-such-bucket", "no such bucket"),
        ("Bad Name", "not a legal bucket name|no such bucket"),
    ],
)
def test_wrong_buckets(client: Any, name: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        open_store(StoreSpec(f"s3://{name}/x"))
    assert "\n" not in str(caught.value)

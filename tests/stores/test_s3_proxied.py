"""A bucket (moto) behind a proxy with faults: expiry, throttling, versions, odd servers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.session
import pytest
from botocore import exceptions as sdk

from scanner.errors import CredentialsExpired, StoreError, UsageError
from scanner.model import ObjectInfo, StoreSpec
from scanner.stores import open_store, s3_body
from scanner.stores.s3 import WHOLE_BYTES, S3Store
from scanner.stores.s3_errors import expired
from tests.tools.fault_proxy import (
    Asked,
    FaultProxy,
    Reply,
    meanwhile,
    moto,
    other_etag,
    refuse,
    reset,
    truncated,
    write_credentials,
    writing,
)

LOADER = botocore.loaders.create_loader()
BIG = random.Random(5).randbytes(WHOLE_BYTES + 3_000_000)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultProxy]:
    for name in ("PROFILE", "ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "MAX_ATTEMPTS"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(s3_body, "BODY_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr("botocore.session.create_loader", lambda path=None: LOADER)
    with FaultProxy(server) as made:
        yield made


@pytest.fixture
def sign_in(proxy: FaultProxy, tmp_path: Path) -> Callable[[str], None]:
    """Write credentials to the file; OLD is signed in."""

    def write(name: str) -> None:
        write_credentials(tmp_path, name)

    write("OLD")
    return write


@pytest.fixture
def client(proxy: FaultProxy, sign_in: Callable[[str], None], server: str) -> Iterator[Any]:
    """A client that may write, straight to the server."""
    with writing(server) as client:
        yield client


@pytest.fixture
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    name = f"p{abs(hash(request.node.name)):x}"
    client.create_bucket(Bucket=name)
    for key in ("a", "b", "c", "d"):
        client.put_object(Bucket=name, Key=key, Body=f"<{key}>".encode())
    return name


def store(proxy: FaultProxy, bucket: str, attempts: int | None = 1, **more: Any) -> S3Store:
    spec = StoreSpec(f"s3://{bucket}", endpoint_url=proxy.endpoint, **more)
    return S3Store(spec, attempts=attempts)


def old(asked: Asked) -> bool:
    return asked.access_key == "OLD"


def read(faces: S3Store, info: ObjectInfo) -> bytes:
    with faces.open(info) as stream:
        return stream.read()


# ---------------------------------------------------------------- credentials that expire


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_expired_while_reading_and_renewed(
    proxy: FaultProxy, bucket: str, sign_in: Callable[[str], None], code: str
) -> None:
    faces = store(proxy, bucket)
    infos = list(faces.list())
    proxy.add(refuse(400, code), when=old)
    sign_in("NEW")
    assert [read(faces, info) for info in infos] == [b"<a>", b"<b>", b"<c>", b"<d>"]
    assert proxy.count("GET", status=400) == 1
    assert [asked.access_key for asked in proxy.log if asked.operation == "GET"] == [
        "OLD", "NEW", "NEW", "NEW", "NEW",
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["ExpiredTokenException"])
def test_expired_for_good_is_found_out_once_for_the_whole_store(
    proxy: FaultProxy, bucket: str, sign_in: Callable[[str], None], code: str
) -> None:
    faces = store(proxy, bucket)
    infos = list(faces.list())
    proxy.add(refuse(400, code), operation="*", when=old)
    for info in infos:
        with pytest.raises(CredentialsExpired, match=code) as caught:
            faces.open(info)
        assert caught.value.reason == "denied"
    assert proxy.count("*", status=400) == 2  # the first request, and once more after a renewal
    with pytest.raises(CredentialsExpired):
        next(faces.list())
    with pytest.raises(CredentialsExpired):
        faces.renewed(infos[0])
    assert proxy.count("*", status=400) == 2
    with pytest.raises(CredentialsExpired):
        faces.sign_in_again()
    assert proxy.count("*", status=400) == 3
    sign_in("NEW")
    faces.sign_in_again()
    assert [read(faces, info) for info in infos] == [b"<a>", b"<b>", b"<c>", b"<d>"]


def test_expired_while_listing(
    proxy: FaultProxy, client: Any, bucket: str, sign_in: Callable[[str], None]
) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(1100):
        backend.put_object(bucket, f"{number:05}", b"x")
    faces = store(proxy, bucket)
    fault = proxy.add(
        refuse(400, "ExpiredToken"),
        operation="LIST",
        when=lambda asked: old(asked) and "continuation-token" in asked.query,
    )
    rows = faces.list()
    first = [next(rows).key for _ in range(1000)]
    with pytest.raises(CredentialsExpired):  # not "the listing broke off"
        next(rows)
    assert fault.matched == 2
    faces = store(proxy, bucket)
    rows = faces.list()
    assert [next(rows).key for _ in range(1000)] == first
    sign_in("NEW")
    assert len(list(rows)) == 104


def test_expired_between_two_ranges(
    proxy: FaultProxy, client: Any, bucket: str, sign_in: Callable[[str], None]
) -> None:
    client.put_object(Bucket=bucket, Key="big", Body=BIG)
    faces = store(proxy, bucket)
    info = next(row for row in faces.list() if row.key == "big")
    with faces.open(info) as stream, faces.open(info) as other:
        assert stream.read(10) == other.read(10) == BIG[:10]
        proxy.add(refuse(400, "ExpiredToken"), when=old)
        sign_in("NEW")
        stream.seek(-9, 2)
        assert stream.read() == BIG[-9:]
        proxy.add(refuse(400, "ExpiredToken"))
        other.seek(-9, 2)
        with pytest.raises(CredentialsExpired) as caught:
            other.read()
        assert getattr(other, "failure", None) is caught.value


def test_an_answer_to_head_does_not_say_why(
    proxy: FaultProxy, bucket: str, sign_in: Callable[[str], None]
) -> None:
    faces = store(proxy, bucket)
    info = next(faces.list())
    proxy.add(refuse(400, "ExpiredToken"), operation="*", when=old)
    sign_in("NEW")
    assert faces.renewed(info) == info
    proxy.clear()
    proxy.add(refuse(403, "AccessDenied"), operation="HEAD")
    with pytest.raises(StoreError) as caught:
        faces.renewed(info)
    assert caught.value.reason == "denied"
    assert not isinstance(caught.value, CredentialsExpired)
    proxy.add(refuse(400, "ExpiredToken"), operation="LIST")
    with pytest.raises(CredentialsExpired):
        faces.renewed(info)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        *[
            (sdk.ClientError({"Error": {"Code": code}}, "GetObject"), code)
            for code in ("ExpiredToken", "TokenRefreshRequired", "InvalidToken")
        ],
        (sdk.ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"), "AccessDenied"),
        (sdk.ClientError({"Error": {"Code": "Throttling"}}, "AssumeRole"), None),
        (sdk.ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"), None),
        (sdk.UnauthorizedSSOTokenError(), "UnauthorizedSSOTokenError"),
        (RuntimeError("the refreshed credentials are still expired."), "still expired"),
        (RuntimeError("something else"), None),
    ],
)
def test_what_counts_as_expired(error: Exception, why: str | None) -> None:
    assert expired(error) == why


def test_threads_share_one_renewal(
    proxy: FaultProxy, bucket: str, sign_in: Callable[[str], None]
) -> None:
    faces = store(proxy, bucket)
    infos = list(faces.list())
    proxy.add(refuse(400, "ExpiredToken"), when=old)
    sign_in("NEW")
    made: list[object] = []
    connect = faces._connection._connect
    faces._connection._connect = lambda: made.append(threading.get_ident()) or connect()  # type: ignore[func-returns-value]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: read(faces, infos[n % 4]), range(64)))
    assert got == [f"<{'abcd'[n % 4]}>".encode() for n in range(64)]
    assert len(made) == 1


# ---------------------------------------------------------------- changed, gone


def test_the_object_as_it_is_now(proxy: FaultProxy, client: Any, bucket: str) -> None:
    faces = store(proxy, bucket)
    info, other, *_ = faces.list()
    assert faces.renewed(info) == info
    client.put_object(Bucket=bucket, Key="a", Body=b"another")
    now = faces.renewed(info)
    assert now is not None
    assert (now.key, now.size, now.problem) == ("a", 7, None)
    assert now == next(faces.list())
    assert read(faces, now) == b"another"
    client.delete_object(Bucket=bucket, Key="b")
    assert faces.renewed(other) is None
    client.put_object(Bucket=bucket, Key="a", Body=b"x", StorageClass="DEEP_ARCHIVE")
    frozen = faces.renewed(info)
    assert frozen is not None
    assert frozen.problem is not None
    assert "DEEP_ARCHIVE" in frozen.problem[1]
    single = S3Store(StoreSpec(f"s3://{bucket}/c", endpoint_url=proxy.endpoint))
    (only,) = single.list()
    assert single.renewed(only) == only


def test_a_server_that_ignores_if_match(proxy: FaultProxy, client: Any, bucket: str) -> None:
    """The object changes between two ranges, and the server sends the new one's bytes."""
    client.put_object(Bucket=bucket, Key="big", Body=BIG)
    faces = store(proxy, bucket)
    info = next(row for row in faces.list() if row.key == "big")
    proxy.add(other_etag("feedfacefeedfacefeedfacefeedface"), key="big", first=2)
    with faces.open(info) as stream:
        assert stream.read(10) == BIG[:10]
        stream.seek(-9, 2)
        with pytest.raises(StoreError) as caught:
            stream.read()
    assert caught.value.reason == "changed"


@pytest.mark.parametrize("version", [True, False])
def test_overwritten_while_a_broken_body_is_taken_up(
    proxy: FaultProxy, client: Any, bucket: str, version: bool
) -> None:
    """Even where the listing gave no ETag, the bytes are of one version or there are none."""
    client.put_object(Bucket=bucket, Key="big", Body=BIG)
    faces = store(proxy, bucket)
    info = next(row for row in faces.list() if row.key == "big")
    if not version:
        info = ObjectInfo("big", info.size)
    proxy.add(truncated(3_000_000), key="big", times=1)
    proxy.add(
        meanwhile(lambda: client.put_object(Bucket=bucket, Key="big", Body=BIG[::-1])), key="big"
    )
    with pytest.raises(StoreError) as caught:
        read(faces, info)
    assert caught.value.reason == "changed"


# ---------------------------------------------------------------- busy, broken


def test_throttled_only_after_patience(proxy: FaultProxy, bucket: str) -> None:
    faces = store(proxy, bucket, attempts=3)
    infos = list(faces.list())
    proxy.add(refuse(503, "SlowDown"), key="a", times=2)
    proxy.add(reset(), key="b", times=1)
    proxy.add(refuse(503, "SlowDown"), key="c")
    assert [read(faces, info) for info in infos[:2]] == [b"<a>", b"<b>"]
    with pytest.raises(StoreError) as caught:
        faces.open(infos[2])
    assert caught.value.reason == "throttled"
    assert [proxy.count("GET", key) for key in "abc"] == [3, 2, 3]
    assert read(faces, infos[3]) == b"<d>"


def test_the_sdks_own_setting_for_attempts_is_kept(
    proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    faces = store(proxy, bucket, attempts=None)
    info = next(faces.list())
    proxy.add(refuse(503, "SlowDown"))
    with pytest.raises(StoreError):
        faces.open(info)
    assert proxy.count("GET") == 2


def test_a_page_of_the_listing_is_asked_for_again(proxy: FaultProxy, bucket: str) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(2100):
        backend.put_object(bucket, f"{number:05}", b"x")
    faces = store(proxy, bucket, attempts=3)

    def later(asked: Asked) -> bool:
        return "continuation-token" in asked.query

    proxy.add(refuse(503, "SlowDown"), operation="LIST", when=later, times=1)
    proxy.add(truncated(100), operation="LIST", when=later, times=1)
    proxy.add(reset(), operation="LIST", when=later, first=2, times=1)
    proxy.log.clear()
    keys = [info.key for info in faces.list()]
    assert len(keys) == len(set(keys)) == 2104
    tokens = [asked.query.get("continuation-token") for asked in proxy.log]
    assert len(tokens) == 6
    assert len({str(token) for token in tokens}) == 3  # none from the start again


@pytest.mark.parametrize("more", ["", "<NextContinuationToken>t</NextContinuationToken>"])
def test_a_listing_that_turns_in_circles(proxy: FaultProxy, bucket: str, more: str) -> None:
    page = (
        f"<ListBucketResult><IsTruncated>true</IsTruncated>{more}"
        "<Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    faces = store(proxy, bucket)
    proxy.add(lambda asked, forward: Reply(200, {}, page.encode()), operation="LIST")
    with pytest.raises(StoreError, match="how its listing goes on"):
        list(faces.list())


def test_an_archive_that_only_reading_tells(proxy: FaultProxy, bucket: str) -> None:
    body = (
        b"<Error><Code>InvalidObjectState</Code><Message>no</Message>"
        b"<StorageClass>INTELLIGENT_TIERING</StorageClass><AccessTier>%s</AccessTier></Error>"
    )
    faces = store(proxy, bucket)
    info = next(faces.list())
    for tier, told in ((b"ARCHIVE_ACCESS", ", ARCHIVE_ACCESS"), (b"s3cret", "")):
        proxy.clear()
        proxy.add(lambda asked, forward, tier=tier: Reply(403, {}, body % tier))  # type: ignore[misc]
        with pytest.raises(StoreError) as caught:
            faces.open(info)
        assert caught.value.reason == "denied"
        text = f"archived in INTELLIGENT_TIERING{told}; must be restored first"
        assert caught.value.detail == text


# ---------------------------------------------------------------- all versions


@pytest.fixture
def versioned(client: Any, bucket: str) -> str:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second", b"third"):
        client.put_object(Bucket=bucket, Key="a", Body=body)
    client.delete_object(Bucket=bucket, Key="b")
    client.put_object(Bucket=bucket, Key="a?versionId=x", Body=b"odd name")
    client.put_object(Bucket=bucket, Key="in/deep", Body=b"one")
    client.put_object(Bucket=bucket, Key="in/deep", Body=b"two")
    return bucket


def test_every_version_but_no_delete_marker(proxy: FaultProxy, client: Any, versioned: str) -> None:
    faces = store(proxy, versioned, all_versions=True)
    infos = list(faces.list())
    assert len({info.key for info in infos}) == len(infos) == 10
    plain = {info.key: info for info in infos if not info.version_id}
    assert sorted(plain) == ["a", "c", "d", "in/deep"]
    assert plain["a"] == next(store(proxy, versioned).list())
    contents = {info.key: read(faces, info) for info in infos}
    assert contents["a"] == b"third"
    older = [info for info in infos if info.key.startswith("a?versionId=") and info.size != 8]
    assert [contents[info.key] for info in older] == [b"second", b"first", b"<a>"]
    assert older[-1].version_id == "null"  # of before the bucket kept versions
    for info in older:
        assert info.key == f"a?versionId={info.version_id}"
        assert info.version.endswith("@" + info.version_id)
        assert str(faces.location(info.key)) == f"s3://{versioned}/{info.key}"
        assert faces.renewed(info) == info
    assert contents["b?versionId=null"] == b"<b>"  # deleted, and still there
    odd = [info for info in infos if info.key.startswith("a?versionId=x?versionId=")]
    assert [contents[info.key] for info in odd] == [b"odd name"]
    gone = older[0]
    client.delete_object(Bucket=versioned, Key="a", VersionId=gone.version_id)
    assert faces.renewed(gone) is None
    with pytest.raises(StoreError) as caught:
        faces.open(gone)
    assert caught.value.reason == "vanished"
    assert {asked.operation for asked in proxy.log} <= {"LIST", "GET", "HEAD"}


@pytest.mark.parametrize(("target", "count"), [("a", 4), ("in", 2), ("in/deep", 2), ("b", 1)])
def test_versions_below_a_target(
    proxy: FaultProxy, versioned: str, target: str, count: int
) -> None:
    url = f"s3://{versioned}/{target}"
    faces = S3Store(StoreSpec(url, endpoint_url=proxy.endpoint, all_versions=True))
    infos = list(faces.list())
    assert len(infos) == count
    for info in infos:
        assert str(faces.location(info.key)).startswith(url)
        assert read(faces, info)


def test_more_versions_than_a_page(proxy: FaultProxy, client: Any, versioned: str) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(400):
        for body in (b"1", b"22", b"333"):
            backend.put_object(versioned, f"n/{number:03}", body)
    spec = StoreSpec(f"s3://{versioned}/n", endpoint_url=proxy.endpoint, all_versions=True)
    infos = list(S3Store(spec).list())
    assert len({info.key for info in infos}) == 1200
    assert sum(info.size for info in infos) == 2400


def test_a_store_without_versions(proxy: FaultProxy, bucket: str, tmp_path: Path) -> None:
    faults = [(501, "NotImplemented", UsageError, "keeps no versions"),
              (403, "AccessDenied", StoreError, "s3:ListBucketVersions")]  # fmt: skip
    for status, code, kind, text in faults:
        proxy.clear()
        proxy.add(refuse(status, code), operation="LIST")
        with pytest.raises(kind, match=text):
            store(proxy, bucket, all_versions=True)
    with pytest.raises(UsageError, match="--all-versions is for s3://"):
        open_store(StoreSpec(str(tmp_path), all_versions=True))

"""`consentry doctor`: buckets with and without permissions, policies, folders."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.session
import pytest

from scanner import doctor
from scanner.errors import UsageError
from scanner.model import StoreSpec
from scanner.stores.rights import Examination
from scanner.stores.s3_rights import PROBE_KEY, WRITES, least_policy, policy_says
from tests.tools.fault_proxy import Asked, FaultProxy, Forward, Reply, moto, refuse

LOADER = botocore.loaders.create_loader()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultProxy]:
    for name in ("PROFILE", "ENDPOINT_URL", "SESSION_TOKEN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "READER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-so-secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr("botocore.session.create_loader", lambda path=None: LOADER)
    with FaultProxy(server) as made:
        yield made


@pytest.fixture
def client(server: str, proxy: FaultProxy) -> Iterator[Any]:
    client = botocore.session.Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=server
    )
    yield client
    client.close()


@pytest.fixture
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    name = f"d{abs(hash(request.node.name)):x}"
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="faces/0.csv", Body=b"")
    client.put_object(Bucket=name, Key="faces/1.csv", Body=b"one")
    client.put_object(Bucket=name, Key="faces/2.csv", Body=b"two", StorageClass="DEEP_ARCHIVE")
    return name


def contents(client: Any, bucket: str) -> tuple[dict[str, str], list[object]]:
    """What is in a bucket, unfinished uploads too."""
    found = client.list_object_versions(Bucket=bucket).get("Versions", ())
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return {row["Key"]: row["ETag"] for row in found}, uploads


def examined(proxy: FaultProxy, target: str, **more: Any) -> Examination:
    probe = more.pop("probe_write", False)
    return doctor.examine(StoreSpec(target, endpoint_url=proxy.endpoint, **more), probe_write=probe)


def unknown_uploads(asked: Asked, forward: Forward) -> Reply:
    """moto asks for permission, then stumbles (500) where S3 says that there is no such upload."""
    reply = forward()
    return refuse(404, "NoSuchUpload")(asked, forward) if reply.status == 500 else reply


def test_a_bucket(proxy: FaultProxy, bucket: str) -> None:
    found = examined(proxy, f"s3://{bucket}/faces")
    assert {right.name: right.answer for right in found.rights} == {
        "list": "yes", "read": "yes", "versions": "yes", "public": "no", "write": "not known",
    }  # fmt: skip
    text = doctor.render(found)
    assert "3 objects, 1 of them archived in storage class DEEP_ARCHIVE" in " ".join(text.split())
    assert "--probe-write" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert doctor.exit_code(found) == 0
    assert {asked.method for asked in proxy.log} <= {"GET", "HEAD"}
    (read,) = [asked for asked in proxy.log if asked.key]
    assert (read.key, read.headers["range"]) == ("faces/1.csv", "bytes=0-0")


def test_the_least_policy_is_printed_as_json(proxy: FaultProxy, bucket: str) -> None:
    text = doctor.render(examined(proxy, f"s3://{bucket}/faces", all_versions=True))
    policy = json.loads(text[text.index("\n{") : text.rindex("}") + 1])
    listing, reading, never = policy["Statement"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["faces", "faces/*"]}}
    assert listing["Action"] == ["s3:ListBucket", "s3:ListBucketVersions"]
    assert reading["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert reading["Resource"] == f"arn:aws:s3:::{bucket}/faces/*"
    assert (never["Effect"], never["Action"]) == ("Deny", list(WRITES))
    assert "kms:Decrypt" in text


def test_policies_of_other_targets() -> None:
    def statements(*args: str, **more: Any) -> list[dict[str, Any]]:
        found: Any = least_policy(*args, **more)["Statement"]
        return list(found)

    listing, reading, _ = statements("aws-cn", "b", "")
    assert "Condition" not in listing
    assert reading["Resource"] == "arn:aws-cn:s3:::b/*"
    listing, reading, _ = statements("aws", "b", "x/1.csv", single=True, as_written="x/1.csv")
    assert listing["Condition"]["StringLike"]["s3:prefix"] == ["x/1.csv", "x/1.csv/"]
    assert reading["Resource"] == "arn:aws:s3:::b/x/1.csv"
    _, reading, _ = statements("aws", "b", "a*?$/")
    assert reading["Resource"] == "arn:aws:s3:::b/a${*}${?}${$}/*"
    *_, decrypt, _ = statements("aws", "b", "", kms_key="arn:aws:kms:eu-west-1:1:key/2")
    assert decrypt["Action"] == ["kms:Decrypt"]
    assert decrypt["Resource"] == "arn:aws:kms:eu-west-1:1:key/2"


def test_the_printed_policy_is_enough_for_a_scan_and_lets_nothing_be_written(
    proxy: FaultProxy, client: Any, server: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto checks every request against the policy that the doctor printed."""
    import http.client

    from scanner.stores import open_store

    policy = json.dumps(dict(examined(proxy, f"s3://{bucket}/faces").policy or {}))
    iam = botocore.session.Session().create_client(
        "iam", region_name="us-east-1", endpoint_url=server
    )
    name = f"reader-{bucket}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.put_user_policy(UserName=name, PolicyName="least", PolicyDocument=policy)
    iam.create_user(UserName=name + "-writer")
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_user_policy(
        UserName=name + "-writer",
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )
    writer = iam.create_access_key(UserName=name + "-writer")["AccessKey"]
    iam.close()
    before = contents(client, bucket)
    proxy.add(unknown_uploads, operation="P*")

    def enforce(count: str) -> None:
        line = http.client.HTTPConnection(server.removeprefix("http://"))
        line.request("POST", "/moto-api/reset-auth", body=count)
        line.getresponse().read()
        line.close()

    enforce("0")
    try:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        store = open_store(StoreSpec(f"s3://{bucket}/faces", endpoint_url=proxy.endpoint))
        infos = [info for info in store.list() if info.problem is None]
        read = []
        for info in infos:
            with store.open(info) as stream:
                read.append(stream.read())
        assert read == [b"", b"one"]
        assert store.renewed(infos[1]) == infos[1]
        denied = doctor.examine(
            StoreSpec(f"s3://{bucket}/faces", endpoint_url=proxy.endpoint), probe_write=True
        )
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", writer["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", writer["SecretAccessKey"])
        allowed = doctor.examine(
            StoreSpec(f"s3://{bucket}/faces", endpoint_url=proxy.endpoint), probe_write=True
        )
    finally:
        enforce("inf")
    assert denied.answer("read") == "yes"
    assert denied.answer("write") == "no"
    assert doctor.exit_code(denied) == 0
    assert allowed.answer("write") == "yes"
    assert doctor.exit_code(allowed) == 1
    assert "warning: you can write there" in doctor.render(allowed)
    assert contents(client, bucket) == before


@pytest.mark.parametrize("versioning", ["Enabled", None])
def test_the_probe_changes_nothing(
    proxy: FaultProxy, client: Any, bucket: str, versioning: str | None
) -> None:
    if versioning:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    before = contents(client, bucket)
    proxy.clear()
    proxy.add(unknown_uploads, operation="P*")
    found = examined(proxy, f"s3://{bucket}/faces", probe_write=True)
    assert found.answer("write") == "yes"
    assert doctor.exit_code(found) == 1
    writes = [asked for asked in proxy.log if asked.method not in {"GET", "HEAD"}]
    assert [(asked.method, asked.key, asked.status) for asked in writes] == [
        ("PUT", "faces/" + PROBE_KEY, 404),
    ]
    assert all("uploadId" in asked.query for asked in writes)
    assert contents(client, bucket) == before


@pytest.mark.parametrize(
    ("parts", "put", "post", "answer"),
    [
        ("AccessDenied", "AccessDenied", "AccessDenied", "no"),
        ("AccessDenied", "NoSuchUpload", None, "yes"),
        ("NoSuchUpload", "AccessDenied", "NoSuchUpload", "not known"),
        ("NoSuchUpload", "SlowDown", None, "not known"),
        ("NotImplemented", None, None, "not known"),  # knows no uploads: no PUT to it
    ],
)
def test_what_the_probe_makes_of_answers(
    proxy: FaultProxy, bucket: str, parts: str, put: str | None, post: str | None, answer: str
) -> None:
    status = {"AccessDenied": 403, "NoSuchUpload": 404, "NotImplemented": 501, "SlowDown": 503}
    proxy.add(refuse(status[parts], parts), when=lambda asked: "uploadId" in asked.query)
    for operation, code in (("PUT", put), ("POST", post)):
        proxy.add(refuse(status[code or "SlowDown"], code or "SlowDown"), operation=operation)
    assert examined(proxy, f"s3://{bucket}", probe_write=True).answer("write") == answer
    assert bool(proxy.count("PUT")) == (put is not None)
    assert bool(proxy.count("POST")) == (post is not None)


def everyone(effect: str, action: object, resource: str, **more: object) -> dict[str, object]:
    return {"Effect": effect, "Principal": "*", "Action": action, "Resource": resource, **more}


B = "arn:aws:s3:::b"


@pytest.mark.parametrize(
    ("statements", "answer"),
    [
        ([everyone("Allow", "s3:*", f"{B}/*")], "yes"),
        ([everyone("Allow", ["s3:GetObject", "s3:Put*"], f"{B}/faces/*")], "yes"),
        ([everyone("Allow", "s3:GetObject", f"{B}/*")], "not known"),
        ([everyone("Allow", "s3:*", f"{B}/elsewhere/*")], "not known"),
        ([everyone("Allow", "s3:*", B)], "not known"),
        ([everyone("Allow", "s3:*", f"{B}/*", Condition={"Bool": {"x": "true"}})], "not known"),
        ([everyone("Allow", "s3:*", f"{B}/*", Principal={"AWS": "arn:aws:iam::1:root"})],
         "not known"),
        ([everyone("Deny", ["s3:PutObject*", "s3:Delete*"], f"{B}/*", Principal={"AWS": "*"})],
         "no"),
        ([everyone("Deny", "s3:PutObject", f"{B}/*")], "not known"),
        ([everyone("Deny", "s3:*", f"{B}/faces/*/x")], "not known"),
        ([everyone("Allow", "s3:*", f"{B}/*"), everyone("Deny", "s3:*", f"{B}/*")], "no"),
        ([everyone("Allow", "s3:*", f"{B}/*"), everyone("Deny", "s3:Put*", f"{B}/*")], "yes"),
        ([{"Effect": "Allow", "Principal": "*", "NotAction": "s3:GetObject"}], "not known"),
        (["odd", 3], "not known"),
    ],
)  # fmt: skip
def test_what_bucket_policies_say(statements: list[object], answer: str) -> None:
    assert policy_says(json.dumps({"Statement": statements}), "b", "faces/") == answer
    assert policy_says("[" * 100_000, "b", "faces/") == "not known"


def test_writable_by_anyone(proxy: FaultProxy, client: Any, bucket: str) -> None:
    anyone = "uri=http://acs.amazonaws.com/groups/global/AllUsers"
    client.put_bucket_acl(Bucket=bucket, GrantWrite=anyone)
    found = examined(proxy, f"s3://{bucket}")
    assert found.answer("write") == "yes"
    policy = {
        "Version": "2012-10-17",
        "Statement": [everyone("Deny", "s3:*", f"arn:aws:s3:::{bucket}/*")],
    }
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert examined(proxy, f"s3://{bucket}").answer("write") == "no"


def test_not_allowed(proxy: FaultProxy, bucket: str) -> None:
    proxy.add(refuse(403, "AccessDenied"), key="faces/*")
    found = examined(proxy, f"s3://{bucket}/faces/")
    assert (found.answer("list"), found.answer("read")) == ("yes", "no")
    assert doctor.exit_code(found) == 3
    proxy.add(refuse(403, "AccessDenied"), operation="*")
    found = examined(proxy, f"s3://{bucket}/faces/")
    assert found.answer("list") == "no"
    assert doctor.exit_code(found) == 3
    assert "s3:ListBucket" in doctor.render(found)
    proxy.clear()
    proxy.add(refuse(400, "ExpiredToken"), operation="*")
    with pytest.raises(UsageError, match="sign in again"):
        examined(proxy, f"s3://{bucket}/faces/")


def test_nothing_there_is_not_readable(proxy: FaultProxy, bucket: str) -> None:
    found = examined(proxy, f"s3://{bucket}/nowhere/")
    assert (found.answer("list"), found.answer("read")) == ("yes", "not known")
    assert doctor.exit_code(found) == 3


# ---------------------------------------------------------------- folders


@pytest.fixture
def as_another_user(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Root may do everything: permissions count only for another user."""
    if os.geteuid() != 0:
        yield lambda: None
        return
    yield lambda: os.seteuid(65534)
    os.seteuid(0)


def test_a_folder_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    found = doctor.examine(StoreSpec(str(tmp_path)))
    assert [(right.name, right.answer) for right in found.rights] == [
        ("list", "yes"), ("read", "yes"), ("write", "yes"),
    ]  # fmt: skip
    assert doctor.exit_code(found) == 1
    text = doctor.render(found)
    assert "read-only" in text
    assert "IAM" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_folders_of_another_user(
    as_another_user: Callable[[], None], request: pytest.FixtureRequest
) -> None:
    import shutil
    import tempfile

    top = Path(tempfile.mkdtemp())  # tmp_path lies in a folder that only its owner may enter

    def remove() -> None:
        os.seteuid(os.getuid())
        for folder in (top, top / "d"):
            folder.chmod(0o755)
        shutil.rmtree(top)

    request.addfinalizer(remove)
    (top / "d").mkdir()
    (top / "d" / "x").write_bytes(b"1")
    (top / "y").write_bytes(b"1")
    for path in (top / "d" / "x", top / "y"):
        path.chmod(0o444)
    for path in (top / "d", top):
        path.chmod(0o555)
    as_another_user()
    found = doctor.examine(StoreSpec(str(top)))
    assert found.answer("write") == "no"
    assert doctor.exit_code(found) == 0
    if os.getuid() != 0:
        return
    os.seteuid(0)
    (top / "d").chmod(0o777)
    os.seteuid(65534)
    assert doctor.examine(StoreSpec(str(top))).answer("write") == "yes"  # only within
    os.seteuid(0)
    (top / "y").chmod(stat.S_IWUSR)
    os.seteuid(65534)
    found = doctor.examine(StoreSpec(str(top)))
    assert found.answer("read") == "no"
    assert doctor.exit_code(found) == 3


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        doctor.examine(StoreSpec(str(tmp_path / "missing")))


def test_names_are_printed_safely(tmp_path: Path) -> None:
    odd = tmp_path / "a\x1b[2J"
    odd.mkdir()
    (odd / "x").write_bytes(b"1")
    assert "\x1b" not in doctor.render(doctor.examine(StoreSpec(str(odd))))

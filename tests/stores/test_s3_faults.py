"""What an S3 server may do to us: refuse, break off, lie, be away; scripted, on loopback."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import botocore.loaders
import pytest

from scanner.errors import StoreError, UsageError
from scanner.model import ObjectInfo, StoreSpec
from scanner.stores import open_store, s3_body
from scanner.stores.s3 import WHOLE_BYTES, S3Store

BIG = bytes(range(256)) * (WHOLE_BYTES // 256 + 4096)  # 9 MiB
LOADER = (
    botocore.loaders.create_loader()
)  # one for all tests: reading the SDK's models takes half a second
SECRET = "wJalrXUtnFEMI-secret"


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # bytes after which the connection is closed


@dataclass
class Server:
    """Answers each request with `answer`, and keeps what it was asked."""

    endpoint: str = ""
    log: list[Asked] = field(default_factory=list)
    answer: Callable[[Asked], Answer] = lambda asked: Answer(500)


def error(status: int, code: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>leaky text {SECRET}</Message></Error>"
    return Answer(status, text.encode(), {"Content-Type": "application/xml"})


def page(*keys: str, size: int = 3, more: str = "", extra: str = "") -> Answer:
    rows = "".join(
        f"<Contents><Key>{escape(key)}</Key><ETag>&quot;e1&quot;</ETag><Size>{size}</Size>"
        f"<LastModified>2026-01-02T03:04:05.000Z</LastModified>{extra}</Contents>"
        for key in keys
    )
    token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    text = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}"
        f"<EncodingType>url</EncodingType>{rows}</ListBucketResult>"
    )
    return Answer(200, text.encode(), {"Content-Type": "application/xml"})


def content(data: bytes, asked: Asked) -> Answer:
    """An object with working ranges."""
    if "range" not in asked.headers:
        return Answer(200, data, {"ETag": '"e1"'})
    start, _, end = asked.headers["range"].removeprefix("bytes=").partition("-")
    return Answer(206, data[int(start) : int(end) + 1], {"ETag": '"e1"'})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    script = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, parse_qs(parts.query), headers)
            script.log.append(asked)
            answer = script.answer(asked)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the reader may have gone away on purpose
                if self.command != "HEAD":
                    self.wfile.write(answer.body[: answer.cut])
            self.close_connection = answer.cut is not None

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = any

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    script.endpoint = f"http://127.0.0.1:{http.server_address[1]}"
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(s3_body, "BODY_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr("botocore.session.create_loader", lambda path=None: LOADER)
    yield script
    http.shutdown()
    http.server_close()


def store(server: Server, target: str = "s3://faces", attempts: int = 1) -> S3Store:
    return S3Store(StoreSpec(target, endpoint_url=server.endpoint), attempts=attempts)


def listed(size: int = 3) -> ObjectInfo:
    return ObjectInfo("x", size, "e1")


def serve(server: Server, get: Callable[[Asked], Answer], size: int = 3) -> S3Store:
    server.answer = lambda asked: page("x", size=size) if "list-type" in asked.query else get(asked)
    made = store(server)
    server.log.clear()
    return made


# ---------------------------------------------------------------- at the start


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (403, "InvalidAccessKeyId", "does not accept these credentials .*AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", "does not accept these credentials"),
        (400, "ExpiredToken", "expired .*sign in again"),
        (400, "AuthorizationHeaderMalformed", "another region .*AWS_REGION"),
        (301, "PermanentRedirect", "another region"),
        (403, "RequestTimeTooSkewed", "clock"),
        (404, "NoSuchBucket", "no such bucket"),
        (400, "<script>", r"refused to list it \(HTTP 400\)"),
    ],
)
def test_refusals_say_what_to_do(server: Server, status: int, code: str, text: str) -> None:
    server.answer = lambda asked: error(status if asked.method == "GET" else 403, escape(code))
    with pytest.raises(UsageError, match=text) as caught:
        store(server)
    assert str(caught.value).startswith("s3://faces: ")
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "AKID" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(403, "AccessDenied", "denied"), (503, "SlowDown", "throttled"), (500, "Oops", "throttled")],
)
def test_a_bucket_that_is_there_but_not_for_us(
    server: Server, status: int, code: str, reason: str
) -> None:
    server.answer = lambda asked: error(status, code)
    with pytest.raises(StoreError) as caught:
        store(server)
    assert caught.value.reason == reason
    assert SECRET not in str(caught.value)


def test_a_busy_store_is_asked_again_with_patience(server: Server) -> None:
    server.answer = lambda asked: page("x") if len(server.log) > 3 else error(503, "SlowDown")
    assert [info.key for info in store(server, attempts=4).list()] == ["x"]


def test_something_else_than_an_s3_store(server: Server) -> None:
    server.answer = lambda asked: Answer(200, b"<html><body>Welcome", {"Content-Type": "text/html"})
    with pytest.raises(UsageError, match="does not answer like an S3 store"):
        store(server)


def test_nobody_there(server: Server) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"cannot reach 127\.0\.0\.1:1 "):
        open_store(StoreSpec("s3://faces", endpoint_url="http://127.0.0.1:1"))
    assert time.monotonic() - began < 8
    with pytest.raises(UsageError, match="not a URL"):
        open_store(StoreSpec("s3://faces", endpoint_url="127.0.0.1"))


def test_no_credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UsageError, match="--anonymous"):
        store(server)
    assert server.log == []
    server.answer = lambda asked: (
        page("x") if "list-type" in asked.query else content(b"abc", asked)
    )
    open_one = open_store(StoreSpec("s3://faces", endpoint_url=server.endpoint, anonymous=True))
    (info,) = open_one.list()
    with open_one.open(info) as stream:
        assert stream.read() == b"abc"
    assert server.log
    assert not any("authorization" in asked.headers for asked in server.log)


def test_profiles_and_endpoints_work_as_in_the_sdk(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / "config").write_text(
        f"[profile audit]\nregion = ap-northeast-2\nendpoint_url = {server.endpoint}\n"
        f"aws_access_key_id = FROMPROFILE\naws_secret_access_key = {SECRET}\n"
    )
    server.answer = lambda asked: page("x")
    monkeypatch.setenv("AWS_PROFILE", "audit")
    assert len(list(open_store(StoreSpec("s3://faces")).list())) == 1
    monkeypatch.delenv("AWS_PROFILE")
    assert len(list(open_store(StoreSpec("s3://faces", profile="audit")).list())) == 1
    for asked in server.log:
        assert "FROMPROFILE" in asked.headers["authorization"]
        assert "/ap-northeast-2/" in asked.headers["authorization"]
        assert asked.path == "/faces"  # path-style: the bucket is not put before the host
    with pytest.raises(UsageError, match="--profile and AWS_PROFILE"):
        open_store(StoreSpec("s3://faces", profile="nobody"))


# ---------------------------------------------------------------- listing


def test_keys_are_decoded_once(server: Server) -> None:
    server.answer = lambda asked: page("a%2Bb+c%2525", "%EC%96%BC%0A")
    assert [info.key for info in store(server).list()] == ["a+b c%25", "얼\n"]
    assert all(asked.query["encoding-type"] == ["url"] for asked in server.log)


def test_a_listing_that_breaks_off_is_never_complete(server: Server) -> None:
    def answer(asked: Asked) -> Answer:
        if "continuation-token" in asked.query:
            return error(500, "InternalError")
        return page("a", "b", more="" if "max-keys" in asked.query else "t1")

    server.answer = answer
    rows = store(server).list()
    assert [next(rows).key, next(rows).key] == ["a", "b"]
    with pytest.raises(StoreError, match=r"after 2 objects \(InternalError\)") as caught:
        next(rows)
    assert caught.value.reason == "listing"


@pytest.mark.parametrize("second", [Answer(200, b"<ListBuck"), page("elsewhere/x")])
def test_a_listing_that_goes_wrong_is_never_complete(server: Server, second: Answer) -> None:
    def answer(asked: Asked) -> Answer:
        if "continuation-token" in asked.query:
            return second
        return page("pre/a", more="" if "max-keys" in asked.query else "t1")

    server.answer = answer
    rows = store(server, "s3://faces/pre/").list()
    assert next(rows).key == "a"
    with pytest.raises(StoreError) as caught:
        next(rows)
    assert caught.value.reason == "listing"


def test_a_restored_archive_is_readable(server: Server) -> None:
    restored = (
        "<StorageClass>GLACIER</StorageClass><RestoreStatus>{}"
        "<RestoreExpiryDate>2030-01-01T00:00:00Z</RestoreExpiryDate></RestoreStatus>"
    )
    server.answer = lambda asked: page("x", extra=restored.format(""))
    assert [info.problem for info in store(server).list()] == [None]
    assert server.log[-1].headers["x-amz-optional-object-attributes"] == "RestoreStatus"


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (404, "NoSuchKey", "vanished"),
        (412, "PreconditionFailed", "changed"),
        (416, "InvalidRange", "changed"),
        (403, "AccessDenied", "denied"),
        (403, "InvalidObjectState", "denied"),
        (400, "ExpiredToken", "denied"),
        (503, "SlowDown", "throttled"),
        (500, "InternalError", "throttled"),
    ],
)
@pytest.mark.parametrize("size", [3, len(BIG)])
def test_an_object_that_cannot_be_opened(
    server: Server, status: int, code: str, reason: str, size: int
) -> None:
    faces = serve(server, lambda asked: error(status, code), size)
    with pytest.raises(StoreError) as caught:
        faces.open(listed(size))
    assert caught.value.reason == reason
    assert SECRET not in str(caught.value)


def test_a_busy_object_is_asked_for_again(server: Server) -> None:
    def get(asked: Asked) -> Answer:
        return content(b"abc", asked) if len(server.log) > 2 else error(503, "SlowDown")

    serve(server, get)
    faces = store(server, attempts=4)
    server.log.clear()
    with faces.open(listed()) as stream:
        assert stream.read() == b"abc"
    assert len(server.log) == 3


def test_a_small_object_is_one_request_pinned_to_its_version(server: Server) -> None:
    faces = serve(server, lambda asked: content(b"abc", asked))
    with faces.open(listed()) as stream:
        assert stream.read() == b"abc"
        assert stream.seekable()
    (asked,) = server.log
    assert asked.headers["if-match"] == '"e1"'
    assert "range" not in asked.headers


@pytest.mark.parametrize("data", [BIG, BIG[: 1 << 20]])
def test_a_body_that_breaks_off_is_taken_up_where_it_broke(server: Server, data: bytes) -> None:
    def get(asked: Asked) -> Answer:
        answer = content(data, asked)
        answer.cut = len(answer.body) // 2 if len(server.log) == 1 else None
        return answer

    faces = serve(server, get, len(data))
    with faces.open(listed(len(data))) as stream:
        assert stream.read() == data
    assert "range" not in server.log[0].headers
    start = int(server.log[1].headers["range"].removeprefix("bytes=").partition("-")[0])
    assert 0 < start <= len(data) // 2
    assert all(asked.headers["if-match"] == '"e1"' for asked in server.log)


@pytest.mark.parametrize("size", [1 << 20, len(BIG)])
def test_a_body_that_always_breaks_off_is_truncated(server: Server, size: int) -> None:
    def get(asked: Asked) -> Answer:
        answer = content(BIG[:size], asked)
        answer.cut = 10
        return answer

    faces = serve(server, get, size)
    with pytest.raises(StoreError) as caught, faces.open(listed(size)) as stream:
        stream.read()
    assert caught.value.reason == "truncated"
    assert len(server.log) == s3_body.BODY_ATTEMPTS


@pytest.mark.parametrize(("sent", "reason"), [(b"ab", "truncated"), (b"abcd", "changed")])
def test_a_store_that_sends_another_length(server: Server, sent: bytes, reason: str) -> None:
    faces = serve(server, lambda asked: content(sent, asked))
    with pytest.raises(StoreError) as caught:
        faces.open(listed())
    assert caught.value.reason == reason


@pytest.mark.parametrize("data", [b"abc", b"", BIG])
def test_bytes_that_do_not_match_the_stores_checksum(server: Server, data: bytes) -> None:
    right = b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    wrong = b64encode(b"\0\1\2\3").decode()
    for checksum in (right, wrong):

        def get(asked: Asked, checksum: str = checksum) -> Answer:
            answer = content(data, asked)
            answer.headers["x-amz-checksum-crc32"] = checksum
            return answer

        faces = serve(server, get, len(data))
        if checksum == right:
            with faces.open(listed(len(data))) as stream:
                assert stream.read() == data
        else:
            with pytest.raises(StoreError) as caught, faces.open(listed(len(data))) as stream:
                stream.read()
            assert caught.value.reason == "integrity"


def test_seeks_ask_for_little_and_reading_on_asks_for_more(server: Server) -> None:
    faces = serve(server, lambda asked: content(BIG, asked), len(BIG))
    with faces.open(listed(len(BIG))) as stream:
        assert stream.read(100) == BIG[:100]
        stream.seek(-100, 2)
        assert stream.read() == BIG[-100:]
        stream.seek(4_000_000)
        assert stream.read(3_000_000) == BIG[4_000_000:7_000_000]
    widths = []
    for asked in server.log[1:]:
        start, _, end = asked.headers["range"].removeprefix("bytes=").partition("-")
        widths.append(int(end) - int(start) + 1)
    assert widths == [100, 512 << 10, 1 << 20, 2 << 20]


def test_only_lists_and_gets(server: Server) -> None:
    faces = serve(server, lambda asked: content(BIG, asked), len(BIG))
    (info,) = faces.list()
    with faces.open(info) as stream:
        stream.seek(5_000_000)
        stream.read()
    assert {asked.method for asked in server.log} == {"GET"}
    for asked in server.log:
        assert ("list-type" in asked.query) == (asked.path == "/faces")
        assert asked.path in {"/faces", "/faces/x"}

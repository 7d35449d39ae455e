"""An HTTP proxy on loopback before a real S3 server (moto): does what faults say, notes the rest.

    with moto() as server, FaultProxy(server) as proxy:
        proxy.add(refuse(503, "SlowDown"), key="faces/7.jpg", times=2)
        …
        assert {asked.operation for asked in proxy.log} == {"LIST", "GET"}

A fault is a function of the request and of `forward`, which gets the answer of the real server; it
returns the answer that the client shall see. The first fault that matches is the one that acts.
"""  # fmt: skip

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.session

_HOP = frozenset({"connection", "transfer-encoding", "content-length", "server", "date"})


@dataclass
class Asked:
    """One request, and the status that the client got for it (0: none at all)."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int = 0

    @property
    def bucket(self) -> str:
        return unquote(self.path.lstrip("/").partition("/")[0])

    @property
    def key(self) -> str:
        return unquote(self.path.lstrip("/").partition("/")[2])

    @property
    def operation(self) -> str:
        """LIST, or the method."""
        listing = (
            self.method == "GET" and not self.key and {"list-type", "versions"} & {*self.query}
        )
        return "LIST" if listing else self.method

    @property
    def access_key(self) -> str:
        """Who signed it."""
        return self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None  # bytes after which the connection is closed
    drip: tuple[int, float] | None = None  # bytes at once, seconds between
    reset: bool = False  # no answer: the connection is reset


Forward = Callable[[], Reply]
Act = Callable[[Asked, Forward], Reply]


@dataclass
class Fault:
    """What happens to matching requests: from the `first` on, `times` times (None: for ever)."""

    act: Act
    operation: str
    key: str  # glob
    first: int
    times: int | None
    when: Callable[[Asked], bool]
    matched: int = 0

    def takes(self, asked: Asked) -> bool:
        if not fnmatchcase(asked.operation, self.operation) or not fnmatchcase(asked.key, self.key):
            return False
        if not self.when(asked):
            return False
        self.matched += 1
        late = self.times is not None and self.matched >= self.first + self.times
        return self.matched >= self.first and not late


class FaultProxy:
    def __init__(self, backend: str) -> None:
        """`backend` is the URL of the real server."""
        self._backend = urlsplit(backend).netloc
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.log: list[Asked] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            backend: http.client.HTTPConnection | None = None

            def any(self) -> None:
                proxy._serve(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = any

            def log_message(self, format: str, *args: object) -> None:
                pass

            def finish(self) -> None:
                if self.backend is not None:
                    self.backend.close()
                super().finish()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that went away

        self._handler = Handler
        self._http = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def add(
        self,
        act: Act,
        *,
        operation: str = "GET",
        key: str = "*",
        first: int = 1,
        times: int | None = None,
        when: Callable[[Asked], bool] = lambda asked: True,
    ) -> Fault:
        fault = Fault(act, operation, key, first, times, when)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """No faults and an empty log."""
        self._faults.clear()
        self.log.clear()

    def count(self, operation: str, key: str = "*", status: int | None = None) -> int:
        return sum(
            fnmatchcase(asked.operation, operation)
            and fnmatchcase(asked.key, key)
            and status in {None, asked.status}
            for asked in self.log
        )

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        query = parse_qs(parts.query, keep_blank_values=True)
        asked = Asked(handler.command, parts.path, query, headers)
        sent = handler.rfile.read(int(headers.get("content-length", 0)))
        with self._lock:
            self.log.append(asked)
            fault = next((f for f in list(self._faults) if f.takes(asked)), None)

        def forward() -> Reply:
            return self._forwarded(handler, sent)

        reply = forward() if fault is None else fault.act(asked, forward)
        if reply.reset:
            linger = struct.pack("ii", 1, 0)  # close() sends RST
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()
            return
        asked.status = reply.status
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        length = reply.headers.get("x-proxy-head-length", str(len(reply.body)))
        handler.send_header("Content-Length", length)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        body = reply.body[: reply.cut]
        step, pause = reply.drip or (max(len(body), 1), 0.0)
        for start in range(0, len(body), step):
            handler.wfile.write(body[start : start + step])
            time.sleep(pause)
        handler.close_connection = handler.close_connection or reply.cut is not None

    def _forwarded(self, handler: BaseHTTPRequestHandler, sent: bytes) -> Reply:
        connection = getattr(handler, "backend", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._backend, timeout=60)
            handler.backend = connection  # type: ignore[attr-defined]
        headers = {n: v for n, v in handler.headers.items() if n.lower() not in {"expect"}}
        connection.request(handler.command, handler.path, body=sent or None, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        kept = {n: v for n, v in answer.getheaders() if n.lower() not in _HOP}
        if handler.command == "HEAD":
            kept["x-proxy-head-length"] = answer.headers.get("Content-Length", "0")
        return Reply(answer.status, kept, body)


# ---------------------------------------------------------------- what may happen


def refuse(status: int, code: str) -> Act:
    """Answer with an S3 error instead."""
    text = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return lambda asked, forward: Reply(status, {"Content-Type": "application/xml"}, text)


def truncated(at: int) -> Act:
    """Close the connection after so many bytes of the body."""
    return lambda asked, forward: replace(forward(), cut=at)


def flipped(at: int = 0) -> Act:
    """Send the body with one bit changed."""

    def act(asked: Asked, forward: Forward) -> Reply:
        reply = forward()
        body = bytearray(reply.body)
        body[at] ^= 1
        return replace(reply, body=bytes(body))

    return act


def slow(at_once: int, seconds: float) -> Act:
    """Send the body in small pieces."""
    return lambda asked, forward: replace(forward(), drip=(at_once, seconds))


def reset() -> Act:
    """Reset the connection instead of answering."""
    return lambda asked, forward: Reply(0, reset=True)


def meanwhile(action: Callable[[], object]) -> Act:
    """Something happens to the bucket just before the request is answered."""

    def act(asked: Asked, forward: Forward) -> Reply:
        action()
        return forward()

    return act


def other_etag(etag: str) -> Act:
    """Answer as a server would that knows the object by another ETag."""
    return lambda asked, forward: _with_header(forward(), "ETag", f'"{etag}"')


def _with_header(reply: Reply, name: str, value: str) -> Reply:
    kept = {n: v for n, v in reply.headers.items() if n.lower() != name.lower()}
    return replace(reply, headers={**kept, name: value})


# ---------------------------------------------------------------- the server behind


@contextmanager
def moto() -> Iterator[str]:
    """The URL of a moto server of its own port (all of a process share one state)."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def writing(server: str) -> Iterator[Any]:
    """A client that may write, straight to the server."""
    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=server,
        aws_access_key_id="WRITER",
        aws_secret_access_key="not-so-secret",
    )
    yield client
    client.close()


def write_credentials(folder: Path, access_key: str) -> None:
    """A file `credentials` in `folder`, as a sign-in tool writes it."""
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = not-so-secret\n"
    )

"""A worker process: loads everything, locks itself in, then looks at what it is handed.

Started by `engines.local` with a clean environment, one socket and one shared page. It holds no
credentials, opens no file of its own, and after the lock-down could not.
"""

from __future__ import annotations

import io
import signal
import socket
from contextlib import suppress
from time import monotonic
from typing import BinaryIO

from scanner.engines import wire
from scanner.engines.sandbox import isolate

SEND_SECONDS = 0.5  # what was said is sent at least this often, between two objects
BEAT_SECONDS = 0.05  # the clock is not asked for every row


def main(channel: int, page: int) -> None:
    """Serve the parent on the socket `channel` with the shared memory `page` until it is gone."""
    namespaces = isolate()  # before anything that might start a thread
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from scanner.engines.preload import preload
    from scanner.engines.sandbox import lock_down
    from scanner.engines.work import Setup, Worker
    from scanner.errors import ScannerError

    parent = socket.socket(fileno=channel)
    pulse = wire.Pulse(page)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone: so are we
        setup, _ = wire.receive(parent)
        assert isinstance(setup, Setup)
        try:
            worker = Worker(setup)
        except ScannerError as error:
            wire.say(parent, "failed", str(error))
            return
        preload(worker.looker, worker.plain)
        level = lock_down(max_memory=setup.limits.max_memory, namespaces=namespaces)
        if setup.require_sandbox and not level.closed:
            wire.say(parent, "failed", f"--require-sandbox: this machine gives only {level}")
            return
        wire.say(parent, "ready", str(level))
        _serve(parent, pulse, worker)


def _serve(parent: socket.socket, pulse: wire.Pulse, worker: object) -> None:
    from scanner.engines.work import Job, Said, Worker

    assert isinstance(worker, Worker)
    said = Said()
    sent = monotonic()

    def send() -> None:
        nonlocal sent
        if len(said):
            wire.say(parent, "said", [said.objects, said.nested, said.detections, said.items])
            said.clear()
        sent = monotonic()

    last = 0.0

    def beat() -> None:
        nonlocal last
        now = monotonic()
        if now - last > BEAT_SECONDS:
            pulse.beat(now)
            last = now
        if said.enough:
            send()

    while True:
        jobs, fds = wire.receive(parent)
        streams = iter(fds)
        for job in jobs:
            assert isinstance(job, Job)
            stream = _stream(job, next(streams), pulse) if job.kind != "none" else None
            last = monotonic()
            pulse.begin(job.number, last)
            in_bounds = worker.look(job, stream, said, beat)
            if said.enough or monotonic() - sent > SEND_SECONDS:
                send()
            if not in_bounds:  # its heap is in pieces: a fresh process goes on
                send()
                wire.say(parent, "bye", None)
                return
        pulse.rest()
        send()


def _stream(job: object, fd: int, pulse: wire.Pulse) -> BinaryIO:
    from scanner.engines.work import Job
    from scanner.stores.local import LocalFile
    from scanner.stores.stream import buffered

    assert isinstance(job, Job)
    if job.kind == "file":
        return buffered(LocalFile(fd, job.version))
    if job.kind == "bytes":
        with io.FileIO(fd, "rb") as memory:
            memory.seek(0)
            return io.BytesIO(memory.readall())
    from scanner.engines.ranges import RangeStream

    return buffered(RangeStream(socket.socket(fileno=fd), job.size, pulse))

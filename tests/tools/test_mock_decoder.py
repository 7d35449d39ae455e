"""The mock decoder does what its verbs say: a mock that did not crash would prove nothing."""

from __future__ import annotations

import io
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions, Text
from tests.tools import scans
from tests.tools.mock_decoder import MAGIC, MEDIA_TYPE, READER

PROGRAM = """
import resource, sys
from tests.tools.test_mock_decoder import parts
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print("ready", flush=True)
try:
    list(parts(sys.argv[1]))
except MemoryError:
    sys.exit(33)
"""


def parts(line: str) -> Iterator[Part]:
    data = MAGIC + line.encode() + b"\nresident registration number\n"
    assert READER.sniff(data) == MEDIA_TYPE
    blob = Blob(Location("object"), io.BytesIO(data), len(data))
    return READER.read(blob, MEDIA_TYPE, ReadOptions())


def start(line: str, limit: int = 0) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, line, str(limit)],
        cwd=scans.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=_no_core,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.parametrize(
    ("line", "limit", "code"),
    [
        ("segv", 0, -signal.SIGSEGV),
        ("abort", 0, -signal.SIGABRT),
        ("exit", 0, 0),
        ("exit 5", 0, 5),
        ("oom", 1 << 29, 33),
        ("oom native", 1 << 29, -signal.SIGABRT),
    ],
)
def test_deaths(line: str, limit: int, code: int) -> None:
    assert start(line, limit).wait(60) == code


def test_hangs() -> None:
    processes = {line: start(line) for line in ("hang", "spin", "stop")}
    time.sleep(0.5)
    try:
        assert {line: scans.state(p.pid) for line, p in processes.items()} == {
            "hang": "S",
            "spin": "R",
            "stop": "T",
        }
        os.kill(processes["stop"].pid, signal.SIGCONT)
        time.sleep(0.1)
        assert scans.state(processes["stop"].pid) == "S"  # it goes on hanging
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def test_floods_have_no_end_or_the_one_that_is_asked_for() -> None:
    for what in ("detections", "members", "problems"):
        assert len(list(itertools.islice(parts(f"flood {what}"), 3000))) == 3000
    assert len(list(parts("flood problems 7"))) == 7
    assert all(isinstance(part, Problem) for part in parts("flood problems 7"))
    assert len(list(parts("flood detections 7"))) == 8  # and the end of the text
    (member,) = parts("flood bytes 3")
    assert isinstance(member, Blob)
    assert len(member.stream.read()) == 3 << 20
    (endless,) = parts("flood bytes")
    assert isinstance(endless, Blob)
    assert len(endless.stream.read(5 << 20)) == 5 << 20


def test_slow_gives_signs_of_life() -> None:
    start = time.monotonic()
    found = list(parts("slow 0.5"))
    assert 0.4 < time.monotonic() - start < 5
    assert 3 < len(found) < 9
    (text,) = parts("text")
    assert isinstance(text, Text) and text.text == "resident registration number\n"


def test_other_verbs_are_refused() -> None:
    with pytest.raises(Unreadable):
        list(parts("dance"))
    with pytest.raises(Unreadable):
        list(parts("flood valley"))
    assert READER.sniff(b"MOCK2 hang\n") is None

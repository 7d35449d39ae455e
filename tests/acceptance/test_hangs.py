"""Whatever a decoder does to its own process, it costs the object that it was looking at."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.tools import scans
from tests.tools.scans import Desk

STALL_SECONDS = 3
MEMORY_BYTES = 256 << 20
FLAT_BYTES = 64 << 20  # by which the parent may grow while something floods it
CONFIG = f"""
version: 1
policies: [baseline]
limits: {{max_stall_time: {STALL_SECONDS}, max_memory: {MEMORY_BYTES}, max_scan_time: 8}}
"""


@dataclass
class Watched:
    """A scan, and what its processes did meanwhile."""

    code: int
    report: dict[str, Any]
    coverage: dict[str, dict[str, Any]]
    seconds: float
    peak_bytes: int  # of the parent
    stopped: set[int] = field(default_factory=set)  # workers that were seen stopped
    seen: set[int] = field(default_factory=set)  # workers

    def outcome(self, name: str) -> tuple[object, object]:
        row = self.coverage[name]
        return row["state"], row["reason"]


def watch(root: Path, objects: dict[str, str], *flags: str) -> Watched:
    target = root / "target"
    target.mkdir(parents=True)
    for name, text in objects.items():
        (target / name).write_text(text, encoding="utf-8")
    desk = Desk(root / "desk")
    (desk.work / "consentry.yaml").write_text(CONFIG, encoding="utf-8")
    out = root / "out.json"
    command = desk.command(target, "-f", "json", "-o", str(out), *flags, mock=True)
    start = time.monotonic()
    process = subprocess.Popen(
        command, env=desk.env, cwd=desk.work, stderr=subprocess.PIPE, text=True
    )
    found = Watched(0, {}, {}, 0, 0)
    watching = threading.Thread(target=_look_on, args=(process, found))
    watching.start()
    _, errors = process.communicate(timeout=240)
    found.seconds = time.monotonic() - start
    watching.join()
    assert "Traceback" not in errors, errors
    found.code = process.returncode
    found.report = json.loads(out.read_text(encoding="utf-8"))
    found.coverage = scans.coverage(desk.last)
    for worker in found.seen:
        assert scans.ends(worker), "a worker is left behind"
    return found


def _look_on(process: subprocess.Popen[str], found: Watched) -> None:
    while process.poll() is None:
        found.peak_bytes = max(found.peak_bytes, _resident(process.pid))
        for worker in scans.workers(process.pid):
            found.seen.add(worker)
            if scans.state(worker) == "T":
                found.stopped.add(worker)
        time.sleep(0.02)


def _resident(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * 4096


def good(count: int) -> dict[str, str]:
    return {f"good-{n:03d}.txt": f"nothing to see in number {n}\n" for n in range(count)}


@pytest.fixture(scope="module")
def one_crash(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    objects = {**good(99), "good-050x": "MOCK1 segv\n"}
    return watch(tmp_path_factory.mktemp("crash"), objects)


def test_21_one_segfault_among_a_hundred(one_crash: Watched) -> None:
    """One segfault among 100 items → 99 scanned, 1 `error:crash`."""
    counts = one_crash.report["coverage"]["counts"]
    assert (counts["scanned"], counts["error"]) == (99, 1)
    assert sum(counts.values()) == 100
    assert one_crash.outcome("good-050x") == ("error", "crash")
    assert one_crash.code == 3


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """All that a decoder may do to its process, in one scan: each costs itself."""
    bad = {
        name.replace(" ", "-"): f"MOCK1 {name}\n"
        for name in ("abort", "exit 0", "spin", "hang", "stop", "oom", "oom native")
    }
    bad["alive"] = f"MOCK1 slow {STALL_SECONDS + 1}\n"
    bad["endless"] = "MOCK1 slow 1000000\n"
    return watch(tmp_path_factory.mktemp("deaths"), {**good(30), **bad})


def test_21_every_way_to_die(deaths: Watched) -> None:
    """One segfault among 100 items → 99 scanned, 1 `error:crash`; an abort and an exit likewise."""
    assert deaths.outcome("abort") == deaths.outcome("exit-0") == ("error", "crash")
    counts = deaths.report["coverage"]["counts"]
    assert sum(counts.values()) == 39
    assert counts["scanned"] == 31
    assert deaths.code == 3


def test_22_hangs_are_killed_in_budget(deaths: Watched) -> None:
    """Spin, sleep and SIGSTOP hangs → killed in budget."""
    for name in ("spin", "hang", "stop"):
        assert deaths.outcome(name) == ("error", "timeout"), name
        assert "max_stall_time" in str(deaths.coverage[name]["detail"])
    assert len(deaths.stopped) == 2, "the worker was to be stopped, twice"
    assert deaths.outcome("alive") == ("scanned", None)  # slow is not dead
    # each of eight costs two strikes and two new workers at most
    assert deaths.seconds < 8 * 2 * (STALL_SECONDS + 10) + 20


def test_22_alive_for_ever_is_ended_too(deaths: Watched) -> None:
    """Hangs → killed in budget: also what gives signs of life, but never comes to an end."""
    state, reason = deaths.outcome("endless")
    assert state in ("partial", "error")
    assert reason == "timeout"
    assert "max_scan_time" in str(deaths.coverage["endless"]["detail"])


@pytest.mark.parametrize("name", ["oom", "oom-native"])
def test_23_no_memory_left(one_crash: Watched, deaths: Watched, name: str) -> None:
    """Jasper JP2 OOMs → `error:memory`; parent RSS flat."""
    assert deaths.outcome(name) == ("error", "memory")
    assert deaths.peak_bytes < one_crash.peak_bytes + FLAT_BYTES


@pytest.mark.parametrize(
    "what",
    [
        "detections",
        *(pytest.param(what, marks=pytest.mark.slow) for what in ("bytes", "members", "problems")),
    ],
)
def test_23_a_flood_does_not_reach_the_parent(
    one_crash: Watched, tmp_path: Path, what: str
) -> None:
    """Parent RSS flat: also when a decoder has endlessly much to say."""
    found = watch(tmp_path, {**good(3), "flood": f"MOCK1 flood {what}\n"}, "-j", "1")
    state, reason = found.outcome("flood")
    assert state in ("partial", "error")
    assert reason in ("timeout", "bytes", "ratio", "members", "malformed", "memory")
    assert found.report["coverage"]["counts"]["scanned"] == 3
    assert found.code in (3, 4)
    print(f"parent: {found.peak_bytes >> 20} MiB, without a flood {one_crash.peak_bytes >> 20} MiB")
    assert found.peak_bytes < one_crash.peak_bytes + 4 * FLAT_BYTES

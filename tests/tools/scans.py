"""Scans as a user starts them, in places of their own, and what they say without when and who."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

CHECKOUT = Path(__file__).parents[2]
TABLES = ("coverage", "detections", "findings", "affected", "items")
WHEN = frozenset({"evaluated_at", "first_seen"})
Facts = Mapping[str, list[tuple[object, ...]]]

AS_OF = "2026-01-01"
SCAN = (sys.executable, "-m", "scanner", "scan")
SCAN_WITH_MOCK = (sys.executable, "-m", "tests.tools.consentry_with_mock", "scan")


def facts(run: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of a run's tables, in their order, without the times at which they were made."""
    found = {}
    for name in TABLES:
        file = run / f"{name}.parquet"
        if file.exists():
            table = pq.read_table(file, use_threads=False)
            kept = table.select([column for column in table.column_names if column not in WHEN])
            found[name] = [tuple(map(_plain, row.values())) for row in kept.to_pylist()]
    return found


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def counts(run: Path) -> dict[str, int]:
    """Objects by state."""
    rows = pq.read_table(run / "coverage.parquet", columns=["state", "is_object"]).to_pylist()
    return dict(Counter(row["state"] for row in rows if row["is_object"]))


def coverage(run: Path) -> dict[str, dict[str, object]]:
    """The row of each object by the last part of its name."""
    rows = pq.read_table(run / "coverage.parquet").to_pylist()
    return {row["location"].rpartition("/")[2]: row for row in rows if row["is_object"]}


def workers(pid: int) -> list[int]:
    """Processes that a process has started and that are there."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [int(child) for child in children]
    return []


def ends(pid: int, seconds: float = 10) -> bool:
    """Whether a process ends within so much time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if state(pid) in "ZX":  # dead, though nobody may have asked after it
            return True
        time.sleep(0.05)
    return False


def state(pid: int) -> str:
    """As in proc(5): R running, S sleeping, T stopped, Z dead, X gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def runs(output: Path) -> list[Path]:
    """The runs that were saved whole, oldest first."""
    files = sorted(output.glob("runs/*/run.json"), key=lambda file: file.stat().st_mtime_ns)
    return [file.parent for file in files]


class Desk:
    """A working directory, a home, and a key: what one installation has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "work"
        self.home = root / "home"
        self.work.mkdir(parents=True)
        self.home.mkdir()
        self.key = root / "subject.key"
        self.key.touch(mode=0o600)
        self.key.write_bytes(bytes(range(32)))
        self.output = self.work / ".consentry"

    @property
    def env(self) -> dict[str, str]:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("CONSENTRY_", "AWS_"))
        }
        return inherited | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "CONSENTRY_KEY_FILE": str(self.key),
            "PYTHONPATH": str(CHECKOUT),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def last(self) -> Path:
        return runs(self.output)[-1]

    def scan(
        self,
        target: Path,
        *flags: str,
        mock: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        done = subprocess.run(
            self.command(target, *flags, mock=mock),
            env=self.env | dict(env or {}),
            cwd=self.work,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @contextmanager
    def scanning(
        self, target: Path, *flags: str, mock: bool = False
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A scan under way; nothing of it is left behind."""
        process = subprocess.Popen(
            self.command(target, *flags, mock=mock),
            env=self.env,
            cwd=self.work,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            left = workers(process.pid)
            process.kill()
            process.wait()
        for pid in left:  # they end with their parent, by themselves
            assert ends(pid), "a worker outlives its parent"

    def command(self, target: Path, *flags: str, mock: bool = False) -> list[str]:
        """A scan that says the same whenever it is run."""
        shape = () if "-f" in flags else ("-f", "json")
        always = ("--as-of", AS_OF, "--no-progress", "-q", *shape)
        return [*(SCAN_WITH_MOCK if mock else SCAN), str(target), *always, *flags]


def small_target(folder: Path) -> Path:
    """A bucket of ten objects, among them archives with faces and a manifest, and two more that end
    as `partial` and `error`.
    """
    shutil.copytree(CHECKOUT / "fixtures" / "buckets" / "training-shards", folder)
    with zipfile.ZipFile(folder / "closed.zip", "w") as archive:
        archive.writestr("open.txt", "nothing to see\n")
        archive.writestr("closed.txt", "nothing to see\n")
    _encrypted(folder / "closed.zip", b"closed.txt")
    (folder / "unknown.bin").write_bytes(bytes(range(128, 256)) * 4)
    return folder


def bigger_target(folder: Path, texts: int = 220) -> Path:
    """Some hundred objects: the pictures of two buckets, and texts with and without numbers."""
    buckets = CHECKOUT / "fixtures" / "buckets"
    shutil.copytree(buckets / "immigration-export", folder)
    shutil.copytree(buckets / "hr-badges", folder / "badges")
    small_target(folder / "shards")
    (folder / "texts").mkdir()
    for number in range(texts):
        text = f"resident registration number 900101-1000006\n{number}\n" if number % 7 == 0 else ""
        (folder / "texts" / f"{number:03d}.txt").write_text(text + "nothing to see\n" * number)
    return folder


def _encrypted(archive: Path, name: bytes) -> None:
    """Say of a member that it is encrypted, in both of its headers."""
    data = bytearray(archive.read_bytes())
    for magic, flags, at_name in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        at = -1
        while (at := data.find(magic, at + 1)) >= 0:
            if data[at + at_name : at + at_name + len(name)] == name:
                data[at + flags] |= 1
    archive.write_bytes(data)


def sweep(folder: Path, kind: str, size: str, step: int) -> dict[str, Any]:
    """What `ledger_sweep` found, the work shared by two processes."""
    parts = 2
    processes = []
    for part in range(parts):
        root = folder / str(part)
        root.mkdir()
        arguments = [str(root), kind, size, str(step), str(part), str(parts)]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.tools.ledger_sweep", *arguments],
                cwd=CHECKOUT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    total: dict[str, Any] = {"failures": {}}
    for process in processes:
        out, errors = process.communicate(timeout=1800)
        assert process.returncode == 0, errors
        found = json.loads(out.splitlines()[-1])
        total["failures"] |= found.pop("failures")
        points = found.pop("points", 0)
        for name, count in found.items():
            total[name] = total.get(name, 0) + count
        total["points"] = points
    return total

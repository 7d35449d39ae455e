"""Where reports go: each to its -o, into pipes and devices, or not at all, said before the scan."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, Run


@pytest.fixture
def work(tmp_path: Path, consentry: Run) -> Path:
    folder = tmp_path / "work"
    (folder / "t").mkdir()
    (folder / "t/a.txt").write_text("x\n", encoding="utf-8")
    return folder


def _shell(work: Path, command: str) -> subprocess.CompletedProcess[str]:
    """The command with its streams as a shell sets them up."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CONSENTRY_")}
    environment |= {"HOME": str(work.parent / "home"), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m scanner {command}"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_each_output_belongs_to_the_format_before_it(consentry: Run, work: Path) -> None:
    result = consentry("scan", "t", "-f", "table", "-f", "json", "-o", "r.json", "-q")
    assert result.out.startswith("Run ")
    assert json.loads((work / "r.json").read_text(encoding="utf-8"))["schema"] == "consentry/1"
    result = consentry("scan", "t", "-o", "r.csv", "-f", "csv", "-f", "json", "-q")
    assert (work / "r.csv").read_text(encoding="utf-8").startswith("finding_id,")
    assert result.json["summary"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("-f", "json", "-o", "nosuch/r.json"), "nosuch"),
        (("-f", "json", "-o", "t"), "is a folder"),
        (("-f", "json", "-f", "csv", "-f", "table", "-o", "a", "-o", "b"), "-o"),
    ],
)
def test_a_wrong_output_is_said_before_the_scan(
    consentry: Run, work: Path, args: tuple[str, ...], expected: str
) -> None:
    result = consentry("scan", "t", *args)
    assert result.code == 2
    assert expected in result.err
    assert not list(work.rglob("*.parquet"))


def test_an_unknown_format_in_the_file_is_said_before_the_scan(consentry: Run, work: Path) -> None:
    (work / "consentry.yaml").write_text("version: 1\noutput: {formats: [pdf]}\n", "utf-8")
    result = consentry("scan", "t")
    assert result.code == 2
    assert "pdf" in result.err
    assert not list(work.rglob("*.parquet"))


def test_a_pipe_is_written_to_and_stays_a_pipe(consentry: Run, work: Path) -> None:
    """`-o /dev/null` as root must not make a file of the device."""
    pipe = work / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert consentry("scan", "t", "-f", "json", "-o", "pipe").code == 0
        assert json.loads(os.read(reader, 1 << 20))["schema"] == "consentry/1"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_and_what_it_leads_to_is_written(consentry: Run, work: Path) -> None:
    (work / "real").mkdir()
    (work / "r.json").symlink_to("real/r.json")
    assert consentry("scan", "t", "-f", "json", "-o", "r.json").code == 0
    assert (work / "r.json").is_symlink()
    assert (work / "real/r.json").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in (work / "real").iterdir()] == ["r.json"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(work: Path, closed: str) -> None:
    done = _shell(work, f"scan t -q -f table -f json -o r.json {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((work / "r.json").read_text(encoding="utf-8"))["summary"]["complete"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(work: Path) -> None:
    done = _shell(work, "scan t -q > /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("consentry: standard output: cannot write the report there (No")
    assert done.stderr.count("\n") == 1

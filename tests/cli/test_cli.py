"""The command line as its users meet it: help, streams, formats, environment, width."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

import click
import pytest

from scanner.cli import FORMATS
from scanner.cli import consentry as root
from tests.conftest import BUCKETS, CHECKOUT, Run


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        here = (*path, name)
        found += _commands(command, here) if isinstance(command, click.Group) else [here]
    return found


def test_commands_are_those_of_the_design() -> None:
    assert {" ".join(c) for c in _commands(root)} >= {
        "scan", "audit", "report", "init", "demo", "models list",
        "policies list", "policies show", "policies explain", "policies validate", "policies test",
    }  # fmt: skip


@pytest.mark.parametrize("command", _commands(root), ids=" ".join)
def test_every_command_explains_itself(consentry: Run, command: tuple[str, ...]) -> None:
    result = consentry(*command, "--help")
    assert result.code == 0
    assert "Usage:" in result.out


def test_help_loads_nothing_heavy() -> None:
    """`--help` answers at once because no stage is imported for it."""
    import subprocess
    import sys

    code = (
        "import sys\nfrom scanner.cli import consentry\n"
        "try: consentry(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m in "
        "{'pyarrow','numpy','duckdb','cv2','onnxruntime','PIL','botocore','rich','jinja2','yaml'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True
    )
    assert done.stdout.strip().endswith("[]")


def test_formats_are_the_reports_there_are() -> None:
    from scanner.reports import all_reports

    assert set(FORMATS) == set(all_reports())


def _cells(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_table_fits_80_columns_and_has_no_colour(consentry: Run) -> None:
    result = consentry("scan", BUCKETS / "immigration-export")
    assert max(map(_cells, result.out.splitlines())) <= 80
    assert "\x1b" not in result.out


def test_results_on_stdout_remarks_on_stderr(consentry: Run) -> None:
    result = consentry("scan", BUCKETS / "landscapes", "-f", "json")
    assert json.loads(result.out)["schema"] == "consentry/1"
    assert "found in the target" in result.err
    assert consentry("scan", BUCKETS / "landscapes", "-f", "json", "--quiet").err == ""


def test_flags_beat_environment_beats_file(consentry: Run, tmp_path: Path) -> None:
    (tmp_path / "work/a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "work/consentry.yaml").write_text(
        "version: 1\ndeclared_use: {purpose: from-file}\n", encoding="utf-8"
    )
    options = ("scan", "a.txt", "-f", "json")
    env = {"CONSENTRY_PURPOSE": "from-environment"}

    def purpose(*more: str, env: dict[str, str] | None = None) -> str:
        return str(consentry(*options, *more, env=env).json["run"]["settings"]["purpose"])

    assert purpose() == "from-file"
    assert purpose(env=env) == "from-environment"
    assert purpose("--purpose", "from-flag", env=env) == "from-flag"


def test_include_and_exclude_are_accounted_for(consentry: Run, tmp_path: Path) -> None:
    for name in ("a.txt", "b.csv", "c/d.txt"):
        path = tmp_path / "work/t" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n", encoding="utf-8")
    report = consentry("scan", "t", "--exclude", "*.csv", "-f", "json").json
    assert report["coverage"]["counts"]["excluded"] == 1
    assert [r["reason"] for r in report["coverage"]["rows"]] == ["rule:*.csv"]
    report = consentry("scan", "t", "--include", "c/**", "-f", "json").json
    assert report["coverage"]["counts"]["unchanged"] == 1
    assert report["coverage"]["counts"]["excluded"] == 2
    everything = consentry("scan", "t", "--exclude", "**", "-f", "json")
    assert everything.code == 3  # nothing was looked at: that is not clean


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("review", 1)])
def test_fail_on(consentry: Run, tmp_path: Path, face_jpeg: bytes, fail_on: str, code: int) -> None:
    target = tmp_path / "work/t"
    target.mkdir()
    (target / "p.jpg").write_bytes(face_jpeg)
    (target / "p.csv").write_text("id,nationality\n1,KR\n", encoding="utf-8")
    assert consentry("scan", "t", "--fail-on", fail_on).code == code


def test_scanning_here_does_not_scan_our_own_output(consentry: Run, tmp_path: Path) -> None:
    (tmp_path / "work/a.txt").write_text("x\n", encoding="utf-8")
    first = consentry("scan", ".", "-f", "json").json
    second = consentry("scan", ".", "-f", "json").json
    assert first["coverage"]["counts"]["scanned"] == second["coverage"]["counts"]["unchanged"] == 1
    assert first["coverage"]["counts"]["error"] == second["coverage"]["counts"]["error"] == 0


def test_audit_says_what_is_new(consentry: Run, tmp_path: Path, face_jpeg: bytes) -> None:
    target = tmp_path / "work/t"
    target.mkdir()
    (target / "a.txt").write_text("x\n", encoding="utf-8")
    (tmp_path / "work/consentry.yaml").write_text("version: 1\ntargets: [t]\n", encoding="utf-8")
    assert consentry("audit").code == 0
    (target / "p.jpg").write_bytes(face_jpeg)
    result = consentry("audit", "-f", "json")
    assert re.search(r"[1-9]\d* new findings, 0 gone", result.err)
    before = {f["finding_id"]: f["first_seen"] for f in result.json["findings"]}
    again = consentry("audit", "-f", "json")
    assert {f["finding_id"]: f["first_seen"] for f in again.json["findings"]} == before


def test_init_writes_a_configuration_that_loads(consentry: Run, tmp_path: Path) -> None:
    assert consentry("init").code == 0
    assert consentry("init").code == 2
    assert (tmp_path / "work/consentry.yaml").is_file()


def test_policies(consentry: Run) -> None:
    listed = consentry("policies", "list").out
    for rule in (CHECKOUT / "policies").glob("*/[A-Z]*.yaml"):
        assert rule.stem in listed
    assert consentry("policies", "validate").code == 0
    assert "KR-PIPA-33-PIA" in consentry("policies", "explain", "KR-PIPA-33-PIA").out
    shown = consentry("policies", "show", "KR-PIPA-33-PIA").out
    assert shown.startswith("# mode: aggregate\n")
    assert "\nid: KR-PIPA-33-PIA\n" in shown
    assert "scope: dataset" in shown


def test_policies_auto_picks_packs_and_says_why(
    consentry: Run, tmp_path: Path, face_jpeg: bytes
) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / "a.jpg").write_bytes(face_jpeg)
    config = tmp_path / "consentry.yaml"
    config.write_text(
        "datasets:\n  - {id: visitors, include: ['**'], jurisdiction: HK}\npolicies: auto\n",
        encoding="utf-8",
    )
    result = consentry("scan", faces, "--config", config, "-f", "json")
    report = json.loads(result.out)
    assert report["run"]["policies"] == ["baseline", "hk-pdpo"]
    notes = report["run"]["notes"]
    assert "policies: hk-pdpo, because the people of dataset 'visitors' are in HK" in notes
    assert {"HK-PDPO-PIA"} <= {finding["rule_id"] for finding in report["findings"]}
    # a flag takes the place of the file's word, and a pack named beside it stays
    flags = ("--policies", "auto", "--policies", "sg-pdpa")
    again = consentry("scan", faces, "--config", config, "-f", "json", *flags)
    assert json.loads(again.out)["run"]["policies"] == ["baseline", "sg-pdpa", "hk-pdpo"]


def test_readme_names_every_command_it_shows() -> None:
    """A command in the README that does not exist is a broken promise."""
    known = {" ".join(c) for c in _commands(root)}
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for line in re.findall(r"^consentry ([^#\n]+)", text, re.MULTILINE):
        words = [w for w in line.split() if not w.startswith("-")]
        assert words[0] in known or " ".join(words[:2]) in known, line


def test_what_lies_beside_our_runs_is_looked_at(
    consentry: Run, tmp_path: Path, face_jpeg: bytes
) -> None:
    """Only the saved runs and the ledger are ours; a picture in the output folder is anybody's."""
    (tmp_path / "work/.consentry").mkdir()
    (tmp_path / "work/.consentry/p.jpg").write_bytes(face_jpeg)
    report = consentry("scan", ".", "-f", "json").json
    assert report["detections"]["biometric.face"] == 1
    assert [r["location"] for r in report["coverage"]["rows"]] == ["./.consentry/state/"]


def test_the_same_signal_twice_at_once_is_one_request(consentry: Run, tmp_path: Path) -> None:
    """`timeout` signals the process and then its group: the run is saved all the same."""
    import signal
    import subprocess
    import sys
    import time

    for number in range(300):
        (tmp_path / f"work/{number}.txt").write_text("x\n" * 100_000, encoding="utf-8")
    environment = dict(os.environ, HOME=str(tmp_path / "home"), PYTHONPATH=str(CHECKOUT))
    command = [sys.executable, "-m", "scanner", "scan", ".", "-j", "1", "-f", "json"]
    with subprocess.Popen(
        command, cwd=tmp_path / "work", env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list((tmp_path / "work").rglob("ledger.sqlite")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["summary"]["complete"] is False
    assert "Traceback" not in err


def test_a_configuration_in_the_target_is_reported(consentry: Run, tmp_path: Path) -> None:
    """It decides what is excluded: whoever prepared the data prepared the answer, too."""
    inside = consentry("scan", BUCKETS / "landscapes", "-f", "json").json["run"]["notes"]
    assert any("configuration lies in the target" in note for note in inside)
    (tmp_path / "work/mine.yaml").write_text("version: 1\n", encoding="utf-8")
    options = ("--config", "mine.yaml", "-f", "json")
    outside = consentry("scan", BUCKETS / "landscapes", *options).json["run"]["notes"]
    assert outside == []

"""What tests of several stages share: the command as a user runs it, and drawn faces."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[1]
BUCKETS = CHECKOUT / "fixtures" / "buckets"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.out)
        return report


Run = Callable[..., Result]


@pytest.fixture
def consentry(tmp_path: Path) -> Run:
    """Run the command in a process of its own, in an empty working directory."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()

    def run(
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 300,
    ) -> Result:
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("CONSENTRY_", "AWS_"))
        }
        environment |= {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "PYTHONPATH": str(CHECKOUT),
            "AWS_EC2_METADATA_DISABLED": "true",
        } | dict(env or {})
        done = subprocess.run(
            [sys.executable, "-m", "scanner", *map(str, args)],
            cwd=cwd or work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def face_jpeg() -> bytes:
    """A drawn portrait; no such person exists."""
    from fixtures.synthface import face

    buffer = io.BytesIO()
    face(seed=11, size=224).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()

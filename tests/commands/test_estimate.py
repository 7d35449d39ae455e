"""`consentry estimate-misses`, as its users meet it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from fixtures.synthface import background
from scanner import runs, seal
from scanner.commands.estimate import estimate_misses
from scanner.errors import UsageError
from tests.conftest import Run

LANDSCAPES = 12


def estimate(*arguments: str) -> str:
    """What it prints. Raises what `main` turns into one line."""
    result = CliRunner().invoke(estimate_misses, arguments)
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def work(tmp_path: Path, face_jpeg: bytes, consentry: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that was scanned: twelve landscapes, one of them hostile by name, and a portrait."""
    folder = tmp_path / "work" / "d"
    folder.mkdir()
    for n in range(LANDSCAPES):
        background(n, 64, 48).save(folder / (f"<b>{n}&.png" if n == 3 else f"{n:02}.png"))
    (folder / "face.jpg").write_bytes(face_jpeg)
    (folder / "note.txt").write_text("x\n", encoding="utf-8")
    assert consentry("scan", "d", "--quiet").code in (0, 1)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_draw_look_and_state(work: Path) -> None:
    (work / "d" / "05.png").write_bytes(b"changed since")
    drawn = estimate("--sample", "100", "--seed", "7")
    assert drawn.startswith(
        "12 pictures without a found face, 12 drawn (seed 7), 1 cannot be shown\n"
    )
    [place] = (work / ".consentry" / "runs").glob("*-misses.html")
    assert f"page: {place.relative_to(work)}\n" in drawn
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    page = place.read_text(encoding="utf-8")

    # it shows the pictures that were scanned, and warns that it does
    assert "This page shows pictures" in page
    shown = re.findall(r'src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)"', page)
    assert len(shown) == LANDSCAPES - 1
    for data in shown:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert (image.format, image.size) == ("JPEG", (64, 48))
    assert "changed: changed after it was listed" in page
    assert page.count("checked disabled") == 1
    assert "face.jpg" not in page

    # nothing from elsewhere, no script but its own, names do nothing
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert "default-src &#39;none&#39;" in policy
    [script] = re.findall(r"<script>(.*)</script>", page, re.S)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "<b>" not in page
    assert "http://" not in page and "https://" not in page

    # the command that it gives states the bound
    [command] = re.findall(r'data-command="consentry (estimate-misses [^"]+)"', page)
    stated = estimate(*command.split()[1:], "1")
    words = " ".join(stated.split())
    assert "12 of 12 pictures without a found face were looked at; 1 hold a face" in words
    assert "1 pictures at most" in words
    assert all(len(line) <= 80 for line in stated.splitlines())

    # the run is as it was sealed, and still the last one
    newest = runs.last(work / ".consentry")
    assert newest is not None
    assert not seal.verify(newest, None).wrong
    assert runs.saved(work / ".consentry") == [newest]
    assert runs.first_seen(work / ".consentry") is not None

    # a smaller sample, drawn at random
    few = estimate("--sample", "3")
    assert re.match(r"12 pictures without a found face, 3 drawn \(seed \d+\)", few)
    assert place.read_text(encoding="utf-8").count("<figure ") == 3

    with pytest.raises(UsageError, match="only 3 pictures are drawn"):
        estimate("--sample", "3", "--missed", "4")

    (work / "d").rename(work / "moved")
    with pytest.raises(UsageError, match="run this where the scan was run"):
        estimate()


def test_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in ((), ("nosuch",), ("last", "--missed", "1")):
        with pytest.raises(UsageError) as caught:
            estimate(*arguments)
        assert "\n" not in str(caught.value)

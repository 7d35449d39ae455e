"""`consentry models`, as its users meet it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scanner.commands.models import models
from scanner.errors import UsageError
from tests.conftest import Run
from tests.detectors.bright import bright_bytes, bright_yunet


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "made.onnx"
    path.write_bytes(bright_bytes())
    return path


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the model is kept once it is added."""
    monkeypatch.setenv("CONSENTRY_MODELS", str(tmp_path / "models"))
    return tmp_path / "models" / "yunet.onnx"


def run(*arguments: str | Path) -> Result:
    """Raises what `main` turns into one line."""
    result = CliRunner().invoke(models, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert all(len(line) <= 80 or "/" in line for line in result.output.splitlines())
    return result


def test_add_list_verify_remove(model: Path, kept: Path) -> None:
    assert run("verify").exit_code == 0
    added = run("add", model, "--licence", "MIT")
    assert added.exit_code == 0
    assert added.output.startswith("added yunet: yunet, ")
    assert kept.read_bytes() == model.read_bytes()
    listed = run("list").output
    assert "yunet                added      version yunet-" in listed
    assert "licence MIT" in listed
    assert run("verify").exit_code == 0

    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    broken = run("verify")
    assert broken.exit_code == 1
    assert broken.output.count("WRONG") == 1  # the detector that comes with the package is not

    assert run("remove", "yunet").exit_code == 0
    assert not kept.exists()
    assert run("verify").exit_code == 0
    assert "licence" not in run("list").output


def test_another_name(model: Path, kept: Path) -> None:
    run("add", model, "--name", "small")
    assert kept.with_name("small.onnx").is_file()
    assert "small                added" in run("list").output


def test_what_cannot_be_added_is_one_line(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps([1]))
    (tmp_path / "b.onnx").write_bytes(b"junk")
    other = bright_yunet(outputs={"cls_8": "x"}).SerializeToString()
    (tmp_path / "c.onnx").write_bytes(other)
    for name, said in (
        ("a.pt", "pickle"), ("b.onnx", "not an ONNX file"), ("c.onnx", "no kind that is known"),
        ("none.onnx", "No such file"), (".", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said) as caught:
            run("add", tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not kept.parent.exists()


def test_a_scan_refuses_what_is_not_pinned(consentry: Run, model: Path, tmp_path: Path) -> None:
    """Also where nothing has changed since the last one, so that nothing would be looked at."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "a.txt").write_text("x\n", encoding="utf-8")
    assert consentry("models", "add", model).code == 0
    assert consentry("scan", target).code == 0
    kept = tmp_path / "home" / ".local" / "share" / "consentry" / "models" / "yunet.onnx"
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    for said in ("is not the file that was added", "not an index of added models"):
        refused = consentry("scan", target)
        assert (refused.code, refused.out) == (2, "")
        assert said in refused.err
        assert refused.err.count("\n") == 1
        kept.with_name("models.json").write_text("{", encoding="utf-8")

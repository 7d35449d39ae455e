"""Models that a user adds: what is kept, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scanner.detectors import added, yunet
from scanner.detectors.added import add, added_models, models_folder, pinned_bytes, remove
from scanner.errors import ModelMissing, UsageError
from tests.detectors.bright import bright_bytes

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(added.ENVIRONMENT, str(tmp_path / "models"))
    return tmp_path / "models"


def put(name: str = "yunet", data: bytes | None = None) -> added.AddedModel:
    return add(data or bright_bytes(), name=name, kind="yunet", licence="Apache-2.0", now=NOW)


def test_nothing_was_added() -> None:
    assert added_models() == ()
    assert yunet.added_yunet() is None
    assert yunet.added_model() is None


def test_what_was_added_is_loaded(folder: Path) -> None:
    model = put()
    assert added_models() == (model,)
    assert (model.licence, model.added) == ("Apache-2.0", "2026-11-22T00:00:00+00:00")
    found = yunet.added_yunet()
    assert found is not None
    assert found.version == model.version == f"yunet-{model.sha256[:12]}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(path.name for path in folder.iterdir()) == ["models.json", "yunet.onnx"]


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_flipped_byte_is_refused(folder: Path, place: int) -> None:
    model = put()
    data = bytearray((folder / "yunet.onnx").read_bytes())
    data[place] ^= 1
    (folder / "yunet.onnx").write_bytes(data)
    with pytest.raises(ModelMissing, match="is not the file that was added"):
        yunet.added_yunet()
    put()  # the file itself mends it
    assert pinned_bytes(model) == bright_bytes()


def test_a_missing_file_is_refused(folder: Path) -> None:
    model = put()
    (folder / "yunet.onnx").unlink()
    with pytest.raises(ModelMissing, match="not there"):
        pinned_bytes(model)
    (folder / "yunet.onnx").mkdir()
    with pytest.raises(ModelMissing):
        pinned_bytes(model)


def test_another_file_under_the_same_name_is_refused(folder: Path) -> None:
    put()
    with pytest.raises(UsageError, match="another SHA-256"):
        put(data=b"another")
    assert pinned_bytes(added_models()[0]) == bright_bytes()
    remove("yunet")
    assert put(data=b"another").size == 7
    with pytest.raises(UsageError, match="no model 'nosuch'"):
        remove("nosuch")


def test_the_one_named_yunet_is_used_else_the_first() -> None:
    put("b")
    put("a")
    assert yunet.added_model() == added_models()[0]
    named = put("yunet")
    assert yunet.added_model() == named


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "A", "-", "a" * 65, "a\n"])
def test_names_that_are_no_file_names(name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        put(name)


def test_licences_are_one_short_line() -> None:
    long = "x" * 201
    for licence in (long, "a\x1b[2J"):
        with pytest.raises(UsageError, match="--licence"):
            add(b"x", name="a", kind="yunet", licence=licence, now=NOW)
    blank = add(b"x", name="a", kind="yunet", licence=" \n", now=NOW)
    assert blank.licence == "not stated"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"version": 2, "models": []}', '{"version": 1, "models": [{}]}',
        '{"version": 1, "models": 3}', '{"version": 1}', "\xff", "[" * 100_000,
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_one_line(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "models.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelMissing, match="not an index") as caught:
        yunet.added_yunet()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "../../x"), ("sha256", "0" * 63), ("added", "today"), ("size", "1"), ("kind", None)],
)
def test_an_index_that_was_edited_leads_nowhere(folder: Path, field: str, value: object) -> None:
    put()
    tree = json.loads((folder / "models.json").read_text(encoding="utf-8"))
    tree["models"][0][field] = value
    (folder / "models.json").write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(ModelMissing, match="not an index"):
        added_models()


def test_only_regular_files_of_some_size_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        added.read_file(tmp_path / "pipe")
    monkeypatch.setattr(added, "MAX_MODEL_BYTES", 10)
    (tmp_path / "big").write_bytes(bytes(11))
    with pytest.raises(UsageError, match="models of up to"):
        added.read_file(tmp_path / "big")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the place is another elsewhere")
def test_where_models_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(added.ENVIRONMENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert models_folder() == tmp_path / "data" / "consentry" / "models"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert models_folder() == tmp_path / ".local" / "share" / "consentry" / "models"

"""The file of an organisation's own purposes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.config import load_settings
from scanner.context.own_purposes import read_purposes
from scanner.errors import ConfigError


def test_no_file_is_dpv_alone() -> None:
    assert read_purposes(None).own == {}


def test_named_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("training: dpv:ResearchAndDevelopment\nx: [training, y]\n")
    config = tmp_path / "consentry.yaml"
    config.write_text("version: 1\npurposes: own.yaml\n")
    found = read_purposes(load_settings(config).purposes)
    assert found.covers("dpv:ResearchAndDevelopment", "X")
    config.write_text("version: 1\npurposes: s3://b/own.yaml\n")
    with pytest.raises(ConfigError, match="purposes: expected a local file"):
        load_settings(config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "expected own terms"),
        ("", "expected own terms"),
        ("a: 1\n", "'a': expected a broader term"),
        ("a: []\n", "'a': expected a broader term"),
        ("a: [b, {c: d}]\n", "'a': expected a broader term"),
        ("a: b\nb: a\n", "in a circle: a → b → a"),
        ("a: &x b\n", "anchors"),
        ("a: b\na: c\n", "a"),
    ],
)
def test_what_is_wrong_names_the_file(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        read_purposes(str(path))
    assert "own.yaml" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_purposes(str(tmp_path / "none.yaml"))

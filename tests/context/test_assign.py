"""Globs: datasets, --include, --exclude."""

from __future__ import annotations

import os
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.context import NOT_INCLUDED, Assigner, Globs, Selector
from scanner.errors import ConfigError
from scanner.model import DatasetSpec


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("**", ["a", "a/b", "/", "a//b", "x\ny", "\n"], []),
        ("*", ["a", "a/b", ".hidden"], []),
        (
            "faces/foreign/**",
            ["faces/foreign/a.jpg", "faces/foreign/x/y/z", "faces/foreign//a"],
            ["faces/foreign", "faces/foreignx/a", "x/faces/foreign/a", "faces//foreign/a"],
        ),
        (
            "faces/foreign",
            ["faces/foreign", "faces/foreign/a"],
            ["faces/foreign2", "x/faces/foreign"],
        ),
        ("faces/foreign/", ["faces/foreign/a"], ["faces/foreign"]),
        (
            "*.jpg",
            ["a.jpg", "x/y/a.jpg", "a\nb.jpg", "a//b.jpg"],
            ["a.jpeg", "a.JPG", "a.jpg\n", "ajpg"],
        ),
        ("/*.jpg", ["a.jpg"], ["x/a.jpg"]),
        ("a/*/c", ["a/b/c", "a/b/c/d"], ["a/c", "a/b/b/c"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c"], ["a/bc", "ac"]),
        ("**/*/**", ["a/b", "a/b/c"], ["a"]),
        ("a//b", ["a//b"], ["a/b"]),
        ("a/b", ["a/b"], ["a//b", "./a/b"]),
        ("[ab]?.png", ["a1.png", "b-.png", "x/a1.png"], ["c1.png", "a.png", "a/.png"]),
        ("[!a].png", ["b.png"], ["a.png"]),
        ("**/thumbs/**", ["thumbs/a", "x/thumbs/a", "x/y/thumbs/z/a"], ["thumbs", "xthumbs/a"]),
        (r"\#1", ["#1"], ["1"]),
        ("얼굴/**", ["얼굴/a.jpg"], ["얼/a.jpg"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_patterns(pattern: str, matches: list[str], others: list[str]) -> None:
    globs = Globs([pattern], "include")
    assert [key for key in matches if globs.match(key) != pattern] == []
    assert [key for key in others if globs.match(key) is not None] == []


def test_keys_that_are_no_text_are_matched_as_they_are() -> None:
    key = os.fsdecode(b"faces/\xff\xfe.jpg")
    assert Globs(["faces/*.jpg"], "include").match(key)
    assert Globs(["faces/??.jpg"], "include").match(key)


def test_a_later_pattern_takes_out_and_in_again() -> None:
    globs = Globs(["*.jpg", "!secret/**", "secret/open/**"], "include")
    assert globs.match("a.jpg") == "*.jpg"
    assert globs.match("secret/a.jpg") is None
    assert globs.match("secret/open/a.jpg") == "secret/open/**"


def test_the_first_dataset_wins() -> None:
    specs = [
        DatasetSpec("a", include=("faces/foreign/**",)),
        DatasetSpec("b", include=("faces/**",)),
    ]
    assigner = Assigner(specs)
    assert assigner.assign("faces/foreign/1.jpg") is specs[0]
    assert assigner.assign("faces/1.jpg") is specs[1]
    assert assigner.assign("docs/1.jpg") is None
    assert Assigner([]).assign("x") is None


def test_what_is_left_out_says_by_which_pattern() -> None:
    selector = Selector(include=["faces/**"], exclude=["*.tmp", "**/thumbs/**"])
    assert selector.excluded_by("faces/a.jpg") is None
    assert selector.excluded_by("faces/a.tmp") == "*.tmp"
    assert selector.excluded_by("faces/thumbs/a.jpg") == "**/thumbs/**"
    assert selector.excluded_by("docs/a.jpg") == NOT_INCLUDED
    everything = Selector([], [])
    assert everything.excluded_by("") is None


@pytest.mark.parametrize("pattern", ["", "#comment", "a\\", "[", "/"])
def test_what_is_no_glob_is_said(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset 'x', include: .* is not a glob"):
        Assigner([DatasetSpec("x", include=(pattern,))])
    with pytest.raises(ConfigError, match="exclude: "):
        Selector([], [pattern])


def _obvious(pattern: str, key: str) -> bool:
    """gitignore for patterns of a, b, *, ? and / written out as the manual says it."""
    if not pattern.startswith("**/") and "/" not in pattern:
        pattern = "**/" + pattern
    parts = pattern.split("/")
    return any(_walk(parts, key.split("/")[:n]) for n in range(1, key.count("/") + 2))


def _walk(parts: list[str], names: list[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(names)
        return any(_walk(parts[1:], names[n:]) for n in range(len(names) + 1))
    if not names:
        return False
    rule = "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in parts[0])
    return re.fullmatch(rule, names[0]) is not None and _walk(parts[1:], names[1:])


_name = st.text("ab", min_size=1, max_size=2)
_part = st.one_of(_name, st.sampled_from(["*", "?", "a*", "*b", "**"]))


@given(
    st.lists(_part, min_size=1, max_size=4).filter(
        lambda parts: all(pair != ("**", "**") for pair in pairwise(parts))
    ),
    st.lists(_name, min_size=1, max_size=5),
)
def test_globs_against_an_obvious_reading(parts: list[str], names: list[str]) -> None:
    pattern, key = "/".join(parts), "/".join(names)
    assert (Globs([pattern], "x").match(key) is not None) == _obvious(pattern, key)

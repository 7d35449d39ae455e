"""Decides by globs to which dataset an object belongs, or whether it is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from scanner.errors import ConfigError
from scanner.model import DatasetSpec

NOT_INCLUDED = (
    "not included"  # the name of the rule that leaves out what no --include pattern matches
)


class Globs:
    """Patterns as git reads them (gitignore), the last one that matches decides; matched on the raw
    key.

    `*.jpg` matches in every folder, `/a` and `a/b` from the start, `a` and `a/` also everything
    below. Keys are not normalised: `a//b` is not `a/b`, and a line break is a character like any
    other.
    """

    def __init__(self, patterns: Sequence[str], what: str) -> None:
        self._rules: list[tuple[str, bool, re.Pattern[str]]] = []
        for pattern in patterns:
            try:
                compiled = GitIgnoreSpecPattern(pattern)
            except (GitIgnorePatternError, re.error, ValueError):
                compiled = None
            if compiled is None or compiled.include is None or compiled.regex is None:
                hint = (
                    r" (a first # makes it a comment; write \#)" if pattern.startswith("#") else ""
                )
                raise ConfigError(f"{what}: {pattern!r} is not a glob{hint}")
            # "**" alone is "." in pathspec, which no empty rest and no line break matches
            source = compiled.regex.pattern.replace("|$)", r"|\Z)")
            self._rules.append((pattern, bool(compiled.include), re.compile(source, re.DOTALL)))

    def match(self, key: str) -> str | None:
        """The pattern that takes `key` in, None if none does or a later `!pattern` takes it out
        again."""
        for pattern, taken, rule in reversed(self._rules):
            if rule.search(key):
                return pattern if taken else None
        return None


class Assigner:
    """Which dataset each key of a target belongs to: the first whose include patterns match."""

    def __init__(self, datasets: Sequence[DatasetSpec]) -> None:
        self._datasets = [
            (spec, Globs(spec.include, f"dataset {spec.id!r}, include")) for spec in datasets
        ]

    def assign(self, key: str) -> DatasetSpec | None:
        """The dataset of `key` (raw, relative to its target); None is the dataset "unassigned"."""
        for spec, globs in self._datasets:
            if globs.match(key) is not None:
                return spec
        return None


class Selector:
    """Which keys a run opens at all: --include and --exclude."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = Globs(include, "include") if include else None
        self._exclude = Globs(exclude, "exclude")

    def excluded_by(self, key: str) -> str | None:
        """The exclude pattern that leaves `key` out, NOT_INCLUDED if no include pattern takes it
        in, else None."""
        pattern = self._exclude.match(key)
        if pattern is not None:
            return pattern
        if self._include is not None and self._include.match(key) is None:
            return NOT_INCLUDED
        return None

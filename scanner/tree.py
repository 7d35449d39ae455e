"""Reads values out of a YAML tree, so that every complaint says where in the file it belongs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from scanner.countries import country
from scanner.errors import ConfigError
from scanner.moments import DATE_FORMS, in_utc, parse_moment, start_of
from scanner.vocabulary import choices, suggestion, word
from scanner.yamlsafe import shown

_LOGIN = re.compile(r"//.*@", re.DOTALL)  # of an address that is a key: never printed
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(text: str) -> bool:
    """Whether `text` is a URL rather than a local path."""
    return _URL.match(text) is not None


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file with its place, so that every complaint says where."""

    file: Path
    path: str  # "datasets[0].include"
    value: object

    def wrong(self, message: str) -> ConfigError:
        path = _LOGIN.sub("//", self.path)
        return ConfigError(f"{self.file}: {path + ': ' if path else ''}{message}")

    def expected(self, what: str) -> ConfigError:
        return self.wrong(f"expected {what}, got {_type_name(self.value)}")

    def keys(self, *known: str) -> dict[str, Node]:
        """The entries of a mapping whose keys are all among `known`; those without a value are left
        out."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.expected("keys and values")
        for name in self.value:
            if name not in known:
                hint = suggestion(str(name), known) or f"; known here: {', '.join(known)}"
                raise self.wrong(f"unknown key {shown(str(name))}{hint}")
        return {
            name: self.at(name, value) for name, value in self.value.items() if value is not None
        }

    def named(self, what: str) -> dict[str, Node]:
        """The entries of a mapping whose keys are free."""
        if not isinstance(self.value, dict):
            raise self.expected(what)
        return {str(name): self.at(str(name), value) for name, value in self.value.items()}

    def items(self, what: str) -> list[Node]:
        if not isinstance(self.value, list):
            raise self.expected(what)
        return [Node(self.file, f"{self.path}[{i}]", value) for i, value in enumerate(self.value)]

    def at(self, name: str, value: object) -> Node:
        return Node(self.file, f"{self.path}.{name}" if self.path else name, value)

    def text(self, what: str = "text") -> str:
        if not isinstance(self.value, str):
            numeric = isinstance(self.value, (int, float, date)) and not isinstance(
                self.value, bool
            )
            hint = " (put it in quotes)" if numeric else ""
            raise self.wrong(f"expected {what}, got {_type_name(self.value)}{hint}")
        text = self.value.strip()
        if not text:
            raise self.wrong(f"expected {what}, got nothing")
        if not text.isprintable():
            raise self.wrong(f"expected {what}, got text with control characters")
        return text

    def texts(self, what: str) -> tuple[str, ...]:
        return tuple(node.text("text") for node in self.items(what))

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def whole(self, low: int, high: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.expected(f"a whole number from {low} to {high}")
        if not low <= self.value <= high:
            raise self.wrong(f"expected a whole number from {low} to {high}, got {self.value}")
        return self.value

    def one_of(self, known: Mapping[str, str]) -> str:
        text = self.text(f"one of {choices(known)}")
        found = word(text, known)
        if found is None:
            hint = suggestion(text, known.values())
            raise self.wrong(f"expected one of {choices(known)}, got {shown(text)}{hint}")
        return found

    def country(self) -> str:
        text = self.text("a country code such as KR")
        code = country(text)
        if code is None:
            raise self.wrong(f"expected an ISO 3166 country code such as KR, got {shown(text)}")
        return code

    def end(self) -> datetime:
        """A moment that ends something: a day alone lasts until its end."""
        value = self.value
        moment: datetime | None = None
        if isinstance(value, datetime):
            moment = in_utc(value)
        elif isinstance(value, date):
            moment = start_of(value, upper=True)
        elif isinstance(value, str):
            moment = parse_moment(value, upper=True)
            if moment is None:
                raise self.wrong(f"expected a date such as {DATE_FORMS}, got {shown(value)}")
        if moment is None:
            raise self.expected(f"a date such as {DATE_FORMS}")
        return moment

    def local_or_url(self, what: str) -> str:
        """An absolute path (relative ones start at the file), or a URL as it is."""
        text = self.text(what)
        return text if is_url(text) else str(resolve(self.file.parent, text))


def resolve(folder: Path, text: str) -> Path:
    """`text` as an absolute path, relative ones from `folder`; `~` is the home folder, `..` is
    resolved."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # no home folder
        path = Path(text)
    return Path(os.path.normpath(folder.absolute() / path))


def _type_name(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, date):
        return "a date"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "keys and values"
    return "text"

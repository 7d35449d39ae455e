"""Reads the objects of a JSON file one after the other: one object, an array of them, or JSON
Lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from scanner.errors import ConfigError

CHUNK_BYTES = 1 << 20
MAX_OBJECT_CHARACTERS = 16 << 20
_BLANKS = " \t\r\n"


def read_objects(stream: BinaryIO, name: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Each object with its number (from 1); `name` is what messages call the file.

    Memory is flat in the number of objects. Raises ConfigError naming the record: for text that is
    not JSON in UTF-8, names that are there twice, values that are no objects, and an end within an
    object or within the array.
    """
    text = _Text(stream, name)
    in_array = text.next() == "["
    if in_array:
        text.skip(1)
    number = 0
    while True:
        here = text.next()
        if in_array and here == "]":
            text.skip(1)
            if text.next():
                raise ConfigError(f"{name}: there is more after the end of the array")
            return
        if not here:
            if in_array:
                raise ConfigError(f"{name}: ends within the array, after record {number}")
            return
        number += 1
        if here != "{":
            raise ConfigError(f"{name}: record {number}: expected a JSON object")
        yield number, text.take(number)
        if in_array:
            after = text.next()
            if after == ",":
                text.skip(1)
                if text.next() == "]":
                    raise ConfigError(f"{name}: record {number}: a comma, and no record after it")
            elif after and after != "]":
                raise ConfigError(f"{name}: record {number}: expected a comma or the array's end")


class _Text:
    """What is not read yet of a stream, as text."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.name = name
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.rest = ""
        self.at = 0
        self.over = False
        self.json = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)

    def next(self) -> str:
        """The next character that is no blank, "" at the end; it stays where it is."""
        while True:
            while self.at < len(self.rest):
                if self.rest[self.at] not in _BLANKS:
                    return self.rest[self.at]
                self.at += 1
            if not self._more():
                return ""

    def skip(self, characters: int) -> None:
        self.at += characters

    def take(self, number: int) -> dict[str, object]:
        """The object that starts here."""
        wanted = CHUNK_BYTES
        while True:
            try:
                found, end = self.json.raw_decode(self.rest, self.at)
            except _Twice:
                raise ConfigError(f"{self.name}: record {number}: a name is there twice") from None
            except (ValueError, RecursionError):  # not JSON, or not all of it yet
                if len(self.rest) - self.at > MAX_OBJECT_CHARACTERS or not self._more(wanted):
                    raise ConfigError(
                        f"{self.name}: record {number}: not a whole JSON object, or one longer "
                        f"than {MAX_OBJECT_CHARACTERS >> 20} MiB"
                    ) from None
                wanted *= 2
                continue
            self.at = end
            assert isinstance(found, dict)
            return found

    def _more(self, wanted: int = CHUNK_BYTES) -> bool:
        if self.over:
            return False
        data = self.stream.read(wanted)
        self.over = not data
        try:
            added = self.decoder.decode(data, final=self.over)
        except UnicodeDecodeError:
            raise ConfigError(f"{self.name}: not UTF-8 text") from None
        self.rest = self.rest[self.at :] + added
        self.at = 0
        return not self.over


class _Twice(ValueError):
    """A name is there twice: which value counts would be a guess."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise _Twice
    return entry


def _no_number(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")

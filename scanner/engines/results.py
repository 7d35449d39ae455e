"""What workers said, checked and turned into rows of the ledger.

A worker may have been taken over by what it looked at. It can say nothing but values of the columns
of the objects it was given: names, versions and datasets come from here, codes from closed lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scanner import schemas
from scanner.engines.work import Task
from scanner.model import KINDS, REASONS, Location, printable

MAX_TEXT = 1 << 20  # characters of a location within an object, or of a sentence
Row = tuple[Any, ...]

_STATES = frozenset({"scanned", "partial", "error"})
_CERTAINTIES = frozenset({"certain", "possible"})
_BASES = frozenset({"content", "format", "field_name", "field_value", "metadata"})
_REPRESENTATIONS = frozenset({None, "source_image", "template", "derived_attribute"})
_WHOLE_NUMBERS = 2**63
_PIXELS = 2**31

TAGS = 6  # of a coverage row in the ledger: number, attempt, position, key, look, spread
REASON = TAGS + schemas.COVERAGE.get_field_index("reason")
DETAIL = TAGS + schemas.COVERAGE.get_field_index("detail")
IS_OBJECT = TAGS + schemas.COVERAGE.get_field_index("is_object")
LOOK = 4


class Dishonest(Exception):
    """No worker of ours says this. (ValueError, TypeError and LookupError mean the same.)"""


class Naming:
    """What the parent knows of an object, for all its rows."""

    __slots__ = ("dataset", "key", "location", "look", "root")

    def __init__(self, key: str, location: Location, dataset: str, look: str) -> None:
        self.key = printable(key)
        self.root = location.name
        self.location = str(location)
        self.dataset = dataset
        self.look = look


NameOf = Callable[[Task], Naming]


def coverage(
    task: Task,
    name: Naming,
    state: str,
    reason: str | None = None,
    detail: str | None = None,
    *,
    position: int = 0,
    media_type: str | None = None,
    seen: int = 0,
    total: int | None = None,
    pictures: int | None = None,
    spread: bool = False,
) -> Row:
    """The row of an object: tags of the ledger, then schemas.COVERAGE."""
    info = task.info
    return (
        task.number, task.attempt, position, name.key, name.look, spread,
        name.location, printable(info.version) or None, info.size, media_type, name.dataset,
        state, reason, detail, seen, total, True, pictures,
    )  # fmt: skip


def object_row(task: Task, name: Naming, said: Sequence[Any], spread: bool) -> tuple[Row, bool]:
    """The row of an object that a worker is done with, and whether its store had failed."""
    position, media_type, state, reason, detail, seen, total, pictures, failed = _of(said, 11)[2:]
    _check(state in _STATES and isinstance(failed, bool))
    _check((reason is None) == (state == "scanned") and (reason is None or reason in REASONS))
    _text(media_type)
    _text(detail)
    row = coverage(
        task, name, state, reason, detail, position=_count(position), media_type=media_type,
        seen=_count(seen), total=None if total is None else _count(total),
        pictures=_count(pictures), spread=spread,
    )  # fmt: skip
    return row, failed


def nested_row(task: Task, name: Naming, said: Sequence[Any]) -> Row:
    """The row of an item inside an object; it is `error` on its own, its object is `partial`."""
    position, suffix, reason, detail = _of(said, 6)[2:]
    _check(reason in REASONS)
    _text(detail)
    return (
        task.number, task.attempt, _count(position), name.key, "", False,
        name.location + _suffix(suffix), None, None, None, name.dataset,
        "error", reason, detail, 0, None, False, None,
    )  # fmt: skip


def detection_row(task: Task, name: Naming, said: Sequence[Any]) -> Row:
    """Tags, then schemas.DETECTIONS."""
    (
        position, suffix, item_suffix, item, kind, representation, basis, count, confidence,
        certainty, box, detector, version, subject, share,
    ) = _of(said, 17)[2:]  # fmt: skip
    _check(kind in KINDS and representation in _REPRESENTATIONS)
    _check(basis in _BASES and certainty in _CERTAINTIES)
    _check(isinstance(confidence, (int, float)) and 0 <= confidence <= 1)
    if box is not None:
        _check(all(isinstance(side, (int, float)) for side in _of(box, 4)))
        _check(all(abs(side) < _PIXELS for side in box))
    _check(share is None or (type(share) in (int, float) and 0 <= share <= 1))
    for text in (item, detector, version):
        _check(isinstance(text, str))
        _text(text)
    _text(subject)
    return (
        task.number, task.attempt, _count(position), name.location + _suffix(suffix), item, kind,
        representation, basis, _count(count), confidence, certainty, box, detector, version,
        subject, name.dataset, name.key, name.key + _suffix(item_suffix), share,
    )  # fmt: skip


def item_row(task: Task, name: Naming, said: Sequence[Any]) -> Row:
    """Tags, then schemas.ITEMS."""
    position, suffix = _of(said, 4)[2:]
    return task.number, task.attempt, _count(position), name.dataset, name.key + _suffix(suffix)


def _of(said: Any, length: int) -> list[Any]:
    _check(isinstance(said, list) and len(said) == length)
    assert isinstance(said, list)
    return said


def _check(honest: bool) -> None:
    if not honest:
        raise Dishonest


def _count(value: Any) -> int:
    _check(type(value) is int and 0 <= value < _WHOLE_NUMBERS)
    return int(value)


def _text(value: Any) -> None:
    if value is not None:
        _check(isinstance(value, str) and len(value) <= MAX_TEXT)
        value.encode()  # a lone surrogate, which JSON may hold and no column, is a ValueError


def _suffix(value: Any) -> str:
    _check(isinstance(value, str))
    _text(value)
    _check(not value or value.startswith("!/"))
    return str(value)

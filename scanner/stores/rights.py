"""What somebody may do in a store, one question and its answer at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Answer = Literal["yes", "no", "not known"]


@dataclass(frozen=True, slots=True)
class Right:
    """One answer, and what it rests on; `detail` never holds texts of the store."""

    name: str  # list | read | versions | public | write
    answer: Answer
    detail: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found out about one target."""

    target: str  # as it may be printed
    rights: tuple[Right, ...]
    policy: Mapping[str, object] | None = None  # IAM: the least that a scan needs
    remarks: tuple[str, ...] = ()

    def answer(self, name: str) -> Answer:
        return next((right.answer for right in self.rights if right.name == name), "not known")

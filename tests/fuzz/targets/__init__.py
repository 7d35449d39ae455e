"""The targets: what is fuzzed, one function each, with what it checks in its docstring."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes, and raises if something is not as it should be."""

    name: str
    run: Callable[[bytes], None]
    tokens: tuple[bytes, ...] = ()  # pieces that mean something in this format
    max_bytes: int = 4_096


@cache
def all_targets() -> dict[str, Target]:
    found: dict[str, Target] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        for target in importlib.import_module(f"{__name__}.{module.name}").TARGETS:
            found[target.name] = target
    return found

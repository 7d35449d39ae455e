"""Keeps libraries that are not needed, but looked for by others, from being loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NotThere(MetaPathFinder):
    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.name:
            raise ModuleNotFoundError(f"{fullname} is kept out", name=fullname)
        return None


def keep_out(name: str) -> None:
    """Importing `name` fails from now on as if it were not installed, if it is not loaded yet.

    Not None in `sys.modules`: compiled modules (Cython's) take that for the module itself.
    """
    if not any(isinstance(found, _NotThere) and found.name == name for found in sys.meta_path):
        sys.meta_path.insert(0, _NotThere(name))

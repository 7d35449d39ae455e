"""Finds a circle among things that lead to others."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


def circle_in(onward: Mapping[Thing, Iterable[Thing]]) -> list[Thing]:
    """The path of a circle, its first thing again at its end; [] if there is none."""
    done: set[Thing] = set()
    for start in onward:
        path: dict[Thing, None] = {}
        rest = [iter((start,))]
        while rest:  # not by recursion: a file may chain thousands of them
            for thing in rest[-1]:
                if thing in path:
                    names = list(path)
                    return [*names[names.index(thing) :], thing]
                if thing not in done:
                    path[thing] = None
                    rest.append(iter(tuple(onward.get(thing, ()))))
                    break
            else:
                rest.pop()
                if path:
                    done.add(path.popitem()[0])
    return []

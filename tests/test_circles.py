"""Circles are found wherever they start, and only where there are any."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scanner.circles import circle_in

GRAPHS = st.dictionaries(st.integers(0, 6), st.lists(st.integers(0, 7), max_size=3), max_size=7)


@given(GRAPHS)
def test_a_circle_is_a_path_that_comes_back(onward: dict[int, list[int]]) -> None:
    found = circle_in(onward)
    # each round everything that leads to nothing is left out; what leads in a circle stays
    left = {thing: set(others) for thing, others in onward.items()}
    for _ in range(8):
        left = {t: kept for t, others in left.items() if (kept := others & left.keys())}
    assert bool(found) == bool(left)
    for here, there in pairwise(found):
        assert there in onward[here]
    if found:
        assert found[0] == found[-1]
        assert len(set(found)) == len(found) - 1


def test_a_long_chain() -> None:
    chain = {n: [n + 1] for n in range(50_000)}
    assert circle_in(chain) == []
    assert circle_in({**chain, 50_000: [49_999]}) == [49_999, 50_000, 49_999]

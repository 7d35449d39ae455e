"""The exact upper bound on a share, against published values and its own definition."""

from __future__ import annotations

from fractions import Fraction
from math import comb, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.binomial import at_most, upper_bound


@pytest.mark.parametrize(
    ("hits", "drawn", "confidence", "bound"),
    [
        # upper ends of two-sided 95 % intervals, as printed in tables of Clopper and Pearson
        (0, 10, 0.975, 0.3085),
        (0, 20, 0.975, 0.1684),
        (1, 10, 0.975, 0.4450),
        (5, 10, 0.975, 0.8129),
        (10, 100, 0.975, 0.1762),
        # one-sided 95 %
        (0, 59, 0.95, 0.0495),  # the 59 that auditors draw to show less than 5 %
        (0, 299, 0.95, 0.00997),  # … and the 299 for 1 %
        (1, 93, 0.95, 0.0500),  # 93 with one hit
    ],
)
def test_known_values(hits: int, drawn: int, confidence: float, bound: float) -> None:
    assert upper_bound(hits, drawn, confidence) == pytest.approx(bound, abs=6e-5)


def test_the_ends() -> None:
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(7, 7) == 1.0
    assert upper_bound(0, 1) == pytest.approx(0.95)
    for hits, drawn in ((-1, 5), (6, 5), (1, 0)):
        with pytest.raises(ValueError):
            upper_bound(hits, drawn)


def test_none_found_has_a_closed_form() -> None:
    for drawn in (1, 10, 1000, 10**6, 10**9):
        assert upper_bound(0, drawn) == pytest.approx(1 - 0.05 ** (1 / drawn), rel=1e-6)


def test_many_are_found_quickly_and_exactly() -> None:
    """Beyond what factorials or a sum over all terms could do."""
    bound = upper_bound(50_000, 10**6)
    assert 0.05 < bound < 0.0504
    assert bound == pytest.approx(0.05 + 1.6449 * (0.05 * 0.95 / 10**6) ** 0.5, abs=2e-6)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_the_bound_is_where_the_tail_is_five_per_cent(counts: tuple[int, int]) -> None:
    hits, drawn = counts
    p = Fraction(upper_bound(hits, drawn))
    tail = sum(comb(drawn, i) * p**i * (1 - p) ** (drawn - i) for i in range(hits + 1))
    assert float(tail) == pytest.approx(0.05, abs=1e-9)


@given(st.integers(1, 40), st.integers(0, 40), st.floats(0.001, 0.999))
def test_the_tail_is_the_sum_of_its_terms(drawn: int, hits: int, share: float) -> None:
    hits = min(hits, drawn)
    p = Fraction(share)
    tail = sum(comb(drawn, i) * p**i * (1 - p) ** (drawn - i) for i in range(hits + 1))
    if share * drawn > hits or hits == drawn:  # else it is never asked for
        assert at_most(hits, drawn, share) == pytest.approx(float(tail), rel=1e-9, abs=1e-300)


def test_more_hits_never_lower_it() -> None:
    bounds = [upper_bound(hits, 50) for hits in range(51)]
    assert bounds == sorted(bounds)
    assert log(bounds[0]) < 0

"""Exact bounds on a share of which only a sample was looked at."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

CONFIDENCE = 0.95
_HALVINGS = 200  # of the interval that holds the bound: more than a double can tell apart


def upper_bound(hits: int, drawn: int, confidence: float = CONFIDENCE) -> float:
    """The largest share that `hits` of `drawn` do not rule out at this one-sided confidence.

    Clopper and Pearson (Biometrika 26, 1934): the share p for which at most `hits` of `drawn` have
    a probability of 1 - confidence. It holds for draws from a finite number, too, where it is
    wider than needed. 1.0 where nothing was drawn. Raises ValueError for counts that cannot be.
    """
    if not 0 <= hits <= drawn or not 0 < confidence < 1:
        raise ValueError(f"{hits} of {drawn} at {confidence}")
    if hits == drawn:
        return 1.0
    low, high = hits / drawn, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if at_most(hits, drawn, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def at_most(hits: int, drawn: int, share: float) -> float:
    """The probability of at most `hits` among `drawn`, each one with probability `share`.

    Summed from `hits` down, where the terms fall off from once `share` is above `hits / drawn`.
    """
    if share <= 0 or hits >= drawn:
        return 1.0
    if share >= 1:
        return 0.0
    choose = lgamma(drawn + 1) - lgamma(hits + 1) - lgamma(drawn - hits + 1)
    largest = choose + hits * log(share) + (drawn - hits) * log1p(-share)
    total = term = 1.0
    odds = (1 - share) / share
    for left in range(hits, 0, -1):
        term *= left / (drawn - left + 1) * odds
        total += term
        if term < total * 1e-18:
            break
    return min(1.0, exp(largest + log(total)))

"""Every fuzz target for a second: its seeds, then the same mutations of them every time."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import all_targets

BUDGET_S = 0.8
TARGETS = all_targets()


def test_every_target_has_seeds() -> None:
    assert TARGETS.keys() == SEEDS.keys()
    assert all(make() for make in SEEDS.values())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target(name: str) -> None:
    """`python -m tests.fuzz.run` looks longer, and with coverage; this keeps the targets alive."""
    target = TARGETS[name]
    seeds = SEEDS[name]()
    end = time.monotonic() + BUDGET_S
    for number, data in enumerate(mutated(seeds, target.tokens, 0, target.max_bytes)):
        if number >= len(seeds) and time.monotonic() > end:
            return
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"input {number} of target {name}: {data!r}"[:4_000])
            raise

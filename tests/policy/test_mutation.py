"""Every single predicate of every shipped rule is held in place by some case of its pack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scanner.policy import Rule, load_packs
from scanner.policy.cases import observe, read_cases
from scanner.policy.expressions import Expression, without_one_predicate


def mutants(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The rule without one condition, and with one predicate of a condition left out."""
    for key, expression in rule.expressions().items():
        smaller: list[Expression | None] = [None]
        smaller += [Expression("", node) for node in without_one_predicate(expression.node)]
        for number, mutated in enumerate(smaller):
            name = f"{rule.id}~{key}~{number}"
            if key.startswith("measures."):
                measures = tuple(
                    replace(m, where=mutated) if f"measures.{m.name}.where" == key else m
                    for m in rule.measures
                )
                yield name, replace(rule, id=name, measures=measures)
            elif key == "applies_when":
                yield name, replace(rule, id=name, applies_when=mutated)
            elif key == "review_when":
                yield name, replace(rule, id=name, review_when=mutated)
            elif key == "where":
                yield name, replace(rule, id=name, where=mutated)
            else:
                yield name, replace(rule, id=name, having=mutated)


@pytest.mark.parametrize("name", ["baseline", "kr-pipa"])
def test_every_predicate_is_held_by_a_case(name: str) -> None:
    (pack,) = load_packs([name], Path())
    cases = read_cases(pack)
    variants = {rule.id: dict(mutants(rule)) for rule in pack.rules}
    everything = {rule.id: [rule, *variants[rule.id].values()] for rule in pack.rules}
    seen = observe(cases, everything)
    wrong = [
        (case.rule_id, case.name, seen[case.rule_id, index])
        for index, case in enumerate(cases)
        if seen[case.rule_id, index] != case.expect
    ]
    assert wrong == []
    survivors = [
        mutant
        for rule_id, named in variants.items()
        for mutant in named
        if all(
            seen[mutant, index] == case.expect
            for index, case in enumerate(cases)
            if case.rule_id == rule_id
        )
    ]
    assert survivors == []
    assert sum(map(len, variants.values())) > 2 * len(pack.rules)

"""Every predicate, date and number of every shipped rule is held in place by some case of its
pack."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scanner.policy import Pack, Rule, builtin_pack_names, exposures, load_packs, verdicts
from scanner.policy.cases import Case, observe, read_cases
from scanner.policy.columns import BUILT_IN_MEASURES
from scanner.policy.expressions import (
    And,
    Call,
    Compare,
    Expression,
    In,
    Is,
    Name,
    Node,
    Not,
    Operator,
    Or,
    Value,
    to_sql,
    walk,
    without_one_predicate,
)
from scanner.policy.verdicts import Bench, Verdict

DAY = datetime.timedelta(days=1)
STRICTER: dict[Operator, Operator] = {">=": ">", ">": ">=", "<=": "<", "<": "<="}
# Lists of countries are long, and the same in every rule: `test_lists_of_countries` holds them.
PLACES = frozenset(
    {"jurisdiction_country", "controller_country", "recipient_country", "to_country"}
)
# The member states with those of their parts that have a country code of their own and belong to
# the Union (Treaty on the Functioning of the European Union, Article 355), and EU for all of them.
MEMBERS = (
    "AT AX BE BG CY CZ DE DK EE ES EU FI FR GF GP GR HR HU IE IT LT LU LV MF MQ MT NL PL PT RE RO "
    "SE SI SK YT"
)
UNION = frozenset(MEMBERS.split())
# The countries of which EU-GDPR-44-THIRD-COUNTRY asks whether an adequacy decision covers it.
DECIDED = "AD AR CA CH FO GB GG IL IM JE JP KR NZ US UY"
ADEQUATE = frozenset(DECIDED.split())
FEWEST_CASES = 4
# A case costs some 20 ms, and these have a hundred of them and more.
LARGE = frozenset({"cn-pipl", "eu-gdpr", "kr-pipa", "uk-gdpr", "us-il-bipa", "us-tx-cubi"})


def off_by_one(node: Node) -> Iterator[Node]:
    """Every expression that this one becomes when one number or date in it is one off, one
    comparison counts its own boundary or no longer does, or one value is not in its list."""
    match node:
        case And(parts) | Or(parts):
            for index, part in enumerate(parts):
                for other in off_by_one(part):
                    yield replace(node, parts=(*parts[:index], other, *parts[index + 1 :]))
        case Not(part) | Is(part):
            for other in off_by_one(part):
                yield replace(node, part=other)
        case Compare(operator, left, right):
            if operator in STRICTER:
                yield replace(node, operator=STRICTER[operator])
            for other in off_by_one(left):
                yield replace(node, left=other)
            for other in off_by_one(right):
                yield replace(node, right=other)
        case In(part, values):
            for other in off_by_one(part):
                yield replace(node, part=other)
            if not PLACES & {inner.name for inner in walk(part) if isinstance(inner, Name)}:
                for index in range(len(values) if len(values) > 1 else 0):
                    yield replace(node, values=values[:index] + values[index + 1 :])
        case Call(_, arguments):
            for index, argument in enumerate(arguments):
                for other in off_by_one(argument):
                    rest = arguments[index + 1 :]
                    yield replace(node, arguments=(*arguments[:index], other, *rest))
        case Value(bool()):
            return
        case Value(int() | float() as number):
            yield Value(number - 1)
            yield Value(number + 1)
        case Value(datetime.date() as day):
            yield Value(day - DAY)
            yield Value(day + DAY)


def mutants(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The rule without one condition, with one predicate of a condition left out, with one number,
    date or boundary off by one, and with other days in force."""
    for key, expression in rule.expressions().items():
        others: list[Expression | None] = [None]
        others += [Expression("", node) for node in without_one_predicate(expression.node)]
        others += [Expression("", node) for node in off_by_one(expression.node)]
        for number, mutated in enumerate(others):
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
    first, last = rule.law.in_force_from, rule.law.in_force_until
    for days in (None, -DAY, DAY):
        if first is not None:
            law = replace(rule.law, in_force_from=None if days is None else first + days)
            name = f"{rule.id}~in_force_from~{days}"
            yield name, replace(rule, id=name, law=law)
        if last is not None:
            law = replace(rule.law, in_force_until=None if days is None else last + days)
            name = f"{rule.id}~in_force_until~{days}"
            yield name, replace(rule, id=name, law=law)


def decided_by_rows(rule: Rule) -> bool:
    """Whether the rule decides each exposure, use or dataset from its columns, without counting."""
    return not rule.names() & BUILT_IN_MEASURES.keys() and not rule.measures


class Watch:
    """Stands in the way of `Bench.verdicts`: lets every rule be judged as it is, and notes which of
    its mutants decide something of its own cases otherwise.

    All mutants of a rule are decided in one query, because a judgement for each would take minutes.
    """

    def __init__(self, cases: Sequence[Case], variants: Mapping[str, Mapping[str, Rule]]) -> None:
        self.own: dict[str, list[int]] = {}
        for index, case in enumerate(cases):
            self.own.setdefault(case.rule_id, []).append(index)
        self.variants = variants
        self.killed: set[str] = set()

    def __call__(self, bench: Bench, rule: Rule) -> Iterator[Verdict]:
        if decided_by_rows(rule):
            rows, certain, moment = judged_rows(bench, rule)
            conditions: dict[str, str] = {}  # SQL → the column that holds what it comes to
            decided = [
                verdict_on_row(r, conditions, certain, moment)
                for r in (rule, *self.variants[rule.id].values())
            ]
            columns = ", ".join(f"{sql} AS {name}" for sql, name in conditions.items())
            differ = ", ".join(f"bool_or({other} <> {decided[0]})" for other in decided[1:])
            cases = ", ".join(f"'{index}:ds'" for index in self.own[rule.id])
            found = bench.con.execute(
                f"SELECT {differ} FROM (SELECT *, {columns} FROM ({rows}) "
                f"WHERE dataset_id IN ({cases}))"
            ).fetchone()
            assert found is not None
            named = zip(self.variants[rule.id], found, strict=True)
            self.killed.update(name for name, differs in named if differs)
        yield from JUDGED(bench, rule)


JUDGED = Bench.verdicts


def judged_rows(bench: Bench, rule: Rule) -> tuple[str, str, str]:
    """A query of what the rule decides, one row each, with SQL for its certainty and its moment."""
    certain = "dataset_no IN (SELECT dataset_no FROM profile WHERE is_certain)"
    if rule.scope == "exposure":
        return exposures.view(bench.tallies.wide, bench.child_age), "is_certain", "event_time"
    if rule.scope == "dataset":
        return "SELECT * FROM dataset WHERE has_detections", certain, "as_of"
    some = "transfer_id IS NOT NULL OR recipient IS NOT NULL"
    return f"SELECT * FROM use WHERE has_detections AND ({some})", certain, "event_time"


def verdict_on_row(rule: Rule, conditions: dict[str, str], certain: str, moment: str) -> str:
    """SQL for the verdict on a row: 0 not applicable, 1 compliant, 2 violation, 3 review."""

    def column(expression: Expression | None) -> Expression | None:
        if expression is None:
            return None
        name = conditions.setdefault(to_sql(expression.node), f"condition_{len(conditions)}")
        return Expression(name, Name(name))

    short = replace(
        rule, applies_when=column(rule.applies_when), review_when=column(rule.review_when)
    )
    both = [e.text for e in (column(rule.having), column(rule.where)) if e is not None]
    where = " AND ".join(both) or "FALSE"
    branch = verdicts._branch(short, where, where, certain, moment, of_use=False)
    return f"least({branch}, 3)"


def failed(pack: Pack, cases: Sequence[Case]) -> list[object]:
    """The cases that come out otherwise than they say, each with what it comes to."""
    seen = observe(cases, {rule.id: [rule] for rule in pack.rules})
    return [
        (case.rule_id, case.name, seen[case.rule_id, index])
        for index, case in enumerate(cases)
        if seen[case.rule_id, index] != case.expect
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
        for name in builtin_pack_names()
    ],
)
def test_every_predicate_is_held_by_a_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (pack,) = load_packs([name], Path())
    cases = read_cases(pack)
    variants = {rule.id: dict(mutants(rule)) for rule in pack.rules}
    watch = Watch(cases, variants)
    monkeypatch.setattr(Bench, "verdicts", lambda bench, rule: watch(bench, rule))
    assert failed(pack, cases) == []
    monkeypatch.undo()
    killed = set(watch.killed)
    for rule in pack.rules:
        if not decided_by_rows(rule):  # each mutant is judged by itself
            own = [case for case in cases if case.rule_id == rule.id]
            seen = observe(own, {rule.id: list(variants[rule.id].values())})
            killed |= {
                mutant
                for mutant in variants[rule.id]
                if any(seen[mutant, index] != case.expect for index, case in enumerate(own))
            }
    assert [m for named in variants.values() for m in named if m not in killed] == []
    assert len(killed) > 2 * len(pack.rules)


@pytest.mark.parametrize("name", sorted(LARGE))  # those of the others: above
def test_every_case_of_a_large_pack_passes(name: str) -> None:
    (pack,) = load_packs([name], Path())
    cases = read_cases(pack)
    assert failed(pack, cases) == []


@pytest.mark.parametrize("name", builtin_pack_names())
def test_every_rule_has_enough_cases_and_no_level_that_its_citation_does_not_carry(
    name: str,
) -> None:
    (pack,) = load_packs([name], Path())
    cases = read_cases(pack)
    for rule in pack.rules:
        assert sum(case.rule_id == rule.id for case in cases) >= FEWEST_CASES, rule.id
        assert not (rule.law.citation == "unverified" and rule.level == "error"), rule.id
        if rule.law.citation != "own_policy":
            assert rule.law.duty and rule.remedy, rule.id


@pytest.mark.parametrize(
    ("name", "countries", "others"),
    [
        ("eu-gdpr", UNION | {"IS", "LI", "NO"}, [("EU-GDPR-44-THIRD-COUNTRY", ADEQUATE)]),
        ("eu-ai-act", UNION, []),
    ],
)
def test_lists_of_countries(
    name: str, countries: frozenset[str], others: list[tuple[str, frozenset[str]]]
) -> None:
    (pack,) = load_packs([name], Path())
    assert frozenset(pack.regions) == countries
    lists = [
        (rule.id, node.values)
        for rule in pack.rules
        for expression in rule.expressions().values()
        for node in walk(expression.node)
        if isinstance(node, In)
        and PLACES & {inner.name for inner in walk(node.part) if isinstance(inner, Name)}
    ]
    assert len(lists) >= len(pack.rules)
    found = []
    for rule_id, values in lists:
        codes = [str(value.value) for value in values if isinstance(value, Value)]
        assert len(codes) == len(values) == len(frozenset(codes))
        if frozenset(codes) != countries:
            found.append((rule_id, frozenset(codes)))
    assert found == others

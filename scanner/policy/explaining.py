"""Explains a rule to an officer: the law, the duty, the conditions in words, and the SQL that
runs."""

from __future__ import annotations

from scanner.policy.columns import BUILT_IN_MEASURES, COLUMNS
from scanner.policy.expressions import Expression, to_sql, to_words
from scanner.policy.packs import Citation, Rule

_CITATION_WORDS: dict[Citation, str] = {
    "verified": "read in the text of the law",
    "secondary": "read in a secondary source only",
    "unverified": "from memory, not checked",
    "own_policy": "a policy of the organisation, not law",
}
_SCOPE_WORDS = {
    "exposure": "every record in every use of it",
    "transfer": "every transfer of a dataset as a whole",
    "dataset": "every dataset as a whole",
}
_MEASURE_WORDS = {
    "count_distinct": "the exact number of distinct people",
    "count": "the number of items",
    "sum": "the number of records",
}


def explain(rule: Rule) -> str:
    """Several lines of plain text about one rule."""
    law = rule.law
    lines: list[str | None] = [
        f"{rule.id} (version {rule.version}, pack {rule.pack})",
        rule.title,
        "",
        f"Law       {law.cite} ({_CITATION_WORDS[law.citation]})",
        f"Duty      {law.duty or 'not told in plain words by this rule'}",
    ]
    if law.link:
        lines.append(f"Link      {law.link}")
    if law.in_force_from is not None:
        lines.append(f"In force  from {law.in_force_from}, by the day of the event (UTC)")
    if law.in_force_until is not None:
        lines.append(f"In force  until {law.in_force_until}, that day included (UTC)")
    lines += [f"Level     {rule.level}", f"Judges    {_SCOPE_WORDS[rule.scope]}", ""]
    for measure in rule.measures:
        text = f"“{measure.name.replace('_', ' ')}” is {_MEASURE_WORDS[measure.how]}"
        if measure.where is not None:
            text += f" for which {to_words(measure.where.node)}"
        lines.append(text + ".")
    lines.append(_sentence("It applies", rule.applies_when) or "It applies always.")
    lines.append(_sentence("A person must attest (review)", rule.review_when))
    tests = [e for e in (rule.having, rule.where) if e is not None]
    if tests:
        lines.append("It is a violation if " + ", and ".join(to_words(e.node) for e in tests) + ".")
    lines.append(
        "Where something that this asks for is not on record, it is a review, never a pass."
    )
    lines += ["", f"Remedy    {rule.remedy or 'none is named by this rule'}", "", "SQL"]
    for key, expression in rule.expressions().items():
        lines.append(f"  {key:<13} {to_sql(expression.node)}")
    names = sorted(rule.names())
    own = {measure.name for measure in rule.measures}
    known = {**COLUMNS, **BUILT_IN_MEASURES}
    lines += ["", "Columns"]
    lines += [f"  {n:<24} {known[n].meaning}" for n in names if n in known and n not in own]
    return "\n".join(line for line in lines if line is not None) + "\n"


def _sentence(start: str, expression: Expression | None) -> str | None:
    return None if expression is None else f"{start} if {to_words(expression.node)}."

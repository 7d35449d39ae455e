"""Explains a rule to an officer: the law, the duty, the conditions in words, and the SQL that
runs."""

from __future__ import annotations

import textwrap

from scanner.policy.columns import BUILT_IN_MEASURES, COLUMNS
from scanner.policy.expressions import And, Node, to_sql
from scanner.policy.packs import Citation, Pack, Rule
from scanner.policy.wording import outline, to_words

WIDTH = 80  # characters of a line
_LABEL = 11
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
    """Lines of plain text about one rule, none wider than `WIDTH`, but for words that are."""
    law = rule.law
    lines = [
        *_wrapped(f"{rule.id} (version {rule.version}, pack {rule.pack})"),
        *_wrapped(rule.title),
        "",
        *_labelled("Law", f"{law.cite} ({_CITATION_WORDS[law.citation]})"),
        *_labelled("Duty", law.duty or "not told in plain words by this rule"),
    ]
    if law.link:
        lines += _labelled("Link", law.link)
    if law.in_force_from is not None:
        lines += _labelled("In force", f"from {law.in_force_from}, by the day of the event (UTC)")
    if law.in_force_until is not None:
        lines += _labelled("In force", f"until {law.in_force_until}, that day included (UTC)")
    lines += _labelled("Level", rule.level)
    lines += _labelled("Judges", _SCOPE_WORDS[rule.scope])
    lines += _labelled("Remedy", rule.remedy or "none is named by this rule")
    lines.append("")
    for measure in rule.measures:
        text = f"“{measure.name.replace('_', ' ')}” is {_MEASURE_WORDS[measure.how]}"
        if measure.where is not None:
            text += f" for which {to_words(measure.where.node)}"
        lines += _wrapped(text + ".", hang=2)
    if rule.applies_when is None:
        lines.append("It applies always.")
    else:
        lines += _condition("It applies if", rule.applies_when.node)
    if rule.review_when is not None:
        lines += _condition("It is a review (a person must decide) if", rule.review_when.node)
    tests = [e.node for e in (rule.having, rule.where) if e is not None]
    if tests:
        start = "Otherwise it is" if rule.review_when is not None else "It is"
        parts = [part for t in tests for part in (t.parts if isinstance(t, And) else (t,))]
        node = parts[0] if len(parts) == 1 else And(tuple(parts))
        lines += _condition(f"{start} a violation if", node)
    lines += _wrapped(
        "Where something that this asks for is not on record, it is a review, never a pass.",
        hang=2,
    )
    names = sorted(rule.names())
    own = {measure.name for measure in rule.measures}
    known = {**COLUMNS, **BUILT_IN_MEASURES}
    lines += ["", "What it looks at"]
    for name in names:
        if name in known and name not in own:
            lines += _labelled(f"  {name}", known[name].meaning, 27)
    lines += ["", "As SQL"]
    for key, expression in rule.expressions().items():
        lines.append(f"  {key}")
        lines += textwrap.wrap(
            to_sql(expression.node),
            WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 6,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines) + "\n"


def overview(pack: Pack) -> str:
    """The rules of a pack, with their law and how sure the citation is, not wider than `WIDTH`."""
    lines = _wrapped(f"{pack.name} {pack.version}: {pack.title}")
    for rule in pack.rules:
        text = rule.text()
        lines.append(f"  {text.id:<40} {text.level:<8} {text.citation}")
        lines += _wrapped(f"{text.law_cite}: {text.title}", indent=6, hang=0)
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: int = 0, hang: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _labelled(label: str, text: str, width: int = _LABEL) -> list[str]:
    first, *rest = textwrap.wrap(
        text, WIDTH - width, break_long_words=False, break_on_hyphens=False
    )
    return [f"{label:<{width}}{first}", *(" " * width + line for line in rest)]


def _condition(start: str, node: Node) -> list[str]:
    """`start` and the condition, as one line if it is short, else as a list."""
    if len(start) + len(to_words(node)) + 2 <= WIDTH:
        return [f"{start} {to_words(node)}."]
    (_, head), *rest = outline(node)
    lines = _wrapped(f"{start} {head}", hang=2)
    for depth, text in rest:
        lines += _wrapped(f"- {text}", indent=2 * depth, hang=2)
    return lines

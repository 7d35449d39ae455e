"""Explains a rule to an officer: the law, the duty, the conditions in words, and the SQL that
runs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from scanner.errors import PolicyError
from scanner.policy.columns import BUILT_IN_MEASURES, COLUMNS
from scanner.policy.expressions import And, Node, to_sql
from scanner.policy.packs import Mode, Pack, Rule
from scanner.policy.wording import outline, to_words

WIDTH = 80  # characters of a line
_LABEL = 11
CITATION_WORDS: Mapping[str, str] = {
    "verified": "read in the text of the law",
    "secondary": "read in a secondary source only",
    "unverified": "from memory, not checked",
    "own_policy": "a policy of the organisation, not law",
}
_MODE_WORDS: Mapping[Mode, str] = {
    "record": "decided for each record by itself",
    "aggregate": "decided for a dataset or transfer as a whole",
    "attestation": "only a person can tell; evidence settles it, no violation is found",
}
_SCOPE_WORDS = {
    "exposure": "every record in every use of it",
    "transfer": "every transfer of a dataset as a whole",
    "dataset": "every dataset as a whole",
}
_SCAN, _DATASETS, _MANIFEST = "the scan", "the declared datasets", "the manifest"
_PARTIES, _TRANSFERS = "registry parties", "registry transfers"
_CONSENTS, _USE, _RUN = "registry consents", "the declared use", "the run (--as-of)"
_SOURCES = (_SCAN, _DATASETS, _MANIFEST, _PARTIES, _TRANSFERS, _CONSENTS, _USE, _RUN)
COMES_FROM: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("kind", "representation", "basis", "confidence", "certainty", "has_unique_identifier",
         "linked", "has_detections", "records", "possible_records"), (_SCAN,)
    ),
    **dict.fromkeys(("subject_key", "subjects"), (_SCAN, _DATASETS, _MANIFEST)),
    **dict.fromkeys(
        ("subject_age", "is_minor", "in_manifest", "dangling_rows", "unmanifested_records"),
        (_MANIFEST,),
    ),
    **dict.fromkeys(
        ("dataset_id", "subject_key_quality", "controller", "collected_for", "source",
         "retention_until", "has_manifest"), (_DATASETS,)
    ),
    **dict.fromkeys(("jurisdiction", "jurisdiction_country"), (_DATASETS, _MANIFEST)),
    **dict.fromkeys(("controller_type", "controller_country"), (_DATASETS, _PARTIES)),
    **dict.fromkeys(("recipient_type", "recipient_country"), (_PARTIES, _TRANSFERS, _USE)),
    **dict.fromkeys(("purpose", "recipient", "to_country"), (_TRANSFERS, _USE)),
    "new_purpose": (_DATASETS, _TRANSFERS, _USE),
    **dict.fromkeys(("legal_basis", "statutory_basis"), (_DATASETS, _TRANSFERS)),
    **dict.fromkeys(
        ("transfer_id", "transfer_role", "transfer_mode", "from_country",
         "within_original_purpose", "agreement_ref", "published_ref", "published_from",
         "transfer_tool", "started_at", "ended_at"), (_TRANSFERS,)
    ),
    "upstream": (_DATASETS, _TRANSFERS),
    "event_time": (_TRANSFERS, _RUN),
    "as_of": (_RUN,),
    **dict.fromkeys(
        ("consent_status", "separate_consent", "guardian_verified"), (_CONSENTS, _TRANSFERS, _USE)
    ),
}  # fmt: skip
_MEASURE_WORDS = {
    "count_distinct": "the exact number of distinct people",
    "count": "the number of items",
    "sum": "the number of records",
}


def explain(rule: Rule) -> str:
    """Lines of plain text about one rule, none wider than `WIDTH`, but for words that are."""
    law = rule.law
    lines = [
        *wrapped(f"{rule.id} (version {rule.version}, pack {rule.pack})"),
        *wrapped(rule.title),
        "",
        *labelled("Law", f"{law.cite} ({CITATION_WORDS[law.citation]})"),
        *labelled("Duty", law.duty or "not told in plain words by this rule"),
    ]
    if law.link:
        lines += labelled("Link", law.link)
    if law.in_force_from is not None:
        lines += labelled("In force", f"from {law.in_force_from}, by the day of the event (UTC)")
    if law.in_force_until is not None:
        lines += labelled("In force", f"until {law.in_force_until}, that day included (UTC)")
    if law.in_force_from is None and law.in_force_until is None:
        lines += labelled("In force", "on every day: this rule names no day")
    lines += labelled("Level", rule.level)
    lines += labelled("Mode", f"{rule.mode} ({_MODE_WORDS[rule.mode]})")
    lines += labelled("Judges", _SCOPE_WORDS[rule.scope])
    lines += labelled("Remedy", rule.remedy or "none is named by this rule")
    lines.append("")
    for measure in rule.measures:
        text = f"“{measure.name.replace('_', ' ')}” is {_MEASURE_WORDS[measure.how]}"
        if measure.where is not None:
            text += f" for which {to_words(measure.where.node)}"
        lines += wrapped(text + ".", hang=2)
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
    lines += wrapped(
        "Where something that this asks for is not on record, it is a review, never a pass.",
        hang=2,
    )
    names = sorted(rule.names())
    own = {measure.name for measure in rule.measures}
    known = {**COLUMNS, **BUILT_IN_MEASURES}
    lines += ["", "What it looks at"]
    for name in names:
        if name in known and name not in own:
            lines += labelled(f"  {name}", known[name].meaning, 27)
    lines += ["", "What it needs, and where that comes from"]
    for source, needed in _needs(rule).items():
        lines += labelled(f"  {source}", ", ".join(needed), 27)
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
    return "\n".join([*lines, *_cases(rule)]) + "\n"


def _needs(rule: Rule) -> dict[str, list[str]]:
    """Where each column of a rule comes from, and which evidence it asks for."""
    found: dict[str, list[str]] = {}
    own = {measure.name for measure in rule.measures}
    counted = {"subject_key" for m in rule.measures if m.how == "count_distinct"}
    for name in sorted((rule.names() | counted) - own):
        for source in COMES_FROM[name]:
            found.setdefault(source, []).append(name)
    kinds = sorted(rule.kinds_of_evidence())
    ordered = {source: found[source] for source in _SOURCES if source in found}
    return {**ordered, **({"registry evidence": kinds} if kinds else {})}


def _cases(rule: Rule) -> list[str]:
    from scanner.policy.cases import cases_of, expected  # with the database, which `list` needs not

    try:
        cases = cases_of(rule)
    except PolicyError:
        return ["", "Its cases cannot be read; `consentry policies validate` tells why."]
    if not cases:
        return ["", "It has no cases: nothing shows that it does what it says."]
    lines = ["", "Its cases (name: verdict and records that it must give)"]
    for case in cases:
        lines += wrapped(f"- {case.name}: {expected(case)}", indent=2, hang=2)
    return lines


def overview(pack: Pack) -> str:
    """The rules of a pack, with their law and how sure the citation is, not wider than `WIDTH`."""
    lines = wrapped(f"{pack.name} {pack.version}: {pack.title}")
    for rule in pack.rules:
        text = rule.text()
        lines.append(f"  {text.id:<40} {text.level:<8} {text.citation:<11} {rule.mode}")
        lines += wrapped(f"{text.law_cite}: {text.title}", indent=6, hang=0)
    return "\n".join(lines) + "\n"


def wrapped(text: str, indent: int = 0, hang: int = 0) -> list[str]:
    """`text` in lines of at most `WIDTH` characters, but for words that are longer."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def labelled(label: str, text: str, width: int = _LABEL) -> list[str]:
    """`text` behind its label, whose column is `width` characters wide."""
    first, *rest = textwrap.wrap(
        text, WIDTH - width, break_long_words=False, break_on_hyphens=False
    ) or [""]
    return [f"{label:<{width}}{first}", *(" " * width + line for line in rest)]


def _condition(start: str, node: Node) -> list[str]:
    """`start` and the condition, as one line if it is short, else as a list."""
    if len(start) + len(to_words(node)) + 2 <= WIDTH:
        return [f"{start} {to_words(node)}."]
    (_, head), *rest = outline(node)
    lines = wrapped(f"{start} {head}", hang=2)
    for depth, text in rest:
        lines += wrapped(f"- {text}", indent=2 * depth, hang=2)
    return lines

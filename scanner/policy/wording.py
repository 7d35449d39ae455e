"""Says the conditions of rules in plain English, for people who do not read SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scanner.policy.expressions import (
    And,
    Call,
    Compare,
    Evidence,
    In,
    Is,
    Name,
    Node,
    Not,
    Or,
    Value,
)

_NOUNS: Mapping[str, str] = {
    "kind": "what was detected",
    "representation": "the form of the data",
    "subject_key": "the person's key",
    "subject_age": "the person's age",
    "jurisdiction": "the people's country",
    "jurisdiction_country": "the people's country",
    "controller": "the controller",
    "controller_type": "the controller's type",
    "controller_country": "the controller's country",
    "collected_for": "the purpose of collection",
    "source": "the source of the data",
    "retention_until": "the end of retention",
    "as_of": "the moment judged for",
    "transfer_id": "a transfer",
    "transfer_role": "the recipient's role",
    "transfer_mode": "the mode of the transfer",
    "purpose": "the purpose of the use",
    "recipient": "the recipient",
    "recipient_type": "the recipient's type",
    "recipient_country": "the recipient's country",
    "from_country": "the country the data comes from",
    "to_country": "the country the data goes to",
    "legal_basis": "the legal basis",
    "within_original_purpose": "what was attested about the original purpose",
    "agreement_ref": "the contract with the recipient",
    "published_ref": "the publication of the recipient",
    "published_from": "the day of publication",
    "transfer_tool": "the ground for a transfer abroad",
    "upstream": "what the transfers before it permit",
    "started_at": "the start of the transfer",
    "ended_at": "the end of the transfer",
    "event_time": "the start of the use",
    "consent_status": "the person's consent to this use",
}
_CLAUSES: Mapping[str, tuple[str, str]] = {  # of columns that are true or false
    "is_minor": ("the person is a child", "the person is no child"),
    "in_manifest": ("the manifest lists it", "the manifest does not list it"),
    "has_unique_identifier": (
        "passport or national id numbers are in the dataset",
        "no passport or national id numbers are in the dataset",
    ),
    "linked": (
        "faces are kept together with nationality, gender, age or ethnicity",
        "no faces are kept together with nationality, gender, age or ethnicity",
    ),
    "has_manifest": ("the dataset has a manifest", "the dataset has no manifest"),
    "has_detections": ("something personal was detected", "nothing personal was detected"),
    "statutory_basis": (
        "the legal basis on record is a statute",
        "the legal basis on record is no statute",
    ),
    "new_purpose": (
        "the use is for another purpose than the collection, and no narrower one",
        "the use is for the purpose of the collection, or a narrower one",
    ),
    "separate_consent": ("a separate consent covers it", "no separate consent covers it"),
    "guardian_verified": (
        "a verified guardian has consented",
        "no verified guardian has consented",
    ),
}


def fact_words(name: str, value: str | None) -> str:
    """What a column says where it has this value: a noun, or a clause if it is true or false."""
    if name in _CLAUSES:
        yes, no = _CLAUSES[name]
        return {"true": yes, "false": no}.get(str(value), f"whether {yes}")
    return _NOUNS.get(name, "")


_COMPARISONS: Mapping[str, str] = {
    "=": "is",
    "<>": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
    "is distinct from": "is another than",
    "is not distinct from": "is the same as",
}
_INLINE = 66  # characters: longer lists of conditions are outlined


def to_words(node: Node) -> str:
    """The condition as one English clause."""
    match node:
        case And(parts):
            return " and ".join(_bracketed(part, Or) for part in parts)
        case Or(parts):
            return " or ".join(_bracketed(part, And) for part in parts)
        case Not(In(part, values)):
            return f"{to_words(part)} is none of {_listed(values)}"
        case Not(Is(part, None)):
            return f"{to_words(part)} is on record"
        case Not(Name(name)):
            return _CLAUSES[name][1] if name in _CLAUSES else f"not {_noun(name)}"
        case Not(Evidence(kind)):
            return f"there is no {kind} on record"
        case Not(part):
            return f"it is not so that ({to_words(part)})"
        case Compare(operator, left, right):
            return f"{to_words(left)} {_COMPARISONS[operator]} {to_words(right)}"
        case In(part, values):
            return f"{to_words(part)} is {_listed(values)}"
        case Is(Name(name), True) if name in _CLAUSES:
            return _CLAUSES[name][0]
        case Is(Name(name), False) if name in _CLAUSES:
            return _CLAUSES[name][1]
        case Is(part, value):
            word = "not on record" if value is None else "true" if value else "false"
            return f"{to_words(part)} is {word}"
        case Call("coalesce", (part, Value(""))):
            return to_words(part)
        case Call("coalesce", arguments):
            first, *others = (to_words(argument) for argument in arguments)
            return f"{first} (where not on record: {', else '.join(others)})"
        case Call("starts_with", (part, start)):
            return f"{to_words(part)} starts with {to_words(start)}"
        case Call("contains", (part, start)):
            return f"{to_words(part)} contains {to_words(start)}"
        case Call("date", (part,)):
            return f"the day of {to_words(part)}"
        case Call("lower" | "upper", (part,)):
            return to_words(part)
        case Call(name, arguments):
            return f"the {name} of {', '.join(to_words(argument) for argument in arguments)}"
        case Evidence(kind):
            return f"{kind} is on record"
        case Name(name):
            return _CLAUSES[name][0] if name in _CLAUSES else _noun(name)
        case Value(value) if isinstance(value, str):
            return f"“{value.replace('_', ' ')}”"
        case Value(value) if isinstance(value, int) and not isinstance(value, bool):
            return f"{value:,}"
        case Value(value):
            return str(value).lower()


def outline(node: Node, depth: int = 0) -> Iterator[tuple[int, str]]:
    """The condition as a list: (depth, text), with a heading over each group of conditions."""
    inner = node.part if isinstance(node, Not) else node
    if not isinstance(inner, And | Or) or (depth and len(to_words(node)) <= _INLINE):
        yield depth, to_words(node)
        return
    headings = {
        (And, False): "all of this is so:",
        (Or, False): "at least one of this is so:",
        (And, True): "not all of this is so:",
        (Or, True): "none of this is so:",
    }
    yield depth, headings[type(inner), isinstance(node, Not)]
    for part in inner.parts:
        yield from outline(part, depth + 1)


def _noun(name: str) -> str:
    return _NOUNS.get(name, name.replace("_", " "))


def _listed(values: tuple[Node, ...]) -> str:
    *most, last = (to_words(value) for value in values)
    return f"{', '.join(most)} or {last}" if most else last


def _bracketed(node: Node, kind: type) -> str:
    return f"({to_words(node)})" if isinstance(node, kind) else to_words(node)

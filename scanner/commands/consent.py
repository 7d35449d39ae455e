"""`consentry consent`: whether one person's consent covers one use, and why."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from scanner.commands.moment import Moment
from scanner.errors import UsageError

if TYPE_CHECKING:
    from scanner.config import Settings
    from scanner.policy.consent_check import Considered, Decision, Question

GIVEN, NOT_GIVEN, UNKNOWN = 0, 1, 3
SCHEMA = "consentry-consent/1"
WIDTH = 80
_KIND = "biometric.face"
_SHORTEST_HIDDEN = 3  # characters of a key that is looked for in what is printed

_STATUS = {
    "given": "consent given",
    "expired": "the consent has expired",
    "not_yet_valid": "the consent is not valid yet",
    "withdrawn": "the consent was withdrawn",
    "refused": "consent was refused",
    "purpose_mismatch": "there is a consent, but for another purpose",
    "recipient_mismatch": "there is a consent, but for another recipient",
    "category_mismatch": "there is a consent, but for another kind of data",
    "none": "no consent of this person is on record",
    "subject_unknown": "this key says that the person is not known",
    None: "it cannot be told whether the consent on record covers this use",
}
_WHY = {
    "given": "counts: it covers this use, and holds",
    "withdrawn": "counts: the consent was withdrawn",
    "refused": "counts: consent was refused",
    "expired": "counts, but has expired",
    "not_yet_valid": "does not count yet: it begins later",
    "superseded": "does not count: a newer record replaces it",
    "not_yet_recorded": "does not count: it was not on record yet",
    "other_category": "does not count: for another kind of data",
    "other_purpose": "does not count: for another purpose",
    "narrower_purpose": "does not count: its purpose is narrower than the one asked for",
    "part_of_purpose": "takes back a part of the purpose asked for",
    "other_recipient": "does not count: for another recipient",
    "purpose_not_asked": "would count if this were the purpose; none was given",
    "recipient_not_asked": "would count if this were the recipient; none was given",
    "controller_not_known": "would count if the recipient were the controller; who that is, is "
    "not declared (--dataset)",
}


@click.group()
def consent() -> None:
    """Whether a person's consent covers a use, and why."""


# Nothing of the command line is parsed by click that may be a part of the key: its messages quote.
@consent.command(
    "check",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("subject", nargs=-1, type=click.UNPROCESSED, metavar="SUBJECT")
@click.option("--purpose", help="What the data shall be used for. Default: declared_use.")
@click.option("--recipient", help="Who shall use it: a party_id. Default: declared_use.")
@click.option("--kind", "--category", "kinds", multiple=True, metavar="KIND",
              help=f"Kind of data, or a prefix such as biometric. Default: {_KIND}.")  # fmt: skip
@click.option("--dataset", metavar="ID", help="Whose controller is meant; default: the only one's.")
@click.option("--as-of", type=Moment(), metavar="DATE", help="Decide as of then. Default: now.")
@click.option("-c", "--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Default: consentry.yaml here.")  # fmt: skip
@click.option("--key-file", type=click.Path(path_type=Path), metavar="FILE",
              envvar="CONSENTRY_KEY_FILE", help="Key of the digests.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def check(subject: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Explain one decision, record by record. SUBJECT is the key of a person in the registry; '-'
    reads it from standard input, where no other user of the machine sees it.

    Exit codes: 0 consent given, 1 not given, 2 wrong use, 3 it cannot be told.
    """
    from scanner.policy.consent_check import check_consent, given
    from scanner.subjects import SubjectKey, canonical

    key_text = _subject(subject)
    settings = _settings(options["config"])
    key = SubjectKey.load(options["key_file"])
    question = _question(settings, key.digest(key_text), options)
    registry, purposes = _registry(settings, key)
    decisions = check_consent(registry.to_reader(), purposes, question)
    clean = _hiding(canonical(key_text))
    answer = given(decisions)
    if as_json:
        click.echo(json.dumps(_as_json(question, decisions, answer, clean), indent=2))
    else:
        for line in _lines(question, decisions, clean):
            click.echo(line)
        for term in sorted({p for p in (question.purpose,) if p and not purposes.knows(p)}):
            click.echo(
                _wrapped(
                    f"No taxonomy knows the purpose {clean(term)}: it is compared by equality "
                    "alone.",
                    "",
                )
            )
    sys.exit({True: GIVEN, False: NOT_GIVEN, None: UNKNOWN}[answer])


# ---------------------------------------------------------------- what is asked


def _subject(words: Sequence[str]) -> str:
    """The person's key; no message repeats it, nor a word that may be a part of it."""
    for word in words:
        option = re.fullmatch(r"(--[a-z][a-z-]*)(=.*)?", word, re.DOTALL)
        if option:
            raise UsageError(f"no such option: {option[1]} (see --help)")
    if len(words) != 1:
        raise UsageError(
            f"expected one SUBJECT, got {len(words)} words; put a key with spaces in quotes"
        )
    if words[0] != "-":
        return words[0]
    line = sys.stdin.readline()
    if not line.strip():
        raise UsageError("expected the SUBJECT on standard input, got nothing")
    return line.rstrip("\r\n")


def _settings(config: Path | None) -> Settings:
    from scanner.config import find_config, load_settings, refuse_addresses

    cwd = Path.cwd()
    settings = load_settings(find_config(config, (), cwd), None, cwd)
    if config is None:
        refuse_addresses(settings)
    return settings


def _question(settings: Settings, digest: str | None, options: Mapping[str, Any]) -> Question:
    from scanner.policy.consent_check import Question

    return Question(
        subject_digest=digest,
        purpose=options["purpose"] or settings.declared_use.purpose,
        recipient=options["recipient"] or settings.declared_use.recipient,
        controller=_controller(settings, options["dataset"]),
        kinds=_kinds(options["kinds"]),
        as_of=options["as_of"] or datetime.now(UTC),
    )


def _controller(settings: Settings, dataset: str | None) -> str | None:
    from scanner.vocabulary import suggestion

    if dataset is None:
        named = {spec.controller for spec in settings.datasets if spec.controller}
        return named.pop() if len(named) == 1 else None
    for spec in settings.datasets:
        if spec.id == dataset:
            return spec.controller
    ids = [spec.id for spec in settings.datasets]
    raise UsageError(f"--dataset: no dataset {dataset!r} is declared{suggestion(dataset, ids)}")


def _kinds(asked: Sequence[str]) -> tuple[str, ...]:
    from scanner.model import KINDS
    from scanner.vocabulary import suggestion

    found: dict[str, None] = {}
    for kind in asked or (_KIND,):
        under = sorted(k for k in KINDS if k == kind or k.startswith(f"{kind}."))
        if not under:
            raise UsageError(
                f"--kind: {kind!r} is no kind of data{suggestion(kind, sorted(KINDS))}; known are "
                "biometric.face, attribute.age …, or a prefix such as biometric"
            )
        found.update(dict.fromkeys(under))
    return tuple(found)


def _registry(settings: Settings, key: Any) -> tuple[Any, Any]:
    from scanner.context.own_purposes import read_purposes
    from scanner.context.registries import read_registry

    spec = next((spec for spec in settings.registries if spec.name == "consents"), None)
    if spec is None:
        place = settings.file or "there is no consentry.yaml here; --config names one"
        raise UsageError(f"{place}: no registry of consents, so there is nothing to check")
    purposes = read_purposes(settings.purposes)

    def open_url(url: str) -> BinaryIO:
        from scanner.scan import open_one

        return open_one(settings, url)

    notes: list[str] = []
    registry = read_registry(spec, key, open_url, notes)
    for note in notes:
        click.echo(note, err=True)
    return registry, purposes


# ---------------------------------------------------------------- what is answered


def _hiding(subject: str | None) -> Callable[[str], str]:
    """What prints a text of the registry: on one line, and never with the person's key in it."""
    from scanner.reports import visible

    def clean(text: str) -> str:
        if subject and subject in text and (len(subject) >= _SHORTEST_HIDDEN or subject == text):
            text = text.replace(subject, "…")
        return visible(text)

    return clean


def _lines(
    question: Question, decisions: Sequence[Decision], clean: Callable[[str], str]
) -> list[str]:
    use = f"for {clean(question.purpose)}" if question.purpose else "for an unnamed purpose"
    whom = f"by {clean(question.recipient)}" if question.recipient else "by an unnamed recipient"
    lines = [
        _wrapped(f"Use {use}, {whom}, as of {question.as_of:%Y-%m-%d %H:%M} UTC", ""),
        f"Person {question.subject_digest or 'not known'} (digest)",
    ]
    for group in _alike(decisions):
        first = group[0]
        verdict = {"given": "GIVEN", None: "UNKNOWN", "subject_unknown": "UNKNOWN"}.get(
            first.status, "NOT GIVEN"
        )
        lines += ["", _wrapped(", ".join(d.kind for d in group), "")]
        lines.append(_wrapped(f"{verdict}: {_STATUS[first.status]}{_extras(first)}", "  "))
        for number, record in enumerate(first.records, 1):
            lines.append(_wrapped(f"{number}. {_facts(record, clean)}", "  ", "     "))
            lines.append(_wrapped(f"→ {_reason(record, question)}", "     ", "       "))
    return lines


def _alike(decisions: Sequence[Decision]) -> list[list[Decision]]:
    """Kinds of data about which the same was decided for the same reasons are told together."""
    groups: dict[tuple[object, ...], list[Decision]] = {}
    for decision in decisions:
        same = (decision.status, decision.separate, decision.guardian, decision.records)
        groups.setdefault(same, []).append(decision)
    return list(groups.values())


def _extras(decision: Decision) -> str:
    if decision.status != "given":
        return ""
    separate = {True: "separately", False: "not separately", None: "not known whether separately"}
    guardian = ", by a verified guardian" if decision.guardian else ""
    return f" ({separate[decision.separate]}{guardian})"


def _facts(record: Considered, clean: Callable[[str], str]) -> str:
    parts = [
        f"{record.state}{' (' + clean(record.record_id) + ')' if record.record_id else ''}",
        f"for {clean(record.purpose)}",
        "by anybody" if record.recipient == "*" else f"by {clean(record.recipient)}"
        if record.recipient else "by the controller itself",
        "any kind of data" if record.category in (None, "*") else clean(str(record.category)),
    ]  # fmt: skip
    for words, moment in (
        ("recorded", record.recorded_at),
        ("valid from", record.valid_from),
        ("until before", record.valid_until),
    ):
        if moment is not None:
            parts.append(f"{words} {_day(moment)}")
    if record.state == "given":
        if record.separate is not None:
            parts.append("separate" if record.separate else "not separate")
        if record.guardian:
            parts.append("by a verified guardian")
    return ", ".join(parts)


def _reason(record: Considered, question: Question) -> str:
    text = _WHY[record.why]
    if record.covers and record.why in ("given", "withdrawn", "refused", "expired"):
        text += "; its purpose is broader than the one asked for, and covers it"
    if record.taken_back:
        text += "; taken back by a newer record"
    if record.decides:
        text += " (decides)"
    return text


def _day(moment: datetime) -> str:
    if moment.year == 9999:
        return "for ever"
    if moment.year == 1:
        return "the beginning of time"
    at_midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return f"{moment:%Y-%m-%d}" if at_midnight else f"{moment:%Y-%m-%d %H:%M} UTC"


def _wrapped(text: str, first: str, rest: str | None = None) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _as_json(
    question: Question,
    decisions: Sequence[Decision],
    answer: bool | None,
    clean: Callable[[str], str],
) -> dict[str, object]:
    def text(value: str | None) -> str | None:
        return None if value is None else clean(value)

    def moment(value: datetime | None) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat()

    return {
        "schema": SCHEMA,
        "given": answer,
        "subject_digest": question.subject_digest,
        "purpose": text(question.purpose),
        "recipient": text(question.recipient),
        "controller": text(question.controller),
        "as_of": moment(question.as_of),
        "decisions": [
            {
                "kind": decision.kind,
                "status": decision.status,
                "separate_consent": decision.separate,
                "guardian_verified": decision.guardian,
                "explanation": _STATUS[decision.status],
                "records": [
                    {
                        "record_id": text(record.record_id),
                        "state": record.state,
                        "purpose": text(record.purpose),
                        "recipient": text(record.recipient),
                        "data_category": text(record.category),
                        "recorded_at": moment(record.recorded_at),
                        "valid_from": moment(record.valid_from),
                        "valid_until": moment(record.valid_until),
                        "separate": record.separate,
                        "guardian_verified": record.guardian,
                        "why": record.why,
                        "explanation": _reason(record, question),
                        "decides": record.decides,
                    }
                    for record in decision.records
                ],
            }
            for decision in decisions
        ],
    }

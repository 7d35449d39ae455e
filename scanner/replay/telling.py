"""Tells what came of a replay in plain words, in lines of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from scanner.replay.drawing import Drawn
from scanner.replay.playing import Blocking, Outcome, Row
from scanner.replay.worlds import MINISTRY, Incident, World

WIDTH = 80
_NAMES = {
    "dataset.legal_basis": "legal basis of the data",
    "evidence.DECISION": "a regulator's decision",
    "evidence.PIA_SUBMITTED": "impact assessment (PIA)",
    "firms.agreement_ref": "firms: contract",
    "firms.mode": "firms: way of access",
    "firms.published_ref": "firms: made public",
    "firms.role_of_recipient": "firms: role",
    "firms.within_original_purpose": "firms: within the purpose",
    "ministry.agreement_ref": "ministry: agreement",
    "ministry.mode": "ministry: way of access",
    "ministry.role_of_recipient": "ministry: role",
    "ministry.within_original_purpose": "ministry: within purpose",
}


def told(
    incident: Incident,
    drawn: Sequence[Drawn],
    seed: int,
    outcome: Outcome,
    others: Sequence[World],
    prevention: tuple[Sequence[Blocking], Sequence[Row]],
    rules: int,
) -> Iterator[str]:
    """Every line of the report."""
    world = outcome.world
    yield f"{incident.title}: replayed"
    yield f"World {world.name}: {world.title}"
    yield from _wrapped(
        f"Facts as of {world.as_of:%Y-%m-%d}, transfers from {world.started:%Y-%m-%d}; judged by "
        f"{rules} rules. This is not legal advice, and no record of a real person is used."
    )
    yield from _records(incident, drawn, seed)
    for verdict, heading in (("violation", "VIOLATIONS"), ("review", "REVIEW: a person must say")):
        yield ""
        yield heading
        rows = outcome.of(verdict)
        yield from _rows(rows) if rows else ["  none"]
    yield ""
    yield "NO FINDING"
    passed = sorted({row.rule_id for row in outcome.of("compliant")})
    yield from _listed("checked, compliant", passed)
    yield from _listed("not applicable in this world", outcome.silent)
    for text in incident.left_out:
        yield from _wrapped(f"not replayed: {text}", "  ", "    ")
    yield from _facts(world, others)
    yield from _prevented(*prevention)


def _records(incident: Incident, drawn: Sequence[Drawn], seed: int) -> Iterator[str]:
    total = sum(part.records for part in drawn)
    yield ""
    share = f" ({total / incident.records:.4%} of them)" if total != incident.records else ""
    yield f"RECORDS  {total:,} of {incident.records:,}{share}"
    about = {part.id: part.about for part in incident.parts}
    for part in drawn:
        yield f"  {part.dataset_id:<21}{part.records:>12,}  {about[part.dataset_id]}"
    yield from _wrapped(
        f"Synthetic, not known: seed {seed}; people, nationality and age below. A change of these "
        "changes the numbers of people, not of records.", "  ", "  "
    )  # fmt: skip
    for part in drawn:
        images = incident.images_per_person[part.dataset_id]
        mix = ", ".join(
            f"{name} {share:.0%}"
            for name, share in incident.nationality_mix[part.dataset_id].items()
        )
        people = f"{part.people:>12,}  people, {images:g} photos each on average"
        yield f"  {part.dataset_id:<21}{people}"
        yield from _wrapped(
            f"nationality {mix}; under 14: {incident.child_share:.0%} ({part.children:,} drawn)",
            " " * 23, " " * 23,
        )  # fmt: skip
    fields = ", ".join(column.name for column in incident.columns)
    yield from _wrapped(
        f"Beside each photo, its table holds {fields}: rules about a whole dataset count "
        f"{total * (1 + len(incident.columns)):,} records, photos and fields. Fields carry no key "
        "of a person, hence bounds (\"at most\").", "  ", "  "
    )  # fmt: skip
    if total < incident.records:
        yield from _wrapped(
            "Thresholds count people: below full scale, a duty that starts at so many people may "
            "not be reached. --records full judges all.", "  ", "  "
        )  # fmt: skip


def _paths(row: Row) -> str:
    if not row.transfers:
        return f"{len(row.datasets)} datasets"
    firms = [name for name in row.transfers if name != MINISTRY]
    names = [MINISTRY] if MINISTRY in row.transfers else []
    if firms:
        names.append(f"{firms[0]} to {firms[-1]}" if len(firms) > 1 else firms[0])
    count = len(row.transfers)
    return f"{count} transfer{'s' if count > 1 else ''} ({' and '.join(names)})"


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield from _wrapped(f"{row.cite}  {row.title}", "  ", "      ")
        each = " on each" if len(row.transfers) > 1 else ""
        where = f"{_paths(row)}; {row.records:,} records{each}; {row.rule_id}"
        yield from _wrapped(where, "      ", "      ")
        yield from _wrapped(row.reason, "      ", "      ")
        if row.verdict == "review":
            yield from _wrapped(f"To settle: {row.remedy}", "      ", "      ")


def _listed(what: str, names: Sequence[str]) -> Iterator[str]:
    short = ", ".join(name.removeprefix("KR-PIPA-") for name in names) or "none"
    yield from _wrapped(f"{what}: {short}", "  ", "    ")


def _facts(world: World, others: Sequence[World]) -> Iterator[str]:
    """Which facts differ, and who asserts them."""
    yield ""
    yield "WHY THE WORLDS DIFFER: facts, and who asserts them"
    for name in world.facts:
        facts = [(w.name, w.facts[name]) for w in (world, *others)]
        if len({fact.value for _, fact in facts}) == 1:
            continue
        yield f"  {_NAMES.get(name, name)}"
        for where, fact in facts:
            value = fact.value if fact.value is not None else "not on record"
            yield from _wrapped(
                f"{where:<12}{value} [{fact.by}; {fact.source}; {fact.date}]", "    ", " " * 16
            )
    same = [
        _NAMES.get(name, name)
        for name in world.facts
        if len({w.facts[name].value for w in (world, *others)}) == 1
    ]
    if same:
        yield from _wrapped(f"the same in all: {', '.join(same)}", "  ", "    ")


def _prevented(items: Sequence[Blocking], others: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield "PREVENTION: what was open before the first record moved"
    yield from _wrapped(
        "The plan and the declared inventory, judged as of the day before the start. No legal "
        "conclusion is needed to see what is not on record:", "  ", "  "
    )  # fmt: skip
    for item in items:
        yield from _wrapped(f"{item.items:>3}  {item.what}", "  ", "       ")
    counts = " + ".join(str(item.items) for item in items)
    yield f"  {counts} = {sum(item.items for item in items)} blocking items"
    if others:
        yield from _wrapped(
            "Further questions that somebody has to answer: "
            + "; ".join(f"{row.cite} {row.title[0].lower()}{row.title[1:]}" for row in others)
            + ".", "  ", "  ",
        )  # fmt: skip


def _wrapped(text: str, first: str = "", then: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    )

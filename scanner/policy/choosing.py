"""Picks the rule packs of `--policies auto` from what is claimed about the data.

A pack says in its pack.yaml of which `regions` it is the law. It is picked if anything that is on
record lies in one of them: the people of a dataset, its controller, either side or either end of a
transfer, or of the declared use. Which of its rules then apply, each rule says itself; a pack too
many costs a few "not applicable", a pack too few would be a law forgotten. What is not on record is
said, because a pack may be missing for it; people of a country whose regions have packs of their
own may be in any of these, so all of them are picked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from scanner.model import Context
from scanner.policy.packs import builtin_regions
from scanner.vocabulary import AUTO

EVERYWHERE = "*"
_LISTED = 3  # names in one note; the rest is counted


@dataclass(frozen=True, slots=True)
class _Fact:
    """Something on record that lies in a place."""

    place: str  # KR, US-IL
    words: str  # "the people of dataset 'visitors' are in KR"
    of_people: bool = False


def named(policies: Sequence[str]) -> tuple[str, ...]:
    """The packs that are picked whatever the facts are: those named beside `auto`, and without any
    such the built-in ones of everywhere."""
    own = tuple(name for name in policies if name != AUTO)
    if AUTO not in policies:
        return own
    everywhere = (name for name, regions in builtin_regions().items() if EVERYWHERE in regions)
    return tuple(dict.fromkeys([*everywhere, *own]))


def choose(policies: Sequence[str], context: Context) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The packs to judge by, and one line for each that says why, then what is not on record.

    Without `auto` among `policies` these are the answer, and there is nothing to say. Packs that
    are named beside `auto` stay.
    """
    if AUTO not in policies:
        return tuple(policies), ()
    sure = named(policies)
    regions = builtin_regions()
    facts = list(_facts(context))
    notes = [
        f"policies: {name}, "
        + ("because it is named" if name in policies else "whatever the facts are")
        for name in sure
        if name in regions  # own packs are folders; the run names them anyway
    ]
    picked: list[str] = []
    for name in sorted(set(regions) - set(sure)):
        because = [fact.words for fact in facts if _lies_in(fact.place, regions[name])]
        because += [
            f"{fact.words}, and their region is not on record"
            for fact in facts
            if fact.of_people and _parts(fact.place, regions[name])
        ]
        if because:
            picked.append(name)
            more = f" ({len(because) - 1} more)" if len(because) > 1 else ""
            notes.append(f"policies: {name}, because {because[0]}{more}")
    notes += _not_covered(facts, regions)
    notes += _not_on_record(context)
    return (*sure, *picked), tuple(notes)


def _lies_in(place: str, regions: Sequence[str]) -> bool:
    return any(place == region or place.startswith(f"{region}-") for region in regions)


def _parts(place: str, regions: Sequence[str]) -> list[str]:
    """Those of the regions that are parts of the place."""
    return sorted({region for region in regions if region.startswith(f"{place}-")})


# ---------------------------------------------------------------- what is on record


def _facts(context: Context) -> Iterator[_Fact]:
    """Every place on record, the people's first, in the order of the tables."""
    seats = {
        str(party["party_id"]): str(party["country"])
        for party in context.parties.select(["party_id", "country"]).to_pylist()
        if party["country"]
    }
    for row in context.datasets.select(["dataset_id", "jurisdiction"]).to_pylist():
        place = row["jurisdiction"]
        if place:
            yield _fact("the people of dataset {} are in {}", row["dataset_id"], place, True)
    # one row per dataset and place, however long the manifest is
    for dataset, place in _pairs(context.manifest_rows):
        if place:
            yield _fact("people in the manifest of dataset {} are in {}", dataset, place, True)
    for row in context.datasets.select(["dataset_id", "controller"]).to_pylist():
        if row["controller"] in seats:
            seat = seats[row["controller"]]
            yield _fact("the controller of dataset {} is in {}", row["dataset_id"], seat)
    for row in context.transfers.to_pylist():
        name = row["transfer_id"]
        for column, words in (
            ("from_country", "transfer {} starts in {}"),
            ("to_country", "transfer {} goes to {}"),
        ):
            if row[column]:
                yield _fact(words, name, row[column])
        for column, words in (
            ("exporter_id", "the exporter of transfer {} is in {}"),
            ("importer_id", "the importer of transfer {} is in {}"),
        ):
            if row[column] in seats:
                yield _fact(words, name, seats[row[column]])
    use = context.declared_use
    if use.to:
        yield _Fact(use.to.upper(), f"the declared use is in {use.to.upper()}")
    if use.recipient in seats:
        yield _fact("the declared recipient {} is in {}", use.recipient, seats[use.recipient])


def _fact(words: str, name: object, place: object, of_people: bool = False) -> _Fact:
    code = str(place).upper()
    return _Fact(code, words.format(repr(str(name)), code), of_people)


def _pairs(manifest_rows: pa.Table) -> list[tuple[str, str | None]]:
    """The datasets and jurisdictions that occur together in manifests."""
    columns = ["dataset_id", "jurisdiction"]
    found = manifest_rows.select(columns).group_by(columns).aggregate([])
    pairs = [(str(row["dataset_id"]), row["jurisdiction"]) for row in found.to_pylist()]
    return sorted(pairs, key=lambda pair: (pair[0], pair[1] or ""))


# ---------------------------------------------------------------- what is not


def _not_covered(facts: Sequence[_Fact], regions: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Places that no pack knows, and countries whose packs are those of their regions."""
    every = [region for known in regions.values() for region in known]
    for place in dict.fromkeys(fact.place for fact in facts):
        here = [fact for fact in facts if fact.place == place]
        words = here[0].words
        parts = _parts(place, every)
        if parts and not any(fact.of_people for fact in here):
            yield (
                f"policies: {words}, but not in which region of it: {', '.join(parts)} have packs "
                "of their own; name the region"
            )
        elif not parts and not _lies_in(place, every):
            yield f"policies: {words}, and no pack knows the law of {place}"


def _not_on_record(context: Context) -> Iterator[str]:
    silent = {
        str(row["dataset_id"])
        for row in context.datasets.select(["dataset_id", "jurisdiction"]).to_pylist()
        if not row["jurisdiction"]
    }
    by_manifest = _pairs(context.manifest_rows)
    told = {dataset for dataset, place in by_manifest if place}
    partly = {dataset for dataset, place in by_manifest if not place} & silent
    missing = sorted((silent - told) | partly)
    if missing:
        names = ", ".join(map(repr, missing[:_LISTED]))
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        yield (
            f"policies: not on record where the people of dataset {names}{more} are, so a pack may "
            "be missing; declare their jurisdiction"
        )
    if not context.datasets.num_rows:
        yield (
            "policies: no dataset is declared, so it is not on record where the people are, and a "
            "pack may be missing; declare datasets and their jurisdiction"
        )

"""The columns and measures that rules may use: name, type, level, values and meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from scanner import chains, vocabulary
from scanner.countries import country
from scanner.model import KINDS, Basis, Certainty, Representation

Type = Literal["text", "bool", "number", "time"]
ColumnLevel = Literal["record", "record_use", "dataset", "use", "measure"]
Scope = Literal["exposure", "transfer", "dataset"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

CONSENT_STATUSES = (
    "given",
    "expired",
    "not_yet_valid",
    "withdrawn",
    "refused",
    "purpose_mismatch",
    "recipient_mismatch",
    "category_mismatch",
    "none",
    "subject_unknown",
)
PARTY_TYPES = frozenset({"public_body", "company", "research", "person"})
SOURCES = frozenset({"direct", "indirect", "public_web", "cctv", "generated", "unknown"})
QUALITIES = frozenset({"exact", "hashed", "none"})
ROLES = frozenset({"processor", "sub_processor", "third_party", "joint_controller"})
MODES = frozenset({"copy", "remote_access", "view"})
WITHIN = frozenset({"attested_true", "attested_false", "unattested"})


@dataclass(frozen=True, slots=True)
class Column:
    """One name of an expression.

    Levels: `record` (of one item), `record_use` (of one item in one use), `dataset`, `use` (of one
    transfer or of the declared use), `measure` (a number over all records of a dataset or of a
    transfer).
    """

    name: str
    type: Type
    level: ColumnLevel
    meaning: str
    values: frozenset[str] | None = None  # closed vocabulary: any other literal is a mistake
    # the value that a literal means (synonyms, other spellings), or None: a mistake
    read: Callable[[str], str | None] | None = None


def _known(words: Mapping[str, str]) -> Callable[[str], str | None]:
    return lambda text: vocabulary.word(text, words)


def _country(text: str) -> str | None:
    """Countries of parties and transfers come without their regions."""
    code = country(text)
    return None if code is None or "-" in code else code


_PARTY_TYPE = _known(vocabulary.PARTY_TYPES)


def _table(*columns: Column) -> Mapping[str, Column]:
    return {column.name: column for column in columns}


COLUMNS: Mapping[str, Column] = _table(
    Column("kind", "text", "record", "what was detected", KINDS),
    Column(
        "representation",
        "text",
        "record",
        "photo, template or derived attribute",
        frozenset(get_args(Representation)),
        _known(vocabulary.REPRESENTATIONS),
    ),
    Column("basis", "text", "record", "what the detection rests on", frozenset(get_args(Basis))),
    Column("confidence", "number", "record", "0 to 1, of the detector"),
    Column("certainty", "text", "record", "certain or possible", frozenset(get_args(Certainty))),
    Column("subject_key", "text", "record", "keyed digest of the person, null if unknown"),
    Column("subject_age", "number", "record", "whole years at event_time, null if unknown"),
    Column("is_minor", "bool", "record", "younger than the child age set in the configuration"),
    Column(
        "in_manifest",
        "bool",
        "record",
        "the dataset's manifest lists the item; null if it has no manifest",
    ),
    Column("dataset_id", "text", "dataset", "the dataset"),
    Column(
        "subject_key_quality",
        "text",
        "dataset",
        "how well keys tell people apart",
        QUALITIES,
        _known(vocabulary.KEY_QUALITIES),
    ),
    Column(
        "jurisdiction",
        "text",
        "dataset",
        "country (KR) or region (US-IL) of the people: the manifest row's, else the dataset's",
        read=country,
    ),
    Column(
        "jurisdiction_country",
        "text",
        "dataset",
        "the country of jurisdiction, without its region (DE of DE-BY)",
        read=_country,
    ),
    Column("controller", "text", "dataset", "party id of the controller"),
    Column(
        "controller_type", "text", "dataset", "type of the controller", PARTY_TYPES, _PARTY_TYPE
    ),
    Column("controller_country", "text", "dataset", "country of the controller", read=_country),
    Column("collected_for", "text", "dataset", "purpose of collection"),
    Column(
        "source", "text", "dataset", "where the data came from", SOURCES, _known(vocabulary.SOURCES)
    ),
    Column("retention_until", "time", "dataset", "first moment past retention"),
    Column(
        "has_unique_identifier",
        "bool",
        "dataset",
        "passport or national id numbers are in the dataset",
    ),
    Column("linked", "bool", "dataset", "faces together with nationality, gender, age, ethnicity"),
    Column("has_manifest", "bool", "dataset", "a manifest says what the dataset should hold"),
    Column("has_detections", "bool", "dataset", "anything personal was detected at all"),
    Column("as_of", "time", "dataset", "the moment for which the run judges"),
    Column("transfer_id", "text", "use", "the transfer, null for a declared use"),
    Column(
        "transfer_role", "text", "use", "role of the recipient", ROLES, _known(vocabulary.ROLES)
    ),
    Column(
        "transfer_mode",
        "text",
        "use",
        "copy, remote access or view",
        MODES,
        _known(vocabulary.MODES),
    ),
    Column("purpose", "text", "use", "purpose of the use"),
    Column(
        "new_purpose",
        "bool",
        "use",
        "the purpose is neither that of collection nor a narrower one; null if either is unknown",
    ),
    Column("recipient", "text", "use", "party id of the recipient"),
    Column("recipient_type", "text", "use", "type of the recipient", PARTY_TYPES, _PARTY_TYPE),
    Column("recipient_country", "text", "use", "country of the recipient", read=_country),
    Column("from_country", "text", "use", "where the transfer starts", read=_country),
    Column("to_country", "text", "use", "where the transfer ends", read=_country),
    Column("legal_basis", "text", "use", "the transfer's basis, else the dataset's; null if none"),
    Column("statutory_basis", "bool", "use", "the legal basis is statute:<cite>"),
    Column(
        "within_original_purpose",
        "text",
        "use",
        "what was attested about the purpose; 'unattested' where nothing is on record",
        WITHIN,
        _known(vocabulary.WITHIN_PURPOSE),
    ),
    Column("agreement_ref", "text", "use", "the contract of the transfer"),
    Column("published_ref", "text", "use", "where the transfer was made public"),
    Column("published_from", "time", "use", "since when it is public"),
    Column("transfer_tool", "text", "use", "safeguard for a foreign transfer"),
    Column(
        "upstream",
        "text",
        "use",
        "what the transfers before it permit of an onward one; 'origin': the controller's own",
        frozenset(chains.UPSTREAM),
    ),
    Column("started_at", "time", "use", "start of the transfer"),
    Column("ended_at", "time", "use", "end of the transfer"),
    Column("event_time", "time", "use", "start of the transfer, else the moment judged for"),
    Column(
        "consent_status",
        "text",
        "record_use",
        "consent of this person to this use",
        frozenset(CONSENT_STATUSES),
    ),
    Column("separate_consent", "bool", "record_use", "the consent was given separately"),
    Column("guardian_verified", "bool", "record_use", "a guardian gave it and was verified"),
)

BUILT_IN_MEASURES: Mapping[str, Column] = _table(
    Column("records", "number", "measure", "items with a detection, columns by their rows"),
    Column("subjects", "number", "measure", "distinct people, exact"),
    Column("possible_records", "number", "measure", "records that are only possible"),
    Column("dangling_rows", "number", "measure", "manifest rows whose object is not there"),
    Column("unmanifested_records", "number", "measure", "records that the manifest does not list"),
)


def columns_for(scope: Scope, in_measure: bool = False) -> Mapping[str, Column]:
    """The columns that an expression of this scope may name (measures come on top).

    `in_measure`: the expression is the `where` of a measure, which looks at single records.
    """
    if scope == "exposure":
        return COLUMNS
    levels = {"dataset"} if scope == "dataset" else {"dataset", "use"}
    if in_measure:
        levels |= {"record"} if scope == "dataset" else {"record", "record_use"}
    names = {name: column for name, column in COLUMNS.items() if column.level in levels}
    if scope == "dataset":
        # a dataset has its own basis, and is judged for the moment of the run
        for name in ("legal_basis", "statutory_basis", "event_time"):
            names[name] = COLUMNS[name]
        for name in ("subject_age", "is_minor"):  # ages are reckoned at the event time of a use
            names.pop(name, None)
    return names

"""Writes the plain English sentence of a finding from what was counted; never a value of the data.

A sentence opens with the counts ("12 records (9 people): "), then says what decided, then the rest.
Purposes, roles, countries and dates in it are those of the configuration and of the registries.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = str | bool | int | float | datetime.date | None

_KIND_WORDS: Mapping[str, str] = {
    "biometric.dna": "DNA",
    "identifier.national_id": "national id number",
    "identifier.subject_id": "personal key",
    "identifier.passport": "passport number",
    "location.gps": "GPS position",
    "document.mrz": "machine-readable zone",
    "document.id_card": "identity card",
}

# Consent of a person to a use; a status that cannot be told is None.
_CONSENT_WORDS: Mapping[str | None, str] = {
    "given": "consent given",
    "expired": "consent expired",
    "not_yet_valid": "consent not valid yet",
    "withdrawn": "consent withdrawn",
    "refused": "consent refused",
    "purpose_mismatch": "consent for another purpose",
    "recipient_mismatch": "consent for another recipient",
    "category_mismatch": "consent for another kind of data",
    "none": "no consent on record",
    "subject_unknown": "person not known",
    None: "consent on record, but not what the use is for or who receives it",
}

# What is missing when a column is unknown: "not on record: …".
MISSING: Mapping[str, str] = {
    "kind": "what was detected",
    "representation": "whether it is a photo or a template",
    "basis": "what the detection rests on",
    "confidence": "how sure the detector is",
    "certainty": "whether the detection is certain",
    "subject_key": "whose data it is",
    "subject_age": "the person's age",
    "is_minor": "the person's age",
    "in_manifest": "whether the manifest lists it",
    "dataset_id": "the dataset",
    "subject_key_quality": "whether the keys tell people apart",
    "jurisdiction": "which country's law protects the people",
    "jurisdiction_country": "which country's law protects the people",
    "controller": "who the controller is",
    "controller_type": "whether the controller is a public body",
    "controller_country": "the controller's country",
    "collected_for": "what the data was collected for",
    "source": "where the data came from",
    "retention_until": "until when the data may be kept",
    "has_unique_identifier": "whether passport or national id numbers are kept with it",
    "linked": "whether faces are kept together with nationality, gender, age or ethnicity",
    "has_manifest": "whether there is a manifest",
    "has_detections": "whether anything was detected",
    "as_of": "the moment judged for",
    "transfer_id": "the transfer",
    "transfer_role": "the recipient's role",
    "transfer_mode": "how the data is handed over",
    "purpose": "what the use is for",
    "new_purpose": "whether the use is for another purpose than the collection",
    "recipient": "who receives the data",
    "recipient_type": "what kind of body the recipient is",
    "recipient_country": "the recipient's country",
    "from_country": "where the data comes from",
    "to_country": "the country the data goes to",
    "legal_basis": "the legal basis",
    "statutory_basis": "whether there is a statute",
    "within_original_purpose": "whether the use lies within the original purpose",
    "agreement_ref": "the contract with the recipient",
    "published_ref": "where the recipient was made public",
    "published_from": "since when the recipient is public",
    "transfer_tool": "the ground for the transfer abroad",
    "upstream": "whether the transfers before it permit it",
    "started_at": "when the transfer started",
    "ended_at": "when the transfer ended",
    "event_time": "when the use takes place",
    "consent_status": "whether a consent covers this use",
    "separate_consent": "whether the consent was given separately",
    "guardian_verified": "whether a guardian has consented",
}

# What a column says where all the records of a finding agree on it; None: nothing is on record.
_FACTS: Mapping[tuple[str, Value], str] = {
    ("within_original_purpose", "attested_true"): "attested to lie within the original purpose",
    ("within_original_purpose", "attested_false"): "attested to lie outside the original purpose",
    ("within_original_purpose", "unattested"): (
        "nobody has attested that this lies within the original purpose"
    ),
    ("guardian_verified", True): "a verified guardian has consented",
    ("guardian_verified", False): "no verified guardian on record",
    ("in_manifest", True): "listed in the manifest",
    ("in_manifest", False): "not listed in the dataset's manifest",
    ("representation", "source_image"): "photos, not templates",
    ("representation", "template"): "templates, not photos",
    ("representation", "derived_attribute"): "derived attributes, not templates",
    ("linked", True): "faces are kept together with nationality, gender, age or ethnicity",
    ("linked", False): "no faces are kept together with nationality, gender, age or ethnicity",
    ("has_unique_identifier", True): "passport or national id numbers are kept with them",
    ("published_ref", None): "the recipient was not made public",
    ("transfer_tool", None): "no ground for a transfer abroad on record",
    ("agreement_ref", None): "no contract with the recipient on record",
    ("purpose", None): "nobody has declared what the use is for",
    ("recipient", None): "nobody has declared who receives the data",
    ("legal_basis", None): "no legal basis on record",
    ("transfer_role", "processor"): "the recipient is a processor",
    ("transfer_role", "sub_processor"): "the recipient is a sub-processor",
    ("transfer_role", "third_party"): "the recipient is a third party",
    ("transfer_role", "joint_controller"): "the recipient is a joint controller",
    ("controller_type", "public_body"): "the controller is a public body",
    ("controller_type", "company"): "the controller is a company",
    ("subject_key_quality", "none"): "the keys do not tell people apart",
}
_VALUES: Mapping[str, str] = {  # facts whose value is said
    "published_from": "made public on {}",
    "event_time": "judged for {}",
    "to_country": "the data goes to {}",
    "recipient_country": "the recipient sits in {}",
    "legal_basis": "legal basis on record: {}",
    "source": "source: {}",
}
# The order in which facts are said.
_ORDER = (
    "purpose", "recipient", "guardian_verified", "in_manifest", "linked",
    "published_ref", "published_from", "event_time", "to_country", "recipient_country",
    "transfer_tool", "transfer_role", "legal_basis", "representation", "has_unique_identifier",
    "controller_type", "subject_key_quality", "source",
)  # fmt: skip
_MEASURES: Mapping[str, str] = {
    "records": "records",
    "subjects": "people",
    "possible_records": "records that are only possible",
    "dangling_rows": "manifest rows without an object",
    "unmanifested_records": "records that the manifest does not list",
}


_UPSTREAM: Mapping[str, str] = {  # why an onward transfer is not permitted by those before it
    "": "what the transfer before permits is not on record",
    "purpose": "the transfer before was for another purpose",
    "recipient": "the transfer before does not permit this recipient",
    "role": "a processor hands on to sub-processors only",
    "time": "the exporter did not have the data then",
    "unrecorded": "nobody recorded whether the transfer before permits it",
    "upstream": "the transfer before was itself not permitted, or not known to be",
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was counted for one finding."""

    records: int
    subjects: int
    is_upper_bound: bool
    kinds: Mapping[str, int] = field(default_factory=dict)
    consent: Mapping[str, int] = field(default_factory=dict)  # `consent_words` → records
    age_limit: int | None = None  # the people are younger than this
    facts: Mapping[str, Value] = field(default_factory=dict)  # column → what all agree on
    measures: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # name → bounds
    evidence: Mapping[str, bool | None] = field(default_factory=dict)  # kind → is it on record
    differs: Sequence[str] = ()  # columns that the rule reads, and that not all agree on
    unknown: Sequence[str] = ()  # columns that nobody put on record, and that matter
    asked: bool = False  # the rule says that a person must decide
    possible: int = 0  # records that are only possible detections
    upstream: str | None = None  # why the transfers before it do not permit it (`chains.Why`)
    settled: bool = False  # without the evidence it would not be compliant
    proof: Mapping[str, Sequence[str]] = field(default_factory=dict)  # evidence kind → which
    lapsed: Sequence[str] = ()  # evidence of these kinds that has expired, in words
    dangling: bool = False  # the records are manifest rows


def upstream_words(why: str) -> str:
    """Why the transfers before an onward one do not permit it."""
    return _UPSTREAM.get(why, _UPSTREAM[""])


def consent_words(status: str | None, separate: bool | None, asks_separate: bool) -> str:
    """A state of consent in words, e.g. "consent expired"."""
    if asks_separate and status == "given" and separate is not None:
        return "separate consent given" if separate else "consent given, but not separately"
    return _CONSENT_WORDS[status]


def sentence(verdict: str, numbers: Numbers) -> str:
    """One or two sentences, e.g. "5 records (5 people): no consent on record 3, consent expired
    2."."""
    said: list[str] = []
    missing = _missing(numbers)
    if missing and verdict == "review":
        said.append("not on record: " + ", ".join(missing))
    consent = [_counts(numbers.consent)] if numbers.consent else []
    if verdict == "compliant" and any("given" not in words for words in numbers.consent):
        consent = []  # it is not the consents that make it so
    if numbers.age_limit is not None and verdict == "violation":
        said.append(f"under {numbers.age_limit}")
    about_purpose, others = _facts(verdict, numbers.facts)
    # where a rule compares purposes, consent is what comes second
    said += [*about_purpose, *consent] if "collected_for" in numbers.facts else consent
    said += others if "collected_for" in numbers.facts else [*about_purpose, *others]
    said += [
        f"{_MEASURES.get(name, name.replace('_', ' '))} {_bounds(low, high)}"
        for name, (low, high) in sorted(numbers.measures.items())
    ]
    said += [
        _evidence(kind, numbers, verdict) if there else f"no evidence {kind} on record"
        for kind, there in sorted(numbers.evidence.items())
        if there is not None
    ]
    if verdict != "compliant":
        said += numbers.lapsed
    if numbers.possible and verdict == "review":
        few = numbers.possible < numbers.records
        said.append(f"{f'{numbers.possible:,} of them ' if few else ''}only possible detections")
    if numbers.upstream is not None:
        said.append(f"passed on, and {_UPSTREAM[numbers.upstream]}")
    if numbers.dangling and verdict != "compliant":
        said.append("no object is there")
    if verdict == "compliant":
        said.append("nothing found against this rule")
    if verdict == "review" and numbers.asked:
        said.append("a person must decide")
    text = f"{_people(numbers)}: {'; '.join(said) or 'this is what the rule forbids'}."
    if len(numbers.kinds) > 1:
        text += f" Found: {_counts({_kind(k): n for k, n in numbers.kinds.items()})}."
    return text


def _evidence(kind: str, numbers: Numbers, verdict: str) -> str:
    which = numbers.proof.get(kind)
    because = "because of " if verdict == "compliant" and numbers.settled else ""
    named = f" ({'; '.join(which)})" if which else ""
    return f"{because}evidence {kind} on record{named}"


def _missing(numbers: Numbers) -> list[str]:
    unknown = list(numbers.unknown)
    if "published_from" in unknown and numbers.facts.get("published_ref", "") is None:
        unknown.remove("published_from")  # what was not made public has no such day
    missing = [MISSING[name] for name in unknown]
    missing += [
        f"whether the {kind} on record is about this data"
        for kind, there in numbers.evidence.items()
        if there is None
    ]
    return list(dict.fromkeys(missing))


def _facts(verdict: str, facts: Mapping[str, Value]) -> tuple[list[str], list[str]]:
    """What is said of the purpose, and the rest."""
    about_purpose: list[str] = []
    purpose, collected = facts.get("purpose"), facts.get("collected_for")
    same = bool(purpose and collected) and str(purpose).lower() == str(collected).lower()
    within = facts.get("within_original_purpose")
    covered = same or facts.get("new_purpose") is False
    if within is not None and not (covered and within == "unattested"):
        about_purpose.append(_FACTS["within_original_purpose", within])
    if same:
        about_purpose.append(f"collected and used for {purpose}")
    elif purpose and collected:
        narrower = ", which is a part of that" if covered else ""
        about_purpose.append(f"collected for {collected}, used for {purpose}{narrower}")
    others: list[str] = []
    retention = facts.get("retention_until")
    if retention is not None:
        verb = "ended" if verdict == "violation" else "ends"
        others.append(f"retention {verb} on {retention}")
    for name in _ORDER:
        if name not in facts or (name == "event_time" and not facts.get("published_from")):
            continue
        value = facts[name]
        words = _FACTS.get((name, value))
        if words is None and value is not None and name in _VALUES and value != "consent":
            words = _VALUES[name].format(str(value).replace("_", " "))
        lacks = name in ("guardian_verified", "legal_basis") and not value
        if words is not None and not (lacks and verdict == "compliant"):
            others.append(words)
    return about_purpose, others


def _people(numbers: Numbers) -> str:
    noun = "manifest row" if numbers.dangling else "record"
    text = f"{numbers.records:,} {noun}{'' if numbers.records == 1 else 's'}"
    if not numbers.records:
        return text
    who = "person" if numbers.subjects == 1 else "people"
    return f"{text} ({'at most ' if numbers.is_upper_bound else ''}{numbers.subjects:,} {who})"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def _bounds(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"between {low:,} and {high:,}"


def _kind(kind: str) -> str:
    return _KIND_WORDS.get(kind) or kind.split(".", 1)[-1].replace("_", " ")

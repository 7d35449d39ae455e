"""The closed lists of words that consentry.yaml and the registries may use, with the synonyms of
W3C DPV."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import get_args

from scanner.model import Representation

# Columns of the registries: required ones, optional ones.
REGISTRY_COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "parties": (("party_id",), ("name", "type", "country")),
    "consents": (
        ("subject_key", "purpose", "state"),
        (
            "recipient", "data_category", "valid_from", "valid_until", "record_id", "separate",
            "guardian_verified", "notice_ref", "recorded_at",
        ),
    ),
    "transfers": (
        ("transfer_id", "dataset_id", "importer_id"),
        (
            "exporter_id", "role_of_recipient", "role_basis", "mode", "purpose", "legal_basis",
            "within_original_purpose", "agreement_ref", "published_ref", "published_from",
            "from_country", "to_country", "transfer_tool", "started_at", "ended_at", "destroyed_at",
            "onward_to",
        ),
    ),
    "evidence": (
        ("evidence_id", "kind", "about"),
        ("ref", "attested_by", "attested_at", "valid_until", "sha256"),
    ),
}  # fmt: skip


def _list(*words: str, **synonyms: str) -> dict[str, str]:
    """Every accepted spelling, as `spelled` folds it, with the word that it stands for."""
    known = {spelled(word): word for word in words}
    known.update({spelled(written): word for written, word in synonyms.items()})
    return known


def spelled(text: str) -> str:
    """A word as it is compared: without case, prefix (`dpv:`), hyphens, underscores and spaces."""
    text = text.strip()
    text = re.sub(r"^(?:dpv:|https?://w3id\.org/dpv(?:/owl)?#)", "", text, flags=re.IGNORECASE)
    return re.sub(r"[\s_-]+", "", text).casefold()


SOURCES = _list("direct", "indirect", "public_web", "cctv", "generated", "unknown")
REPRESENTATIONS = _list(*get_args(Representation))
KEY_QUALITIES = _list("exact", "hashed", "none")
# How far the face detector goes over a doubtful picture (detectors/face.py).
CPU = "cpu"
DEVICES = _list("cpu", "cuda", "directml", "coreml", "openvino", "auto")
FACE_LEVELS = _list("fast", "balanced", "thorough")
BALANCED = "balanced"
FAIL_ON = _list("error", "warning", "review")

# Of a consent record (ISO/IEC TS 27560 event_state; dpv:ConsentStatus). An expired record stays
# "given": whether it still holds is a question of its dates. Requests, notices and unknown states
# are no consent and no words here.
STATES = _list(
    "given", "renewed", "refused", "withdrawn",
    ConsentGiven="given", ExplicitlyExpressedConsent="given", RenewedConsentGiven="renewed",
    ConsentRefused="refused", denied="refused",
    ConsentWithdrawn="withdrawn", ConsentRevoked="withdrawn", revoked="withdrawn",
)  # fmt: skip
PARTY_TYPES = _list(
    "public_body", "company", "research", "person",
    public="public_body", GovernmentalOrganisation="public_body", PublicAuthority="public_body",
    ForProfitOrganisation="company", IndustryConsortium="company",
    AcademicScientificOrganisation="research", NaturalPerson="person",
)  # fmt: skip
ROLES = _list(
    "processor", "sub_processor", "third_party", "joint_controller",
    DataProcessor="processor", DataSubProcessor="sub_processor",
    JointDataController="joint_controller", JointDataControllers="joint_controller",
    JointControllers="joint_controller",
)  # fmt: skip
MODES = _list("copy", "remote_access", "view")
WITHIN_PURPOSE = _list("attested_true", "attested_false", "unattested")
BOOLEANS = _list(
    "true",
    "false",
    yes="true",
    no="false",
    y="true",
    n="false",
    t="true",
    f="false",
    **{"1": "true", "0": "false"},
)

AUTO = "auto"  # in the place of rule packs: those that the places on record ask for

# GDPR 6(1) a–f, PIPA 15(1) 1–7; `statute:<cite>` is open. "none" says the same as an empty cell.
LEGAL_BASES = _list(
    "consent", "contract", "legal_obligation", "public_task", "vital_interests",
    "legitimate_interests", "public_safety", "none",
    ExplicitConsent="consent", ExpressedConsent="consent", ExplicitlyExpressedConsent="consent",
    legitimate_interest="legitimate_interests", vital_interest="vital_interests",
    public_interest="public_task", official_authority="public_task",
    **{
        "eu-gdpr:A6-1-a": "consent", "eu-gdpr:A9-2-a": "consent", "eu-gdpr:A6-1-b": "contract",
        "eu-gdpr:A6-1-c": "legal_obligation", "eu-gdpr:A6-1-d": "vital_interests",
        "eu-gdpr:A6-1-e": "public_task", "eu-gdpr:A6-1-f": "legitimate_interests",
    },
)  # fmt: skip


def word(text: str, known: Mapping[str, str]) -> str | None:
    """The word of a closed list that `text` spells, or None."""
    return known.get(spelled(text))


def legal_basis(text: str) -> str | None:
    """The basis in its one spelling, `none` for none on record; None if it is not a known one."""
    head, colon, cite = text.partition(":")
    if colon and spelled(head) in ("statute", "law"):
        cite = " ".join(cite.split())
        return f"statute:{cite}" if cite else None
    return word(text, LEGAL_BASES)


def choices(known: Mapping[str, str]) -> str:
    """The words of a list, for a message."""
    return ", ".join(dict.fromkeys(known.values()))


def suggestion(text: str, names: Iterable[str]) -> str:
    """`; did you mean …?` if one of `names` is near, else nothing."""
    near = difflib.get_close_matches(text, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""

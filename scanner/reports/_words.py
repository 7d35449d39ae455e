"""What a run means, in plain sentences: the same words in every report that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scanner.model import PictureCounts, RuleText, RunInfo, SavedRun
from scanner.reports._findings import Finding, Tally

Tone = Literal["stop", "unknown", "ask", "clear"]


@dataclass(frozen=True, slots=True)
class Answer:
    """May the data be used? A short sentence, one that explains it, and one thing to do next."""

    tone: Tone
    headline: str
    detail: str
    next_step: str
    command: str = ""  # that helps with the next step


@dataclass(frozen=True, slots=True)
class Use:
    """The use that the run was asked about, as far as it was declared."""

    purpose: str | None
    recipient: str | None
    to: str | None

    def __str__(self) -> str:
        where = f" ({self.to})" if self.to else ""
        if not (self.purpose or self.recipient or self.to):
            return "none declared; recorded transfers only"
        purpose = self.purpose or "purpose not declared"
        return f"{purpose} → {self.recipient or 'recipient not declared'}{where}"


def declared_use(info: RunInfo) -> Use:
    """Purpose, recipient and country out of the run's settings: flat, or below "declared_use"."""
    nested = info.settings.get("declared_use")
    source: Mapping[str, object] = info.settings
    if isinstance(nested, Mapping):
        source = nested
    elif nested is not None:
        source = {k: getattr(nested, k, None) for k in ("purpose", "recipient", "to")}

    def text(key: str) -> str | None:
        value = source.get(key)
        return None if value is None else str(value)

    return Use(text("purpose"), text("recipient"), text("to"))


def answer(run: SavedRun, numbers: Tally, findings: list[Finding]) -> Answer:
    """The answer of a run. Unknown is never compliant: a gap in what we know is in the headline."""
    coverage = numbers.coverage
    looked_at = coverage["scanned"] + coverage["unchanged"] + coverage["partial"]
    reviews = _reviews(numbers.reviews)
    report = f"consentry report {run.info.id} -f html -o report.html"
    if numbers.violations:
        if run.exit_code in (1, 4) or numbers.levels["error"]:
            headline = f"Do not hand over yet: {plural(numbers.violations, 'violation')}"
        else:
            below = plural(numbers.violations, "violation")
            headline = f"Look before you hand over: {below} below the limit set"
        headline += f", {reviews}" if reviews else ""
        if run.info.interrupted:
            headline += ", and the run was stopped before its end"
        elif not run.complete:
            headline += ", and not everything could be looked at"
        return Answer(
            "stop",
            f"{headline}.",
            f"{_levels(numbers)}. Each one names the duty and what to do.",
            "fix what the findings name, then scan again",
            report,
        )
    if run.info.interrupted:
        return Answer(
            "unknown",
            "No answer: the run was stopped before its end.",
            f"{plural(looked_at, 'object')} had been looked at; what comes after is unknown.",
            "run the same command again, to its end",
        )
    if looked_at + coverage["error"] == 0:
        listed = f"{plural(numbers.listed, 'object')} listed"
        empty = (
            ", all excluded by a rule." if numbers.listed else ". Empty is not the same as clean."
        )
        return Answer(
            "unknown",
            "No answer: there was nothing to look at.",
            listed + empty,
            "check the target's name, the exclude rules and the permission to list it",
        )
    if not run.complete:
        gaps = "Part of it"
        if numbers.not_whole:
            gaps = f"{count(numbers.not_whole)} of {plural(numbers.listed, 'object')}"
        asked = f" It leaves {reviews}." if reviews else ""
        return Answer(
            "unknown",
            "No answer yet: not everything could be looked at.",
            f"{gaps} could not be looked at, or not whole. The rest shows no violation.{asked}",
            f"settle what was not looked at ({_worst_gap(run)}), then scan again",
        )
    if numbers.reviews:
        first = next(f for f in findings if f.verdict == "review" and f.suppressed_by is None)
        them = "the review" if numbers.reviews == 1 else f"the {count(numbers.reviews)} reviews"
        return Answer(
            "ask",
            f"Not yet: {reviews}.",
            "No violation was found. The answers are not in the data, so no program can give them.",
            f"settle {them} and record who decided",
            f"consentry policies explain {first.rule_id}",
        )
    return _nothing_open(run, numbers, looked_at, report)


def _nothing_open(run: SavedRun, numbers: Tally, looked_at: int, report: str) -> Answer:
    """The answer of a complete run without violations and reviews; that is not yet a clear one."""
    biometric = sum(n for k, n in run.detection_counts.items() if k.startswith("biometric."))
    other = sum(run.detection_counts.values()) - biometric
    if numbers.suppressed:
        return Answer(
            "unknown",
            "No open finding, but only because findings were suppressed.",
            f"{plural(numbers.suppressed, 'finding')} not counted.",
            "see what was suppressed, and by whom",
            report,
        )
    if biometric and not numbers.passed:
        return Answer(
            "unknown",
            "No answer: biometric data was found, but no rule judged it.",
            f"No rule of the chosen policies applies to {plural(biometric, 'biometric record')}.",
            "choose policies that apply",
            "consentry policies list",
        )
    keep = "keep this answer with the record of the transfer"
    if biometric:
        return Answer(
            "clear",
            f"No violation found: {plural(numbers.passed, 'check')} passed.",
            f"{plural(biometric, 'biometric record')} in {plural(looked_at, 'object')} judged as "
            f"of {run.info.as_of.date().isoformat()}. Only the rules chosen were checked.",
            keep,
            report,
        )
    also = f" {plural(other, 'record')} of other personal data found." if other else ""
    return Answer(
        "clear",
        "No biometric data found.",
        f"{plural(looked_at, 'object')} looked at for face images, templates and biometric fields."
        f"{also} Not detected does not prove that there is none.",
        keep,
        report,
    )


def _reviews(number: int) -> str:
    return f"{plural(number, 'question')} only a person can answer" if number else ""


def _levels(numbers: Tally) -> str:
    parts = [f"{count(n)} of level {level}" for level, n in numbers.levels.items() if n]
    return ", ".join(parts)


def _worst_gap(run: SavedRun) -> str:
    gaps = run.coverage_gaps
    for state in ("error", "partial"):
        reasons = [
            row["reason"]
            for row in gaps.group_by(["state", "reason"]).aggregate([([], "count_all")])
            .sort_by([("count_all", "descending"), ("reason", "ascending")]).to_pylist()
            if row["state"] == state
        ]  # fmt: skip
        if reasons:
            return reason_remedy(reasons[0])
    return "the notes say what is missing"


# ---------------------------------------------------------------- numbers


def count(number: int) -> str:
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def people(finding: Finding) -> str:
    """How many people: a record is an image or a row, and one person may have many."""
    if finding.subjects is None:
        return "number of people unknown"
    bound = "at most " if finding.subjects_is_upper_bound else ""
    return f"{bound}{finding.subjects:,} {'person' if finding.subjects == 1 else 'people'}"


def records(finding: Finding) -> str:
    return "records unknown" if finding.records is None else plural(finding.records, "record")


def about(finding: Finding) -> str:
    """Dataset and where it goes: "foreign-entrants → acme-vision (transfer T2.01)"."""
    text = finding.dataset_id or "no dataset"
    if finding.recipient:
        text += f" → {finding.recipient}"
    if finding.transfer_id:
        text += f" (transfer {finding.transfer_id})"
    return text


# ---------------------------------------------------------------- closed vocabularies

VERDICT_WORDS = {
    "violation": "Violation",
    "review": "A person must decide",
    "compliant": "Passed",
    "not_applicable": "Not applicable",
}

_CITATIONS = {
    "verified": "Read in the text of the law itself.",
    "secondary": "Read in a secondary source only; read the law before you rely on it.",
    "unverified": "Not checked against any source; read the law before you rely on it.",
}


def how_sure(rule: RuleText) -> str:
    """How a rule's source was checked; a citation without a number is no law."""
    if not any(char.isdigit() for char in rule.law_cite):
        return "The organisation's own rule, not a law."
    return _CITATIONS.get(rule.citation, rule.citation)


STATE_WORDS = {
    "scanned": "Looked at, whole",
    "unchanged": "Unchanged since it was last looked at",
    "partial": "Looked at in part",
    "excluded": "Excluded by a rule",
    "error": "Could not be looked at",
}

# What each coverage reason means, and what to do about it.
_REASONS = {
    "denied": ("No permission to read it", "give the scanner permission to read"),
    "vanished": ("Listed, but gone when it was opened", "scan when nothing is being deleted"),
    "changed": ("Changed while it was being read", "scan when nothing is being written"),
    "throttled": ("The store asked to slow down", "scan with fewer workers, or later"),
    "truncated": ("Ends before it should", "get a complete copy"),
    "malformed": ("Not what its first bytes say", "get a sound copy, or look by hand"),
    "integrity": ("A checksum does not match", "get a sound copy"),
    "timeout": ("Took longer than the limit", "raise the time limit, or look by hand"),
    "memory": ("Needs more memory than the limit", "raise the memory limit, or look by hand"),
    "crash": ("Its decoder crashed", "look by hand"),
    "encrypted": ("Encrypted or password-protected", "provide an unencrypted copy"),
    "overlap": ("Archive members share bytes (a bomb?)", "look by hand"),
    "ambiguous": ("Two programs would see two different contents", "look by hand"),
    "depth": ("Nested deeper than the limit", "unpack it, or raise the limit"),
    "ratio": ("Expands more than the limit (a bomb?)", "look by hand, or raise the limit"),
    "members": ("More members, rows or frames than the limit", "raise the limit"),
    "bytes": ("Larger than the limit", "raise the limit"),
    "pixels": ("More pixels than the limit", "raise the limit, or look by hand"),
    "unsupported": (
        "A kind of file that cannot be opened",
        "convert it, look by hand, or --exclude it",
    ),
    "link": ("A link that leads out of the target, or nowhere", "scan what it points to"),
    "listing": ("The listing failed; what it would name is unknown", "make the listing work"),
    "sampled": ("Only a sample was looked at, on request", "scan without sampling"),
    "interrupted": ("The run was stopped before it", "run the same command again"),
    "model": ("The detector failed on it", "look by hand"),
    "unknown": ("No reason recorded", "look by hand"),
}


def reason_words(reason: str | None) -> str:
    """A coverage reason in plain words; "rule:<pattern>" names the exclude rule."""
    if reason is not None and reason.startswith("rule:"):
        return f"Excluded by the rule {reason.removeprefix('rule:')}"
    return _REASONS.get(reason or "unknown", (str(reason), ""))[0]


def reason_remedy(reason: str | None) -> str:
    if reason is not None and reason.startswith("rule:"):
        return "check that the exclude rule is meant"
    return _REASONS.get(reason or "unknown", ("", "look by hand"))[1]


_KINDS = {
    "biometric.face": "Face images or face data",
    "biometric.fingerprint": "Fingerprints",
    "biometric.palm": "Palm prints",
    "biometric.vein": "Vein patterns",
    "biometric.iris": "Iris images or codes",
    "biometric.retina": "Retina images",
    "biometric.voice": "Voice recordings or voiceprints",
    "biometric.gait": "Gait data",
    "biometric.dna": "DNA data",
    "biometric.signature": "Handwritten signatures",
    "biometric.keystroke": "Keystroke patterns",
    "identifier.passport": "Passport numbers",
    "identifier.national_id": "National identity numbers",
    "identifier.subject_id": "Keys that name a person in a system",
    "identifier.name": "Names",
    "attribute.nationality": "Nationality",
    "attribute.gender": "Gender",
    "attribute.age": "Age or birth date",
    "attribute.ethnicity": "Ethnicity",
    "location.gps": "GPS positions",
    "document.mrz": "Machine-readable passport zones",
    "document.id_card": "Identity documents",
}


def kind_words(kind: str) -> str:
    return _KINDS.get(kind, kind)


PICTURE_GROUPS: tuple[tuple[str, str, str], ...] = (  # of PictureCounts: field, one, several
    ("documents", "with an identity document", "with identity documents"),
    ("crowds", "crowd", "crowds"),
    ("portraits", "portrait", "portraits"),
    ("some_faces", "other with faces", "others with faces"),
    ("no_face", "without a face", "without a face"),
)
PICTURE_WORDS = (
    "A portrait shows one face, a tenth of the picture or more; a crowd more than ten. Possible "
    "faces and documents count."
)


def picture_groups(counts: PictureCounts) -> str:
    """What the pictures of a dataset hold, in one line; groups without a picture are left out."""
    numbers = [(getattr(counts, name), one, more) for name, one, more in PICTURE_GROUPS]
    return ", ".join(f"{n:,} {one if n == 1 else more}" for n, one, more in numbers if n)


LIMITS = (
    "It is not legal advice. It applies the rules that were chosen to the records that it was "
    "given; a lawyer or the data protection officer decides.",
    "A photo is not a template. A face image is personal data; in many laws it becomes "
    "biometric data only when features are extracted from it to recognise a person.",
    "Not detected does not mean not there. Small, turned, covered or blurred faces can be "
    "missed, and nothing listed under “What was not looked at” was judged.",
    "Consents, transfers and attestations are taken as they are recorded. Whether a consent "
    "was freely given, or a purpose is truly the same, only a person can say.",
    "Records are not people. One person may stand in many records; “at most” marks a number "
    "of people that could only be bounded.",
)

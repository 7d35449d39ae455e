"""What a draft of an impact assessment says: the facts of one run, in order, and what is missing.

Everything in it stands in the saved run. Where the run does not know something, the draft says so;
what only a person can say is a `Blank`. The words of both of its forms, Markdown and HTML, are made
here, so that they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from scanner.model import Kept, RuleText, SavedRun
from scanner.reports import _words as words
from scanner.reports._findings import Finding, gap_groups, rules_by_id, tally, told_findings
from scanner.reports._questions import QUESTIONS, Part, Question

SHOWN_ROWS = 100  # of a table; every cut says so
SHOWN_RULES = 60
SHOWN_PLACES = 5  # of one rule
NOT_ON_RECORD = "not on record"
KOREA = "KR"
# Rules that ask for an assessment, by the evidence that settles them or, in runs that keep no
# facts, by their ids.
ASSESSMENTS = frozenset(
    {"PIA", "PIA_SUBMITTED", "DPIA", "RISK_ASSESSMENT", "RISK_ASSESSMENT_SUBMITTED"}
)
_PEOPLE = re.compile("people|subjects|persons")  # measures that count people
_MISSING = re.compile(r"\bnot on record: ([^;.]+)")
# What the sentences of findings (`policy/sentences.py`) leave open, as questions.
_QUESTIONS_OF_SENTENCES = {
    "person not known": "Who are the people that nobody knows, and does anything allow this use?",
    "nobody has attested": "Does the use lie within the original purpose, and who attests that?",
    "only possible detections": "Some detections are only possible: is it what it seems to be?",
}
_WHICH_WAY = "Which of the ways under “To do” is taken for these, and who decided it?"
_WORDS_OF_IDS = ("-PIA", "-DPIA", "-RISK-ASSESSMENT")


class Name(str):
    """Text that somebody else chose and that is to be read letter by letter."""

    __slots__ = ()


Cell = str  # a `Name`, or words


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[int] = frozenset()  # columns that are set to the right
    more: int = 0  # rows that are not shown


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Blank:
    """An answer that is missing."""

    number: int
    title: str
    text: str
    source: str  # the citation and how sure it is
    hint: str = ""  # what is on record about it


@dataclass(frozen=True, slots=True)
class Entry:
    """What one rule says: a violation, or a question."""

    title: str
    tone: str  # a class of the style sheet: error, warning, note, review
    tag: str
    facts: tuple[tuple[str, str], ...]
    places: tuple[str, ...]
    more: int = 0
    blank: Blank | None = None


Block = Text | Table | Bullets | Blank | Entry


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    source: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A whole draft; `made_of` says which run it was made of."""

    run_id: str
    version: str
    finished: datetime
    headline: str
    tone: words.Tone
    detail: str
    made_of: tuple[tuple[str, tuple[Cell, ...]], ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    commands: tuple[Name, Name]  # that show the run's report, and why a finding is as it is
    blanks: tuple[tuple[Blank, str], ...] = field(default=())  # with the section they stand in


def draft(run: SavedRun, kept: Kept, seal: str, *, sealed_well: bool) -> Draft:
    """The draft of `run`; `seal` says in words what became of its seal."""
    made = _Making(run, kept)
    sections = tuple(made.sections())
    blanks = tuple(
        (blank, section.title) for section in sections for blank in _blanks(section.blocks)
    )
    answer = words.answer(run, made.numbers, made.findings)
    info = run.info
    use = words.declared_use(info)
    warnings = [] if sealed_well else [
        f"The run that this draft was made of: {seal}. Do not rely on it before that is cleared up."
    ]  # fmt: skip
    warnings += made.warnings()
    return Draft(
        run_id=info.id,
        version=info.version,
        finished=info.finished,
        headline=answer.headline,
        tone=answer.tone,
        detail=f"{answer.detail} {words.plural(len(blanks), 'answer')} below "
        f"{'is' if len(blanks) == 1 else 'are'} missing.",
        made_of=(
            ("Run", (Name(info.id),)),
            ("Scanned", (f"{_minute(info.started)} to {_minute(info.finished)}",)),
            ("Judged as of", (_minute(info.as_of),)),
            ("Made by", (f"consentry {info.version}",)),
            ("Rules", tuple(map(Name, info.policies)) or ("none",)),
            ("Places", tuple(map(Name, info.targets)) or ("none",)),
            ("Declared use", (str(use),)),
            ("Seal", (seal,)),
        ),
        warnings=tuple(warnings),
        sections=sections,
        commands=(
            Name(f"consentry report {info.id}"),
            Name(f"consentry policies explain --finding ID --run {info.id}"),
        ),
        blanks=blanks,
    )


def _blanks(blocks: Iterable[Block]) -> Iterator[Blank]:
    for block in blocks:
        if isinstance(block, Blank):
            yield block
        elif isinstance(block, Entry) and block.blank is not None:
            yield block.blank


Row = dict[str, Any]


def _rows(table: pa.Table | None) -> list[Row]:
    return [] if table is None else table.to_pylist()


class _Making:
    """One run's tables, and the number of the next blank."""

    def __init__(self, run: SavedRun, kept: Kept) -> None:
        self.run, self.kept = run, kept
        self.findings = told_findings(run)
        self.numbers = tally(run, self.findings)
        self.rules = rules_by_id(run)
        holdings = _rows(kept.holdings)
        self.whole = {r["dataset_id"]: r for r in holdings if r["kind"] is None and r["dataset_id"]}
        self.kinds = [r for r in holdings if r["kind"] is not None]
        self.total = next((r for r in holdings if r["dataset_id"] is None), None)
        self.declared = {r["dataset_id"]: r for r in _rows(kept.datasets)}
        self.parties = {r["party_id"]: r for r in _rows(kept.parties)}
        transfers = _rows(kept.transfers)
        self.transfers = [r for r in transfers if r["dataset_id"] in self.whole]
        self.other_transfers = len(transfers) - len(self.transfers)
        self.evidence = sorted(
            _rows(kept.evidence), key=lambda r: (_kind_of(r), str(r["evidence_id"]))
        )
        self.facts: dict[str, list[Row]] = {}
        if kept.facts is not None:
            wanted = pa.array(["measure", "evidence", "proof", "settled"])
            told = kept.facts.filter(pc.is_in(kept.facts.column("part"), value_set=wanted))
            for row in told.to_pylist():
                self.facts.setdefault(row["finding_id"], []).append(row)
        self.exact = run.complete and run.info.settings.get("sample") is None
        self.next = 1

    # ------------------------------------------------------------ parts

    def sections(self) -> Iterator[Section]:
        yield Section("due", "Is an assessment due?", "", tuple(self._due()))
        yield Section("description", "The processing", "GDPR 35(7)(a)", tuple(self._description()))
        yield Section(
            "necessity", "Necessity and proportion", "GDPR 35(7)(b)", tuple(self._necessity())
        )
        yield Section("risks", "Risks to people", "GDPR 35(7)(c)", tuple(self._risks()))
        yield Section("measures", "Measures", "GDPR 35(7)(d)", tuple(self._measures()))
        why = self._korean()
        if why:
            asked: tuple[Block, ...] = (
                Text(f"Asked because {why}. The model is voluntary."),
                *self._ask("ai"),
            )
            yield Section(
                "ai", "Development and use of AI", "PIPC AI Privacy Risk Management Model", asked
            )
        yield Section("gaps", "What this draft cannot know", "", tuple(self._gaps()))
        yield Section("decision", "Advice and decision", "", tuple(self._ask("decision")))

    def warnings(self) -> Iterator[str]:
        info = self.run.info
        if info.settings.get("sample") is not None:
            yield (
                "Only a drawn sample was looked at. Every number below is of the sample, and no "
                "bound of the whole."
            )
        if info.interrupted:
            yield "The run was stopped before its end. What comes after is unknown."
        if not self.run.complete:
            yield (
                "Not everything was looked at. Every number below is of what was looked at; the "
                "true one may be higher."
            )
        if self.kept.holdings is None:
            yield (
                "This run does not keep what it counted and what was on record (an older version "
                "made it), so much is left open here. Scan again to have it."
            )

    def _ask(self, part: Part) -> Iterator[Blank]:
        for question in QUESTIONS:
            if question.part == part:
                yield self._blank(
                    question.title,
                    question.text,
                    _source(question.cite, question.citation),
                    self._hint(question),
                )

    def _blank(self, title: str, text: str, source: str, hint: str = "") -> Blank:
        self.next += 1
        return Blank(self.next - 1, title, text, source, hint)

    def _hint(self, question: Question) -> str:
        """Which evidence may hold the answer; that it does, only a reader of it can say."""
        found = [
            _proof(row)
            for row in self.evidence
            if _kind_of(row) in question.evidence and _holds(row, self.run.info.as_of)
        ]
        more = f" and {len(found) - SHOWN_PLACES} more" if len(found) > SHOWN_PLACES else ""
        return "; ".join(found[:SHOWN_PLACES]) + more

    # ------------------------------------------------------------ is it due

    def _due(self) -> Iterator[Block]:
        rows: list[tuple[Cell, ...]] = []
        for finding in self.findings:
            facts = self.facts.get(finding.finding_id, [])
            measures = [f for f in facts if f["part"] == "measure" and _PEOPLE.search(f["name"])]
            asks = {f["name"] for f in facts if f["part"] == "evidence"} & ASSESSMENTS
            about_it = asks or any(word in finding.rule_id for word in _WORDS_OF_IDS)
            if finding.suppressed_by or not (about_it or measures):
                continue
            if not about_it and finding.verdict == "compliant":
                continue  # a number that decides about something else, and does not
            counted = "; ".join(
                f"{f['name'].replace('_', ' ')} {_between(f['low'], f['high'])}" for f in measures
            )
            rows.append(
                (
                    self._title(finding),
                    self._law(finding),
                    words.about(finding),
                    counted or f"{words.records(finding)}, {words.people(finding)}",
                    _due_words(finding, facts),
                )
            )
        if rows:
            head = ("Rule", "Law", "About", "Counted", "What it says")
            yield _table("Rules that ask for an assessment, or count people", head, rows)
        else:
            yield Text(
                "No rule about impact assessments was among the rules of this run, or none "
                "applied. That does not say that none is due."
            )
        yield from self._ask("due")

    # ------------------------------------------------------------ (a)

    def _description(self) -> Iterator[Block]:
        yield from self._data()
        yield from self._people()
        yield from self._datasets()
        yield from self._uses()
        yield from self._ask("description")

    def _data(self) -> Iterator[Block]:
        if not self.run.detection_counts:
            yield Text(
                "No biometric or identifying data was detected. Not detected does not mean not "
                "there."
            )
            return
        if self.kept.holdings is None:
            counts = sorted(self.run.detection_counts.items())
            yield _table(
                "What data; how much of it is certain is not on record in this run",
                ("Kind", "Detections"),
                [(_kind(kind), words.count(n)) for kind, n in counts],
                numbers={1},
            )
            return
        rows: list[tuple[Cell, ...]] = [
            (
                Name(r["dataset_id"]),
                _kind(r["kind"]),
                _form(r),
                words.count(r["records"] - r["possible_records"]),
                words.count(r["possible_records"]),
            )
            for r in self.kinds
        ]
        yield _table(
            "What data, in records. A record is an image or a row, not a person. “Only possible” "
            "is what a person has to look at before it counts",
            ("Dataset", "Kind", "Form", "Certain", "Only possible"),
            rows,
            numbers={3, 4},
        )

    def _people(self) -> Iterator[Block]:
        if self.total is None:
            if self.run.detection_counts:
                yield Text("How many people these are is not on record in this run.")
            return
        rows: list[tuple[Cell, ...]] = [
            (
                Name(dataset),
                words.count(r["records"]),
                *_people_of(r, self.exact),
                _places(r["jurisdictions"]),
            )
            for dataset, r in self.whole.items()
        ]
        if len(rows) > 1:
            rows.append(("All together", words.count(self.total["records"]), *self._in_all(), ""))
        yield _table(
            "How many people, of what was detected",
            ("Dataset", "Records", "People", "How that is known", "Where the people are"),
            rows,
            numbers={1},
        )

    def _in_all(self) -> tuple[str, str]:
        """People of all datasets: exact where all have keys, else what is certain of them."""
        assert self.total is not None
        if all(r["subject_key_quality"] != "none" for r in self.whole.values()):
            people, why = _people_of({**self.total, "subject_key_quality": "exact"}, self.exact)
            return people, f"{why}; who has one key in several datasets is counted once"
        bounds = [_bounds_of(r) for r in self.whole.values()]
        least, most = max(low for low, _ in bounds), sum(high for _, high in bounds)
        said = f"between {words.count(least)} and {words.count(most)}"
        if not least:
            said = f"unknown, at most {words.count(most)}"
        return said, (
            "not all datasets have keys that tell people apart; who is in several may be counted "
            "several times"
        )

    def _datasets(self) -> Iterator[Block]:
        rows: list[tuple[Cell, ...]] = []
        for dataset, counted in self.whole.items():
            said = self.declared.get(dataset, {})
            rows.append(
                (
                    Name(dataset),
                    self._party(said.get("controller")),
                    _or_not(said.get("collected_for")),
                    _or_not(said.get("legal_basis")),
                    _source_words(said.get("source")),
                    _last_day(said.get("retention_until")),
                    _held_with(counted),
                )
            )
        if rows:
            head = ("Dataset", "Controller", "Collected for", "Legal basis", "Source",
                    "May be kept until", "Also held")  # fmt: skip
            yield _table("Datasets and their sources, as declared", head, rows)

    def _uses(self) -> Iterator[Block]:
        if self.kept.transfers is None:
            pairs = sorted({(f.transfer_id or "", f.recipient or "", f.purpose or "")
                            for f in self.findings if f.recipient or f.transfer_id})  # fmt: skip
            if pairs:
                yield _table(
                    "Transfers and recipients that findings name; what else was on record is not "
                    "kept in this run",
                    ("Transfer", "Recipient", "Purpose"),
                    [tuple(Name(v) if v else NOT_ON_RECORD for v in pair) for pair in pairs],
                )
            return
        if self.transfers:
            yield _table(
                "Transfers and recipients",
                ("Transfer", "Dataset", "Recipient", "Purpose", "Way", "When"),
                [
                    (
                        _or_not(t["transfer_id"]),
                        Name(t["dataset_id"]),
                        f"{self._party(t['importer_id'])}, {_role(t)}",
                        _or_not(t["purpose"]),
                        f"{_spaced(t['mode']) or 'way not on record'}, "
                        f"{t['from_country'] or '?'} → {t['to_country'] or '?'}",
                        _span(t),
                    )
                    for t in self.transfers
                ],
            )
            yield _table(
                "What is on record for each of them",
                ("Transfer", "Legal basis", "Within the purpose", "Contract", "Made public",
                 "Ground abroad", "May be passed on to"),
                [
                    (
                        _or_not(t["transfer_id"]),
                        self._basis(t),
                        _within(t["within_original_purpose"]),
                        _or_not(t["agreement_ref"]),
                        _public(t),
                        self._abroad(t),
                        _or_not(t["onward_to"]),
                    )
                    for t in self.transfers
                ],
            )  # fmt: skip
        use = words.declared_use(self.run.info)
        if use.purpose or use.recipient:
            yield Text(
                f"The run was asked about this use: {use}. It was judged for datasets without a "
                "transfer on record."
            )
        elif not self.transfers:
            yield Text(
                "No transfer is on record for these datasets, and no use was declared: what the "
                "data is used for, and by whom, is not known here."
            )
        if self.other_transfers:
            yield Text(
                f"{words.plural(self.other_transfers, 'transfer')} of datasets in which nothing "
                "was detected are on record and not listed."
            )

    # ------------------------------------------------------------ (b), (c), (d)

    def _necessity(self) -> Iterator[Block]:
        items = []
        as_of = self.run.info.as_of
        for dataset, counted in self.whole.items():
            said = self.declared.get(dataset, {})
            purposes = sorted({t["purpose"] for t in self.transfers
                               if t["dataset_id"] == dataset and t["purpose"]})  # fmt: skip
            collected = said.get("collected_for")
            others = [p for p in purposes if p.lower() != (collected or "").lower()]
            if others:
                items.append(
                    f"{dataset}: collected for {collected or '(not on record)'}, handed on for "
                    f"{', '.join(others)}."
                )
            if counted["linked"]:
                items.append(
                    f"{dataset}: faces are kept together with nationality, gender, age or "
                    "ethnicity."
                )
            if counted["has_unique_identifier"]:
                items.append(f"{dataset}: passport or national id numbers are kept with them.")
            until = said.get("retention_until")
            if until is not None and until <= as_of:
                items.append(f"{dataset}: the time for which it may be kept ended on "
                             f"{_last_day(until)}.")  # fmt: skip
        if items:
            yield Text("What the run shows that bears on it:")
            yield _cut(items)
        else:
            yield Text("The run shows nothing that bears on it; that is no answer.")
        yield from self._ask("necessity")

    def _risks(self) -> Iterator[Block]:
        for verdict, none in (
            ("violation", "No violation was found among the rules that were chosen."),
            ("review", "No question was left open by the rules that were chosen."),
        ):
            if not self.numbers.verdicts[verdict]:
                yield Text(none)
        groups: dict[str, list[Finding]] = {}  # worst first, as the findings are
        for finding in self.findings:
            if finding.verdict in ("violation", "review") and finding.suppressed_by is None:
                groups.setdefault(finding.rule_id, []).append(finding)
        for findings in list(groups.values())[:SHOWN_RULES]:
            yield self._entry(findings)
        if len(groups) > SHOWN_RULES:
            yield Text(
                f"And {words.plural(len(groups) - SHOWN_RULES, 'more rule')} with open findings; "
                "the report of the run has them all."
            )
        if self.numbers.suppressed:
            yield Text(
                f"{words.plural(self.numbers.suppressed, 'finding')} suppressed by somebody "
                f"{'is' if self.numbers.suppressed == 1 else 'are'} not listed; the report of the "
                "run tells by whom."
            )
        yield from self._ask("risks")

    def _entry(self, findings: Sequence[Finding]) -> Entry:
        """One rule: where it is violated, where a person must decide, and what that takes."""
        first = findings[0]
        rule = self.rules.get(first.rule_id)
        title = self._title(first)
        remedy = first.remedy or (rule.remedy if rule else "") or "No remedy is recorded."
        open_ones = [f for f in findings if f.verdict == "review"]
        violated = first.verdict == "violation"
        facts = [("Law", self._law(first))]
        if rule and rule.duty:
            facts.append(("Duty", rule.duty))
        if violated:
            facts.append(("To do", remedy))
        same: dict[tuple[str, str], list[str]] = {}  # what is said of several is said once
        for finding in findings:
            said = (finding.verdict, finding.reason or "no reason is recorded")
            same.setdefault(said, []).append(words.about(finding))
        places = []
        for (verdict, reason), about in same.items():
            mark = ""
            if violated and open_ones:
                mark = "Violation: " if verdict == "violation" else "To decide: "
            others = len(about) - SHOWN_PLACES
            named = "; ".join(about[:SHOWN_PLACES]) + (f"; {others} others" if others > 0 else "")
            places.append(f"{mark}{named}: {reason}")
        tag = "A person must decide"
        if violated:
            tag = f"Violation, {first.level}" + (", and to decide" if open_ones else "")
        blank = None
        if open_ones:
            asked = _asked(open_ones)
            text = f"{asked} {remedy}" if not violated else asked or _WHICH_WAY
            blank = self._blank(title, text.strip(), f"rule {first.rule_id}")
        return Entry(
            title,
            first.level if violated else "review",
            tag,
            tuple(facts),
            tuple(places[:SHOWN_PLACES]),
            max(len(places) - SHOWN_PLACES, 0),
            blank,
        )

    def _measures(self) -> Iterator[Block]:
        if self.kept.evidence is None:
            yield Text("Which evidence was on record is not kept in this run.")
        elif not self.evidence:
            yield Text("No evidence of any kind is on record.")
        else:
            as_of = self.run.info.as_of
            yield _table(
                "Evidence on record. This program has read none of these documents",
                ("Evidence", "Kind", "About", "By, on", "Holds until", "Document"),
                [
                    (
                        _or_not(row["evidence_id"]),
                        _or_not(row["kind"]),
                        _or_not(row["about"]),
                        ", ".join(filter(None, (row["attested_by"], _day(row["attested_at"]))))
                        or NOT_ON_RECORD,
                        _holds_words(row, as_of),
                        _or_not(row["ref"]),
                    )
                    for row in self.evidence
                ],
            )
        yield from self._ask("measures")

    # ------------------------------------------------------------ what is not known

    def _gaps(self) -> Iterator[Block]:
        groups = gap_groups(self.run.coverage_gaps, samples=0)
        listed = words.plural(self.numbers.listed, "object")
        if groups:
            yield _table(
                f"What was not looked at, or not whole ({listed} listed)",
                ("Why", "Places", "What to do"),
                [
                    (
                        f"{words.reason_words(g.reason)} "
                        f"({words.STATE_WORDS.get(g.state, g.state).lower()})",
                        words.count(g.count),
                        words.reason_remedy(g.reason),
                    )
                    for g in groups
                ],
                numbers={1},
            )
        elif not self.numbers.listed:
            yield Text("Nothing was listed, so nothing was looked at.")
        elif self.run.complete:
            yield Text(f"Everything that was listed ({listed}) was looked at whole.")
        else:
            yield Text("No single object is on record as left out, but the run is not complete.")
        if self.run.info.notes:
            yield Text("Notes of the run:")
            yield _cut(self.run.info.notes)
        yield Text("And of every run:")
        yield Bullets(words.LIMITS)

    def _korean(self) -> str:
        """Why the questions of Korea's regulator are asked; empty if they are not."""
        if any(p.startswith("kr-") for p in self.run.info.policies):
            return "rules of Korea were among those chosen"
        places = [place for r in self.whole.values() for place in r["jurisdictions"] or [None]]
        countries = [r["controller_country"] for r in self.whole.values()]
        countries += [c for t in self.transfers for c in (t["from_country"], t["to_country"])]
        if any(str(place or "").startswith(KOREA) for place in [*places, *countries]):
            return "the people, a controller or a transfer is in Korea"
        if None in places or (self.run.detection_counts and not self.whole):
            return "it is not on record where all of the people are"
        return ""

    # ------------------------------------------------------------ words

    def _basis(self, transfer: Row) -> Cell:
        """A transfer's own basis; without one, that of its dataset is taken."""
        of_dataset = self.declared.get(transfer["dataset_id"], {}).get("legal_basis")
        if not transfer["legal_basis"] and of_dataset:
            return f"that of the dataset: {of_dataset}"
        return _or_not(transfer["legal_basis"])

    def _abroad(self, transfer: Row) -> str:
        """The ground for a transfer abroad; none is needed where it is known to stay."""
        if transfer["transfer_tool"]:
            return Name(transfer["transfer_tool"])
        importer = self.parties.get(transfer["importer_id"], {}).get("country")
        ends = [transfer["from_country"], transfer["to_country"], importer]
        if all(ends) and len({str(end).split("-")[0].upper() for end in ends}) == 1:
            return "stays in the country"
        return NOT_ON_RECORD

    def _title(self, finding: Finding) -> str:
        rule = self.rules.get(finding.rule_id)
        return rule.title if rule is not None else finding.rule_id

    def _law(self, finding: Finding) -> str:
        rule = self.rules.get(finding.rule_id)
        if rule is None:
            return finding.law_cite or "none named"
        return _source(finding.law_cite or rule.law_cite, _status(rule))

    def _party(self, party_id: str | None) -> str:
        if party_id is None:
            return NOT_ON_RECORD
        party = self.parties.get(party_id)
        if party is None:
            return f"{party_id} (of which nothing is on record)"
        kind = _spaced(party["type"]) or "type not on record"
        name = f", {party['name']}" if party["name"] else ""
        return f"{party_id}{name} ({kind}, {party['country'] or 'country not on record'})"


# ---------------------------------------------------------------- words for facts


def _asked(findings: Sequence[Finding]) -> str:
    """What is missing where a person must decide: out of the sentences of the findings."""
    reasons = [finding.reason or "" for finding in findings]
    missing: dict[str, None] = {}
    for match in (match for reason in reasons for match in _MISSING.finditer(reason)):
        missing.update(dict.fromkeys(match[1].split(", ")))
    asked = [f"Not on record: {', '.join(missing)}. Can it be put on record?"] if missing else []
    asked += [
        question
        for said, question in _QUESTIONS_OF_SENTENCES.items()
        if any(said in reason for reason in reasons)
    ]
    return " ".join(asked)


def _source(cite: str, citation: str) -> str:
    return f"{cite} ({citation})" if citation else cite


def _status(rule: RuleText) -> str:
    """How sure a rule's citation is; the organisation's own rules cite no law."""
    if not any(char.isdigit() for char in rule.law_cite):
        return "own rule, not a law"
    return rule.citation


def _table(
    caption: str,
    head: tuple[str, ...],
    rows: Sequence[tuple[Cell, ...]],
    numbers: Iterable[int] = (),
) -> Table:
    more = max(len(rows) - SHOWN_ROWS, 0)
    return Table(caption, head, tuple(rows[:SHOWN_ROWS]), frozenset(numbers), more)


def _cut(items: Sequence[str]) -> Bullets:
    more = len(items) - SHOWN_ROWS
    cut = (f"and {words.count(more)} more; the report of the run has them all",) * (more > 0)
    return Bullets((*items[:SHOWN_ROWS], *cut))


def _between(low: int, high: int) -> str:
    if low == high:
        return words.count(low)
    return f"between {words.count(low)} and {words.count(high)}"


def _due_words(finding: Finding, facts: Sequence[Mapping[str, Any]]) -> str:
    if finding.verdict == "violation":
        return "Met: what the rule asks for is missing"
    if finding.verdict == "review":
        return f"A person must say: {finding.reason or 'no reason is recorded'}"
    settled = [f"{f['name']} {f['value']}" for f in facts if f["part"] == "proof"]
    if any(f["part"] == "settled" for f in facts) and settled:
        return f"Settled by evidence on record: {'; '.join(settled)}"
    return "Not met, by what was counted and is on record"


def _kind(kind: str) -> str:
    return f"{words.kind_words(kind)} ({kind})"


def _form(row: Row) -> str:
    if not row["kind"].startswith("biometric."):
        return ""
    forms = {"source_image": "photo", "template": "template", "derived_attribute": "attribute"}
    return forms.get(row["representation"], "photo or template: not known")


def _bounds_of(row: Row) -> tuple[int, int]:
    """Between how many people and how many, of what was detected."""
    more = row["more_faces"] or 0
    if row["subject_key_quality"] == "none":
        return 0, row["records"] + more
    return row["people"], row["people"] + row["unknown_records"] + more


def _people_of(row: Row, whole: bool) -> tuple[str, str]:
    """How many people, and how that is known; `whole`: all that was listed was looked at."""
    low, high = _bounds_of(row)
    why = ["by their keys"]
    if row["subject_key_quality"] == "none":
        why = ["no keys that tell people apart"]
    elif row["unknown_records"]:
        nobody = f"of {words.plural(row['unknown_records'], 'record')} nobody knows who they show"
        why = [*why, nobody] if low else [nobody]
    elif low == high:
        why = ["exact, by their keys" if whole else "by their keys; exact for what was looked at"]
    if row["more_faces"]:
        why.append(f"{words.plural(row['more_faces'], 'further face')} in the same pictures")
    if low == high:
        return words.count(low), "; ".join(why)
    said = f"between {words.count(low)} and {words.count(high)}"
    return said if low else f"unknown, at most {words.count(high)}", "; ".join(why)


def _places(places: Sequence[str | None] | None) -> str:
    return ", ".join(place or NOT_ON_RECORD for place in places or [None])


def _or_not(value: str | None) -> Cell:
    return Name(value) if value else NOT_ON_RECORD


def _spaced(value: str | None) -> str:
    return (value or "").replace("_", " ")


def _source_words(source: str | None) -> str:
    return NOT_ON_RECORD if source in (None, "", "unknown") else _spaced(source)


def _held_with(row: Row) -> str:
    """What `linked` and `has_unique_identifier` say; null is unknown, not no."""
    said = []
    for name, text in (
        ("linked", "nationality, gender, age or ethnicity beside faces"),
        ("has_unique_identifier", "passport or national id numbers"),
    ):
        if row[name] is not False:
            said.append(text if row[name] else f"{text} (not known)")
    return "; ".join(said) or "nothing of the kind found"


def _role(transfer: Row) -> str:
    return _spaced(transfer["role_of_recipient"]) or "role not on record"


def _within(value: str | None) -> str:
    said = {"attested_true": "attested: yes", "attested_false": "attested: no"}
    return said.get(value or "", "nobody attested it")


def _public(transfer: Row) -> str:
    if not transfer["published_ref"]:
        return NOT_ON_RECORD
    since = _day(transfer["published_from"])
    return f"{transfer['published_ref']}, since {since or NOT_ON_RECORD}"


def _span(transfer: Row) -> str:
    start = _day(transfer["started_at"]) or "start not on record"
    end = _day(transfer["ended_at"])
    text = f"{start} to {end}" if end else f"{start}, no end on record"
    destroyed = _day(transfer["destroyed_at"])
    return f"{text}, destroyed {destroyed}" if destroyed else text


def _kind_of(row: Row) -> str:
    return (row["kind"] or "").strip().upper()


def _proof(row: Row) -> str:
    by = f" by {row['attested_by']}" if row["attested_by"] else ""
    day = _day(row["attested_at"])
    return (
        f"{row['evidence_id']} ({row['kind']} about {row['about']}{by}{f', {day}' if day else ''})"
    )


def _holds(row: Row, as_of: datetime) -> bool:
    start, end = row["attested_at"], row["valid_until"]
    return (start is None or start <= as_of) and (end is None or end > as_of)


def _holds_words(row: Row, as_of: datetime) -> str:
    end = row["valid_until"]
    until = _last_day(end) if end is not None else "no end on record"
    if end is not None and end <= as_of:
        return f"EXPIRED: {until}"
    start = row["attested_at"]
    return f"dated after the run's day: {until}" if start and start > as_of else until


def _minute(moment: datetime) -> str:
    return f"{_utc(moment):%Y-%m-%d %H:%M} UTC"


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{_utc(moment):%Y-%m-%d}"


def _last_day(moment: datetime | None) -> str:
    """A moment past which something ends, as the last day on which it holds."""
    return NOT_ON_RECORD if moment is None else _day(_utc(moment) - timedelta(microseconds=1))


def _utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)

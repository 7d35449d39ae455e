"""The draft of an impact assessment: honest numbers, blanks, and nothing in it that acts."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from markdown_it import MarkdownIt

from scanner import schemas
from scanner.model import Kept, SavedRun
from scanner.policy import sentences
from scanner.reports._assessment import FORMATS, write
from scanner.reports._draft import (
    _MISSING,
    _QUESTIONS_OF_SENTENCES,
    SHOWN_PLACES,
    SHOWN_ROWS,
    SHOWN_RULES,
)
from scanner.reports._questions import QUESTIONS
from tests.reports.test_report_html import Page

Make = Callable[..., SavedRun]
Row = dict[str, object]
RUNS = ["usual", "hostile", "empty", "interrupted", "large"]
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BLANK = re.compile(r"^> \*\*▢ (\d+)\. (.*?)\.\*\* (.*)$", re.M)


def assessed(
    run: SavedRun,
    kept: Kept | None = None,
    form: str = "markdown",
    seal: str = "as it was sealed; not signed",
    sealed_well: bool = True,
) -> str:
    out = io.BytesIO()
    missing = write(run, kept or Kept(), out, form=form, seal=seal, sealed_well=sealed_well)
    text = out.getvalue().decode()
    count = len(BLANK.findall(text)) if form == "markdown" else text.count('class="answer-line"')
    assert missing == count
    return text


def table(schema: pa.Schema, *rows: Row) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema)


def holding(dataset: str | None, kind: str | None = None, **more: object) -> Row:
    row: Row = {"dataset_id": dataset, "kind": kind, "items": 1, "records": 1,
                "possible_records": 0, "people": 1, "unknown_records": 0}  # fmt: skip
    if kind is None:
        row |= {"more_faces": 0}
        if dataset is not None:
            row |= {"subject_key_quality": "exact", "jurisdictions": ["KR"], "linked": False,
                    "has_unique_identifier": False}  # fmt: skip
    return row | more


def kept_of(*holdings: Row, **tables: list[Row]) -> Kept:
    return Kept(
        holdings=table(schemas.HOLDINGS, *holdings),
        datasets=table(schemas.DATASETS, *tables.get("datasets", [])),
        transfers=table(schemas.TRANSFERS, *tables.get("transfers", [])),
        parties=table(schemas.PARTIES, *tables.get("parties", [])),
        evidence=table(schemas.EVIDENCE, *tables.get("evidence", [])),
        facts=table(schemas.FACTS, *tables.get("facts", [])),
    )


def line(text: str, start: str) -> str:
    [found] = [line for line in text.splitlines() if line.startswith(start)]
    return found


# ---------------------------------------------------------------- how many people


@pytest.mark.parametrize(
    ("holdings", "people"),
    [
        ([{"records": 9, "people": 4}], "| 9 | 4 | exact, by their keys | KR |"),
        (
            [{"records": 9, "people": 4, "unknown_records": 2}],
            "| 9 | between 4 and 6 | by their keys; of 2 records nobody knows who they show | KR |",
        ),
        (
            [{"records": 9, "people": 0, "unknown_records": 9}],
            "| 9 | unknown, at most 9 | of 9 records nobody knows who they show | KR |",
        ),
        (
            [{"records": 9, "people": 4, "more_faces": 3}],
            "| 9 | between 4 and 7 | by their keys; 3 further faces in the same pictures | KR |",
        ),
        (
            [{"records": 9, "people": 4, "subject_key_quality": "none", "more_faces": 1}],
            "| 9 | unknown, at most 10 | no keys that tell people apart; 1 further face in the "
            "same pictures | KR |",
        ),
        (
            [{"jurisdictions": ["DE", None], "subject_key_quality": "hashed"}],
            "| 1 | 1 | exact, by their keys | DE, not on record |",
        ),
    ],
)
def test_people_are_exact_or_bounded_or_unknown(
    make_run: Make, holdings: list[Row], people: str
) -> None:
    rows = [holding("faces") | more for more in holdings]
    text = assessed(make_run(), kept_of(*rows, holding(None)))
    assert f"\n| `faces` {people}\n" in text
    # what was looked at in part only is exact for that part only
    text = assessed(make_run(complete=False), kept_of(*rows, holding(None)))
    assert "exact, by their keys" not in text


def test_people_of_several_datasets(make_run: Make) -> None:
    two = [holding("a", records=5, people=3), holding("b", records=7, people=4)]
    whole = holding(None, records=12, people=5)  # two are in both
    text = assessed(make_run(), kept_of(*two, whole))
    assert line(text, "| All together |").startswith(
        "| All together | 12 | 5 | exact, by their key"
    )
    two[1] |= {"subject_key_quality": "none"}
    text = assessed(make_run(), kept_of(*two, whole))
    assert line(text, "| All together |").startswith("| All together | 12 | between 3 and 10 | not")


# ---------------------------------------------------------------- what is on record


def test_what_is_not_on_record_is_said_so(make_run: Make) -> None:
    kept = kept_of(
        holding("faces", linked=None, has_unique_identifier=True),
        holding("faces", "biometric.face", records=3, possible_records=1),
        holding("faces", "biometric.iris", representation="template"),
        holding(None),
        transfers=[
            {"transfer_id": "T1", "dataset_id": "faces", "importer_id": "acme"},
            {"transfer_id": "T2", "dataset_id": "faces", "importer_id": "b", "from_country": "KR",
             "to_country": "KR", "role_of_recipient": "processor", "mode": "remote_access",
             "within_original_purpose": "attested_false", "started_at": NOON,
             "ended_at": NOON + timedelta(days=9), "onward_to": "c;d", "purpose": "train"},
        ],
        parties=[{"party_id": "b", "type": "company", "country": "SG"}],
    )  # fmt: skip
    text = assessed(make_run(settings={}), kept)
    for part in (
        "| `faces` | Face images or face data (biometric.face) | photo or template: not known |",
        "| `faces` | Iris images or codes (biometric.iris) | template | 1 | 0 |",
        "| `faces` | not on record | not on record | not on record | not on record | not on record "
        "| nationality, gender, age or ethnicity beside faces (not known); passport or national id "
        "numbers |",
        "| `T1` | `faces` | acme (of which nothing is on record), role not on record | not on "
        "record | way not on record, ? → ? | start not on record, no end on record |",
        "| `T2` | `faces` | b (company, SG), processor | `train` | remote access, KR → KR | "
        "2026-11-22 to 2026-12-01 |",
        "| `T1` | not on record | nobody attested it | not on record | not on record | not on "
        "record | not on record |",
        # looked at from Singapore, it does not stay in Korea
        "| `T2` | not on record | attested: no | not on record | not on record | not on record | "
        "`c;d` |",
        "- faces: collected for (not on record), handed on for train.",
    ):
        assert part in text, part
    assert kept.parties is not None
    stays = kept.parties.set_column(3, "country", pa.array(["KR"]))
    text = assessed(make_run(), Kept(**{n: getattr(kept, n) for n in (
        "holdings", "datasets", "transfers", "evidence", "facts")}, parties=stays))  # fmt: skip
    assert line(text, "| `T2` | not").split(" | ")[5] == "stays in the country"


def test_nobody_knows_what_it_is_used_for(make_run: Make) -> None:
    kept = kept_of(holding("faces"), holding(None))
    text = assessed(make_run(settings={}), kept)
    assert "No transfer is on record for these datasets, and no use was declared" in text
    assert "asked about this use: ai-training → acme-vision (KR)" in assessed(make_run(), kept)


def test_evidence_is_offered_and_never_taken_for_an_answer(make_run: Make) -> None:
    def evidence(number: int, kind: str, **more: object) -> Row:
        return {"evidence_id": f"E-{number}", "kind": kind, "about": "faces"} | more

    kept = kept_of(
        holding("faces"),
        holding(None),
        evidence=[
            evidence(1, "origin"),
            evidence(2, "ORIGIN", valid_until=NOON),
            evidence(3, "ORIGIN", attested_at=NOON + timedelta(days=1)),
            evidence(4, "ORIGIN", attested_by="dpo", attested_at=NOON - timedelta(days=2)),
        ],
    )
    text = assessed(make_run(), kept)
    hint = line(text, "> On record, not read by this program: E-")
    assert hint == (
        "> On record, not read by this program: E-1 (origin about faces); E-4 (ORIGIN about faces "
        "by dpo, 2026-11-20)"
    )
    assert "EXPIRED: 2026-11-22" in line(text, "| `E-2` |")
    assert "dated after the run's day" in line(text, "| `E-3` |")
    without = assessed(make_run(), kept_of(holding("faces"), holding(None)))
    assert len(BLANK.findall(text)) == len(BLANK.findall(without))


def test_thresholds(make_run: Make, make_finding: Callable[..., Row]) -> None:
    def found(number: int, rule: str, verdict: str) -> Row:
        return make_finding(number, verdict, rule_id=rule, transfer_id=None, recipient=None)

    def fact(number: int, part: str, name: str = "", **more: object) -> Row:
        return {"finding_id": f"{number:032x}", "part": part, "name": name} | more

    rows = [
        found(1, "OWN-SIZE", "violation"),
        found(2, "OWN-SIZE-2", "compliant"),
        found(3, "KR-PIPA-33-PIA", "compliant"),
        found(4, "EU-GDPR-35-DPIA", "review"),
        found(5, "OWN-OTHER", "violation"),
        found(6, "OWN-ASKS", "compliant"),
    ]
    facts = [
        fact(1, "measure", "people", low=49_999, high=50_001),
        fact(2, "measure", "people", low=3, high=3),
        fact(3, "measure", "sensitive_people", low=50_000, high=50_000),
        fact(3, "evidence", "PIA_SUBMITTED", value="true"),
        fact(3, "proof", "PIA_SUBMITTED", value="E-17 by dpo"),
        fact(3, "settled"),
        fact(5, "measure", "dangling_rows", low=1, high=1),
        fact(6, "evidence", "DPIA", value="false"),
    ]
    text = assessed(make_run(rows), kept_of(holding("faces"), holding(None), facts=facts))
    section = text.split("## 1. ")[1].split("## 2. ")[0]
    told = [row for row in section.splitlines() if row.startswith("| ")][2:]
    assert len(told) == 4
    assert "between 49,999 and 50,001 | Met: what the rule asks for is missing |" in told[0]
    assert "A person must say: 1,234 face images" in told[1]
    assert (
        "sensitive people 50,000 | Settled by evidence on record: PIA\\_SUBMITTED E-17" in told[2]
    )
    assert "Not met, by what was counted and is on record" in told[3]


# ---------------------------------------------------------------- findings


def test_one_entry_a_rule_with_what_is_asked(
    make_run: Make, make_finding: Callable[..., Row]
) -> None:
    same = "3 records (3 people): no consent on record 3."
    rows = [
        make_finding(1, "violation", transfer_id="T1", reason=same),
        make_finding(2, "violation", transfer_id="T2", reason=same),
        make_finding(
            3, "review", transfer_id="T3",
            reason="2 records (at most 2 people): not on record: the recipient's role, whose data "
            "it is; only possible detections; a person must decide.",
        ),
        make_finding(4, "violation", suppressed_by="somebody"),
        make_finding(5, "compliant"),
    ]  # fmt: skip
    text = assessed(make_run(rows), kept_of())
    section = text.split("## 4. ")[1].split("## 5. ")[0]
    assert section.count("\n### ") == 1
    for part in (
        "### Violation, error, and to decide: Face data provided to a third party",
        "- **Law:** PIPA 17(1), 18(1) (verified)",
        "- **To do:** Obtain separate consent naming the recipient",
        "  - Violation: foreign-entrants → acme-vision (transfer T1); foreign-entrants → "
        "acme-vision (transfer T2): 3 records (3 people): no consent on record 3.",
        "  - To decide: foreign-entrants → acme-vision (transfer T3): 2 records",
        "Not on record: the recipient's role, whose data it is. Can it be put on record? Some "
        "detections are only possible: is it what it seems to be? (rule KR-PIPA-17-FACE-NO-BASIS)",
        "1 finding suppressed by somebody is not listed",
    ):
        assert part in section, part
    for reason, asked in (
        ("2 records: person not known 2; a person must decide.", "Who are the people that nobody"),
        ("2 records: nobody has attested that this lies within it.", "and who attests that?"),
        ("2 records: a person must decide.", "Which of the ways under “To do” is taken for"),
    ):
        two = [rows[0], make_finding(3, "review", transfer_id="T3", reason=reason)]
        assert asked in assessed(make_run(two), kept_of())
    only = assessed(make_run([rows[2]]), kept_of())
    assert "### A person must decide: Face data" in only
    assert "- **To do:**" not in only  # what settles it is in the blank
    assert "is it what it seems to be? Obtain separate consent naming the recipient" in only
    assert "No violation was found among the rules that were chosen." in only


def test_own_rules_are_no_law_and_unverified_is_said(usual: SavedRun) -> None:
    text = assessed(usual)
    assert "- **Law:** organisation policy (own rule, not a law)" in text
    assert "GDPR 35(3)(b) (secondary)" in text
    assert "(GDPR 35(9) (unverified))" in text


def test_every_cut_says_so(large: SavedRun, make_run: Make) -> None:
    text = assessed(large)
    places = text.split("- **Where:**\n")[1].split("\n\n")[0].splitlines()
    assert len(places) <= SHOWN_PLACES + 1
    assert "others: 1,234 face images" in places[0]  # the same is said once of hundreds
    many = [holding(f"set-{n:03}") for n in range(SHOWN_ROWS + 3)]
    text = assessed(make_run(), kept_of(*many, holding(None)))
    assert "And 4 more rows; the report of the run has them all." in text  # with “all together”
    rows = [
        {**large.findings.slice(0, 1).to_pylist()[0], "rule_id": f"R-{n}", "verdict": "review"}
        for n in range(SHOWN_RULES + 2)
    ]
    assert "And 2 more rules with open findings" in assessed(make_run(rows))


# ---------------------------------------------------------------- what the run does not know


def test_a_sample_an_end_and_a_gap_are_said_first(make_run: Make, interrupted: SavedRun) -> None:
    text = assessed(interrupted, seal="NOT as it was sealed: x", sealed_well=False)
    head = text.split("## 1. ")[0]
    assert re.findall(r"> \*\*Take care:\*\* (.{24})", head) == [
        "The run that this draft ", "The run was stopped befo", "Not everything was looke",
        "This run does not keep w",
    ]  # fmt: skip
    sampled = assessed(make_run(settings={"sample": 0.01}), kept_of(holding("a"), holding(None)))
    assert "> **Take care:** Only a drawn sample was looked at." in sampled
    assert "exact, by their keys" not in sampled
    whole = assessed(make_run(), kept_of(holding("a"), holding(None)))
    assert "Take care" not in whole


def test_nothing_found_is_not_nothing_there(empty: SavedRun) -> None:
    text = assessed(empty, kept_of())
    assert "No biometric or identifying data was detected. Not detected does not mean not" in text
    assert "No rule about impact assessments was among the rules of this run" in text
    assert len(BLANK.findall(text)) == len(QUESTIONS)  # kr-pipa was chosen


@pytest.mark.parametrize(
    ("policies", "places", "to", "asked"),
    [
        (("baseline", "kr-pipa"), ["DE"], None, "rules of Korea were among those chosen"),
        (("baseline",), ["KR-11"], None, "the people, a controller or a transfer is in Korea"),
        (("baseline",), ["DE"], "KR", "the people, a controller or a transfer is in Korea"),
        (("baseline",), ["DE", None], None, "it is not on record where all of the people are"),
        (("baseline",), ["DE"], "DE", None),
    ],
)
def test_koreas_model_is_asked_where_it_may_matter(
    make_run: Make, policies: tuple[str, ...], places: list[str], to: str | None, asked: str | None
) -> None:
    kept = kept_of(
        holding("a", jurisdictions=places),
        holding(None),
        transfers=[{"transfer_id": "T", "dataset_id": "a", "to_country": to}],
    )
    text = assessed(make_run(policies=policies), kept)
    said = "PIPC AI Privacy Risk Management Model" in text
    assert said == (asked is not None)
    assert f"Asked because {asked}." in text or not said


# ---------------------------------------------------------------- nothing in it acts


def hostile_kept(run: SavedRun) -> Kept:
    """Names of the hostile run in every registry, too."""
    names = [row["dataset_id"] for row in run.findings.to_pylist()]
    return kept_of(
        *(holding(name, linked=True) for name in names),
        *(holding(name, "biometric.face") for name in names),
        holding(None),
        datasets=[
            {"dataset_id": n, "controller": n, "collected_for": n, "legal_basis": n, "source": n}
            for n in names
        ],
        transfers=[
            {
                c: n
                for c in schemas.TRANSFERS.names
                if schemas.TRANSFERS.field(c).type == pa.string()
            }
            for n in names
        ],
        parties=[{"party_id": n, "name": n, "type": n, "country": n} for n in names],
        evidence=[
            dict.fromkeys(("evidence_id", "kind", "about", "ref", "attested_by"), n) for n in names
        ],
    )


@pytest.mark.parametrize("which", RUNS)
def test_a_renderer_of_markdown_makes_nothing_of_names(
    which: str, request: pytest.FixtureRequest
) -> None:
    run: SavedRun = request.getfixturevalue(which)
    kept = hostile_kept(run) if which == "hostile" else Kept()
    text = assessed(run, kept)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    inline = [token for block in tokens for token in block.children or []]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "s_open", "fence"}
    assert not kinds & {"em_open", "code_block", "ordered_list_open", "hardbreak"}
    # every heading is one of ours
    headings = [
        tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"
    ]
    assert all(
        re.match(r"Impact assessment: draft$|Answers still missing$|\d\. |Violation, |A person", h)
        for h in headings
    )
    # no cell was split by a name: every row of a table is as long as its head
    lengths: list[int] = []
    for token in tokens:
        if token.type == "tr_open":
            lengths.append(0)
        elif token.type in ("th_open", "td_open"):
            lengths[-1] += 1
    raw = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    assert len(raw) == len(lengths)
    for row, length in zip(raw, lengths, strict=True):
        assert len(re.findall(r"(?<!\\)\|", row)) == length + 1


@pytest.mark.parametrize(
    "name",
    ["https://evil.example/x", "www.evil.example", "a@b.example", "`` ` ``", "`", "a|b`c", "- x",
     "1. x", "# x", "> x", "=== x", "--- x", "![x](http://y)", "[x]: http://y", "*x* _y_ ~~z~~",
     "&lt;b&gt;", "$x$", "\\`", "{{ 7*7 }}", "{% raw %}", "<!-- x", "+ x", "12) x"],
)  # fmt: skip
def test_one_hostile_name(name: str, make_run: Make, make_finding: Callable[..., Row]) -> None:
    """In words and in a cell it is read as it is written, and the page has the same shape."""

    def parsed(name: str) -> list[Any]:
        rows = [make_finding(1, "review", dataset_id=name, reason=name, remedy=name)]
        kept = kept_of(holding(name, linked=True), holding(None))
        text = assessed(make_run(rows, notes=(name,)), kept)
        return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)

    tokens = parsed(name)
    assert [t.type for t in tokens] == [t.type for t in parsed("harmless")]
    inline = [token for block in tokens for token in block.children or []]
    assert not {t.type for t in inline} & {"html_inline", "link_open", "image", "em_open", "s_open"}
    codes = {t.content.strip() for t in inline if t.type == "code_inline"}
    assert name in codes
    if "|" not in name:  # outside a table, a name with both | and a link keeps a backslash
        shown = "".join(t.content for t in inline if t.type in ("text", "code_inline"))
        assert f"{name}: faces are kept" in shown
    kept = kept_of(holding(name, linked=True), holding(None))
    page = Page(assessed(make_run(), kept, "html"))
    assert f"{name}: faces are kept" in page.text


@pytest.mark.parametrize("which", RUNS)
def test_the_page_is_self_contained(which: str, request: pytest.FixtureRequest) -> None:
    run: SavedRun = request.getfixturevalue(which)
    kept = hostile_kept(run) if which == "hostile" else Kept()
    text = assessed(run, kept, "html")
    page = Page(text)
    used = {tag for tag, _ in page.elements}
    assert not used & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.elements:
        assert not {"style", "src"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    [policy] = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    [style] = page.text_of["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(a["href"])[1:] for a in page.all("a")}
    assert targets <= set(ids)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]", text)


@pytest.mark.parametrize("which", ["usual", "hostile", "empty"])
def test_both_forms_say_the_same(which: str, request: pytest.FixtureRequest) -> None:
    run: SavedRun = request.getfixturevalue(which)
    page = Page(assessed(run, form="html")).text
    for number, title, _ in BLANK.findall(assessed(run)):
        plain = re.sub(r"\\(.)", r"\1", title)
        assert f" {number} {plain} " in page, title


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_run_gives_the_same_bytes(usual: SavedRun, form: str) -> None:
    assert assessed(usual, form=form) == assessed(usual, form=form)


def test_questions_have_sources() -> None:
    for question in QUESTIONS:
        assert question.citation in ("verified", "secondary", "unverified")
        assert question.cite and question.text.endswith((".", "?"))
    parts: list[Any] = [q.part for q in QUESTIONS]
    assert set(parts) == {
        "due", "description", "necessity", "risks", "measures", "ai", "decision",
    }  # fmt: skip
    for letter, part in zip("abcd", ("description", "necessity", "risks", "measures"), strict=True):
        mine = [q for q in QUESTIONS if q.part == part]
        assert mine and all(f"35(7)({letter})" in q.cite for q in mine)


def test_what_sentences_leave_open_is_what_the_judge_writes() -> None:
    """Reports may not import the policy, so that both use the same words is checked here."""
    words = [*sentences._CONSENT_WORDS.values(), *sentences._FACTS.values()]
    possible = sentences.Numbers(1, 1, False, possible=1)
    words.append(sentences.sentence("review", possible))
    for said in _QUESTIONS_OF_SENTENCES:
        assert any(said in word for word in words), said
    unknown = sentences.Numbers(1, 1, False, unknown=["transfer_role", "subject_key"])
    found = _MISSING.search(sentences.sentence("review", unknown))
    assert found is not None and found[1] == "the recipient's role, whose data it is"

"""The answer of a run: unknown is never clear, and there is always exactly one next step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from scanner.model import KINDS, REASONS, DeclaredUse, RuleText, SavedRun
from scanner.reports._findings import tally, told_findings
from scanner.reports._words import (
    Answer,
    answer,
    declared_use,
    how_sure,
    kind_words,
    reason_remedy,
    reason_words,
)

Make = Callable[..., SavedRun]
Row = dict[str, object]
MakeRow = Callable[..., Row]


def answered(run: SavedRun) -> Answer:
    findings = told_findings(run)
    return answer(run, tally(run, findings), findings)


def test_error_violations_stop(make_run: Make, make_finding: MakeRow) -> None:
    said = answered(make_run([make_finding(1, "violation")], exit_code=1))
    assert said.tone == "stop"
    assert said.headline == "Do not hand over yet: 1 violation."


def test_violations_below_the_limit_are_still_said(make_run: Make, make_finding: MakeRow) -> None:
    said = answered(make_run([make_finding(1, "violation", level="note")], exit_code=0))
    assert said.tone == "stop"
    assert "Look before you hand over" in said.headline


def test_reviews_ask(make_run: Make, make_finding: MakeRow) -> None:
    rows = [make_finding(n, "review") for n in range(3)]
    said = answered(make_run(rows))
    assert said.tone == "ask"
    assert said.headline == "Not yet: 3 questions only a person can answer."
    assert said.command == "consentry policies explain KR-PIPA-17-FACE-NO-BASIS"


def test_gaps_are_unknown_even_when_all_checks_passed(
    make_run: Make, make_finding: MakeRow, make_gap: MakeRow
) -> None:
    said = answered(
        make_run(
            [make_finding(1, "compliant")],
            [make_gap("a", "error", "denied"), make_gap("b", "partial", "encrypted")],
            counts={"scanned": 10, "error": 1, "partial": 1},
            complete=False,
            exit_code=3,
        )
    )
    assert said.tone == "unknown"
    assert said.headline == "No answer yet: not everything could be looked at."
    assert "2 of 12 objects" in said.detail
    assert "permission" in said.next_step


def test_gaps_are_in_the_headline_beside_violations(usual: SavedRun) -> None:
    assert answered(usual).headline == (
        "Do not hand over yet: 3 violations, 2 questions only a person can answer, "
        "and not everything could be looked at."
    )


def test_interrupted_is_unknown(interrupted: SavedRun) -> None:
    said = answered(interrupted)
    assert said.tone == "unknown"
    assert "stopped" in said.headline
    assert "8 objects" in said.detail


@pytest.mark.parametrize("counts", [{}, {"excluded": 7}])
def test_nothing_to_look_at_is_unknown(make_run: Make, counts: dict[str, int]) -> None:
    said = answered(make_run(counts=counts, detections={}, complete=False, exit_code=3))
    assert said.tone == "unknown"
    assert "nothing to look at" in said.headline
    # and even if somebody calls that complete
    assert answered(make_run(counts=counts, detections={})).tone == "unknown"


def test_biometric_data_that_no_rule_judged_is_unknown(make_run: Make) -> None:
    said = answered(make_run(detections={"biometric.face": 9}))
    assert said.tone == "unknown"
    assert "no rule judged it" in said.headline


def test_all_suppressed_is_not_clear(make_run: Make, make_finding: MakeRow) -> None:
    rows = [make_finding(1, "violation", suppressed_by="x"), make_finding(2, "compliant")]
    said = answered(make_run(rows))
    assert said.tone == "unknown"
    assert "suppressed" in said.headline


def test_clear_answers_say_what_was_checked(
    make_run: Make, make_finding: MakeRow, empty: SavedRun
) -> None:
    said = answered(empty)
    assert (said.tone, said.headline) == ("clear", "No biometric data found.")
    assert "812 objects looked at" in said.detail
    said = answered(make_run([make_finding(1, "compliant")]))
    assert (said.tone, said.headline) == ("clear", "No violation found: 1 check passed.")


def test_other_personal_data_is_named(make_run: Make) -> None:
    said = answered(make_run(detections={"attribute.age": 40}))
    assert said.headline == "No biometric data found."
    assert "40 records of other personal data" in said.detail


@pytest.mark.parametrize(
    "settings",
    [
        {"purpose": "p", "recipient": "r", "to": None},
        {"declared_use": {"purpose": "p", "recipient": "r"}},
        {"declared_use": DeclaredUse("p", "r", None)},
    ],
)
def test_declared_use_is_found_in_every_shape(empty: SavedRun, settings: Row) -> None:
    use = declared_use(dataclasses.replace(empty.info, settings=settings))
    assert str(use) == "p → r"


def test_undeclared_use_is_said(empty: SavedRun) -> None:
    use = declared_use(dataclasses.replace(empty.info, settings={}))
    assert str(use) == "none declared; recorded transfers only"


def test_every_code_has_words() -> None:
    assert all(reason_words(r) != r and reason_remedy(r) for r in REASONS)
    assert all(kind_words(k) != k for k in KINDS)
    assert reason_words("rule:*.tmp") == "Excluded by the rule *.tmp"
    assert reason_words("new-code") == "new-code"
    assert reason_words(None) == "No reason recorded"


def test_how_sure_tells_law_from_house_rule() -> None:
    law = RuleText("R", "1", "p", "t", "error", "PIPA 17(1)", "secondary", "d", "r")
    assert "secondary source" in how_sure(law)
    house = dataclasses.replace(law, law_cite="organisation policy")
    assert how_sure(house) == "The organisation's own rule, not a law."

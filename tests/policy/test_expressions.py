"""Conditions of rules: what is accepted, what is refused, and what SQL they become."""

from __future__ import annotations

import datetime
import re

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.errors import PolicyError
from scanner.policy.columns import COLUMNS
from scanner.policy.expressions import (
    Expression,
    Node,
    children,
    parse,
    to_sql,
    walk,
    without_one_predicate,
)

PLACE = "rule.yaml: R: where"


def condition(text: str) -> Expression:
    return parse(text, PLACE, COLUMNS)


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("kind = 'biometric.face'", "(kind = 'biometric.face')"),
        ("KIND != 'biometric.face'", "(kind <> 'biometric.face')"),
        ("linked", "linked"),
        ("not linked or is_minor", "((NOT linked) OR is_minor)"),
        ("linked and is_minor and in_manifest", "(linked AND is_minor AND in_manifest)"),
        ("linked or is_minor and in_manifest", "(linked OR (is_minor AND in_manifest))"),
        ("purpose in ('a', 'it''s')", "(purpose IN ('a', 'it''s'))"),
        ("purpose not in ('a')", "(NOT (purpose IN ('a')))"),
        ("subject_age between 1 and 2", "((subject_age >= 1) AND (subject_age <= 2))"),
        ("confidence > -0.5", "(confidence > -0.5)"),
        ("purpose is not null", "(NOT (purpose IS NULL))"),
        ("is_minor is true", "(is_minor IS TRUE)"),
        ("event_time < date '2023-09-15'", "(event_time < DATE '2023-09-15')"),
        ("date(event_time) = date '2023-09-15'", "(CAST(event_time AS DATE) = DATE '2023-09-15')"),
        ("length(purpose) > 3", "(length(purpose) > 3)"),
        ("coalesce(purpose, '') = ''", "(coalesce(purpose, '') = '')"),
        (
            "has_evidence('DPIA')",
            "(list_contains(evidence, 'DPIA') OR (list_contains(party_evidence, 'DPIA') AND NULL))",
        ),
        ("controller_type = 'public'", "(controller_type = 'public_body')"),
        ("'Public Body' <> recipient_type", "('public_body' <> recipient_type)"),
        ("transfer_role in ('DataProcessor')", "(transfer_role IN ('processor'))"),
        (
            "coalesce(jurisdiction, 'kr') = 'South Korea'",
            "(coalesce(jurisdiction, 'KR') = 'KR')",
        ),
        ("jurisdiction = 'us-il'", "(jurisdiction = 'US-IL')"),
        ("recipient is distinct from controller", "(recipient IS DISTINCT FROM controller)"),
    ],
)
def test_accepted(text: str, sql: str) -> None:
    assert to_sql(condition(text).node) == sql


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("knd = 'biometric.face'", "did you mean 'kind'"),
        ("kind = 'biometric.fase'", "did you mean 'biometric.face'"),
        ("kind in ('biometric.fase')", "did you mean 'biometric.face'"),
        ("coalesce(kind, 'x') = 'biometric.fase'", "kind is never 'x'"),
        ("consent_status <> 'granted'", "consent_status is never"),
        ("kind = 1", "text"),
        ("kind = null", "is null"),
        ("purpose", "true or false"),
        ("purpose > 'a'", "numbers and times"),
        ("event_time > '2023-09-15'", "date '2023-09-15'"),
        ("date '2023-02-30' < event_time", "a date is written"),
        ("event_time < timestamp '2023-01-01'", "only cast"),
        ("confidence::int = 1", "':' has no meaning"),
        ("cast(confidence as int) = 1", "only cast"),
        ("purpose in (select 1)", "no subquery"),
        ("exists (select 1)", "not"),
        ("select 1", "subqueries"),
        ("linked; linked", "semicolon"),
        ("linked -- and more", "comments"),
        ("linked /* */", "comments"),
        ("linked as x", "not part"),
        ("read_csv('/etc/passwd') is null", "not one of"),
        ("current_user() = 'a'", "not one of"),
        ("regexp_matches(kind, 'a')", "not one of"),
        ("sum(confidence) > 1", "not one of"),
        ("lower(confidence) = 'a'", "lower"),
        ("has_evidence(kind)", "one kind in capitals"),
        ("has_evidence('a', 'b')", "one kind in capitals"),
        ("t.kind = 'biometric.face'", "no table"),
        ("\"kind\" = 'biometric.face'", "has no meaning"),
        ("kind = $1", "has no meaning"),
        ("kind = ?", "has no meaning"),
        ("purpose like 'a%'", "not part"),
        ("confidence + 1 > 2", "'+' has no meaning"),
        ("confidence - 1 > 2", "not part"),
        ("case when linked then linked end", "not"),
        ("purpose = 'a", "not closed"),
        ("purpose = e'\\x'", "backslashes"),
        ("(linked", "parsed"),
        ("", "must be a condition"),
        ("confidence > 1e300", "plain"),
        ("(" * 60 + "linked" + ")" * 60, "parsed"),
        ("not " * 45 + "linked", "nested"),
        ("linked and " * 400 + "linked", "longer"),
    ],
)
def test_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        condition(text)
    assert str(caught.value).startswith(PLACE)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "starts_with(purpose, 'one\ntwo') = 'x'",
        "kind = 'biometric.\r\nface'",
        "purpose = date " + "'a\n" * 3 + "'",
        "lower('" + "long \n" * 300 + "') = 1",
    ],
)
def test_what_is_repeated_stays_one_short_line(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        condition(text)
    message = str(caught.value)
    assert message.startswith(PLACE)
    assert len(message.splitlines()) == 1
    assert len(message) < 500


def test_only_texts_and_truths_are_conditions() -> None:
    assert to_sql(parse(True, PLACE, COLUMNS).node) == "TRUE"
    for wrong in (1, None, ["linked"], {"a": "b"}):
        with pytest.raises(PolicyError, match="must be a condition"):
            parse(wrong, PLACE, COLUMNS)


def test_one_predicate_left_out() -> None:
    node = condition("linked and (is_minor or not (in_manifest and linked))").node
    assert [to_sql(smaller) for smaller in without_one_predicate(node)] == [
        "(is_minor OR (NOT (in_manifest AND linked)))",
        "linked",
        "(linked AND (NOT (in_manifest AND linked)))",
        "(linked AND is_minor)",
        "(linked AND (is_minor OR (NOT linked)))",
        "(linked AND (is_minor OR (NOT in_manifest)))",
    ]


NAMES = st.sampled_from([*COLUMNS, "records", "x", "t.kind", "sqlite_master"])
PIECES = st.one_of(
    NAMES,
    st.sampled_from(
        [
            "and",
            "or",
            "not",
            "is",
            "null",
            "in",
            "(",
            ")",
            "(",
            ")",
            "=",
            "<>",
            "<",
            ">=",
            ",",
            "'",
            "''",
            ";",
            "--",
            "/*",
            "*/",
            "select",
            "from",
            "union",
            "where",
            "exists",
            "'biometric.face'",
            "'given'",
            "1",
            "0.5",
            "-1",
            "true",
            "false",
            "date",
            "'2023-09-15'",
            "lower(",
            "coalesce(",
            "date(",
            "has_evidence('X')",
            "has_evidence(",
            "cast(",
            "as",
            "int",
            "like",
            "between",
            "case",
            "when",
            "then",
            "end",
            "::",
            "$1",
            "?",
            "interval",
            "read_parquet('x')",
            "*",
            "+",
            "||",
            "->",
            "[",
            "]",
            "{",
            "}",
            "\\",
            "distinct",
        ]
    ),
    st.text(max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=12).map(" ".join))
def test_random_text_is_a_condition_or_a_policy_error(text: str) -> None:
    try:
        expression = condition(text)
    except PolicyError as error:
        assert "\n" not in str(error)
        return
    assert_only_the_language(expression.node)


def assert_only_the_language(node: Node) -> None:
    sql = re.sub(r"'(?:[^']|'')*'", "''", to_sql(node))
    words = set(re.findall(r"[A-Za-z_]+", sql))
    allowed = set(COLUMNS) | {
        "AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE", "IN", "DISTINCT", "FROM", "DATE",
        "CAST", "AS", "lower", "upper", "coalesce", "starts_with", "contains", "length",
        "list_contains", "evidence", "party_evidence",
    }  # fmt: skip
    assert words <= allowed
    assert re.fullmatch(r"[A-Za-z0-9_ ()'.,<>=-]*", sql)
    assert "--" not in sql


LEAVES = st.sampled_from(
    [
        "linked",
        "is_minor is null",
        "kind = 'biometric.face'",
        "starts_with(kind, 'biometric.')",
        "purpose in ('a', 'b''; drop table x')",
        "subject_age between 3 and 14",
        "date(event_time) >= date '2023-09-15'",
        "lower(coalesce(purpose, 'x')) <> 'Y'",
        "has_evidence('DPIA')",
        "recipient is distinct from controller",
        "length(purpose) > 2",
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from([True, False, None]), st.sampled_from(["a", "bcd", None]))
def test_written_anew_means_the_same(text: str, flag: bool | None, purpose: str | None) -> None:
    """DuckDB gives the same answer to the author's text and to what is written from its tree."""
    node = condition(text).node
    assert_only_the_language(node)
    assert all(isinstance(child, Node) for inner in walk(node) for child in children(inner))
    row = (
        "SELECT $flag::BOOLEAN AS linked, $flag::BOOLEAN AS is_minor, 'biometric.face' AS kind, "
        "$purpose::VARCHAR AS purpose, $purpose::VARCHAR AS recipient, 'a' AS controller, "
        "7 AS subject_age, $moment::TIMESTAMPTZ AS event_time, ['DPIA'] AS evidence, "
        "['DPIA'] AS party_evidence"
    )
    theirs = text.replace("has_evidence(", "list_contains(evidence, ")
    moment = datetime.datetime(2023, 9, 15, tzinfo=datetime.UTC)
    values = {"flag": flag, "purpose": purpose, "moment": moment}
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        got = con.execute(f"SELECT {theirs}, {to_sql(node)} FROM ({row})", values).fetchone()
    assert got is not None
    assert got[0] == got[1]

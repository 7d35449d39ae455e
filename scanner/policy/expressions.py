"""Parses, checks and writes the boolean expressions of rules: a small part of SQL, three-valued.

The text is parsed by sqlglot, its tree is translated node by node into the few kinds of node below,
and every SQL text is written anew from those: nothing that a pack's author wrote reaches the
database as it was written. Whatever has no node here (subqueries, other functions, casts,
parameters) is an error.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import sqlglot
import sqlglot.errors
from sqlglot import exp

from scanner.errors import PolicyError
from scanner.policy.columns import Column, Type

MAX_CHARACTERS = 4_000
MAX_DEPTH = 40
Operator = Literal["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"]
ORDERINGS = frozenset({"<", "<=", ">", ">="})


# ---------------------------------------------------------------- the nodes


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Node


@dataclass(frozen=True, slots=True)
class Compare:
    operator: Operator
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class In:
    part: Node
    values: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Is:
    part: Node
    value: bool | None


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    kind: str


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    value: str | bool | int | float | datetime.date | None


Node = And | Or | Not | Compare | In | Is | Call | Evidence | Name | Value


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression of a rule: what its author wrote, and the checked tree that is used."""

    text: str
    node: Node

    def names(self) -> frozenset[str]:
        """The columns and measures that it reads."""
        return frozenset(node.name for node in walk(self.node) if isinstance(node, Name))

    def evidence_kinds(self) -> frozenset[str]:
        return frozenset(node.kind for node in walk(self.node) if isinstance(node, Evidence))


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case And(parts) | Or(parts):
            return parts
        case Not(part) | Is(part):
            return (part,)
        case Compare(_, left, right):
            return (left, right)
        case In(part, values):
            return (part, *values)
        case Call(_, arguments):
            return arguments
    return ()


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from walk(child)


def without_one_predicate(node: Node) -> Iterator[Node]:
    """Every expression that this one becomes when one single predicate under and/or is left out."""
    match node:
        case And(parts) | Or(parts):
            for index, part in enumerate(parts):
                rest = parts[:index] + parts[index + 1 :]
                yield rest[0] if len(rest) == 1 else replace(node, parts=rest)
                for smaller in without_one_predicate(part):
                    yield replace(node, parts=(*parts[:index], smaller, *parts[index + 1 :]))
        case Not(part):
            for smaller in without_one_predicate(part):
                yield Not(smaller)


# ---------------------------------------------------------------- SQL


def to_sql(node: Node, names: Mapping[str, str] | None = None, evidence: str = "evidence") -> str:
    """DuckDB SQL, fully bracketed. `names` replaces column names, `evidence` is a column of
    kinds."""

    def write(node: Node) -> str:
        match node:
            case And(parts):
                return "(" + " AND ".join(write(part) for part in parts) + ")"
            case Or(parts):
                return "(" + " OR ".join(write(part) for part in parts) + ")"
            case Not(part):
                return f"(NOT {write(part)})"
            case Compare(operator, left, right):
                return f"({write(left)} {operator.upper()} {write(right)})"
            case In(part, values):
                return f"({write(part)} IN ({', '.join(write(value) for value in values)}))"
            case Is(part, value):
                word = "NULL" if value is None else str(value).upper()
                return f"({write(part)} IS {word})"
            case Call(name, arguments):
                inside = ", ".join(write(argument) for argument in arguments)
                return f"CAST({inside} AS DATE)" if name == "date" else f"{name}({inside})"
            case Evidence(kind):
                # about a party only: whether it speaks of this data is for a person to say (null)
                word = quoted(kind)
                return (
                    f"(list_contains({evidence}, {word}) "
                    f"OR (list_contains(party_{evidence}, {word}) AND NULL))"
                )
            case Name(name):
                return names[name] if names is not None and name in names else name
            case Value(value):
                return _literal(value)

    return write(node)


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _literal(value: str | bool | int | float | datetime.date | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    return quoted(value) if isinstance(value, str) else repr(value)


# ---------------------------------------------------------------- plain words


# ---------------------------------------------------------------- parsing and checking

_OUTSIDE_STRINGS = re.compile(r"[A-Za-z0-9_\s().,<>=!-]*\Z")
_COMPARISONS: Mapping[type[exp.Expression], Operator] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeNEQ: "is distinct from",
    exp.NullSafeEQ: "is not distinct from",
}
_FUNCTIONS: Mapping[type[exp.Expression], str] = {
    exp.Lower: "lower",
    exp.Upper: "upper",
    exp.Coalesce: "coalesce",
    exp.StartsWith: "starts_with",
    exp.Contains: "contains",
    exp.Length: "length",
    exp.Date: "date",
}
ALLOWED_FUNCTIONS = (*_FUNCTIONS.values(), "has_evidence")
_EVIDENCE_KIND = re.compile(r"[A-Z][A-Z0-9_]{1,63}\Z")


def parse(text: object, place: str, columns: Mapping[str, Column]) -> Expression:
    """A checked expression over `columns`.

    `place` names file, rule and key; `PolicyError` begins with it and is one line.
    """
    if isinstance(text, bool):
        text = "true" if text else "false"
    if not isinstance(text, str) or not text.strip():
        raise PolicyError(f"{place}: must be a condition, such as kind = 'biometric.face'")
    if len(text) > MAX_CHARACTERS:
        raise PolicyError(f"{place}: longer than {MAX_CHARACTERS} characters")
    _check_characters(text, place)
    try:
        statements = sqlglot.parse(text, dialect="duckdb")
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        raise PolicyError(f"{place}: not a condition that can be parsed") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Expression):
        raise PolicyError(f"{place}: must be one condition")
    node = _Translator(place, columns).boolean(statements[0], 0)
    return Expression(" ".join(text.split()), node)


def _check_characters(text: str, place: str) -> None:
    """Comments, semicolons, parameters and escapes never reach the parser."""
    if "\\" in text or any(ord(c) < 32 and c not in "\n\t\r" for c in text):
        raise PolicyError(f"{place}: backslashes and control characters are not accepted")
    pieces = text.split("'")
    if len(pieces) % 2 == 0:
        raise PolicyError(f"{place}: a quote ' is not closed")
    for piece in pieces[::2]:
        if "--" in piece or "/*" in piece:
            raise PolicyError(f"{place}: comments are not accepted inside a condition")
        if ";" in piece:
            raise PolicyError(f"{place}: a condition has no semicolon")
        if not _OUTSIDE_STRINGS.match(piece):
            bad = next(c for c in piece if not _OUTSIDE_STRINGS.match(c))
            raise PolicyError(f"{place}: the character {bad!r} has no meaning in a condition")


class _Translator:
    """Turns sqlglot's tree into ours; knows where it is, so that errors can say so."""

    def __init__(self, place: str, columns: Mapping[str, Column]) -> None:
        self.place = place
        self.columns = columns

    def error(self, why: str) -> PolicyError:
        line = " ".join(why.split())  # texts of a condition may go over lines
        return PolicyError(f"{self.place}: {line if len(line) <= 400 else line[:400] + ' …'}")

    def boolean(self, tree: exp.Expression, depth: int) -> Node:
        node, type_ = self.typed(tree, depth)
        if type_ != "bool":
            raise self.error(f"{to_sql(node)} is {type_ or 'null'}, where true or false is needed")
        return node

    def typed(self, tree: exp.Expression, depth: int) -> tuple[Node, Type | None]:
        """The node and its type (None: a bare null)."""
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        depth += 1
        kind = type(tree)
        if kind is exp.Paren:
            return self.typed(tree.this, depth)
        if kind in (exp.And, exp.Or):
            wanted = And if kind is exp.And else Or
            parts: list[Node] = []
            for side in _flat(tree, kind):
                part = self.boolean(side, depth)
                parts.extend(part.parts if isinstance(part, wanted) else (part,))
            return wanted(tuple(parts)), "bool"
        if kind is exp.Not:
            return Not(self.boolean(tree.this, depth)), "bool"
        if kind in _COMPARISONS:
            return self.comparison(_COMPARISONS[kind], tree.this, tree.expression, depth), "bool"
        if kind is exp.Between and not tree.args.get("symmetric"):
            low = self.comparison(">=", tree.this, tree.args["low"], depth)
            return And((low, self.comparison("<=", tree.this, tree.args["high"], depth))), "bool"
        if kind is exp.In:
            return self.membership(tree, depth), "bool"
        if kind is exp.Is:
            return self.is_something(tree, depth), "bool"
        if kind is exp.Column:
            return self.column(tree)
        if kind in _FUNCTIONS:
            return self.function(_FUNCTIONS[kind], tree, depth)
        if kind is exp.Anonymous:
            return self.evidence(tree)
        return self.literal(tree)

    def comparison(
        self, operator: Operator, left: exp.Expression, right: exp.Expression, depth: int
    ) -> Node:
        one, one_type = self.typed(left, depth)
        two, two_type = self.typed(right, depth)
        if one_type is None or two_type is None:
            raise self.error("compare with null by 'is null' or 'is not null'")
        if one_type != two_type:
            hint = "; write date '2023-09-15'" if "time" in (one_type, two_type) else ""
            raise self.error(f"{to_sql(one)} is {one_type}, {to_sql(two)} is {two_type}{hint}")
        if operator in ORDERINGS and one_type not in ("number", "time"):
            raise self.error(f"{operator} compares numbers and times, not {one_type}")
        return Compare(operator, self.known_value(two, one), self.known_value(one, two))

    def membership(self, tree: exp.Expression, depth: int) -> Node:
        if any(tree.args.get(key) for key in ("query", "unnest", "field", "is_global")):
            raise self.error("in (…) takes a list of values, no subquery")
        part, type_ = self.typed(tree.this, depth)
        values: list[Node] = []
        for value in tree.expressions:
            node, value_type = self.typed(value, depth)
            if not isinstance(node, Value) or value_type != type_:
                raise self.error(f"in (…) takes a list of {type_} values")
            values.append(self.known_value(part, node))
        if not values:
            raise self.error("in (…) takes a list of values")
        return In(part, tuple(values))

    def is_something(self, tree: exp.Expression, depth: int) -> Node:
        part, type_ = self.typed(tree.this, depth)
        if type(tree.expression) is exp.Null:
            return Is(part, None)
        if type(tree.expression) is exp.Boolean and type_ == "bool":
            return Is(part, bool(tree.expression.this))
        raise self.error("'is' goes with null, true or false")

    def column(self, tree: exp.Expression) -> tuple[Node, Type]:
        if any(tree.args.get(key) for key in ("table", "db", "catalog", "join_mark")):
            raise self.error(f"{tree.name!r}: a column has no table")
        if type(tree.this) is not exp.Identifier or tree.this.args.get("quoted"):
            raise self.error("a column is a plain name")
        name = tree.name.lower()
        column = self.columns.get(name)
        if column is None:
            near = difflib.get_close_matches(name, self.columns, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise self.error(f"there is no column '{name}' here{hint}")
        return Name(name), column.type

    def function(self, name: str, tree: exp.Expression, depth: int) -> tuple[Node, Type | None]:
        given = [tree.this, *([tree.expression] if tree.args.get("expression") else [])]
        given += tree.expressions
        known = {"this", "expression", "expressions"}
        if any(v is None for v in given) or any(
            v for key, v in tree.args.items() if key not in known and isinstance(v, exp.Expression)
        ):
            raise self.error(f"{name}(…): too few or too many arguments")
        parts = [self.typed(argument, depth) for argument in given]
        types = [type_ for _, type_ in parts]
        node = Call(name, tuple(part for part, _ in parts))
        if name == "coalesce":
            known_types = {type_ for type_ in types if type_ is not None}
            if len(parts) < 2 or len(known_types) != 1:
                raise self.error("coalesce(…) takes two or more values of one type")
            first = parts[0][0]
            others = (self.known_value(first, part) for part, _ in parts[1:])
            return Call(name, (first, *others)), known_types.pop()
        wanted: Mapping[str, tuple[tuple[Type, ...], Type]] = {
            "lower": (("text",), "text"),
            "upper": (("text",), "text"),
            "length": (("text",), "number"),
            "date": (("time",), "time"),
            "starts_with": (("text", "text"), "bool"),
            "contains": (("text", "text"), "bool"),
        }
        takes, gives = wanted[name]
        if tuple(types) != takes:
            raise self.error(f"{name}(…) takes {' and '.join(takes)}")
        return node, gives

    def evidence(self, tree: exp.Expression) -> tuple[Node, Type]:
        name = str(tree.this).lower()
        if name != "has_evidence":
            allowed = ", ".join(ALLOWED_FUNCTIONS)
            raise self.error(f"the function '{name[:40]}' is not one of {allowed}")
        arguments = tree.expressions
        if len(arguments) != 1 or not (
            type(arguments[0]) is exp.Literal
            and arguments[0].is_string
            and _EVIDENCE_KIND.match(arguments[0].this)
        ):
            raise self.error("has_evidence takes one kind in capitals: has_evidence('DPIA')")
        return Evidence(arguments[0].this), "bool"

    def literal(self, tree: exp.Expression) -> tuple[Node, Type | None]:
        kind = type(tree)
        if kind is exp.Null:
            return Value(None), None
        if kind is exp.Boolean:
            return Value(bool(tree.this)), "bool"
        if kind is exp.Literal and tree.is_string:
            return Value(str(tree.this)), "text"
        if kind is exp.Literal:
            return Value(self.number(str(tree.this))), "number"
        if kind is exp.Neg and type(tree.this) is exp.Literal and not tree.this.is_string:
            return Value(-self.number(str(tree.this.this))), "number"
        if kind is exp.Cast and type(tree.this) is exp.Literal and tree.this.is_string:
            to = tree.args.get("to")
            if isinstance(to, exp.DataType) and to.this == exp.DataType.Type.DATE:
                try:
                    return Value(datetime.date.fromisoformat(str(tree.this.this))), "time"
                except ValueError:
                    raise self.error("a date is written date '2023-09-15'") from None
        if kind is exp.Cast:
            raise self.error("the only cast is a day: date '2023-09-15'")
        if isinstance(tree, exp.Func):
            allowed = ", ".join(ALLOWED_FUNCTIONS)
            raise self.error(f"the function '{tree.sql_name().lower()}' is not one of {allowed}")
        if isinstance(tree, exp.Query):
            raise self.error("subqueries are not accepted")
        raise self.error(f"'{kind.__name__.lower()}' is not part of the language of conditions")

    def number(self, text: str) -> int | float:
        if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text):
            raise self.error("numbers are plain, such as 50000 or 0.5")
        return float(text) if "." in text else int(text)

    def known_value(self, side: Node, other: Node) -> Node:
        """`other`, in the one spelling of the values of the column that `side` is.

        A misspelt value of a closed vocabulary would silently never match.
        """
        while isinstance(side, Call) and side.name == "coalesce":
            side = side.arguments[0]
        if not (
            isinstance(side, Name) and isinstance(other, Value) and isinstance(other.value, str)
        ):
            return other
        column, text = self.columns[side.name], other.value
        meant = text if column.read is None else column.read(text)
        if meant is not None and (column.values is None or meant in column.values):
            return Value(meant)
        hint = ": a country is written KR"
        if column.values is not None:
            near = difflib.get_close_matches(text, column.values, 1)
            hint = (
                f"; did you mean '{near[0]}'?" if near else f" ({', '.join(sorted(column.values))})"
            )
        raise self.error(f"{side.name} is never '{text[:60]}'{hint}")


def _flat(tree: exp.Expression, kind: type[exp.Expression]) -> Iterator[exp.Expression]:
    """The operands of a chain of one connector, left to right, without recursion on its length."""
    operands: list[exp.Expression] = []
    while type(tree) is kind:
        operands.append(tree.expression)
        tree = tree.this
    operands.append(tree)
    yield from reversed(operands)

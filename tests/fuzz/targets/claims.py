"""What people write for the program: configurations, rules, manifests, names."""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from scanner import config
from scanner.context import cells
from scanner.context.manifest_rows import read_manifest
from scanner.context.sources import formats, open_source
from scanner.countries import country
from scanner.errors import ConfigError, PolicyError, ScannerError
from scanner.model import DatasetSpec, Location, ManifestSpec, item_id, printable
from scanner.moments import latest_birth, parse_date, parse_moment
from scanner.policy import expressions
from scanner.policy.columns import BUILT_IN_MEASURES, columns_for
from scanner.schemas import MANIFEST_ROWS
from scanner.subjects import SubjectKey
from scanner.yamlsafe import MAX_DEPTH, parse_yaml
from tests.fuzz.oracles import Broken, check, no_bug_behind, no_content, one_line
from tests.fuzz.targets import Target

_PLACE = "rules/X.yaml: X-1: where"
_PLAIN = (str, int, float, bool, datetime.date, type(None))
SECRET = "hunter2-secret"  # of a database URL: a message never repeats it
_PASSWORD = re.compile(rf":[^\n]*{SECRET}@")


# ---------------------------------------------------------------- YAML and consentry.yaml


def _is_plain(value: object, depth: int) -> bool:
    if depth > MAX_DEPTH + 1:
        return False
    if type(value) is dict:
        return all(type(k) is str and k and _is_plain(v, depth + 1) for k, v in value.items())
    if type(value) is list:
        return all(_is_plain(v, depth + 1) for v in value)
    return isinstance(value, _PLAIN)


def fuzz_yaml(data: bytes) -> None:
    """Plain data or one line with the place; settings or one line; no password is repeated."""
    text = data.decode("utf-8", "replace")
    try:
        tree = parse_yaml(text, "consentry.yaml")
    except ScannerError as error:
        message = one_line(error)
        no_bug_behind(error)
        check(re.match(r"consentry\.yaml:\d+: ", message) is not None, "an error without its line")
        tree = None
    else:
        check(_is_plain(tree, 0), "something else than plain data")
        check(repr(parse_yaml(text, "consentry.yaml")) == repr(tree), "other data the second time")
    before = vars(config)["load_yaml"]
    try:
        vars(config)["load_yaml"] = lambda path: parse_yaml(text, str(path))
        file = Path("/nowhere/consentry.yaml")
        settings = [config.load_settings(file, None, file.parent) for _ in range(2)]
        check(settings[0] == settings[1], "other settings the second time")
        check(SECRET not in repr(settings[0].registries), "settings that show a password")
        for dataset in settings[0].datasets:
            check(bool(dataset.id), "a dataset without a name")
            if dataset.subject_from:
                check("subject" in re.compile(dataset.subject_from).groupindex, "no subject group")
    except ScannerError as error:
        message = one_line(error)
        no_bug_behind(error)
        check(message.startswith("/nowhere/consentry.yaml"), "an error that names no file")
        if SECRET not in _PASSWORD.sub("", text):
            check(SECRET not in message, "a password in a message")
    finally:
        vars(config)["load_yaml"] = before


# ---------------------------------------------------------------- rules


@cache
def _database() -> duckdb.DuckDBPyConnection:
    kinds = {"text": "VARCHAR", "bool": "BOOLEAN", "number": "DOUBLE", "time": "TIMESTAMPTZ"}
    known = {**columns_for("exposure"), **BUILT_IN_MEASURES}
    inside = ", ".join(f"{name} {kinds[column.type]}" for name, column in known.items())
    connection = duckdb.connect(config={"enable_external_access": "false"})
    connection.execute(
        f"CREATE TABLE exposures ({inside}, evidence VARCHAR[], party_evidence VARCHAR[])"
    )
    connection.execute("INSERT INTO exposures (kind) VALUES ('biometric.face')")
    return connection


def _names_in(tree: object) -> tuple[set[str], set[str]]:
    """Columns and functions of a statement, as DuckDB itself has parsed it."""
    columns: set[str] = set()
    functions: set[str] = set()
    if isinstance(tree, dict):
        if tree.get("class") == "COLUMN_REF":
            columns.add(".".join(tree["column_names"]))
        if tree.get("class") == "FUNCTION":
            functions.add(tree["function_name"])
        check(tree.get("class") not in ("SUBQUERY", "PARAMETER", "LAMBDA"), "more than a condition")
        values = list(tree.values())
    else:
        values = tree if isinstance(tree, list) else []
    for value in values:
        below = _names_in(value)
        columns |= below[0]
        functions |= below[1]
    return columns, functions


def fuzz_expressions(data: bytes) -> None:
    """A clean PolicyError, or SQL that DuckDB runs and that holds allowed names only; written
    again and parsed again it is the same condition."""
    mode, text = (data[0], data[1:].decode("utf-8", "replace")) if data else (0, "")
    scope = ("exposure", "exposure", "transfer", "dataset")[mode & 3]
    known = dict(columns_for(scope))  # type: ignore[arg-type]
    if scope != "exposure":
        known |= BUILT_IN_MEASURES
    try:
        found = expressions.parse(text, _PLACE, known)
    except PolicyError as error:
        message = one_line(error)
        no_bug_behind(error)
        check(message.startswith(_PLACE + ": "), "an error that names no place")
        return
    check(found.names() <= set(known), "a name that is not allowed")
    sql = expressions.to_sql(found.node)
    connection = _database()
    try:
        rows = connection.execute(f"SELECT ({sql}) FROM exposures").fetchall()
    except duckdb.Error as error:
        if isinstance(error, (duckdb.OutOfRangeException, duckdb.ConversionException)):
            rows = [(None,)]
        else:
            raise Broken(f"SQL that DuckDB does not run: {type(error).__name__}") from error
    check(len(rows) == 1 and rows[0][0] in (True, False, None), "no truth value")
    statement = f"SELECT ({sql}) FROM exposures"
    raw = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchall()[0][0]
    parsed = json.loads(raw)
    check(not parsed["error"] and len(parsed["statements"]) == 1, "more than one statement")
    columns, functions = _names_in(parsed["statements"][0]["node"]["select_list"])
    check(columns <= set(known) | {"evidence", "party_evidence"}, "a column that is not allowed")
    allowed = {*expressions.ALLOWED_FUNCTIONS, "list_contains", "prefix"}
    check(functions <= allowed, "a function that is not allowed")
    for smaller in expressions.without_one_predicate(found.node):
        check(bool(expressions.to_sql(smaller)), "no SQL without one predicate")
    if "has_evidence" not in text.lower() and "CAST(" not in sql:
        try:
            again = expressions.parse(sql, _PLACE, known)
        except PolicyError as error:
            if "deeper" not in str(error) and "longer" not in str(error):
                raise Broken("its own SQL is no condition") from error
        else:
            check(expressions.to_sql(again.node) == sql, "another condition when written again")


# ---------------------------------------------------------------- manifests


def _rows(body: bytes) -> int | None:
    """Rows below the header, by the csv module; None where it would not say."""
    try:
        text = body.decode("utf-8-sig")
        return sum(1 for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row) - 1
    except (UnicodeError, csv.Error):
        return None


def fuzz_manifests(data: bytes) -> None:
    """Rows with the schema, or one line that repeats no cell; no row is lost; twice the same."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    for known in formats():
        known.recognises(body[:65_536])
    where = "mem://bucket/manifest"
    header, _, rest = body.partition(b"\n")
    try:
        with open_source(where, lambda _: io.BytesIO(body)) as source:
            columns = source.columns
            kind = type(source).__name__
        picked = [columns[(mode >> i) % len(columns)] for i in range(3)] if columns else ["x"] * 3
        spec = ManifestSpec(
            where,
            picked[0],
            subject=picked[1] if mode & 1 else None,
            jurisdiction=picked[2] if mode & 2 else None,
            age=picked[1] if mode & 4 else None,
            birth_date=picked[2] if mode & 8 else None,
        )
        tables = [
            read_manifest(
                DatasetSpec("d", manifest=spec),
                SubjectKey(bytes(32)),
                ["mem://bucket/"],
                lambda _: io.BytesIO(body),
            )
            for _ in range(2)
        ]
    except ConfigError as error:
        message = one_line(error)
        no_bug_behind(error)
        check(where in message, "an error that names no file")
        if (
            not body.lstrip(b"\xef\xbb\xbf \r\n").startswith((b"{", b"PAR1"))
            and b"\r" not in header
        ):
            cells_only = rest.decode("utf-8", "replace")
            if header.strip() and '"' not in header.decode("latin-1"):
                for word in re.findall(r"[^\W\d_]{4,}|\d{7,}", cells_only):
                    if word not in header.decode("utf-8", "replace"):
                        no_content(message, word)
        return
    check(tables[0].equals(tables[1]), "another table the second time")
    check(tables[0].schema.equals(MANIFEST_ROWS), "another schema")
    tables[0].validate(full=True)
    if kind == "_Delimited" and b"," in header and not any(d in body for d in b"\0\t;|\r"):
        counted = _rows(body)
        check(counted is None or counted == tables[0].num_rows, "a row of the manifest is lost")
    if kind == "_JsonLines":
        lines = sum(1 for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip())
        check(lines == tables[0].num_rows, "a row of the manifest is lost")


# ---------------------------------------------------------------- cells and moments


def fuzz_moments(data: bytes) -> None:
    """Whole columns and single texts are read alike; what is read lies within the calendar."""
    text = data.decode("utf-8", "replace")
    parse_date(text)
    latest = latest_birth(text)
    check(latest is None or latest.year >= 1800, "a birth before 1800")
    code = country(text)
    check(code is None or re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", code) is not None, "no code")
    if code is not None:
        check(country(code) == code, "a code that is none")
    values = text.split("\n")[:20]
    for upper in (False, True):
        single = [parse_moment(value, upper=upper) for value in values]
        for moment in single:
            check(moment is None or moment.tzinfo is not None, "a moment without a zone")
        try:
            column = cells.moments(pa.array(values, pa.string()), upper=upper).to_pylist()
        except cells.BadCell as bad:
            check(0 <= bad.index < len(values), "a bad cell that is not there")
            blanks = cells.texts(pa.array(values, pa.string())).to_pylist()
            odd = blanks[bad.index]
            check(
                odd is not None and parse_moment(odd, upper=upper) is None, "a good cell called bad"
            )
        else:
            for value, read in zip(values, column, strict=True):
                trimmed = cells.texts(pa.array([value], pa.string()))[0].as_py()
                alone = None if trimmed is None else parse_moment(trimmed, upper=upper)
                check(read == alone, "a column and a cell are read differently")
    array = pa.array(values, pa.string())
    for age in cells.ages(array).to_pylist():
        check(age is None or 0 <= age <= 150, "an age that is none")
    births = cells.birth_dates(array).to_pylist()
    check(len(births) == len(values), "a birth is lost")
    try:
        cells.words(array, country, "a country")
    except cells.BadCell as bad:
        check(0 <= bad.index < len(values), "a bad cell that is not there")
    number = int.from_bytes(data[:8], "little", signed=True)
    for kind in ("s", "ms", "us", "ns"):
        try:
            found = cells.moments(pa.array([number, None], pa.timestamp(kind)), upper=False)
            check(len(found.to_pylist()) == 2, "a moment is lost")
        except cells.BadCell as bad:
            check(0 <= bad.index < 2, "a bad cell that is not there")
        cells.birth_dates(pa.array([number], pa.timestamp(kind))).to_pylist()


# ---------------------------------------------------------------- names of things

_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\\\")


def _unprintable(printed: str) -> str:
    """The inverse of `printable`: there is one, so that no two names print alike."""
    if not re.search(r"\\x[0-9a-f]{2}", printed):
        return printed
    raw = b""
    at = 0
    for match in _ESCAPED.finditer(printed):
        raw += printed[at : match.start()].encode()
        raw += bytes([int(match[1], 16)]) if match[1] else b"\\"
        at = match.end()
    return (raw + printed[at:].encode()).decode("utf-8", "surrogateescape")


def fuzz_printable(data: bytes) -> None:
    """Printing is reversible and gives valid Unicode; two items never share an id."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    name = body.decode("utf-8", "surrogateescape")
    if mode & 1:
        name = name.replace("x", "\\x41").replace("y", "\\")
    printed = printable(name)
    printed.encode("utf-8")
    check(_unprintable(printed) == name, "a name that cannot be had back")
    half = len(name) // 2
    a, b = name[:half], name[half:]
    inner = Location("s3://b/o").child(a).child(b)
    check(str(inner) == f"s3://b/o!/{printable(a)}!/{printable(b)}", "another place")
    one, two = item_id("k", inner), item_id("k", Location("x").child(a).child(b))
    check(one == two and len(one) == 32, "an id that depends on the store")
    check(item_id("k", Location("x").child(a + b)) != one or not b or "\0" in name, "an id twice")
    check(printable(printed) != printed or _unprintable(printed) == printed, "printed twice")


TARGETS = (
    Target(
        "yaml",
        fuzz_yaml,
        (
            b": ", b"- ", b"\n  ", b"&a ", b"*a", b"!!python/object:", b"<<: ", b"? ", b"---\n",
            b"...", b"|", b">-", b"{", b"}", b"[", b"]", b"'", b'"', b"2022-12-31", b"0x1F",
            b".inf",
            b"1e999", b"\xef\xbb\xbf", b"\x85", b"\xe2\x80\xa8", b"targets", b"datasets", b"limits",
            b"registries", b"columns", b"manifest", b"subject_from", b"(?P<subject>.)", b"url",
        ),
        2_048,
    ),
    Target(
        "expressions",
        fuzz_expressions,
        (
            b" and ", b" or ", b"not ", b" is null", b" is distinct from ", b" in (", b"'", b"''",
            b"kind = 'biometric.face'", b"consent_status <> 'given'", b"jurisdiction",
            b"date '2023-09-15'",
            b"has_evidence('DPIA')", b"coalesce(", b"starts_with(", b"contains(", b"lower(",
            b"length(",
            b"date(", b"between 1 and 2", b"select ", b"::", b"case when ", b"read_csv",
            b"records >= 5",
            b"event_time", b"true", b"null", b"--", b"/*", b";", b"$1", b"extract(", b"interval ",
            b"x'",
            b"e'", b"exists", b"within_original_purpose", b"cast(", b" as ", b" collate ",
            b" over ()",
            b" filter (", b"subject_age", b"!", b" glob ", b" like ", b" symmetric ", b"struct",
            b"row(",
        ),
        512,
    ),
    Target(
        "manifests",
        fuzz_manifests,
        (
            b"file,age\n", b'"', b'""', b",", b";", b"\t", b"\r\n", b'{"file":"a","age":3}\n',
            b"null",
            b"NaN", b"PAR1", b"\xff\xfe", b"\xef\xbb\xbf", b"birth_date", b"1990-01-31", b"KR",
            b"\\x41",
        ),
        2_048,
    ),
    Target(
        "moments",
        fuzz_moments,
        (
            b"\n", b"2022-12-31", b"T18:00:00", b"+09:00", b"Z", b"24:00", b":60", b".123456",
            b"infinity",
            b"9999-12-31", b"0001-01-01", b"2022. 1. 2.", b" UTC", b"US-IL", b"Korea",
            b"\xe3\x80\x80",
        ),
        256,
    ),
    Target(
        "printable",
        fuzz_printable,
        (b"\\", b"\\x", b"\\x41", b"\xff", b"\xed\xa0\x80", b"!/", b"\0"),
        128,
    ),
)  # fmt: skip

"""Runs a pack's own test cases: small facts in YAML, judged by the very same `judge` as real data.

A case file `cases/<RULE-ID>.yaml`:

    rule: <RULE-ID>
    facts: {…}                 # what every case of the file starts from
    cases:
      - name: consent expired the day before
        consent: {valid_until: 2024-05-31}      # changes to the facts
        expect: {violation: 1}                  # verdict: records; not_applicable for no finding

Facts (all optional): `as_of` (2024-06-01), `child_age` (14), `declared_use` {purpose, recipient,
to}, `dataset` {the columns of the table datasets}, `parties` {id: {type, country}}, `evidence`
[{kind, about}], `manifest` [{key, subject, age, birth_date, jurisdiction}], `items` and `objects`
(keys looked at beside the detections), and three kinds of rows, each with a singular key for the
values that all share and a plural one for a list: `detection(s)`, `transfer(s)`, `consent(s)`. A
case's mappings are laid over the file's, its lists replace them; an empty list takes them away,
`manifest: null` the manifest.

The dataset is called `ds`; the first detection is `i1` of the person `s1`. A detection may `repeat:
N` times, each with its own item and, every `per_subject` (1), its own person. A day as
`valid_until` or `retention_until` is the last day, as in the registries; a date with a time is the
first moment past it.
"""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scanner import schemas
from scanner.errors import PolicyError, ScannerError
from scanner.model import Context, DeclaredUse
from scanner.policy.judging import judge
from scanner.policy.packs import Pack, Rule
from scanner.yamlsafe import load_yaml

Facts = Mapping[str, object]
_VERDICTS = ("violation", "review", "compliant")
_ROWS = ("detection", "transfer", "consent")
_MAPPINGS = ("dataset", "declared_use", "parties", *_ROWS)
_LISTS = ("evidence", "manifest", "items", "objects", *(f"{row}s" for row in _ROWS))
_FACT_KEYS = frozenset({"as_of", "child_age", *_MAPPINGS, *_LISTS})
_LARGE = 5_000  # detections of a case that is judged alone, so that other rules need not look at it
_COLUMNS: Mapping[str, frozenset[str]] = {
    "dataset": frozenset(schemas.DATASETS.names) - {"dataset_id", "has_manifest"},
    "declared_use": frozenset({"purpose", "recipient", "to"}),
    "detection": frozenset(
        {"item", "kind", "representation", "basis", "count", "confidence", "certainty", "subject"}
        | {"repeat", "per_subject", "object"}
    ),
    "transfer": frozenset(schemas.TRANSFERS.names) - {"dataset_id"},
    "consent": (frozenset(schemas.CONSENTS.names) - {"subject_digest"}) | {"subject"},
    "evidence": frozenset(schemas.EVIDENCE.names),
    "manifest": frozenset({"key", "candidates", "subject", "age", "birth_date", "jurisdiction"}),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is so, and which verdicts with how many records the rule must give."""

    rule_id: str
    name: str
    facts: Facts
    expect: Mapping[str, int]  # empty: not applicable
    path: Path


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one case went; `detail` says what was expected and what came, in one line."""

    pack: str
    rule_id: str
    case: str
    passed: bool
    detail: str


def validate(packs: Sequence[Pack]) -> list[CaseResult]:
    """Check that every rule has the cases that it needs, that every case file is whole, and that no
    rule is an error by a citation that nobody has verified.

    The rules themselves were checked when the packs were loaded. Raises `PolicyError` for a case
    file that cannot be read.
    """
    results: list[CaseResult] = []
    for pack in packs:
        results += _enough_cases(pack, read_cases(pack))
        for rule in pack.rules:
            if rule.law.citation == "unverified" and rule.level == "error":
                detail = (
                    "level: a rule whose citation is unverified may warn, but not be an error; "
                    "read the law, then write citation: verified"
                )
                results.append(CaseResult(pack.name, rule.id, "(citation)", False, detail))
    return results


def test_packs(packs: Sequence[Pack]) -> list[CaseResult]:
    """Run every case of every pack; a rule without the cases that it needs fails too."""
    results: list[CaseResult] = []
    for pack in packs:
        cases = read_cases(pack)
        results += _enough_cases(pack, cases)
        seen = observe(cases, {rule.id: [rule] for rule in pack.rules})
        for index, case in enumerate(cases):
            got = seen[case.rule_id, index]
            results.append(
                CaseResult(
                    pack=pack.name,
                    rule_id=case.rule_id,
                    case=case.name,
                    passed=got == case.expect,
                    detail=f"expected {_said(case.expect)}, got {_said(got)}",
                )
            )
    return results


test_packs.__test__ = False  # type: ignore[attr-defined]  # a function of ours, not a test of pytest's


def expected(case: Case) -> str:
    """What a case expects, in words: "violation 1, review 2" or "not applicable"."""
    return _said(case.expect)


def _said(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{v} {n}" for v, n in sorted(verdicts.items())) or "not applicable"


def _enough_cases(pack: Pack, cases: Sequence[Case]) -> list[CaseResult]:
    results: list[CaseResult] = []
    for rule in pack.rules:
        shown = {verdict for case in cases if case.rule_id == rule.id for verdict in case.expect}
        needed = {"compliant"}
        if rule.where is not None or rule.having is not None:
            needed.add("violation")
        if rule.review_when is not None:
            needed.add("review")
        missing = sorted(needed - shown)
        detail = "has the cases it needs"
        if missing:
            detail = f"no case of cases/{rule.id}.yaml expects {' or '.join(missing)}"
        results.append(CaseResult(pack.name, rule.id, "(enough cases)", not missing, detail))
    return results


# ---------------------------------------------------------------- reading


def read_cases(pack: Pack) -> list[Case]:
    """All cases of a pack, in the order of their files. Raises `PolicyError`."""
    rule_ids = {rule.id for rule in pack.rules}
    return [case for path in pack.cases for case in _read_file(path, rule_ids)]


def cases_of(rule: Rule) -> list[Case]:
    """The cases of one rule, none where it has no file of them. Raises `PolicyError`."""
    path = rule.path.parent / "cases" / f"{rule.id}.yaml"
    return list(_read_file(path, {rule.id})) if path.is_file() else []


def _read_file(path: Path, rule_ids: set[str]) -> Iterator[Case]:
    try:
        data = load_yaml(path)
    except ScannerError as error:
        raise PolicyError(str(error)) from None
    if not isinstance(data, dict) or set(data) - {"rule", "facts", "cases"}:
        raise PolicyError(f"{path}: must have the keys rule, facts, cases and no others")
    rule_id = data.get("rule")
    if rule_id != path.stem or rule_id not in rule_ids:
        raise PolicyError(f"{path}: rule: must be the file's name and a rule of this pack")
    base = _facts(data.get("facts", {}), f"{path}: facts")
    cases = data.get("cases")
    if not isinstance(cases, list) or not cases:
        raise PolicyError(f"{path}: cases: must be a list of cases")
    names: set[str] = set()
    for number, body in enumerate(cases, 1):
        place = f"{path}: case {number}"
        if not isinstance(body, dict) or not isinstance(body.get("name"), str):
            raise PolicyError(f"{place}: must have a name")
        name = cast("str", body["name"])
        if name in names:
            raise PolicyError(f"{place}: the name '{name}' is there twice")
        names.add(name)
        own = {key: value for key, value in body.items() if key not in ("name", "expect")}
        facts = _laid_over(base, _facts(own, f"{place} ({name})"))
        yield Case(rule_id, name, facts, _expect(body.get("expect"), f"{place} ({name})"), path)


def _expect(data: object, place: str) -> Mapping[str, int]:
    if data == "not_applicable":
        return {}
    if (
        isinstance(data, dict)
        and data
        and all(verdict in _VERDICTS and type(n) is int and n >= 0 for verdict, n in data.items())
    ):
        return cast("Mapping[str, int]", data)
    raise PolicyError(
        f"{place}: expect: must be not_applicable or a mapping of {', '.join(_VERDICTS)} to records"
    )


def _facts(data: object, place: str) -> Facts:
    if not isinstance(data, dict):
        raise PolicyError(f"{place}: must be a mapping")
    for key, value in data.items():
        if key not in _FACT_KEYS:
            raise PolicyError(f"{place}: unknown key '{key}'")
        if key == "manifest" and value is None:
            continue  # takes the file's manifest away
        if key in _MAPPINGS:
            _check_columns(key, value, f"{place}: {key}")
        elif key in _LISTS:
            if not isinstance(value, list):
                raise PolicyError(f"{place}: {key}: must be a list")
            for row in value:
                if key not in ("items", "objects"):
                    _check_columns(key.removesuffix("s"), row, f"{place}: {key}")
    return cast("Facts", data)


def _check_columns(name: str, row: object, place: str) -> None:
    if not isinstance(row, dict):
        raise PolicyError(f"{place}: must be a mapping")
    if name == "parties":
        for party, body in row.items():
            if not isinstance(body, dict) or set(body) - {"type", "country"}:
                raise PolicyError(f"{place}: {party}: must be a mapping of type and country")
        return
    for column in row:
        if column not in _COLUMNS[name]:
            raise PolicyError(f"{place}: unknown column '{column}'")


def _laid_over(base: Facts, own: Facts) -> Facts:
    laid = dict(base)
    for key, value in own.items():
        if key in _MAPPINGS:
            laid[key] = {**cast("Facts", base.get(key, {})), **cast("Facts", value)}
        else:
            laid[key] = value
    return laid


# ---------------------------------------------------------------- judging


def observe(
    cases: Sequence[Case], rules: Mapping[str, Sequence[Rule]]
) -> dict[tuple[str, int], dict[str, int]]:
    """What every variant of a rule says of every case of that rule: (rule id, case) → verdicts.

    `rules` maps the rule id that cases name to the rules to run on them (their own ids are the keys
    of the answer); cases are numbered as in `cases`.
    """
    seen: dict[tuple[str, int], dict[str, int]] = {}
    for group in _groups(cases):
        wanted = sorted({cases[index].rule_id for index in group})
        variants = [rule for rule_id in wanted for rule in rules[rule_id]]
        counts = _judge(cases, group, variants)
        for index in group:
            for rule in rules[cases[index].rule_id]:
                seen[rule.id, index] = counts.get((rule.id, index), {})
    return seen


def _groups(cases: Sequence[Case]) -> list[list[int]]:
    """Cases that one run can hold: same moment, child age and declared use; large ones by rule."""
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        facts = case.facts
        declared = cast("Facts", facts.get("declared_use", {}))
        rows = _rows(facts, "detection", [{}])
        size = sum(cast("int", row.get("repeat", 1)) for row in rows)
        key: list[object] = [str(facts.get("as_of")), facts.get("child_age")]
        if (
            declared
        ):  # the recipient is one name for the whole run, so what is said of it must agree
            key += [declared, facts.get("parties"), facts.get("evidence")]
        if size > _LARGE:
            key.append(case.rule_id)
        groups.setdefault(json.dumps(key, sort_keys=True, default=str), []).append(index)
    return list(groups.values())


def _judge(
    cases: Sequence[Case], group: Sequence[int], rules: Sequence[Rule]
) -> dict[tuple[str, int], dict[str, int]]:
    first = cases[group[0]].facts
    tables = _Tables()
    for index in group:
        tables.add(index, cases[index].facts)
    declared = cast("Mapping[str, str | None]", first.get("declared_use", {}))
    context = Context(
        datasets=tables.table("datasets", schemas.DATASETS),
        manifest_rows=tables.table("manifest", schemas.MANIFEST_ROWS),
        consents=tables.table("consents", schemas.CONSENTS),
        transfers=tables.table("transfers", schemas.TRANSFERS),
        parties=tables.table("parties", schemas.PARTIES),
        evidence=tables.table("evidence", schemas.EVIDENCE),
        declared_use=DeclaredUse(**declared),
        child_age=cast("int", first.get("child_age", 14)),
    )
    pack = Pack("cases", "cases", "1", "cases", tuple(rules), (), Path())
    as_of = _moment("as_of", first.get("as_of", datetime.date(2024, 6, 1)))
    with tempfile.TemporaryDirectory(prefix="consentry-cases-") as folder:
        work = Path(folder)
        pq.write_table(tables.detections(), work / "detections.parquet")
        pq.write_table(tables.table("items", schemas.ITEMS), work / "items.parquet")
        pq.write_table(tables.table("coverage", schemas.COVERAGE), work / "coverage.parquet")
        judgement = judge(
            detections=work / "detections.parquet",
            items=work / "items.parquet",
            coverage=work / "coverage.parquet",
            context=context,
            packs=[replace(pack)],
            as_of=as_of,
            workdir=work / "work",
            previous={},
        )
    counts: dict[tuple[str, int], dict[str, int]] = {}
    for row in judgement.findings.select(
        ["rule_id", "dataset_id", "verdict", "records"]
    ).to_pylist():
        index = int(row["dataset_id"].split(":")[0])
        verdicts = counts.setdefault((row["rule_id"], index), {})
        verdicts[row["verdict"]] = verdicts.get(row["verdict"], 0) + row["records"]
    return counts


def _moment(column: str, value: object) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    if isinstance(value, datetime.date):
        start = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
        return start + datetime.timedelta(days=1) if column.endswith("_until") else start
    raise PolicyError(f"a case's {column} must be a day or a moment")


def _rows(facts: Facts, name: str, default: list[Facts]) -> list[Facts]:
    """The rows called `name`s: each over the shared values of `name`."""
    shared = cast("Facts", facts.get(name, {}))
    if f"{name}s" in facts:
        own = cast("list[Facts]", facts[f"{name}s"])
    else:
        own = [{}] if name in facts else default
    return [{**shared, **row} for row in own]


class _Tables:
    """Collects the facts of several cases, each under names of its own, as the tables of a run."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, object]]] = {}
        self.pieces: list[pa.Table] = []

    def table(self, name: str, schema: pa.Schema) -> pa.Table:
        try:
            return pa.Table.from_pylist(self.rows.get(name, []), schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            kind = type(error).__name__
            raise PolicyError(
                f"a case has a value of a wrong type among its {name} ({kind})"
            ) from None

    def detections(self) -> pa.Table:
        return pa.concat_tables([schemas.DETECTIONS.empty_table(), *self.pieces])

    def put(self, name: str, row: Mapping[str, object], schema: pa.Schema) -> None:
        times = {f.name for f in schema if f.type == schemas.TIMESTAMP}
        self.rows.setdefault(name, []).append(
            {
                key: _moment(key, value) if key in times and value is not None else value
                for key, value in row.items()
            }
        )

    def add(self, index: int, facts: Facts) -> None:
        mark = f"{index}:"
        dataset = f"{mark}ds"
        # with a declared use the recipient's name is shared by the run, so parties keep their names
        party_mark = "" if facts.get("declared_use") else mark

        def party(name: object) -> object:
            return f"{party_mark}{name}" if isinstance(name, str) and name != "*" else name

        own = cast("dict[str, object]", facts.get("dataset", {}))
        row: dict[str, object] = {"subject_key_quality": "exact", **own}
        row |= {"dataset_id": dataset, "controller": party(row.get("controller"))}
        manifest = cast("list[Facts] | None", facts.get("manifest"))
        row["has_manifest"] = manifest is not None
        self.put("datasets", row, schemas.DATASETS)
        for name, body in cast("Mapping[str, Facts]", facts.get("parties", {})).items():
            known = [p["party_id"] for p in self.rows.get("parties", [])]
            if party(name) not in known:
                self.put(
                    "parties", {"party_id": party(name), "name": name, **body}, schemas.PARTIES
                )
        transfer_ids = set()
        for number, given in enumerate(_rows(facts, "transfer", []), 1):
            transfer = {"transfer_id": f"t{number}", **given}
            transfer_ids.add(transfer["transfer_id"])
            transfer["transfer_id"] = f"{mark}{transfer['transfer_id']}"
            for column in ("exporter_id", "importer_id"):
                transfer[column] = party(transfer.get(column))
            self.put("transfers", {**transfer, "dataset_id": dataset}, schemas.TRANSFERS)
        for given in _rows(facts, "consent", []):
            consent = {"subject": "s1", "state": "given", **given}
            consent["subject_digest"] = f"{mark}{consent.pop('subject')}"
            consent["recipient"] = party(consent.get("recipient"))
            self.put("consents", consent, schemas.CONSENTS)
        for number, given in enumerate(cast("list[Facts]", facts.get("evidence", [])), 1):
            proof = {"evidence_id": f"{mark}{number}", **given}
            about = proof.get("about", "ds")
            marked = about == "ds" or about in transfer_ids
            proof["about"] = f"{mark}{about}" if marked else party(about)
            self.put("evidence", proof, schemas.EVIDENCE)
        self._manifest(dataset, mark, manifest or [])
        keys = [str(key) for key in cast("list[object]", facts.get("items", []))]
        for number, given in enumerate(_rows(facts, "detection", [{}]), 1):
            keys += self._detection(dataset, mark, number, given)
        for key in keys:
            self.put("items", {"dataset_id": dataset, "item_key": key}, schemas.ITEMS)
        for lost in cast("list[object]", facts.get("objects", [])):
            where = f"mem://{mark}/{lost}"
            gap = {"location": where, "dataset_id": dataset, "state": "error", "is_object": True}
            self.put("coverage", gap, schemas.COVERAGE)

    def _manifest(self, dataset: str, mark: str, rows: list[Facts]) -> None:
        for number, given in enumerate(rows):
            row = dict(given)
            key = row.pop("key", None)
            subject = row.pop("subject", None)
            row.setdefault("candidates", [key])
            row |= {"dataset_id": dataset, "row": number, "manifest": f"mem://{mark}/manifest.csv"}
            row["subject_digest"] = f"{mark}{subject}" if subject is not None else None
            self.put("manifest", row, schemas.MANIFEST_ROWS)

    def _detection(self, dataset: str, mark: str, number: int, given: Facts) -> list[str]:
        """Adds one detection, or `repeat` of them; returns the item keys to list (of single
        ones)."""
        row: dict[str, object] = {
            "item": f"i{number}",
            "kind": "biometric.face",
            "representation": "source_image",
            "basis": "content",
            "count": 1,
            "confidence": 0.9,
            "certainty": "certain",
            "subject": "s1",
            **given,
        }
        repeat = cast("int", row.pop("repeat", 1))
        per_subject = cast("int", row.pop("per_subject", 1))
        item, subject = str(row.pop("item")), row.pop("subject")
        object_key = str(row.pop("object", item.split("!/")[0]))
        numbers = pa.array(range(repeat), pa.int64())
        if repeat == 1:
            items = pa.array([item])
            people = pa.array([None if subject is None else f"{mark}{subject}"], pa.string())
            objects = pa.array([object_key])
        else:
            items = objects = pc.binary_join_element_wise(item, numbers.cast(pa.string()), "-")
            person = pc.divide(numbers, per_subject).cast(pa.string())
            people = (
                pa.nulls(repeat, pa.string())
                if subject is None
                else pc.binary_join_element_wise(f"{mark}{subject}", person, "-")
            )
        values: dict[str, object] = {
            **row,
            "dataset_id": dataset,
            "detector": "case",
            "detector_version": "1",
        }
        columns = {
            "location": pc.binary_join_element_wise(f"mem://{mark}", items, "/"),
            "item_id": pc.binary_join_element_wise(mark, items, ""),
            "item_key": items,
            "object_key": objects,
            "subject_digest": people,
        }
        try:
            for field in schemas.DETECTIONS:
                if field.name not in columns:
                    value = pa.scalar(values.get(field.name), field.type)
                    columns[field.name] = pa.repeat(value, repeat)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            kind = type(error).__name__
            raise PolicyError(
                f"a case has a value of a wrong type in a detection ({kind})"
            ) from None
        self.pieces.append(pa.table(columns).select(schemas.DETECTIONS.names))
        return [item] if repeat == 1 else []

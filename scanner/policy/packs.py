"""Loads rule packs: folders of YAML rules with their law, their conditions and their cases.

A rule is never taken half: an unknown key, a missing law, a misspelt column or value each end the
run with one line that names file, rule and key. What a rule may leave out is named by what it then
is: a citation `unverified`, a version `unversioned`, a duty or a remedy empty. Cases are not needed
to judge by a pack; `validate` and `test_packs` demand them.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from scanner.countries import country
from scanner.errors import PolicyError, ScannerError
from scanner.model import Level, RuleText
from scanner.policy.columns import BUILT_IN_MEASURES, SCOPES, Column, Scope, columns_for
from scanner.policy.expressions import And, Compare, Expression, Name, Node, Or, Value, parse, walk
from scanner.vocabulary import spelled
from scanner.yamlsafe import load_yaml

Citation = Literal["verified", "secondary", "unverified", "own_policy"]
"""How sure the citation is: `verified` = read in the text of the law, `secondary` = read about it,
`unverified` = from memory, `own_policy` = no law at all but a policy of the organisation."""

OWN_POLICY = "organisation policy"  # the instrument of rules that are no law
UNVERSIONED = "unversioned"

Mode = Literal["record", "aggregate", "attestation"]
"""Who can tell: `record` = each record by itself, `aggregate` = a dataset or transfer as a whole,
`attestation` = only a person, whose word (evidence) settles it; no violation is ever found."""

HowMeasured = Literal["count_distinct", "count", "sum"]
_RULE_ID = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)+\Z")
_PACK_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_MEASURE_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}\Z")
_RULE_KEYS = frozenset(
    {
        "id",
        "version",
        "title",
        "law",
        "level",
        "scope",
        "applies_when",
        "review_when",
        "where",
        "measures",
        "having",
        "remedy",
    }
)
_LAW_KEYS = frozenset(
    {"instrument", "cites", "citation", "in_force_from", "in_force_until", "link", "duty"}
)


@dataclass(frozen=True, slots=True)
class Law:
    """What a rule stands on."""

    instrument: str
    cites: tuple[str, ...]
    citation: Citation
    duty: str  # the law in plain words; may be empty
    in_force_from: datetime.date | None = None
    in_force_until: datetime.date | None = None  # the last day in force
    link: str = ""

    @property
    def cite(self) -> str:
        return f"{self.instrument} {', '.join(self.cites)}".strip()


@dataclass(frozen=True, slots=True)
class Measure:
    """A number over the records of a dataset or of one transfer, exact."""

    name: str
    how: HowMeasured  # count_distinct subject_key, count *, sum count
    where: Expression | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One checked rule of a pack; conditions are None where the file has none."""

    id: str
    version: str
    pack: str
    title: str
    law: Law
    level: Level
    scope: Scope
    remedy: str
    applies_when: Expression | None
    review_when: Expression | None
    where: Expression | None
    measures: tuple[Measure, ...]
    having: Expression | None
    path: Path

    @property
    def mode(self) -> Mode:
        """Follows from what the rule asks: without where and having, all it can do is ask."""
        if self.where is None and self.having is None:
            return "attestation"
        return "record" if self.scope == "exposure" else "aggregate"

    def expressions(self) -> Mapping[str, Expression]:
        """Every condition of the rule under its key; those of measures as
        "measures.<name>.where"."""
        found = {
            "applies_when": self.applies_when,
            "review_when": self.review_when,
            "where": self.where,
            "having": self.having,
            **{f"measures.{m.name}.where": m.where for m in self.measures},
        }
        return {key: expression for key, expression in found.items() if expression is not None}

    def names(self) -> frozenset[str]:
        """Every column and measure that any condition of the rule reads."""
        return frozenset().union(*(e.names() for e in self.expressions().values()))

    def kinds_of_evidence(self) -> frozenset[str]:
        """Every kind of evidence that any condition of the rule asks for."""
        return frozenset().union(*(e.evidence_kinds() for e in self.expressions().values()))

    def text(self) -> RuleText:
        return RuleText(
            id=self.id,
            version=self.version,
            pack=self.pack,
            title=self.title,
            level=self.level,
            law_cite=self.law.cite,
            citation=self.law.citation,
            duty=self.law.duty,
            remedy=self.remedy,
            link=self.law.link,
        )


@dataclass(frozen=True, slots=True)
class Pack:
    """A folder of rules for one regime; `cases` are its case files, read only when they are run."""

    name: str
    title: str
    version: str
    description: str
    rules: tuple[Rule, ...]
    cases: tuple[Path, ...]
    folder: Path
    # countries (KR) and regions (US-IL) whose law it is, "*" for every place; `--policies auto`
    regions: tuple[str, ...] = ()


def builtin_packs_folder() -> Path:
    """Where the packs lie that come with the program."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_packs"
    return installed if installed.is_dir() else package.parent / "policies"


def builtin_pack_names() -> tuple[str, ...]:
    folder = builtin_packs_folder()
    return tuple(sorted(path.parent.name for path in folder.glob("*/pack.yaml")))


def builtin_regions() -> dict[str, tuple[str, ...]]:
    """The regions of every built-in pack, by its name; the rules themselves are not read."""
    folder = builtin_packs_folder()
    return {name: _header(folder / name).regions for name in builtin_pack_names()}


def load_packs(names: Sequence[str], base: Path) -> tuple[Pack, ...]:
    """The packs called `names`: a built-in name, or a folder (with a slash) relative to `base`.

    Raises `PolicyError` for an empty selection, an unknown name, and whatever is wrong in a pack.
    """
    if not names:
        have = ", ".join(builtin_pack_names())
        raise PolicyError(f"no rule pack is selected, so nothing can be judged; choose from {have}")
    packs: dict[Path, Pack] = {}
    for name in names:
        folder = _folder(name, base)
        if folder not in packs:
            packs[folder] = _load_pack(folder)
    seen: dict[str, Rule] = {}
    pack_names: dict[str, Path] = {}
    for pack in packs.values():
        if pack.name in pack_names:
            raise PolicyError(
                f"{pack.folder / 'pack.yaml'}: name: '{pack.name}' is also the pack in "
                f"{pack_names[pack.name]}; rename one"
            )
        pack_names[pack.name] = pack.folder
        for rule in pack.rules:
            if rule.id in seen:
                raise PolicyError(f"{rule.path}: id: {rule.id} is also in {seen[rule.id].path}")
            seen[rule.id] = rule
    return tuple(packs.values())


def _folder(name: str, base: Path) -> Path:
    builtin = builtin_pack_names()
    if "/" not in name and "\\" not in name and not name.startswith("."):
        if name in builtin:
            return builtin_packs_folder() / name
        near = difflib.get_close_matches(name, builtin, 1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        have = ", ".join(builtin)
        raise PolicyError(
            f"there is no rule pack '{name}'; {hint}Built in: {have}; a folder is written ./folder"
        )
    folder = (base / name).resolve()
    if not (folder / "pack.yaml").is_file():
        raise PolicyError(f"{folder}: no rule pack is there (pack.yaml is missing)")
    return folder


# ---------------------------------------------------------------- one pack


class _Fields:
    """The keys of one YAML mapping; every complaint names file, rule and key."""

    def __init__(self, data: object, place: str, allowed: frozenset[str]) -> None:
        self.place = place
        if not isinstance(data, dict):
            raise PolicyError(f"{place}: must be a mapping of keys to values")
        self.data = cast("dict[str, object]", data)
        for key in self.data:
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, 1)
                hint = (
                    f"; did you mean '{near[0]}'?" if near else f" ({', '.join(sorted(allowed))})"
                )
                raise PolicyError(f"{place}: unknown key '{key[:60]}'{hint}")

    def text(self, key: str, required: bool = True) -> str:
        value = self.data.get(key)
        if value is None and not required:
            return ""
        if isinstance(value, int | float) and not isinstance(value, bool) and key == "version":
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise PolicyError(f"{self.place}: {key}: must be text")
        return " ".join(value.split())

    def one_of(self, key: str, values: Sequence[str]) -> str:
        value = self.text(key)
        if value not in values:
            raise PolicyError(f"{self.place}: {key}: must be one of {', '.join(values)}")
        return value

    def day(self, key: str) -> datetime.date | None:
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
            raise PolicyError(f"{self.place}: {key}: must be a day, such as 2023-09-15")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
            raise PolicyError(f"{self.place}: {key}: must be a list of texts")
        return tuple(value)


def _yaml(path: Path) -> object:
    try:
        return load_yaml(path)
    except ScannerError as error:
        raise PolicyError(str(error)) from None


def _header(folder: Path) -> Pack:
    """What pack.yaml says: the pack without its rules and cases."""
    path = folder / "pack.yaml"
    allowed = frozenset({"name", "title", "version", "description", "regions"})
    data = _yaml(path)
    fields = _Fields({} if data is None else data, str(path), allowed)
    name = fields.text("name", required=False) or folder.name
    if not _PACK_NAME.match(name):
        raise PolicyError(f"{path}: name: must be of a-z, 0-9 and -, such as our-rules")
    regions = fields.texts("regions")
    for region in regions:
        if region != "*" and country(region) != region:
            raise PolicyError(
                f"{path}: regions: '{region[:60]}' is no place; write KR, US-IL, or \"*\" for all"
            )
    return Pack(
        name=name,
        title=fields.text("title", required=False) or name,
        version=fields.text("version", required=False) or UNVERSIONED,
        description=fields.text("description", required=False),
        rules=(),
        cases=(),
        folder=folder,
        regions=regions,
    )


def _load_pack(folder: Path) -> Pack:
    pack = _header(folder)
    for stray in sorted([*folder.glob("*.yml"), *folder.glob("cases/*.yml")]):
        raise PolicyError(f"{stray}: rules and cases end in .yaml")
    files = sorted(p for p in folder.glob("*.yaml") if p.name != "pack.yaml")
    if not files:
        raise PolicyError(f"{folder}: the pack has no rules")
    return replace(
        pack,
        rules=tuple(_load_rule(file, pack.name, pack.version) for file in files),
        cases=tuple(sorted((folder / "cases").glob("*.yaml"))),
    )


def _load_rule(path: Path, pack: str, version: str) -> Rule:
    data = _yaml(path)
    id_ = data.get("id") if isinstance(data, dict) else None
    fields = _Fields(data, f"{path}: {id_ if isinstance(id_, str) else path.stem}", _RULE_KEYS)
    place = fields.place
    rule_id = fields.text("id")
    if not _RULE_ID.match(rule_id) or rule_id != path.stem:
        raise PolicyError(f"{place}: id: must be the file's name, capitals, digits and '-'")
    scope = cast("Scope", fields.one_of("scope", SCOPES))
    own = _measures(fields.data.get("measures"), place, scope)
    measures = {m.name: Column(m.name, "number", "measure", "declared by the rule") for m in own}
    numbers: dict[str, Column] = {}
    if scope != "exposure":
        numbers = {**BUILT_IN_MEASURES, **measures}
    columns = columns_for(scope)

    def condition(key: str, names: Mapping[str, Column]) -> Expression | None:
        if key not in fields.data:
            return None
        return parse(fields.data[key], f"{place}: {key}", names)

    if scope == "exposure" and "having" in fields.data:
        raise PolicyError(f"{place}: having: goes with scope dataset or transfer")
    rule = Rule(
        id=rule_id,
        version=fields.text("version", required=False) or version,
        pack=pack,
        title=fields.text("title"),
        law=_law(fields.data.get("law"), place),
        level=cast("Level", fields.one_of("level", get_args(Level))),
        scope=scope,
        remedy=fields.text("remedy", required=False),
        applies_when=condition("applies_when", columns),
        review_when=condition("review_when", columns),
        where=condition("where", {**columns, **numbers}),
        measures=own,
        having=condition("having", {**columns, **numbers}),
        path=path,
    )
    if rule.where is None and rule.having is None and rule.review_when is None:
        raise PolicyError(f"{place}: where: without where, having or review_when nothing is judged")
    for key, expression in (("where", rule.where), ("having", rule.having)):
        if expression is not None:
            _only_lower_bounds(expression.node, frozenset(numbers), f"{place}: {key}")
    used = rule.names()
    for measure in own:
        if measure.name not in used:
            raise PolicyError(f"{place}: measures: '{measure.name}' is not used by where or having")
    return rule


def _law(data: object, place: str) -> Law:
    if data is None:
        raise PolicyError(f"{place}: law: is missing; a rule says what it stands on")
    fields = _Fields(data, f"{place}: law", _LAW_KEYS)
    instrument = fields.text("instrument")
    own = spelled(instrument) == spelled(OWN_POLICY)
    citation: Citation = "own_policy" if own else "unverified"
    if "citation" in fields.data:
        citation = cast("Citation", fields.one_of("citation", get_args(Citation)))
    cites = fields.texts("cites")
    if not cites and citation != "own_policy":
        raise PolicyError(f"{place}: law: cites: must list the articles")
    link = fields.text("link", required=False)
    if link and not link.startswith("https://"):
        raise PolicyError(f"{place}: law: link: must begin with https://")
    law = Law(
        instrument=instrument,
        cites=cites,
        citation=citation,
        duty=fields.text("duty", required=False),
        in_force_from=fields.day("in_force_from"),
        in_force_until=fields.day("in_force_until"),
        link=link,
    )
    if law.in_force_from and law.in_force_until and law.in_force_until < law.in_force_from:
        raise PolicyError(f"{place}: law: in_force_until: is before in_force_from")
    return law


def _measures(data: object, place: str, scope: Scope) -> tuple[Measure, ...]:
    if data is None:
        return ()
    if scope == "exposure":
        raise PolicyError(f"{place}: measures: go with scope dataset or transfer")
    if not isinstance(data, dict) or not data:
        raise PolicyError(f"{place}: measures: must be a mapping of names to measures")
    found: list[Measure] = []
    forms = {"count_distinct": "subject_key", "count": "*", "sum": "count"}
    for name, body in data.items():
        here = f"{place}: measures: {name}"
        if not _MEASURE_NAME.match(name) or name in columns_for("exposure"):
            raise PolicyError(f"{here}: must be a new name of a-z, 0-9 and _")
        fields = _Fields(body, here, frozenset({*forms, "where"}))
        chosen = [how for how in forms if how in fields.data]
        if len(chosen) != 1 or fields.data[chosen[0]] != forms[chosen[0]]:
            written = " or ".join(f"{{{how}: '{what}'}}" for how, what in forms.items())
            raise PolicyError(f"{here}: must be {written}, with an optional where")
        where = None
        if "where" in fields.data:
            names = columns_for(scope, in_measure=True)
            where = parse(fields.data["where"], f"{here}: where", names)
        found.append(Measure(name, cast("HowMeasured", chosen[0]), where))
    return tuple(found)


def _only_lower_bounds(node: Node, measures: frozenset[str], place: str) -> None:
    """A measure is known between two bounds; that settles `measure >= n`, under and/or only."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                _only_lower_bounds(part, measures, place)
        case Compare(">=" | ">", Name(name), Value()) if name in measures:
            return
        case _:
            for inner in walk(node):
                if isinstance(inner, Name) and inner.name in measures:
                    raise PolicyError(
                        f"{place}: the measure '{inner.name}' may only be compared by >= or > with "
                        "a number"
                    )

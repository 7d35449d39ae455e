"""Reads the YAML that this program accepts: plain data, no tags, aliases or duplicate keys.

Scalars follow YAML 1.2: only `true` and `false` are booleans (`NO` is a country), `010` and `1:30`
are text. `2022-12-31` is a `datetime.date`, a date with a time a `datetime.datetime` (UTC where it
names no offset). A file may have 1 MiB at most.
"""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from scanner.errors import ScannerError

MAX_BYTES = 1 << 20
MAX_DEPTH = 40  # nesting; a configuration needs about five

if TYPE_CHECKING:
    _Loader = yaml.SafeLoader
else:  # libyaml is ten times faster and raises the same errors
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_RESOLVE: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN"),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})$"), "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
        "-+.0123456789",
    ),
    (
        "tag:yaml.org,2002:timestamp",
        re.compile(
            r"^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[-+]\d\d:\d\d)?)?$"
        ),
        "0123456789",
    ),
)


_ADDRESS = re.compile(r"(?<=://).*", re.DOTALL)


def shown(text: str) -> str:
    """What a file says, as a message may repeat it: quoted, short, nothing before an @.

    An address may hold a password, and may stand anywhere when a quote or a colon is missing.
    """
    before, at, host = _ADDRESS.sub("…", text).rpartition("@")
    return repr(("…" + at + host if at else before + host)[:80])


class _PlainLoader(_Loader):
    """A safe loader with YAML 1.2 scalars whose mappings have unique text keys."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - replaces PyYAML's class attribute of YAML 1.1 rules

    def construct_document(self, node: yaml.Node) -> object:
        return self._value(node)

    def _value(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode):
            mapping: dict[str, object] = {}
            for key_node, value_node in node.value:
                key = self._value(key_node) if isinstance(key_node, yaml.ScalarNode) else None
                if not isinstance(key, str) or not key:
                    raise _Refused("a key must be plain text (put it in quotes)", key_node)
                if key in mapping:
                    raise _Refused(f"the key {shown(key)} is there twice", key_node)
                mapping[key] = self._value(value_node)
            return mapping
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child) for child in node.value]
        return _scalar(node)


for _tag, _pattern, _first in _RESOLVE:
    # an empty plain scalar is null: PyYAML looks it up under ""
    _empty = [""] if _tag.endswith("null") else []
    _PlainLoader.add_implicit_resolver(_tag, _pattern, [*_first, *_empty])


class _Refused(Exception):
    def __init__(self, why: str, node: yaml.Node | yaml.Event) -> None:
        super().__init__(why)
        self.line = (node.start_mark.line if node.start_mark is not None else 0) + 1


def _scalar(node: yaml.Node) -> object:
    text = str(node.value)
    match node.tag.rsplit(":", 1)[-1]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            number = float(text)
            if not math.isfinite(number):
                raise _Refused("this number is too large", node)
            return number
        case "timestamp":
            try:
                if len(text) == 10:
                    return datetime.date.fromisoformat(text)
                moment = datetime.datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
            except ValueError:
                raise _Refused("this is not a date of the calendar", node) from None
            return moment.replace(tzinfo=moment.tzinfo or datetime.UTC)
    return text


def _check_events(text: str) -> None:
    """Refuse, before any tree is built, what it would hide: anchors, aliases, tags, depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _Refused("aliases (*name) are not accepted; write the value out", event)
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise _Refused("anchors (&name) are not accepted; write the value out", event)
        if (
            isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
            and event.tag is not None
        ):
            raise _Refused("tags (!name) are not accepted", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(f"nested deeper than {MAX_DEPTH} levels", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def parse_yaml(text: str, name: str) -> object:
    """The data in `text`; `name` is what errors call it. An empty document is None.

    Raises `ScannerError`, one line with "<name>:<line>: ".
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_PlainLoader)  # a subclass of SafeLoader
    except _Refused as refused:
        raise ScannerError(f"{name}:{refused.line}: {refused}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ScannerError(f"{name}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise ScannerError(
            f"{name}:1: not YAML: it holds characters that YAML does not allow"
        ) from None


def load_yaml(path: Path) -> object:
    """The data in a YAML file, as dict, list, str, int, float, bool, None, date and datetime.

    Raises `ScannerError`, one line naming file and line, for whatever is not plain YAML.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ScannerError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ScannerError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(raw) > MAX_BYTES:
        raise ScannerError(f"{path}: larger than 1 MiB, which no configuration or rule needs")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScannerError(f"{path}:{line}: not UTF-8 text") from None
    return parse_yaml(text, str(path))

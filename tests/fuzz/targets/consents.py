"""What others write for the program: consent records, receipts, purposes of an organisation."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import pyarrow as pa

from scanner.context import own_purposes
from scanner.context.consent_fields import SECTIONS
from scanner.context.consent_records import recognise
from scanner.context.json_objects import read_objects
from scanner.context.registries import read_registry
from scanner.errors import ConfigError
from scanner.model import RegistrySpec
from scanner.moments import START_OF_TIME, parse_moment
from scanner.purposes import EVERY, folded
from scanner.schemas import CONSENTS
from scanner.subjects import SubjectKey
from scanner.vocabulary import spelled
from scanner.yamlsafe import parse_yaml
from tests.fuzz.oracles import check, no_bug_behind, no_content, one_line
from tests.fuzz.seeds import BUILT, receipts, records
from tests.fuzz.targets import Target

_WHERE = "mem://bucket/consents"
_KEY = SubjectKey(bytes(32))
Rows = list[dict[str, Any]]


def _read(data: bytes) -> tuple[Rows, list[dict[str, Any]]] | None:
    """The rows of the registry and the objects of the file; None where it is refused."""
    if recognise(data[:65_536]) is None:
        return None
    spec = RegistrySpec("consents", path=_WHERE)
    try:
        tables = [read_registry(spec, _KEY, lambda _: io.BytesIO(data)) for _ in range(2)]
    except ConfigError as error:
        message = one_line(error)
        no_bug_behind(error)
        check(message.startswith(_WHERE), "an error that names no file")
        no_content(message.removeprefix(_WHERE), data.decode("utf-8", "replace"))
        return None
    check(tables[0].equals(tables[1]), "another table the second time")
    check(tables[0].schema.equals(CONSENTS), "another schema")
    if isinstance(tables[0], pa.Table):
        tables[0].validate(full=True)
    rows: Rows = tables[0].to_pylist()
    for row in rows:
        check(bool(row["subject_digest"] and row["purpose"].strip()), "a consent of nobody")
        check(row["record_id"].strip() != "", "a consent without its record")
        check(row["recipient"] is None or row["recipient"].strip() != "", "an empty recipient")
        start, end = row["valid_from"], row["valid_until"]
        check(end is None or end == START_OF_TIME or start <= end, "a consent that ends too early")
    return rows, [entry for _, entry in read_objects(io.BytesIO(data), "again")]


# What a field is given instead of its own value, in files that are made out of others.
_VALUES: tuple[Any, ...] = (
    None, "", " ", "*", 0, -1, 10**30, 1e300, True, [], {}, [None], [{}], ["*"], "x", "P1Y", "P",
    "PT36H", "indefinite", "2024-05-01", "2024-02-30", "9999-12-31T23:59:59-15:00",
    "0001-01-01T00:00+15:00", "infinity", "-infinity", "\ud800", "NaN", "dpv:ConsentGiven",
    "dpv:ConsentExpired", "dpv:ConsentWithdrawn", "dpv:RenewedConsentGiven", "dpv:ConsentRequested",
    "IMPLICIT", "EXPLICIT", 1704067200,
)  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a file, as the container and the key in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@cache
def _objects(seeds: Callable[[], list[bytes]]) -> list[dict[str, Any]]:
    return [entry for seed in seeds() for _, entry in read_objects(io.BytesIO(seed), "seed")]


def _built(data: bytes, seeds: Callable[[], list[bytes]]) -> bytes:
    """A file that is JSON still: objects of the seeds, some fields of which are changed.

    Bytes: how many objects and which; then pairs of a place and a value. A place that is given
    a high value gets what stands at another.
    """
    objects = _objects(seeds)
    some = data[1 : 3 + data[0] % 3] if data else b"\0"
    file = [copy.deepcopy(objects[at % len(objects)]) for at in some or b"\0"]
    rest = data[len(some) + 1 :]
    for where, what in zip(rest[::2], rest[1::2], strict=False):
        places = list(_places(file))
        container, key = places[where % len(places)]
        if what < 128:
            container[key] = copy.deepcopy(_VALUES[what % len(_VALUES)])
        else:
            other, at = places[what % len(places)]
            container[key] = copy.deepcopy(other[at])
    file = [entry for entry in file if isinstance(entry, dict)]
    return "\n".join(map(json.dumps, file)).encode()


def _field(entry: Mapping[str, Any], key: str) -> Any:
    """A field of a record, at its top or in the first section that has it."""
    inner = [entry[name] for name in SECTIONS if isinstance(entry.get(name), Mapping)]
    return next((part[key] for part in (entry, *inner) if part.get(key) is not None), None)


def _events(entry: Mapping[str, Any]) -> list[tuple[str, datetime]]:
    """What happened, and when; an event that does not say so stands in the record around it."""
    for key in ("events", "consent_events"):
        found = _field(entry, key)
        if found is not None:
            break
    else:
        found = [entry]
    events = []
    for event in found if isinstance(found, list) else [found]:
        state, time = (
            _field(event, key) or _field(entry, key) for key in ("event_state", "event_time")
        )
        if isinstance(time, str) and (moment := parse_moment(time)):
            events.append((spelled(str(state)), moment))
    return events


def fuzz_iso27560(data: bytes) -> None:
    """Rows or one line without content; nothing that was taken back is lost, and nothing that has
    expired by its own record goes on, in whichever object that stands."""
    if data[:1] == BUILT:
        data = _built(data[1:], records)
    found = _read(data)
    if found is None or b'"pii_' not in data:
        return
    rows, entries = found
    for row in rows:
        check(row["state"] in ("given", "renewed", "refused", "withdrawn"), "a state that is none")
    for entry in entries:
        own = [
            row
            for row in rows
            if row["record_id"] == str(_field(entry, "record_id")).strip()
            and row["subject_digest"] == _KEY.digest(str(_field(entry, "pii_principal_id")))
        ]
        for state, moment in _events(entry):
            if state in ("consentwithdrawn", "withdrawn"):
                back = [row for row in own if row["state"] == "withdrawn"]
                check(moment in [row["recorded_at"] for row in back], "a withdrawal that is lost")
            if state in ("consentgiven", "given"):
                check(any(row["state"] == "given" for row in own), "a consent that is lost")
            if state in ("consentexpired", "expired"):
                for row in own:
                    if row["state"] in ("given", "renewed") and row["recorded_at"] is not None:
                        ends = row["valid_until"]
                        over = ends is not None and ends <= moment
                        check(over or row["recorded_at"] > moment, "an expired consent goes on")


def fuzz_kantara(data: bytes) -> None:
    """Rows or one line without content; a consent is one that was given in so many words."""
    if data[:1] == BUILT:
        data = _built(data[1:], receipts)
    found = _read(data)
    if found is None or b'"pii_' in data:
        return
    rows, entries = found
    ids = {str(entry.get("consentReceiptID")).strip() for entry in entries}
    check({row["record_id"] for row in rows} <= ids, "a receipt that nobody wrote")
    for row in rows:
        check(row["state"] == "given", "a receipt of something else than a consent")
        check(row["valid_from"] == row["recorded_at"], "a consent before its receipt")
    if "explicit" not in spelled(json.dumps(entries)):
        check(not rows, "a consent that nobody gave")


def fuzz_purposes(data: bytes) -> None:
    """A hierarchy without circles that holds what the file says, or one line."""
    text = data.decode("utf-8", "replace")
    before = vars(own_purposes)["load_yaml"]
    vars(own_purposes)["load_yaml"] = lambda path: parse_yaml(text, str(path))
    try:
        found, again = (own_purposes.read_purposes("/nowhere/own.yaml") for _ in range(2))
    except ConfigError as error:
        check(one_line(error).startswith("/nowhere/own.yaml"), "an error that names no file")
        no_bug_behind(error)
        return
    finally:
        vars(own_purposes)["load_yaml"] = before
    check(found == again, "another hierarchy the second time")
    tree = parse_yaml(text, "own.yaml")
    assert isinstance(tree, dict)
    check(len(tree) == len(found.own), "a term that is lost")
    for term, said in tree.items():
        above = found.broader(term)
        check(found.knows(term) and folded(term) in above, "a term that is not known")
        check(EVERY not in above, "a purpose that everything covers")
        for broad in said if isinstance(said, list) else [said]:
            check(found.covers(broad, term), "what is broader covers it not")
            check(not found.covers(term, broad), "a circle")
        for name in above:
            check(found.broader(name) <= above, "a broader term whose own are not broader")


def _target(name: str, run: Callable[[bytes], None], *tokens: bytes) -> Target:
    return Target(name, run, tokens, 4_096)


_JSON = (
    b"null", b"true", b"[]", b"{}", b"[{", b"}]", b',"', b'":"', b"\\u0000", b"\\ud800", b"1e999",
    b"-1", b'"*"', b'" "', b'"P1Y"', b'"PT36H"', b'"P9999999999Y"', b'"indefinite"',
    b'"2024-05-01"', b'"infinity"', b'"NaN"', b"\n", b"\xef\xbb\xbf",
)  # fmt: skip
TARGETS = (
    _target(
        "iso27560", fuzz_iso27560, *_JSON,
        b'"dpv:ConsentGiven"', b'"dpv:ConsentExpired"', b'"dpv:ConsentWithdrawn"',
        b'"dpv:ConsentRefused"', b'"dpv:RenewedConsentGiven"', b'"dpv:ConsentInvalidated"',
        b'"events":[', b'"event":{', b'"event_state":', b'"event_time":', b'"purposes":',
        b'"pii_controllers":', b'"recipient_third_parties":', b'"separate_consent_for":["*"]',
        b'"guardian_verified":', b'"validity_duration":', b'"record_id":', b'"pii_information":',
    ),
    _target(
        "kantara", fuzz_kantara, *_JSON,
        b'"EXPLICIT"', b'"IMPLICIT"', b'"consentType":', b'"services":[', b'"purposes":[',
        b'"termination":', b'"thirdPartyDisclosure":true', b'"thirdPartyName":', b"1704067200",
        b'"purposeCategory":', b'"piiControllers":', b'"consentReceiptID":',
    ),
    _target(
        "purposes", fuzz_purposes,
        b": ", b"- ", b"\n", b"[", b"]", b", ", b"*", b'"*"', b"dpv:", b"dpv:Marketing",
        b"https://w3id.org/dpv#", b"https://w3id.org/dpv/2.0#Marketing", b"DPV:", b"a: b\n",
        b"b: a\n", b" ", b"null", b"\xc4\xb0", b"\xe1\xba\x9e", b"'", b"{", b"}", b"? ",
    ),
)  # fmt: skip

"""Every fuzz target for a second: its seeds, then the same mutations of them every time."""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from scanner import look, purposes, tree
from scanner.context import cells, consent_records, iso27560, kantara, sources
from scanner.detectors import checksums, templates
from scanner.policy import expressions
from scanner.readers import carving, charsets, delimited, images, inflate, raster, tables, tar
from scanner.readers import json as jsons
from scanner.readers import zip as zips
from scanner.schemas import TIMESTAMP
from tests.fuzz.mutate import mutated
from tests.fuzz.oracles import Broken, no_bug_behind, no_content
from tests.fuzz.run import Watch
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import all_targets, claims

BUDGET_S = 0.8
TARGETS = all_targets()


def test_every_target_has_seeds() -> None:
    assert TARGETS.keys() == SEEDS.keys()
    assert all(make() for make in SEEDS.values())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target(name: str) -> None:
    """`python -m tests.fuzz.run` looks longer, and with coverage; this keeps the targets alive."""
    target = TARGETS[name]
    seeds = SEEDS[name]()
    end = time.monotonic() + BUDGET_S
    for number, data in enumerate(mutated(seeds, target.tokens, 0, target.max_bytes)):
        if number >= len(seeds) and time.monotonic() > end:
            return
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"input {number} of target {name}: {data!r}"[:4_000])
            raise


# ---------------------------------------------------------------- the oracles themselves


def _breaks(name: str, inputs: int = 400) -> bool:
    target = TARGETS[name]
    tried = mutated(SEEDS[name](), target.tokens, 0, target.max_bytes)
    for data in islice(tried, inputs):
        try:
            target.run(data)
        except Exception:
            return True
    return False


def _nothing(*_: object, **__: object) -> Iterator[Any]:
    return iter(())


@pytest.mark.parametrize(
    ("name", "module", "attribute", "wrong"),
    [
        ("delimited", delimited._Table, "extras", _nothing),
        ("charsets", charsets, "_decide", lambda *_: "latin-1"),
        ("inflate", inflate._Inflate, "_within_limits", lambda _, piece: piece),
        ("carving", carving.Carver, "_close", _nothing),
        ("images", images, "_trailing", _nothing),
        ("tar", tar, "_end", _nothing),
        ("expressions", expressions, "quoted", lambda text: f"'{text}'"),
        ("manifests", sources, "public_name", lambda _: "somewhere"),
        ("json", jsons._Walk, "_own_row", _nothing),
        ("zip", zips, "_behind", _nothing),
        ("zip", zips, "_member", _nothing),
        ("columnar", tables, "_files", _nothing),
        ("identifiers", checksums, "find_mrz", lambda _: []),
        ("templates", templates, "_is_hex", lambda _: False),
        ("moments", cells, "_days", lambda days, _: days.cast(TIMESTAMP)),
        ("raster", raster, "_header", lambda _: None),
        ("yaml", tree, "shown", repr),
        ("printable", claims, "printable", str),
        ("look", look, "recognise", lambda _: 1 / 0),
        ("iso27560", consent_records, "ended", lambda row, _: row),
        ("iso27560", iso27560, "_state", lambda _: None),
        ("kantara", kantara, "_ends", lambda _, start: start.replace(year=1999)),
        ("purposes", purposes, "circle_in", lambda _: []),
    ],
)
def test_a_mistake_in_a_parser_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, module: object, attribute: str, wrong: object
) -> None:
    monkeypatch.setattr(module, attribute, wrong)
    assert _breaks(name)


def test_content_in_a_message_is_found() -> None:
    no_content("12 rows with a different number of cells", "Hong Kildong,12 rows,123456789")
    for message in ("no member Kildong", "row 123456789"):
        with pytest.raises(Broken):
            no_content(message, "Hong Kildong,12 rows,123456789")


def test_a_mistake_of_our_own_is_not_told_as_damage() -> None:
    own, foreign = ValueError(), ValueError()
    try:
        carving.Carver(cast("int", None))
    except TypeError as error:
        own.__context__ = error
    try:
        json.loads(cast("str", None))
    except TypeError as error:
        foreign.__context__ = error
    no_bug_behind(foreign)
    with pytest.raises(Broken):
        no_bug_behind(own)


def test_a_finding_is_kept_once(tmp_path: Path) -> None:
    def run(data: bytes) -> None:
        if data.startswith(b"bad"):
            raise Broken("an oracle")

    watch = Watch(run, tmp_path, mmap.mmap(-1, 8))
    for data in (b"good", b"bad 1", b"bad 2"):
        watch(data)
    [kept] = [path for path in tmp_path.iterdir() if path.suffix != ".txt"]
    assert kept.read_bytes() == b"bad 1"

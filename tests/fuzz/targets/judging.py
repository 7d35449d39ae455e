"""Detectors, and the whole look at an object: never an exception, never content in what is said."""

from __future__ import annotations

import base64
import importlib
import pkgutil
from functools import cache

import numpy as np
import pyarrow as pa

import scanner.detectors as package
from scanner.detectors import checksums, shapes, vectors
from scanner.detectors.fields import DETECTOR as FIELDS
from scanner.detectors.identifiers import DETECTOR as IDENTIFIERS
from scanner.detectors.identifiers import NUMBERS
from scanner.detectors.keys import DETECTOR as KEYS
from scanner.detectors.metadata import DETECTOR as METADATA
from scanner.detectors.names import read_name, tokens
from scanner.detectors.paths import DETECTOR as PATHS
from scanner.detectors.templates import DETECTOR as TEMPLATES
from scanner.detectors.templates import sniff_template, sniff_template_text
from scanner.look import Judged, Looker, Seen
from scanner.model import (
    REASONS,
    Blob,
    Detection,
    ImageMetadata,
    Location,
    Problem,
    TableBatch,
    Text,
)
from scanner.readers import all_readers, recognise
from tests.fuzz.oracles import LIMITS, OPTIONS, Broken, check, no_content, sound, trickle
from tests.fuzz.targets import Target

_HERE = Location("bucket/fuzz.txt")


def _same_twice(one: list[Detection], other: list[Detection]) -> None:
    check(one == other, "another answer the second time")


def fuzz_known(data: bytes) -> None:
    """No reader raises for any first bytes; what is recognised stays so however much follows."""
    for reader in all_readers():
        check(reader.sniff(data) == reader.sniff(data), "another answer the second time")
        reader.sniff(data[: len(data) // 2])
    known = recognise(data)
    if known is not None:
        check(bool(known[1]) and "/" in known[1], "a media type that is none")
    shapes.image_bytes(data)
    shapes.audio_bytes(data)
    sniff_template(data)
    vectors.from_bytes(data)
    vectors.from_bytes(data, named=True)


def _digits(text: str) -> str:
    return "".join(c for c in text.upper() if c.isascii() and (c.isalnum() or c == "<"))


def _passport(letters: str) -> str:
    """A TD3 zone with check digits that agree, of any letters (ICAO 9303-4)."""
    first = f"P<UTO{letters}".ljust(44, "<")[:44]
    number = (letters + "A").replace("<", "")[:9].ljust(9, "<")
    core = number + checksums.mrz_digit(number)
    birth, expiry, personal = "690806", "940623", "<" * 14
    second = f"{core}UTO{birth}{checksums.mrz_digit(birth)}F{expiry}{checksums.mrz_digit(expiry)}"
    second += personal + checksums.mrz_digit(personal)
    second += checksums.mrz_digit(second[:10] + second[13:20] + second[21:43])
    return f"{first}\n{second}"


def fuzz_identifiers(data: bytes) -> None:
    """A zone whose check digits agree is found wherever it stands; no text makes anything raise."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    text = body.decode("utf-8", "replace") if mode & 0x40 else body.decode("latin-1")
    if mode & 0x80:
        half = len(text) // 2
        zone = _passport(_digits(text)[:30])
        text = f"{text[:half]}\n\n{zone}\n\n{text[half:]}"
        # what stands around it may hold zones too, but cannot take this one away
        kinds = [kind for _, kind in checksums.find_mrz(f"\n{zone}\n")]
        check("identifier.passport" in kinds, "a passport's zone is not found")
    for offset, kind in checksums.find_mrz(text):
        check(offset >= 0 and kind.startswith("identifier."), "a zone that is none")
    for number in NUMBERS:
        for match in list(number.pattern.finditer(text))[:50]:
            check(number.prove(match.group()) in (0, 1, 2), "a proof that is none")
    part = Text(_HERE, 3, text, None, True)
    found = sound(IDENTIFIERS.text(part), _HERE)
    _same_twice(found, sound(IDENTIFIERS.text(part), _HERE))
    lines = text.count("\n") + 1
    check(all(d.count <= lines for d in found), "more lines than there are")
    for detection in found:
        no_content(detection.location.name, text)


_RECORDS = (b"FMR\0 20\0", b"FIR\x00010\0", b"FAC\x00030\0", b"IIR\x00020\0", b"\xff\xa0\xff\xa8")


def fuzz_templates(data: bytes) -> None:
    """A record is the same record in bytes, in base64 and in hexadecimal."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    if mode & 0x80:
        body = _RECORDS[mode % 5] + body.ljust(64, b"\0")
        said = sniff_template(body)
        check(said is not None, "a record is not known")
        for text in (base64.b64encode(body).decode(), base64.urlsafe_b64encode(body).decode()):
            check(sniff_template_text(text) == said, "another record in base64")
            part = Text(_HERE, 0, f"x: {text}\n", None, True)
            check(bool(sound(TEMPLATES.text(part), _HERE)), "a record in a text is not seen")
        if mode % 5 < 4:
            check(sniff_template_text("\\x" + body.hex()) == said, "another record in hex")
    said = sniff_template(body)
    check(said == sniff_template(body[: max(32, len(body))]), "another answer the second time")
    text = body.decode("utf-8", "replace") if mode & 0x40 else body.decode("latin-1")
    sniff_template_text(text)
    part = Text(_HERE, 0, text, None, True)
    for detector in (TEMPLATES, KEYS):
        found = sound(detector.text(part), _HERE)
        _same_twice(found, sound(detector.text(part), _HERE))
    check(vectors.from_text(text) <= len(text), "more numbers than characters")
    numbers = np.frombuffer(body[: len(body) // 4 * 4], "<f4")
    if len(numbers) >= 8 and bool(np.isfinite(numbers).all()):
        written = "[" + ", ".join(repr(float(x)) for x in numbers) + "]"
        check(vectors.from_text(written) == len(numbers), "a vector of another length")


def _columns(body: bytes, mode: int) -> pa.RecordBatch | None:
    rows = [line.split(b"\x01") for line in body.split(b"\x02")[:40]]
    width = min(max(map(len, rows)), 12)
    arrays: list[pa.Array] = []
    names: list[str] = []
    for at in range(width):
        cells = [row[at] if at < len(row) and row[at] else None for row in rows]
        name, values = (cells[0] or b"").decode("utf-8", "replace"), cells[1:]
        names.append(f"{name}#{at}" if name in names else name)
        match (mode + at) % 5:
            case 0:
                arrays.append(pa.array(values, pa.binary()))
            case 1:
                lists = [
                    None if v is None else list(np.frombuffer(v, np.uint8) / 7) for v in values
                ]
                arrays.append(pa.array(lists, pa.list_(pa.float64())))
            case 2:
                whole = [None if v is None else int.from_bytes(v[:7], "big") for v in values]
                arrays.append(pa.array(whole, pa.int64()))
            case _:
                texts = [None if v is None else v.decode("utf-8", "replace") for v in values]
                arrays.append(pa.array(texts, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, names=names) if names else None


def fuzz_names(data: bytes) -> None:
    """Names and cells of any script are read the same twice; counts stay within the rows; a table
    in two batches is the table in one."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    name = body[:400].decode("utf-8", "replace")
    check(tokens(name) == tokens(name), "another answer the second time")
    reading = read_name(name)
    check(reading == read_name(name), "another answer the second time")
    place = Location("bucket").child(body.decode("utf-8", "surrogateescape"))
    found = sound(PATHS.path(place), place)
    _same_twice(found, sound(PATHS.path(place), place))
    batch = _columns(body, mode)
    if batch is None:
        return
    said = []
    for _ in range(2):
        scan = FIELDS.table()
        out = sound(scan.batch(TableBatch(_HERE, 0, batch, True)), _HERE)
        out += sound(scan.finish(), _HERE)
        check(all(d.count <= max(1, batch.num_rows) for d in out), "more rows than there are")
        said.append(out)
    _same_twice(*said)
    half = batch.num_rows // 2
    if half:
        scan = FIELDS.table()
        out = sound(scan.batch(TableBatch(_HERE, 0, batch.slice(0, half))), _HERE)
        out += sound(scan.batch(TableBatch(_HERE, half, batch.slice(half), True)), _HERE)
        sound(scan.finish(), _HERE)


def fuzz_metadata(data: bytes) -> None:
    """Any packet and any directory of places: counts only, the same twice."""
    mode, body = (data[0], data[1:]) if data else (0, b"")
    gps: dict[int, object] = {}
    if mode & 1:
        parts = [body[i : i + 8] for i in range(0, min(len(body), 64), 8)]
        pairs = [
            (int.from_bytes(p[:4], "big", signed=True), int.from_bytes(p[4:], "big")) for p in parts
        ]
        gps = {2: tuple(pairs[: mode >> 1 & 3]), 4: pairs[-1] if pairs else float("nan"), 1: b"N"}
        if mode & 0x40:
            gps = {2: body.decode("latin-1"), 4: [body, None]}
    meta = ImageMetadata(
        _HERE, gps, body if not mode & 2 else body.decode("latin-1").encode("utf-16")
    )
    found = sound(METADATA.metadata(meta), _HERE)
    _same_twice(found, sound(METADATA.metadata(meta), _HERE))
    check(len(found) <= 4, "more than a picture can say")


@cache
def _looker() -> Looker:
    """Every detector but those of faces, which are models of others and cost seconds."""
    found = []
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if module.name not in ("face", "deepface_backend"):
            loaded = importlib.import_module(f"{package.__name__}.{module.name}")
            found.append(getattr(loaded, "DETECTOR", None))
    return Looker(one for one in found if one is not None)


def _sights(data: bytes, step: int, can_seek: bool) -> list[object]:
    place = Location("bucket/object")
    blob = Blob(place, trickle(data, step, can_seek, raw=False), len(data))
    sights: list[object] = []
    for sight in _looker().look(blob, OPTIONS, clock=lambda: 0.0):
        check(sight.location.root == place, "a sight of something else")
        if isinstance(sight, Problem):
            check(sight.reason in REASONS, f"a reason that is none: {sight.reason}")
            no_content(sight.detail, data.decode("latin-1"))
            if sight.reason == "model" or "reader failed" in sight.detail:
                raise Broken(f"look had to catch: {sight.detail}")
            sights.append((str(sight.location), sight.reason, sight.detail))
        elif isinstance(sight, Seen):
            sights.append((str(sight.location), sight.media_type, sight.opened))
        elif isinstance(sight, Judged):
            sights.append((str(sight.location), "judged"))
        else:
            sights.append(sound(iter([sight]), place)[0])
        check(len(sights) < 20_000, "sights without end")
    return sights


def fuzz_look(data: bytes) -> None:
    """The whole recursion: nothing comes out of it but sights; no reader and no detector has to be
    caught; each object is seen or has a Problem; twice the same, also when read forward only."""
    whole = _sights(data, 1 << 20, True)
    check(bool(whole), "an object of which nothing is said")
    if len(data) & 1:
        check(whole == _sights(data, 1 << 20, True), "other sights the second time")
    else:
        forward = _sights(data, 512, False)
        # a damaged sparse member of a tar leads back: forward only, that is one Problem more
        led_back = any(isinstance(s, tuple) and s[1] == "truncated" for s in forward)
        check(forward == whole or led_back, "other sights when read forward only")
    check(len(data) <= LIMITS.max_file_size, "an input too long for this oracle")


TARGETS = (
    Target(
        "known",
        fuzz_known,
        (
            b"DUCK", b" EMF", b"070701", b"RIFF", b"\x47", b"MZ", b"PE\0\0", b"\r\n", b"1.001:",
            b"\x1d1.002:", b"\x75\x82", b"\x7f\x61", b'{"', b"ftyp", b"DICM", b"SQLite format 3\0",
        ),
        1_024,
    ),
    Target(
        "identifiers",
        fuzz_identifiers,
        (
            b"P<UTO", b"I<UTO", b"<<<<<<<<", b"&lt;", b"\\n", b"690806", b"-", b"900101-1234567",
            b"123.456.789-09", b"11010519491231002X", b"RSSMRA85T10A562S",
            b"\xec\x97\xac\xea\xb6\x8c",
        ),
        1_024,
    ),
    Target(
        "templates",
        fuzz_templates,
        (
            b"Rk1SACAyMAA", b"FMR\0 20\0", b"FAC\x00030\0", b"\\x464d5200", b"\xff\xa0\xff\xa8",
            b"\x03\x0d", b"\x75\x82\x10\x00\x7f\x61", b"fingerprint: ", b"<Template>", b"[0.1, ",
        ),
        1_024,
    ),
    Target(
        "names",
        fuzz_names,
        (
            b"\x01", b"\x02", b"face_embedding", b"fingerprint", b"gender", b"nationality", b"age",
            b"passport_no", b"emb_0", b"lat", b"\xec\x96\xbc\xea\xb5\xb4", b"/KOR/", b"_F_34.jpg",
            b"sex=F/age=34/", b"data:image/png;base64,", b"1990-01-31", b"KR", b"MALE",
        ),
        1_024,
    ),
    Target(
        "metadata",
        fuzz_metadata,
        (
            b"<rdf:li>", b"</rdf:li>", b"<rdf:Description", b'mwg-rs:Type="Face"', b"<!DOCTYPE",
            b"<!ENTITY", b"<?xpacket", b"<x:xmpmeta", b"xmlns:", b"exif:GPSLatitude", b"&#0;",
            b"\xff\xfe",
        ),
        2_048,
    ),
    Target(
        "look",
        fuzz_look,
        (b"PK\x03\x04", b"\x1f\x8b\x08", b"ustar", b"{", b"\n", b",", b'"'),
        4_096,
    ),
)  # fmt: skip

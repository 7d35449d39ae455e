"""Face regions, person names and places that image files carry beside their pixels (XMP, EXIF
GPS).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from scanner.model import Basis, Certainty, Detection, ImageMetadata, Representation

MAX_XMP_BYTES = 16 << 20  # extended XMP may hold depth maps; people are never that long
MAX_COUNT = 10_000  # regions of one picture

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_ACDSEE = "{http://ns.acdsee.com/regions/}"
_MP_REGION = "{http://ns.microsoft.com/photo/1.2/t/Region#}"
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
# Fields of other programs that hold keyword paths such as "People|Kim" or "People/Kim".
_KEYWORD_PATHS = ("{http://ns.adobe.com/lightroom/1.0/}hierarchicalSubject",
                  "{http://www.digikam.org/ns/1.0/}TagsList",
                  "{http://ns.microsoft.com/photo/1.0/}LastKeywordXMP",
                  "{http://ns.microsoft.com/photo/1.0}LastKeywordXMP")  # fmt: skip
_PEOPLE = re.compile(
    r"(?:people|persons?|faces?|personen|gente|personas|personnes|pessoas|люди|人物|人|사람|인물)[|/]\s*\S",
    re.IGNORECASE,
)
_HUMAN_REGION = re.compile(r"imageregiontype/(?:human|face|humanface)\b", re.IGNORECASE)
_UNSAFE = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_PACKET = re.compile(
    r"<(?:x|xap):x[am]pmeta\b.*?</(?:x|xap):x[am]pmeta\s*>|<rdf:RDF\b.*?</rdf:RDF\s*>", re.DOTALL
)


@dataclass(slots=True)
class _Found:
    faces: int = 0
    names: int = 0  # given by a field that is for person names
    tagged: int = 0  # keywords filed under "People"
    gps: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """Reads what people and programs wrote about a picture; yields counts, never the names."""

    name: str = "metadata"
    version: str = "1"

    def metadata(self, meta: ImageMetadata) -> Iterator[Detection]:
        """At most one detection each for face regions, person names and a place.

        A region says that someone or something marked a face: `possible`. Broken XML, XML with a
        document type or
        entities, and packets over `MAX_XMP_BYTES` yield nothing.
        """
        found = _Found()
        for root in _packets(meta.xmp):
            _read(root, found)
        if _has_place(meta.exif_gps):
            found.gps = True

        def detection(kind: str, certainty: Certainty, confidence: float, count: int,
                      representation: Representation | None = None) -> Detection:  # fmt: skip
            basis: Basis = "metadata"
            return Detection(
                location=meta.location,
                kind=kind,
                basis=basis,
                confidence=confidence,
                certainty=certainty,
                detector=self.name,
                detector_version=self.version,
                representation=representation,
                count=min(count, MAX_COUNT),
                subject_key=meta.record.subject_key if meta.record else None,
            )

        if found.faces:
            yield detection("biometric.face", "possible", 0.6, found.faces, "source_image")
        if found.names:
            yield detection("identifier.name", "certain", 0.9, found.names)
        elif found.tagged:
            yield detection("identifier.name", "possible", 0.5, found.tagged)
        if found.gps:
            yield detection("location.gps", "certain", 0.95, 1)


def _packets(xmp: bytes) -> Iterator[ElementTree.Element]:
    if not xmp or len(xmp) > MAX_XMP_BYTES:
        return
    text = _decode(xmp).strip("\ufeff\0 \r\n\t")
    if _UNSAFE.search(text):
        return
    root = _parse(text)
    if root is not None:
        yield root
        return
    # several packets one after the other, or trailing bytes; a repeated packet is one
    for packet in dict.fromkeys(match.group() for match in _PACKET.finditer(text)):
        root = _parse(packet)
        if root is not None:
            yield root


def _decode(xmp: bytes) -> str:
    """XMP is UTF-8, UTF-16 or UTF-32; decided here, so that no encoding hides a document type from
    the check.
    """
    if xmp.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return xmp.decode("utf-32", "replace")
    if xmp.startswith((b"\xff\xfe", b"\xfe\xff")):
        return xmp.decode("utf-16", "replace")
    for encoding, start in (("utf-32-le", b"<\0\0\0"), ("utf-32-be", b"\0\0\0<"),
                            ("utf-16-le", b"<\0"), ("utf-16-be", b"\0<")):  # fmt: skip
        if xmp.startswith(start):
            return xmp.decode(encoding, "replace")
    return xmp.decode("utf-8", "replace")


def _parse(text: str) -> ElementTree.Element | None:
    # the declaration may name another encoding than the one that was decoded above
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None


def _field(node: ElementTree.Element, name: str) -> str:
    """A property in either RDF form: attribute or child element, on the item or on its
    rdf:Description.
    """
    for holder in (node, *node.findall(f"{_RDF}Description")):
        value = holder.get(name)
        if value is None:
            child = holder.find(name)
            value = child.text if child is not None else None
        if value and value.strip():
            return value.strip()
    return ""


def _read(root: ElementTree.Element, found: _Found) -> None:
    names: set[str] = set()
    for node in root.iter():
        tag = node.tag
        if tag == f"{_RDF}li":
            for schema in (_MWG, _ACDSEE):
                if _field(node, f"{schema}Type").casefold() == "face":
                    found.faces += 1
                    names.add(_field(node, f"{schema}Name"))
            if _mentions(node, f"{_MP_REGION}"):
                found.faces += 1
                names.add(_field(node, f"{_MP_REGION}PersonDisplayName"))
        elif tag in (f"{_IPTC}PersonInImage", f"{_IPTC}PersonName"):
            names.update((part.text or "").strip() for part in (node, *node.iter(f"{_RDF}li")))
        elif tag == f"{_IPTC}ImageRegion":
            found.faces += _human_regions(node)
        elif tag in _KEYWORD_PATHS:
            found.tagged += sum(
                bool(_PEOPLE.match((item.text or "").strip())) for item in node.iter(f"{_RDF}li")
            )
        latitude = _field(node, f"{_EXIF}GPSLatitude") if tag == f"{_RDF}Description" else ""
        if latitude and _field(node, f"{_EXIF}GPSLongitude"):
            longitude = _field(node, f"{_EXIF}GPSLongitude")
            found.gps |= bool(re.search("[1-9]", latitude) or re.search("[1-9]", longitude))
    found.names += len(names - {""})


def _mentions(node: ElementTree.Element, namespace: str) -> bool:
    """Whether an item or its Description has a property of the namespace."""
    return any(
        any(key.startswith(namespace) for key in holder.attrib)
        or any(str(child.tag).startswith(namespace) for child in holder)
        for holder in (node, *node.findall(f"{_RDF}Description"))
    )


def _human_regions(node: ElementTree.Element) -> int:
    count = 0
    for bag in node:
        for region in bag:
            text = ElementTree.tostring(region, encoding="unicode")
            if _HUMAN_REGION.search(text) or f"{_IPTC}PersonInImage" in {
                p.tag for p in region.iter()
            }:
                count += 1
    return count


def _has_place(gps: Mapping[int, object]) -> bool:
    """Latitude (tag 2) and longitude (tag 4) are there, are numbers, are in range and not both
    zero.
    """
    latitude, longitude = _degrees(gps.get(2)), _degrees(gps.get(4))
    if latitude is None or longitude is None:
        return False
    return 0 <= latitude <= 90 and 0 <= longitude <= 180 and (latitude > 0 or longitude > 0)


def _degrees(value: object) -> float | None:
    """Degrees, minutes, seconds as one number; None if they are not three (or fewer) finite
    numbers.
    """
    parts = value if isinstance(value, tuple | list) else (value,)
    total = 0.0
    if not 1 <= len(parts) <= 3:
        return None
    for part, unit in zip(parts, (1, 60, 3600), strict=False):
        try:
            if isinstance(part, tuple | list):  # (numerator, denominator)
                number = float(part[0]) / float(part[1])
            else:
                number = float(part)  # Pillow's IFDRational, int or float
        except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
            return None
        if not math.isfinite(number):
            return None
        total += number / unit
    return total


DETECTOR = Metadata()

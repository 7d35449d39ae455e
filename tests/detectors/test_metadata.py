"""Face regions, names and places in XMP and EXIF."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.detectors.metadata import DETECTOR, MAX_XMP_BYTES
from scanner.model import Detection, ImageMetadata, Location, Record

HERE = Location("a.jpg")
SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "acdsee-rs": "http://ns.acdsee.com/regions/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
}


def xmp(body: str, attributes: str = "") -> bytes:
    names = " ".join(f'xmlns:{key}="{value}"' for key, value in SPACES.items())
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f"<rdf:RDF {names}>"
        f"<rdf:Description rdf:about='' {attributes}>{body}</rdf:Description></rdf:RDF>"
        f'</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def look(
    packet: bytes = b"", gps: Mapping[int, object] | None = None
) -> dict[str, tuple[str, int]]:
    found = list(DETECTOR.metadata(ImageMetadata(HERE, gps or {}, packet)))
    assert len({d.kind for d in found}) == len(found)
    return {d.kind: (d.certainty, d.count) for d in found}


MWG = (
    "<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:RegionList><rdf:Bag>"
    "<rdf:li><rdf:Description mwg-rs:Name='Test One' mwg-rs:Type='Face'/></rdf:li>"
    "<rdf:li rdf:parseType='Resource'><mwg-rs:Type>Face</mwg-rs:Type><mwg-rs:Name>Test Two"
    "</mwg-rs:Name></rdf:li>"
    "<rdf:li mwg-rs:Type='Face'/>"
    "<rdf:li mwg-rs:Type='Pet' mwg-rs:Name='Rex'/><rdf:li mwg-rs:Type='Focus'/>"
    "</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
)
MICROSOFT = (
    "<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag>"
    "<rdf:li>"
    "<rdf:Description MPReg:Rectangle='0.1, 0.1, 0.2, 0.2'"
    " MPReg:PersonDisplayName='Test One'/></rdf:li>"
    "<rdf:li MPReg:Rectangle='0.5, 0.5, 0.2, 0.2'/>"
    "</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo>"
)
IPTC = (
    "<Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>Test One</rdf:li><rdf:li>Test Two</rdf:li>"
    "</rdf:Bag>"
    "</Iptc4xmpExt:PersonInImage>"
)
IPTC_REGION = (
    "<Iptc4xmpExt:ImageRegion><rdf:Bag><rdf:li rdf:parseType='Resource'><Iptc4xmpExt:rCtype>"
    "<rdf:Bag>"
    "<rdf:li>http://cv.iptc.org/newscodes/imageregiontype/human</rdf:li></rdf:Bag>"
    "</Iptc4xmpExt:rCtype></rdf:li>"
    "<rdf:li rdf:parseType='Resource'><Iptc4xmpExt:rId>x</Iptc4xmpExt:rId></rdf:li>"
    "</rdf:Bag></Iptc4xmpExt:ImageRegion>"
)
ACDSEE = (
    "<acdsee-rs:Regions rdf:parseType='Resource'><acdsee-rs:RegionList><rdf:Bag>"
    "<rdf:li acdsee-rs:Type='Face' acdsee-rs:Name='Test One'/></rdf:Bag>"
    "</acdsee-rs:RegionList></acdsee-rs:Regions>"
)
KEYWORDS = (
    "<lr:hierarchicalSubject><rdf:Bag><rdf:li>People|Test One</rdf:li><rdf:li>Places|Seoul"
    "</rdf:li></rdf:Bag>"
    "</lr:hierarchicalSubject><digiKam:TagsList><rdf:Seq><rdf:li>사람/하나</rdf:li></rdf:Seq>"
    "</digiKam:TagsList>"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (MWG, {"biometric.face": ("possible", 3), "identifier.name": ("certain", 2)}),
        (MICROSOFT, {"biometric.face": ("possible", 2), "identifier.name": ("certain", 1)}),
        (IPTC, {"identifier.name": ("certain", 2)}),
        (IPTC_REGION, {"biometric.face": ("possible", 1)}),
        (ACDSEE, {"biometric.face": ("possible", 1), "identifier.name": ("certain", 1)}),
        (KEYWORDS, {"identifier.name": ("possible", 2)}),
        ("", {}),
        (KEYWORDS.replace("People|", "Peoples|").replace("사람/", "사물/"), {}),
    ],
)  # fmt: skip
def test_programs(body: str, expected: dict[str, tuple[str, int]]) -> None:
    assert look(xmp(body)) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    text = xmp(MWG).decode().replace("\ufeff", "")
    assert look(text.encode(encoding))["biometric.face"] == ("possible", 3)


def test_two_packets_and_trailing_bytes() -> None:
    assert look(xmp(MWG) + b"  \0" + xmp(ACDSEE) + b"\0\0garbage") == {
        "biometric.face": ("possible", 4),
        "identifier.name": ("certain", 3),
    }
    assert look(xmp(MWG) * 2) == look(xmp(MWG))


def test_no_name_leaves() -> None:
    found: list[Detection] = list(
        DETECTOR.metadata(ImageMetadata(HERE, {}, xmp(MWG), Record(3, "kim")))
    )
    assert "Test" not in repr(found)
    assert {d.subject_key for d in found} == {"kim"}
    assert {d.representation for d in found} == {"source_image", None}
    assert {d.basis for d in found} == {"metadata"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32-be"])
@pytest.mark.parametrize(
    "unsafe",
    [
        "<!DOCTYPE a [<!ENTITY x 'y'>]>",
        "<!doctype a>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>",
        "<! DOCTYPE a>",
    ],
)
def test_document_types_are_refused(unsafe: str, encoding: str) -> None:
    assert look((unsafe + xmp(MWG).decode()).encode(encoding)) == {}


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\0", b"<", b"not xml", xmp(MWG)[:200], xmp(MWG).replace(b"</rdf:Bag>", b""),
        b"\xff\xfe", b"<x:xmpmeta>",
        xmp("&undefined;"), b"<a>" * 50_000, b"\xff" * 1000,
    ],
)  # fmt: skip
def test_broken_packets_say_nothing(packet: bytes) -> None:
    assert look(packet) == {}


def test_deep_nesting_and_size_are_bounded() -> None:
    deep = "<rdf:li>" * 20_000 + "</rdf:li>" * 20_000
    look(xmp(deep))
    assert look(xmp(MWG + " " * MAX_XMP_BYTES)) == {}


@pytest.mark.parametrize(
    ("gps", "there"),
    [
        ({1: "N", 2: (37.0, 33.0, 59.0), 3: "E", 4: (126.0, 58.0, 41.0)}, True),
        ({2: ((37, 1), (33, 1), (59, 1)), 4: ((126, 1), (0, 1), (0, 1))}, True),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, False),
        ({2: (0.0, 0.0, 0.0), 4: (6.5, 0.0, 0.0)}, True),
        ({2: (float("nan"),) * 3, 4: (1.0, 0.0, 0.0)}, False),
        ({2: (37.0, 0.0, 0.0)}, False),
        ({2: (), 4: ()}, False),
        ({2: (95.0, 0.0, 0.0), 4: (1.0, 0.0, 0.0)}, False),
        ({2: "x", 4: None}, False),
        ({2: ((1, 0), (0, 0), (0, 0)), 4: (1.0,)}, False),
        ({29: "2020:01:01"}, False),
        ({}, False),
    ],
)
def test_exif_places(gps: dict[int, object], there: bool) -> None:
    assert look(gps=gps) == ({"location.gps": ("certain", 1)} if there else {})


def test_xmp_places() -> None:
    assert look(xmp("", "exif:GPSLatitude='37,33.5N' exif:GPSLongitude='126,58.1E'")) == {
        "location.gps": ("certain", 1)
    }
    assert look(xmp("", "exif:GPSLatitude='0,0.0N' exif:GPSLongitude='0,0.0E'")) == {}
    assert look(xmp("", "exif:GPSLatitude='37,33.5N'")) == {}


@given(st.binary(max_size=200))
def test_any_bytes(packet: bytes) -> None:
    look(packet)
    look(xmp("") + packet)


@given(
    st.dictionaries(
        st.integers(0, 6),
        st.one_of(st.none(), st.text(), st.floats(), st.tuples(st.floats(), st.floats())),
    )
)
def test_any_gps(gps: dict[int, object]) -> None:
    look(gps=gps)

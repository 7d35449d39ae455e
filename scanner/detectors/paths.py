"""Demographics and identity numbers written into path names (`faces/KOR/0a1b_F_34.jpg`,
`sex=F/age=34/…`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from scanner.countries import country
from scanner.detectors import checksums
from scanner.model import Certainty, Detection, Location

_NATIONALITY_KEYS = (
    "nationality|citizenship|nat|국적|国籍|國籍|nationalite|nacionalidad|nationalitat|гражданство"
)
_COUNTRY_KEYS = (
    "country|country_code|국가"  # partitions of sales data too: believed only beside another
)
_SEX_KEYS = "sex|gender|성별|性别|性別|sexo|sexe|geschlecht|пол"
_AGE_KEYS = "age|age_group|나이|연령|연령대|年龄|年齢|edad|alter|idade|возраст"
_KEYED = re.compile(
    rf"(?i)(?:^|[/_,;&+ -])(?:(?P<nat>{_NATIONALITY_KEYS})"
    rf"|(?P<country>{_COUNTRY_KEYS})|(?P<sex>{_SEX_KEYS})"
    rf"|(?P<age>{_AGE_KEYS}))=(?P<value>[^/=&;,]{{1,30}})"
)
_SEX_VALUE = re.compile(
    r"(?i)(?:m|f|x|male|female|man|woman|남|여|남성|여성|男|女|[0129])(?![a-z])"
)
_AGE_VALUE = re.compile(
    r"(?:1[0-2][0-9]|[0-9]{1,2})(?:-(?:1[0-2][0-9]|[0-9]{1,2}))?(?![0-9a-zA-Z])"
)

# What an ordinary name fails quickly: each starts with one set of characters, which `re` searches
# fast.
_HINTS = (
    re.compile(r"[_\-. /](?:[MFmf남여男女]|[Mm]ale|[Ff]emale|MALE|FEMALE)(?:[_\-. ]|$)"),
    re.compile(r"[0-9]{6}-?[0-9]{7}"),
)
_PASSPORT_HINTS = ("pass", "pspt", "pasaporte", "여권", "旅券", "护照", "護照")
_SEX = re.compile(r"[MF]|[mf]|male|female|Male|Female|MALE|FEMALE|남|여|男|女")
_AGE = re.compile(r"1[01][0-9]|[0-9]{1,2}|0[0-9]{2}")
# Codes that are ordinary words or file formats in capitals: believed only beside both sex and age.
_ORDINARY = frozenset({"PNG", "COM", "AND", "GEO", "CAN", "PER", "PAN", "TON", "SUR", "MAR", "GIN"})
_SPLIT = re.compile(r"[_\-. ]+")
# UTKFace: [age]_[gender]_[race]_[date and time]
_UTK = re.compile(r"(?:1[01][0-9]|[0-9]{1,2})_[01]_[0-4]_20[0-9]{15}(?![0-9])")
_ABOUT_PEOPLE = re.compile(
    r"(?i)(?<![a-z])(?:faces?|people|persons?|portraits?|selfies?|mugshots?|headshots?|passengers?|passports?|immigration"
    r"|immigrants?|visitors?|agedb|utkface|morph|fgnet|imdb|wiki|celeba?|kyc|id_?photos?)(?![a-z])|얼굴|인물|안면|人脸|人臉|顔|лица"
)
_RRN = re.compile(r"(?<![0-9A-Za-z])[0-9]{6}-[0-9]{7}(?![0-9])")
_CHINESE = re.compile(r"(?<![0-9A-Za-z])[1-9][0-9]{16}[0-9Xx](?![0-9A-Za-z])")
_PASSPORT = re.compile(
    r"(?i)(?<![a-z])(?:passports?|pspt|여권|旅券|护照|護照|pasaporte|reisepass|passeport)[^/a-z0-9]{0,3}(?:no|number|번호)?"
    r"[^/a-z0-9]{0,3}(?:[a-z]{1,2}[0-9]{7,8}|[a-z][0-9]{3}[a-z][0-9]{4})(?![0-9a-z])"
)

_CONFIDENCE: dict[Certainty, float] = {"certain": 0.85, "possible": 0.4}
_DIGEST = hashlib.blake2b(
    "".join(p.pattern for p in (_KEYED, *_HINTS, _SEX, _AGE, _ABOUT_PEOPLE, _PASSPORT)).encode(),
    digest_size=5,
).hexdigest()


@dataclass(frozen=True, slots=True)
class Paths:
    """Judges the location's own name; looks at no bytes and at none of its parents."""

    name: str = "paths"
    version: str = f"1-{_DIGEST}"

    def path(self, location: Location) -> Iterator[Detection]:
        """Nationality, gender, age and ethnicity that the name spells out, and identity numbers in
        it.
        """
        name = location.name
        lowered = name.lower()
        if (
            "=" not in name
            and not any(word in lowered for word in _PASSPORT_HINTS)
            and not _HINTS[0].search(f"/{name}")
            and not _HINTS[1].search(name)
        ):
            return
        for kind, certainty in _read(name).items():
            yield Detection(
                location=location,
                kind=kind,
                basis="metadata",
                confidence=_CONFIDENCE[certainty],
                certainty=certainty,
                detector=self.name,
                detector_version=self.version,
            )


def _read(name: str) -> dict[str, Certainty]:
    found = _keyed(name) if "=" in name else {}
    folders, _, file = name.rpartition("/")
    for kind, certainty in _spelled(folders, file).items():
        found.setdefault(kind, certainty)
    if any(checksums.rrn(match.group()) == 2 for match in _RRN.finditer(name)) or any(
        checksums.chinese_id(match.group()) == 2 for match in _CHINESE.finditer(name)
    ):
        found["identifier.national_id"] = "certain"
    if _PASSPORT.search(name):
        found["identifier.passport"] = "possible"
    return found


def _keyed(name: str) -> dict[str, Certainty]:
    """`nationality=KR/sex=F/age=34`: certain, but age and country are believed only beside another
    key.
    """
    keys: set[str] = set()
    for match in _KEYED.finditer(name):
        value = match["value"].rsplit("/", 1)[-1]
        if match["nat"] is not None and re.match(r"[^\W\d_]{2}", value):
            keys.add("attribute.nationality")
        elif match["country"] is not None and re.match(r"[^\W\d_]{2}", value):
            keys.add("country")
        elif match["sex"] is not None and _SEX_VALUE.match(value):
            keys.add("attribute.gender")
        elif match["age"] is not None and _AGE_VALUE.match(value):
            keys.add("attribute.age")
    firm = keys & {"attribute.nationality", "attribute.gender"}
    if "country" in keys and "attribute.gender" in keys:
        firm |= {"attribute.nationality"}
    if "attribute.age" in keys and (firm or _ABOUT_PEOPLE.search(name)):
        firm |= {"attribute.age"}
    return dict.fromkeys(sorted(firm), "certain")


def _spelled(folders: str, file: str) -> dict[str, Certainty]:
    """`KOR/0a1b_F_34.jpg`: a sex, beside an age or a country, or both.

    Sex and age alone (`scene_M_12.png`) need a path that is about people.
    """
    stem = file.rpartition(".")[0] or file
    if _UTK.match(stem):
        return dict.fromkeys(
            ("attribute.age", "attribute.gender", "attribute.ethnicity"), "certain"
        )
    parts = _SPLIT.split(stem)
    best: dict[str, Certainty] = {}
    for at, part in enumerate(parts):
        if len(parts) == 1 or not _SEX.fullmatch(part):
            continue
        near = [parts[i] for i in (at - 1, at + 1) if 0 <= i < len(parts)]
        age = any(_AGE.fullmatch(token) for token in near)
        around = parts[max(0, at - 2) : at] + parts[at + 1 : at + 3]
        country = _country(folders, around, sure=age)
        if age and country:
            return dict.fromkeys(
                ("attribute.nationality", "attribute.gender", "attribute.age"), "certain"
            )
        if country:
            best = dict.fromkeys(("attribute.nationality", "attribute.gender"), "possible")
        elif age and (
            len(part) > 1 or not part.isascii() or _ABOUT_PEOPLE.search(f"{folders}/{file}")
        ):
            best = dict.fromkeys(("attribute.gender", "attribute.age"), "possible")
    return best


def _country(folders: str, around: list[str], *, sure: bool) -> bool:
    """A country code as one of the last two folders, or as a word of the file name near the sex.

    Two-letter codes, and three-letter ones that are ordinary words, count only where sex and age
    stand together.
    """
    names = folders.split("/")[-2:]
    for code in (*names, *around):
        code = code.rpartition("=")[2]
        if not code.isupper() or not code.isascii() or country(code) is None:
            continue
        if len(code) == 3 and (sure or code not in _ORDINARY):
            return True
        if len(code) == 2 and sure and (code in around or code == names[-1]):
            return True
    return False


DETECTOR = Paths()

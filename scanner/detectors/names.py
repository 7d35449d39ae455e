"""What a field name claims: tokens of many scripts, looked up in the lexicon, never substrings."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scanner.detectors.lexicon import ANYWHERE, LEXICON, NOT_BESIDE, NOT_WITH

# What the values of a column must be for its name to hold.
Form = Literal["template", "image", "audio", "any", "value"]
# strong: the name speaks alone; related: needs another personal column; values: needs values that
# agree;
# identity: an image or a vector that needs a column saying whose it is.
Strength = Literal["strong", "related", "values", "identity"]

MAX_NAME = 400  # characters of a column name that are looked at; longer ones are data, not names
MAX_PHRASE = 5

MODALITIES = (
    "face", "fingerprint", "palm", "vein", "iris", "retina", "voice", "gait", "dna", "signature",
    "keystroke",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """That a name speaks of `kind`, how its values should look, and how much it takes to believe
    it.
    """

    kind: str
    form: Form
    strength: Strength


@dataclass(frozen=True, slots=True)
class Reading:
    """A name, read: its normalised words, the lexicon tags found, and what it claims."""

    words: frozenset[str]
    tags: frozenset[str]
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    text: str
    tags: frozenset[str]


# ---------------------------------------------------------------- cutting a name into words

_ASCII_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MARKS = re.compile("[\u0300-\u036f\u064b-\u065f\u0670\u0640]")  # accents; Arabic points, tatweel


def _script(char: str) -> str:
    """One letter for the run a character belongs to: K(orean), J (Han and kana), U/L (cased),
    O(ther), - (none).
    """
    code = ord(char)
    if 0xAC00 <= code <= 0xD7A3 or 0x1100 <= code <= 0x11FF or 0x3131 <= code <= 0x318E:
        return "K"
    if (
        0x4E00 <= code <= 0x9FFF
        or 0x3041 <= code <= 0x30FF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x3134F
        or char in "々〆"
    ):
        return "J"
    category = unicodedata.category(char)
    if category == "Lu" or category == "Lt":
        return "U"
    if category == "Ll":
        return "L"
    if category in ("Lo", "Lm"):
        return "O"
    return "M" if category[0] == "M" else "-"


def _fold(token: str) -> str:
    """Case, accents and Arabic points away; Hangul and kana stay composed."""
    if token.isascii():
        return token.casefold()
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", token.casefold()))
    return unicodedata.normalize("NFC", bare)


def tokens(name: str) -> list[str]:
    """The words of a name, folded, in order: split at non-letters, digits, camelCase and changes
    of script.
    """
    name = unicodedata.normalize("NFKC", name[:MAX_NAME])
    if name.isascii():
        return [word.casefold() for word in _ASCII_NAME.findall(name)]
    runs: list[tuple[str, str]] = []  # (script, text); cased letters are one run until camelCase
    for char in name:
        script = _script(char)
        if script == "M":  # a combining mark belongs to the letter before
            if runs and runs[-1][0] != "-":
                runs[-1] = (runs[-1][0], runs[-1][1] + char)
            continue
        last = runs[-1][0] if runs else "-"
        if script == "-" or last == "-":
            runs.append((script, char))
        elif script == last:
            runs[-1] = (script, runs[-1][1] + char)
        elif last == "U" and script == "L":
            # HTTPServer: the last capital opens the word
            head, capital = runs[-1][1][:-1], runs[-1][1][-1]
            runs[-1:] = [("U", head), ("L", capital + char)] if head else [("L", capital + char)]
        else:
            runs.append((script, char))
    found: list[str] = []
    for script, text in runs:
        if script in "KJ":
            found.extend(_segment(_fold(text)))
        elif script != "-":
            found.append(_fold(text))
    return [word for word in found if word]


# ---------------------------------------------------------------- the lexicon, indexed


def _key(words: str) -> tuple[str, ...]:
    return tuple(_fold(unicodedata.normalize("NFKC", part)) for part in words.split("_") if part)


def _index() -> dict[tuple[str, ...], frozenset[str]]:
    table: dict[tuple[str, ...], set[str]] = {}
    for tag, languages in LEXICON.items():
        for words in languages.values():
            for word in words.split():
                table.setdefault(_key(word), set()).add(tag)
    return {key: frozenset(tags) for key, tags in table.items()}


def _words_of(table: dict[str, str]) -> dict[str, frozenset[str]]:
    return {key: frozenset(_fold(word) for word in words.split()) for key, words in table.items()}


def _is_unspaced(word: str) -> bool:
    return _script(word[0]) in "KJ"


_PHRASES = _index()
_NOT_WITH = _words_of(NOT_WITH)
_NOT_BESIDE = _words_of(NOT_BESIDE)
_UNSPACED = frozenset(key[0] for key in _PHRASES if len(key) == 1 and _is_unspaced(key[0]))
_LONGEST_UNSPACED = max(len(word) for word in _UNSPACED)
_ANYWHERE = frozenset(_fold(word) for word in ANYWHERE.split())

LEXICON_DIGEST = hashlib.blake2b(
    repr((LEXICON, ANYWHERE, NOT_WITH, NOT_BESIDE)).encode(), digest_size=5
).hexdigest()


def _segment(run: str) -> list[str]:
    """A run of Korean, or of Han and kana, cut into lexicon words: fewest unknown characters, then
    fewest words.

    Where part of the run stays unknown, only words that no ordinary word contains are kept
    (`ANYWHERE`):
    표면, 인터페이스, 表面 and 界面 hold 면 and 面, but never 얼굴 or 顔.
    """
    best: list[tuple[int, int, int, str]] = [(0, 0, 0, "")]  # unknown, words, where from, word
    for end in range(1, len(run) + 1):
        unknown, words, _, _ = best[end - 1]
        choice = (unknown + 1, words, end - 1, "")
        for size in range(1, min(_LONGEST_UNSPACED, end) + 1):
            piece = run[end - size : end]
            if piece in _UNSPACED:
                before = best[end - size]
                option = (before[0], before[1] + 1, end - size, piece)
                if option[:2] < choice[:2]:
                    choice = option
        best.append(choice)
    found: list[str] = []
    here, gap = len(run), len(run)
    while here:
        _, _, start, piece = best[here]
        if piece:
            if gap > here:
                found.append(run[here:gap])
            found.append(piece)
            gap = start
        here = start
    if gap:
        found.append(run[:gap])
    found.reverse()
    if best[-1][0]:
        return [word if word in _ANYWHERE else f"?{word}" for word in found]
    return found


# Glued Latin names (`faceembedding`, `Gesichtsvektor`, `passportno`): one modality or person word
# and partners.
_GLUE_HEADS = (
    "face",
    "fingerprint",
    "fingerprint.strong",
    "iris",
    "voice",
    "voice.template",
    "passport",
    "person",
    "party",
    "palm",
    "retina",
    "biometric",
)
_GLUE_PARTNERS = ("template", "image", "id")


def _latin(tags: Iterable[str], shortest: int) -> frozenset[str]:
    wanted = set(tags)
    return frozenset(
        key[0]
        for key, found in _PHRASES.items()
        if len(key) == 1 and found & wanted and len(key[0]) >= shortest and key[0].isascii()
    )


_HEADS = _latin(_GLUE_HEADS, 4)
_PARTNERS = _latin(_GLUE_PARTNERS, 2)


def _unglue(token: str) -> tuple[str, ...]:
    if len(token) < 6 or not token.isascii():
        return (token,)
    for cut in range(3, len(token) - 1):
        left, right = token[:cut], token[cut:]
        if left in _HEADS:
            for link in ("", "s"):
                rest = right.removeprefix(link) if link else right
                if rest in _PARTNERS or rest.removesuffix("s") in _PARTNERS:
                    return (left, rest)
        if right in _HEADS and left in _PARTNERS and len(left) >= 3 and left not in ("num", "code"):
            return (left, right)
    return (token,)


def _stems(token: str) -> Iterable[str]:
    yield token
    if token.startswith("ال") and len(token) > 4:  # the Arabic article
        yield token[2:]
    if not token.isascii() or len(token) < 4:
        return
    if token.endswith("ies"):
        yield token[:-3] + "y"
    if token.endswith("es"):
        yield token[:-2]
    if token.endswith("s"):
        yield token[:-1]
    if token.endswith("ing"):
        yield token[:-3]
        yield token[:-3] + "e"


@lru_cache(maxsize=4096)
def _known(token: str) -> str:
    """The lexicon's form of a token, or the token itself."""
    for form in _stems(token):
        if (form,) in _PHRASES:
            return form
    return token


def _units(words: list[str]) -> list[_Unit]:
    """Words joined to the longest phrases of the lexicon."""
    forms: list[tuple[str, str]] = []  # as written, as the lexicon knows it
    for word in words:
        known = _known(word)
        pieces = _unglue(word) if (known,) not in _PHRASES else (word,)
        forms.extend((piece, _known(piece)) for piece in pieces)
    units: list[_Unit] = []
    here = 0
    while here < len(forms):
        for size in range(min(MAX_PHRASE, len(forms) - here), 0, -1):
            part = forms[here : here + size]
            tags = _PHRASES.get(tuple(known for _, known in part))
            if tags is None and size > 1:
                tags = _PHRASES.get(tuple(written for written, _ in part))
            if tags is not None or size == 1:
                units.append(_Unit("_".join(known for _, known in part), tags or frozenset()))
                here += size
                break
    return units


# ---------------------------------------------------------------- what the words claim


@lru_cache(maxsize=8192)
def read_name(name: str) -> Reading:
    """What a column name claims. Dotted names (flattened structs) are read by their last part
    first.

    Never fails, whatever the name holds.
    """
    last = name.rpartition(".")[2]
    whole = _read(name)
    if last == name or not last:
        return whole
    own = _read(last)
    strong = tuple(claim for claim in own.claims if claim.strength == "strong")
    return Reading(whole.words, whole.tags, strong or whole.claims)


def _read(name: str) -> Reading:
    written = tokens(name)
    units = _units(written)
    tags = frozenset(tag for unit in units for tag in unit.tags)
    words = frozenset(written) | {_known(word) for word in written} | {u.text for u in units}
    # what was not understood at all, or only as "about something else"
    claims: dict[str, Claim] = {}
    for claim in (*_biometric(units, words, tags), *_identifiers(units, words, tags),
                  *_attributes(units, words, tags)):  # fmt: skip
        claims.setdefault(claim.kind, claim)
    return Reading(words, tags, tuple(claims.values()))


def contradicted(claim: Claim, reading: Reading, beside: frozenset[str]) -> bool:
    """Whether other columns say that the name means something else (sepal beside iris)."""
    topic = claim.kind.split(".")[1]
    return bool(_NOT_BESIDE.get(topic, frozenset()) & beside) or (
        "selfie" in reading.words and bool(_NOT_BESIDE["selfie"] & beside)
    )


def _has(unit: _Unit, *tags: str) -> bool:
    return any(tag in unit.tags for tag in tags)


def _led(units: list[_Unit]) -> bool:
    """`has_face`, `num_faces`: a statement about it, not the thing."""
    return any("lead" in unit.tags for unit in units)


def _tailed(units: list[_Unit], core: Iterable[str], allowed: frozenset[str] = frozenset()) -> bool:
    """`face_confidence`, `passport_expiry`: the name goes on to say something about the thing."""
    wanted = set(core)
    last = max((at for at, unit in enumerate(units) if unit.tags & wanted), default=-1)
    return any("about" in unit.tags and unit.text not in allowed for unit in units[last + 1 :])


def _biometric(units: list[_Unit], words: frozenset[str], tags: frozenset[str]) -> Iterable[Claim]:
    if _led(units):
        return
    partners = {"template", "image", "audio", "bio"}
    for modality in MODALITIES:
        family = {modality, f"{modality}.strong", f"{modality}.photo", f"{modality}.template"}
        if not tags & family or words & _NOT_WITH.get(modality, frozenset()):
            continue
        if "selfie" in words and words & _NOT_WITH["selfie"]:
            continue
        if _tailed(units, family | {"template", "image"}):
            continue
        # a unit cannot be its own partner
        others = [unit for unit in units if not unit.tags & family]
        beside = frozenset(tag for unit in others for tag in unit.tags) & partners
        form: Form = "any"
        if f"{modality}.template" in tags or "template" in beside:
            form = "template"
        elif f"{modality}.photo" in tags or "image" in beside:
            form = "image"
        elif modality == "voice":
            form = "audio"
        strength: Strength = "values"
        if tags & (family - {modality}):
            strength = "strong"
        elif modality == "signature":
            if "image" in beside or "biometric" in tags:
                strength = "strong"
            elif beside & {"template", "bio"}:
                continue  # the signature of a message, most often
        elif modality == "dna":
            strength = "strong" if "bio" in beside or "biometric" in tags else "related"
        elif modality == "voice":
            if "image" in beside or (words & {"speaker"} and any(_has(u, "id") for u in others)):
                continue
            strength = "strong" if beside or "biometric" in tags else "values"
        elif beside or "biometric" in tags:
            strength = "strong"
        elif modality == "face" and any(_has(u, "id") for u in others):
            continue  # `face_id` names someone, it does not show them: see _identifiers
        yield Claim(f"biometric.{modality}", form, strength)
    modal = any(tag.split(".")[0] in MODALITIES for tag in tags)
    if modal or "face" in words:
        return
    if "biometric" in tags and not _tailed(units, {"biometric", "template", "image", "bio"}):
        # which one is not said: the name alone is not enough
        yield Claim("biometric.face", "any", "values")
    elif (
        "template" in tags
        and not words & _NOT_WITH["embedding"]
        and "hash" not in words
        and not _tailed(units, {"template"})
    ):
        yield Claim("biometric.face", "template", "identity")
    elif "image" in tags and not _tailed(units, {"image"}) and "idcard" not in tags:
        known = all(unit.tags & {"image", "person", "party", "neutral", "bio"} for unit in units)
        if known:
            yield Claim("biometric.face", "image", "values" if "person" in tags else "identity")


def _only(units: list[_Unit], *allowed: str) -> bool:
    """Whether every word of the name is one of these, or says nothing."""
    return all(unit.tags & {*allowed, "neutral"} for unit in units)


def _identifiers(
    units: list[_Unit], words: frozenset[str], tags: frozenset[str]
) -> Iterable[Claim]:
    led = _led(units)
    if "mrz" in tags and not led:
        yield Claim("document.mrz", "value", "strong")
    if "idcard" in tags and not led and not _tailed(units, {"idcard"}):
        yield Claim("document.id_card", "image", "values")
    if "passport" in tags and not led and not _tailed(units, {"passport"}):
        plain = _only(units, "passport", "id", "person", "party", "template", "national.strong")
        yield Claim("identifier.passport", "value", "strong" if plain else "values")
    if "national.strong" in tags and not led and not _tailed(units, {"national.strong"}):
        plain = _only(
            units, "national.strong", "id", "person", "party", "template", "passport", "bio"
        )
        yield Claim("identifier.national_id", "value", "strong" if plain else "values")
    elif (
        "national" in tags
        and "id" in tags
        and not led
        and not words & _NOT_WITH["national"]
        and _only(units, "national", "id", "person", "party", "template")
    ):
        yield Claim("identifier.national_id", "value", "strong")
    if led:
        return
    if "subject.strong" in tags and not _tailed(units, {"subject.strong"}):
        yield Claim("identifier.subject_id", "value", "strong")
    elif "id" in tags and _only(units, "id", "person", "party", "face", "voice"):
        if "person" in tags or "speaker" in words:
            yield Claim("identifier.subject_id", "value", "strong")
        elif "party" in tags or ("face" in tags and len(units) == 2):
            yield Claim("identifier.subject_id", "value", "related")
    elif words & {"identity", "subject", "person", "speaker", "celebrity"} and (
        _only(units, "person") or ("speaker" in words and len(units) == 1)
    ):
        yield Claim("identifier.subject_id", "value", "related")
    if "name.strong" in tags and not _tailed(units, {"name.strong"}):
        yield Claim("identifier.name", "value", "strong")
    elif units and "name" in units[-1].tags and _only(units, "name", "person", "party"):
        # `employee_name` speaks; `name` alone may name anything
        person = any(_has(unit, "person") for unit in units)
        yield Claim("identifier.name", "value", "strong" if person else "related")


_LABELS = frozenset(
    {
        "label",
        "code",
        "name",
        "category",
        "class",
        "type",
        "description",
        "id",
        "유형",
        "코드",
        "종류",
    }
)
_AGE_TAILS = frozenset(
    {"group", "range", "band", "bracket", "year", "years", "yr", "yrs", "month", "at", "day", "num"}
)


def _attributes(units: list[_Unit], words: frozenset[str], tags: frozenset[str]) -> Iterable[Claim]:
    led = _led(units)
    for attribute in ("nationality", "gender", "age", "ethnicity"):
        strong, weak = attribute in tags, f"{attribute}.weak" in tags
        if not (strong or weak) or words & _NOT_WITH[attribute]:
            continue
        family = {attribute, f"{attribute}.weak"}
        if _tailed(units, family, _LABELS):
            continue
        if led and not (attribute == "gender" and weak):
            continue
        others = [unit for unit in units if not unit.tags & family]
        plain = all(
            unit.tags & {"person", "party", "neutral", "id", "face", "lead"}
            or unit.text in _LABELS
            or (attribute == "age" and unit.text in _AGE_TAILS)
            for unit in others
        )
        person = any(_has(unit, "person", "face") for unit in others)
        if strong or (person and weak and plain and attribute != "gender"):
            yield Claim(f"attribute.{attribute}", "value", "strong" if plain else "related")
        elif plain:
            yield Claim(f"attribute.{attribute}", "value", "related")

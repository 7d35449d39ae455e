"""Identity numbers known by their own arithmetic: machine readable zones, national identity
numbers, passport numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scanner.detectors.checksums import (
    MRZ_HINT,
    Proof,
    aadhaar,
    chinese_id,
    codice_fiscale,
    cpf,
    curp,
    dni,
    find_mrz,
    my_number,
    nir,
    rrn,
    shape_only,
)
from scanner.detectors.lexicon import LEXICON
from scanner.detectors.names import LEXICON_DIGEST
from scanner.model import Certainty, Detection, Text

# ---------------------------------------------------------------- the numbers looked for


@dataclass(frozen=True, slots=True)
class Number:
    """One kind of number: how it is written, how it is proved, and whether it may speak without a
    name beside it.
    """

    name: str
    kind: str
    pattern: re.Pattern[str]
    prove: Callable[[str], Proof]
    hint: str | None = None  # RE2, for whole columns; None: only looked for where a name speaks
    alone: frozenset[str] = frozenset()  # "formatted": with its separators; "bare": without


_L, _R = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_SEP = r" ?[-–] ?"

_NATIONAL = "identifier.national_id"

NUMBERS: tuple[Number, ...] = (
    Number(
        "rrn",
        _NATIONAL,
        re.compile(
            rf"(?<![0-9A-Za-z.-])[0-9]{{2}}[01][0-9][0-3][0-9](?:{_SEP})?[0-9]{{7}}(?![0-9A-Za-z-])"
        ),
        rrn,
        r"[0-9]{2}[01][0-9][0-3][0-9] ?[-–]? ?[0-9]{7}",
        frozenset({"formatted", "many"}),
    ),
    Number(
        "chinese-id",
        _NATIONAL,
        re.compile(rf"{_L}[1-8][0-9]{{5}}(?:19|20)[0-9]{{2}}[01][0-9][0-3][0-9]{{4}}[0-9Xx]{_R}"),
        chinese_id,
        r"[1-8][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx]",
        frozenset({"bare"}),
    ),
    Number(
        "cpf",
        _NATIONAL,
        re.compile(rf"{_L}[0-9]{{3}}\.[0-9]{{3}}\.[0-9]{{3}}-[0-9]{{2}}{_R}|{_L}[0-9]{{11}}{_R}"),
        cpf,
        r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}",
        frozenset({"formatted"}),
    ),
    Number(
        "codice-fiscale",
        _NATIONAL,
        re.compile(rf"{_L}[A-Z]{{6}}[0-9]{{2}}[ABCDEHLMPRST][0-7][0-9][A-Z][0-9]{{3}}[A-Z]{_R}"),
        codice_fiscale,
        r"[A-Z]{6}[0-9]{2}[ABCDEHLMPRST][0-7][0-9][A-Z][0-9]{3}[A-Z]",
        frozenset({"formatted"}),
    ),
    Number(
        "curp",
        _NATIONAL,
        re.compile(
            rf"{_L}[A-Z][AEIOUX][A-Z]{{2}}[0-9]{{6}}[HMX][A-Z]{{2}}[B-DF-HJ-NP-TV-Z]{{3}}[A-Z0-9]"
            rf"[0-9]{_R}"
        ),
        curp,
        r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{5}[A-Z0-9][0-9]",
        frozenset({"formatted"}),
    ),
    Number(
        "aadhaar",
        _NATIONAL,
        re.compile(rf"{_L}[2-9][0-9]{{3}}[ -]?[0-9]{{4}}[ -]?[0-9]{{4}}{_R}"),
        aadhaar,
    ),
    Number(
        "my-number",
        _NATIONAL,
        re.compile(rf"{_L}[0-9]{{4}}[ -]?[0-9]{{4}}[ -]?[0-9]{{4}}{_R}"),
        my_number,
    ),
    Number(
        "dni",
        _NATIONAL,
        re.compile(rf"{_L}(?:[0-9]{{8}}|[XYZxyz][0-9]{{7}})[ -]?[A-Za-z]{_R}"),
        dni,
    ),
    Number(
        "nir",
        _NATIONAL,
        re.compile(
            rf"{_L}[12] ?[0-9]{{2}} ?[0-9]{{2}} ?[0-9][0-9AB] ?[0-9]{{3}} ?[0-9]{{3}} ?"
            rf"[0-9]{{2}}{_R}"
        ),
        nir,
    ),
    Number(
        "ssn",
        _NATIONAL,
        re.compile(rf"{_L}(?!000|666|9)[0-9]{{3}}-(?!00)[0-9]{{2}}-(?!0000)[0-9]{{4}}{_R}"),
        shape_only,
    ),
    Number(
        "residence-card",
        _NATIONAL,
        re.compile(rf"{_L}[A-Z]{{2}}[0-9]{{8}}[A-Z]{{2}}{_R}"),
        shape_only,
    ),
    Number(
        "passport",
        "identifier.passport",
        re.compile(
            rf"{_L}(?:[A-Z]{{1,2}}[0-9]{{6,8}}|[A-Z][0-9]{{3}}[A-Z][0-9]{{4}}|[0-9]{{9}}){_R}"
        ),
        shape_only,
    ),
)

# One pass over a column with RE2 (which has no look-around) finds the cells that are worth a closer
# look.
CELL_PREFILTER = "|".join(
    [MRZ_HINT, "&lt;&lt;", *(number.hint for number in NUMBERS if number.hint)]
)
_PREFILTER = re.compile(CELL_PREFILTER)

_MANY = 3  # numbers without separators need this many that agree,
_SHARE = 0.8  # and this share of all that are written so: 1 in 10 agrees by chance


@dataclass(slots=True)
class Tally:
    """What one number's candidates in a column or text came to; `rows` are those of the hits."""

    formatted: int = 0
    formatted_verified: int = 0
    bare: int = 0  # candidates without separators, good or not
    bare_verified: int = 0
    formatted_rows: list[int] = field(default_factory=list)
    bare_rows: list[int] = field(default_factory=list)


class Hunt:
    """Collects candidates from many cells or lines, then says which of them stand."""

    def __init__(self, kinds: frozenset[str] = frozenset()) -> None:
        """`kinds`: what the name beside the values speaks of; numbers of these kinds need less
        proof.
        """
        self._kinds = kinds
        self._tallies: dict[str, Tally] = {}
        self._mrz: dict[str, list[int]] = {}

    def cell(self, text: str, row: int, *, named: frozenset[str] | None = None) -> None:
        """Looks at one cell, or one line."""
        if "<" in text or "&lt;" in text:
            for _, kind in find_mrz(text):
                self.mrz(kind, row)
        for number in NUMBERS:
            spoken = number.kind in (self._kinds if named is None else named)
            if not spoken and number.hint is None:
                continue
            for match in number.pattern.finditer(text):
                self._candidate(number, match.group(), row, spoken)

    def mrz(self, kind: str, row: int) -> None:
        self._mrz.setdefault(kind, []).append(row)

    def _candidate(self, number: Number, text: str, row: int, spoken: bool) -> None:
        tally = self._tallies.setdefault(f"{number.name}{'+' if spoken else ''}", Tally())
        proof = number.prove(text)
        # what is only ever written without separators counts as formatted: its own letters are the
        # format
        bare = text.isdecimal() and number.name in ("rrn", "cpf", "passport")
        if bare:
            tally.bare += 1
            if proof == 2 or (spoken and proof):
                tally.bare_rows.append(row)
            tally.bare_verified += proof == 2
        elif number.name == "chinese-id":
            tally.bare += 1
            if proof == 2:
                tally.bare_verified += 1
                tally.bare_rows.append(row)
        elif proof:
            tally.formatted += 1
            tally.formatted_verified += proof == 2
            tally.formatted_rows.append(row)

    def results(self) -> dict[str, tuple[Certainty, list[int]]]:
        """Kind -> (certainty, rows in order, one entry per hit)."""
        out: dict[str, tuple[Certainty, list[int]]] = {}

        def add(kind: str, certainty: Certainty, rows: list[int]) -> None:
            if rows:
                before, old = out.get(kind, ("possible", []))
                best: Certainty = "certain" if "certain" in (certainty, before) else "possible"
                out[kind] = (best, sorted({*old, *rows}))

        for kind, rows in self._mrz.items():
            add("document.mrz", "certain", rows)
            add(kind, "certain", rows)
        for number in NUMBERS:
            for spoken in (True, False):
                tally = self._tallies.get(f"{number.name}{'+' if spoken else ''}")
                if tally is None:
                    continue
                rows, sure = self._standing(number, tally, spoken)
                add(number.kind, "certain" if sure else "possible", rows)
        return out

    def _standing(self, number: Number, tally: Tally, spoken: bool) -> tuple[list[int], bool]:
        if spoken:
            verified = tally.formatted_verified + tally.bare_verified
            by_shape = number.prove is shape_only and tally.formatted > 0
            return tally.formatted_rows + tally.bare_rows, verified > 0 or by_shape
        rows: list[int] = []
        sure = False
        if "formatted" in number.alone or "bare" in number.alone:
            rows += tally.formatted_rows
            # order numbers look like unverified ones, and one in ten of those agrees by chance
            sure = tally.formatted_verified > max(0.3 * tally.formatted, 0)
        if number.name == "chinese-id" and tally.bare_verified >= 0.5 * tally.bare > 0:
            rows += tally.bare_rows
            sure = True
        if (
            "many" in number.alone
            and tally.bare_verified >= _MANY
            and tally.bare_verified >= _SHARE * tally.bare
        ):
            rows += tally.bare_rows
            sure = True
        return rows, sure


# ---------------------------------------------------------------- plain text


def _beside(tag: str) -> str:
    """A regular expression for the words of a tag, as they stand in running text."""
    words = {
        word.replace("_", "[ _-]?") for words in LEXICON[tag].values() for word in words.split()
        if len(word) >= 3 or not word.isascii()
    }  # fmt: skip
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


_SPOKEN = {
    "identifier.passport": re.compile(rf"(?i)(?<![a-z])(?:{_beside('passport')})"),
    "identifier.national_id": re.compile(rf"(?i)(?<![a-z])(?:{_beside('national.strong')})"),
}
_LOOSE = re.compile(r"[0-9]{6}")  # every number looked for holds six digits in a row, or groups:
_GROUPS = re.compile(r"[0-9]{3}[-. ][0-9]{2,4}[-. ][0-9]{2,4}|[A-Z][0-9]{3}[A-Z][0-9]{4}")


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Identity numbers and machine readable zones in plain text."""

    name: str = "identifiers"
    version: str = f"1-{LEXICON_DIGEST}"

    def text(self, text: Text) -> Iterator[Detection]:
        """One detection per kind: at the line of the first hit, with the number of lines that hold
        one.
        """
        body = text.text
        hunt = Hunt()
        for offset, kind in find_mrz(body):
            hunt.mrz(kind, body.count("\n", 0, offset))
        if _LOOSE.search(body) or _GROUPS.search(body):
            spoken = {kind for kind, words in _SPOKEN.items() if words.search(body)}
            for at, line in enumerate(body.split("\n")):
                if not _LOOSE.search(line) and not _GROUPS.search(line):
                    continue
                named = frozenset(kind for kind in spoken if _SPOKEN[kind].search(line))
                if named or _PREFILTER.search(line):
                    hunt.cell(line.replace("<", " ").replace("&lt;", " "), at, named=named)
        for kind, (certainty, lines) in sorted(hunt.results().items()):
            yield Detection(
                location=text.location.child(f"line={text.first_line + lines[0]}"),
                kind=kind,
                basis="field_value",
                confidence=0.95 if certainty == "certain" else 0.5,
                certainty=certainty,
                detector=self.name,
                detector_version=self.version,
                count=len(lines),
                subject_key=text.record.subject_key if text.record else None,
            )


DETECTOR = Identifiers()

"""What the cells of a column say: whether they agree with its name, and what they are whatever its
name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scanner.detectors import identifiers, templates
from scanner.detectors.shapes import Shape, is_bytes, is_text
from scanner.model import Basis, Certainty, Representation

_GENDER_WORDS = (
    "m f male female man woman men women boy girl u x unknown other nonbinary non-binary "
    "남 여 남성 여성 남자 여자 男 女 男性 女性 hombre mujer masculino femenino h homme femme "
    "masculin feminin w mann frau mannlich weiblich d divers feminino homem mulher purush mahila "
    "ذكر أنثى انثى м ж муж жен мужской женский 0 1 2 9 -1"
)
_GENDERS = frozenset(_GENDER_WORDS.split())
_PASSPORT = re.compile(r"[A-Z]{1,2}[0-9]{6,8}|[A-Z][0-9]{3}[A-Z][0-9]{4}|[0-9]{8,9}")
_AGE_RANGE = re.compile(
    r"[\[(]?\s*\d{1,3}\s*(?:[-–~,]|to)\s*\d{1,3}\s*[\])]?|\d{1,3}\s*\+|[<>]=?\s*\d{1,3}|\d0[대代]"
    r"|\w*teen\w*|(?:twen|thir|four|for|fif|six|seven|eigh|nine)ties|adult|child|minor"
)
_BIRTH = re.compile(  # 1990-01-31, 1990, 31.01.1990, 900131
    r"(?:18|19|20)\d\d[-./년]?\s?(?:\d{1,2}[-./월]?\s?\d{0,2}.*)?|\d{1,2}[-./]\d{1,2}[-./](?:\d{2}|\d{4})"
    r"|\d{6}|0000-00-00"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one column is in one batch: a kind, with the rows it stands for."""

    kind: str
    basis: Basis
    certainty: Certainty
    representation: Representation | None
    rows: NDArray[np.bool_]


def agrees(kind: str, shape: Shape) -> bool | None:
    """Whether the values look like what the name says: True, False, or None where they do not
    tell.
    """
    texts = [text for text in shape.texts if text]
    if kind == "attribute.age":
        if shape.look == "number":
            low, high = shape.low, shape.high
            if low >= 0 and high <= 130:
                return True
            dates = low >= 18_000_101 and high <= 21_001_231
            return dates or (low >= 1850 and high <= 2100) or low >= 100_000
        hits = sum(bool(_AGE_RANGE.fullmatch(t.lower()) or _BIRTH.fullmatch(t)) for t in texts)
        return True if hits * 2 > len(texts) else None
    if kind == "attribute.gender":
        if shape.look == "flag":
            return True
        if shape.look == "number" and not (shape.low >= -1 and shape.high <= 9):
            return False
        hits = sum(text.strip().rstrip(".").casefold() in _GENDERS for text in texts)
        return True if texts and hits * 2 > len(texts) else None
    if kind == "attribute.nationality":
        short = [text for text in texts if 2 <= len(text) <= 40 and not any(map(str.isdigit, text))]
        return True if shape.look == "text" and texts and len(short) * 2 > len(texts) else None
    if kind == "attribute.ethnicity":
        if shape.look == "number":
            return None if shape.low >= 0 and shape.high <= 20 else False
        short = [text for text in texts if len(text) <= 40]
        return True if texts and len(short) * 2 > len(texts) else None
    if kind == "identifier.name":
        if shape.look == "number":
            return False
        wordy = [text for text in texts if len(text) <= 80 and not any(map(str.isdigit, text))]
        return True if texts and len(wordy) * 2 > len(texts) else None
    if kind == "identifier.subject_id":
        return True
    if kind == "identifier.passport":
        if shape.look == "digest":
            return None
        hits = sum(bool(_PASSPORT.fullmatch(text.strip().upper())) for text in texts)
        if texts and hits * 2 > len(texts):
            return True
        return False if shape.look == "number" and shape.high < 100_000 else None
    if kind == "identifier.national_id":
        return False if shape.look == "number" and shape.high < 10_000 else None
    return None


def merge(by_name: Verdict | None, by_value: Verdict) -> Verdict:
    """One verdict where name and values speak of the same kind: the name's rows, the better
    certainty.
    """
    if by_name is None:
        return by_value
    certain = "certain" in (by_name.certainty, by_value.certainty)
    return Verdict(
        by_name.kind,
        by_name.basis,
        "certain" if certain else "possible",
        by_name.representation or by_value.representation,
        by_name.rows | by_value.rows,
    )


# ---------------------------------------------------------------- values, whatever the name


def speaking(column: pa.Array, shape: Shape, named: frozenset[str]) -> Iterator[Verdict]:
    """What the cells say by themselves: interchange records, machine readable zones, identity
    numbers.
    """
    kind = column.type
    if is_bytes(kind):
        yield from _records(column, shape)
    elif is_text(kind):
        yield from _text_records(column)
        yield from _numbers(column, shape, named)
    elif pa.types.is_integer(kind) and shape.high >= (1e9 if named else 1e11):
        yield from _numbers(_as_text(column, named), shape, named)
    elif pa.types.is_floating(kind) and named and 1e9 <= shape.high < 2**53:
        try:
            whole = column.cast(pa.int64())
        except pa.ArrowInvalid:
            return
        yield from _numbers(_as_text(whole, named), shape, named)


def _as_text(column: pa.Array, named: frozenset[str]) -> pa.Array:
    """Integers as digits; those of a named resident number get back the zeros that the integer
    lost.
    """
    text = column.cast(pa.string())
    if "identifier.national_id" in named:
        # only 2000s births lose zeros, and at most two: 000101… is written 101…
        padded = pc.utf8_lpad(text, 13, "0")
        return pc.if_else(pc.greater_equal(pc.utf8_length(text), 10), padded, text)
    return text


def _records(column: pa.Array, shape: Shape) -> Iterator[Verdict]:
    fixed = pa.types.is_fixed_size_binary(column.type)
    heads = pc.binary_slice(column.cast(pa.binary()) if fixed else column, 0, templates.HEAD_BYTES)
    mask = None
    for prefix in templates.BINARY_PREFIXES:
        hit = pc.starts_with(heads, prefix)
        mask = hit if mask is None else pc.or_(mask, hit)
    rows: dict[tuple[str, Representation], NDArray[np.bool_]] = {}
    for row in np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False)):
        found = templates.sniff_template(heads[int(row)].as_py())
        if found is not None:
            rows.setdefault((found[0], found[1]), np.zeros(len(column), np.bool_))[row] = True
    yield from _record_verdicts(rows)


def _text_records(column: pa.Array) -> Iterator[Verdict]:
    mask = pc.match_substring_regex(column, templates.CELL_PREFILTER)
    rows: dict[tuple[str, Representation], NDArray[np.bool_]] = {}
    for row in np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False)):
        head = column[int(row)].as_buffer()[:256].to_pybytes().decode("utf-8", "replace")
        found = templates.sniff_template_text(head)
        if found is not None:
            rows.setdefault((found[0], found[1]), np.zeros(len(column), np.bool_))[row] = True
    yield from _record_verdicts(rows)


def _record_verdicts(
    rows: dict[tuple[str, Representation], NDArray[np.bool_]],
) -> Iterator[Verdict]:
    kinds: dict[str, Verdict] = {}
    for (kind, representation), mask in sorted(rows.items(), key=lambda entry: entry[0]):
        before = kinds.get(kind)
        # templates and images of one kind in one column: the template is what the law looks at
        kinds[kind] = Verdict(
            kind,
            "format",
            "certain",
            "template" if before and before.representation == "template" else representation,
            mask if before is None else before.rows | mask,
        )
    yield from kinds.values()


def _numbers(column: pa.Array, shape: Shape, named: frozenset[str]) -> Iterator[Verdict]:
    numbered = named & {"identifier.passport", "identifier.national_id"}
    if shape.look in ("image", "audio", "vector", "opaque"):
        return
    if numbered:
        rows = np.flatnonzero(shape.filled)
    else:
        mask = pc.match_substring_regex(column, identifiers.CELL_PREFILTER)
        rows = np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return
    hunt = identifiers.Hunt(numbered)
    for row in rows:
        cell = column[int(row)].as_py()
        hunt.cell(cell, int(row))
    for kind, (certainty, hits) in hunt.results().items():
        filled = np.zeros(len(column), np.bool_)
        filled[hits] = True
        yield Verdict(kind, "field_value", certainty, None, filled)

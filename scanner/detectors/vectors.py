"""Whether a cell holds an embedding, and of which length."""

from __future__ import annotations

import json
import re

import numpy as np

# What the usual face models put out: Facenet, Dlib, OpenFace, SFace 128; DeepID 160; ArcFace,
# Facenet512, Buffalo_L,
# GhostFaceNet 512; VGG-Face, FbDeepFace 4096 (/formats, section 5). A length alone proves nothing:
# text and CLIP
# models share 512.
FACE_DIMS = frozenset({128, 160, 512, 4096})
VOICE_DIMS = frozenset({192, 256, 400, 512})  # ECAPA, GE2E, i-vectors, x-vectors
MIN_DIM, MAX_DIM = 32, 8192  # of a vector that its name calls an embedding
_MAX_MAGNITUDE = 1e4  # bytes read as floats that leave this range are something else
_SPLIT = re.compile(r"[\s,;]+")
_STARTS = re.compile(r"\s*[\[({]{0,2}\s*[-+]?[0-9.]")


def from_text(text: str) -> int:
    """How many numbers are in "[0.1, 0.2]", "0.1 0.2" or "0.1;0.2"; 0 if it is no such list."""
    if not _STARTS.match(text):
        return 0
    text = text.strip()
    if text[0] == "[" and text[-1] == "]":
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return _length(values)
    parts = [part for part in _SPLIT.split(text.strip("[](){} \n")) if part]
    if len(parts) < 8:
        return 0
    try:
        numbers = np.array(parts, dtype=np.float64)
    except ValueError:
        return 0
    return len(parts) if bool(np.isfinite(numbers).all()) else 0


def _length(values: object) -> int:
    """Of a flat list of numbers; of the first, for a list of such lists (several templates in one
    cell).
    """
    if isinstance(values, list) and len(values) > 0:
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return len(values)
        if (
            isinstance(values[0], list)
            and len({len(v) for v in values if isinstance(v, list)}) == 1
        ):
            return _length(values[0])
    return 0


def from_bytes(data: bytes, *, named: bool = False) -> int:
    """The length of the float32, float16 or float64 vector that `data` plausibly is; 0 if it is
    none.

    Not `named`: only lengths that face models use, else any length of an embedding.
    """
    for width, kind in ((4, "<f4"), (2, "<f2"), (8, "<f8")):
        if len(data) % width:
            continue
        dim = len(data) // width
        if not (MIN_DIM <= dim <= MAX_DIM if named else dim in FACE_DIMS):
            continue
        with np.errstate(all="ignore"):
            values = np.frombuffer(data, dtype=kind).astype(np.float64)
            if not bool(np.isfinite(values).all()):
                continue
            size = np.abs(values)
            # random bytes read as floats spread over the whole range of exponents; components of a
            # vector do not
            middle = float(np.median(size))
            if (
                float(size.max()) < _MAX_MAGNITUDE
                and middle > 1e-6
                and float((size > middle * 1e-4).mean()) > 0.9
                and float(values.std()) > 0
            ):
                return dim
    return 0

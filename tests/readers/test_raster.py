"""Pictures written as numbers are opened like any other, and other numbers are left alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scanner.readers.raster import from_numbers, from_text
from tests.conftest import Run


def _grey(seed: int = 3, side: int = 48) -> np.ndarray:
    from fixtures.synthface import face

    return np.asarray(face(seed=seed, size=side, tight=False).convert("L"))


def test_text_and_numbers_give_the_same_picture() -> None:
    grey = _grey()
    written = from_text(" ".join(map(str, grey.ravel())))
    assert written is not None
    assert written == from_numbers(grey.ravel()) == from_text(str(grey.ravel().tolist()))
    with Image.open(io.BytesIO(written)) as image:
        assert np.array_equal(np.asarray(image), grey)


def test_colour() -> None:
    pixels = np.arange(24 * 24 * 3, dtype=np.int64) % 256
    written = from_numbers(pixels)
    assert written is not None
    assert written.startswith(b"P6 24 24 255\n")


@pytest.mark.parametrize(
    "text",
    [
        " ".join(["7"] * 575),  # no square
        " ".join(["300"] * 576),  # no byte
        " ".join(["0.5"] * 576),  # an embedding
        " ".join(["-1"] * 576),
        " ".join(["1", "0"] * 288),  # flags
        "12 monkeys " * 200,
        "",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert from_text(text) is None


@given(st.text(alphabet="0123456789 ,.-[]x\n", max_size=3000))
def test_any_text_is_answered(text: str) -> None:
    assert from_text(text) is None or from_text(text)[:1] == b"P"  # type: ignore[index]


def test_faces_in_numbers_are_found(consentry: Run, tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.mkdir()
    faces = [_grey(seed) for seed in (3, 4)]
    rows = [f"{n},{' '.join(map(str, f.ravel()))},Training" for n, f in enumerate(faces)]
    text = "\n".join(["emotion,pixels,Usage", *rows]) + "\n"
    (target / "fer.csv").write_text(text, encoding="utf-8")
    octets = pa.array([f.ravel().tolist() for f in faces], pa.list_(pa.uint8()))
    pq.write_table(pa.table({"x": octets}), target / "faces.parquet")
    report = consentry("scan", target, "-f", "json").json
    assert report["detections"]["biometric.face"] == 4
    assert report["summary"]["complete"] is True

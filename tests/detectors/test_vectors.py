"""Lengths of vectors in text and in bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.detectors import vectors

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("dim", [8, 128, 512, 4096])
def test_text(dim: int) -> None:
    values = [float(x) for x in RNG.normal(size=dim)]
    assert vectors.from_text(json.dumps(values)) == dim
    assert vectors.from_text(json.dumps([values, values])) == dim
    assert vectors.from_text(" ".join(map(str, values))) == dim
    assert vectors.from_text("{" + ";".join(map(str, values)) + "}") == dim
    assert vectors.from_text(str(np.array(values[:200]))) in (dim, 200)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[", "[[[[", "[" * 5000, "hello", '["a"]', "[true]", "[nan]", "1 2 3", "1.5",
     "[1, [2]]",
     "2026-11-22 10:00:00", "[0.1, 0.2", "{}", '{"a": [1]}', "NaN " * 20],
)  # fmt: skip
def test_text_that_is_none(text: str) -> None:
    assert vectors.from_text(text) == 0


@pytest.mark.parametrize("kind", ["<f4", "<f2", "<f8"])
@pytest.mark.parametrize("dim", [128, 512])
def test_bytes(kind: str, dim: int) -> None:
    values = RNG.normal(size=dim)
    assert vectors.from_bytes((values / np.linalg.norm(values)).astype(kind).tobytes()) == dim


def test_bytes_of_other_lengths_need_a_name() -> None:
    data = RNG.normal(size=192).astype("<f4").tobytes()
    assert vectors.from_bytes(data) == 0
    assert vectors.from_bytes(data, named=True) == 192


def test_random_bytes_are_almost_never_vectors() -> None:
    for size in (256, 512, 1024, 2048):
        hits = sum(bool(vectors.from_bytes(RNG.bytes(size))) for _ in range(200))
        assert hits == 0, size


@pytest.mark.parametrize("data", [b"", b"abc", bytes(512), b"\xff" * 512, b"text " * 128])
def test_bytes_that_are_none(data: bytes) -> None:
    assert vectors.from_bytes(data) == 0


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    assert vectors.from_text(text) >= 0


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    assert vectors.from_bytes(data, named=True) >= 0

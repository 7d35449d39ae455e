"""Names in plain text: what must fire, and the longer list of what must not."""

from __future__ import annotations

import time

import pytest

from scanner.detectors.keys import DETECTOR
from scanner.model import Detection, Location, Text

TEMPLATE = "Rk1SACAyMAAAAADkAAABAAEAAMUAxQEAAAAoI0"
VECTOR = "[0.12, -0.44, 0.5, 0.1, 0.33, 0.25, 0.1, -0.2, 0.3, 0.1]"


def seen(text: str, first_line: int = 0) -> list[Detection]:
    return list(DETECTOR.text(Text(Location("x"), first_line, text, last=True)))


@pytest.mark.parametrize(
    ("text", "kind", "line", "count"),
    [
        (f"<r><fingerprint_template>{TEMPLATE}</fingerprint_template></r>", "fingerprint", 0, 1),
        (f"<r>\n<b:FingerprintMinutiae a='1'>\n {TEMPLATE}", "fingerprint", 1, 1),
        (f"- id: 1\n  iris_code: {TEMPLATE}\n- id: 2\n  iris_code: '{TEMPLATE}'\n", "iris", 1, 2),
        (f"face_embedding: {VECTOR}\n", "face", 0, 1),
        (f"[user]\nfingerprint_template={TEMPLATE}\n", "fingerprint", 1, 1),
        (f"{{'fingerprint_template' : '{TEMPLATE}'}}", "fingerprint", 0, 1),
        (f"얼굴특징벡터: {VECTOR}", "face", 0, 1),
        (f"fingerprint_template\n{TEMPLATE}\n{TEMPLATE}\n", "fingerprint", 1, 2),
        (f"지문템플릿\r\n{TEMPLATE}\r\n", "fingerprint", 1, 1),
        (f'face_embedding\n"{VECTOR}"\n', "face", 1, 1),
    ],
)
def test_fires(text: str, kind: str, line: int, count: int) -> None:
    [found] = seen(text)
    assert (found.kind, found.certainty, found.basis) == (
        f"biometric.{kind}",
        "possible",
        "field_name",
    )
    assert (str(found.location), found.count) == (f"x!/line={line}", count)
    assert TEMPLATE not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "face_embedding = model.predict_batch(images)",
        "fingerprint: 3f786850e387550fdab836ed7e6dc881de23001b",  # a digest
        "ssh_fingerprint: AAAAB3NzaC1yc2EAAAADAQABAAABAQDF",
        '"fingerprint": "SHA256:abcdEFGH1234abcdEFGH1234abcdEFGH12"',
        "face_embedding_dim: 512",
        "iris = load_iris_from_sklearn()",
        "fingerprint_template\nis what we call a list of minutiae\n",
        f"embedding: {VECTOR}",  # of what, nobody says
        f"token={TEMPLATE}",
        f"We store a fingerprint_template. token={TEMPLATE}",
        f"<fingerprint_template/><token>{TEMPLATE}</token>",
        f"notes\nfingerprint_template\n{TEMPLATE}\n",
    ],
)
def test_stays_silent(text: str) -> None:
    assert seen(text) == []


def test_a_column_begins_with_the_item() -> None:
    assert seen(f"fingerprint_template\n{TEMPLATE}\n", first_line=9) == []


@pytest.mark.parametrize(
    "text",
    ["a." * 500_000, "<a " * 300_000, ": " * 500_000, ":" + " " * 1_000_000,
     ("<a" * 200 + ">" + TEMPLATE) * 1_000, ("a." * 250 + ":" + TEMPLATE) * 1_000],
    ids=range(6),
)  # fmt: skip
def test_hostile_texts_cost_no_time(text: str) -> None:
    started = time.monotonic()
    assert seen(text) == []
    assert time.monotonic() - started < 3

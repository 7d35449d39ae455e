"""What the documents promise exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "SECURITY.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_reason_and_state_is_documented() -> None:
    from scanner.model import REASONS, STATES

    text = (CHECKOUT / "docs/design.md").read_text(encoding="utf-8")
    for word in (*REASONS, *STATES):
        assert re.search(rf"\b{word}\b", text), word


def test_every_column_is_documented() -> None:
    from scanner import schemas

    text = (CHECKOUT / "docs/design.md").read_text(encoding="utf-8")
    for schema in (
        schemas.COVERAGE,
        schemas.DETECTIONS,
        schemas.FINDINGS,
        schemas.AFFECTED,
        schemas.FACTS,
        schemas.HOLDINGS,
    ):
        for name in schema.names:
            assert re.search(rf"\b{name}\b", text), name

"""Country names and codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.countries import country


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("KR", "KR"),
        ("kr", "KR"),
        (" kor ", "KR"),
        ("South Korea", "KR"),
        ("Korea, Republic of", "KR"),
        ("North Korea", "KP"),
        ("USA", "US"),
        ("United States", "US"),
        ("united  kingdom", "GB"),
        ("UK", "GB"),
        ("Viet Nam", "VN"),
        ("Vietnam", "VN"),
        ("NO", "NO"),
        ("US-IL", "US-IL"),
        ("ca-qc", "CA-QC"),
        ("Côte d’Ivoire", None),
        ("Cote d'Ivoire", "CI"),
        ("ZZ", None),
        ("KRX", None),
        ("ZZ-1", None),
        ("", None),
        ("Atlantis", None),
        ("EU", "EU"),
    ],
)
def test_names(text: str, code: str | None) -> None:
    assert country(text) == code


@given(st.text(max_size=20))
def test_a_code_reads_as_itself(text: str) -> None:
    code = country(text)
    assert code is None or country(code) == code

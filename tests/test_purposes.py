"""Purposes: the DPV hierarchy, own terms, and what is in neither."""

from __future__ import annotations

import pytest

from scanner.errors import ConfigError
from scanner.purposes import DPV, Purposes, folded


@pytest.mark.parametrize(
    ("consented", "asked"),
    [
        ("dpv:ResearchAndDevelopment", "dpv:AcademicResearch"),
        ("dpv:EnforceSecurity", "dpv:IdentityVerification"),
        ("dpv:EnforceSecurity", "dpv:FraudPreventionAndDetection"),
        ("dpv:Marketing", "https://w3id.org/dpv/2.0#TargetedAdvertising"),
        ("https://w3id.org/dpv#commercialpurpose", "DPV:CommercialResearch"),
        ("http://www.w3.org/ns/dpv#ServiceProvision", "dpv:SellProducts"),
    ],
)
def test_a_broader_purpose_covers_a_narrower_one_and_not_the_reverse(
    consented: str, asked: str
) -> None:
    assert Purposes().covers(consented, asked)
    assert not Purposes().covers(asked, consented)
    assert Purposes().covers(asked, asked)


@pytest.mark.parametrize(
    ("consented", "asked"),
    [
        ("Marketing", "dpv:Advertising"),  # a bare word is the organisation's own
        ("Marketing", "dpv:Marketing"),
        ("dpv:Purpose", "dpv:Marketing"),  # nobody consents to everything
        ("dpv:ServiceProvision", "dpv:SellDataToThirdParties"),
        ("dpv:AcademicResearch", "dpv:ScientificResearch"),
        ("eu:Marketing", "dpv:Marketing"),
    ],
)
def test_what_covers_nothing_but_itself(consented: str, asked: str) -> None:
    assert not Purposes().covers(consented, asked)
    assert not Purposes().covers(asked, consented)


def test_the_table_is_whole() -> None:
    assert all(broad in DPV for broader in DPV.values() for broad in broader)
    assert all(term not in Purposes().broader(broad) for term, up in DPV.items() for broad in up)


def test_own_terms() -> None:
    own = Purposes.of({"AI-Training": ["dpv:ResearchAndDevelopment"], "faces": ["ai-training"]}, "")
    assert own.covers("dpv:ResearchAndDevelopment", "Faces")
    assert own.covers("ai-training", "faces")
    assert not own.covers("faces", "ai-training")
    assert own.knows("FACES")
    assert own.knows("dpv:Marketing")
    assert not own.knows("face")
    assert folded(" Face ") == "face"


def test_terms_that_are_mutually_broader_are_a_circle() -> None:
    with pytest.raises(ConfigError, match=r"f: purposes in a circle: b → c → d → b;"):
        Purposes.of({"a": ["b"], "b": ["x", "c"], "c": ["d"], "d": ["b"]}, "f")
    with pytest.raises(ConfigError, match="a → a"):
        Purposes.of({"a": ["A"]}, "f")
    chain = {f"t{n}": [f"t{n + 1}"] for n in range(20_000)}
    assert Purposes.of(chain, "f").covers("t20000", "t0")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"dpv:Marketing": ["x"]}, "is a DPV term"),
        ({"a": ["x"], "A": ["y"]}, "is there twice"),
        ({"*": ["x"]}, "is no purpose"),
        ({"a": ["*"]}, "is no purpose"),
        ({"a": ["b", " *\n"]}, "is no purpose"),
    ],
)
def test_wrong_own_terms(own: dict[str, list[str]], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Purposes.of(own, "f")

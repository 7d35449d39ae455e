"""`--policies auto`: which packs the facts ask for, why, and what is said where one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from scanner.model import Context, DeclaredUse
from scanner.policy import builtin_pack_names, choose, load_packs, named
from scanner.policy.packs import builtin_regions
from tests.policy.contexts import context_of


def claimed(
    *,
    datasets: Sequence[Mapping[str, object]] | None = None,
    manifest: list[dict[str, object]] | None = None,
    transfers: list[dict[str, object]] | None = None,
    parties: dict[str, str] | None = None,
    use: DeclaredUse | None = None,
) -> Context:
    seats: list[dict[str, object]] = [
        {"party_id": party, "country": seat} for party, seat in (parties or {}).items()
    ]
    tables = {
        "datasets": datasets or [],
        "manifest_rows": manifest or [],
        "transfers": transfers or [],
        "parties": seats,
    }
    return context_of(tables, declared_use=use or DeclaredUse())


def chosen(context: Context) -> tuple[set[str], str]:
    packs, notes = choose(("auto",), context)
    assert packs[0] == "baseline"
    return set(packs) - {"baseline"}, "\n".join(notes)


def dataset(place: str | None, controller: str | None = None) -> dict[str, object]:
    return {"dataset_id": "visitors", "jurisdiction": place, "controller": controller}


KOREAN = {"kr-pipa", "kr-pipc-ai-risk-model"}


def test_without_auto_nothing_is_chosen() -> None:
    assert choose(("baseline", "./ours"), claimed()) == (("baseline", "./ours"), ())
    assert named(("kr-pipa", "./ours")) == ("kr-pipa", "./ours")


def test_the_people_of_a_dataset() -> None:
    packs, notes = chosen(claimed(datasets=[dataset("KR")]))
    assert packs == KOREAN
    assert "policies: kr-pipa, because the people of dataset 'visitors' are in KR" in notes
    assert "policies: baseline, whatever the facts are" in notes
    assert "not on record" not in notes
    assert chosen(claimed(datasets=[dataset("KR-11")]))[0] == KOREAN


def test_one_line_for_each_pack() -> None:
    context = claimed(
        datasets=[dataset("KR", "moj")],
        parties={"moj": "KR", "lab": "JP"},
        transfers=[{"transfer_id": "t1", "importer_id": "lab", "from_country": "KR"}],
    )
    packs, notes = chosen(context)
    assert packs == {*KOREAN, "jp-appi"}
    lines = notes.splitlines()
    assert len(lines) == 1 + len(packs)
    assert "policies: jp-appi, because the importer of transfer 't1' is in JP" in lines
    assert "policies: kr-pipa, because the people of dataset 'visitors' are in KR (2 more)" in lines


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (
            claimed(datasets=[dataset(None, "acme")], parties={"acme": "BR"}),
            "the controller of dataset 'visitors' is in BR",
        ),
        (
            claimed(transfers=[{"transfer_id": "t1", "from_country": "BR"}]),
            "transfer 't1' starts in BR",
        ),
        (
            claimed(transfers=[{"transfer_id": "t1", "to_country": "BR"}]),
            "transfer 't1' goes to BR",
        ),
        (
            claimed(transfers=[{"transfer_id": "t1", "exporter_id": "a"}], parties={"a": "BR"}),
            "the exporter of transfer 't1' is in BR",
        ),
        (claimed(use=DeclaredUse(to="BR")), "the declared use is in BR"),
        (
            claimed(use=DeclaredUse(recipient="a"), parties={"a": "BR"}),
            "the declared recipient 'a' is in BR",
        ),
        (
            claimed(
                datasets=[dataset(None)],
                manifest=[{"dataset_id": "visitors", "jurisdiction": "BR"}] * 3,
            ),
            "people in the manifest of dataset 'visitors' are in BR",
        ),
    ],
)
def test_every_other_fact(context: Context, why: str) -> None:
    packs, notes = chosen(context)
    assert packs == {"br-lgpd"}
    assert f"policies: br-lgpd, because {why}" in notes.splitlines()


def test_a_party_that_no_record_names_says_nothing() -> None:
    assert chosen(claimed(datasets=[dataset("KR")], parties={"a": "BR"}))[0] == KOREAN


def test_the_place_of_the_people_is_not_on_record() -> None:
    missing = "not on record where the people of dataset 'visitors' are"
    assert missing in chosen(claimed(datasets=[dataset(None)]))[1]
    rows: list[dict[str, object]] = [{"dataset_id": "visitors", "jurisdiction": "BR"}]
    assert missing not in chosen(claimed(datasets=[dataset(None)], manifest=rows))[1]
    rows.append({"dataset_id": "visitors", "jurisdiction": None})
    assert missing in chosen(claimed(datasets=[dataset(None)], manifest=rows))[1]
    # a row without a place has that of its dataset
    assert missing not in chosen(claimed(datasets=[dataset("BR")], manifest=rows))[1]
    packs, notes = chosen(claimed())
    assert packs == set()
    assert "no dataset is declared" in notes
    many = [{"dataset_id": f"d{number}"} for number in range(5)]
    assert "'d0', 'd1', 'd2' and 2 more" in chosen(claimed(datasets=many))[1]


def test_a_place_whose_law_no_pack_knows() -> None:
    packs, notes = chosen(claimed(datasets=[dataset("NG")]))
    assert packs == set()
    assert "no pack knows the law of NG" in notes
    assert "no pack knows the law of CA-ON" in chosen(claimed(datasets=[dataset("CA-ON")]))[1]


def test_a_country_whose_regions_have_packs() -> None:
    packs, notes = chosen(claimed(datasets=[dataset("CA")]))
    assert packs == {"ca-qc"}
    assert (
        "policies: ca-qc, because the people of dataset 'visitors' are in CA, and their region is "
        "not on record"
    ) in notes.splitlines()
    assert "no pack knows" not in notes
    packs, notes = chosen(claimed(datasets=[dataset("CA-QC")]))
    assert packs == {"ca-qc"}
    assert "region is not on record" not in notes
    # where somebody sits does not make the law of a region theirs
    context = claimed(datasets=[dataset("KR", "acme")], parties={"acme": "CA"})
    packs, notes = chosen(context)
    assert packs == KOREAN
    assert (
        "policies: the controller of dataset 'visitors' is in CA, but not in which region of it: "
        "CA-QC have packs of their own; name the region"
    ) in notes.splitlines()


def test_packs_named_beside_auto_stay() -> None:
    context = claimed(datasets=[dataset("SG")])
    packs, notes = choose(("auto", "hk-pdpo", "./ours"), context)
    assert packs == ("baseline", "hk-pdpo", "./ours", "sg-pdpa")
    assert "policies: hk-pdpo, because it is named" in notes
    assert named(("auto", "./ours")) == ("baseline", "./ours")


def test_every_shipped_pack_can_be_chosen_and_loads() -> None:
    regions = builtin_regions()
    assert set(regions) == set(builtin_pack_names())
    for name, places in regions.items():
        assert places, f"{name}: pack.yaml names no regions"
        if places != ("*",):
            assert name in chosen(claimed(datasets=[dataset(places[0])]))[0]
    assert regions["baseline"] == ("*",)
    everywhere = [
        {"dataset_id": place, "jurisdiction": place}
        for places in regions.values()
        for place in places
    ]
    picked, _ = choose(("auto",), claimed(datasets=everywhere))
    assert set(picked) == set(regions)
    assert load_packs(picked, Path())

"""Manifests: which object a row means, whose it is, how old, from where."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scanner.context import load_context
from scanner.context.manifest_rows import read_manifest
from scanner.errors import ConfigError
from scanner.model import DatasetSpec, DeclaredUse, ManifestSpec
from scanner.schemas import MANIFEST_ROWS
from scanner.subjects import SubjectKey

KEY = SubjectKey(b"k" * 32)


def _read(file: Path, *targets: str, location: str = "file", **columns: str) -> pa.Table:
    spec = DatasetSpec("d", manifest=replace(ManifestSpec(str(file), location), **columns))
    found = read_manifest(spec, KEY, targets)
    found.validate(full=True)
    assert found.schema == MANIFEST_ROWS
    return found


def _write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def _parquet(columns: dict[str, object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_every_column(tmp_path: Path) -> None:
    file = _write(
        tmp_path / "m.csv",
        "file,who,years,born,year,nation\n"
        "a.jpg,P1,13.5,2010-05-17,,Korea\n"
        "b.jpg,,,,2010,JPN\n"
        ",P3,old,unknown,soon,Atlantis\n",
    )
    found = _read(
        file,
        subject="who",
        age="years",
        birth_date="born",
        birth_year="year",
        jurisdiction="nation",
    )
    assert found.drop_columns("manifest").to_pylist() == [
        {
            "dataset_id": "d",
            "row": 0,
            "candidates": ["a.jpg"],
            "subject_digest": KEY.digest("P1"),
            "jurisdiction": "KR",
            "age": 13.5,
            "birth_date": date(2010, 5, 17),
        },
        {
            "dataset_id": "d",
            "row": 1,
            "candidates": ["b.jpg"],
            "subject_digest": None,
            "jurisdiction": "JP",
            "age": None,
            "birth_date": date(2010, 12, 31),
        },
        {
            "dataset_id": "d",
            "row": 2,
            "candidates": [],
            "subject_digest": KEY.digest("P3"),
            "jurisdiction": None,
            "age": None,
            "birth_date": None,
        },
    ]
    assert set(found.column("manifest").to_pylist()) == {str(file)}


@pytest.mark.parametrize(
    ("header", "value", "age", "born"),
    [
        ("Age", "7", 7.0, None),
        ("나이", "7", 7.0, None),
        ("연령", "-1", None, None),
        ("年齢", "151", None, None),
        ("age_years", "nan", None, None),
        ("Date of Birth", "20100517", None, date(2010, 5, 17)),
        ("생년월일", "2010-05-17", None, date(2010, 5, 17)),
        ("birth-year", "2010", None, date(2010, 12, 31)),
        ("출생연도", "2010.0", None, date(2010, 12, 31)),
        ("page", "7", None, None),
        ("average", "7", None, None),
    ],
)
def test_ages_are_found_by_name(
    tmp_path: Path, header: str, value: str, age: float | None, born: date | None
) -> None:
    row = _read(_write(tmp_path / "m.csv", f"file,{header}\na.jpg,{value}\n")).to_pylist()[0]
    assert (row["age"], row["birth_date"]) == (age, born)


def test_of_two_ages_none_is_taken(tmp_path: Path) -> None:
    row = _read(_write(tmp_path / "m.csv", "file,age,나이\na,7,8\n")).to_pylist()[0]
    assert row["age"] is None
    row = _read(_write(tmp_path / "m.csv", "file,age,나이\na,7,8\n"), age="나이").to_pylist()[0]
    assert row["age"] == 8.0


def test_typed_columns(tmp_path: Path) -> None:
    content = _parquet(
        {
            "file": pa.array(["a", "b"]).dictionary_encode(),
            "who": pa.array([1.0, None]),
            "age": pa.array([7, 200], pa.int16()),
            "birth_date": pa.array([date(2010, 5, 17), None]),
            "birth_year": pa.array([1990, 2011], pa.int32()),
        }
    )
    first, second = _read(_write(tmp_path / "m", content), subject="who").to_pylist()
    assert (first["age"], first["birth_date"], first["subject_digest"]) == (
        7.0,
        date(2010, 5, 17),
        KEY.digest("1"),
    )
    assert (second["age"], second["birth_date"]) == (None, date(2011, 12, 31))


# ---------------------------------------------------------------- which object


def _candidates(file: Path | str, location: str, *targets: str) -> list[str]:
    path = _write(Path(file), json.dumps({"file": location}) + "\n")
    found = _read(path, *targets).column("candidates").to_pylist()[0]
    assert isinstance(found, list)
    return found


def test_a_manifest_outside_the_target(tmp_path: Path) -> None:
    target = tmp_path / "data"
    assert _candidates(tmp_path / "m", "x/a.jpg", str(target)) == ["x/a.jpg"]
    assert _candidates(tmp_path / "m", "./x/a.jpg", str(target)) == ["x/a.jpg"]
    assert _candidates(tmp_path / "m", "././a", str(target)) == ["./a"]
    assert _candidates(tmp_path / "m", "x//a ", str(target)) == ["x//a "]
    assert _candidates(tmp_path / "m", "a.tar!/b.jpg", str(target)) == ["a.tar!/b.jpg"]


def test_a_manifest_inside_the_target(tmp_path: Path) -> None:
    target = tmp_path / "data"
    assert _candidates(target / "m", "a.jpg", str(target)) == ["a.jpg"]
    assert _candidates(target / "lists/m", "a.jpg", str(target)) == ["a.jpg", "lists/a.jpg"]
    assert _candidates(target / "lists/m", "./a.jpg", str(target)) == ["a.jpg", "lists/a.jpg"]
    assert _candidates(target / "lists/m", "a.jpg", str(target) + "/") == ["a.jpg", "lists/a.jpg"]
    assert _candidates(tmp_path / "data2/m", "a.jpg", str(target)) == ["a.jpg"]


def test_full_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "data"
    full = f"{target}/x/a.jpg"
    assert _candidates(tmp_path / "m", full, str(target)) == [full, "x/a.jpg"]
    assert _candidates(tmp_path / "m", f"file://{full}", str(target)) == [
        f"file://{full}",
        "x/a.jpg",
    ]
    monkeypatch.chdir(tmp_path)
    assert _candidates(tmp_path / "m", full, "data") == [full, "x/a.jpg"]
    assert _candidates(tmp_path / "m", f"{target}x/a.jpg", str(target)) == [f"{target}x/a.jpg"]
    for target_url in ("s3://b/faces", "s3://b/faces/"):
        assert _candidates(tmp_path / "m", "s3://b/faces/x/a.jpg", target_url) == [
            "s3://b/faces/x/a.jpg",
            "x/a.jpg",
        ]
        assert _candidates(tmp_path / "m", "s3://b/faces2/a", target_url) == ["s3://b/faces2/a"]
    assert _candidates(tmp_path / "m", "s3://c/a", "s3://b", "s3://c") == ["s3://c/a", "a"]


def test_a_target_that_is_one_object(tmp_path: Path) -> None:
    url = "s3://b/faces.tar"
    assert _candidates(tmp_path / "m", url, url) == [url, "faces.tar"]
    assert _candidates(tmp_path / "m", f"{url}!/a.jpg", url) == [
        f"{url}!/a.jpg",
        "faces.tar!/a.jpg",
    ]
    assert _candidates(tmp_path / "m", f"{url}2", url) == [f"{url}2"]


def test_a_target_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for place in ("real", "link"):
        full = f"{tmp_path}/{place}/a"
        assert _candidates(tmp_path / "m", full, str(tmp_path / "link")) == [full, "a"]
    assert _candidates(tmp_path / "real/sub/m", "a", str(tmp_path / "link")) == ["a", "sub/a"]


def test_keys_that_are_no_text_match_as_they_are_printed(tmp_path: Path) -> None:
    content = _parquet({"file": pa.array([b"x/\xff.jpg", b"plain.jpg"])})
    found = _read(_write(tmp_path / "m", content)).column("candidates").to_pylist()
    assert r"x/\xff.jpg" in found[0]
    assert found[1] == ["plain.jpg"]
    # text that looks like that prints with its backslash doubled
    assert _candidates(tmp_path / "n", r"a\xff.jpg") == [r"a\\xff.jpg", r"a\xff.jpg"]


def test_rows_with_one_location_stay(tmp_path: Path) -> None:
    found = _read(_write(tmp_path / "m.csv", "file,who\na,1\na,2\na,2\n"), subject="who")
    assert found.column("row").to_pylist() == [0, 1, 2]
    assert found.column("candidates").to_pylist() == [["a"]] * 3


def test_rows_are_counted_through_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.context.manifests.jsonlines.BLOCK_BYTES", 50)
    lines = [json.dumps({"file": f"{n}.jpg", "age": n if n % 7 else str(n)}) for n in range(100)]
    found = _read(_write(tmp_path / "m", "\n".join(lines)))
    assert found.column("row").to_pylist() == list(range(100))
    assert found.column("candidates").to_pylist() == [[f"{n}.jpg"] for n in range(100)]
    assert found.column("age").to_pylist() == [float(n) for n in range(100)]


# ---------------------------------------------------------------- complaints


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (
            "fiel,who\na,b\n",
            {},
            "no column 'file' (named by manifest.location); it has fiel, who; did you mean 'fiel'?",
        ),
        ("file\na\n", {"subject": "who"}, "no column 'who' (named by manifest.subject)"),
        (
            "file\na\n",
            {"jurisdiction": "nation"},
            "no column 'nation' (named by jurisdiction_from)",
        ),
        ("file\na\n", {"birth_year": "y"}, "no column 'y' (named by manifest.birth_year)"),
        ("file,who\n", {}, "the manifest of dataset 'd' has no rows"),
        ("", {}, "is empty"),
        ("{}\n", {}, "no column 'file'"),
        ('{"file": ["S3CRET"]}\n', {}, "row 1, column 'file': expected one plain value"),
    ],
)
def test_what_is_wrong(tmp_path: Path, content: str, columns: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(_write(tmp_path / "m.csv", content), **columns)
    assert message in str(caught.value)
    assert "m.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: no such file"):
        _read(tmp_path / "none.csv")


def test_a_manifest_in_a_store(tmp_path: Path) -> None:
    def open_url(url: str) -> BinaryIO:
        assert url == "s3://b/lists/m.csv"
        return io.BytesIO(b"file\na.jpg\n")

    def broken(url: str) -> BinaryIO:
        raise RuntimeError("S3CRET")

    spec = DatasetSpec("d", manifest=ManifestSpec("s3://b/lists/m.csv", "file"))
    found = read_manifest(spec, KEY, ["s3://b"], open_url)
    assert found.column("candidates").to_pylist() == [["a.jpg", "lists/a.jpg"]]
    with pytest.raises(ConfigError, match="only local files"):
        read_manifest(spec, KEY, ["s3://b"])
    with pytest.raises(ConfigError, match=r"cannot be opened \(RuntimeError\)"):
        read_manifest(spec, KEY, ["s3://b"], broken)


def test_all_manifests_are_in_the_context(tmp_path: Path) -> None:
    specs = [
        DatasetSpec(
            name, manifest=ManifestSpec(str(_write(tmp_path / name, "file\na\nb\n")), "file")
        )
        for name in ("x", "y")
    ]
    context = load_context(
        [*specs, DatasetSpec("z")], [], declared_use=DeclaredUse(), child_age=14, key=KEY
    )
    assert context.manifest_rows.num_rows == 4
    assert context.datasets.column("has_manifest").to_pylist() == [True, True, False]


def test_addresses_are_named_without_their_passwords() -> None:
    spec = DatasetSpec("d", manifest=ManifestSpec("ftp://u:hunter2@h/m.csv", "file", age="age"))
    good = read_manifest(spec, KEY, [], lambda _: io.BytesIO(b"file,age\na.jpg,3\n"))
    assert set(good.column("manifest").to_pylist()) == {"ftp://h/m.csv"}
    for content in (b"", b"file\na.jpg\n", b"file,age\n", b"file,age\na,b,c\n"):
        with pytest.raises(ConfigError) as caught:
            read_manifest(spec, KEY, [], lambda _, content=content: io.BytesIO(content))  # type: ignore[misc]
        assert "hunter2" not in str(caught.value)

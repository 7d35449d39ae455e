"""Tables: names confirmed or taken back by values, counted over batches, one detection per
column and kind.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.detectors.fields import DETECTOR
from scanner.model import KINDS, Detection, Location, TableBatch

Columns = Mapping[str, Sequence[object] | pa.Array]
RNG = np.random.default_rng(7)
HERE = Location("t.parquet")
JPEG = b"\xff\xd8\xff\xe0" + bytes(200)
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(100)


def vector(dim: int) -> list[float]:
    return [float(x) for x in RNG.normal(size=dim)]


def scan(columns: Columns, keys: tuple[str | None, ...] | None = None) -> list[Detection]:
    table = DETECTOR.table()
    batch = pa.RecordBatch.from_pydict(dict(columns))
    return [*table.batch(TableBatch(HERE, 0, batch, True, keys)), *table.finish()]


def kinds(columns: Columns) -> dict[str, str]:
    """Column and kind -> certainty."""
    return {f"{_column(d)}: {d.kind}": d.certainty for d in scan(columns)}


def _column(found: Detection) -> str:
    """Of "column=photo" and of "row=0/photo", where pictures are."""
    return found.location.name.partition("=")[2].rpartition("/")[2]


# ---------------------------------------------------------------- counting and places


def test_one_detection_per_column_over_all_batches() -> None:
    table = DETECTOR.table()
    out: list[Detection] = []
    for first, cells in (
        (0, ["900101-1234568", "", None]),
        (3, [None, None]),
        (5, ["850505-2345674"]),
    ):
        batch = pa.RecordBatch.from_pydict({"주민등록번호": pa.array(cells, pa.string())})
        out += table.batch(TableBatch(HERE, first, batch))
    assert out == []
    found = list(table.finish())
    assert [(str(d.location), d.kind, d.count) for d in found] == [
        ("t.parquet!/column=주민등록번호", "identifier.national_id", 2)
    ]
    assert found[0].basis == "field_name"
    assert found[0].detector == "fields"
    assert found[0].representation is None


def test_one_detection_per_row_where_subjects_are_named() -> None:
    table = DETECTOR.table()
    batch = pa.RecordBatch.from_pydict(
        {"pid": ["a", "b", "c"], "face_embedding": [vector(512), None, vector(512)]}
    )
    out = list(table.batch(TableBatch(HERE, 100, batch, False, ("a", "b", None))))
    assert [(str(d.location), d.kind, d.count, d.subject_key) for d in out] == [
        ("t.parquet!/row=100/face_embedding", "biometric.face", 1, "a"),
        ("t.parquet!/row=102/face_embedding", "biometric.face", 1, None),
    ]
    assert list(table.finish()) == []


def test_an_empty_column_and_an_empty_table_say_nothing() -> None:
    assert scan({"face_embedding": pa.array([None, None], pa.list_(pa.float32()))}) == []
    assert scan({"passport_no": ["", ""]}) == []
    assert scan({"passport_no": pa.array([], pa.string())}) == []
    assert scan({"passport_no": pa.nulls(3)}) == []
    assert list(DETECTOR.table().finish()) == []


def test_no_value_leaves_in_a_detection() -> None:
    found = scan({"rrn": ["900101-1234568"], "passport_no": ["M12345678"]})
    assert len(found) == 2
    assert "900101" not in repr(found)
    assert "M1234" not in repr(found)


# ---------------------------------------------------------------- templates and vectors


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([vector(512)] * 3, pa.list_(pa.float32())),
        pa.array([vector(128)] * 3, pa.list_(pa.float32(), 128)),
        pa.array([vector(192)] * 3, pa.large_list(pa.float64())),
        pa.array([json.dumps(vector(512))] * 3),
        pa.array([" ".join(f"{x:.5f}" for x in vector(128))] * 3),
        pa.array([np.array(vector(512), np.float32).tobytes()] * 3),
        pa.array([np.array(vector(128), np.float16).tobytes()] * 3),
        pa.array([base64.b64encode(np.array(vector(512), np.float32).tobytes()).decode()] * 3),
        pa.array([bytes(range(256))] * 3),  # opaque bytes in a column named for templates
    ],
    ids=["list", "fixed", "large", "json", "blanks", "float32", "float16", "base64", "opaque"],
)
def test_face_template_is_certain(cells: pa.Array) -> None:
    for name in ("face_embedding", "얼굴특징벡터", "faceTemplate"):
        (found,) = scan({name: cells})
        assert (found.kind, found.representation, found.certainty, found.count) == (
            "biometric.face",
            "template",
            "certain",
            3,
        )


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("face_embedding", ["emb/1.npy", "emb/2.npy"]),  # a manifest
        ("face_image", ["faces/001.jpg", "s3://b/faces/002.jpg"]),
        ("얼굴사진", ["photos/1.jpg", "photos/2.jpg"]),
        ("fingerprint", ["d41d8cd98f00b204e9800998ecf8427e"] * 2),  # a checksum
        ("face_embedding", [True, False]),
        ("face_encoding", [1, 2]),
        ("face_vector", [[1.0, 2.0, 3.0, 4.0]] * 2),  # a box
        ("face", ["north", "south"]),
        ("지문", ["다음 글을 읽고 물음에 답하시오.", "긴 글"]),
        ("iris", ["setosa", "virginica"]),
        ("voice", ["passive", "active"]),
        ("signature", ["def f(x)", "def g(y)"]),
        ("signature", [bytes(range(64))] * 2),
        ("embedding", [vector(512)] * 2),
        ("photo", [JPEG] * 2),
    ],
)  # fmt: skip
def test_what_only_sounds_biometric_is_not(name: str, cells: Sequence[object]) -> None:
    assert scan({name: cells}) == []


def test_manifest_attributes_count_though_its_paths_do_not() -> None:
    assert kinds(
        {
            "face_image": ["faces/1.jpg", "faces/2.jpg"],
            "nationality": ["KR", "US"],
            "sex": ["M", "F"],
        }
    ) == {"nationality: attribute.nationality": "certain", "sex: attribute.gender": "certain"}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"embedding": [vector(512)], "text": ["a b"]}, {}),
        ({"text_embedding": [vector(512)], "person_id": ["p1"]},
         {"person_id: identifier.subject_id": "certain"}),
        ({"embedding": [vector(512)], "image_path": ["a.jpg"], "caption": ["a cat"]}, {}),
        ({"embedding": [vector(768)], "image_path": ["a.jpg"]}, {}),
        ({"embedding": [vector(512)], "image_path": ["a.jpg"]},
         {"embedding: biometric.face": "possible"}),
        (
            {"embedding": [vector(128)], "employee_no": ["7"]},
            {"embedding: biometric.face": "possible",
             "employee_no: identifier.subject_id": "certain"},
        ),
        (
            {"embedding": [vector(192)], "speaker_id": ["s1"]},
            {"embedding: biometric.voice": "possible",
             "speaker_id: identifier.subject_id": "certain"},
        ),
        ({"clip_embedding": [vector(512)], "image_path": ["a.jpg"]}, {}),
    ],
)  # fmt: skip
def test_a_vector_needs_a_name_an_identity_or_a_picture(
    columns: Columns, expected: dict[str, str]
) -> None:
    assert kinds(columns) == expected


def test_a_wide_vector_is_one_column() -> None:
    found = scan({f"face_emb_{i}": RNG.normal(size=4) for i in range(128)})
    assert [(d.location.name, d.kind, d.count) for d in found] == [
        ("column=face_emb_0", "biometric.face", 4)
    ]
    assert scan({f"pixel{i}": RNG.integers(0, 255, size=4) for i in range(784)}) == []
    assert scan({f"gene_{i}": RNG.normal(size=4) for i in range(300)}) == []


def test_random_bytes_are_no_vector() -> None:
    cells = [RNG.bytes(512) for _ in range(20)]
    assert scan({"payload": cells, "person_id": [str(i) for i in range(20)]})[0].kind == (
        "identifier.subject_id"
    )


def test_pictures_and_sound() -> None:
    (face,) = scan({"face_image": [JPEG]})
    assert (face.representation, face.certainty) == ("source_image", "certain")
    assert kinds({"photo": [JPEG], "employee_no": ["7"]}) == {
        "photo: biometric.face": "possible",
        "employee_no: identifier.subject_id": "certain",
    }
    assert kinds({"jpegPhoto": [base64.b64encode(JPEG).decode()]}) == {
        "jpegPhoto: biometric.face": "certain"
    }
    assert kinds({"audio.bytes": [WAV], "speaker_id": ["7"]})["audio.bytes: biometric.voice"] == (
        "possible"
    )
    assert kinds({"audio.bytes": [WAV], "label": ["dog bark"]}) == {}


def test_interchange_records_whatever_the_name() -> None:
    fmr = b"FMR\0 20\0" + bytes(60)
    found = scan(
        {
            "a": [fmr, b"", None],
            "b": [base64.b64encode(fmr).decode(), "x", ""],
            "c": [base64.urlsafe_b64encode(b"FAC\x00010\0" + bytes(60)).decode(), "", ""],
        }
    )
    assert [(d.location.name, d.kind, d.representation, d.basis, d.count) for d in found] == [
        ("row=0/c", "biometric.face", "source_image", "format", 1),
        ("column=a", "biometric.fingerprint", "template", "format", 1),
        ("column=b", "biometric.fingerprint", "template", "format", 1),
    ]


# ---------------------------------------------------------------- attributes and identifiers


def test_titanic_and_adult() -> None:
    titanic = {
        "PassengerId": [1, 2], "Survived": [0, 1], "Pclass": [3, 1],
        "Name": ["Doe, Mr. J", "Roe, Mrs. K"],
        "Sex": ["male", "female"], "Age": [22.0, None], "SibSp": [1, 1],
        "Ticket": ["A/5 21171", "PC 17599"],
        "Fare": [7.25, 71.28], "Cabin": [None, "C85"], "Embarked": ["S", "C"],
    }  # fmt: skip
    assert kinds(titanic) == {
        "PassengerId: identifier.subject_id": "certain",
        "Name: identifier.name": "certain",
        "Sex: attribute.gender": "certain",
        "Age: attribute.age": "certain",
    }
    adult = {  # as CSV gives it: strings
        "age": ["39", "50"], "workclass": ["State-gov", "Private"], "fnlwgt": ["77516", "83311"],
        "race": ["White", "Black"], "sex": ["Male", "Female"], "native-country": ["Cuba", "Mexico"],
        "relationship": ["Husband", "Wife"], "income": ["<=50K", ">50K"],
    }  # fmt: skip
    assert kinds(adult) == {
        "age: attribute.age": "certain",
        "race: attribute.ethnicity": "certain",
        "sex: attribute.gender": "certain",
        "native-country: attribute.nationality": "certain",
    }


@pytest.mark.parametrize(
    "columns",
    [
        {"race": ["Monaco GP", "Bahrain GP"], "lap": [1, 2], "time": ["1:33", "1:32"]},
        {"age": [28, 270], "cement": [540.0, 332.5], "strength": [79.9, 40.3]},
        {"age": [1, 2], "breed": ["poodle", "pug"], "sex": ["m", "f"], "name": ["Rex", "Bella"]},
        {"name": ["Chair", "Table"], "price": [10.0, 20.0], "brand": ["x", "y"]},
        {"name": ["main", "test"], "path": ["a.py", "b.py"]},
        {"user_id": [1, 2], "session_id": ["a", "b"], "page": ["/a", "/b"], "status": [200, 404]},
        {"age": [1, 2], "amount": [10.0, 20.0]},
        {"sepal_length": [5.1], "petal_length": [1.4], "iris": [b"\x00" * 80]},
        {"latitude": [37.5], "longitude": [127.0], "store": ["A"]},
        {"selfies": ["[C][O]"], "smiles": ["CO"], "fingerprint": [b"\x01\x02" * 128]},
        {"vertices": [[0.1] * 96], "face": [[1.0] * 96]},
        {"gender": ["masc", "fem"], "lemma": ["gato", "casa"], "upos": ["NOUN", "NOUN"]},
        {"has_passport": [True, False], "face_count": [1, 2]},
        {"male_ratio": [0.5, 0.4], "avg_age": [40.0, 41.0], "population": [100, 200]},
        {"arc": [1.0, 2.0], "nir": [0.3, 0.4], "pan": [10, 20]},
    ],
    ids=lambda columns: "+".join(columns),
)
def test_tables_that_are_not_about_people(columns: Columns) -> None:
    assert scan(columns) == []


def test_a_party_id_counts_beside_personal_columns() -> None:
    found = kinds(
        {"user_id": [1, 2], "gender": ["f", "m"], "birth_date": ["1990-01-02", "1985-05-06"]}
    )
    assert found == {
        "user_id: identifier.subject_id": "certain",
        "gender: attribute.gender": "certain",
        "birth_date: attribute.age": "certain",
    }


def test_ages_out_of_range_are_not_ages() -> None:
    assert kinds({"age": [5000, 70000], "gender": ["f", "m"]}) == {
        "gender: attribute.gender": "certain"
    }


def test_coordinates_of_persons() -> None:
    assert kinds({"latitude": [37.5], "longitude": [127.0], "passport_no": ["M12345678"]}) == {
        "latitude: location.gps": "possible",
        "passport_no: identifier.passport": "certain",
    }


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"passport_no": ["M12345678", "M123A4567"]},
         {"passport_no: identifier.passport": "certain"}),
        ({"passport_no": ["?", "?"]}, {"passport_no: identifier.passport": "possible"}),
        ({"passport_hash": ["d41d8cd98f00b204e9800998ecf8427e"]},
         {"passport_hash: identifier.passport": "possible"}),
        ({"ssn": ["123-45-6789"]}, {"ssn: identifier.national_id": "certain"}),
        ({"aadhaar": ["2341 2341 2346"]}, {"aadhaar: identifier.national_id": "certain"}),
        ({"マイナンバー": ["123456789018"]}, {"マイナンバー: identifier.national_id": "certain"}),
        ({"memo": ["ID 900101-1234568 done"]}, {"memo: identifier.national_id": "certain"}),
        ({"memo": ["ID 900101-1234567 done"]}, {"memo: identifier.national_id": "possible"}),
        ({"주민등록번호": [9001011234568]}, {"주민등록번호: identifier.national_id": "certain"}),
        ({"주민등록번호": [9001011234568.0]}, {"주민등록번호: identifier.national_id": "certain"}),
        ({"memo": ["call 123456-9999999", "order 901301-1234567"]}, {}),
        ({"created_ms": [1700000000000 + i * 86_400_000 for i in range(400)]}, {}),
        ({"ean": [8801234567890 + i for i in range(200)]}, {}),
        ({"tweet_id": [100000190001010000 + i for i in range(200)]}, {}),
        ({"phone": ["010-1234-5678", "02-123-4567"]}, {}),
        ({"cpf_like": ["111.444.777-35"]}, {"cpf_like: identifier.national_id": "certain"}),
        ({"x": ["111.444.777-36"]}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_numbers(column: Columns, expected: dict[str, str]) -> None:
    assert kinds(column) == expected


def test_machine_readable_zone_in_a_cell() -> None:
    two = "L898902C36UTO7408122F1204159ZE184226B<<<<<10"
    one = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<"
    for cell in (f"{one}\n{two}", f"{one}{two}", f"{one}\\n{two}", two, f"{one} {two}"):
        assert kinds({"ocr": [cell, "", "hello"]}) == {
            "ocr: document.mrz": "certain",
            "ocr: identifier.passport": "certain",
        }
    assert kinds({"ocr": [two.replace("740812", "740813")]}) == {}


# ---------------------------------------------------------------- odd types, any input


def test_odd_types_do_not_fail() -> None:
    dictionary = pa.array(["KR", "US", None]).dictionary_encode()
    assert kinds({"nationality": dictionary}) == {"nationality: attribute.nationality": "certain"}
    struct = pa.array([{"a": 1}, None, {"a": 2}])
    assert kinds({"face_template": struct}) == {"face_template: biometric.face": "possible"}
    for cells in (
        pa.array([[["a"]], None], pa.list_(pa.list_(pa.string()))),
        pa.array([None, 1.5], pa.float64()),
        pa.array([float("nan"), float("inf")]),
        pa.array([None, None]),
        pa.array([b"abcd", b"efgh"], pa.binary(4)),
        pa.array(["a", "b"], pa.string_view()),
        pa.array([b"a", b"b"], pa.binary_view()),
        pa.array([1, 2], pa.date32()),
        pa.array([1, 2], pa.duration("s")),
        pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
        pa.array([[1.0], []], pa.list_view(pa.float32())),
    ):
        for name in ("face_template", "age", "passport_no", "nationality", "이름", "embedding"):
            scan({name: cells, "sex": ["m", "f"]})


def test_duplicate_column_names() -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["M12345678"]), pa.array(["M87654321"])], names=["passport_no", "passport_no"]
    )
    table = DETECTOR.table()
    assert list(table.batch(TableBatch(HERE, 0, batch))) == []
    (found,) = table.finish()
    assert found.count == 2


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.one_of(st.text(max_size=20), st.sampled_from(["face_embedding", "rrn", "age", "mrz"])),
        st.lists(st.one_of(st.none(), st.text(max_size=40)), min_size=3, max_size=3),
        max_size=4,
    )
)
def test_any_table_is_scanned(columns: dict[str, list[str | None]]) -> None:
    arrays = {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
    for found in scan(arrays, ("a", None, "b")) if arrays else []:
        assert found.kind in KINDS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=80)), min_size=1, max_size=5))
def test_any_bytes_are_scanned(cells: list[bytes | None]) -> None:
    scan({"face_template": pa.array(cells, pa.binary()), "blob": pa.array(cells, pa.binary())})


def test_version_names_the_lexicon() -> None:
    from scanner.detectors.names import LEXICON_DIGEST

    assert DETECTOR.version.endswith(LEXICON_DIGEST)

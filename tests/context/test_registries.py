"""Registries out of files: every column, every kind of cell, every complaint."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.context import load_context
from scanner.context.registries import read_registry
from scanner.errors import ConfigError
from scanner.model import Context, DatasetSpec, DeclaredUse, RegistrySpec
from scanner.schemas import CONSENTS, EVIDENCE, PARTIES, TRANSFERS
from scanner.subjects import SubjectKey

KEY = SubjectKey(b"k" * 32)
Read = Callable[..., pa.Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(name: str, content: bytes | str, columns: dict[str, str] | None = None) -> pa.Table:
        file = tmp_path / "registry.dat"  # the name says nothing about the format
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = read_registry(RegistrySpec(name, path=str(file), columns=columns or {}), KEY)
        table.validate(full=True)
        return table

    return read


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


CONSENT_ROWS = [
    {
        "subject_key": "P1",
        "purpose": "ai-training",
        "recipient": "*",
        "data_category": "biometric",
        "state": "given",
        "valid_from": "2021-01-01",
        "valid_until": "2022-12-31",
        "record_id": "c-1",
        "separate": "true",
        "guardian_verified": "no",
        "notice_ref": "n/1",
        "recorded_at": "2021-01-01T09:00:00+09:00",
    },
    {"subject_key": "P2", "purpose": "research", "state": "withdrawn"},
]
EXPECTED_CONSENTS = [
    {
        "subject_digest": KEY.digest("P1"),
        "purpose": "ai-training",
        "recipient": "*",
        "data_category": "biometric",
        "state": "given",
        "valid_from": datetime(2021, 1, 1, tzinfo=UTC),
        "valid_until": datetime(2023, 1, 1, tzinfo=UTC),
        "record_id": "c-1",
        "separate": True,
        "guardian_verified": False,
        "notice_ref": "n/1",
        "recorded_at": datetime(2021, 1, 1, tzinfo=UTC),
    },
    dict.fromkeys(CONSENTS.names)
    | {"subject_digest": KEY.digest("P2"), "purpose": "research", "state": "withdrawn"},
]


def _csv(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    names = list(rows[0])
    lines = [delimiter.join(names)]
    lines += [delimiter.join(row.get(name, "") for name in names) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        _csv(CONSENT_ROWS).encode(),
        _csv(CONSENT_ROWS).encode("utf-8-sig"),
        _csv(CONSENT_ROWS).encode("utf-16"),
        _csv(CONSENT_ROWS).encode("utf-16-le"),
        _csv(CONSENT_ROWS).encode("utf-16-be"),
        _csv(CONSENT_ROWS).replace("\n", "\r\n").encode(),
        _csv(CONSENT_ROWS).replace("\n", "\r").encode(),
        _csv(CONSENT_ROWS).rstrip("\n").encode(),
        ("\n\n" + _csv(CONSENT_ROWS) + "\n\n").encode(),
        _csv(CONSENT_ROWS, "\t").encode(),
        _csv(CONSENT_ROWS, ";").encode(),
        _csv(CONSENT_ROWS, "|").encode(),
        "\n".join(json.dumps(row) for row in CONSENT_ROWS).encode(),
        ("\ufeff" + "\n\n".join(json.dumps(row) for row in CONSENT_ROWS) + "\n").encode(),
        _parquet(pa.Table.from_pylist(CONSENT_ROWS)),
        _parquet(pa.Table.from_pylist(CONSENT_ROWS).select(CONSENT_ROWS[0])),
    ],
    ids=[
        "csv",
        "bom",
        "utf16",
        "utf16le",
        "utf16be",
        "crlf",
        "cr",
        "no-newline",
        "blank-lines",
        "tsv",
        "semicolon",
        "pipe",
        "jsonl",
        "jsonl-bom",
        "parquet",
        "parquet-dict",
    ],
)
def test_the_same_rows_out_of_every_format(read: Read, content: bytes) -> None:
    found = read("consents", content)
    assert found.schema == CONSENTS
    assert found.to_pylist() == EXPECTED_CONSENTS


def test_typed_parquet(read: Read) -> None:
    table = pa.table(
        {
            "subject_key": pa.array([7, 8], pa.int64()),
            "purpose": pa.array(["a", "b"]).dictionary_encode(),
            "state": ["given", "refused"],
            "valid_from": pa.array([date(2021, 1, 1), None], pa.date32()),
            "valid_until": pa.array([date(2022, 12, 31), None], pa.date64()),
            "recorded_at": pa.array(
                [datetime(2021, 1, 1, 9), None], pa.timestamp("ns", "Asia/Seoul")
            ),
            "separate": [True, None],
            "guardian_verified": pa.array([0, 1], pa.int8()),
            "record_id": [1.0, None],
        }
    )
    first, second = read("consents", _parquet(table)).to_pylist()
    assert first["subject_digest"] == KEY.digest("7")
    assert first["valid_until"] == datetime(2023, 1, 1, tzinfo=UTC)
    assert first["recorded_at"] == datetime(2021, 1, 1, 9, tzinfo=UTC)
    assert (first["separate"], first["guardian_verified"], first["record_id"]) == (True, False, "1")
    assert (second["separate"], second["guardian_verified"], second["valid_from"]) == (
        None,
        True,
        None,
    )


def test_a_timestamp_at_midnight_is_taken_at_its_word(read: Read) -> None:
    table = pa.table(
        {
            "subject_key": ["a"],
            "purpose": ["p"],
            "state": ["given"],
            "valid_until": [datetime(2022, 12, 31)],
        }
    )
    assert read("consents", _parquet(table)).to_pylist()[0]["valid_until"] == datetime(
        2022, 12, 31, tzinfo=UTC
    )


def test_the_other_registries(read: Read) -> None:
    parties = read(
        "parties",
        "party_id,name,type,country,extra\nmoj,Ministry,Public Body,Korea,x\nlab,,research,,\n",
    )
    assert parties.schema == PARTIES
    assert parties.to_pylist() == [
        {"party_id": "moj", "name": "Ministry", "type": "public_body", "country": "KR"},
        {"party_id": "lab", "name": None, "type": "research", "country": None},
    ]
    row = {
        "transfer_id": "T1",
        "dataset_id": "d",
        "exporter_id": "moj",
        "importer_id": "lab",
        "role_of_recipient": "dpv:DataSubProcessor",
        "role_basis": "contract",
        "mode": "Remote Access",
        "purpose": "ai-training",
        "legal_basis": "statute: PIPA 17",
        "within_original_purpose": "Attested-True",
        "agreement_ref": "a",
        "published_ref": "p",
        "published_from": "2021-05-01",
        "from_country": "KOR",
        "to_country": "jp",
        "transfer_tool": "eu-gdpr:A46-2-c",
        "started_at": "2021-01-01 00:00:00",
        "ended_at": "2021-12-31",
        "destroyed_at": "2022-03-01",
        "onward_to": "labs; acme",
    }
    transfers = read("transfers", json.dumps(row))
    assert transfers.schema == TRANSFERS
    assert transfers.to_pylist() == [
        row
        | {
            "role_of_recipient": "sub_processor",
            "mode": "remote_access",
            "legal_basis": "statute:PIPA 17",
            "within_original_purpose": "attested_true",
            "from_country": "KR",
            "to_country": "JP",
            "published_from": datetime(2021, 5, 1, tzinfo=UTC),
            "started_at": datetime(2021, 1, 1, tzinfo=UTC),
            "ended_at": datetime(2022, 1, 1, tzinfo=UTC),
            "destroyed_at": datetime(2022, 3, 1, tzinfo=UTC),
            "onward_to": "labs; acme",
        }
    ]
    evidence = read(
        "evidence",
        "evidence_id,kind,about,ref,attested_by,attested_at,valid_until,sha256\n"
        "E1,pia submitted,d,r,me,2021-01-01,2021-12-31,ABCDEF\n",
    )
    assert evidence.schema == EVIDENCE
    assert evidence.to_pylist() == [
        {
            "evidence_id": "E1",
            "kind": "PIA_SUBMITTED",
            "about": "d",
            "ref": "r",
            "attested_by": "me",
            "attested_at": datetime(2021, 1, 1, tzinfo=UTC),
            "valid_until": datetime(2022, 1, 1, tzinfo=UTC),
            "sha256": "abcdef",
        }
    ]


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ("given", "given"),
        (" GIVEN ", "given"),
        ("dpv:ConsentGiven", "given"),
        ("RenewedConsentGiven", "renewed"),
        ("https://w3id.org/dpv#ConsentWithdrawn", "withdrawn"),
        ("ConsentRefused", "refused"),
        ("revoked", "withdrawn"),
    ],
)
def test_states(read: Read, written: str, state: str) -> None:
    found = read("consents", f"subject_key,purpose,state\na,p,{written}\n")
    assert found.column("state").to_pylist() == [state]


@pytest.mark.parametrize(
    ("written", "role"),
    [
        ("DataProcessor", "processor"),
        ("ThirdParty", "third_party"),
        ("third party", "third_party"),
        ("Joint-Controller", "joint_controller"),
        ("", None),
    ],
)
def test_roles(read: Read, written: str, role: str | None) -> None:
    found = read(
        "transfers", f"transfer_id,dataset_id,importer_id,role_of_recipient\nT,d,i,{written}\n"
    )
    assert found.column("role_of_recipient").to_pylist() == [role]


@given(
    st.sampled_from(["true", "yes", "1", "Y", "TRUE", " t "])
    | st.sampled_from(["false", "No", "0", "n", "F"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_booleans(read: Read, written: str) -> None:
    found = read("consents", f"subject_key,purpose,state,separate\na,p,given,{written}\n")
    assert found.column("separate").to_pylist() == [written.strip()[0] in "tTyY1"]


@given(
    st.lists(
        st.dates(min_value=date(1, 1, 1), max_value=date(9999, 12, 30)), min_size=1, max_size=20
    )
)
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_dates_of_all_forms_in_one_column(read: Read, days: list[date]) -> None:
    forms = [
        lambda day: day.isoformat(),
        lambda day: day.isoformat().replace("-", "/"),
        lambda day: day.isoformat().replace("-", ""),
        lambda day: day.isoformat() + "T00:00:00Z",
        lambda day: day.isoformat() + " 00:00",
    ]
    text = "subject_key,purpose,state,valid_from,valid_until\n"
    expected = []
    for number, day in enumerate(days):
        form = number % len(forms)
        text += f"a,p,given,{forms[form](day)},{forms[form](day)}\n"
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        expected.append((moment, moment + timedelta(days=1) if form < 3 else moment))
    found = read("consents", text)
    pairs = zip(
        found.column("valid_from").to_pylist(), found.column("valid_until").to_pylist(), strict=True
    )
    assert list(pairs) == expected


@pytest.mark.parametrize("encoding", ["cp949", "cp932", "euc_kr"])
def test_office_encodings(read: Read, encoding: str) -> None:
    korean = "party_id,name\nmoj,대한민국 법무부 출입국·외국인정책본부\n"
    japanese = "party_id,name\nmoj,出入国在留管理庁のデータベース\n"
    text = japanese if encoding == "cp932" else korean
    found = read("parties", text.encode(encoding))
    assert found.column("name").to_pylist() == [text.strip().split(",")[-1]]


def test_quotes_and_values_over_several_lines(read: Read) -> None:
    found = read("parties", 'party_id,"na""me",name\na,x,"Kim, ""K"""\n"b",y,"two\nlines"\n')
    assert found.column("name").to_pylist() == ['Kim, "K"', "two\nlines"]


def test_columns_may_have_other_names_and_order(read: Read) -> None:
    found = read(
        "consents",
        "why,how,person id\np,given,a\n",
        {"subject_key": "person id", "purpose": "why", "state": "how"},
    )
    assert found.to_pylist()[0] == dict.fromkeys(CONSENTS.names) | {
        "subject_digest": KEY.digest("a"),
        "purpose": "p",
        "state": "given",
    }


def test_mixed_types_and_late_columns_in_json_lines(read: Read) -> None:
    lines = [
        '{"subject_key": 1, "purpose": "p", "state": "given"}',
        '{"subject_key": "1", "purpose": "p", "state": "given", "separate": true}',
        '{"subject_key": 1.0, "purpose": "p", "state": "given", "record_id": null, "b": {"a": 1}}',
        '{"subject_key": 123456789012345678901, "purpose": "p", "state": "given"}',
    ]
    found = read("consents", "\n".join(lines))
    assert found.column("subject_digest").to_pylist() == [KEY.digest("1")] * 3 + [
        KEY.digest("123456789012345678901")
    ]
    assert found.column("separate").to_pylist() == [None, True, None, None]


def test_nested_json_and_parquet_by_dotted_names(read: Read) -> None:
    columns = {"subject_key": "who.id"}
    row = {"who": {"id": "a"}, "purpose": "p", "state": "given"}
    for content in (json.dumps(row).encode(), _parquet(pa.Table.from_pylist([row]))):
        assert read("consents", content, columns).column("subject_digest").to_pylist() == [
            KEY.digest("a")
        ]


def test_a_header_alone_is_a_registry_without_rows(read: Read) -> None:
    for text in (
        "subject_key,purpose,state",
        "subject_key,purpose,state\n",
        "subject_key,purpose,state\r\n\r\n",
    ):
        assert read("consents", text).num_rows == 0
    assert (
        read(
            "consents", _parquet(pa.table({"subject_key": [], "purpose": [], "state": []}))
        ).num_rows
        == 0
    )


def test_for_ever_is_read(read: Read) -> None:
    end = datetime.max.replace(tzinfo=UTC)
    found = read(
        "consents",
        "subject_key,purpose,state,valid_until\na,p,given,9999-12-31\nb,p,given,infinity\n",
    )
    assert found.column("valid_until").to_pylist() == [end, end]


# ---------------------------------------------------------------- complaints

HEADER = "subject_key,purpose,state,valid_until,separate\n"
WRONG = [
    ("consents", "", "is empty"),
    ("consents", " \n\n", "is empty"),
    (
        "consents",
        "subject_kye,purpose,state\nS3CRET,p,given\n",
        "no column 'subject_key' (required); it has subject_kye, purpose, state; "
        "did you mean 'subject_kye'?",
    ),
    ("consents", "purpose,state\np,given\n", "no column 'subject_key' (required)"),
    (
        "consents",
        "880101-1234567,research,given\n880101-1234568,research,given\n",
        "its first line does not look like a line of column names",
    ),
    ("consents", '{"purpose": "p"}\n', "no column 'subject_key' (required); it has purpose"),
    (
        "consents",
        HEADER + "a,p,given,,\n,p,given,,\n",
        "row 2, column 'subject_key': is required, and empty here",
    ),
    (
        "consents",
        HEADER + "nan,p,given,,\n",
        "row 1, column 'subject_key': is required, and empty here",
    ),
    ("consents", HEADER + "a,p,given,,\nb, ,given,,\n", "row 2, column 'purpose': is required"),
    ("consents", HEADER + "a,p,,,\n", "row 1, column 'state': is required"),
    (
        "consents",
        HEADER + "a,p,given,,\n\nb,p,S3CRET,,\n",
        "row 2, column 'state': expected one of given, renewed, refused, withdrawn",
    ),
    (
        "consents",
        HEADER + "a,p,given,31/12/S3CRET,\n",
        "row 1, column 'valid_until': expected a date such as 2022-12-31",
    ),
    (
        "consents",
        HEADER + "a,p,given,2022-12-31,\nb,p,given,2022-02-30,\n",
        "row 2, column 'valid_until'",
    ),
    ("consents", HEADER + "a,p,given,,maybe\n", "row 1, column 'separate': expected true or false"),
    ("consents", HEADER + "a,p,given,,\nS3CRET,p\n", "row 2 has 2 values, expected 5"),
    ("consents", HEADER + "a,p,given,,,S3CRET\n", "row 1 has 6 values, expected 5"),
    (
        "consents",
        'subject_key,purpose,state,notice_ref\na,p,given,"\nS3CRET,p,withdrawn,\n',
        "a quoted value is not closed",
    ),
    ("consents", HEADER + 'a,p,given,,\nb,"p,given,,\nc,p",given,,\nd,p,"given\n', "has"),
    ("parties", 'party_id,name\na,"x\nb,"y\nc,z\n', "a quoted value is not closed"),
    (
        "consents",
        "subject_key,purpose,state,state\na,p,given,withdrawn\n",
        "the column 'state' is there twice",
    ),
    (
        "parties",
        "party_id,type\na,company\nb,S3CRET\n",
        "row 2, column 'type': expected one of public_body, company",
    ),
    (
        "parties",
        "party_id,country\na,Atlantis\n",
        "row 1, column 'country': expected a country code",
    ),
    ("parties", "party_id\nS3CRET\nb\nS3CRET\n", "rows 1 and 3 have the same 'party_id'"),
    (
        "evidence",
        "evidence_id,kind,about\na,b,c\na,b,c\n",
        "rows 1 and 2 have the same 'evidence_id'",
    ),
    (
        "transfers",
        "transfer_id,dataset_id,importer_id,mode\na,b,c,S3CRET\n",
        "expected one of copy, remote_access, view",
    ),
    (
        "transfers",
        "transfer_id,dataset_id,importer_id,role_of_recipient\na,b,c,boss\n",
        "expected one of processor",
    ),
    (
        "transfers",
        "transfer_id,dataset_id,importer_id,within_original_purpose\na,b,c,yes\n",
        "attested_true",
    ),
    (
        "transfers",
        "transfer_id,dataset_id,importer_id,legal_basis\na,b,c,S3CRET\n",
        "statute:<cite>",
    ),
    (
        "consents",
        '{"subject_key": "a", "purpose": "p", "state": "given"}\n{"subject_key": S3CRET}\n',
        "row 2: not one JSON object",
    ),
    (
        "consents",
        '{"subject_key": "a", "purpose": "p", "state": "given"}\n[1]\n',
        "row 2: expected a JSON object",
    ),
    (
        "consents",
        '{"subject_key": "a", "purpose": "p", "state": "given", "state": "withdrawn"}\n',
        "row 1: not one JSON object with unique names",
    ),
    (
        "consents",
        '{"subject_key": "a", "purpose": "p", "state": "given"}{"subject_key": "b"}\n',
        "row 1: not one JSON",
    ),
    (
        "consents",
        '{"subject_key": ["S3CRET"], "purpose": "p", "state": "given"}\n',
        "expected one plain value",
    ),
    ("consents", '[{"subject_key": "a"}]', "not a CSV, JSON Lines or Parquet file"),
    ("consents", b"\x1f\x8b\x08\0\0\0\0", "compressed; unpack it first"),
    ("consents", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a CSV, JSON Lines or Parquet file"),
    ("consents", b"PAR1 but no more", "the Parquet file is damaged"),
    (
        "consents",
        b"subject_key,purpose,state\n\xff\xff\x80,p,given\n",
        "its encoding is not recognised",
    ),
    (
        "consents",
        _parquet(pa.table({"subject_key": [["a"]], "purpose": ["p"], "state": ["given"]})),
        "column 'subject_key': holds lists or structures",
    ),
    (
        "consents",
        _parquet(pa.table({"subject_key": [1e17], "purpose": ["p"], "state": ["given"]})),
        "too large to be exact",
    ),
    (
        "consents",
        _parquet(
            pa.table(
                {"subject_key": ["a"], "purpose": ["p"], "state": ["given"], "valid_until": [True]}
            )
        ),
        "row 1, column 'valid_until': expected a date",
    ),
    (
        "consents",
        _parquet(
            pa.table(
                {
                    "subject_key": ["a"],
                    "purpose": ["p"],
                    "state": ["given"],
                    "valid_until": [1672444800],
                }
            )
        ),
        "row 1, column 'valid_until': expected a date",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_what_is_wrong_is_said_without_values(
    read: Read, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(name, content)
    said = str(caught.value)
    assert message in said
    assert "registry.dat" in said
    assert "\n" not in said
    for secret in ("S3CRET", "880101", "Atlantis"):
        assert secret not in said
    assert caught.value.__cause__ is None


def test_a_mapped_column_that_is_not_there(read: Read) -> None:
    with pytest.raises(
        ConfigError, match=r"no column 'persn' .required, for subject_key.*did you mean 'person'"
    ):
        read("consents", "person,purpose,state\n", {"subject_key": "persn"})
    with pytest.raises(
        ConfigError, match=r"no column 'til' .named in the configuration for valid_until"
    ):
        read("consents", HEADER, {"valid_until": "til"})


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ConfigError, match=r"no such file|is a folder"):
            read_registry(RegistrySpec("parties", path=str(path)), KEY)
    with pytest.raises(ConfigError, match="only local files"):
        read_registry(RegistrySpec("parties", path="s3://bucket/parties.csv"), KEY)


@given(st.binary(max_size=60))
@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_any_bytes_are_a_table_or_a_config_error(read: Read, content: bytes) -> None:
    for start in (b"", b"party_id,name\n", b'{"party_id": "', b"PAR1"):
        try:
            read("parties", start + content)
        except ConfigError as error:
            assert "\n" not in str(error)


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
            min_size=2,
            max_size=2,
        ),
        max_size=8,
    )
)
@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_what_the_csv_module_writes_is_read(read: Read, rows: list[list[str]]) -> None:
    import csv

    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["party_id", "name"])
    writer.writerows([f"p{number}", *row[1:]] for number, row in enumerate(rows))
    found = read("parties", out.getvalue())
    blanks = " \t\r\n\v\f\x00\u00a0\u3000\ufeff"
    assert found.column("name").to_pylist() == [row[1].strip(blanks) or None for row in rows]


# ---------------------------------------------------------------- together


def _context(tmp_path: Path, **files: str) -> Context:
    specs = []
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        specs.append(RegistrySpec(name, path=str(tmp_path / f"{name}.csv")))
    return load_context(
        [DatasetSpec("d")], specs, declared_use=DeclaredUse("p"), child_age=14, key=KEY
    )


def test_transfers_name_declared_datasets(tmp_path: Path) -> None:
    header = "transfer_id,dataset_id,importer_id\n"
    found = _context(tmp_path, transfers=header + "T1,d,nobody\nT2,unassigned,x\n")
    assert found.transfers.num_rows == 2
    with pytest.raises(
        ConfigError, match=r"transfers.csv: row 2, column 'dataset_id'.*declared are d, unassigned"
    ):
        _context(tmp_path, transfers=header + "T1,d,x\nT2,D,x\n")


def test_a_context_without_registries(tmp_path: Path) -> None:
    found = _context(tmp_path)
    assert found.consents.schema == CONSENTS
    assert found.consents.num_rows == found.transfers.num_rows == found.manifest_rows.num_rows == 0
    assert found.datasets.to_pylist()[0]["dataset_id"] == "d"
    assert (found.declared_use.purpose, found.child_age) == ("p", 14)


@pytest.mark.parametrize("content", ["", "\0\0", "name\nx\n", "party_id,name\na,b,c\n"])
@pytest.mark.parametrize(
    "url", ["ftp://u:hunter2@h/p.csv", "https://h/p.csv?sig=hunter2", "https://hunter2@h/p.csv"]
)
def test_addresses_are_named_without_their_passwords(content: str, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_registry(
            RegistrySpec("parties", path=url), KEY, lambda _: io.BytesIO(content.encode())
        )
    assert "hunter2" not in str(caught.value)
    assert "h/p.csv" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        read_registry(RegistrySpec("parties", path=url), KEY)
    assert "hunter2" not in str(caught.value)


def test_chains_are_checked_before_anything_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "transfers.csv"
    header = "transfer_id,dataset_id,exporter_id,importer_id\n"

    def load() -> None:
        load_context(
            (DatasetSpec("d", controller="moj"),),
            (RegistrySpec("transfers", path=str(path)),),
            declared_use=DeclaredUse(),
            child_age=14,
            key=KEY,
        )

    path.write_text(header + "T1,d,moj,labs\nT2,d,labs,acme\nT3,d,,other\n")
    load()
    path.write_text(header + "T1,d,moj,labs\nT2,d,lab,acme\n")
    with pytest.raises(ConfigError, match=r"transfers.csv: .* moj → \? → lab → acme \(transfer T2"):
        load()
    path.write_text(header + "T1,d,moj,labs\nT2,d,labs,acme\nT3,d,acme,labs\n")
    with pytest.raises(ConfigError, match=r"transfers.csv: .* circle: labs → acme → labs"):
        load()


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("biometric.Face", "biometric.face"), (" face ", "biometric.face"),
        ("pd:Picture", "biometric.face"), ("Facial image", "biometric.face"),
        ("biometric", "biometric"), ("*", "*"), ("shoe size", "shoe size"), ("", None),
    ],
)  # fmt: skip
def test_categories_of_data(read: Read, written: str, kind: str | None) -> None:
    found = read("consents", f"subject_key,purpose,state,data_category\na,p,withdrawn,{written}\n")
    assert found.column("data_category").to_pylist() == [kind]

"""`consentry consent check`, as its users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scanner.cli import consentry as root
from scanner.errors import ConfigError, UsageError
from tests.conftest import Run

KEY = "M7788990"
HEADER = (
    "subject_key,purpose,state,recipient,data_category,valid_from,valid_until,record_id,separate,"
    "guardian_verified,recorded_at"
)
ROWS = f"""
{KEY},dpv:ResearchAndDevelopment,given,acme,biometric,2024-01-01,2026-12-31,C-{KEY},true,,2024-01-01
{KEY},dpv:AcademicResearch,withdrawn,acme,,,,C-2,,,2025-01-01
{KEY},service,given,,*,2024-01-01,,C-3,,true,
{KEY},ai-training,given,*,*,2024-01-01,,C-4,,,2023-12-01
OTHER,service,refused,*,*,2024-01-01,,C-5,,,2023-12-01
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "consents.csv").write_text(HEADER + ROWS)
    (tmp_path / "own.yaml").write_text("face-training: ai-training\n")
    (tmp_path / "consentry.yaml").write_text(
        "version: 1\nregistries: {consents: consents.csv}\npurposes: own.yaml\n"
        "datasets:\n  - {id: d, controller: moj}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSENTRY_KEY_FILE", str(tmp_path / "key"))
    return tmp_path


def check(*arguments: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(root, ["consent", "check", *arguments], input=stdin)
    assert KEY not in result.output
    assert KEY not in str(result.exception)
    return result


def decision(*arguments: str) -> tuple[int, str | None, dict[str, str]]:
    """Exit code, status, and why each record counts or not."""
    result = check(KEY, "--json", "--as-of", "2026-01-01", *arguments)
    found = json.loads(result.stdout)
    (first, *_) = found["decisions"]
    why = {str(r["record_id"]): r["why"] for r in first["records"]}
    return result.exit_code, first["status"], why


@pytest.mark.parametrize(
    ("purpose", "recipient", "code", "status", "record", "why"),
    [
        ("face-training", "x", 0, "given", "C-4", "given"),
        ("service", "moj", 0, "given", "C-3", "given"),
        ("dpv:AcademicResearch", "acme", 1, "withdrawn", "C-2", "withdrawn"),
        ("dpv:AcademicResearch", "acme", 1, "withdrawn", "C-…", "superseded"),
        ("dpv:ScientificResearch", "acme", 0, "given", "C-…", "given"),
        ("dpv:ScientificResearch", "acme", 0, "given", "C-4", "other_purpose"),
        ("dpv:ScientificResearch", "acme", 0, "given", "C-2", "other_purpose"),
        ("dpv:ScientificResearch", "x", 1, "recipient_mismatch", "C-…", "other_recipient"),
        ("dpv:ResearchAndDevelopment", "acme", 3, None, "C-2", "part_of_purpose"),
        ("service", "x", 1, "recipient_mismatch", "C-3", "other_recipient"),
        ("nothing", "moj", 1, "purpose_mismatch", "C-3", "other_purpose"),
    ],
)
def test_one_decision(
    folder: Path, purpose: str, recipient: str, code: int, status: str, record: str, why: str
) -> None:
    got, told, records = decision("--purpose", purpose, "--recipient", recipient)
    assert (got, told) == (code, status)
    assert len(records) == 4
    assert records[record] == why


def test_the_moment_and_the_kind(folder: Path) -> None:
    use = ("--purpose", "dpv:ScientificResearch", "--recipient", "acme")
    for as_of, status in (
        ("2023-12-31", "not_yet_valid"),
        ("2024-01-01", "given"),
        ("2026-12-31T23:59:59Z", "given"),
        ("2027-01-01", "expired"),
    ):
        found = json.loads(check(KEY, *use, "--as-of", as_of, "--json").stdout)
        assert found["decisions"][0]["status"] == status
    assert decision(*use, "--kind", "attribute.age")[:2] == (1, "category_mismatch")
    found = json.loads(check(KEY, *use, "--category", "biometric", "--json").stdout)
    assert len(found["decisions"]) == 11
    both = check(KEY, *use, "--kind", "biometric.face", "--kind", "attribute.age")
    assert both.exit_code == 1
    assert "GIVEN: consent given (separately)" in both.stdout
    assert "NOT GIVEN: there is a consent, but for another kind of data" in both.stdout


def test_a_consent_signed_in_advance(folder: Path) -> None:
    with Path("consents.csv").open("a") as file:
        file.write(f"{KEY},ai-training,renewed,*,*,2026-06-01,,C-6,,,2025-06-01\n")
    use = ("--purpose", "ai-training", "--recipient", "acme")
    status, records = decision(*use)[1:]
    assert (status, records["C-4"], records["C-6"]) == ("given", "given", "not_yet_valid")
    text = " ".join(check(KEY, *use, "--as-of", "2026-01-01").stdout.split())
    assert "valid from 2026-06-01 → does not count yet: it begins later 2." in text
    found = json.loads(check(KEY, *use, "--as-of", "2025-01-01", "--json").stdout)
    (record,) = [r for r in found["decisions"][0]["records"] if r["record_id"] == "C-6"]
    assert record["why"] == "not_yet_recorded"
    later = json.loads(check(KEY, *use, "--as-of", "2026-07-01", "--json").stdout)
    assert [r["record_id"] for r in later["decisions"][0]["records"] if r["decides"]] == ["C-6"]


def test_whether_the_recipient_is_the_controller(folder: Path) -> None:
    with Path("consentry.yaml").open("a") as file:
        file.write("  - {id: e, controller: other}\n")
    use = ("--purpose", "service", "--recipient", "moj")
    code, status, records = decision(*use)
    assert (code, status, records["C-3"]) == (3, None, "controller_not_known")
    assert decision(*use, "--dataset", "d")[:2] == (0, "given")
    assert decision(*use, "--dataset", "e")[:2] == (1, "recipient_mismatch")
    assert "(--dataset) (decides)" in " ".join(check(KEY, *use).stdout.split())


def test_what_is_not_said_cannot_be_told(folder: Path) -> None:
    assert decision("--purpose", "dpv:ScientificResearch")[:2] == (3, None)
    assert decision("--recipient", "x")[:2] == (3, None)
    assert decision("--purpose", "face-training")[:2] == (0, "given")  # whoever receives it
    assert check("null", "--purpose", "a", "--recipient", "b").exit_code == 3


def test_the_declared_use_is_what_is_asked_about(folder: Path) -> None:
    with Path("consentry.yaml").open("a") as file:
        file.write("declared_use: {purpose: face-training, recipient: x}\n")
    assert decision()[:2] == (0, "given")
    assert decision("--purpose", "nothing")[0] == 1


def test_in_plain_words(folder: Path) -> None:
    result = check(
        KEY, "--purpose", "face-training", "--recipient", "acme", "--as-of", "2026-01-01"
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(result.stdout.split())
    assert "Use for face-training, by acme, as of 2026-01-01 00:00 UTC" in text
    assert "GIVEN: consent given (not known whether separately)" in text
    assert "its purpose is broader than the one asked for, and covers it (decides)" in text
    assert "by the controller itself" in text
    unknown = check(KEY, "--purpose", "never", "--recipient", "acme").stdout
    assert "No taxonomy knows the purpose never" in unknown
    nobody = check("N-1", "--purpose", "service", "--recipient", "acme")
    assert nobody.exit_code == 1
    assert "no consent of this person is on record" in nobody.stdout


def test_a_guardian(folder: Path) -> None:
    result = check(KEY, "--purpose", "service", "--recipient", "moj")
    assert "by a verified guardian" in result.stdout


def test_a_key_from_standard_input(folder: Path) -> None:
    result = check("-", "--purpose", "face-training", "--recipient", "x", stdin=f"{KEY}\n")
    assert result.exit_code == 0
    assert isinstance(check("-", "--purpose", "x", stdin="").exception, UsageError)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [KEY, KEY],
        ["M 77", KEY, "--purpose", "x"],
        [f"-{KEY}", KEY],
        [KEY, "--purpos", "x"],
        [KEY, "--kind", "biometric.fase"],
        [KEY, "--dataset", "e"],
    ],
)
def test_wrong_use_never_repeats_the_key(folder: Path, arguments: list[str]) -> None:
    assert isinstance(check(*arguments).exception, UsageError)


def test_a_key_that_looks_like_an_option(folder: Path) -> None:
    assert check(f"-{KEY}", "--purpose", "a", "--recipient", "b").exit_code == 1


def test_the_registry_must_be_whole(folder: Path) -> None:
    Path("consents.csv").write_text(HEADER + ROWS + f"{KEY},x,maybe,,,,,,,,\n")
    error = check(KEY, "--purpose", "x", "--recipient", "y").exception
    assert isinstance(error, ConfigError)
    assert "row 6, column 'state'" in str(error)
    Path("consentry.yaml").write_text("version: 1\n")
    error = check(KEY, "--purpose", "x").exception
    assert isinstance(error, UsageError)
    assert "no registry of consents" in str(error)


def test_from_a_shell(consentry: Run, tmp_path: Path) -> None:
    (tmp_path / "consents.csv").write_text(HEADER + ROWS)
    config = tmp_path / "c.yaml"
    config.write_text("version: 1\nregistries: {consents: consents.csv}\n")
    use = ("--purpose", "ai-training", "--recipient", "x", "-c", config)
    assert consentry("consent", "check", KEY, *use).code == 0
    wrong = consentry("consent", "check", KEY, KEY, *use)
    assert wrong.code == 2
    assert KEY not in wrong.out + wrong.err
    assert wrong.err.startswith("consentry: expected one SUBJECT")

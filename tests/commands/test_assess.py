"""`consentry assess` and `policies explain --finding`, as their users meet them."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from fixtures.synthface import face
from scanner import runs
from scanner.cli import consentry as root
from scanner.errors import UsageError
from scanner.scan import scan
from scanner.seal import load_private_key, seal
from scanner.subjects import SubjectKey
from tests.saving import NOON, make_run

CONFIG = """
version: 1
targets: [data]
datasets:
  - id: entrants
    include: ["faces/**"]
    subject_from: 'faces/(?P<subject>[a-z0-9]+)_'
    subject_key_quality: exact
    controller: moj
    jurisdiction: KR
    collected_for: border-control
    legal_basis: consent
    source: direct
  - {id: elsewhere, include: ["nothing/**"], controller: moj}
registries:
  parties: parties.csv
  consents: consents.csv
  transfers: transfers.csv
  evidence: evidence.csv
policies: [baseline, kr-pipa]
"""
PARTIES = """party_id,name,type,country
moj,Ministry (example),public_body,KR
acme,Acme | <b>Vision</b> (example),company,SG
kim,Kim Minji (example),person,KR
"""
CONSENTS = """subject_key,purpose,recipient,state
kim01,ai-training,acme,given
lee02,ai-training,acme,withdrawn
"""
TRANSFERS = """transfer_id,dataset_id,exporter_id,importer_id,role_of_recipient,purpose,started_at
T1,entrants,moj,acme,processor,ai-training,2026-03-02
T9,elsewhere,moj,acme,processor,ai-training,2026-03-02
"""
EVIDENCE = """evidence_id,kind,about,ref,attested_by,attested_at,valid_until
E-1,NOTICE,T1,s3://secret-bucket/notice.pdf,dpo,2026-01-05,
E-2,DPIA,entrants,dpia-7,dpo,2020-01-05,2021-01-05
"""


def invoke(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(root, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one scan was made: three faces of two known people and one unknown."""
    place = tmp_path_factory.mktemp("assess")
    faces = place / "data" / "faces"
    faces.mkdir(parents=True)
    for n, name in enumerate(("kim01_a", "kim01_b", "lee02_a", "Nobody")):
        face(seed=n, size=160).save(faces / f"{name}.jpg")
    (place / "data" / "locked.zip").write_bytes(b"PK\x03\x04 no zip")
    (place / "consentry.yaml").write_text(CONFIG, encoding="utf-8")
    for name, text in (("parties", PARTIES), ("consents", CONSENTS), ("transfers", TRANSFERS),
                       ("evidence", EVIDENCE)):  # fmt: skip
        (place / f"{name}.csv").write_text(text, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def key(place: Path) -> Path:
    file = place / "subjects.key"
    SubjectKey.load(file)
    return file


@pytest.fixture(scope="module")
def scanned(place: Path, key: Path) -> str:
    """The id of the run."""
    from scanner.config import load_settings

    settings = load_settings(place / "consentry.yaml", None, place)
    run = scan(settings, started=NOON, clock=lambda: NOON, key=SubjectKey.load(key))
    seal(run.folder, None, at=NOON)
    return run.info.id


@pytest.fixture
def work(place: Path, key: Path, scanned: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("CONSENTRY_KEY_FILE", str(key))
    yield scanned


def test_a_draft_of_the_last_run(work: str) -> None:
    text = invoke("assess").stdout
    assert (
        text == invoke("assess", work).stdout == invoke("assess", f".consentry/runs/{work}").stdout
    )
    for part in (
        f"| Run | `{work}` |",
        "| Seal | as it was sealed; not signed |",
        "| Rules | `baseline`, `kr-pipa` |",
        "> **Take care:** Not everything was looked at.",
        "| `entrants` | Face images or face data (biometric.face) | photo | 4 | 0 |",
        # exact where the keys say it, bounded where one picture's person is unknown
        "| `entrants` | 4 | between 2 and 3 | by their keys; of 1 record nobody knows who they sh",
        "| `T1` | `entrants` | acme, Acme \\| &lt;b&gt;Vision&lt;/b&gt; (example) (company, SG), "
        "processor | `ai-training` | way not on record, ? → ? | 2026-03-02, no end on record |",
        "| `T1` | that of the dataset: consent | nobody attested it | not on record | not on rec",
        "1 transfer of datasets in which nothing was detected",
        "- entrants: collected for border-control, handed on for ai-training.",
        "### Violation, error: Processing entrusted to a processor that was not made public",
        "| `E-2` | `DPIA` | `entrants` | dpo, 2020-01-05 | EXPIRED: 2021-01-05 | `dpia-7` |",
        "> On record, not read by this program: E-1 (NOTICE about T1 by dpo, 2026-01-05)",
        "Asked because rules of Korea were among those chosen.",
        "| Not what its first bytes say (could not be looked at) | 1 |",
    ):
        assert part in text, part
    # what only a person can say is blank, numbered and listed once more
    blanks = re.findall(r"^> \*\*▢ (\d+)\. ", text, re.M)
    assert blanks == [str(n + 1) for n in range(len(blanks))] and len(blanks) > 20
    assert text.count("> **ANSWER MISSING:** ……") == len(blanks)
    assert (
        f"\n{len(blanks)} of them." in text and f"{len(blanks)} answers below are missing" in text
    )
    # no key of a person, no name of a file, no name of a person
    for secret in ("kim01", "lee02", "Nobody", "Minji", ".jpg"):
        assert secret not in text, secret


def test_a_run_keeps_no_name_of_a_person(work: str, place: Path) -> None:
    parties = runs.kept(place / ".consentry/runs" / work).parties
    assert parties is not None
    names = {row["party_id"]: row["name"] for row in parties.to_pylist()}
    assert names == {
        "moj": "Ministry (example)", "acme": "Acme | <b>Vision</b> (example)", "kim": None,
    }  # fmt: skip


def test_html_into_a_file_that_only_its_owner_reads(work: str, place: Path) -> None:
    target = place / "draft.html"
    said = invoke("assess", "last", "-f", "html", "-o", target).stderr
    assert re.fullmatch(r"consentry: draft: .*draft\.html; \d+ answers are missing in it\n", said)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    page = target.read_text(encoding="utf-8")
    assert "Impact assessment: draft" in page
    assert "<b>Vision" not in page and "&lt;b&gt;Vision" in page
    target.unlink()
    link = place / "link.html"
    link.symlink_to(place / "real.html")
    invoke("assess", "-f", "html", "-o", link)
    assert link.is_symlink() and (place / "real.html").is_file()
    (place / "real.html").unlink()
    link.unlink()


def test_redacted_it_names_no_object(work: str, place: Path) -> None:
    plain = invoke("assess").stdout
    assert str(place / "data") in plain and "secret-bucket" in plain
    text = invoke("assess", "--redact-paths").stdout
    for name in (str(place), "secret-bucket", "notice.pdf"):
        assert name not in text, name
    assert re.search(r"\| Places \| `path:[0-9a-f]{32}` \|", text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuch",), r"nosuch: not a saved run, or damaged \(FileNotFoundError\)"),
        (("last", "-o", "."), r"\.: is a folder; -o names a file"),
        (("last", "-o", "no/such/x.md"), r"there is no folder no/such; make it first"),
        (("last", "--output-directory", "nowhere"), r"nowhere: no saved run"),
        (("data",), r"data: not a saved run"),
    ],
)
def test_bad_input_is_one_clear_line(work: str, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        invoke("assess", *arguments)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_into_the_run(work: str, place: Path) -> None:
    folder = place / ".consentry/runs" / work
    before = sorted(folder.iterdir())
    with pytest.raises(UsageError, match="lies in the saved run itself"):
        invoke("assess", "-o", folder / "draft.md")
    assert sorted(folder.iterdir()) == before


# ---------------------------------------------------------------- runs that are not as they should


def test_unfinished_damaged_changed_and_old_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / ".consentry")
    old = invoke("assess").stdout  # as a version left it that kept no facts, and never sealed
    assert "This run does not keep what it counted" in old
    assert "| Seal | not sealed: the scan died before its end, or the seal was removed |" in old
    assert "How many people these are is not on record in this run." in old
    assert "Which evidence was on record is not kept in this run." in old

    seal(run.folder, None, at=NOON)
    assert "| Seal | as it was sealed; not signed |" in invoke("assess").stdout
    table = pq.read_table(run.file("affected"))
    pq.write_table(table.slice(1), run.file("affected"))
    changed = invoke("assess")  # like `report`, it is rendered; unlike it, it says so
    assert (
        "| Seal | NOT as it was sealed: affected.parquet: edited (2 rows, sealed" in changed.stdout
    )
    assert "> **Take care:** The run that this draft was made of: NOT as it was" in changed.stdout
    assert f"consentry: run {run.info.id} is NOT as it was sealed" in changed.stderr

    (run.folder / "facts.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"facts\.parquet: damaged \(\w+\)"):
        invoke("assess")
    (run.folder / "facts.parquet").unlink()
    (run.folder / "run.json").unlink()
    with pytest.raises(UsageError, match="not a saved run, or damaged"):
        invoke("assess")


def test_a_signed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    for command in (
        ("openssl", "genpkey", "-algorithm", "ed25519", "-out", private),
        ("openssl", "pkey", "-in", private, "-pubout", "-out", public),
    ):
        subprocess.run(command, check=True, capture_output=True)
    private.chmod(0o600)
    run = make_run(tmp_path / ".consentry")
    seal(run.folder, load_private_key(private), at=NOON)
    assert re.search(r"\| Seal \| signed by key \w+: not checked", invoke("assess").stdout)
    checked = invoke("assess", "--public-key", public).stdout
    assert re.search(r"\| Seal \| as it was sealed; signed by key \w+: good \|", checked)


# ---------------------------------------------------------------- one finding


def findings(place: Path, work: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = runs.load(place / ".consentry/runs" / work).findings.to_pylist()
    return rows


def test_why_one_finding_is_as_it_is(work: str, place: Path) -> None:
    wanted = ("KR-PIPA-26-2-UNPUBLISHED-PROCESSOR", "violation")
    [row] = [r for r in findings(place, work) if (r["rule_id"], r["verdict"]) == wanted]
    whole = invoke("policies", "explain", "--finding", row["finding_id"]).stdout
    plain = " ".join(whole.split())
    for part in (
        "Verdict violation, error",
        f"Because {row['reason']}",
        "Law PIPA 26(2) (read in the text of the law)",
        "Duty Whoever has personal information processed by somebody else makes public",
        "To do Publish the task and the processor before the transfer starts",
        "transfer_role processor (the recipient's role)",
        "published_ref not on record (the publication of the recipient)",
        f"Run {work}, by consentry",
        "seal: as it was sealed; not signed.",
        "`consentry policies explain KR-PIPA-26-2-UNPUBLISHED-PROCESSOR`",
    ):
        assert part in plain, part
    assert "kim01_a.jpg" in whole  # an example of what is affected, as reports show it
    hidden = invoke("policies", "explain", "--finding", row["finding_id"], "--redact-paths").stdout
    assert "kim01" not in hidden and "path:" in hidden
    places = sum(line.startswith("  /") for line in whole.splitlines())
    assert sum(len(line) > 80 for line in whole.splitlines()) <= places


def test_the_beginning_of_an_id_will_do(work: str, place: Path) -> None:
    ids = sorted(r["finding_id"] for r in findings(place, work))
    first = ids[0]
    short = next(first[:n] for n in range(1, 33) if sum(i.startswith(first[:n]) for i in ids) == 1)
    folder = f".consentry/runs/{work}"
    explained = invoke("policies", "explain", "--finding", short.upper(), "--run", folder).stdout
    assert f"Finding    {first}\n" in explained
    common = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in ids) > 1)
    with pytest.raises(UsageError, match=r"the ids of \d+ findings of run .* begin so: ") as caught:
        invoke("policies", "explain", "--finding", common)
    assert "\n" not in str(caught.value)
    for wrong, said in (("zz", "no finding of run"), ("", "expected an id"), ("  ", "expected")):
        with pytest.raises(UsageError, match=said):
            invoke("policies", "explain", "--finding", wrong)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a RULE or --finding ID"),
        (("KR-PIPA-33-PIA", "--finding", "ab"), "give either a RULE or --finding ID"),
        (("--finding", "ab", "--run", "nosuch"), "not a saved run"),
        (("--finding", "ab", "--output-directory", "nowhere"), "nowhere: no saved run"),
    ],
)
def test_wrong_use_of_explain(work: str, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        invoke("policies", "explain", *arguments)


def test_a_finding_of_a_run_without_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / ".consentry", names=("/data/two\nlines\x1b[2J.jpg",))
    text = invoke("policies", "explain", "--finding", "f0").stdout
    assert "This run kept no facts of its findings" in text
    assert "\x1b" not in text and "/data/two\\nlines\\x1b[2J.jpg" in text

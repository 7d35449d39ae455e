"""Every kind of bad input ends in a one-line error and exit code 2, or in a coverage row and exit
code 3.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import CHECKOUT, Run

GOOD = "version: 1\npolicies: [baseline]\n"


def _bomb_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side // 8 + 1)) for _ in range(side)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"consentry.yaml": GOOD + "polcies: [x]\n"}, "polcies"),
        ({"consentry.yaml": GOOD + "datasets: 7\n"}, "datasets"),
        (
            {"consentry.yaml": GOOD + "datasets: [{id: a, subject_from: '(?P<subject>['}]\n"},
            "subject_from",
        ),
        ({"consentry.yaml": "version: 1\npolicies: [nosuch-pack]\n"}, "nosuch-pack"),
        ({"consentry.yaml": "a: &x [1]\nb: *x\n"}, "consentry.yaml"),
        ({"consentry.yaml": "version: 1\nversion: 1\n"}, "version"),
        (
            {
                "consentry.yaml": GOOD + "registries: {consents: c.csv}\n",
                "c.csv": "person,purpose\n1,x\n",
            },
            "subject_key",
        ),
        (
            {
                "consentry.yaml": GOOD + "registries: {consents: c.csv}\n",
                "c.csv": "subject_key,purpose,state,valid_until\n1,x,given,someday\n",
            },
            "valid_until",
        ),
        ({"consentry.yaml": GOOD + "registries: {consents: nosuch.csv}\n"}, "nosuch.csv"),
        (
            {
                "consentry.yaml": "version: 1\npolicies: [./p]\n",
                "p/pack.yaml": "name: p\ntitle: p\nversion: '1'\ndescription: d\n",
                "p/A-1.yaml": "id: A-1\nnosuch: 1\n",
            },
            "A-1",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_wrong_configuration(
    consentry: Run, tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    target = tmp_path / "t"
    target.mkdir()
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    result = consentry("scan", target, "--config", tmp_path / "consentry.yaml")
    assert result.code == 2
    assert expected in result.err
    assert result.err.count("\n") == 1, result.err
    assert not list((tmp_path / "work").rglob("run.json"))


@pytest.mark.parametrize(
    "args",
    [
        ("scan", "nosuch-folder"),
        ("scan", "nosuch://bucket/x"),
        ("scan",),
        ("scan", ".", "--as-of", "yesterday"),
        ("scan", ".", "--face-detector", "nosuch"),
        ("scan", ".", "--face-detector", "deepface:yunet"),
        ("scan", ".", "-f", "parquet", "-o", "-"),
        ("scan", ".", "-f", "json", "-o", "a", "-o", "b"),
        ("policies", "show", "NOSUCH"),
        ("nosuch-command",),
    ],
    ids=" ".join,
)
def test_wrong_use(consentry: Run, tmp_path: Path, args: tuple[str, ...]) -> None:
    (tmp_path / "work/a.txt").write_text("x", encoding="utf-8")
    result = consentry(*args, env={"DEEPFACE_HOME": str(tmp_path)})
    assert result.code == 2, result.out + result.err
    assert result.err.strip()


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(10_000))}), sink)
    return sink.getvalue()


def _zip_of_zips(depth: int) -> bytes:
    content = b"deep"
    for number in range(depth):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"{number}.zip", content)
        content = buffer.getvalue()
    return content


def _password_zip(tmp_path: Path) -> bytes:
    # The standard library cannot write one: set the encryption bit of a stored member in both
    # headers.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("secret.txt", b"x" * 40)
    raw = bytearray(buffer.getvalue())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def test_unreadable_files(consentry: Run, tmp_path: Path, face_jpeg: bytes) -> None:
    target = tmp_path / "t"
    target.mkdir()
    files = {
        "truncated.jpg": face_jpeg[: len(face_jpeg) // 2],
        "bomb.png": _bomb_png(60_000),
        "deep.zip": _zip_of_zips(20),
        "locked.zip": _password_zip(tmp_path),
        "ragged.csv": b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,2,3\n",
        "half.parquet": _parquet()[: len(_parquet()) // 2],
        "unknown.bin": bytes(range(256)) * 8,
        "film.mp4": b"\0\0\0\x18ftypmp42" + b"\0" * 200,
    }
    for name, content in files.items():
        (target / name).write_bytes(content)
    result = consentry("scan", target, "-f", "json")
    assert result.code == 3
    rows = {
        Path(r["location"].split("!/")[0]).name: r
        for r in result.json["coverage"]["rows"]
        if r["is_object"]
    }
    assert set(rows) == set(files)
    reasons = {name: row["reason"] for name, row in rows.items()}
    assert reasons == {
        "truncated.jpg": "truncated",
        "bomb.png": "pixels",
        "deep.zip": "depth",
        "locked.zip": "encrypted",
        "ragged.csv": "malformed",
        "half.parquet": "truncated",
        "unknown.bin": "unsupported",
        "film.mp4": "unsupported",
    }
    # What could be seen of the truncated picture was looked at.
    assert rows["truncated.jpg"]["state"] == "partial"
    assert rows["bomb.png"]["state"] == "error"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run as a user without permission")
def test_no_permission(consentry: Run, tmp_path: Path) -> None:
    target = tmp_path / "t"
    target.mkdir()
    (target / "a.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (target / "closed").mkdir(mode=0o000)
    (target / "closed.csv").write_text("a,b\n", encoding="utf-8")
    (target / "closed.csv").chmod(0)
    # root may read everything: run without that capability
    without = "-dac_override,-dac_read_search"
    weaker = ["setpriv", "--bounding-set", without, "--inh-caps", without]
    if subprocess.run([*weaker, "true"], capture_output=True, check=False).returncode:
        pytest.skip("setpriv cannot drop capabilities here")
    result = subprocess.run(
        [*weaker, sys.executable, "-m", "scanner", "scan", str(target), "-f", "json"],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_CONFIG_HOME": str(tmp_path / "cfg")},
    )
    assert result.returncode == 3, result.stderr
    rows = json.loads(result.stdout)["coverage"]["rows"]
    assert {(Path(r["location"]).name, r["reason"]) for r in rows} == {
        ("closed", "denied"),
        ("closed.csv", "denied"),
    }

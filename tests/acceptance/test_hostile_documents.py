"""Reliability tests 32, 36 and 37: tables, YAML, addresses in data; and what must never be run."""

from __future__ import annotations

import base64
import http.server
import io
import json
import pickle
import random
import re
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.acceptance.hostile import Look, arrow, cost_of, look, parquet, saved, scanned, zipped
from tests.conftest import CHECKOUT, Run

MIB = 1 << 20


# ---------------------------------------------------------------- 32


def people(rows: int = 4_000, **options: object) -> bytes:
    """Four row groups; the last row holds a picture."""
    from PIL import Image

    dot = saved(Image.new("RGB", (40, 40)), "PNG")
    table = pa.table(
        {
            "id": pa.array(range(rows)),
            "name": pa.array([f"person {n % 50}" for n in range(rows)]),
            "photo": pa.array([None] * (rows - 1) + [dot], pa.binary()),
            "scores": pa.array([[n, n + 1] for n in range(rows)]),
        }
    )
    return parquet(table, row_group_size=rows // 4, **options)


def footer_at(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def bad_data() -> dict[str, bytes]:
    whole = people()
    chance = random.Random(32)
    start = footer_at(whole)
    made = {
        "empty": b"PAR1",
        "no footer": whole[:start],
        "half": whole[: len(whole) // 2],
        "footer only": b"PAR1" + whole[start:],
        "footer length of nothing": whole[:-8] + b"\0\0\0\0PAR1",
        "footer length of everything": whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        "footer length beyond": whole[:-8] + struct.pack("<I", len(whole) + 9) + b"PAR1",
        "no beginning": b"PAR1" + whole[5_000:],
        "first row group gone": whole[:4] + whole[9_000:],
        "zeros for pages": whole[:4] + bytes(start - 4) + whole[start:],
    }
    for number in range(12):
        pages = bytearray(whole)
        for _ in range(8):
            pages[chance.randrange(4, start)] ^= 1 << chance.randrange(8)
        made[f"flipped pages {number}"] = bytes(pages)
        footer = bytearray(whole)
        for _ in range(3):
            footer[chance.randrange(start, len(whole) - 8)] ^= 1 << chance.randrange(8)
        made[f"flipped footer {number}"] = bytes(footer)
    return made


BAD = (
    "empty", "no footer", "half", "footer only", "footer length of nothing",
    "footer length of everything", "footer length beyond", "no beginning", "first row group gone",
    "zeros for pages",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_32_parquet_bad_data(name: str) -> None:
    """Parquet `bad_data` → error or rows; row count reported."""
    made = bad_data()
    assert tuple(made)[: len(BAD)] == BAD
    seen = look(made[name])
    assert seen.problems
    assert seen.media_type == "application/vnd.apache.parquet"


def test_32_flipped_bits() -> None:
    """Flipped pages and footers → error or rows: never a crash of the reader itself."""
    for name, data in bad_data().items():
        seen = look(data)
        assert seen.problems or seen.faces or "flipped" in name, name
        assert not any("its reader failed" in problem.detail for problem in seen.problems), name


def test_32_what_is_lost_is_counted() -> None:
    """A damaged row group costs its own rows; how many is said."""
    whole = people(compression="none", use_dictionary=False, column_encoding=None)
    meta = pq.ParquetFile(io.BytesIO(whole)).metadata
    second = meta.row_group(1).column(0).data_page_offset
    seen = look(whole[:second] + b"\xff" * 40 + whole[second + 40 :])
    assert [(p.reason, p.detail.partition(" (")[0]) for p in seen.problems] == [
        ("malformed", "row group 1: 1000 of 1000 rows not read")
    ]
    assert seen.faces == ("x!/row=3999/photo",)  # numbered as if nothing were missing


@pytest.mark.parametrize("rows", [0, 1, 3_999, 4_001, 10**9, 10**18, -1])
def test_32_wrong_row_counts(rows: int) -> None:
    """A footer that lies about its rows → what is there is read, what is not there is said."""
    data = people()
    footer = data[footer_at(data) : -8]
    for old, new in ((1_000, max(rows, 0) // 4 if rows >= 0 else -1), (4_000, rows)):
        # not behind "\x15" and a codec: those are the numbers of values
        counts = rb"(?<!\x15[\0-\x0e])\x16" + re.escape(zigzag(old))
        footer = re.sub(counts, (b"\x16" + zigzag(new)).replace(b"\\", rb"\\"), footer)
    lying = data[: footer_at(data)] + footer
    lying += struct.pack("<I", len(footer)) + b"PAR1"
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_rows == 4_000
    seen = look(lying)
    assert seen.reasons & {"ambiguous", "malformed", "truncated"}


def zigzag(value: int) -> bytes:
    """A Thrift integer of the compact protocol."""
    value = value * 2 if value >= 0 else -value * 2 - 1
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_32_absurd_metadata(tmp_path: Path) -> None:
    """Footers that ask for the moon cost neither time nor memory."""
    columns = parquet(pa.table({f"c{n}": pa.array([n]) for n in range(3_000)}))
    deep: pa.DataType = pa.int8()
    for _ in range(60):
        deep = pa.list_(deep)
    nested = pa.struct([("a", pa.binary())])
    for _ in range(60):
        nested = pa.struct([("a", nested)])
    assert look(columns).clean
    assert look(parquet(pa.table({"a": pa.nulls(2, deep)}))).media_type
    seen = look(parquet(pa.table({"a": pa.nulls(2, nested)})))
    assert "depth" in seen.reasons
    large = pa.table({"a": pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(300, np.int32)), pa.array([b"\0" * MIB]))})  # fmt: skip
    for data in (parquet(large), arrow(large)):
        assert len(data) < 2 * MIB  # 300 MiB, as rows
        assert cost_of(data, tmp_path).grown < 200 * MIB


def test_32_on_the_command_line(tmp_path: Path) -> None:
    """Parquet `bad_data` → error or rows; no crash."""
    files = {f"{name.replace(' ', '-')}.parquet": data for name, data in bad_data().items()}
    files["whole.parquet"] = people()
    rows = scanned(files, tmp_path)
    assert rows.keys() >= {f"{name.replace(' ', '-')}.parquet" for name in BAD}
    assert "whole.parquet" not in rows
    assert {state for state, _ in rows.values()} <= {"partial", "error"}
    assert not {reason for _, reason in rows.values()} & {"crash", "timeout", "memory"}


# ---------------------------------------------------------------- 36

ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)
BAD_YAML = {
    "aliases": ALIASES,
    "python object": "policies: !!python/object/apply:os.system ['touch canary']\n",
    "python name": "policies: !!python/name:os.system\n",
    "tag": "policies: !custom [baseline]\n",
    "duplicate": "policies: [baseline]\npolicies: [kr-pipa]\n",
    "duplicate below": "declared_use: {purpose: a, purpose: b}\n",
    "merge": "declared_use: {<<: {purpose: a}}\n",
    "deep": "policies: " + "[" * 500 + "]" * 500 + "\n",
    "huge": "# " + "x" * (2 * MIB) + "\n",
    "key": "? [a, b]\n: c\n",
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_36_yaml_that_is_more_than_data(consentry: Run, tmp_path: Path, name: str) -> None:
    """Alias bomb, `!!python`, duplicate keys → exit 2."""
    file = tmp_path / "consentry.yaml"
    file.write_text("version: 1\n" + BAD_YAML[name], encoding="utf-8")
    (tmp_path / "t").mkdir()
    result = consentry("scan", tmp_path / "t", "--config", file)
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert "consentry.yaml" in result.err
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("pack.yaml", "duplicate"),
        ("BASE-UNMANIFESTED.yaml", "python object"),
        ("cases/BASE-UNMANIFESTED.yaml", "aliases"),
    ],
)
def test_36_the_same_in_packs(consentry: Run, tmp_path: Path, place: str, name: str) -> None:
    """Alias bomb, `!!python`, duplicate keys → exit 2: in a pack, a rule and its cases."""
    pack = shutil.copytree(CHECKOUT / "policies/baseline", tmp_path / "p")
    assert (pack / place).exists()
    (pack / place).write_text(BAD_YAML[name], encoding="utf-8")
    result = consentry("policies", "test", pack)
    assert (result.code, result.err.count("\n")) == (2, 1), result.out + result.err
    assert place in result.err
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.jsonl", b'{"file_name":' * 3_000 + b"1" + b"}" * 3_000 + b"\n"),
        ("m.pkl", pickle.dumps({"file_name": ["a"]})),
        ("m.parquet", b"PAR1" + b"\xff" * 40 + b"PAR1"),
        ("m.xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"),
    ],
    ids=["deep", "pickle", "parquet", "entities"],
)
def test_36_the_same_in_manifests(
    consentry: Run, tmp_path: Path, name: str, content: bytes
) -> None:
    """What is no table, or one that nobody could read, is no manifest → exit 2."""
    (tmp_path / name).write_bytes(content)
    (tmp_path / "t").mkdir()
    (tmp_path / "consentry.yaml").write_text(
        "version: 1\ndatasets:\n  - id: d\n    include: ['**']\n"
        f"    manifest: {{path: {name}, location: file_name}}\n",
        encoding="utf-8",
    )
    result = consentry("scan", tmp_path / "t", "--config", tmp_path / "consentry.yaml")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert name in result.err


# ---------------------------------------------------------------- 37


@pytest.fixture
def trap() -> Iterator[tuple[int, list[object]]]:
    """A listener on loopback that must never be called: (port, the calls)."""
    calls: list[object] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    done = threading.Event()

    def accept() -> None:
        while not done.is_set():
            try:
                peer, address = listener.accept()
            except TimeoutError:
                continue
            calls.append(address)
            peer.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1], calls
    finally:
        done.set()
        thread.join()
        listener.close()


def addresses(port: int) -> list[str]:
    """Of this very machine, in every disguise, and of what clouds tell their machines."""
    return [
        f"http://127.0.0.1:{port}/a.jpg",
        f"http://localhost:{port}/a.jpg",
        f"http://0x7f000001:{port}/a.jpg",
        f"http://2130706433:{port}/a.jpg",
        f"http://0177.0.0.1:{port}/a.jpg",
        f"http://[::ffff:127.0.0.1]:{port}/a.jpg",
        f"http://user@127.0.0.1:{port}/a.jpg",
        f"ftp://127.0.0.1:{port}/a.jpg",
        f"//127.0.0.1:{port}/a.jpg",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "file:///etc/passwd",
    ]


def documents(port: int) -> dict[str, bytes]:
    """Files of every kind of text that programs are known to follow addresses in."""
    one = addresses(port)[0]
    every = addresses(port)
    table = pa.table({"url": every, "image": every})
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE a SYSTEM "{one}" [<!ENTITY % p SYSTEM "{one}">%p;'
        f'<!ENTITY b SYSTEM "{one}"><!ENTITY c SYSTEM "file:///etc/passwd">]><a>&b;&c;</a>'
    )
    return {
        "a.csv": ("id,image_url\n" + "".join(f"{n},{u}\n" for n, u in enumerate(every))).encode(),
        "a.jsonl": "\n".join(json.dumps({"image": u, "$ref": u}) for u in every).encode(),
        "a.parquet": parquet(table),
        "a.xml": xml.encode(),
        "a.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{one}"/></svg>'.encode(),
        "a.html": f'<base href="{one}"><img src="{one}"><script src="{one}"></script>'.encode(),
        "a.m3u8": f'#EXTM3U\n#EXT-X-MEDIA:URI="{one}"\n{one}\n'.encode(),
        "a.url": f"[InternetShortcut]\nURL={one}\n".encode(),
        "a.mvg": f"push graphic-context\nimage over 0,0 0,0 'url({one})'\n".encode(),
        "a.docx": zipped(
            {
                "word/_rels/document.xml.rels": f'<Relationships><Relationship Id="1" '
                f'TargetMode="External" Target="{one}"/></Relationships>'.encode(),
                "word/document.xml": xml.encode(),
            }
        ),
        "a.dvc": f"outs:\n- path: {one}\n".encode(),
    }


def test_37_addresses_in_data(
    consentry: Run, tmp_path: Path, trap: tuple[int, list[object]]
) -> None:
    """Manifest URLs to metadata or private IPs, with redirect → zero packets."""
    port, calls = trap
    target = tmp_path / "t"
    target.mkdir()
    for name, data in documents(port).items():
        (target / name).write_bytes(data)
    rows = "".join(f"{u},p{n}\n" for n, u in enumerate(addresses(port)))
    (tmp_path / "m.csv").write_text(f"file_name,person\n{rows}", encoding="utf-8")
    (tmp_path / "c.csv").write_text(
        "subject_key,purpose,recipient,state,evidence\n"
        + "".join(f"{u},ai-training,{u},given,{u}\n" for u in addresses(port)),
        encoding="utf-8",
    )
    (tmp_path / "consentry.yaml").write_text(
        "version: 1\ndatasets:\n  - id: d\n    include: ['**']\n"
        "    manifest: {path: m.csv, location: file_name, subject: person}\n"
        "registries: {consents: c.csv}\n",
        encoding="utf-8",
    )
    result = consentry("scan", target, "--config", tmp_path / "consentry.yaml", "-f", "json")
    assert result.code != 2, result.err
    assert sum(result.json["coverage"]["counts"].values()) == len(documents(port))
    assert calls == []


@pytest.mark.parametrize(
    "text",
    [
        "datasets:\n  - id: d\n    manifest: {path: 'URL', location: file_name}\n",
        "registries: {consents: 'URL'}\n",
        "registries: {consents: {path: 'URL'}}\n",
        "registries: {consents: {url: 'postgresql://127.0.0.1:PORT/x', table: c}}\n",
        "stores:\n  s3://b: {endpoint_url: 'http://127.0.0.1:PORT'}\n",
    ],
    ids=["manifest", "registry", "registry path", "database", "endpoint"],
)
def test_37_a_configuration_among_the_data(
    consentry: Run, tmp_path: Path, trap: tuple[int, list[object]], text: str
) -> None:
    """A configuration that was delivered with the data cannot send us anywhere → zero packets."""
    port, calls = trap
    target = tmp_path / "t"
    target.mkdir()
    one = addresses(port)[0]
    text = text.replace("URL", one).replace("PORT", str(port))
    (target / "consentry.yaml").write_text("version: 1\n" + text, encoding="utf-8")
    for cwd, name in ((None, target), (target, Path())):
        result = consentry("scan", name, cwd=cwd)
        assert (result.code, result.err.count("\n")) == (2, 1), result.err
        assert "--config" in result.err
    assert calls == []


def test_37_a_server_that_redirects(
    consentry: Run, tmp_path: Path, trap: tuple[int, list[object]]
) -> None:
    """A manifest's own server that redirects to a private address → zero packets there."""
    pytest.importorskip("aiohttp")
    port, calls = trap
    asked: list[str] = []

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{port}/m.csv")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            return None

    with http.server.HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            (tmp_path / "t").mkdir()
            (tmp_path / "consentry.yaml").write_text(
                "version: 1\ndatasets:\n  - id: d\n    manifest: "
                f"{{path: 'http://127.0.0.1:{server.server_port}/m.csv', location: file_name}}\n",
                encoding="utf-8",
            )
            result = consentry("scan", tmp_path / "t", "--config", tmp_path / "consentry.yaml")
        finally:
            server.shutdown()
            thread.join()
    assert asked, "the server itself was named by the user, and is asked"
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert calls == []


# ---------------------------------------------------------------- never run, never expanded


class _Canary:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self._path}",)


def test_canary_pickle_does_not_fire(tmp_path: Path) -> None:
    """Pickle, .npy, .pt: never loaded, and never called clean."""
    canary = tmp_path / "fired"
    loaded = pickle.dumps(_Canary(canary))
    objects = io.BytesIO()
    np.save(objects, np.array([_Canary(canary)], object), allow_pickle=True)
    joined = io.BytesIO()
    np.savez(joined, a=np.array([_Canary(canary)], object))
    files = {
        "a.pkl": loaded,
        "old.pkl": pickle.dumps(_Canary(canary), protocol=0),
        "a.pt": zipped({"archive/data.pkl": loaded, "archive/version": b"3\n"}),
        "a.npy": objects.getvalue(),
        "a.npz": joined.getvalue(),
        "a.csv": b"id,model\n1," + base64.b64encode(loaded * 9) + b"\n",
        "a.joblib": loaded,
        "a.parquet": parquet(pa.table({"model": [loaded]})),
    }
    rows = scanned(files, tmp_path / "run")
    assert not canary.exists()
    for name in ("a.pkl", "a.pt", "a.npy", "a.npz", "a.joblib"):
        assert rows[name][1] == "unsupported", name
    pickle.loads(loaded)  # the canary is a live one
    assert canary.exists()


def test_entity_bombs_are_not_expanded(tmp_path: Path) -> None:
    """A billion laughs, quadratic blow-up, external entities: read as the text that they are."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    files = {
        "laughs.xml": f"<!DOCTYPE a [{laughs}]><a>&l9;</a>",
        "laughs.svg": f"<!DOCTYPE svg [{laughs}]><svg><text>&l9;</text></svg>",
        "quadratic.xml": f'<!DOCTYPE a [<!ENTITY b "{"x" * 50_000}">]><a>{"&b;" * 50_000}</a>',
        "a.xhtml": f"<!DOCTYPE html [{laughs}]><html><body>&l9;</body></html>",
    }
    for name, text in files.items():
        data = text.encode()
        seen: Look = look(data)
        assert (seen.media_type, seen.clean) == ("text/plain", True), name
    for name in ("laughs.svg", "quadratic.xml"):
        cost = cost_of(files[name].encode(), tmp_path)
        assert cost.grown < 32 * MIB
        assert cost.seconds < 3

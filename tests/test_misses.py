"""Which pictures are drawn for a person to look at, and what the look proves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import botocore.session
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from scanner import schemas
from scanner.errors import Unreadable
from scanner.misses import Drawn, Opener, bound_lines, draw, unprinted
from scanner.model import StoreSpec, printable
from scanner.stores import open_store


def saved(folder: Path, rows: list[dict[str, object]], faces: list[tuple[str, str, str]]) -> Path:
    coverage = [
        dict.fromkeys(schemas.COVERAGE.names)
        | {"state": "scanned", "is_object": True, "media_type": "image/jpeg", "size_bytes": 5,
           "store_version": "v"}
        | row
        for row in rows
    ]  # fmt: skip
    seen = [
        dict.fromkeys(schemas.DETECTIONS.names)
        | {"location": location, "object_key": key, "basis": basis, "kind": "biometric.face"}
        for location, key, basis in faces
    ]
    for name, table, schema in (
        ("coverage", coverage, schemas.COVERAGE),
        ("detections", seen, schemas.DETECTIONS),
    ):
        pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / f"{name}.parquet")
    return folder


def test_only_whole_pictures_without_a_face_are_drawn(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"location": "/t/empty.jpg"},
        {"location": "/t/known.png", "media_type": "image/png", "state": "unchanged"},
        {"location": "/t/named-face.jpg"},
        {"location": "/t/face.jpg"},
        {"location": "/t/thumbnail.jpg"},
        {"location": "/t/cut.jpg", "state": "partial", "reason": "truncated"},
        {"location": "/t/broken.jpg", "state": "error", "reason": "malformed"},
        {"location": "/t/left.jpg", "state": "partial", "reason": "sampled", "media_type": None},
        {"location": "/t/a.zip", "media_type": "application/zip"},
        {"location": "/t/a.zip!/in.jpg", "is_object": False, "state": "error"},
    ]
    faces = [
        ("/t/face.jpg", "face.jpg", "content"),
        ("/t/thumbnail.jpg!/exif-thumbnail", "thumbnail.jpg", "content"),
        ("/t/named-face.jpg", "named-face.jpg", "metadata"),  # a name is not a look
    ]
    sample = draw(saved(tmp_path, rows, faces), 10, 1)
    assert [p.location for p in sample.pictures] == [
        "/t/empty.jpg", "/t/known.png", "/t/named-face.jpg",
    ]  # fmt: skip
    assert (sample.among, sample.with_faces) == (3, 2)
    assert sample.pictures[0] == Drawn("/t/empty.jpg", "v", 5)


def test_the_draw_is_that_of_the_seed(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"location": f"/t/{n:03}.jpg"} for n in range(100)]
    run = saved(tmp_path, rows, [])
    first = draw(run, 10, 7)
    assert len(first.pictures) == 10
    assert first.among == 100
    assert first == draw(run, 10, 7)
    assert first != draw(run, 10, 8)
    assert [p.location for p in first.pictures] == sorted(p.location for p in first.pictures)
    seen = {p.location for seed in range(60) for p in draw(run, 10, seed).pictures}
    assert len(seen) > 95  # every one can be drawn


def test_none_missed_is_the_rule_of_three() -> None:
    lines = bound_lines(0, 200, 10_000, 500)
    assert lines[0].startswith("200 of 10,000 pictures without a found face were looked at; 0 hold")
    assert "at most 1.49% of them do: 148 pictures at most" in lines[1]
    assert "at least 77.1% of the pictures with faces" in lines[2]


def test_where_all_were_looked_at_the_number_is_known() -> None:
    lines = bound_lines(3, 40, 40, 0)
    assert ": 3 pictures at most" in lines[1]
    assert len(lines) == 2  # no picture with a face, no recall


def test_nothing_drawn_proves_nothing() -> None:
    assert "at most 100% of them do: 0 pictures" in bound_lines(0, 0, 0, 0)[1]


@pytest.mark.parametrize(
    "name", ["a.jpg", "ä\\b.jpg", "a\\xe4.jpg", "a\udce4\\.jpg", "한\udcff글\\x41", "\\\\x", "\\"]
)
def test_printed_names_are_read_back(name: str) -> None:
    assert unprinted(printable(name)) == name


def test_the_very_bytes_are_read(tmp_path: Path) -> None:
    names = ["a.jpg", "deep/b.jpg", "deep/a.jpg", "odd\\xff.jpg"]
    raw = os.fsencode(tmp_path) + b"/bytes\xff.jpg"
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    with open(raw, "wb") as file:  # noqa: PTH123 - a name that is no text
        file.write(b"raw")
    store = open_store(StoreSpec(str(tmp_path)))
    opener = Opener([store])
    for info in store.list():
        drawn = Drawn(str(store.location(info.key)), info.version, info.size)
        wanted = info.key.encode() if info.key in names else b"raw"
        assert opener.read(drawn, 100) == wanted

    info = next(info for info in store.list() if info.key == "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"other")
    for drawn, reason in (
        (Drawn(f"{tmp_path}/a.jpg", info.version, 5), "changed"),
        (Drawn(f"{tmp_path}/gone.jpg", "", 5), "vanished"),
        (Drawn("/elsewhere/a.jpg", "", 5), "vanished"),
        (Drawn(f"{tmp_path}/../x.jpg", "", 5), "vanished"),
        (Drawn(f"{tmp_path}/deep/b.jpg", "", 101), "bytes"),
        (Drawn(f"{tmp_path}/deep/b.jpg", "", 0), "bytes"),
    ):
        with pytest.raises(Unreadable) as caught:
            opener.read(drawn, 9)
        assert caught.value.reason == reason, drawn


def test_a_target_that_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"one")
    store = open_store(StoreSpec(str(tmp_path / "a.jpg")))
    [info] = store.list()
    drawn = Drawn(str(store.location(info.key)), info.version, info.size)
    assert Opener([store]).read(drawn, 10) == b"one"


def test_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "not-so-secret"),
            ("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        client: Any = botocore.session.Session().create_client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        for key in ("p/a.jpg", "p/a//b.jpg", "p//lead", "p/deep/a.jpg", "p/back\\slash.jpg"):
            client.put_object(Bucket="bucket", Key=key, Body=key.encode())
        store = open_store(StoreSpec("s3://bucket/p/"))
        opener = Opener([store])
        found = list(store.list())
        assert len(found) == 5
        for info in found:
            drawn = Drawn(str(store.location(info.key)), printable(info.version), info.size)
            assert opener.read(drawn, 100) == f"p/{info.key}".encode()
        client.put_object(Bucket="bucket", Key="p/a.jpg", Body=b"other b")
        client.close()
        [info] = [info for info in found if info.key == "a.jpg"]
        with pytest.raises(Unreadable) as caught:
            opener.read(Drawn("s3://bucket/p/a.jpg", info.version, info.size), 100)
        assert caught.value.reason == "changed"
    finally:
        server.stop()

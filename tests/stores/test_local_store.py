"""Folders and files of this machine: real files, links, pipes, odd names, missing permissions."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanner.errors import StoreError, UsageError
from scanner.model import ObjectInfo, StoreSpec
from scanner.stores import Store, open_store, sorted_names
from scanner.stores import local as local_module


def listing(target: Path | str, **options: object) -> dict[str, ObjectInfo]:
    store = open_store(StoreSpec(str(target), **options))  # type: ignore[arg-type]
    found = list(store.list())
    assert len({info.key for info in found}) == len(found), "a key was listed twice"
    return {info.key: info for info in found}


def descriptors() -> int:
    """How many files this process has open; 0 where that cannot be seen."""
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0


def state(info: ObjectInfo) -> str:
    return info.excluded or (info.problem[0] if info.problem else "ok")


def read(store: Store, info: ObjectInfo) -> bytes:
    with store.open(info) as stream:
        return stream.read()


def only(store: Store) -> ObjectInfo:
    (info,) = store.list()
    return info


def test_lists_depth_first_in_name_order_with_versions(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z", "a/b/c", "a.txt", "c/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    store = open_store(StoreSpec(str(tmp_path)))
    found = list(store.list())
    assert [info.key for info in found] == ["a/b/c", "a/z", "a.txt", "b.txt", "c/d"]
    assert found == list(store.list())
    for info in found:
        there = (tmp_path / info.key).stat()
        assert info.size == len(info.key)
        assert info.version == f"{there.st_ctime_ns}-{there.st_size}-{there.st_ino}"
        assert info.mtime is not None
        assert info.mtime.timestamp() == pytest.approx(there.st_mtime, abs=1e-5)
        assert read(store, info) == info.key.encode()


def test_locations_begin_as_the_target_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    for target in ("d", "d/", "./d", "."):
        store = open_store(StoreSpec(target))
        assert str(store.location(only(store).key)) == f"{target.rstrip('/')}/{only(store).key}"
    single = open_store(StoreSpec("d/x"))
    assert (only(single).key, str(single.location("x"))) == ("x", "d/x")
    assert read(single, only(single)) == b"1"


def test_names_are_kept_byte_for_byte(tmp_path: Path) -> None:
    names = [
        b"caf\xe9.jpg",
        b"\xff\xfe",
        "얼굴.jpg".encode(),
        b" lead",
        b"new\nline",
        b"a\\x41",
        b"%2e",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    store = open_store(StoreSpec(str(tmp_path)))
    found = {os.fsencode(info.key): info for info in store.list()}
    assert list(found) == sorted(names)
    for name, info in found.items():
        assert read(store, info) == name
        str(store.location(info.key)).encode()  # prints as valid UTF-8


def test_big_folders_and_deep_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_names, "RUN", 64)
    deep = tmp_path
    for _ in range(local_module._OPEN_FOLDERS * 3):
        deep = deep / "d"
    deep.mkdir(parents=True)
    expected = set()
    for folder in [tmp_path, *[up for up in deep.parents if tmp_path in up.parents], deep]:
        for name in ("a", "z"):
            (folder / name).touch()
            expected.add(str((folder / name).relative_to(tmp_path)))
    for number in range(500):
        (tmp_path / f"{number * 37 % 500:04}").touch()
        expected.add(f"{number:04}")
    before = descriptors()
    assert listing(tmp_path).keys() == expected
    broken_off = open_store(StoreSpec(str(tmp_path))).list()
    assert next(broken_off).key == "0000"
    del broken_off
    assert descriptors() == before


# ---------------------------------------------------------------- links


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """target/ with links inwards, outwards, nowhere, in a loop, and to itself."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "face.jpg").write_bytes(b"face")
    (outside / "lone.jpg").write_bytes(b"lone")
    (outside / "back").symlink_to(target)
    (outside / "inner" / "up").symlink_to(outside)
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "own.jpg").write_bytes(b"own")
    (target / "in_file").symlink_to("sub/own.jpg")
    (target / "in_folder").symlink_to("sub")
    (target / "self").symlink_to(".")
    (target / "out_file").symlink_to(outside / "lone.jpg")
    (target / "out_folder").symlink_to(outside)
    (target / "out_again").symlink_to(outside / "inner")
    (target / "nowhere").symlink_to("missing")
    (target / "loop").symlink_to("loop")
    return target


def test_links_are_told_not_followed(linked: Path) -> None:
    assert {key: state(info) for key, info in listing(linked).items()} == {
        "sub/own.jpg": "ok",
        "in_file": "symlink", "in_folder": "symlink", "self": "symlink",
        "out_file": "link", "out_folder": "link", "out_again": "link",
        "nowhere": "link", "loop": "link",
    }  # fmt: skip


def test_links_are_followed_once_on_request(linked: Path) -> None:
    store = open_store(StoreSpec(str(linked), follow_symlinks=True))
    found = {info.key: info for info in store.list()}
    assert {key: state(info) for key, info in found.items()} == {
        "sub/own.jpg": "ok",
        "in_file": "symlink", "in_folder": "symlink", "self": "symlink",
        "nowhere": "link", "loop": "link",
        "out_file": "ok",
        "out_again/face.jpg": "ok",
        "out_again/up/lone.jpg": "ok",  # out_again sorts before out_folder: reached from there
        "out_again/up/back": "symlink",
        "out_again/up/inner/": "symlink",
        "out_folder/": "symlink",
    }  # fmt: skip
    assert read(store, found["out_again/up/lone.jpg"]) == b"lone"
    assert read(store, found["out_file"]) == b"lone"


def test_a_target_that_is_itself_a_link_is_followed(linked: Path) -> None:
    (linked.parent / "alias").symlink_to("target")
    assert listing(linked.parent / "alias").keys() == listing(linked).keys()


def test_a_folder_swapped_for_a_link_does_not_lead_out(linked: Path) -> None:
    store = open_store(StoreSpec(str(linked)))
    info = next(info for info in store.list() if info.key == "sub/own.jpg")
    shutil.rmtree(linked / "sub")
    (linked.parent / "outside" / "own.jpg").write_bytes(b"own")
    (linked / "sub").symlink_to(linked.parent / "outside")
    with pytest.raises(StoreError) as caught:
        store.open(info)
    assert caught.value.reason == "changed"


@pytest.mark.parametrize(
    "key", ["../outside/lone.jpg", "sub/../../outside/lone.jpg", "/etc/hosts", "", "sub", "a\0"]
)
def test_made_up_keys_reach_nothing(linked: Path, key: str) -> None:
    with pytest.raises(StoreError):
        open_store(StoreSpec(str(linked))).open(ObjectInfo(key, 0))


# ---------------------------------------------------------------- what is no file


def test_pipes_and_sockets_are_told_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        found = listing(tmp_path)
        assert {key: state(info) for key, info in found.items()} == {
            "pipe": "unsupported", "socket": "unsupported",
        }  # fmt: skip
        store = open_store(StoreSpec(str(tmp_path)))
        for info in found.values():  # even if asked to: no hang
            with pytest.raises(StoreError) as caught:
                store.open(info)
            assert caught.value.reason == "changed"
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        open_store(StoreSpec(str(tmp_path / "pipe")))


def test_own_output_is_one_row_and_not_entered(tmp_path: Path) -> None:
    own = tmp_path / "a" / ".consentry"
    own.mkdir(parents=True)
    (own / "state.db").write_bytes(b"1")
    (tmp_path / "x").touch()
    found = listing(tmp_path, skip=(str(own), str(tmp_path / "not yet there")))
    assert {key: state(info) for key, info in found.items()} == {
        "a/.consentry/": "own-output", "x": "ok",
    }  # fmt: skip
    assert [state(info) for info in listing(own, skip=(str(own),)).values()] == ["own-output"]


def test_missing_targets(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file/below", "nul\0"):
        with pytest.raises(UsageError) as caught:
            open_store(StoreSpec(str(tmp_path / name)))
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="missing: no such file or folder"):
        open_store(StoreSpec(str(tmp_path / "missing")))
    assert listing(tmp_path.joinpath("file")).keys() == {"file"}


# ---------------------------------------------------------------- permissions


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder whose rights bind us: tests may run as root, which may read everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "locked").mkdir()
    (folder / "locked" / "face.jpg").write_bytes(b"1")
    (folder / "no_search").mkdir()
    (folder / "no_search" / "face.jpg").write_bytes(b"1")
    (folder / "closed.jpg").write_bytes(b"1")
    (folder / "open.jpg").write_bytes(b"1")
    for name, mode in (("locked", 0), ("no_search", 0o444), ("closed.jpg", 0), ("open.jpg", 0o644)):
        (folder / name).chmod(mode)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for name in ("locked", "no_search"):
            (folder / name).chmod(0o755)
        shutil.rmtree(folder)


def test_what_may_not_be_read_is_told_and_the_rest_listed(unprivileged: Path) -> None:
    found = listing(unprivileged)
    assert {key: state(info) for key, info in found.items()} == {
        "closed.jpg": "ok", "locked/": "denied", "no_search/face.jpg": "denied", "open.jpg": "ok",
    }  # fmt: skip
    store = open_store(StoreSpec(str(unprivileged)))
    with pytest.raises(StoreError) as caught:
        store.open(found["closed.jpg"])
    assert caught.value.reason == "denied"
    assert read(store, found["open.jpg"]) == b"1"
    with pytest.raises(StoreError, match="no permission") as caught:
        open_store(StoreSpec(str(unprivileged / "locked")))
    assert caught.value.reason == "denied"


# ---------------------------------------------------------------- changes while we look


def test_changed_and_vanished_between_listing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    store = open_store(StoreSpec(str(tmp_path)))
    info = only(store)
    kept = path.stat()
    path.write_bytes(b"new")  # same size …
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # … and the time put back
    with pytest.raises(StoreError) as caught:
        store.open(info)
    assert caught.value.reason == "changed"
    path.unlink()
    with pytest.raises(StoreError) as caught:
        store.open(info)
    assert caught.value.reason == "vanished"


def test_changed_while_being_read_is_told_even_if_the_reader_swallows_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 2_000_000)
    store = open_store(StoreSpec(str(tmp_path)))
    with store.open(only(store)) as stream:
        assert stream.read(10) == b"a" * 10
        assert getattr(stream, "failure", "missing") is None
        with path.open("r+b") as other:
            other.write(b"b" * 2_000_000)
        with pytest.raises(StoreError) as caught:
            stream.read()
        assert caught.value.reason == "changed"
        assert getattr(stream, "failure", None) is caught.value


def test_gone_between_the_folder_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    rows = open_store(StoreSpec(str(tmp_path))).list()
    assert next(rows).key == "a"
    (tmp_path / "b").unlink()
    assert [(info.key, state(info)) for info in rows] == [("b", "vanished")]


def test_a_folder_whose_listing_breaks_off_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").touch()
    (tmp_path / "e").touch()
    real = sorted_names.sorted_names

    def breaks(entries: Iterator[os.DirEntry[str]]) -> tuple[Iterator[str], OSError | None]:
        names, _ = real(entries)
        found = list(names)
        return iter(found), OSError(5, "I/O error") if found == ["x"] else None

    monkeypatch.setattr(local_module, "sorted_names", breaks)
    assert {key: state(info) for key, info in listing(tmp_path).items()} == {
        "d/": "listing", "d/x": "ok", "e": "ok",
    }  # fmt: skip


def test_times_beyond_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    try:
        os.utime(tmp_path / "x", (0, 10**13))
    except OSError:
        pytest.skip("this file system has no such times")
    store = open_store(StoreSpec(str(tmp_path)))
    beyond = (tmp_path / "x").stat().st_mtime > 253402300800
    assert (only(store).mtime is None) == beyond


def test_random_access_equals_the_file(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    (tmp_path / "x").write_bytes(data)
    store = open_store(StoreSpec(str(tmp_path)))
    draw = random.Random(2)
    with store.open(only(store)) as stream:
        assert stream.seekable()
        assert not stream.writable()
        for _ in range(300):
            start, count = draw.randrange(len(data) + 10), draw.randrange(400_000)
            stream.seek(start)
            assert stream.read(count) == data[start : start + count]
        assert stream.seek(-5, io.SEEK_END) == len(data) - 5
        assert stream.read() == data[-5:]


def test_the_file_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    file = tmp_path / "d" / "x"
    file.write_bytes(b"1")
    store = open_store(StoreSpec(str(tmp_path)))
    info = only(store)
    assert store.renewed(info) == info
    file.write_bytes(b"22")
    now = store.renewed(info)
    assert now is not None
    assert (now.key, now.size, read(store, now)) == ("d/x", 2, b"22")
    store.sign_in_again()
    open_files = descriptors()
    file.unlink()
    assert store.renewed(info) is None
    outside = tmp_path / "outside"
    outside.write_bytes(b"elsewhere")
    file.symlink_to(outside)
    with pytest.raises(StoreError) as caught:  # never followed out of what was listed
        store.renewed(info)
    assert caught.value.reason == "changed"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError) as caught:
        store.renewed(info)
    assert caught.value.reason == "changed"
    assert store.renewed(ObjectInfo("d/\0", 1)) is None
    assert store.renewed(ObjectInfo("../x", 1)) is None
    assert descriptors() == open_files
    file.unlink()
    file.write_bytes(b"333")
    single = open_store(StoreSpec(str(file)))
    assert single.renewed(only(single)) == only(single)

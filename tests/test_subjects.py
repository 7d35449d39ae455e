"""Subject keys and their digests."""

from __future__ import annotations

import hashlib
import hmac
import os
import pickle
import stat
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import ConfigError
from scanner.subjects import SubjectKey, canonical, default_file

SECRET = b"0123456789abcdef0123456789abcdef"
KEY = SubjectKey(SECRET)


def test_digest_is_hmac_sha256_cut_to_128_bits() -> None:
    expected = hmac.new(SECRET, b"M1234", hashlib.sha256).hexdigest()[:32]
    assert KEY.digest("M1234") == expected
    assert KEY.digest_array(pa.array(["M1234"])).to_pylist() == [expected]


def test_a_long_secret_is_hashed_first_as_rfc_2104_says() -> None:
    secret = bytes(range(200))
    expected = hmac.new(secret, b"x", hashlib.sha256).hexdigest()[:32]
    assert SubjectKey(secret).digest("x") == expected


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["123"]),
        pa.array([" 123\t"]),
        pa.array(["123.0"]),
        pa.array([123], pa.int64()),
        pa.array([123], pa.uint8()),
        pa.array([123.0], pa.float64()),
        pa.array([123.0], pa.float32()),
        pa.array([b"123"], pa.binary()),
        pa.array([b"123"], pa.binary(3)),
        pa.array(["123"], pa.large_string()),
        pa.array(["123"]).dictionary_encode(),
        pa.chunked_array([["123"]]),
    ],
    ids=lambda column: str(column.type),
)
def test_one_subject_has_one_digest_whatever_holds_its_key(column: pa.Array) -> None:
    assert KEY.digest_array(column).to_pylist() == [KEY.digest("123")]


def test_different_subjects_stay_different() -> None:
    names = ["123", "0123", "123.00", "-123", "1230", "a", "A", "가", "\u1100\u1161"]
    assert len({KEY.digest(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "blank", ["", " ", "\u3000", "nan", "NaN", "None", "NULL", "null", "<NA>", "N/A", "NaT", "\\N"]
)
def test_no_subject_has_no_digest(blank: str) -> None:
    assert KEY.digest(blank) is None
    assert KEY.digest_array(pa.array([blank, "a"])).to_pylist() == [None, KEY.digest("a")]


def test_nulls_and_nan_stay_null() -> None:
    assert KEY.digest_array(pa.array([1.0, None, float("nan")])).null_count == 2
    assert KEY.digest_array(pa.nulls(3)).null_count == 3
    assert KEY.digest_array(pa.array([], pa.string())).to_pylist() == []
    assert KEY.digest(None) is None


def test_floats_that_merge_people_are_refused() -> None:
    with pytest.raises(ConfigError, match="too large to be exact"):
        KEY.digest_array(pa.array([2.0**53 + 2]))
    with pytest.raises(ConfigError, match="too large to be exact"):
        KEY.digest_array(pa.array([20000000.0], pa.float32()))


def test_lists_are_no_keys() -> None:
    with pytest.raises(ConfigError, match="lists"):
        KEY.digest_array(pa.array([["a"]]))


def test_bytes_that_are_no_text_are_digested_as_they_are() -> None:
    expected = hmac.new(SECRET, b"\xff\xfe", hashlib.sha256).hexdigest()[:32]
    assert KEY.digest(os.fsdecode(b"\xff\xfe")) == expected
    assert KEY.digest_array(pa.array([b"\xff\xfe", b"a"])).to_pylist() == [
        expected,
        KEY.digest("a"),
    ]


def test_a_uuid_column_is_its_text() -> None:
    raw = bytes(range(16))
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([raw], pa.binary(16)))
    assert KEY.digest_array(column).to_pylist() == [
        KEY.digest("00010203-0405-0607-0809-0a0b0c0d0e0f")
    ]


@given(st.lists(st.none() | st.text(max_size=12) | st.integers().map(str), max_size=30))
def test_columns_and_single_keys_agree(names: list[str | None]) -> None:
    found = KEY.digest_array(pa.array(names, pa.string())).to_pylist()
    assert found == [KEY.digest(name) for name in names]


@given(st.text(max_size=12))
def test_canonical_is_stable(name: str) -> None:
    once = canonical(name)
    assert once is None or canonical(once) in (once, once.removesuffix(".0"), None)


# ---------------------------------------------------------------- the secret


def test_the_secret_shows_in_no_text() -> None:
    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert "0123456789" not in text
    with pytest.raises(ConfigError) as caught:
        SubjectKey(b"short-secret")
    assert "short-secret" not in str(caught.value)


def test_workers_get_the_same_key() -> None:
    again = pickle.loads(pickle.dumps(KEY))
    assert again == KEY
    assert again.digest("a") == KEY.digest("a")


def test_the_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "made" / "subject.key"
    first = SubjectKey.load(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(file.read_bytes()) == 32
    assert SubjectKey.load(file) == first
    assert [entry.name for entry in file.parent.iterdir()] == ["subject.key"]


def test_two_installations_do_not_share_a_key(tmp_path: Path) -> None:
    assert SubjectKey.load(tmp_path / "a") != SubjectKey.load(tmp_path / "b")


def test_many_first_uses_at_once_agree(tmp_path: Path) -> None:
    found: list[SubjectKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(SubjectKey.load(tmp_path / "k" / "key")))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "subject.key"
    file.write_bytes(SECRET)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=r"chmod 600"):
        SubjectKey.load(file)


@pytest.mark.parametrize("size", [0, 1, 31, 5000])
def test_a_file_of_another_size_is_refused_and_kept(tmp_path: Path, size: int) -> None:
    file = tmp_path / "subject.key"
    file.write_bytes(b"x" * size)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="bytes, expected 32"):
        SubjectKey.load(file)
    assert file.stat().st_size == size


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(ConfigError, match="regular file"):
        SubjectKey.load(fifo)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigError):
        SubjectKey.load(folder)
    with pytest.raises(ConfigError, match="CONSENTRY_KEY_FILE"):
        SubjectKey.load(Path("/proc/no/such/place/subject.key"))


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONSENTRY_KEY_FILE", str(tmp_path / "mine"))
    assert default_file() == tmp_path / "mine"
    SubjectKey.load()
    assert (tmp_path / "mine").is_file()
    monkeypatch.delenv("CONSENTRY_KEY_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert default_file() == tmp_path / "xdg" / "consentry" / "subject.key"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_file() == tmp_path / "home" / ".config" / "consentry" / "subject.key"
    assert SubjectKey.load() == SubjectKey.load()

"""The recursion of look(): depth, budget, and that one bad item costs only itself."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
import zipfile
from collections.abc import Iterator

from scanner.look import Looker, Seen, Sight
from scanner.model import Blob, Detection, Limits, Location, Picture, Problem, ReadOptions


class _Marker:
    """Sees one face in every picture; breaks on pictures one pixel high."""

    name = "marker"
    version = "1"

    def picture(self, picture: Picture) -> Iterator[Detection]:
        if picture.height == 1:
            raise RuntimeError("content of the picture")
        yield Detection(
            picture.location, "biometric.face", "content", 1.0, "certain", self.name, self.version
        )


def _png(width: int, height: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _look(content: bytes, limits: Limits | None = None) -> list[Sight]:
    blob = Blob(Location("x"), io.BytesIO(content), len(content))
    options = ReadOptions(limits=limits or Limits())
    return list(Looker([_Marker()]).look(blob, options))


def _problems(sights: list[Sight]) -> list[tuple[str, str]]:
    return [(str(s.location), s.reason) for s in sights if isinstance(s, Problem)]


def test_a_picture_in_a_zip_in_a_zip() -> None:
    sights = _look(_zip(a=_zip(b=_png(9, 9))))
    assert [str(s.location) for s in sights if isinstance(s, Detection)] == ["x!/a!/b"]
    assert _problems(sights) == []
    assert next(s.media_type for s in sights if isinstance(s, Seen)) == "application/zip"


def test_a_detector_that_breaks_costs_one_item_and_tells_nothing() -> None:
    sights = _look(_zip(bad=_png(9, 1), good=_png(9, 9)))
    assert _problems(sights) == [("x!/bad", "model")]
    assert len([s for s in sights if isinstance(s, Detection)]) == 1
    assert "content" not in str([s for s in sights if isinstance(s, Problem)])


def test_depth_is_limited() -> None:
    content = _png(9, 9)
    for _ in range(12):
        content = _zip(m=content)
    sights = _look(content)
    assert [reason for _, reason in _problems(sights)] == ["depth"]
    assert not [s for s in sights if isinstance(s, Detection)]


def test_ten_levels_are_looked_at() -> None:
    content = _png(9, 9)
    for _ in range(10):
        content = _zip(m=content)
    sights = _look(content)
    assert _problems(sights) == []
    assert len([s for s in sights if isinstance(s, Detection)]) == 1


def test_a_nested_bomb_meets_the_budget_of_the_object() -> None:
    inner = _zip(**{f"m{n}": bytes(1 << 20) for n in range(8)})
    bomb = _zip(**{f"z{n}": inner for n in range(8)})
    sights = _look(bomb, Limits(max_ratio=20, ratio_after=1 << 20))
    assert ("x", "ratio") in _problems(sights)


def test_empty_and_unknown() -> None:
    assert _look(b"") == [Seen(Location("x"), "inode/x-empty")]
    assert _problems(_look(bytes(range(256)))) == [("x", "unsupported")]


def test_a_sign_of_life_after_each_part() -> None:
    beats: list[int] = []
    content = b"some words\n" * 400_000
    blob = Blob(Location("x"), io.BytesIO(content), len(content))
    assert all(
        isinstance(s, Seen) for s in Looker([]).look(blob, ReadOptions(), lambda: beats.append(1))
    )
    assert len(beats) > 3


def test_a_sign_of_life_within_a_long_read() -> None:
    """A tar of folders yields nothing at all, for as long as anybody likes."""
    info = tarfile.TarInfo("folder")
    info.type = tarfile.DIRTYPE
    content = gzip.compress(info.tobuf() * 40_000)
    beats: list[float] = []
    now = itertools.count()
    blob = Blob(Location("x"), io.BytesIO(content), len(content))
    sights = list(
        Looker([]).look(blob, ReadOptions(), lambda: beats.append(0.0), lambda: float(next(now)))
    )
    assert [s.location for s in sights if isinstance(s, Seen)] == [blob.location]
    assert len(beats) > 3


def test_time_that_is_up_stops_what_yields_nothing() -> None:
    info = tarfile.TarInfo("folder")
    info.type = tarfile.DIRTYPE
    content = gzip.compress(info.tobuf() * 40_000, 0)
    now = itertools.count()
    blob = Blob(Location("x"), io.BytesIO(content), len(content))
    options = ReadOptions(limits=Limits(max_scan_time=20))
    sights = list(Looker([]).look(blob, options, clock=lambda: float(next(now))))
    assert [(s.reason, s.detail) for s in sights if isinstance(s, Problem)] == [
        ("timeout", "takes longer than 20 seconds (max_scan_time)")
    ]


def test_limits_are_named_once() -> None:
    limits = Limits(max_ratio=20, ratio_after=1 << 20)
    sights = _look(_zip(a=_zip(b=b"words\n" * 700_000, c=_png(9, 9)), d=_png(9, 9)), limits)
    told = [s.detail for s in sights if isinstance(s, Problem) and "max_" in s.detail]
    assert told == ["unfolds to more than 20 times its size (max_ratio)"]

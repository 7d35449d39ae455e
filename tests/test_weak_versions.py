"""A version that is but a time and a size tells a change, but never that there was none."""

from __future__ import annotations

from scanner.ledger.carrying import Chunk
from scanner.model import ObjectInfo
from scanner.stores.remote import _info


def test_time_and_size_do_not_stand_for_content() -> None:
    """FTP, SFTP, WebDAV: same size, and the time set back after the edit."""
    weak = _info("a.jpg", {"size": 5, "modify": "20260101000000", "mtime": 1_790_000_000})
    tagged = _info("b.jpg", {"size": 5, "etag": '"0f"', "mtime": 1_790_000_000})
    assert weak.version
    assert tagged.version == "0f"
    assert Chunk([weak, tagged, ObjectInfo("c", 5)], 0).wanted.tolist() == [False, True, False]
    assert Chunk([tagged], 0).wanted.tolist() == [True]

"""A single compressed file (gzip, bzip2, xz, zstd) that is not a tar: one blob inside."""

from __future__ import annotations

import io
from collections.abc import Iterator

from scanner.model import Blob, Part, Problem, ReadOptions
from scanner.readers.inflate import Inflated, codec_of
from scanner.readers.streams import chained

_MEDIA_TYPES = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zstd": "application/zstd",
}
_CODECS = {media_type: codec for codec, media_type in _MEDIA_TYPES.items()}
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")


class _Compressed:
    name = "compressed"
    priority = 14  # tar, which looks inside, is asked before

    def sniff(self, head: bytes) -> str | None:
        codec = codec_of(head)
        return None if codec is None else _MEDIA_TYPES[codec]

    def read(self, blob: Blob, media_type: str, options: ReadOptions) -> Iterator[Part]:
        inflated = Inflated(blob.stream, _CODECS[media_type], options.limits)
        yield Blob(
            blob.location.child(_inner_name(blob.location.name)), inflated, None, blob.record
        )
        if inflated.trouble is not None:
            yield Problem(blob.location, *inflated.trouble)
        # Other programs stop here; something else may have been put behind.
        elif inflated.finished and inflated.read_ahead:
            rest = chained(io.BytesIO(inflated.read_ahead), blob.stream)
            yield Blob(blob.location.child("trailing"), rest, None, blob.record)


READER = _Compressed()


def _inner_name(name: str) -> str:
    """What the program that compressed it would call the file; names only label."""
    own = name.rsplit("/", 1)[-1]
    for suffix in _SUFFIXES:
        if own.lower().endswith(suffix) and len(own) > len(suffix):
            return own[: -len(suffix)]
    return "content"

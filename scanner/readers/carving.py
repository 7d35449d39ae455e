"""Finds binary files that are written as text: base64, hexadecimal digits and data: URLs.

A run counts when its first bytes, decoded, are those of a file (`is_file`): prose, keys and hashes
are not.
"""

from __future__ import annotations

import binascii
import re
import urllib.parse
from collections.abc import Iterator

import numpy as np

from scanner.readers import all_readers

# Files that are worth opening wherever they turn up. Also kinds that no reader opens (sound): they
# end as "unsupported" in the coverage, which is honest; as a cell value nobody would look at them.
_FILE = re.compile(
    rb"""\xff\xd8\xff | \x89PNG\r\n | GIF8[79]a | RIFF....(?:WEBP|WAVE|AVI\x20)
    | II[*+]\x00 | MM\x00[*+]
    | \x00\x00\x00\x0c(?:jP\x20\x20|JXL\x20)\r\n | \xff\x4f\xff\x51 | \xff\xa0\xff[\xa2\xa4-\xa8]
    | \x00\x00..ftyp | 8BPS\x00 | BM....\x00{4}..\x00\x00[\x0c\x28\x40\x6c\x7c]\x00{3}
    | \x00\x00\x01\x00[\x01-\x20]\x00.....\x00 | (?:FMR|FIR|FAC|IIR|VIR|FVR)\x00
    | PK(?:\x03\x04|\x05\x06|\x07\x08PK) | \x1f\x8b\x08 | BZh[1-9]1AY | \xfd7zXZ\x00
    | \x28\xb5\x2f\xfd | 7z\xbc\xaf | PAR[1E] | ARROW1 | FEA1 | %PDF- | \x89HDF\r\n
    | SQLite\ format\ 3\x00 | \x0a\x23\xd7\xce | OggS\x00 | fLaC\x00 | ID3[\x02-\x04]\x00
    | \x1aE\xdf\xa3 | \xd0\xcf\x11\xe0\xa1\xb1
    | \x93NUMPY | .{128}DICM | .{257}ustar[\x00\x20]""",
    re.DOTALL | re.VERBOSE,
)
HEAD_BYTES = (
    384  # of a decoded run, enough for each of the above and for the readers' own first bytes
)

KNOWN = 49  # priority of the reader that only names formats
MIN_CHARS = 32  # a file header in base64; nothing shorter is decoded
_MIN_RUN = (
    64  # digits of a run within a line; a line that ends in digits may hold fewer (it is folded)
)
_MIN_FOLDED = 24
_DIGIT = np.zeros(256, np.bool_)
_DIGIT[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")] = True
_LINE_END = re.compile(r"={0,2}\s*$", re.MULTILINE)
_HEX_START = re.compile(r"\s*(?:\\\\?x|0[xX]|[xX]')?((?:[0-9a-fA-F]{2}){12,})")
_HEX_RUN = re.compile(r"(?:x|0[xX])?((?:[0-9a-fA-F]{2}){12,})")
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]+")
_DIGITS = re.compile(r"[A-Za-z0-9+/_-]+")
_FOLD = re.compile(r"""\r?\n[ \t]*([A-Za-z0-9+/_-]+)(?=={0,2}[ \t]*(?:\r?\n|[<"')\\]))""")
_CUT_FOLD = re.compile(r"\r?(?:\n[ \t]*[A-Za-z0-9+/_-]*={0,2}\r?)?")
_BASE64_START = re.compile(r"[A-Za-z0-9+/_-]{28,}={0,2}")
_DATA_URL = re.compile(r"\s*data:([^,\s]{0,200}),", re.IGNORECASE)
_SPACE = re.compile(r"\s+|\\[rn]")
_URLSAFE = str.maketrans("-_", "+/")


def is_file(head: bytes) -> bool:
    """Whether these first bytes are those of a binary file that is to be looked at by itself."""
    if len(head) < 8:
        return False
    if _FILE.match(head):
        return True
    # Formats that are only known by name may have two-byte marks, which stand by chance in text
    # ("/work…" is the base64 of a JPEG XL mark): of these the strong ones are in _FILE.
    return any(r.priority < KNOWN and r.sniff(head) is not None for r in all_readers())


def _from_base64(text: str) -> bytes:
    digits = _SPACE.sub("", text).rstrip("=").translate(_URLSAFE)
    if len(digits) % 4 == 1:  # cut: the last digit alone is no byte
        digits = digits[:-1]
    try:
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
    except (binascii.Error, ValueError):
        return b""


def _from_hex(text: str) -> bytes:
    found = _HEX_START.match(text)
    try:
        return b"" if found is None else bytes.fromhex(found[1])
    except ValueError:
        return b""


def decode_value(text: str) -> bytes | None:
    """The file that a whole value is, in base64, hexadecimal or a data: URL; None if it is none."""
    if len(text) < MIN_CHARS:
        return None
    url = _DATA_URL.match(text[:256])
    if url is not None:
        payload = text[url.end() :]
        if url[1].lower().endswith("base64"):
            data = _from_base64(urllib.parse.unquote(payload) if "%" in payload else payload)
        else:
            data = urllib.parse.unquote_to_bytes(payload)
        return data if is_file(data[:HEAD_BYTES]) else None
    head = text[: 2 * HEAD_BYTES].strip()
    if _HEX_START.match(head) and is_file(_from_hex(head)[:HEAD_BYTES]):
        return _from_hex(text)
    compact = _SPACE.sub("", head)
    # A path is no base64: every character of the start has to be a digit of it.
    begins = _BASE64_START.fullmatch(compact[:512])
    if begins and is_file(_from_base64(compact[:512])[:HEAD_BYTES]):
        return _from_base64(text)
    return None


class Carver:
    """Carves files out of a text that is fed piece by piece; a run may cross pieces and lines.

    Folding as in LDIF, vCard, MIME and XML: a run goes on in the next line if that line holds,
    after blanks, nothing but base64 digits, or digits and then the end of a quotation or element.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_chars = max_bytes // 3 * 4
        self._line = 0
        self._rest = ""  # not judged yet: the end of the last piece
        self._run: list[str] | None = None  # digits of the open run
        self._run_chars = 0
        self._run_line = 0
        self._hex = False
        self.too_long: list[int] = []  # lines of runs that exceed the limit

    def feed(self, piece: str, last: bool = False) -> Iterator[tuple[int, bytes]]:
        """The files that are complete now, as (0-based line, bytes)."""
        text = self._rest + piece
        self._rest = ""
        at = counted = 0
        if self._run is not None:
            at, open_ = self._go_on(text, 0, last)
            if open_:
                return
            yield from self._close()
            counted = at
        for start, end in _runs(text):
            if start < at:
                continue
            if len(text) - end < 2 * HEAD_BYTES and not last:
                # It may go on in the next piece: judge it then
                self._line += text.count("\n", counted, start)
                self._rest = text[start:]
                return
            if end - start < _MIN_RUN and not _LINE_END.match(text, end):
                continue
            self._line += text.count("\n", counted, start)
            counted = start
            at = self._begin(text, start, end)
            if self._run is None:
                continue
            at, open_ = self._go_on(text, at, last)
            if open_:
                return
            yield from self._close()
            counted = at
        # Digits at the very end may be the beginning of a run
        keep = len(text) if last else max(at, len(text) - _MIN_RUN)
        self._line += text.count("\n", counted, keep)
        self._rest = text[keep:]

    def _begin(self, text: str, start: int, end: int) -> int:
        """Open a run if it is one: where its digits start, else where to look on."""
        head = _from_base64(_run_head(text, start))
        self._hex = False
        if not is_file(head[:HEAD_BYTES]):
            hexed = _HEX_RUN.match(text, start, start + 2 * HEAD_BYTES)
            if hexed is None or not is_file(bytes.fromhex(hexed[1])):
                return end
            self._hex = True
            start = hexed.start(1)
        self._run, self._run_chars, self._run_line = [], 0, self._line
        return start

    def _go_on(self, text: str, at: int, last: bool) -> tuple[int, bool]:
        """Take digits from `at`: where they end, and whether the run may go on."""
        assert self._run is not None
        digits = _HEX_DIGITS if self._hex else _DIGITS
        while True:
            found = digits.match(text, at)
            if found is not None:
                if self._run_chars <= self._max_chars:
                    self._run.append(found[0])
                self._run_chars += len(found[0])
                at = found.end()
            if at >= len(text):
                return at, not last
            if self._hex:
                return at, False
            fold = _FOLD.match(text, at)
            if fold is None:
                # the next line may be incomplete: ask for more, but only for a line's worth
                short = not last and len(text) - at < 1_024
                if short and _CUT_FOLD.fullmatch(text, at):
                    self._rest = text[at:]
                    return len(text), True
                return at, False
            self._line += text.count("\n", at, fold.start(1))
            at = fold.start(1)

    def _close(self) -> Iterator[tuple[int, bytes]]:
        run, self._run = self._run or [], None
        if self._run_chars > self._max_chars:
            self.too_long.append(self._run_line)
            return
        text = "".join(run)
        data = bytes.fromhex(text[: len(text) // 2 * 2]) if self._hex else _from_base64(text)
        yield self._run_line, data


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Where base64 digits stand in an unbroken line; vectorised, because most of a text is none."""
    digit = _DIGIT[np.frombuffer(text.encode("latin-1", "replace"), np.uint8)]
    breaks = np.concatenate(([-1], np.flatnonzero(~digit), [len(text)]))
    for i in np.flatnonzero(np.diff(breaks) > _MIN_FOLDED):
        yield int(breaks[i]) + 1, int(breaks[i + 1])


def _run_head(text: str, start: int) -> str:
    """The first digits of a run, over folds."""
    digits: list[str] = []
    size = 0
    while size < 512:
        found = _DIGITS.match(text, start)
        if found is None:
            break
        digits.append(found[0][:512])
        size += len(digits[-1])
        fold = _FOLD.match(text, found.end())
        if fold is None:
            break
        start = fold.start(1)
    return "".join(digits)[:512]


def carve(text: str, max_bytes: int) -> Iterator[bytes]:
    """All files written within a text that is at hand."""
    for _, data in Carver(max_bytes).feed(text, last=True):
        yield data

r"""Text made harmless to look at: characters that act on a screen are shown as escapes instead.

Names come from the stores that were scanned, so anybody may have chosen them. Control characters
can rewrite a terminal, bidirectional marks can turn `gpj.exe` into `exe.jpg`; neither may reach a
reader. Letters of every script stay as they are.
"""

from __future__ import annotations

import re

# Unicode categories Cc, Cf, Cs, Zl and Zp (a test compares this with the Unicode database), and
# the two fillers that are letters by category but print nothing.
_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u3164\uffa0"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""`text` on one line, with each acting character as `\n`, `\x1b`, `\u202e` or `\U000e0041`."""
    return _ACTING.sub(_escape, text)


def json_escaped(text: str) -> str:
    r"""JSON text with each acting character as `\uXXXX`: nothing is lost, lone surrogates neither.

    Such characters stand only inside strings once a value is dumped, so the text means the same.
    """
    return text if text.isascii() and "\x7f" not in text else _ACTING.sub(_json_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"

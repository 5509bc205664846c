"""Escape control characters of names and file contents that are printed on a terminal.

Colours are kept. Output to a file or a pipe is not changed, because a program reads it.
"""

import re
from typing import Any, Final, TextIO

# Control characters, characters that change the direction of a line, and surrogates of names that are no UTF-8.
_HARMFUL: Final = re.compile(
    r"(?P<kept>\x1b\[(?!8m|[0-9;]*;8m)[0-9;]*m|\r\n|\A\r)|"  # colours except hidden text, and the start of a line
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def make_printable(text: str) -> str:
    r"""Return a text with control characters escaped.

    >>> make_printable("a\x1b]0;title\x07b\u202ecsv.exe"), make_printable("\x1b[1mbold\x1b[0m, tab\tand\nline")
    ('a\\x1b]0;title\\x07b\\u202ecsv.exe', '\x1b[1mbold\x1b[0m, tab\tand\nline')
    """
    return _HARMFUL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0] if match["kept"] else match[0].encode("unicode_escape").decode()


class Printable:
    """A terminal to which text is written with control characters escaped."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text with control characters escaped."""
        self.stream.write(make_printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def escape_on_terminal(stream: TextIO | None) -> Any:
    """Return a stream that escapes control characters if it is a terminal; otherwise return the stream unchanged."""
    return Printable(stream) if stream is not None and stream.isatty() else stream

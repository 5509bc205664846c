"""What goes to a terminal holds no control characters of others: such names are shown as text.

Only what colours a word passes. What goes into a file or a pipe is not changed: a program reads it.
"""

import re
from typing import Any, Final, TextIO

# control characters, and those that turn the direction of a line; half a character is a name that is no UTF-8
_HARMFUL: Final = re.compile(
    r"(?P<kept>\x1b\[(?!8m|[0-9;]*;8m)[0-9;]*m|\r\n|\A\r)|"  # a colour that hides nothing, the begin of a line
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def make_printable(text: str) -> str:
    r"""A text as a terminal may have it; what would steer the terminal is spelled out.

    >>> make_printable("a\x1b]0;title\x07b\u202ecsv.exe"), make_printable("\x1b[1mbold\x1b[0m, tab\tand\nline")
    ('a\\x1b]0;title\\x07b\\u202ecsv.exe', '\x1b[1mbold\x1b[0m, tab\tand\nline')
    """
    return _HARMFUL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0] if found["kept"] else found[0].encode("unicode_escape").decode()


class Printable:
    """A terminal that is written to: what does not print is spelled out."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text as `make_printable` has it."""
        self.stream.write(make_printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guard(stream: TextIO | None) -> Any:
    """An output that spells out what would steer a terminal, where it is one."""
    return Printable(stream) if stream is not None and stream.isatty() else stream

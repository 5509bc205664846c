"""The encoding of a text file by its first bytes."""

import re
from typing import Final

_BARE_UTF_16: Final = (("utf-16-le", 1), ("utf-16-be", 0))  # which byte of each pair is zero in Latin text
_ZEROS_OF_LINES: Final = re.compile(rb"^\0+", re.MULTILINE)


def find_bare_utf_16(head: bytes) -> str:
    """Return the encoding of a UTF-16 text without a byte order mark; empty if the bytes are none.

    >>> find_bare_utf_16("time,mm".encode("utf-16-le")), find_bare_utf_16(b"time,mm")
    ('utf-16-le', '')
    """
    for encoding, high in _BARE_UTF_16:
        zeros = head[high::2].count(0)
        is_text = min(head[1 - high :: 2], default=0) >= ord("\t")  # no zeros and no other bytes of binary files
        if zeros > 0.5 * len(head[high::2]) and is_text:
            return encoding
    return ""


def strip_zeros(head: bytes) -> bytes:
    r"""Return a text without the zeros that a power failure leaves at the end of a file or before its next line.

    >>> strip_zeros(b"a,1\n\0\0\0b,2\n\0\0")
    b'a,1\nb,2\n'
    """
    return _ZEROS_OF_LINES.sub(b"", head)

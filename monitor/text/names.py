"""Names of people and files: how they are written down; when two spellings are one person is decided here alone."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from monitor.text.message import Message, MessageList, Template, Value

# characters that show nothing, or a blank, and that Unicode does not class as such
_UNSEEN: Final = frozenset(map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)))
_SELECTORS: Final = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0000, 0xE0FFF))  # of variants and tags: they show nothing
_TURNS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # the direction of a line
_STATION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def split_table(table: str) -> tuple[str, ...]:
    """The words of a table in the code, which stand between semicolons; blanks and lines around them do not count."""
    return tuple(" ".join(text.split()) for text in table.split(";"))


def is_station(text: str) -> bool:
    """Whether a text can be a station id."""
    return _STATION.fullmatch(text) is not None


def fold_name(name: str) -> str:
    r"""The key of a person: the same for spellings that differ in blanks, case, Unicode form or unseen signs only.

    Compatible forms (full width, ligatures) are one, and blanks do not count, wherever they stand: a name that is
    taken for another one costs a question, a person who signs twice costs the second pair of eyes.

    >>> fold_name("R.  Mori") == fold_name("r. mori\u200b") == fold_name("\uff32.\u00a0MORI")
    True
    >>> fold_name("A. Rossi") == fold_name("A. Russo")
    False
    """
    before, key = None, name
    while key != before:  # one pass of folding may open another: until nothing changes
        before = key
        key = "".join(sign for sign in unicodedata.normalize("NFKC", key).casefold() if not _is_unseen(sign))
    return key


def tidy_name(name: str) -> str:
    r"""A name as it is written down: one blank between its parts, none around it, no unseen characters, composed form.

    >>> tidy_name("  R.\u00a0 Mori\u200b ")
    'R. Mori'
    """
    text = unicodedata.normalize("NFC", name)
    seen = "".join(" " if sign.isspace() else "" if _is_unseen(sign) else sign for sign in text)
    return unicodedata.normalize("NFC", " ".join(seen.split()))


def tidy_text(text: str) -> str:
    r"""What a person wrote, as one line of a message may have it: nothing in it begins a line or turns its direction.

    >>> tidy_text("crack\r\nAll clear\x1b[2J\u202e!")
    'crack All clear[2J!'
    """
    seen = (" " if k.isspace() else "" if unicodedata.category(k) == "Cc" or k in _TURNS else k for k in text)
    return " ".join("".join(seen).split())


def is_line(text: str) -> bool:
    r"""Whether a text can stand in a line of a message as it is, and in a database: nothing in it begins another line.

    >>> [is_line(text) for text in ("Señal 3.csv", "a\nall clear", "a\u202eb", "a\udcff", "")]
    [True, False, False, False, True]
    """
    return not any(k in _TURNS or unicodedata.category(k) in {"Cc", "Cs", "Zl", "Zp"} for k in text)


def is_same_person(one: str, other: str) -> bool:
    """Whether two names are one person; a name without a letter to see is nobody, and so the same as any.

    >>> is_same_person("R. Mori", "r.mori "), is_same_person("R. Mori", "A. Rossi"), is_same_person("R. Mori", " ")
    (True, False, True)
    """
    first, second = fold_name(one), fold_name(other)
    return not first or not second or first == second


def unify_names(names: Iterable[str]) -> dict[str, str]:
    """Each spelling with the first spelling of the same person, so that who counts names counts people.

    >>> unify_names(["R. Mori", "r.  mori", "A. Rossi"])
    {'R. Mori': 'R. Mori', 'r.  mori': 'R. Mori', 'A. Rossi': 'A. Rossi'}
    """
    first: dict[str, str] = {}
    return {name: first.setdefault(fold_name(name), name) for name in names}


def _is_unseen(sign: str) -> bool:
    if sign.isspace() or sign in _UNSEEN or unicodedata.category(sign) in {"Cc", "Cf", "Zs", "Zl", "Zp"}:
        return True
    return any(low <= ord(sign) <= high for low, high in _SELECTORS)


def list_names(names: Sequence[str]) -> str:
    """Names with commas; of many the first twelve, and how many more there are."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


UNREADABLE_FILE: Final = Template("file.unreadable", "cannot be read: {problem}")
EMPTY_FILE: Final = Template("file.empty", "the file is empty")


def rename_file(text: str, path: str, name: str) -> str:
    """A text with the name of a file in place of its path, in the values of a message as well.

    >>> from monitor.text.message import LABELLED_TEXT
    >>> said = rename_file(LABELLED_TEXT(name="/tmp/x7", text="it is empty"), "/tmp/x7", "a.csv")
    >>> said, said.values["name"]
    ('a.csv: it is empty', 'a.csv')
    """
    if not isinstance(text, Message):
        return text.replace(path, name)
    values = {key: _rename(value, path, name) for key, value in text.values.items()}
    return Message(str(text).replace(path, name), text.id, values)


def _rename(value: Value, path: str, name: str) -> Value:
    if isinstance(value, MessageList):
        return MessageList(tuple(_rename(item, path, name) for item in value.items), value.separator)
    return rename_file(value, path, name) if isinstance(value, str) else value

"""A text that is too long loses its last clauses and what stands in brackets; figures keep their units."""

import re
from typing import Final

SUBJECT_LENGTH: Final = 200  # where nobody says how long
CUT: Final = " …"
_END: Final = re.compile(r"(; |；)|, |，| ?[(（]|[)）]")  # of a part, of a clause, and brackets
_COMMAND: Final = re.compile(r"`[^`]*(?:`|$)|\bslopeward (?:(?!\. |[;,()（）；，。`]).)*")
_LEADING: Final = re.compile(r"[;,.(:（；，。：]?[^;,.(:（；，。：]{0,12}[:(（：]? ?$")  # `. Run: ` before a command
_CLAUSE: Final = re.compile("[,;，；。]")
_FIGURE: Final = re.compile(r"(?:[ ，；][-+±]?[\d.]*)+$")  # whose unit was cut off


def shorten(text: str, most: int = SUBJECT_LENGTH) -> str:
    """A text of so many characters at most: whole parts, else whole clauses, else its first words.

    >>> shorten("velocity 62 mm/day in 6h, over 30 mm/day; G2: step of 12 mm", 45)
    'velocity 62 mm/day in 6h, over 30 mm/day …'
    >>> shorten("velocity 62 mm/day (3 epochs; 2 needed), over 30 mm/day", 30)
    'velocity 62 mm/day …'
    """
    if len(text) <= most:
        return text
    part, clause, depth = 0, 0, 0
    for end in _END.finditer(text, 0, most):
        if end[0][-1] in ")）":
            depth -= 1
            continue
        if depth <= 0 and end.start() + len(CUT) <= most:
            part, clause = (end.start(), clause) if end[1] else (part, end.start())
        depth += end[0][-1] in "(（"
    return f"{text[: part or clause]}{CUT}" if part or clause else cut_words(text, most)


def first_clause(text: str) -> str:
    """What stands before the first comma or semicolon, in any script."""
    return _CLAUSE.split(text)[0].strip()


def cut_words(text: str, most: int) -> str:
    """The first words of a text that fit; a figure whose unit was cut off, or half a command, goes as well.

    >>> cut_words("close the road and the footbridge", 19), cut_words("at 310 mm/day", 9)
    ('close the road …', 'at …')
    >>> cut_words("the file differs. Run: slopeward sites propose a.toml --by NAME", 45)
    'the file differs …'
    """
    if len(text) <= most:
        return text
    words = text[: max(most - len(CUT), 0) + 1]
    whole = words[: max(words.rfind(" "), most // 2)][: max(most - len(CUT), 0)]
    for command in _COMMAND.finditer(text):
        if command.start() < len(whole) < command.end():
            whole = _LEADING.sub("", text[: command.start()])
    return f"{_FIGURE.sub('', whole)}{CUT}"

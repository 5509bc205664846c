"""The subject of a message as people read it: in their language and zone, and short enough for a lock screen.

It is stored whole: `RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations. 2026-03-01 19:34 UTC`.
Level and site come first and stay; what is to be done comes next; then facts, and the clock last.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, cast

from monitor.text.catalogue import ENGLISH
from monitor.text.local_time import UNCHANGED, format_local, zone_in_use
from monitor.text.message import Duration, Message, MessageList, Template, Timestamp, Value, join, list_parts
from monitor.text.rendering import render, translate

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


LONGEST: Final = 78  # RFC 5322, section 2.1.1; a lock screen shows the first forty
_LEAST: Final = 12  # characters of a fact that still say something
_TITLE: Final = 12  # of the name of a site
_SUBJECT: Final = Template("subject.plain", "{kind} {title}: {essence}. {at}")
_WITH_ACTION: Final = Template("subject.action", "{kind} {title}: {action}. {essence}. {at}")
EXERCISE: Final = Template("subject.exercise", "EXERCISE {text}")
DELAYED: Final = Template("subject.delayed", "DELAYED: {text}")
OPEN_FOR: Final = Template("subject.open_for", "open for {duration}: {text}")
NOBODY_ELSE: Final = Template("subject.nobody_else", "nobody else could be reached: {text}")
_RAISED: Final = Template("essence.raised", "{text} when raised")
_MARKS: Final = frozenset(one.id for one in (EXERCISE, DELAYED, OPEN_FOR, NOBODY_ELSE))


def make_subject(kind: Value, title: str, action: str, essence: str, at: datetime) -> Message:
    """A subject of its parts.

    Args:
        kind: the level, or the ledger and how urgent it is.
        action: what is to be done; empty where nothing is.
    """
    parts = {"kind": kind, "title": title, "essence": essence, "at": Timestamp.of(at, "minute")}
    return _WITH_ACTION(action=action.rstrip("."), **parts) if action else _SUBJECT(**parts)


def mark_exercise(subject: str) -> Message:
    """The subject of a drill, which says so once.

    >>> mark_exercise("RED pit: x"), mark_exercise(mark_delayed(mark_exercise("RED pit: x")))
    ('EXERCISE RED pit: x', 'DELAYED: EXERCISE RED pit: x')
    """
    marks, _ = _split_marks(subject)
    return cast("Message", subject) if any(one.id == EXERCISE.id for one in marks) else EXERCISE(text=subject)


def mark_delayed(subject: str) -> Message:
    """The subject of an old message that a newer one of its alert has overtaken."""
    return DELAYED(text=subject)


def mark_open(subject: str, seconds: float) -> Message:
    """The subject of a message that is sent once more of what nobody has acknowledged for so long.

    >>> mark_open("RED pit: x", 1200.0)
    'open for 20 min: RED pit: x'
    """
    return OPEN_FOR(duration=Duration(seconds, "about"), text=subject)


def change_essence(subject: str, essence: str) -> str:
    """The same subject of another happening, without an action; one that is not made of parts as it is."""
    marks, bare = _split_marks(subject)
    if not isinstance(bare, Message) or bare.id not in {_SUBJECT.id, _WITH_ACTION.id}:
        return subject
    return _mark_again(
        _SUBJECT(**{name: bare.values[name] for name in ("kind", "title", "at")}, essence=essence), marks
    )


def renew_subject(subject: str, essence: str, at: datetime) -> str:
    """The same subject with what is so now, and since when; one that is not made of parts as it is."""
    marks, bare = _split_marks(subject)
    if not isinstance(bare, Message) or bare.id not in {_SUBJECT.id, _WITH_ACTION.id}:
        return subject
    return _mark_again(_replace(_replace(bare, "essence", essence), "at", Timestamp.of(at, "minute")), marks)


def compare_essence(now: str, raised: str) -> Message:
    """What is so now beside what was when the level was raised, the most important first.

    >>> compare_essence(join(["461 mm/day", "5 stations"], ", "), join(["302 mm/day", "3 stations"], ", "))
    '461 mm/day, 302 mm/day when raised, 5 stations'
    """
    first, *more = list_parts(now)
    return join([first, *([_RAISED(text=find_first(raised))] if raised else []), *more], ", ")


def _mark_again(subject: Message, marks: Sequence[Message]) -> Message:
    for mark in reversed(marks):
        subject = _replace(mark, "text", subject)
    return subject


def translate_subject(subject: str, most: int = LONGEST) -> str:
    """A subject as it goes out, in the language and zone in use; one that is not made of parts is only cut.

    >>> at = datetime.fromisoformat("2026-03-01T19:34Z")
    >>> stored = make_subject("RED", "Nordhang", "close the road, call the manager", "302 mm/day, 5 stations", at)
    >>> translate_subject(stored)
    'RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations. 19:34'
    >>> translate_subject(stored, 60)
    'RED Nordhang: close the road. 302 mm/day, 5 stations. 19:34'
    """
    marks, bare = _split_marks(subject)
    prefix = "".join(translate(_replace(mark, "text", "")) for mark in marks)
    if not isinstance(bare, Message) or bare.id not in {_SUBJECT.id, _WITH_ACTION.id}:
        return shorten(f"{prefix}{cut_message(bare, max(most - len(prefix), 1))}", most)
    kind, title, essence, at = (bare.values[name] for name in ("kind", "title", "essence", "at"))
    clock = format_local(cast("Timestamp", at).at, zone_in_use() or "UTC")[11:]
    kind = f"{prefix}{translate(join([kind]))}"
    return _fit(kind, str(title), str(bare.values.get("action", "")), cast("str", essence), clock, most)


def cut_message(text: str, most: int) -> str:
    """A text in the language in use, of so many characters at most: facts from the end of its list are left out.

    Of a single fact, or of a text that a person wrote, the last clauses go.
    """
    translated = str(translate(text))
    if len(translated) <= most:
        return translated
    for fewer in _list_fewer(text, most):
        translated = str(translate(fewer))
        if len(translated) + len(CUT) <= most:
            return f"{translated}{CUT}"
    return shorten(translated, min(most, len(translated) - 1))


def find_first(text: str) -> str:
    """The first fact of a text.

    >>> find_first(join(["302 mm/day", "5 stations"], ", "))
    '302 mm/day'
    """
    return [text, *_list_fewer(text, 1)][-1]


def _split_marks(subject: str) -> tuple[list[Message], str]:
    marks = []
    while isinstance(subject, Message) and subject.id in _MARKS:
        marks.append(subject)
        subject = cast("str", subject.values["text"])
    return marks, subject


def _replace(message: Message, place: str, value: Value) -> Message:
    values = {**message.values, place: value}
    english = render(Message(str(message), message.id, values), ENGLISH, UNCHANGED)
    return Message("".join(part.text for part in english), message.id, values)


def _list_fewer(text: Value, most: int) -> Iterator[Message]:
    """The same with fewer and fewer facts: of its last list, and then of the first item that is left."""
    if not isinstance(text, Message):
        return
    for place, value in reversed([*text.values.items()]):
        if isinstance(value, MessageList) and value.items:
            first = value.items[0]
            for n in range(min(len(value.items) - 1, most), 0, -1):
                yield _replace(text, place, MessageList(value.items[:n], value.separator))
            yield from (_replace(text, place, MessageList((one,))) for one in _list_fewer(first, most))
            return
        if fewer := [*_list_fewer(value, most)]:
            yield from (_replace(text, place, one) for one in fewer)
            return


def _fit(kind: str, title: str, action: str, essence: str, clock: str, most: int) -> str:
    """The longest form that fits: what gives way first are facts, then the end of the title, then that of the action.

    Level, begin of the title, begin of the action, first figure and clock stay as long as there is room for them.
    """
    clause, figure = (first_clause(text) for text in (action, str(translate(find_first(essence)))))
    for do in dict.fromkeys((action, clause)):
        if len(found := _join(kind, title, do, str(translate(essence)), clock)) <= most:
            return found
    room = most - len(_join(kind, title, clause, "", clock)) - 2
    if room >= min(len(figure) + len(CUT), 2 * _LEAST) or (not clause and room >= _LEAST):
        return _join(kind, title, clause, cut_message(essence, room), clock)
    figure = cut_words(figure, 2 * _LEAST)
    others = len(_join(kind, "", clause, figure, clock))
    title = cut_words(title, max(_TITLE, most - others - 1))
    if len(found := _join(kind, title, clause, figure, clock)) <= most:
        return found
    room = most - len(_join(kind, title, "", figure, clock)) - 2
    if room < _LEAST:
        figure, room = "", most - len(_join(kind, title, "", "", clock)) - 2
    found = _join(kind, title, cut_words(clause, max(room, _LEAST)), figure, clock)
    return found if len(found) <= most else cut_words(found, most)


def _join(kind: str, title: str, *parts: str) -> str:
    """One line; behind what was cut stands no full stop."""
    facts = ". ".join(part for part in parts if part).replace(f"{CUT}. ", f"{CUT} ")
    return f"{kind} {title}".rstrip() + f": {facts}"

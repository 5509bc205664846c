"""Write the subject of a message, and shorten it for a lock screen in the language and zone of its reader.

The full subject is stored: `RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations. 2026-03-01 19:34
UTC`. Level and site come first and are never left out. The action comes next, then facts, and the time last.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, cast

from monitor.text.catalogue import ENGLISH
from monitor.text.local_time import UNCHANGED, format_local, name_zone, zone_in_use
from monitor.text.message import Duration, Message, MessageList, Template, Timestamp, Value, join, list_parts
from monitor.text.rendering import render, translate

# Default of the largest number of characters of a text.
SUBJECT_LENGTH: Final = 200
# Largest number of characters of a subject (RFC 5322, section 2.1.1). A lock screen shows the first forty.
LONGEST: Final = 78
# A fact that would be cut to fewer characters is left out.
_MIN_FACT: Final = 12
# The name of a site is not cut to fewer characters.
_MIN_TITLE: Final = 12
CUT: Final = " …"
_SUBJECT: Final = Template("subject.plain", "{kind} {title}: {essence}. {at}")
_WITH_ACTION: Final = Template("subject.action", "{kind} {title}: {action}. {essence}. {at}")
EXERCISE: Final = Template("subject.exercise", "EXERCISE {text}")
TRIAL: Final = Template("subject.trial", "TRIAL {text}")
DELAYED: Final = Template("subject.delayed", "DELAYED: {text}")
OPEN_FOR: Final = Template("subject.open_for", "open for {duration}: {text}")
NOBODY_ELSE: Final = Template("subject.nobody_else", "nobody else could be reached: {text}")
_RAISED: Final = Template("essence.raised", "{text} when raised")
_MARKS: Final = frozenset(mark.id for mark in (EXERCISE, TRIAL, DELAYED, OPEN_FOR, NOBODY_ELSE))
# The end of a part (first group) or of a clause, or a bracket.
_END: Final = re.compile(r"(; |；)|, |，| ?[(（]|[)）]")
_COMMAND: Final = re.compile(r"`[^`]*(?:`|$)|\bslopeward (?:(?!\. |[;,()（）；，。`]).)*")
# The introduction of a command, such as `. Run: `.
_LEADING: Final = re.compile(r"[;,.(:（；，。：]?[^;,.(:（；，。：]{0,12}[:(（：]? ?$")
_CLAUSE: Final = re.compile("[,;，；。]")
# A number at the end whose unit was cut off.
_FIGURE: Final = re.compile(r"(?:[ ，；][-+±]?[\d.]*)+$")


def shorten(text: str, most: int = SUBJECT_LENGTH) -> str:
    """Return a text of at most `most` characters: whole parts, else whole clauses, else its first words.

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


def get_first_clause(text: str) -> str:
    """Return the text before the first comma or semicolon, in any script."""
    return _CLAUSE.split(text)[0].strip()


def cut_words(text: str, most: int) -> str:
    """Return the first words of a text that fit. A number without its unit or half a command is cut off as well.

    >>> cut_words("close the road and the footbridge", 19), cut_words("at 310 mm/day", 9)
    ('close the road …', 'at …')
    >>> cut_words("the file differs. Run: slopeward sites propose a.toml --by NAME", 45)
    'the file differs …'
    """
    if len(text) <= most:
        return text
    room = max(most - len(CUT), 0)
    last_space = text[: room + 1].rfind(" ")
    words = text[: max(last_space, most // 2)][:room]
    for command in _COMMAND.finditer(text):
        if command.start() < len(words) < command.end():
            words = _LEADING.sub("", text[: command.start()])
    return f"{_FIGURE.sub('', words)}{CUT}"


def make_subject(kind: Value, title: str, action: str, essence: str, at: datetime) -> Message:
    """Return a subject made of its parts.

    Args:
        kind: The level, or the category of the alert and its urgency.
        action: The action that the site file requires; empty without an action.
        essence: The most important facts.
    """
    parts = {"kind": kind, "title": title, "essence": essence, "at": Timestamp.of(at, "minute")}
    return _WITH_ACTION(action=action.rstrip("."), **parts) if action else _SUBJECT(**parts)


def mark_exercise(subject: str) -> Message:
    """Mark a subject as that of a drill, once.

    >>> mark_exercise("RED pit: x"), mark_exercise(mark_delayed(mark_exercise("RED pit: x")))
    ('EXERCISE RED pit: x', 'DELAYED: EXERCISE RED pit: x')
    """
    marks, _ = _split_marks(subject)
    is_marked = any(mark.id == EXERCISE.id for mark in marks)
    return cast("Message", subject) if is_marked else EXERCISE(text=subject)


def mark_trial(subject: str) -> Message:
    """Mark a subject as that of a site in shadow mode.

    >>> mark_trial("RED pit: x")
    'TRIAL RED pit: x'
    """
    return TRIAL(text=subject)


def mark_delayed(subject: str) -> Message:
    """Mark the subject of an old message that is sent after a newer one of its alert."""
    return DELAYED(text=subject)


def mark_open(subject: str, seconds: float) -> Message:
    """Mark the subject of a message that is sent again because nobody has acknowledged its alert.

    >>> mark_open("RED pit: x", 1200.0)
    'open for 20 min: RED pit: x'
    """
    return OPEN_FOR(duration=Duration(seconds, "about"), text=subject)


def replace_essence(subject: str, essence: str) -> str:
    """Return a subject with other facts and without an action. A subject without parts is returned unchanged."""
    marks, bare = _split_marks(subject)
    if not isinstance(bare, Message) or bare.id not in {_SUBJECT.id, _WITH_ACTION.id}:
        return subject
    values = {name: bare.values[name] for name in ("kind", "title", "at")}
    return _add_marks(_SUBJECT(**values, essence=essence), marks)


def renew_subject(subject: str, essence: str, at: datetime) -> str:
    """Return a subject with the present facts and their time. A subject without parts is returned unchanged."""
    marks, bare = _split_marks(subject)
    if not isinstance(bare, Message) or bare.id not in {_SUBJECT.id, _WITH_ACTION.id}:
        return subject
    renewed = _replace(_replace(bare, "essence", essence), "at", Timestamp.of(at, "minute"))
    return _add_marks(renewed, marks)


def compare_essence(now: str, raised: str) -> Message:
    """Return the present facts. The second one is the figure at the time when the level was raised.

    >>> compare_essence(join(["461 mm/day", "5 stations"], ", "), join(["302 mm/day", "3 stations"], ", "))
    '461 mm/day, 302 mm/day when raised, 5 stations'
    """
    first, *others = list_parts(now)
    figures = [first, _RAISED(text=find_first_fact(raised))] if raised else [first]
    return join([*figures, *others], ", ")


def _add_marks(subject: Message, marks: Sequence[Message]) -> Message:
    for mark in reversed(marks):
        subject = _replace(mark, "text", subject)
    return subject


def translate_subject(subject: str, most: int = LONGEST, *, names_zone: bool = False) -> str:
    """Return a subject in the language and zone in use, with at most `most` characters.

    A subject without parts is only cut.

    Args:
        names_zone: Append the name of the zone to the time, for readers who may live in another zone.

    >>> at = datetime.fromisoformat("2026-03-01T19:34Z")
    >>> stored = make_subject("RED", "Nordhang", "close the road, call the manager", "302 mm/day, 5 stations", at)
    >>> translate_subject(stored)
    'RED Nordhang: close the road, call the manager. 302 mm/day, 5 stations. 19:34'
    >>> translate_subject(stored, 60)
    'RED Nordhang: close the road. 302 mm/day, 5 stations. 19:34'
    >>> translate_subject(stored, names_zone=True)
    'RED Nordhang: close the road. 302 mm/day, 5 stations. 19:34 UTC'
    """
    marks, bare = _split_marks(subject)
    prefix = "".join(translate(_replace(mark, "text", "")) for mark in marks)
    if not isinstance(bare, Message) or bare.id not in {_SUBJECT.id, _WITH_ACTION.id}:
        return shorten(f"{prefix}{cut_message(bare, max(most - len(prefix), 1))}", most)
    kind, title, essence, at = (bare.values[name] for name in ("kind", "title", "essence", "at"))
    instant = cast("Timestamp", at).at
    zone = zone_in_use() or "UTC"
    clock = format_local(instant, zone)[11:]
    if names_zone:
        clock = f"{clock} {name_zone(instant, zone)}"
    kind = f"{prefix}{translate(join([kind]))}"
    return _fit(kind, str(title), str(bare.values.get("action", "")), cast("str", essence), clock, most)


def cut_message(text: str, most: int) -> str:
    """Translate a text and shorten it to at most `most` characters, leaving out the last facts of its list.

    A single fact, or a text that a person wrote, loses its last clauses.
    """
    translated = str(translate(text))
    if len(translated) <= most:
        return translated
    for fewer in _list_fewer(text, most):
        translated = str(translate(fewer))
        if len(translated) + len(CUT) <= most:
            return f"{translated}{CUT}"
    return shorten(translated, min(most, len(translated) - 1))


def find_first_fact(text: str) -> str:
    """Return the first fact of a text.

    >>> find_first_fact(join(["302 mm/day", "5 stations"], ", "))
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
    """Yield a text with fewer and fewer facts: first of its last list, then of the first item of that list.

    Args:
        most: The largest number of facts.
    """
    if not isinstance(text, Message):
        return
    for place, value in reversed([*text.values.items()]):
        if isinstance(value, MessageList) and value.items:
            first = value.items[0]
            for n in range(min(len(value.items) - 1, most), 0, -1):
                yield _replace(text, place, MessageList(value.items[:n], value.separator))
            yield from (_replace(text, place, MessageList((shorter,))) for shorter in _list_fewer(first, most))
            return
        if fewer := [*_list_fewer(value, most)]:
            yield from (_replace(text, place, shorter) for shorter in fewer)
            return


def _fit(kind: str, title: str, action: str, essence: str, clock: str, most: int) -> str:
    """Return the longest form of a subject that fits.

    Facts are shortened first, then the title, then the action. Level, start of the title, start of the action, first
    figure and time remain as long as there is room for them.
    """
    all_facts = str(translate(essence))
    clause = get_first_clause(action)
    figure = get_first_clause(str(translate(find_first_fact(essence))))
    for shown_action in (action, clause):
        subject = _join(kind, title, shown_action, all_facts, clock)
        if len(subject) <= most:
            return subject
    room = most - len(_join(kind, title, clause, "", clock)) - 2
    if room >= min(len(figure) + len(CUT), 2 * _MIN_FACT) or (not clause and room >= _MIN_FACT):
        return _join(kind, title, clause, cut_message(essence, room), clock)
    figure = cut_words(figure, 2 * _MIN_FACT)
    others = len(_join(kind, "", clause, figure, clock))
    title = cut_words(title, max(_MIN_TITLE, most - others - 1))
    subject = _join(kind, title, clause, figure, clock)
    if len(subject) <= most:
        return subject
    room = most - len(_join(kind, title, "", figure, clock)) - 2
    if room < _MIN_FACT:
        figure = ""
        room = most - len(_join(kind, title, "", "", clock)) - 2
    subject = _join(kind, title, cut_words(clause, max(room, _MIN_FACT)), figure, clock)
    return subject if len(subject) <= most else cut_words(subject, most)


def _join(kind: str, title: str, *parts: str) -> str:
    """Return one line. A part that was cut gets no full stop."""
    facts = ". ".join(part for part in parts if part).replace(f"{CUT}. ", f"{CUT} ")
    return f"{kind} {title}".rstrip() + f": {facts}"

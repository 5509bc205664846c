"""Messages in the language, zone and units of their reader: by id and typed values, never by their English letters."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final, NamedTuple, TypeVar, cast

from monitor.text.catalogue import ENGLISH, current_language, find_template, open_catalogue
from monitor.text.local_time import UNCHANGED, format_local, is_twice, name_zone, open_zone, zone_in_use
from monitor.text.message import (
    PLACE,
    Duration,
    Message,
    MessageList,
    NameList,
    Term,
    Timestamp,
    format_for_reading,
    to_english,
)
from monitor.text.vocabulary import LEVELS, MONTHS, WORDS

T = TypeVar("T")
_AND: Final = " and "
_MORE: Final = "text.and_more"  # a template's id


class TextPart(NamedTuple):
    """A piece of a text as it is read; of a time, its instant as well."""

    text: str
    at: datetime | None = None


def translate(text: Any, language: str | None = None) -> Any:
    """A message, or a word of the vocabulary, in the language and the zone in use; anything else as it is."""
    if isinstance(text, Message):
        return "".join(part.text for part in render(text, language))
    return translate_term(text, language) if isinstance(text, str) else text


def render(
    message: Message, language: str | None = None, zone: str | None = None, *, today: date | None = None
) -> list[TextPart]:
    """A message in parts as they are read, its times by the clock of a zone; the last of them names the zone.

    Args:
        zone: another one than that in use; empty = times stay in UTC, as they are stored.
        today: of this day the clock alone.
    """
    chosen = current_language() if language is None else language
    where = zone_in_use() if zone is None else zone
    pieces = [_shape_duration(piece, where) for piece in _list_pieces(message, chosen)]
    times = [k for k, piece in enumerate(pieces) if isinstance(piece, Timestamp)]
    found = [TextPart(piece) if isinstance(piece, str) else TextPart(piece.english(), piece.at) for piece in pieces]
    if where == UNCHANGED:
        return found
    after = ""
    for k in reversed(times):
        at = cast("datetime", found[k].at)
        shown, name = format_local(at, where, today=today), name_zone(at, where)
        if name != after and not is_twice(at.astimezone(open_zone(where))):  # an offset says more than a zone's name
            shown = f"{shown} {name}"
        found[k], after = TextPart(shown, at), name
    return found


def _shape_duration(piece: str | Timestamp | Duration, zone: str) -> str | Timestamp:
    """Return a duration as text: for people in days, hours and minutes, for programs as it is stored."""
    if not isinstance(piece, Duration):
        return piece
    return piece.english() if zone == UNCHANGED else format_for_reading(piece.seconds)


def _list_pieces(value: Any, language: str) -> Iterator[str | Timestamp | Duration]:
    if isinstance(value, Message):
        template = find_template(value.id, language)
        places = PLACE.split(template)
        if not template or not value.values.keys() >= {*places[1::2]}:  # an odd row: its English text says all
            yield str(value)
            return
        for number, piece in enumerate(places):
            if number % 2 == 0:
                if piece:
                    yield piece
            else:
                yield from _list_pieces(value.values[piece], language)
    elif isinstance(value, MessageList):
        for number, item in enumerate(value.items):
            if number:
                yield value.separator
            yield from _list_pieces(item, language)
    elif (isinstance(value, Timestamp) and value.form != "day") or (
        isinstance(value, Duration) and value.form == "unit"
    ):
        yield value
    elif isinstance(value, Term):
        yield translate_term(value.english(), language)
    elif isinstance(value, NameList):
        more = find_template(_MORE, language) or find_template(_MORE, ENGLISH)
        yield value.english(open_catalogue(language).gettext(_AND), more or "{text} (+{n})")
    else:
        yield to_english(value)


def translate_term(text: str, language: str | None = None) -> str:
    """A word of the vocabulary or the name of a level in a language; any other text as it is.

    >>> translate_term("displacement_east", "it"), translate_term("Nordhang", "it")
    ('spostamento est', 'Nordhang')
    """
    chosen = current_language() if language is None else language
    if chosen == ENGLISH or not text:
        return text
    if text.lower() in LEVELS:
        return translate_level(text, chosen)
    term = text.replace("_", " ")
    return open_catalogue(chosen).gettext(term) if term in WORDS or term in MONTHS else text


def translate_level(name: str, language: str) -> str:
    """The name of a level; a site's own name that is no common word stays as the site wrote it."""
    if name.lower() not in LEVELS:
        return name
    translated = open_catalogue(language).gettext(name.lower())
    return translated.upper() if name.isupper() else translated.capitalize() if name[:1].isupper() else translated


def translate_all(value: T) -> T:
    """Plain data with its messages put into the language and zone in use."""
    found: Any = value
    if isinstance(value, Message):
        found = translate(value)
    elif isinstance(value, dict):
        found = {k: translate_all(v) for k, v in value.items()}
    elif isinstance(value, list | tuple):
        found = [translate_all(one) for one in value]
    return cast("T", found)

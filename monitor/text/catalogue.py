"""The catalogues: which languages there are, the words of each, and the language in use at this moment.

The .po files are read as they are, without compiled copies: what is under version control is what people read, and
nothing can be missing from a package or out of date.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations, c2py
from pathlib import Path
from typing import Any, Final

from monitor.text.message import ENGLISH as ENGLISH_TEMPLATES

_LOG = logging.getLogger(__name__)
ENGLISH: Final = "en"
# The English texts of all template ids are read from this catalogue. Every catalogue contains them.
LANGUAGE_OF_IDS: Final = "it"
# The name of each language in the language itself, by its code (RFC 5646).
LANGUAGES: Final[dict[str, str]] = {ENGLISH: "English", "it": "Italiano", "zh": "中文", "es": "Español"}
_ENTRY: Final = re.compile(r'^(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d+)\])? (?=")', re.MULTILINE)
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLACE: Final = re.compile(r"%\(\w+\)s|\{\w+\}|%%?")
_CURRENT: ContextVar[str] = ContextVar("language", default=ENGLISH)


class Catalogue(GNUTranslations):
    """The translations of one .po file.

    Fuzzy entries, empty translations, and translations with other placeholders than the English text are left out.

    Attributes:
        templates: English text and translation of each message template, by its id.
        plural: function that returns the number of the plural form for a count.
    """

    def _parse(self, fp: Any) -> None:
        text = fp.read().decode()
        self._catalog: dict[Any, str] = {}
        self.templates: dict[str, tuple[str, str]] = {}
        self.plural = c2py("n != 1")
        for block in text.split("\n\n"):
            lines = [line for line in block.splitlines() if line and not line.startswith("#")]
            if not lines:
                continue
            if any(line.startswith("#,") and "fuzzy" in line for line in block.splitlines()) and lines[0] != 'msgid ""':
                continue
            self._add(_read_entry("\n".join(lines)))

    def _add(self, entry: dict[str, str]) -> None:
        msgid = entry["msgid"]
        if (template_id := entry.get("msgctxt")) is not None:
            translated = entry["msgstr"]
            self.templates[template_id] = msgid, translated if translated and _keeps_places(msgid, translated) else ""
        elif not msgid:
            form = re.search(r"plural=([^;\n]+)", entry["msgstr"])
            self.plural = c2py(form[1]) if form else self.plural
        elif "msgid_plural" in entry:
            forms = {int(key[7:-1]): value for key, value in entry.items() if key.startswith("msgstr[")}
            for number, translated in forms.items():
                # The only form of a language without plurals translates the English plural.
                is_singular = number == 0 and len(forms) > 1
                english = msgid if is_singular else entry["msgid_plural"]
                if translated and _keeps_places(english, translated):
                    self._catalog[msgid, number] = translated
        elif entry["msgstr"] and _keeps_places(msgid, entry["msgstr"]):
            self._catalog[msgid] = entry["msgstr"]

    def entries(self) -> dict[Any, str]:
        """Return all translations by English text, or by English singular and number of the plural form."""
        return dict(self._catalog)


def _read_entry(block: str) -> dict[str, str]:
    r"""Return the parts of an entry by keyword.

    >>> _read_entry('msgid "a \\"b\\""\nmsgstr ""\n"c"')
    {'msgid': 'a "b"', 'msgstr': 'c'}
    """
    # `ast.literal_eval` fails in two threads at once in Python up to 3.11.7 (github.com/python/cpython/issues/106905).
    starts = [*_ENTRY.finditer(block)]
    ends = [*(m.start() for m in starts[1:]), len(block)]
    return {
        m[1] + (f"[{m[2]}]" if m[2] else ""): "".join(
            json.loads(t, strict=False) for t in _TEXT.findall(block[m.end() : end])
        )
        for m, end in zip(starts, ends, strict=True)
    }


def _keeps_places(english: str, translated: str) -> bool:
    """Return whether a translation contains the same placeholders as the English text.

    Otherwise a figure would be missing from the translated text, or formatting it would raise an error.

    >>> _keeps_places("{n} mm at {station}", "{station}: {n} mm"), _keeps_places("{n} mm", "{m} mm")
    (True, False)
    """
    return sorted(_PLACE.findall(english)) == sorted(_PLACE.findall(translated))


@cache
def open_catalogue(language: str) -> NullTranslations:
    """Return the catalogue of a language. English needs none."""
    if language == ENGLISH:
        return NullTranslations()
    try:
        with (Path(__file__).parent / "catalogues" / f"{language}.po").open("rb") as file:
            return Catalogue(file)
    except Exception:
        # English texts are better than none.
        _LOG.exception("the catalogue of %s cannot be read; texts appear in English", language)
        return NullTranslations()


@contextmanager
def use_language(language: str) -> Iterator[None]:
    """Use a language for texts within this block."""
    token = _CURRENT.set(language)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def choose(language: str) -> None:
    """Use a language for texts from now on, in this context."""
    _CURRENT.set(language)


def current_language() -> str:
    """Return the language in use. The default is English."""
    return _CURRENT.get()


def find_template(template_id: str, language: str) -> str:
    """Return the text of a message template in a language.

    A text without a translation is returned in English. The catalogues also contain the English texts of templates
    that this process has not imported. The result is empty for an unknown id.
    """
    english = ENGLISH_TEMPLATES.get(template_id, "")
    catalogue = open_catalogue(LANGUAGE_OF_IDS if language == ENGLISH else language)
    known, translated = getattr(catalogue, "templates", {}).get(template_id, ("", ""))
    if language == ENGLISH or not translated or (english and english != known):
        return english or known
    return str(translated)


def gettext(text: str) -> str:
    """Translate a text of the program into the language in use."""
    return open_catalogue(_CURRENT.get()).gettext(text)


def ngettext(one: str, many: str, n: int) -> str:
    """Translate a text with a count into the language in use."""
    return open_catalogue(_CURRENT.get()).ngettext(one, many, n)


def N_(text: str) -> str:  # noqa: N802 - pybabel extracts texts by this name
    """Mark a text for the catalogue without translating it here."""
    return text


def read_language(value: str) -> str:
    """Return the code of a language that a configuration file names.

    Raises:
        ValueError: the language is unknown. The error lists all languages.

    >>> read_language("it")
    'it'
    """
    if value not in LANGUAGES:
        known = ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())
        raise ValueError(f"language {value!r} is unknown; expected one of: {known}")
    return value


def find_wished(header: str) -> str | None:
    """Return the preferred language of an `Accept-Language` header (RFC 9110, section 12.5.4), or None.

    >>> find_wished("fr-CH, it;q=0.8, en;q=0.9"), find_wished("zh-Hans-CN"), find_wished("de, *;q=0.5")
    ('en', 'zh', None)
    """
    wishes = []
    for place, part in enumerate(header[:400].split(",")):
        tag, _, weight = part.strip().partition(";")
        code = tag.strip().lower().partition("-")[0]
        try:
            q = float(weight.strip().removeprefix("q=") or 1.0)
        except ValueError:
            continue
        if code in LANGUAGES and q > 0.0:
            wishes.append((-q, place, code))
    return min(wishes)[2] if wishes else None

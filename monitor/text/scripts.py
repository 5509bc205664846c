"""The texts of the page's scripts in the reader's language: what the page carries for them, English left out."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Final

from monitor.plugins import list_folders
from monitor.text.catalogue import current_language, open_catalogue
from monitor.text.vocabulary import KINDS, LEVELS, MOTION, QUANTITIES, SIGHT

Found = tuple[int, str, str, list[str]]
FOLDER: Final = Path(__file__).parents[1] / "web" / "static"
_CALL: Final = re.compile(r'\btr\(\s*"((?:[^"\\]|\\.)*)"')
# words of data that scripts show
SHOWN: Final = LEVELS | QUANTITIES | KINDS | {*MOTION, *SIGHT, "over", "under"}


def extract(fileobj: IO[bytes], keywords: object, comment_tags: object, options: object) -> Iterator[Found]:
    """The same texts for babel, which loses its way in nested template literals."""
    del keywords, comment_tags, options
    source = fileobj.read().decode()
    for call in _CALL.finditer(source):
        line_number = source.count("\n", 0, call.start()) + 1
        yield line_number, "tr", call[1], []


@cache
def find_script_texts() -> tuple[str, ...]:
    """Every text that a script asks for by `tr("...")`."""
    folders = (FOLDER, *list_folders("static"))
    scripts = (path for folder in folders for path in sorted(folder.rglob("*.js")))
    found = (m[1] for path in scripts for m in _CALL.finditer(path.read_text(encoding="utf-8")))
    return tuple(dict.fromkeys(found))


@cache
def _translate(language: str) -> dict[str, str]:
    catalogue = open_catalogue(language)
    texts = {text: catalogue.gettext(text) for text in (*find_script_texts(), *sorted(SHOWN))}
    return {text: translation for text, translation in texts.items() if translation != text}


def translate_scripts() -> dict[str, str]:
    """English text to translation, for the language in use."""
    return _translate(current_language())

"""Count translated texts per language.

`make catalogues` prints the counts. `make release` fails if a text of an alert has no translation. A text without a
translation appears in English; no test fails because of it.

    python -m tests.translation_coverage [--urgent]
"""

import sys
from pathlib import Path
from typing import Final, NamedTuple

from babel.messages.catalog import Message
from babel.messages.pofile import read_po

CATALOGUES: Final = Path(__file__).parents[1] / "monitor" / "text" / "catalogues"
URGENT_PREFIXES: Final = ("alert.", "criterion.", "decision.", "headline.", "health.", "notice.", "step.")
"""Prefixes of the ids of texts that appear on a lock screen, in a telephone call or on a siren."""


class Coverage(NamedTuple):
    """How far a catalogue is translated."""

    texts: int
    translated: int
    missing_urgent: list[str]
    """Sorted ids of urgent texts without a translation."""


def measure_coverage(language: str) -> Coverage:
    """Count the texts and translations of the catalogue of a language."""
    with (CATALOGUES / f"{language}.po").open("rb") as file:
        entries = [entry for entry in read_po(file, locale=language) if entry.id]
    missing = [entry for entry in entries if not _is_translated(entry)]
    urgent = [str(entry.context) for entry in missing if entry.context and entry.context.startswith(URGENT_PREFIXES)]
    return Coverage(len(entries), len(entries) - len(missing), sorted(urgent))


def _is_translated(entry: Message) -> bool:
    forms = entry.string if isinstance(entry.string, tuple) else (entry.string,)
    return not entry.fuzzy and all(forms)


def main(arguments: list[str]) -> int:
    """Print one line per language. With `--urgent`, list missing urgent texts and return 1 if there are any."""
    is_incomplete = False
    for path in sorted(CATALOGUES.glob("*.po")):
        texts, translated, missing_urgent = measure_coverage(path.stem)
        print(f"{path.stem}: {translated} of {texts} texts translated, {len(missing_urgent)} urgent texts missing")
        if "--urgent" in arguments:
            for template_id in missing_urgent:
                print(f"  {template_id}")
            is_incomplete = is_incomplete or bool(missing_urgent)
    return 1 if is_incomplete else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

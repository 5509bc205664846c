"""How many texts each language has: `make words` prints it, `make release` asks for those that wake people.

What has no translation is read in English and fails no test.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

CATALOGUES: Final = Path(__file__).parents[1] / "monitor" / "domain" / "language" / "catalogues"
# first parts of the ids of what an alarm says on a lock screen, a telephone or a siren
URGENT: Final = ("alert.", "criterion.", "decision.", "headline.", "health.", "notice.", "step.")


def count(code: str) -> tuple[int, int, list[str]]:
    """Texts, those with a translation, and the urgent ids without one."""
    with (CATALOGUES / f"{code}.po").open("rb") as file:
        entries = [entry for entry in read_po(file, locale=code) if entry.id]
    without = [entry for entry in entries if entry.fuzzy or not all(_forms(entry.string))]
    urgent = [str(entry.context) for entry in without if entry.context and entry.context.startswith(URGENT)]
    return len(entries), len(entries) - len(without), sorted(urgent)


def _forms(text: object) -> Iterator[object]:
    yield from text if isinstance(text, tuple) else (text,)


def main(arguments: list[str]) -> int:
    """Print a line a language; with `--urgent` fail where an urgent id has no translation."""
    missing = 0
    for path in sorted(CATALOGUES.glob("*.po")):
        texts, translated, urgent = count(path.stem)
        missing += len(urgent)
        print(f"{path.stem}: {translated} of {texts} texts translated, {len(urgent)} urgent ones are not")
        if "--urgent" in arguments:
            print(*(f"  {template_id}" for template_id in urgent), sep="\n")
    return 1 if missing and "--urgent" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

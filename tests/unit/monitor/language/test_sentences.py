"""The templates are those of the code: what a sentence says between its values still stands in some module."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from monitor.language.sayings import say
from monitor.language.sentences import SENTENCES

ROOT = Path(__file__).resolve().parents[4]
PLURALS = {"unexplained steps taken out"}  # an "s" of its own
PLACE = re.compile(r"\{\w+\}")


@cache
def code_texts() -> str:
    """All literal text of the three packages, the templates themselves left out; values of formatted texts are cuts."""
    found = []
    for package in ("monitor", "forecasting", "detection"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name in {"sentences.py", "vocabulary.py"}:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("\0".join(p.value if isinstance(p, ast.Constant) else "\0" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def count_cuts(piece: str, texts: str) -> int:
    """How many texts of the code a piece is put together of: the longest first."""
    words, count = piece.split(), 0
    while words:
        size = next((n for n in range(len(words), 0, -1) if " ".join(words[:n]) in texts), 0)
        if size == 0:
            return 99
        words, count = words[size:], count + 1
    return count


def test_every_part_of_a_template_still_stands_in_the_code():
    """A reworded reason is found here: change its template and its translations with it."""
    texts = code_texts()
    gone = []
    for template in SENTENCES:
        for part in PLACE.split(template):
            pieces = [p.strip(" ,.;:()[]'`\"") for p in re.split(r"[,;:().]", part)]
            # a sentence is put together of some pieces where it differs by case
            gone += [(template, p) for p in pieces if re.search("[a-z]{2}", p) and count_cuts(p, texts) > 2]
    gone = [(t, p) for t, p in gone if p not in PLURALS]
    assert gone == []


def test_a_shift_between_images_is_told_with_its_columns_and_rows():
    said = say("no change is claimed against 2026-03-01: its image lies 3.2 px off (+2.0 columns, -2.5 rows)", "it")
    assert said.endswith("(+2.0 colonne, -2.5 righe)")


WORST = """\
database takes no writes since 2026-03-01 06:00:00 UTC (database or disk is full)
ann and bo do not count as two people yet: ann made the account of bo at 2026-03-01T06:00Z, less than a day ago. \
Let a third person sign, or sign again after 2026-03-02T06:00Z
alert 7: the condition stands; one person may not close it, name a second one
alert 7 is closed: nothing to acknowledge
'north' is no site of ann
there is no station north/G1
scene a.tif was delivered again: 2 outlines that were called new or grown are withdrawn, the nearest 1,200 m from G1; \
what they raised stays until it ages out or a person lowers it
"""


@pytest.mark.parametrize("text", WORST.splitlines())
@pytest.mark.parametrize("language", ["it", "zh", "es"])
def test_what_people_read_at_the_worst_moment_is_translated(text, language):
    said = say(text, language)
    assert said != text
    assert set(re.findall(r"\d+", text)) == set(re.findall(r"\d+", said))
    assert not re.search(r"\b(the|of|is|are|not)\b", said.replace("or disk is full", ""))

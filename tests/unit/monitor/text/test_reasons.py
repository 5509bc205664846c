"""Every reason code of the libraries has a sentence, and every sentence a code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import forecasting
from forecasting.message import LISTED
from forecasting.reasons import Reason
from monitor.text import forecasting as forecasting_texts
from monitor.text.reasons import COMMON_TEXTS, describe

COMMON = {*COMMON_TEXTS, LISTED.id}
LIBRARIES = [(forecasting, forecasting_texts)]


def find_codes(library: ModuleType) -> Iterator[str]:
    """Return the codes with which the code of a library constructs reasons."""
    root = Path(library.__path__[0])
    for path in sorted(root.rglob("*.py")):
        if path == root / "reasons.py":
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Reason":
                codes = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
                assert codes, f"{path}:{call.lineno}: write the code of a reason where the reason is constructed"
                yield from codes


@pytest.mark.parametrize(("library", "texts"), LIBRARIES, ids=lambda module: module.__name__)
def test_every_code_has_a_text_and_every_text_a_code(library, texts):
    assert {*find_codes(library)} - COMMON == {*texts.TEXTS}


@pytest.mark.parametrize("texts", [texts for _, texts in LIBRARIES], ids=lambda module: module.__name__)
def test_every_format_is_of_a_value_in_its_sentence(texts):
    for text in texts.TEXTS.values():
        assert text.formats.keys() <= text.places, text.template.id


@pytest.mark.parametrize("values", [{}, {"name": "A"}, {"name": "A", "text": "B", "more": "C"}])
def test_values_other_than_those_of_the_sentence_are_refused(values):
    with pytest.raises(ValueError, match="needs the values"):
        describe(Reason("text.of", values))

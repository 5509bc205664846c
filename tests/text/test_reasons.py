"""Every reason code of the libraries has a sentence, and every sentence a code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import detection
import forecasting
from detection.anomaly.registry import COMPARED, NETWORKS
from forecasting.reasons import Reason
from monitor.text import detection as detection_texts
from monitor.text import forecasting as forecasting_texts
from monitor.text.message import LISTED
from monitor.text.reasons import COMMON_TEXTS, convert_reason

COMMON = {*COMMON_TEXTS, LISTED.id}
LIBRARIES = [(detection, detection_texts), (forecasting, forecasting_texts)]


def find_codes(library: ModuleType) -> Iterator[str]:
    """Return the codes with which the code of a library constructs reasons, written there or as a constant."""
    root = Path(library.__path__[0])
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.py"))}
    constants = {name: code for tree in trees.values() for name, code in find_constants(tree)}
    trees.pop(root / "reasons.py", None)
    for path, tree in trees.items():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Reason":
                nodes = [*ast.walk(call.args[0])]
                codes = [node.value for node in nodes if isinstance(node, ast.Constant)]
                codes += [constants[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in constants]
                assert codes, f"{path}:{call.lineno}: write the code of a reason where the reason is constructed"
                yield from codes


def find_constants(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the constants of a module that are text."""
    for node in module.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                yield name, text


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
        convert_reason(Reason("text.of", values))


def test_every_past_of_a_detector_has_a_name():
    entries = NETWORKS.values()
    assert {*detection_texts.PASTS} == {*COMPARED.values(), *(entry.compared_with for entry in entries)}

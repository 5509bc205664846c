"""Decisions add floats by math.fsum: the built-in sum rounds otherwise from Python 3.12 on, and decisions recompute."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ("monitor/alerting", "monitor/decision", "forecasting/kinematics", "forecasting/hydrology")
COUNTS = {"len", "int", "count"}  # functions and methods that give whole numbers


def is_whole(node):
    """True for an expression that can only be a whole number or a truth."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int)
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", getattr(node.func, "attr", "")) in COUNTS
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def find_sums(source):
    """Lines on which the built-in sum adds what is not plainly counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sum":
            terms = node.args[0]
            counted = isinstance(terms, ast.GeneratorExp | ast.ListComp) and is_whole(terms.elt)
            if not counted:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("room", DECISIONS)
def test_decisions_add_floats_exactly(room):
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in find_sums(path.read_text())]
    assert not wrong, f"math.fsum in place of sum, or count plainly: {wrong}"


def test_what_adds_floats_is_found_and_what_counts_is_not():
    assert find_sums("sum(values)\nsum(v.rate for v in some)\nsum([a * b for a, b in pairs], 0.5)\nsum(map(f, x))") == [
        1,
        2,
        3,
        4,
    ]
    counting = "sum(1 for v in some if v)\nsum(v > 0.0 for v in some)\nsum(len(v) for v in some)\nfsum(values)"
    assert find_sums(counting) == []

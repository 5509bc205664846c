"""Code that decides adds floats with `math.fsum`.

The built-in `sum` rounds differently since Python 3.12, and a decision must be recomputed bit for bit on any version.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECIDING = ("monitor/alerts", "monitor/decision", "forecasting/kinematics", "forecasting/hydrology")
# The replay counts and reports what decisions did. Its figures enter no decision.
REPORTING = ROOT / "monitor/alerts/replay"
RETURNS_INTEGER = {"len", "int", "count"}


def is_integer(node):
    """Return whether an expression can only be an integer or a boolean."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int)
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", getattr(node.func, "attr", "")) in RETURNS_INTEGER
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def find_float_sums(source):
    """Return the lines where `sum` may add floats."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sum":
            terms = node.args[0]
            counts = isinstance(terms, ast.GeneratorExp | ast.ListComp) and is_integer(terms.elt)
            if not counts:
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", DECIDING)
def test_decisions_add_floats_exactly(package):
    paths = [path for path in sorted((ROOT / package).rglob("*.py")) if not path.is_relative_to(REPORTING)]
    assert paths
    float_sums = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in find_float_sums(path.read_text())]
    assert float_sums == [], "use math.fsum, or sum integers in a generator expression"


def test_sums_of_floats_are_found_and_counts_are_not():
    floats = "sum(values)\nsum(v.rate for v in some)\nsum([a * b for a, b in pairs], 0.5)\nsum(map(f, x))"
    assert find_float_sums(floats) == [1, 2, 3, 4]
    counts = "sum(1 for v in some if v)\nsum(v > 0.0 for v in some)\nsum(len(v) for v in some)\nfsum(values)"
    assert find_float_sums(counts) == []

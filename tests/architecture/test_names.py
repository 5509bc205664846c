"""Names are the field's terms or plain technical words: none of a list of pictures, and no class name stands twice."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.architecture.syntax import STATEMENTS, walk

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("monitor", "forecasting", "detection")
PICTURES = frozenset(
    """ask asked beneath beside fan happening hear heard judge look said say speak spell stand tell told weigh
    word""".split()
)
"""Forbidden as a whole word of a name: `told_at`, not `weight` or `standardise`."""
MOST_TWICE = 10
"""Class names that may stand in two files."""
PUBLIC = {
    "monitor/extensions/table_import/guess/preview.py told": "key of a stored upload",
    "detection/clouds/distance.py asked": "key of the record of a comparison",
    "detection/imagery/change/tracking.py asked": "key of the record of a comparison",
    "detection/imagery/insar/records.py told_share": "key of the record of a stack",
    "detection/imagery/scene/products/unpack.py tell": "method of a file",
    "detection/learning/cross_validation.py look_s": "key of the plan of a run that goes on",
    "detection/learning/run.py told": "key of the plan of a run that goes on",
    "monitor/extensions/telephony/store/siren_orders.py said": "column",
    "monitor/store/schema/tables.py point_happening": "table",
    "monitor/store/schema/tables.py point_look": "table",
    "monitor/decision/criteria/kinds/slope_safety.py judge": "key of a site file",
    "forecasting/message.py word": "key of a stored message",
    "monitor/domain/site.py told": "key that `sites show --json` prints",
    "monitor/domain/decision.py asked": "key of the stored memory",
    "monitor/domain/alerts/headline.py asked": "key of frozen evidence",
    "monitor/domain/alerts/headline.py heard": "key of frozen evidence",
    "monitor/cli/scenes/models.py beside": "key that `scenes models --json` prints",
}
"""Names that others rely on: file and name, and what it is to them."""


@cache
def list_words(name: str) -> set[str]:
    """The words of a name."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return set(parted.lower().strip("_").split("_"))


def list_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module gives, with its line: classes, functions, parameters, variables, attributes, aliases."""
    for node in walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def test_no_name_is_a_picture_and_a_class_name_stands_once() -> None:
    """What is called `told` does not say what it holds; two things of one name are two things to confuse."""
    found, files = [], defaultdict(set)
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        where, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())
        found += [
            f"{where}:{line}: {name}"
            for name, line in [(path.stem, 1), *list_names(tree)]
            if list_words(name) & PICTURES and f"{where} {name}" not in PUBLIC
        ]
        for node in walk(tree, inside=STATEMENTS):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].add(where)
    assert not found, "\n".join(found)
    twice = {name: sorted(places) for name, places in files.items() if len(places) > 1}
    assert len(twice) <= MOST_TWICE, twice


def test_a_picture_is_found() -> None:
    tree = ast.parse(
        "from a import b as spell\nclass Told:\n    def ask(self, word):\n        self.said = beside = word\n"
    )
    given = {name for name, _ in list_names(tree) if list_words(name) & PICTURES}
    assert given == {"Told", "ask", "word", "said", "beside", "spell"}

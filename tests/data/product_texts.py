"""Collect the texts of the program that a person may read: strings of modules and text of HTML templates."""

import ast
import functools
import re
from html.parser import HTMLParser
from pathlib import Path

from tests.architecture.syntax import walk

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("monitor", "forecasting", "detection")
CLI = ROOT / "monitor" / "cli"


class TemplateTexts(HTMLParser):
    """Collect the visible text, titles and labels of a template, without Jinja expressions."""

    def __init__(self, template: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden = False
        self.feed(re.sub(r"\{[{%#].*?[}%#]\}", " ", template, flags=re.DOTALL))

    def handle_starttag(self, tag, attrs):
        self._hidden = tag in {"script", "style", "code"}
        self.texts += [value or "" for name, value in attrs if name in {"title", "aria-label", "placeholder"}]

    def handle_endtag(self, _tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.texts.append(data)


def _has_hidden_docstring(node: ast.AST, path: Path) -> bool:
    """Return whether a node has a docstring that no user sees; `--help` shows those of modules and functions in cli."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    if not node.body or not isinstance(node.body[0], ast.Expr):
        return False
    return isinstance(node, ast.ClassDef) or not path.is_relative_to(CLI)


@functools.cache
def read_strings(path: Path) -> list[str]:
    """Return the strings of a module that contain a blank; replaced values become `x`, code in backquotes `code`."""
    nodes = list(walk(ast.parse(path.read_text(encoding="utf-8"))))
    skipped = {id(node.body[0].value) for node in nodes if _has_hidden_docstring(node, path)}
    skipped |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    texts = []
    for node in nodes:
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
        if " " in text.strip():
            texts.append(re.sub(r"`[^`]*`", "code", text))
    return texts

"""Names that features and plugins may import from the kernel: each exists, is documented, and is part of a version."""

import ast
import importlib
import re
from pathlib import Path

from monitor import api
from tests.contract.write_api import RECORDED, list_names

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "monitor/api").rglob("*.py"))
COMMENT = re.compile(r"#\s*\S")


def test_names_equal_those_of_the_recorded_version():
    """If a name was removed or changed its meaning, raise `VERSION`, and run `python -m tests.contract.write_api`."""
    version, *names = RECORDED.read_text(encoding="utf-8").splitlines()
    assert version == f"version {api.VERSION}"
    assert names == list_names()


def test_every_name_can_be_imported():
    for name in list_names():
        module, _, member = name.rpartition(".")
        assert hasattr(importlib.import_module(module), member)


def has_comment(lines, number):
    """Return whether a line ends with a comment, or the line above it is one."""
    return bool(COMMENT.search(lines[number])) or lines[number - 1].lstrip().startswith("#")


def test_every_name_has_a_line_of_documentation():
    undescribed = []
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        exported = re.findall(r'^    "(\w+)",$', "\n".join(lines), re.MULTILINE)
        for statement in ast.parse("\n".join(lines)).body:
            if isinstance(statement, ast.ImportFrom):
                undescribed += [
                    f"{path.name}: {alias.name}"
                    for alias in statement.names
                    if (alias.asname or alias.name) in exported and not has_comment(lines, alias.lineno - 1)
                ]
    assert undescribed == []

"""Print the test files that import no feature, neither directly nor by a module of tests: kernel_files.py FILE..."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FEATURES = ("monitor.features", "slopeward_earth", "slopeward_lab", "tests.features")


def list_imports(path: Path) -> Iterator[str]:
    """Yield the full names that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_module(name: str) -> Path | None:
    """Return the file of a module of tests that a full name belongs to."""
    parts = name.split(".")
    files = (ROOT.joinpath(*parts[:end]).with_suffix(".py") for end in range(len(parts), 0, -1))
    return next((file for file in files if file.is_file()), None)


@cache
def imports_feature(path: Path) -> bool:
    """Return whether a module imports a feature, directly or by another module of tests."""
    names = list(list_imports(path))
    if any(f"{name}.".startswith(tuple(f"{feature}." for feature in FEATURES)) for name in names):
        return True
    modules = (find_module(name) for name in names if name.startswith("tests."))
    return any(imports_feature(module) for module in modules if module is not None and module != path)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not imports_feature((ROOT / argument).resolve()):
            print(argument)
